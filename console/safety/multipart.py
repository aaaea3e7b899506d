"""Forms with files in them, as browsers send those without JavaScript (RFC 7578).

Runs in the console's process. Bytes in, values out; what follows no boundary is nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_string
from email.message import Message

MULTIPART = "multipart/form-data"


@dataclass(frozen=True)
class FormPart:
    """A field of a form; ``filename`` is "" where it is no file."""

    name: str
    filename: str
    content: bytes


def parts_of(content_type: str, body: bytes) -> Iterator[FormPart]:
    """Every part of a body, in its order."""
    kind = Message()
    kind["content-type"] = content_type
    boundary = kind.get_boundary()
    if not boundary:
        return
    for chunk in (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1", "replace"))[1:]:
        if chunk.startswith(b"--"):
            return
        head, _, content = chunk.partition(b"\r\n\r\n")
        yield _part(head.lstrip(b"\r\n"), content)


def _part(head: bytes, content: bytes) -> FormPart:
    """Names come in UTF-8, as the page is."""
    headers = message_from_string(head.decode("utf-8", "replace"))
    name, filename = (headers.get_param(each, "", "content-disposition") for each in ("name", "filename"))
    return FormPart(str(name), str(filename), content)
