"""An event pattern's text, read so that each value knows where it stands: refusals tell the place, as EventBridge does.

Runs in the server process. EventBridge reads patterns with Jackson, whose errors name the source and the place that it
had come to: behind the token that it saw, of a text behind the quote that opens it until the text itself is wanted.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from json.decoder import JSONDecodeError

SOURCE_SHOWN = 500  # characters of the source in an error
_BLANK = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()
_WORD = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True)
class Placed:
    """A value of JSON, the offset to which its first token was seen, and the one behind it."""

    value: dict[str, Placed] | list[Placed] | str | int | float | bool | None
    seen: int
    end: int


def placed(text: str) -> Placed:
    """The value of a text that is JSON, with the places of all values in it; RecursionError."""
    return _read(text, _skip(text, 0))


def _skip(text: str, start: int) -> int:
    found = _BLANK.match(text, start)
    return found.end() if found else start


def _read(text: str, start: int) -> Placed:
    """The value that begins here, in a text that is JSON."""
    letter = text[start]
    if letter == "{":
        return _read_object(text, start)
    if letter == "[":
        return _read_array(text, start)
    value, end = _DECODER.raw_decode(text, start)
    return Placed(value, start + 1 if letter == '"' else end, end)


def _read_object(text: str, start: int) -> Placed:
    members: dict[str, Placed] = {}
    at = _skip(text, start + 1)
    while text[at] != "}":
        key, at = _DECODER.raw_decode(text, at)
        members[key] = _read(text, _skip(text, _skip(text, at) + 1))
        at = _next(text, members[key].end)
    return Placed(members, start + 1, at + 1)


def _read_array(text: str, start: int) -> Placed:
    values: list[Placed] = []
    at = _skip(text, start + 1)
    while text[at] != "]":
        values.append(_read(text, at))
        at = _next(text, values[-1].end)
    return Placed(values, start + 1, at + 1)


def _next(text: str, end: int) -> int:
    """Where the next member or value begins, or the bracket closes."""
    at = _skip(text, end)
    return _skip(text, at + 1) if text[at] == "," else at


def place(text: str, offset: int) -> str:
    """How an error tells the place of an offset in its source."""
    line, column = text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
    more = f"[truncated {len(text) - SOURCE_SHOWN} chars]" if len(text) > SOURCE_SHOWN else ""
    return f'\n at [Source: (String)"{text[:SOURCE_SHOWN]}"{more}; line: {line}, column: {column}]'


def fault(text: str, error: ValueError) -> str:
    """Why a text is no JSON, in the parser's words where they were recorded."""
    at = error.pos if isinstance(error, JSONDecodeError) else 0
    if error.args[0].startswith("Expecting property name") and at < len(text):
        letter = text[at]
        words = (
            f"Unexpected character ('{letter}' (code {ord(letter)})): was expecting double-quote to start field name"
        )
        return words + place(text, at)
    if word := _WORD.match(text, at):
        words = f"Unrecognized token '{word[0]}': was expecting (JSON String, Number, Array, Object or token 'null', "
        return f"{words}'true' or 'false'){place(text, word.end())}"
    return f"Invalid JSON: {error}"
