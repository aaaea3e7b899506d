"""What monitoring has to know of the version that serves: its classes, thresholds, baseline, deployment and requests.

Runs on a laptop or in CodeBuild. Deployments and requests by hour go to S3, whence the job reads them.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from scones import deployments, endpoint, registry, threshold
from scones.connection import Connection, object_exists, split_uri
from scones.errors import SconesError
from scones.registry import ModelVersion

VARIANT = "AllTraffic"
# As far back as the job looks for drift, and the first week of a month-old version.
LOOK_BACK = timedelta(days=31)
_HOUR_S = 3600


@dataclass(frozen=True)
class Baseline:
    """Where a version's baseline stands, and what it says."""

    uri: str
    document: dict[str, Any]


def parameters(connection: Connection, until: datetime) -> dict[str, str]:
    """Parameters of the monitoring pipeline about the live version, as of a time.

    The pipeline's defaults are the stage file's, from which thresholds and classes may have moved on.
    """
    thresholds = threshold.current(connection)
    known = {"Thresholds": json.dumps({"default": thresholds.default, "classes": thresholds.classes})}
    version = live(connection)
    if version is None:
        return known
    records = _records(connection)
    known |= {
        "Classes": ",".join(version.classes),
        "DataOrigin": version.metadata.get("data_origin", ""),
        "BaselineUri": baseline_uri(connection, version),
        "DeployedAt": deployed_at(records, version.version),
        "ModelPackageArn": version.arn,
        "ContextUri": _upload_context(connection, records, until),
    }
    return {name: value for name, value in known.items() if value}


def live(connection: Connection) -> ModelVersion | None:
    """The version that serves, or None."""
    found = endpoint.status(connection)
    return registry.describe(connection, found.model_package_arn) if found and found.model_package_arn else None


def baseline_uri(connection: Connection, version: ModelVersion) -> str:
    """The baseline that was made of the version's traffic, else the one that was registered with it, else ""."""
    candidates = [f"{connection.names.traffic_baseline_uri(version.version)}/baseline.json", version.baseline_uri]
    return next((uri for uri in candidates if uri and object_exists(connection.client("s3"), *split_uri(uri))), "")


def baseline(connection: Connection) -> Baseline:
    """The baseline of the live version; SconesError without one."""
    version = live(connection)
    if version is None:
        raise SconesError("no version serves: approve one with `scones model approve`")
    uri = baseline_uri(connection, version)
    if not uri:
        raise SconesError(
            f"version {version.version} was registered without a baseline: make one of healthy traffic with "
            f"`scones monitor baseline --from-traffic 7d`"
        )
    bucket, key = split_uri(uri)
    document = json.loads(connection.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
    return Baseline(uri, document)


def deployed_at(records: list[dict[str, Any]], version: int) -> str:
    """When the version began to serve without another in between; "" when no record says."""
    found = ""
    for record in reversed(records):
        if record["outcome"] == "deployed":
            if int(record["version"]) != version:
                break
            found = record["ended"]
    return found


def _records(connection: Connection) -> list[dict[str, Any]]:
    """The endpoint's history, the oldest first; none where the stage keeps no table of it."""
    try:
        return deployments.state(connection).records
    except SconesError:
        return []


def _upload_context(connection: Connection, records: list[dict[str, Any]], until: datetime) -> str:
    uri = f"{connection.names.monitoring_context_uri}/{uuid.uuid4().hex}"
    since = until - LOOK_BACK
    marks = [
        {"at": record["ended"], "version": f"version {record['version']}", "outcome": record["outcome"]}
        for record in records
        if record["ended"] >= deployments.text_of(since)
    ]
    documents = {"deployments.json": marks, "traffic.json": _traffic(connection, since, until)}
    bucket, prefix = split_uri(uri)
    for name, document in documents.items():
        if document is not None:
            body = json.dumps(document).encode()
            connection.client("s3").put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=body)
    return uri


def _traffic(connection: Connection, since: datetime, until: datetime) -> list[dict[str, Any]] | None:
    """Requests and model latency by hour, as CloudWatch counted them; None where not all requests are captured."""
    if not _captures_everything(connection):
        return None
    start = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    queries = [
        _query("requests", connection.names.endpoint, "Invocations", "Sum"),
        _query("latency_ms", connection.names.endpoint, "ModelLatency", "p50"),
        _query("latency_p99_ms", connection.names.endpoint, "ModelLatency", "p99"),
    ]
    hours: dict[str, dict[str, Any]] = {}
    pages = (
        connection.client("cloudwatch")
        .get_paginator("get_metric_data")
        .paginate(MetricDataQueries=queries, StartTime=start, EndTime=until)
    )
    for page in pages:
        for series in page["MetricDataResults"]:
            for time, value in zip(series["Timestamps"], series["Values"], strict=True):
                hour = time.astimezone(UTC).replace(minute=0, second=0, microsecond=0).isoformat()
                row = hours.setdefault(hour, {"hour": hour, "requests": 0})
                # ModelLatency is in microseconds.
                row[series["Id"]] = int(value) if series["Id"] == "requests" else value / 1000.0
    return [hours[hour] for hour in sorted(hours)]


def _query(name: str, endpoint_name: str, metric: str, statistic: str) -> dict[str, Any]:
    dimensions = [{"Name": "EndpointName", "Value": endpoint_name}, {"Name": "VariantName", "Value": VARIANT}]
    found = {"Namespace": "AWS/SageMaker", "MetricName": metric, "Dimensions": dimensions}
    return {"Id": name, "MetricStat": {"Metric": found, "Period": _HOUR_S, "Stat": statistic}}


def _captures_everything(connection: Connection) -> bool:
    sagemaker = connection.client("sagemaker")
    try:
        capture = sagemaker.describe_endpoint(EndpointName=connection.names.endpoint).get("DataCaptureConfig", {})
    except ClientError:
        return False
    return int(capture.get("CurrentSamplingPercentage", 0)) == 100 and capture.get("CaptureStatus") == "Started"
