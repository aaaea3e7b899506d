"""The version that serves against the one that gets copies of its traffic: agreement, confidence, latency.

Runs on a laptop or in CodeBuild. Reads the captures of both variants, which the inference id of a request ties
together (or, without one, the image itself), and their latencies in CloudWatch.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import mean

import msgspec

from reporting.documents.capture import CaptureLine, Payload
from reporting.documents.json import DocumentError, from_bytes
from reporting.wording import count, number, percent
from scones.errors import SconesError
from scones.serving_versions.registry import ModelVersion
from scones.stage.connection import Connection, list_keys, split_uri

SERVES, SHADOW = "AllTraffic", "Shadow"
SMOKE_TEST = "smoke-test"  # the inference ids of smoke tests begin so
FURTHEST_SHOWN = 20


class ShadowSide(msgspec.Struct, frozen=True, kw_only=True):
    """One version's answers to the requests that both answered; shares lie between 0 and 1, None where unknown."""

    mean_confidence: float | None
    share_below_threshold: float | None
    mean_latency_ms: float | None


class ShadowReport(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of all requests since ``since`` (ISO 8601, UTC); ``requests`` counts those of the serving version.

    ``agreement`` is the share of requests that both give the same class, ``largest_difference`` that of a probability.
    """

    serving_version: int
    challenger_version: int
    since: str
    classes: list[str]
    requests: int
    answered_by_both: int
    agreement: float | None
    largest_difference: float | None
    serving: ShadowSide
    challenger: ShadowSide


@dataclass(frozen=True)
class Pair:
    """Both versions' probabilities for one request, in the order of the classes."""

    request: str
    serving: list[float]
    challenger: list[float]

    @property
    def labels(self) -> tuple[int, int]:
        """Positions of the classes that the serving version and the challenger answer."""
        return self.serving.index(max(self.serving)), self.challenger.index(max(self.challenger))

    @property
    def difference(self) -> float:
        """The largest difference of a probability."""
        return max(abs(ours - theirs) for ours, theirs in zip(self.serving, self.challenger, strict=True))


@dataclass(frozen=True)
class Compared:
    """The report, and for the page what it sums up."""

    report: ShadowReport
    answers: Counter[tuple[int, int]]
    """Requests by both versions' `Pair.labels`."""
    furthest: list[Pair]
    """Those that the two answer most differently, the furthest first."""


def compare(connection: Connection, serving: int, challenger: ModelVersion, since: str) -> Compared:
    """Figures of all requests since ``since`` that both answered. Raises SconesError for a line that is no capture."""
    start = datetime.fromisoformat(since)
    ours, theirs = (dict(_answers(connection, variant, start)) for variant in (SERVES, SHADOW))
    pairs = [Pair(key, ours[key], theirs[key]) for key in sorted(ours.keys() & theirs.keys())]
    report = ShadowReport(
        serving_version=serving,
        challenger_version=challenger.version,
        since=since,
        classes=challenger.classes,
        requests=len(ours),
        answered_by_both=len(pairs),
        agreement=mean(a == b for a, b in (pair.labels for pair in pairs)) if pairs else None,
        largest_difference=max((pair.difference for pair in pairs), default=None),
        serving=_side(connection, SERVES, start, [pair.serving for pair in pairs]),
        challenger=_side(connection, SHADOW, start, [pair.challenger for pair in pairs]),
    )
    furthest = sorted(pairs, key=lambda pair: -pair.difference)[:FURTHEST_SHOWN]
    return Compared(report, Counter(pair.labels for pair in pairs), furthest)


def rows(report: ShadowReport) -> list[tuple[str, str]]:
    """The report in lines for a person."""
    found = [
        ("serves", f"version {report.serving_version}"),
        ("gets copies", f"version {report.challenger_version} since {report.since[:19]}Z"),
        ("requests answered by both", f"{report.answered_by_both} of {report.requests}"),
    ]
    if report.agreement is None:
        return found
    found += [
        ("same class", percent(report.agreement)),
        ("largest difference of a probability", number(report.largest_difference, 4)),
    ]
    for name, side in (("serving", report.serving), ("challenger", report.challenger)):
        confidence = number(side.mean_confidence, 4)
        below = percent(side.share_below_threshold or 0.0)
        text = f"mean confidence {confidence}, {below} below the threshold, mean latency {latency(side)}"
        found.append((name, text))
    return found


def verdict(report: ShadowReport) -> str:
    """The report in one sentence."""
    names = f"version {report.challenger_version}", f"version {report.serving_version}"
    if report.agreement is None:
        return f"No request was answered by both {names[0]} and {names[1]} yet"
    return (
        f"{names[0].capitalize()} answers {percent(report.agreement)} of {count(report.answered_by_both, 'request')} "
        f"with the same class as {names[1]}; mean confidence "
        f"{number(report.challenger.mean_confidence)} against {number(report.serving.mean_confidence)}, mean latency "
        f"{latency(report.challenger)} against {latency(report.serving)}"
    )


def latency(side: ShadowSide) -> str:
    """What CloudWatch knows of it, in milliseconds."""
    return "not known yet" if side.mean_latency_ms is None else f"{side.mean_latency_ms:.1f} ms"


def _side(connection: Connection, variant: str, start: datetime, answers: list[list[float]]) -> ShadowSide:
    threshold = connection.settings.confidence_threshold
    return ShadowSide(
        mean_confidence=mean(map(max, answers)) if answers else None,
        share_below_threshold=mean(max(answer) < threshold for answer in answers) if answers else None,
        mean_latency_ms=_latency_ms(connection, variant, start),
    )


def captured_lines(connection: Connection, variant: str) -> Iterator[CaptureLine]:
    """Everything that was captured of a variant, in the order of the files. Raises SconesError for any other line."""
    s3 = connection.client("s3")
    place = f"{connection.names.capture_uri}/{connection.names.endpoint}/{variant}/"
    bucket, _ = split_uri(place)
    for key in list_keys(s3, place):
        for position, line in enumerate(s3.get_object(Bucket=bucket, Key=key)["Body"].read().splitlines(), start=1):
            try:
                yield from_bytes(line, CaptureLine)
            except DocumentError as error:
                raise SconesError(f"s3://{bucket}/{key} line {position} is no captured request: {error}") from error


def _answers(connection: Connection, variant: str, start: datetime) -> Iterator[tuple[str, list[float]]]:
    for captured in captured_lines(connection, variant):
        # Captured times have whole seconds.
        early = datetime.fromisoformat(captured.event_metadata.inference_time) < start.replace(microsecond=0)
        answer, identity = _probabilities(captured.capture_data.endpoint_output), _identity(captured)
        if answer and not early and not identity.startswith(SMOKE_TEST):
            yield identity, answer


def _identity(captured: CaptureLine) -> str:
    """What both variants' lines of a request have in common; the event's own id where there is nothing."""
    if captured.event_metadata.inference_id:
        return captured.event_metadata.inference_id
    request = captured.capture_data.endpoint_input
    return hashlib.sha256(request.data.encode()).hexdigest() if request else captured.event_metadata.event_id


class _Verbose(msgspec.Struct):
    probabilities: list[float]


def _probabilities(output: Payload) -> list[float] | None:
    """None for an answer without any, such as an error message."""
    try:
        data = base64.b64decode(output.data) if output.encoding == "BASE64" else output.data.encode()
        answer = msgspec.json.decode(data, type=list[float] | _Verbose)
    except (ValueError, msgspec.MsgspecError):
        return None
    return answer.probabilities if isinstance(answer, _Verbose) else answer


def _latency_ms(connection: Connection, variant: str, start: datetime) -> float | None:
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
    samples = sum(point["SampleCount"] for point in answer["Datapoints"])
    total = sum(point["Sum"] for point in answer["Datapoints"])
    return total / samples / 1000 if samples else None


def _period_s(span: timedelta) -> int:
    """Whole minutes, few enough for one answer (GetMetricStatistics gives at most 1,440 points)."""
    return 60 * (1 + int(span.total_seconds() // (60 * 1000)))
