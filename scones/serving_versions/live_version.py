"""What monitoring has to know of the version that serves.

Runs on a laptop or in CodeBuild. The function that starts the scheduled reports knows it, and is asked here.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

from botocore.exceptions import ClientError

from reporting.documents.baseline import BaselineDocument
from reporting.documents.json import DocumentError, from_bytes
from scones.errors import SconesError
from scones.serving_versions import endpoint, registry
from scones.serving_versions.registry import ModelVersion
from scones.stage.connection import Connection, object_exists, split_uri


@dataclass(frozen=True)
class LiveBaseline:
    """Where a version's baseline stands, and what it says."""

    uri: str
    document: BaselineDocument


def parameters(connection: Connection, until: datetime) -> dict[str, str]:
    """Parameters of the monitoring pipeline about the live version, as of a time; what is unknown is absent.

    The pipeline's defaults are the stage file's, from which thresholds and classes may have moved on.
    """
    name = connection.names.function("start_monitoring")
    event = {"until": until.astimezone(UTC).isoformat()}
    try:
        answer = connection.client("lambda").invoke(FunctionName=name, Payload=json.dumps(event).encode())
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        raise SconesError(f"function {name} does not exist: run `scones deploy` first") from error
    content = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        raise SconesError(f"function {name} failed ({content.get('errorMessage')}): see log group /aws/lambda/{name}")
    found: dict[str, str] = content["parameters"]
    return found


def live(connection: Connection) -> ModelVersion | None:
    """The version that serves, or None."""
    found = endpoint.status(connection)
    return registry.deployed(connection, found.model_package_arn) if found and found.model_package_arn else None


def baseline(connection: Connection) -> LiveBaseline:
    """The baseline of the live version; SconesError without one."""
    version = live(connection)
    if version is None:
        raise SconesError("no version serves: approve one with `scones model approve`")
    uri = parameters(connection, datetime.now(UTC)).get("BaselineUri", "")
    if not uri:
        raise SconesError(
            f"version {version.version} was registered without a baseline: make one of healthy traffic with "
            f"`scones monitor baseline --from-traffic 7d`"
        )
    return _read(connection, uri)


def kept_baseline(connection: Connection, version: ModelVersion) -> LiveBaseline:
    """The baseline of a version, without asking the function: that of its traffic, where one was made, or its own."""
    of_traffic = f"{connection.names.traffic_baseline_uri(version.version)}/baseline.json"
    if object_exists(connection.client("s3"), *split_uri(of_traffic)):
        return _read(connection, of_traffic)
    if not version.baseline_uri:
        raise SconesError(f"version {version.version} was registered without a baseline")
    return _read(connection, version.baseline_uri)


def _read(connection: Connection, uri: str) -> LiveBaseline:
    bucket, key = split_uri(uri)
    body: bytes = connection.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    try:
        return LiveBaseline(uri, from_bytes(body, BaselineDocument))
    except DocumentError as error:
        raise SconesError(f"{uri} is no baseline: {error}") from error
