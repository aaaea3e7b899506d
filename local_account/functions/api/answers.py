"""What the answers of Lambda's API share: the functions that are kept, what a request names, lists in pages.

Runs in the server process. The classes of this room take the place of moto's answers, method by method; requests have
been held against botocore's model when they get here.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, cast
from urllib.parse import unquote

from moto.awslambda.models import lambda_backends
from moto.awslambda.responses import LambdaResponse

from local_account.base.replacements import extends
from local_account.functions.api.names import FunctionName, is_version, named
from local_account.functions.configuration import AccountFunction
from local_account.functions.errors import client_error
from local_account.functions.storage import FunctionStorage

if TYPE_CHECKING:
    from moto.core.common_types import TYPE_RESPONSE

PAGE = 50


@extends
class ApiAnswers(LambdaResponse):
    """moto's answers, with what ours read of a request."""

    @property
    def kept(self) -> FunctionStorage:
        """The functions of the request's account and region."""
        return cast("FunctionStorage", lambda_backends[self.current_account][self.region]._lambdas)

    @property
    def function_text(self) -> str:
        """FunctionName, as it was sent."""
        return unquote(self.path.split("/functions/", 1)[1].split("/", 1)[0])

    @property
    def request(self) -> Mapping[str, object]:
        """The members of the body."""
        return cast("Mapping[str, object]", json.loads(self.body or b"{}"))

    def asked(self, name: str) -> str | None:
        """A parameter of the address."""
        values = self.querystring.get(name)
        return str(values[0]) if values else None

    def named(self) -> FunctionName:
        """The function that is meant, and the version of it."""
        return named(self.function_text, self.asked("Qualifier"))

    def function(self) -> AccountFunction:
        """What is meant; raises moto's LambdaClientError when it is not there."""
        return self.kept.version_of(self.named())

    def check_qualifier(self, qualifier: str) -> None:
        """Raises moto's LambdaClientError for a version or an alias that is not there."""
        name = self.named().name
        if self.kept.has(name) and self.kept.has_qualifier(name, qualifier):
            return
        arn = f"arn:aws:lambda:{self.region}:{self.current_account}:function:{name}:{qualifier}"
        kind = "Function not found" if is_version(qualifier) else "Cannot find alias arn"
        raise client_error("ResourceNotFoundException", f"{kind}: {arn}", 404)

    def latest(self) -> AccountFunction:
        """The function that is meant, whatever the version; raises moto's LambdaClientError when it is not there."""
        return self.kept.version_of(FunctionName(self.named().name))


def answered(document: Mapping[str, object], status: int = 200) -> TYPE_RESPONSE:
    """An answer with a body."""
    shown = {name: value for name, value in document.items() if value is not None}
    return status, {"status": str(status), "Content-Type": "application/json"}, json.dumps(shown)


def moment() -> str:
    """The time, as Lambda writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def done(status: int = 204) -> TYPE_RESPONSE:
    """An answer that says no more than that it is done."""
    return status, {"status": str(status)}, ""


def page(
    answers: ApiAnswers, key: str, rows: Sequence[object], shown: Callable[[object], object] = lambda row: row
) -> TYPE_RESPONSE:
    """The part of a list that Marker and MaxItems ask for; raises moto's LambdaClientError for a foreign Marker."""
    start, size = _start(answers.asked("Marker")), min(int(answers.asked("MaxItems") or PAGE), PAGE)
    following = start + size
    marker = base64.b64encode(json.dumps({"at": following}).encode()).decode() if following < len(rows) else None
    return answered({key: [shown(row) for row in rows[start:following]], "NextMarker": marker})


def _start(marker: str | None) -> int:
    if not marker:
        return 0
    try:
        return int(json.loads(base64.b64decode(marker, validate=True))["at"])
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise client_error("InvalidParameterValueException", "Invalid marker", 400) from error
