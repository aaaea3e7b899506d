"""Fetch an object of S3 into a file, a range at a time: neither side holds more than one of them in memory.

Runs in the server process.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import GetObjectOutputTypeDef, GetObjectRequestTypeDef

PIECE_BYTES = 16 * 2**20


def download(client: S3Client, target: Path, place: GetObjectRequestTypeDef) -> GetObjectOutputTypeDef:
    """Write the object that ``place`` names to ``target``; GetObject's answer, whose body has been read.

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
    return answer


def _piece(client: S3Client, start: int, place: GetObjectRequestTypeDef) -> GetObjectOutputTypeDef | None:
    try:
        request: GetObjectRequestTypeDef = {**place, "Range": f"bytes={start}-{start + PIECE_BYTES - 1}"}
        return client.get_object(**request)
    except ClientError as error:
        if error.response["Error"]["Code"] == "InvalidRange":
            return None
        raise
