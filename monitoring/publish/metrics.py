"""The figures of a report that alarms and dashboards watch: ``metrics`` of report.json, and CloudWatch lines.

Runs in the monitoring container. A scheduled report of our own pipeline puts them into CloudWatch; Model Monitor
publishes the lines of /opt/ml/output/metrics/cloudwatch/*.jsonl (Amazon SageMaker developer guide, "CloudWatch Metrics
for Bring Your Own Containers").
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from reporting.documents.report import Drift
from reporting.documents.traffic import Summary
from reporting.job import JobError

if TYPE_CHECKING:
    from types_boto3_cloudwatch.type_defs import DimensionTypeDef, MetricDatumTypeDef

FILE = "scones.jsonl"
_CONFIDENCE = ("mean", "p5", "p10", "p25", "median", "p75", "p90", "p95")

# What the stack's alarms and its dashboard show; each metric costs something.
WATCHED = (
    *("records", "parse_errors", "low_confidence_share", "capture_gap"),
    *("confidence_p10", "confidence_median", "confidence_p90"),
    *("drift_predictions", "drift_images", "drift_capture"),
)


def metrics(summary: Summary, drift: Drift | None, gap: float | None) -> dict[str, float]:
    """By name; a figure that does not exist is absent. ``drift_<family>``: 1 and above is an alarm."""
    found: dict[str, float | None] = {
        "records": summary.counts.records,
        "parse_errors": summary.counts.malformed,
        "low_confidence_share": summary.share_below_threshold,
        **{f"confidence_{name}": getattr(summary.confidence, name) for name in _CONFIDENCE},
        "capture_gap": gap,
    }
    for family in drift.families if drift else []:
        # The evidence is spent by an alarm, which lasts.
        found[f"drift_{family.family}"] = max(1.0, family.level) if family.alarm else family.level
    return {name: float(value) for name, value in found.items() if value is not None}


def put(found: Mapping[str, float], namespace: str, endpoint: str) -> None:
    """What is watched, in CloudWatch, as of now: alarms look at the last minutes, and the window ended before."""
    import boto3  # only a scheduled job needs it
    from botocore.exceptions import BotoCoreError, ClientError

    dimensions: list[DimensionTypeDef] = [{"Name": "Endpoint", "Value": endpoint}]
    data: list[MetricDatumTypeDef] = [
        {"MetricName": name, "Dimensions": dimensions, "Value": value}
        for name, value in found.items()
        if name in WATCHED
    ]
    try:
        boto3.client("cloudwatch").put_metric_data(Namespace=namespace, MetricData=data)
    except (ClientError, BotoCoreError) as error:
        raise JobError(f"the metrics cannot be published in {namespace}: {error}") from error


def write_lines(found: Mapping[str, float], folder: Path, time: str, endpoint: str | None, schedule: str) -> None:
    """The metrics as Model Monitor takes them."""
    named = {"Endpoint": endpoint, "MonitoringSchedule": schedule}
    dimensions = [{"Name": name, "Value": value} for name, value in named.items() if value]
    lines = [
        {"MetricName": name, "Timestamp": time, "Dimensions": dimensions, "Value": value}
        for name, value in found.items()
    ]
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{FILE}.partial"
    partial.write_text("".join(json.dumps(line, allow_nan=False) + "\n" for line in lines), encoding="utf-8")
    partial.replace(folder / FILE)
