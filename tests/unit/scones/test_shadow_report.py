"""The comparison with a challenger: which lines belong together, and what they say."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import boto3
import msgspec
import pytest
from moto import mock_aws

from scones.errors import SconesError
from scones.serving_versions import shadow_report
from scones.serving_versions.registry import ModelVersion
from scones.serving_versions.shadow_report import SERVES, SHADOW, Compared
from scones.stage.connection import Connection
from scones.stage.names import Names
from scones.stage.settings import Settings

NOW = datetime.now(UTC)
SINCE = f"{NOW:%Y-%m-%dT%H:%M:%S}.750000+00:00"
CHALLENGER = ModelVersion(
    "arn:aws:sagemaker:us-east-1:123456789012:model-package/shop/4", 4, "Approved", NOW, {}, "", "", ["a", "b"]
)


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connection]:
    """An account with a bucket for captures."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    settings = Settings("production")
    with mock_aws():
        session = boto3.Session(region_name="us-east-1")
        found = Connection(settings, Names.of(settings, "123456789012"), session)
        found.client("s3").create_bucket(Bucket=found.names.data_bucket)
        yield found


def line(answer: object, identity: str | None = None, image: str = "aW1hZ2U=", time: datetime = NOW) -> str:
    """A captured line; the answer as SageMaker keeps JSON that it does not know to be JSON."""
    data = base64.b64encode(json.dumps(answer).encode()).decode()
    metadata = {"eventId": f"event-{time}-{identity}-{answer}", "inferenceTime": f"{time:%Y-%m-%dT%H:%M:%SZ}"}
    return json.dumps(
        {
            "captureData": {
                "endpointInput": {
                    "observedContentType": "image/png", "mode": "INPUT", "data": image, "encoding": "BASE64",
                },
                "endpointOutput": {"mode": "OUTPUT", "data": data, "encoding": "BASE64"},
            },
            "eventMetadata": {**metadata, **({"inferenceId": identity} if identity else {})},
            "eventVersion": "0",
            "invocationSource": "a field that nobody knows",
        }
    )  # fmt: skip


def compared(connection: Connection, serving: list[str], shadow: list[str]) -> Compared:
    for variant, lines in ((SERVES, serving), (SHADOW, shadow)):
        key = f"captures/{connection.names.endpoint}/{variant}/2026/03/01/10/a.jsonl"
        body = "\n".join(lines).encode()
        connection.client("s3").put_object(Bucket=connection.names.data_bucket, Key=key, Body=body)
    return shadow_report.compare(connection, 3, CHALLENGER, SINCE)


def test_requests_are_tied_together_by_inference_id_or_by_their_image(connection: Connection) -> None:
    early = datetime(2026, 1, 1, tzinfo=UTC)
    serving = [
        line([0.9, 0.1], "one"), line({"probabilities": [0.75, 0.25]}, image="dHdv"), line([0.5, 0.5], "alone"),
        line([1.0, 0.0], "smoke-test-1"), line([1.0, 0.0], "early", time=early),
        line({"error": "too large"}, "refused"),
    ]  # fmt: skip
    shadow = [
        line([0.8, 0.2], "one"), line([0.25, 0.75], image="dHdv"), line([0.0, 1.0], "smoke-test-1"),
        line([0.0, 1.0], "early", time=early), line([0.0, 1.0], "refused"),
    ]  # fmt: skip
    found = compared(connection, serving, shadow)
    assert msgspec.to_builtins(found.report) == {
        "serving_version": 3, "challenger_version": 4, "since": SINCE, "classes": ["a", "b"],
        "requests": 3, "answered_by_both": 2, "agreement": 0.5, "largest_difference": 0.5,
        "serving": {
            "mean_confidence": pytest.approx(0.825), "share_below_threshold": 1.0, "mean_latency_ms": None,
        },
        "challenger": {
            "mean_confidence": pytest.approx(0.775), "share_below_threshold": 1.0, "mean_latency_ms": None,
        },
    }  # fmt: skip
    assert found.answers == {(0, 0): 1, (0, 1): 1}
    assert [pair.difference for pair in found.furthest] == [pytest.approx(0.5), pytest.approx(0.1)]
    said = dict(shadow_report.rows(found.report))
    assert said["same class"] == "50 %"
    assert said["challenger"] == "mean confidence 0.7750, 100 % below the threshold, mean latency not known yet"


def test_nothing_answered_by_both_is_said(connection: Connection) -> None:
    found = compared(connection, [line([0.9, 0.1], "one")], [])
    assert found.report.agreement is None
    assert dict(shadow_report.rows(found.report))["requests answered by both"] == "0 of 1"


def test_a_line_that_is_no_capture_is_named(connection: Connection) -> None:
    with pytest.raises(SconesError, match=r"a\.jsonl line 2 is no captured request: "):
        compared(connection, [line([0.9, 0.1], "one"), '{"captureData": {}}'], [])
