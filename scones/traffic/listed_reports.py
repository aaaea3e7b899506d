"""The reports that the monitoring job has listed, the newest first.

Runs on a laptop or in CodeBuild. Reads ``index.json`` beside the reports; an entry that is none is passed over.
"""

from __future__ import annotations

import msgspec
from botocore.exceptions import ClientError

from reporting.documents.json import DocumentError, from_bytes
from scones.errors import SconesError
from scones.stage.connection import Connection, split_uri


class KnownReport(msgspec.Struct, frozen=True, kw_only=True):
    """One of them; ``alarms`` are the families that were in alarm, shares lie between 0 and 1, null is not known."""

    name: str
    verdict: str
    alarms: list[str]
    start: str
    end: str
    records: int | None = None
    estimated: float | None = None
    measured: float | None = None


def read(connection: Connection) -> bytes | None:
    """The list as it lies there; None where there is none yet."""
    bucket, prefix = split_uri(connection.names.reports_uri)
    try:
        data: bytes = connection.client("s3").get_object(Bucket=bucket, Key=f"{prefix}/index.json")["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchKey":
            raise
        return None
    return data


def reports(connection: Connection, *, only_open: bool = False) -> list[KnownReport]:
    """All of them, or those with an alarm. Raises SconesError for what is no list."""
    try:
        listed = from_bytes(read(connection) or b"[]", list[msgspec.Raw])
    except DocumentError as error:
        where = f"{connection.names.reports_uri}/index.json"
        raise SconesError(f"{where} is no list of reports ({error}): remove it, the next report begins anew") from error
    found = []
    for each in listed:
        try:
            found.append(from_bytes(bytes(each), KnownReport))
        except DocumentError:
            continue
    return [each for each in found if each.alarms or not only_open]
