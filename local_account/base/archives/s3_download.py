"""Fetch an object of S3 into a file, a range at a time: neither side holds more than one of them in memory.

Runs in the server process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

PIECE_BYTES = 16 * 2**20


def download(client: Any, target: Path, **place: str) -> dict[str, Any]:
    """Write the object that ``place`` names (Bucket, Key, VersionId) to ``target``; GetObject's answer, without a body.

    Raises ClientError as GetObject does, also when the object was replaced meanwhile.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        answer = _piece(client, 0, place)
        if answer is None:  # an empty object has no range
            answer = client.get_object(**place)
        file.write(answer["Body"].read())
        total = int(str(answer.get("ContentRange", "/0")).rpartition("/")[2])
        while (start := file.tell()) < total:
            piece = _piece(client, start, {**place, "IfMatch": answer["ETag"]})
            content = piece["Body"].read() if piece else b""
            if not content:
                raise EOFError(f"s3://{place['Bucket']}/{place['Key']} ended at {start} of {total} bytes")
            file.write(content)
    return {name: value for name, value in answer.items() if name != "Body"}


def _piece(client: Any, start: int, place: dict[str, str]) -> dict[str, Any] | None:
    try:
        answer: dict[str, Any] = client.get_object(**place, Range=f"bytes={start}-{start + PIECE_BYTES - 1}")
    except ClientError as error:
        if error.response["Error"]["Code"] == "InvalidRange":
            return None
        raise
    return answer
