"""When drift starts a training: one, and otherwise a sentence that says why not."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from lambdas import retrain_on_drift, start_monitoring
from lambdas.deployment.ledger import Ledger
from lambdas.deployment.records import LiveDeployment
from lambdas.deployment.version import of_package
from lambdas.monitoring.live_version import deployed_at
from lambdas.monitoring.retraining import QUIET, REFUSED, STARTED, Rules, Where
from tests.unit.fake_table import FakeTable

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PIPELINE = "shop-training"
ARN = "arn:aws:sagemaker:us-east-1:123456789012"
LIVE = f"{ARN}:model-package/shop/3"
RULES = Rules(retrain=True, cooldown_hours=24, min_records=200, min_reviewed_images=2)
REPORT = "s3://data/reports/new/report.html"


class Account:
    """What the functions ask of S3, SageMaker and SNS."""

    def __init__(self) -> None:
        self.listed: list[dict[str, Any]] | None = [{"name": "new", "alarms": ["predictions"], "records": 500}]
        self.labels = [NOW - timedelta(hours=h) for h in (2, 3, 4)]
        self.executions: list[dict[str, Any]] = []
        self.pending: list[dict[str, Any]] = []
        self.metadata = {"source_s3_uri": "s3://data/source/x", "recipe": "scratch", "members": "2"}
        self.starts: list[dict[str, Any]] = []
        self.removed = False
        self.published: list[dict[str, Any]] = []

    @property
    def s3(self) -> Account:
        return self

    sagemaker = sns = s3

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 (boto3's names, as below)
        assert (Bucket, Key) == ("data", "reports/index.json")
        if self.listed is None:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        return {"Body": io.BytesIO(json.dumps(self.listed).encode())}

    def get_paginator(self, _name: str) -> Account:
        return self

    def paginate(self, **_request: Any) -> list[dict[str, Any]]:
        labels = [{"Key": f"reviews/{n}/label.json", "LastModified": at} for n, at in enumerate(self.labels)]
        return [{}, {"Contents": [*labels, {"Key": "reviews/0/image.png", "LastModified": NOW}]}]

    def describe_model_package(self, ModelPackageName: str) -> dict[str, Any]:  # noqa: N803
        assert ModelPackageName == LIVE
        if self.removed:
            error = {"Code": "ValidationException", "Message": f"ModelPackage {LIVE} does not exist."}
            raise ClientError({"Error": error}, "DescribeModelPackage")
        containers = [{"Environment": {"SCONES_CLASSES": "bicycle,motorcycle"}}]
        return {
            "ModelPackageArn": LIVE,
            "ModelPackageVersion": 3,
            "CreationTime": NOW - timedelta(days=9),
            "CustomerMetadataProperties": self.metadata,
            "InferenceSpecification": {"Containers": containers},
        }

    def list_model_packages(self, **request: Any) -> dict[str, Any]:
        assert request["CreationTimeAfter"] == NOW - timedelta(days=9)
        return {"ModelPackageSummaryList": self.pending}

    def list_pipeline_executions(self, **request: Any) -> dict[str, Any]:
        assert (request["PipelineName"], request["SortOrder"]) == (PIPELINE, "Descending")
        return {"PipelineExecutionSummaries": self.executions}

    def start_pipeline_execution(self, **request: Any) -> dict[str, Any]:
        known = [s for s in self.starts if s["ClientRequestToken"] == request["ClientRequestToken"]]
        if not known:
            self.starts.append(request)
        return {"PipelineExecutionArn": f"{ARN}:pipeline/{PIPELINE}/execution/{len(self.starts)}"}

    def publish(self, **request: Any) -> None:
        self.published.append(request)

    def given(self) -> dict[str, str]:
        (start,) = self.starts
        return {p["Name"]: p["Value"] for p in start["PipelineParameters"]}


@pytest.fixture
def account() -> Account:
    return Account()


@pytest.fixture
def where(account: Account) -> Where:
    table = FakeTable("shop-deployments")
    Ledger(table).put_live(LiveDeployment(3, LIVE, "config", "2026-11-20"))
    return Where(account, table, PIPELINE, "shop", "s3://data/reports", "s3://data/reviews", RULES)


def execution(status: str, name: str, started: datetime) -> dict[str, Any]:
    return {
        "PipelineExecutionArn": f"{ARN}:pipeline/{PIPELINE}/execution/{name}",
        "PipelineExecutionStatus": status,
        "PipelineExecutionDisplayName": name,
        "StartTime": started,
    }


def test_a_training_starts_with_the_live_version_s_data_and_the_reviewed_images(account: Account, where: Where) -> None:
    decision, sentence = retrain_on_drift.respond(where, "predictions", NOW)
    assert decision.outcome == STARTED
    assert account.given() == {
        "SourceUri": "s3://data/source/x",
        "Classes": "bicycle,motorcycle",
        "Recipe": "scratch",
        "Members": "2",
        "ReviewedUntil": "2026-11-21T10:00:00Z",
    }
    assert sentence == (
        f"the predictions moved: started {PIPELINE} ({decision.execution}) with version 3's data and 3 newly reviewed "
        f"images; report: {REPORT}"
    )
    again, _ = retrain_on_drift.respond(where, "predictions", NOW + timedelta(seconds=1))
    assert (again.execution, len(account.starts)) == (decision.execution, 1), "events that come twice start one"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"executions": [execution("Executing", "by-hand", NOW)]}, "execution by-hand of shop-training is in progress"),
        (
            {"executions": [execution("Failed", "drift-1", NOW - timedelta(hours=20))]},
            "the last one was started at 2026-11-20 16:00 UTC, the next may be at 2026-11-21 16:00 UTC",
        ),
        ({"pending": [{"ModelPackageArn": "4", "ModelPackageVersion": 4}]}, "version 4 waits for approval"),
        (
            {"listed": [{"name": "new", "alarms": ["predictions"], "records": 199}]},
            "the report is about 199 predictions, fewer than 200",
        ),
        (
            {"labels": [NOW]},
            "of at least 2 reviewed images that the version that serves does not know there are 1: see `scones review "
            "label`",
        ),
        (
            {"metadata": {"source_s3_uri": "s3://data/source/x", "reviewed_until": "2026-11-21T09:30:00Z"}},
            "of at least 2 reviewed images that the version that serves does not know there are 1: see `scones review "
            "label`",
        ),
        ({"metadata": {}}, "version 3 does not say what it was trained on"),
    ],
)
def test_what_speaks_against_a_training_is_said_in_a_sentence(
    account: Account, where: Where, change: dict[str, Any], why: str
) -> None:
    for name, value in change.items():
        setattr(account, name, value)
    decision, sentence = retrain_on_drift.respond(where, "predictions", NOW)
    assert (decision.outcome, account.starts) == (REFUSED, [])
    assert sentence == f"the predictions moved, but no training is started: {why}; report: {REPORT}"


def test_a_training_may_start_again_after_the_cool_down_and_beside_what_people_started(
    account: Account, where: Where
) -> None:
    account.executions = [
        execution("Succeeded", "by-hand", NOW - timedelta(minutes=1)),
        execution("Succeeded", "drift-1", NOW - timedelta(hours=24)),
    ]
    assert retrain_on_drift.respond(where, "predictions", NOW)[0].outcome == STARTED


def test_a_version_that_the_registry_lost_is_known_from_the_table_or_said(account: Account, where: Where) -> None:
    kept = of_package(account.describe_model_package(LIVE))
    account.removed = True
    decision, sentence = retrain_on_drift.respond(where, "predictions", NOW)
    assert decision.outcome == "refused"
    assert f"{LIVE} was deleted from the registry, and deployed before" in sentence
    Ledger(where.table).put_version(kept)
    decision, _ = retrain_on_drift.respond(where, "predictions", NOW)
    assert decision.outcome == "started"
    assert account.given()["SourceUri"] == "s3://data/source/x"


def test_settings_and_a_missing_version_are_said(account: Account, where: Where) -> None:
    off = replace(where, rules=replace(RULES, retrain=False))
    assert "the stage's settings say not to" in retrain_on_drift.respond(off, "predictions", NOW)[1]
    nobody = replace(where, table=FakeTable("empty"))
    assert "no training is started: no version serves" in retrain_on_drift.respond(nobody, "predictions", NOW)[1]
    assert account.starts == []


@pytest.mark.parametrize(
    ("listed", "why"),
    [
        (None, "there is no report yet"),
        ([], "there is no report yet"),
        ([{"name": "new", "alarms": ["images"]}], "the newest report finds no drift of the predictions"),
    ],
)
def test_without_drift_in_the_newest_report_nothing_starts(
    account: Account, where: Where, listed: list[dict[str, Any]] | None, why: str
) -> None:
    account.listed = listed
    decision, sentence = retrain_on_drift.respond(where, "predictions", NOW)
    assert (decision.outcome, account.starts) == (QUIET, [])
    assert sentence.startswith(f"no training is started: {why}")


@pytest.mark.parametrize("family", ["images", "capture"])
def test_what_is_no_matter_of_training_is_told_to_a_person(account: Account, where: Where, family: str) -> None:
    account.listed = [{"name": "new", "alarms": ["predictions", family], "records": 500}]
    decision, sentence = retrain_on_drift.respond(where, family, NOW)
    assert (decision.outcome, account.starts) == (REFUSED, [])
    assert "no training is started for that" in sentence and sentence.endswith(REPORT)


def test_reports_are_told_of_only_when_they_start_something(
    account: Account, where: Where, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(retrain_on_drift, "_where", lambda: where)
    monkeypatch.setenv("ALARM_FAMILIES", json.dumps({"shop-drift-predictions": "predictions"}))
    monkeypatch.setenv("NOTIFICATION_TOPIC_ARN", "topic")
    monkeypatch.setenv("TRAINING_PIPELINE", PIPELINE)
    report: dict[str, Any] = {"id": "1", "detail": {"pipelineArn": "monitoring"}}
    account.labels = []
    assert retrain_on_drift.handler(report, None)["outcome"] == REFUSED
    assert account.published == []
    assert json.loads(capsys.readouterr().out)["told"].startswith("the predictions moved, but")
    alarm = {"id": "2", "detail": {"alarmName": "shop-drift-predictions"}}
    assert retrain_on_drift.handler(alarm, None)["sentence"].startswith("shop-drift-predictions: the predictions")
    account.labels = [NOW, NOW]
    assert retrain_on_drift.handler(report, None)["outcome"] == STARTED
    refused, started = account.published
    assert "of at least 2" in refused["Message"] and "started shop-training" in started["Message"]
    assert started["MessageAttributes"]["report"] == {"DataType": "String", "StringValue": REPORT}


@pytest.mark.parametrize(
    ("scheduled", "until"),
    [("12:04:59", "11:00"), ("12:05:00", "12:00"), ("12:59:00", "12:00"), ("00:01:00", "23:00")],
)
def test_a_report_is_about_whole_hours_whose_captures_have_arrived(scheduled: str, until: str) -> None:
    since, end = start_monitoring.window(datetime.fromisoformat(f"2026-11-21T{scheduled}Z"), timedelta(hours=24))
    assert (f"{end:%H:%M}", end - since) == (until, timedelta(hours=24))


def test_a_version_serves_since_it_came_without_another_in_between() -> None:
    history = [(1, "deployed", "a"), (2, "deployed", "b"), (3, "failed", "c"), (2, "deployed", "d")]
    records = [{"version": v, "outcome": outcome, "ended": ended} for v, outcome, ended in history]
    assert deployed_at(records, 2) == "b"
    assert deployed_at([*records, {"version": 1, "outcome": "deployed", "ended": "e"}], 1) == "e"
    assert deployed_at(records, 3) == ""
