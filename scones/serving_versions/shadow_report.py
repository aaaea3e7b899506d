"""The version that serves against the one that gets copies of its traffic: agreement, confidence, latency.

Runs on a laptop or in CodeBuild. Reads the captures of both variants, which the inference id of a request ties
together (or, without one, the image itself), and their latencies in CloudWatch.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from statistics import mean
from typing import Any

from scones.serving_versions.registry import ModelVersion
from scones.stage.connection import Connection, list_keys, split_uri

SERVES, SHADOW = "AllTraffic", "Shadow"
SMOKE_TEST = "smoke-test"  # the inference ids of smoke tests begin so


def compare(connection: Connection, serving: int, challenger: ModelVersion, since: str) -> dict[str, Any]:
    """Figures of all requests since ``since`` that both answered."""
    start = datetime.fromisoformat(since)
    answers = {variant: dict(_answers(connection, variant, start)) for variant in (SERVES, SHADOW)}
    both = sorted(answers[SERVES].keys() & answers[SHADOW].keys())
    pairs = [(answers[SERVES][key], answers[SHADOW][key]) for key in both]
    threshold = connection.settings.confidence_threshold
    labels = [(a.index(max(a)), b.index(max(b))) for a, b in pairs]
    return {
        "serving_version": serving,
        "challenger_version": challenger.version,
        "since": since,
        "classes": challenger.classes,
        "requests": len(answers[SERVES]),
        "answered_by_both": len(pairs),
        "agreement": mean(a == b for a, b in labels) if pairs else None,
        "largest_difference": max((abs(x - y) for p in pairs for x, y in zip(*p, strict=True)), default=None),
        **{
            name: {
                "mean_confidence": mean(max(pair[at]) for pair in pairs) if pairs else None,
                "share_below_threshold": mean(max(pair[at]) < threshold for pair in pairs) if pairs else None,
                **_latency(connection, variant, start),
            }
            for at, (name, variant) in enumerate({"serving": SERVES, "challenger": SHADOW}.items())
        },
    }


def rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    """The report in lines for a person."""
    found = [
        ("serves", f"version {report['serving_version']}"),
        ("gets copies", f"version {report['challenger_version']} since {report['since'][:19]}Z"),
        ("requests answered by both", f"{report['answered_by_both']} of {report['requests']}"),
    ]
    if report["answered_by_both"]:
        found += [
            ("same class", f"{report['agreement']:.1%}"),
            ("largest difference of a probability", f"{report['largest_difference']:.4f}"),
        ]
        for name in ("serving", "challenger"):
            side = report[name]
            latency = f"{side['mean_latency_ms']:.1f} ms" if side["mean_latency_ms"] is not None else "not known yet"
            found.append(
                (
                    name,
                    f"mean confidence {side['mean_confidence']:.4f}, {side['share_below_threshold']:.1%} below the"
                    f" threshold, mean latency {latency}",
                )
            )
    return found


def _answers(connection: Connection, variant: str, start: datetime) -> Iterator[tuple[str, list[float]]]:
    s3 = connection.client("s3")
    place = f"{connection.names.capture_uri}/{connection.names.endpoint}/{variant}/"
    bucket, _ = split_uri(place)
    for key in list_keys(s3, place):
        for line in s3.get_object(Bucket=bucket, Key=key)["Body"].read().splitlines():
            record = json.loads(line)
            metadata, data = record["eventMetadata"], record["captureData"]
            identity = metadata.get("inferenceId") or hashlib.sha256(data["endpointInput"]["data"].encode()).hexdigest()
            # Captured times have whole seconds.
            early = datetime.fromisoformat(metadata["inferenceTime"]) < start.replace(microsecond=0)
            if not early and not identity.startswith(SMOKE_TEST) and (answer := _probabilities(data["endpointOutput"])):
                yield identity, answer


def _probabilities(output: dict[str, str]) -> list[float] | None:
    text = base64.b64decode(output["data"]).decode() if output["encoding"] == "BASE64" else output["data"]
    try:
        answer = json.loads(text)
    except ValueError:
        return None
    if isinstance(answer, dict):
        answer = answer.get("probabilities")
    numbers = isinstance(answer, list) and answer and all(isinstance(value, int | float) for value in answer)
    return [float(value) for value in answer] if numbers else None


def _latency(connection: Connection, variant: str, start: datetime) -> dict[str, float | None]:
    now = connection.now()
    answer = connection.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName="ModelLatency",
        Dimensions=[
            {"Name": "EndpointName", "Value": connection.names.endpoint},
            {"Name": "VariantName", "Value": variant},
        ],
        # CloudWatch's points begin at full minutes.
        StartTime=start.replace(second=0, microsecond=0),
        EndTime=now + timedelta(minutes=1),
        Period=_period_s(now - start),
        Statistics=["Sum", "SampleCount"],
    )
    count = sum(point["SampleCount"] for point in answer["Datapoints"])
    total = sum(point["Sum"] for point in answer["Datapoints"])
    return {"mean_latency_ms": total / count / 1000 if count else None}


def _period_s(span: timedelta) -> int:
    """Whole minutes, few enough for one answer (GetMetricStatistics gives at most 1,440 points)."""
    return 60 * (1 + int(span.total_seconds() // (60 * 1000)))
