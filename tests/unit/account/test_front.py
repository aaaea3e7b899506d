"""The front of the account's own services: actions, errors and what is kept, over a service made for the test."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import pytest

from local_account.account import Account
from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.service import Service

if TYPE_CHECKING:
    from wsgiref.types import StartResponse


class Connection(TypedDict):
    ConnectionName: str
    ConnectionArn: str
    secret: str


class Reading:
    """Actions of an object beside the service."""

    def __init__(self, service: Service) -> None:
        self.connections = service.table("connections", Connection)

    @action("GetConnection")
    def get(self, request: dict[str, str]) -> Reply:
        if request["ConnectionArn"] not in self.connections:
            raise ServiceError("There is none.", "ResourceNotFoundException")
        return {"Connection": self.connections[request["ConnectionArn"]], "secret": "kept here"}


class Connections(Service):
    """Actions of the service itself."""

    invalid_code = "InvalidInputException"

    def __init__(self, account: Account) -> None:
        super().__init__(account, "codeconnections")
        self.connections = self.table("connections", Connection)
        self.add(Reading(self))

    @action("CreateConnection")
    def create(self, request: dict[str, str]) -> Reply:
        name = request["ConnectionName"]
        if name == "bad":
            raise ServiceError("This name is bad.")
        if name == "broken":
            raise KeyError(name)
        arn = self.arn(f"connection/{name}")
        self.connections[arn] = {"ConnectionName": name, "ConnectionArn": arn, "secret": "kept here"}
        self.changed()
        return {"ConnectionArn": arn}


@pytest.fixture
def service(tmp_path: Path) -> Connections:
    return Connections(Account(tmp_path / "state", 1))


def post(service: Service, name: str, body: bytes) -> tuple[str, dict[str, Any]]:
    """Status and body of a call over the wire."""
    seen: list[str] = []

    def start_response(status: str, _headers: Any, _error: Any = None) -> Any:
        seen.append(status)

    respond: StartResponse = start_response
    environ = {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": "application/x-amz-json-1.0",
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_X_AMZ_TARGET": f"Any.{name}",
        "wsgi.input": io.BytesIO(body),
    }
    content = b"".join(service(environ, respond))
    return seen[0], json.loads(content)


def call(service: Service, name: str, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return post(service, name, json.dumps(request).encode())


def test_marked_methods_answer_without_members_that_the_api_does_not_have(service: Connections) -> None:
    status, made = call(service, "CreateConnection", {"ConnectionName": "one", "ProviderType": "GitHub"})
    assert (status, list(made)) == ("200 OK", ["ConnectionArn"])
    status, found = call(service, "GetConnection", made)
    assert (status, list(found)) == ("200 OK", ["Connection"])


@pytest.mark.parametrize(
    ("name", "body", "expected", "message"),
    [
        ("CreateConnection", b'{"ConnectionName": "bad"}', ("400 Error", "InvalidInputException"), "bad"),
        (
            "CreateConnection",
            b"{}",
            ("400 Error", "InvalidInputException"),
            'Missing required parameter .*"ConnectionN',
        ),
        ("CreateConnection", b"{", ("400 Error", "SerializationException"), "not JSON"),
        ("CreateConnection", b"[]", ("400 Error", "SerializationException"), "no structure"),
        ("CreateConnection", b'{"ConnectionName": "broken"}', ("500 Error", "InternalFailure"), "KeyError"),
        ("GetConnection", b'{"ConnectionArn": "x"}', ("400 Error", "InvalidInputException"), "regular expression"),
        (
            "DeleteConnection",
            b"{}",
            ("400 Error", "UnknownOperationException"),
            "does not implement codeconnections's Del",
        ),
    ],
)
def test_errors_are_answered_under_the_services_own_names(
    service: Connections, name: str, body: bytes, expected: tuple[str, str], message: str
) -> None:
    status, error = post(service, name, body)
    assert (status, error["__type"]) == expected
    assert re.search(message, error["message"])


def test_what_was_made_is_there_after_a_restart(service: Connections) -> None:
    _, made = call(service, "CreateConnection", {"ConnectionName": "one"})
    service.account.snapshots.write()
    again = Connections(Account(service.account.state_dir, 1))
    assert call(again, "GetConnection", made)[1]["Connection"]["ConnectionName"] == "one"


def test_an_action_is_there_once_and_in_the_api(service: Connections) -> None:
    class Other:
        @action("Dance")
        def dance(self, _request: dict[str, str]) -> None: ...

    with pytest.raises(ValueError, match="Dance"):
        service.add(Other())
    with pytest.raises(ValueError, match="GetConnection"):
        service.add(Reading(service))
