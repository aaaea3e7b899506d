"""What of an object goes to a transform's container at once: all of it, or as many of its lines as the payload takes.

Pure. Authority: SageMaker API Reference, CreateTransformJob (BatchStrategy, MaxPayloadInMB, SplitType, AssembleWith).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator


class TooLargeError(Exception):
    """A record, or an object that is not split, is larger than the payload may be."""


def payloads(body: bytes, *, split: str, strategy: str, limit_bytes: int) -> Iterator[bytes]:
    """The requests for one object, in order. Raises TooLargeError."""
    if split != "Line":
        yield _small(body, limit_bytes)
        return
    lines = body.splitlines(keepends=True)
    if strategy == "SingleRecord":
        yield from (_small(line.rstrip(b"\r\n"), limit_bytes) for line in lines)
        return
    gathered = b""
    for line in lines:
        if gathered and len(gathered) + len(line) > limit_bytes:
            yield gathered
            gathered = b""
        gathered += _small(line, limit_bytes)
    if gathered:
        yield gathered


def _small(record: bytes, limit_bytes: int) -> bytes:
    if len(record) > limit_bytes:
        raise TooLargeError("Too much data for max payload size")
    return record


def assembled(answers: Iterable[bytes], assemble_with: str) -> bytes:
    """The output of one object: its answers one after the other, with ``Line`` each on lines of its own."""
    if assemble_with != "Line":
        return b"".join(answers)
    return b"".join(answer if answer.endswith(b"\n") else answer + b"\n" for answer in answers)
