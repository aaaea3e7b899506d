"""A document as text and back: the same bytes as Python's ``json`` writes, a message of one line where it is none.

Runs in containers and on a laptop. Values in, values out; it touches no files.
"""

from __future__ import annotations

import json
from typing import TypeVar

import msgspec

Document = TypeVar("Document")


class DocumentError(Exception):
    """The bytes are not the document; the message says at which field what was expected and what came."""


def to_text(document: object, indent: int) -> str:
    """JSON with a line end; ASCII only, as ``json.dumps`` writes. Raises ValueError for a number that is not finite."""
    return json.dumps(msgspec.to_builtins(document), indent=indent, allow_nan=False) + "\n"


def from_bytes(data: bytes, kind: type[Document]) -> Document:
    """The document in JSON; fields that it does not know are passed over. Raises DocumentError."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DocumentError(" ".join(str(error).split())) from error
