"""What a report has to know of the version that serves: its classes, thresholds, baseline, deployment and requests.

Runs in Lambda. Answers parameters of the monitoring pipeline; the endpoint's history and its requests by hour go to S3,
whence the job reads them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NotRequired, TypedDict

from botocore.exceptions import ClientError

from lambdas.deployment.clients import EndpointClients
from lambdas.deployment.desired_state import text_of
from lambdas.deployment.ledger import Ledger, query_all
from lambdas.deployment.registry import find_version
from lambdas.deployment.sagemaker_endpoint import VARIANT, describe_endpoint
from lambdas.deployment.version import BASELINE_FILE, ServableVersion

if TYPE_CHECKING:
    from types_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef
    from types_boto3_dynamodb.service_resource import Table
    from types_boto3_dynamodb.type_defs import TableAttributeValueTypeDef
    from types_boto3_s3 import S3Client

# As far back as the job looks for drift, and the first week of a month-old version.
LOOK_BACK = timedelta(days=31)
_HOUR_S = 3600
_MISSING = {"404", "NoSuchKey", "NotFound"}

Parameters = dict[str, str]


class HourOfTraffic(TypedDict):
    """One hour of ``traffic.json``: requests, and milliseconds of the model's latency where CloudWatch has any."""

    hour: str
    requests: int
    latency_ms: NotRequired[float]
    latency_p99_ms: NotRequired[float]


@dataclass(frozen=True)
class Surroundings:
    """Where the function looks; ``table`` is the one of the deployments."""

    clients: EndpointClients
    table: Table
    endpoint: str
    threshold_parameter: str
    baselines_uri: str
    """Where baselines stand that were made of traffic: ``<this>/version-<number>/baseline.json``."""
    context_uri: str


def parameters(around: Surroundings, until: datetime) -> Parameters:
    """Of the monitoring pipeline, as of a time; what is unknown is absent, for there may be no version that serves.

    Raises VersionGoneError when one serves of which neither the table nor the registry knows anything.
    """
    value = json.loads(around.clients.ssm.get_parameter(Name=around.threshold_parameter)["Parameter"]["Value"])
    known = {"Thresholds": json.dumps({"default": value["default"], "classes": value.get("classes", {})})}
    live = Ledger(around.table).live()
    if live is not None:
        version = find_version(around.clients.sagemaker, Ledger(around.table), live.package_arn)
        records = query_all(around.table, "record")
        known |= {
            "Classes": version.classes,
            "DataOrigin": version.metadata.get("data_origin", ""),
            "BaselineUri": _baseline_uri(around, version),
            "DeployedAt": deployed_at(records, live.version),
            "ModelPackageArn": live.package_arn,
            "ContextUri": _upload_context(around, records, until),
        }
    return {name: value for name, value in known.items() if value}


def deployed_at(records: list[dict[str, TableAttributeValueTypeDef]], version: int) -> str:
    """When the version began to serve without another in between; "" when no record says."""
    found = ""
    for record in reversed(records):
        if record["outcome"] == "deployed":
            if int(str(record["version"])) != version:
                break
            found = str(record["ended"])
    return found


def _baseline_uri(around: Surroundings, version: ServableVersion) -> str:
    """The baseline that was made of the version's traffic, else the one that was registered with it, else ""."""
    s3 = around.clients.s3
    uris = [f"{around.baselines_uri}/version-{version.version}/{BASELINE_FILE}", version.baseline_uri]
    return next((uri for uri in uris if uri and _exists(s3, uri)), "")


def _exists(s3: S3Client, uri: str) -> bool:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _MISSING:
            raise
        return False
    return True


def _upload_context(around: Surroundings, records: list[dict[str, TableAttributeValueTypeDef]], until: datetime) -> str:
    uri = f"{around.context_uri}/{until:%Y-%m-%dT%H%M%S}"
    since = until - LOOK_BACK
    marks = [
        {"at": record["ended"], "version": f"version {int(str(record['version']))}", "outcome": record["outcome"]}
        for record in records
        if str(record["ended"]) >= text_of(since)
    ]
    documents: dict[str, object] = {"deployments.json": marks, "traffic.json": _traffic(around, since, until)}
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    for name, document in documents.items():
        # An empty list of hours would say that nobody asked, and a missing one that nobody counted.
        if document is not None:
            body = json.dumps(document).encode()
            around.clients.s3.put_object(Bucket=bucket, Key=f"{prefix}/{name}", Body=body)
    return uri


def _traffic(around: Surroundings, since: datetime, until: datetime) -> list[HourOfTraffic] | None:
    """Requests and model latency by hour, as CloudWatch counted them; None where not all requests are captured."""
    if not _captures_everything(around):
        return None
    queries = [
        _query("requests", around.endpoint, "Invocations", "Sum"),
        _query("latency_ms", around.endpoint, "ModelLatency", "p50"),
        _query("latency_p99_ms", around.endpoint, "ModelLatency", "p99"),
    ]
    hours: dict[str, HourOfTraffic] = {}
    pages = around.clients.cloudwatch.get_paginator("get_metric_data").paginate(
        MetricDataQueries=queries, StartTime=whole_hour(since), EndTime=until
    )
    for page in pages:
        for series in page["MetricDataResults"]:
            for time, value in zip(series["Timestamps"], series["Values"], strict=True):
                hour = whole_hour(time).isoformat()
                row = hours.setdefault(hour, {"hour": hour, "requests": 0})
                _count(row, series["Id"], value)
    return [hours[hour] for hour in sorted(hours)]


def _count(row: HourOfTraffic, name: str, value: float) -> None:
    """Note one value of an hour; ModelLatency is in microseconds."""
    if name == "requests":
        row["requests"] = int(value)
    elif name == "latency_ms":
        row["latency_ms"] = value / 1000.0
    else:
        row["latency_p99_ms"] = value / 1000.0


def _query(name: str, endpoint: str, metric: str, statistic: str) -> MetricDataQueryTypeDef:
    return {
        "Id": name,
        "MetricStat": {
            "Metric": {
                "Namespace": "AWS/SageMaker",
                "MetricName": metric,
                "Dimensions": [
                    {"Name": "EndpointName", "Value": endpoint},
                    {"Name": "VariantName", "Value": VARIANT},
                ],
            },
            "Period": _HOUR_S,
            "Stat": statistic,
        },
    }


def _captures_everything(around: Surroundings) -> bool:
    endpoint = describe_endpoint(around.clients.sagemaker, around.endpoint)
    if endpoint is None or "DataCaptureConfig" not in endpoint:
        return False
    capture = endpoint["DataCaptureConfig"]
    return int(capture.get("CurrentSamplingPercentage", 0)) == 100 and capture.get("CaptureStatus") == "Started"


def whole_hour(time: datetime) -> datetime:
    """The hour that a time lies in, in UTC."""
    return time.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
