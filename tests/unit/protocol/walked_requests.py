"""Requests that nobody would write, made from botocore's models: valid ones, and ones that are wrong somewhere.

A seed decides all of it. Values are often those of resources that are there, so that requests get behind the front.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import botocore.session
from botocore.serialize import create_serializer

if TYPE_CHECKING:
    from botocore.model import OperationModel, Shape

TEXTS = (
    *(["", "a", "$LATEST", "*", "%2F", "0", "-1", "1.5", "true", "{}", "[]", "{", "null", "a/b", "../..", "a:b:c",
        "\x00", "é∑😀"]), " ", "x" * 300, "x" * 3000,
    '{"a": 1}', "arn:", "arn:aws", "arn:aws:s3:::", "arn:aws:sns:us-east-1:123456789012",
    "arn:aws:{service}:us-east-1:123456789012:none", "arn:aws:{service}:eu-west-1:123456789012:thing/none",
    "arn:aws:{service}:us-east-1:999999999999:thing:none", "arn:aws:{service}:::",
    "arn:aws:iam::123456789012:role/none", "http://localhost/123456789012/none",
    "https://sqs.eu-west-1.amazonaws.com/999999999999/q", "2026-01-01T00:00:00Z",
)  # fmt: skip
NUMBERS = (0, 1, -1, 2, 7, 100, 1000, 2**31 - 1, 2**31, 2**63 - 1, -(2**63))
OTHER_TYPES: tuple[Any, ...] = (None, True, 3, 1.5, "text", "", [], {}, [1], [None], {"a": 1}, [[]], [{}])


@dataclass(frozen=True)
class WalkedRequest:
    """One request, before it is signed. ``path`` has the query."""

    service: str
    operation: str
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Walk:
    """Makes requests for one service. ``known`` are values that are there, by a pattern of members' names."""

    def __init__(self, service: str, client_name: str, known: Mapping[str, tuple[str, ...]], seed: int) -> None:
        self.service, self._known = service, known
        self.model = botocore.session.get_session().get_service_model(client_name)
        protocol = self.model.resolved_protocol
        self._serializer = create_serializer(protocol, include_validation=False)
        self._random = random.Random(f"{seed} {service}")  # no secret is made of it

    def requests(self, operation: str, number: int) -> Iterator[WalkedRequest]:
        """So many requests for an operation; fewer where one cannot be written at all."""
        model = self.model.operation_model(operation)
        for kind in range(number):
            request = self._request(model, kind)
            if request is not None:
                yield request

    def _request(self, model: OperationModel, kind: int) -> WalkedRequest | None:
        """The first is as small as it can be, the second has every member; then chance decides."""
        everything = {0: 0.0, 1: 1.0}.get(kind, self._random.random())
        wildness = 0.0 if kind < 2 else self._random.choice((0.0, 0.1, 0.3, 1.0))
        shape = model.input_shape
        members = self._structure(shape, everything, wildness, 0) if shape else {}
        if kind > 1 and members and self._random.random() < 0.2:
            members.pop(self._random.choice(sorted(members)))
        try:
            sent = self._serializer.serialize_to_request(members, model)
        except Exception:  # the members have values that this protocol cannot write
            return None
        return self._written(model, sent, spoil=kind > 1 and self._random.random() < 0.35)

    def written(self, operation: str, members: dict[str, Any]) -> WalkedRequest:
        """A request with these members."""
        model = self.model.operation_model(operation)
        return self._written(model, self._serializer.serialize_to_request(members, model), spoil=False)

    def _written(self, model: OperationModel, sent: dict[str, Any], *, spoil: bool) -> WalkedRequest:
        body, headers = sent["body"], {name: str(value) for name, value in sent["headers"].items()}
        if isinstance(body, dict):
            pairs = [(name, str(value)) for name, value in body.items()]
            body = urlencode(self._spoilt_form(pairs) if spoil else pairs)
        body = body if isinstance(body, bytes) else str(body).encode()
        if spoil and not isinstance(sent["body"], dict):
            body = self._spoilt(body)
        query = sent["query_string"]
        query = urlencode(query, doseq=True) if isinstance(query, dict) else str(query)
        joint = "&" if "?" in sent["url_path"] else "?"
        path = f"{sent['url_path']}{joint}{query}" if query else sent["url_path"]
        return WalkedRequest(self.service, model.name, sent["method"], path, headers, body)

    def _spoilt_form(self, pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
        at = self._random.randrange(len(pairs))
        name, value = pairs[at]
        others = [(f"{name}.1", value)], [(f"{name}.member.x", value)], [(name, "x" * 20)], [(name, value)] * 2
        change = self._random.choice(([], [(name, "")], *others))
        return pairs[:at] + (change if name != "Action" else [(name, value)]) + pairs[at + 1 :]

    def _spoilt(self, body: bytes) -> bytes:
        choice = self._random.random()
        if choice < 0.15:
            return self._random.choice((b"", b"{", b"[]", b"null", b"<a>", b"\xff\xfe", b'"text"', b"[" * 2000))
        try:
            content = json.loads(body)
        except ValueError:
            at = self._random.randrange(len(body) + 1)
            return body[:at] + body[at + self._random.randrange(1, 40) :]
        return json.dumps(self._other_type(content)).encode()

    def _other_type(self, content: Any) -> Any:
        """The document with one value, somewhere, of another type."""
        if isinstance(content, dict) and content and self._random.random() < 0.9:
            name = self._random.choice(sorted(content))
            return {**content, name: self._other_type(content[name])}
        if isinstance(content, list) and content and self._random.random() < 0.5:
            return [self._other_type(content[0]), *content[1:]]
        return self._random.choice(OTHER_TYPES)

    def _value(self, name: str, shape: Shape, everything: float, wildness: float, depth: int) -> Any:
        kind = shape.type_name
        if kind == "structure":
            return self._structure(shape, everything, wildness, depth + 1)
        if kind == "list":
            number = 1 if self._random.random() > wildness else self._random.choice((0, 2, 12))
            return [self._value(name, shape.member, everything, wildness, depth + 1) for _ in range(number)]
        if kind == "map":
            value = self._value(name, shape.value, everything, wildness, depth + 1)
            return {self._text("key", shape.key, wildness): value}
        if kind in ("string", "blob"):
            text = self._text(name, shape, wildness)
            return text if kind == "string" else text.encode()
        return self._scalar(shape, wildness)

    def _scalar(self, shape: Shape, wildness: float) -> Any:
        if shape.type_name == "boolean":
            return self._random.random() < 0.5
        if shape.type_name == "timestamp":
            return self._random.choice((0, 1767225600, 32503680000)) if self._random.random() < wildness else 1767225600
        if self._random.random() < wildness:
            return self._random.choice(NUMBERS)
        return max(int(shape.metadata.get("min", 1)), 1)

    def _structure(self, shape: Shape, everything: float, wildness: float, depth: int) -> dict[str, Any]:
        chosen = {}
        for name, member in shape.members.items():
            wanted = name in shape.required_members or (self._random.random() < everything and depth < 4)
            if wanted and depth < 8:
                chosen[name] = self._value(name, member, everything, wildness, depth)
        if getattr(shape, "is_tagged_union", False) and len(chosen) > 1:
            one = self._random.choice(sorted(chosen))
            return {one: chosen[one]}
        return chosen

    def _text(self, name: str, shape: Shape, wildness: float) -> str:
        if self._random.random() < wildness:
            text = self._random.choice(TEXTS)
            return text.replace("{service}", self.service)
        if enumeration := shape.metadata.get("enum"):
            return str(self._random.choice(enumeration))
        for pattern, values in self._known.items():
            if re.fullmatch(pattern, name):
                return self._random.choice(values)
        text = "name" if self._random.random() < 0.5 else f"n{self._random.randrange(1000)}"
        return text.ljust(int(shape.metadata.get("min", 0)), "x")
