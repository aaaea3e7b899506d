"""Reports on schedule in a deployed stage, and what becomes of their alarms, in an account whose time is moved."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local_account.server import control
from tests.local.conftest import start_account
from tests.local.deployment_stage import BUCKET, ENDPOINT, PATIENCE_S, PREFIX, Stage
from tests.local.queues import Queue
from tests.local.sagemaker_requests import ROLE
from tests.local.workflow_stage import Photos, deploy

# Not the real time: what is captured in an hour's first minutes comes too late for the report of that time.
START = datetime(2026, 11, 2, 10, 30, tzinfo=UTC)
ASKED = 5
MONITORING, TRAINING = f"{PREFIX}-monitoring", f"{PREFIX}-training"
NAMESPACE = "Scones/Monitoring"


@dataclass
class Monitored:
    """The stage with a version that serves."""

    stage: Stage
    heard: Queue
    messages: list[str] = field(default_factory=list)

    def client(self, service: str) -> Any:
        return self.stage.account.client(service)

    def advance(self, by: timedelta) -> datetime:
        moved = control.advance_clock_at(self.stage.account.state_dir, self.stage.account.port, by.total_seconds())
        return datetime.fromisoformat(moved["clock"]["now"])

    def executions(self, pipeline: str) -> list[dict[str, Any]]:
        answer = self.client("sagemaker").list_pipeline_executions(
            PipelineName=pipeline, SortBy="CreationTime", SortOrder="Descending"
        )
        found: list[dict[str, Any]] = answer["PipelineExecutionSummaries"]
        return found

    def parameters(self, execution: str) -> dict[str, str]:
        answer = self.client("sagemaker").list_pipeline_parameters_for_execution(PipelineExecutionArn=execution)
        return {p["Name"]: p["Value"] for p in answer["PipelineParameters"]}

    def until_ended(self, execution: str) -> str:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            found = self.client("sagemaker").describe_pipeline_execution(PipelineExecutionArn=execution)
            if found["PipelineExecutionStatus"] not in ("Executing", "Stopping"):
                return str(found["PipelineExecutionStatus"])
            assert time.monotonic() < deadline, found
            time.sleep(0.2)

    def told(self, *words: str) -> str:
        """The message of the topic that has all of the words."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            for message in self.messages:
                if all(word in message for word in words):
                    return message
            assert time.monotonic() < deadline, (words, self.messages)
            self.messages += [json.loads(m["Body"])["Message"] for m in self.heard.take(timeout_s=5)]

    def requests(self) -> float:
        """What CloudWatch counted so far."""
        answer = self.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName="Invocations",
            Dimensions=[
                {"Name": "EndpointName", "Value": ENDPOINT},
                {"Name": "VariantName", "Value": "AllTraffic"},
            ],
            StartTime=START,
            EndTime=START + timedelta(hours=1),
            Period=3600,
            Statistics=["Sum"],
        )
        return float(sum(point["Sum"] for point in answer["Datapoints"]))

    def state_of_low_confidence(self) -> str:
        answer = self.client("cloudwatch").describe_alarms(AlarmNames=[f"{PREFIX}-low-confidence-rate"])
        return str(answer["MetricAlarms"][0]["StateValue"])

    def predicted(self) -> float:
        """How many motorcycles the functions counted."""
        dimensions = {"service": "inference-workflow", "stage": "local", "class": "motorcycle"}
        answer = self.client("cloudwatch").get_metric_statistics(
            Namespace="Scones",
            MetricName="Predicted",
            Dimensions=[{"Name": name, "Value": value} for name, value in dimensions.items()],
            StartTime=START,
            EndTime=START + timedelta(days=30),
            Period=60,
            Statistics=["Sum"],
        )
        return float(sum(point["Sum"] for point in answer["Datapoints"]))

    def classify_until_counted(self, confidence: float) -> None:
        """Have the workflow's last function judge an answer, and wait until CloudWatch knows of it."""
        before = self.predicted()
        answer = {"inferences": [1 - confidence, confidence], "classes": ["bicycle", "motorcycle"]}
        body = {"s3_bucket": BUCKET, "s3_key": "any.png", **answer}
        event = {"body": body, "execution": "a test"}
        self.client("lambda").invoke(FunctionName=f"{PREFIX}-filter-inferences", Payload=json.dumps(event).encode())
        self.stage.until(lambda: self.predicted() > before, "CloudWatch counts the class")

    def alarm(self, family: str, *, state: str = "ALARM") -> None:
        self.client("cloudwatch").set_alarm_state(
            AlarmName=f"{PREFIX}-drift-{family}", StateValue=state, StateReason="a test"
        )

    def list_report(self, name: str, alarms: list[str]) -> None:
        """What the monitoring job says of its newest report."""
        end = datetime(2100, 1, 1, tzinfo=UTC).isoformat()
        listed = [{"name": name, "verdict": "", "alarms": alarms, "records": 500, "start": end, "end": end}]
        self.client("s3").put_object(Bucket=BUCKET, Key="reports/index.json", Body=json.dumps(listed).encode())


@pytest.fixture(scope="module")
def monitored(tmp_path_factory: pytest.TempPathFactory, photos: Photos) -> Iterator[Monitored]:
    state = tmp_path_factory.mktemp("monitoring") / "home" / "account"
    running = start_account(state, None, "--clock", START.isoformat())
    try:
        deploy(running)
        stage = Stage(running, photos.passing[:2])
        heard = Queue(running, "heard")
        topic = f"arn:aws:sns:us-east-1:123456789012:{PREFIX}-notifications"
        running.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=heard.arn)
        package = stage.register("0.9")
        metadata = {"source_s3_uri": f"s3://{BUCKET}/source/none", "data_origin": "drawings", "recipe": "scratch"}
        stage.sagemaker.update_model_package(ModelPackageArn=package, CustomerMetadataProperties=metadata)
        stage.approve(package)
        stage.until_outcome(package, "deployed")
        for _ in range(ASKED):
            stage.ask()
        made = Monitored(stage, heard)
        stage.until(lambda: made.requests() >= ASKED, "CloudWatch counts the requests")
        yield made
    finally:
        running.stop()


def test_the_schedule_fires_and_its_report_becomes_metrics(monitored: Monitored) -> None:
    assert monitored.executions(MONITORING) == []
    monitored.advance(timedelta(hours=2))
    monitored.stage.until(lambda: monitored.executions(MONITORING), "the schedule fires")
    (execution,) = monitored.executions(MONITORING)
    arn = execution["PipelineExecutionArn"]
    assert monitored.until_ended(arn) == "Succeeded"

    given = monitored.parameters(arn)
    start, end = (datetime.fromisoformat(given[name]) for name in ("Start", "End"))
    assert (end.minute, end.second, end - start) == (0, 0, timedelta(hours=24))
    assert (given["Classes"], given["DataOrigin"]) == ("bicycle,motorcycle", "drawings")
    assert given["ModelPackageArn"].endswith("/1") and given["DeployedAt"]
    context = given["ContextUri"].removeprefix(f"s3://{BUCKET}/")
    body = monitored.client("s3").get_object(Bucket=BUCKET, Key=f"{context}/traffic.json")["Body"]
    assert sum(hour["requests"] for hour in json.load(body)) >= ASKED

    listed = json.load(monitored.client("s3").get_object(Bucket=BUCKET, Key="reports/index.json")["Body"])
    assert [each["name"] for each in listed] == [arn.rpartition("/")[2]]
    found = monitored.client("cloudwatch").get_metric_statistics(
        Namespace=NAMESPACE,
        MetricName="records",
        Dimensions=[{"Name": "Endpoint", "Value": f"{PREFIX}-vehicle-classifier"}],
        StartTime=end,
        EndTime=end + timedelta(days=2),
        Period=3600,
        Statistics=["Sum"],
    )
    assert [point["Sum"] for point in found["Datapoints"]] == [listed[0]["records"]]
    assert listed[0]["records"] >= ASKED
    (shown,) = monitored.stage.scones("monitor", "list", "--json")
    assert {name: shown[name] for name in ("name", "records", "alarms", "estimated", "measured")} == {
        "name": listed[0]["name"], "records": listed[0]["records"], "alarms": [], "estimated": None, "measured": None,
    }  # fmt: skip
    assert monitored.stage.scones("monitor", "list", "--open", "--json") == []


@pytest.mark.slow
def test_two_instances_share_the_hours_and_one_merges_them(monitored: Monitored) -> None:
    s3 = monitored.client("s3")

    def kept() -> list[str]:
        found = s3.list_objects_v2(Bucket=BUCKET, Prefix="reports/state/").get("Contents", [])
        return [item["Key"] for item in found if item["Size"]]

    before = kept()
    for key in before:
        s3.delete_object(Bucket=BUCKET, Key=key)
    found = monitored.stage.scones("monitor", "collect", "--since", "2026-01-01", "--instances", "2", "--json")
    assert found["instances"] == min(2, found["folders"])
    assert {key for key in before if "/day=" in key and "/_" not in key} <= set(kept())
    assert not [key for key in kept() if "/partials/" in key], "what they left for each other is gone"


@pytest.mark.slow
def test_a_transform_jobs_captures_become_a_report_of_the_same_kind(monitored: Monitored, tmp_path: Path) -> None:
    sagemaker, s3, stage = monitored.client("sagemaker"), monitored.client("s3"), monitored.stage
    for number, image in enumerate([*stage.images, *stage.images]):
        s3.put_object(Bucket=BUCKET, Key=f"batch-in/{number}.png", Body=image)
    package = sagemaker.list_model_packages(ModelPackageGroupName=ENDPOINT)["ModelPackageSummaryList"][0]
    container = {"ModelPackageName": package["ModelPackageArn"]}
    sagemaker.create_model(ModelName="many", PrimaryContainer=container, ExecutionRoleArn=ROLE)
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/batch-in/"}}
    sagemaker.create_transform_job(
        TransformJobName="many",
        ModelName="many",
        TransformInput={"DataSource": source, "ContentType": "image/png"},
        TransformOutput={"S3OutputPath": f"s3://{BUCKET}/batch-out", "Accept": "application/json"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 2},
        DataCaptureConfig={"DestinationS3Uri": f"s3://{BUCKET}/batch-captures"},
    )

    def job() -> dict[str, str]:
        found: dict[str, str] = sagemaker.describe_transform_job(TransformJobName="many")
        return found

    stage.until(lambda: job()["TransformJobStatus"] in ("Completed", "Failed"), "the job ends")
    assert job()["TransformJobStatus"] == "Completed", job()["FailureReason"]
    for _ in range(2):  # once more changes nothing
        report = stage.scones("monitor", "transform", "many", "--out", str(tmp_path / "report"), "--json")
        assert (report["counts"]["records"], report["counts"]["duplicates"]) == (4, 0)
    assert report["endpoint"] == "many"
    assert (tmp_path / "report" / "report.html").is_file()
    assert "there is no transform job none" in stage.refused("monitor", "transform", "none")


def test_what_was_captured_is_a_table(monitored: Monitored) -> None:
    table = monitored.client("glue").get_table(DatabaseName=PREFIX, Name="predictions")["Table"]
    assert [key["Name"] for key in table["PartitionKeys"]] == ["classes", "endpoint", "variant", "day"]
    assert table["Parameters"]["storage.location.template"].startswith(f"s3://{BUCKET}/reports/state/captured/classes=")
    pytest.importorskip("duckdb", reason="the extra `query` is not installed")
    sql = "SELECT endpoint, count(*) AS n FROM predictions WHERE NOT duplicate GROUP BY endpoint"
    (row,) = monitored.stage.scones("monitor", "query", sql, "--json")
    assert row["endpoint"] == ENDPOINT
    assert row["n"] >= ASKED, "and what the deployment tested with"


def test_a_time_that_comes_twice_starts_one_report(monitored: Monitored) -> None:
    (execution,) = monitored.executions(MONITORING)
    scheduled = execution["PipelineExecutionDescription"].removeprefix("scheduled at ")
    again = monitored.stage.run_function(f"{PREFIX}-start-monitoring", {"scheduled": scheduled})
    assert again["execution_arn"] == execution["PipelineExecutionArn"]
    late = datetime.fromisoformat(scheduled) - timedelta(minutes=5)  # so long captures may take
    assert datetime.fromisoformat(again["parameters"]["End"]) == late.replace(minute=0, second=0)
    assert len(monitored.executions(MONITORING)) == 1


def test_a_report_that_fails_is_told_and_the_schedule_goes_on(monitored: Monitored) -> None:
    arn = monitored.client("sagemaker").start_pipeline_execution(
        PipelineName=MONITORING,
        PipelineParameters=[{"Name": "Start", "Value": "yesterday"}, {"Name": "End", "Value": "today"}],
        ClientRequestToken="a-report-about-no-time-at-all-12345",
    )["PipelineExecutionArn"]
    assert monitored.until_ended(arn) == "Failed"
    assert f"There is no monitoring report: {arn} ended Failed. The schedule goes on." in monitored.told(arn)
    before = len(monitored.executions(MONITORING))
    monitored.advance(timedelta(hours=1))
    monitored.stage.until(lambda: len(monitored.executions(MONITORING)) > before, "the schedule goes on")
    assert monitored.until_ended(monitored.executions(MONITORING)[0]["PipelineExecutionArn"]) == "Succeeded"


def test_the_schedule_is_changed_and_switched_off(monitored: Monitored) -> None:
    def shown(*arguments: str) -> tuple[str, str]:
        found = monitored.stage.scones("monitor", "schedule", "--json", *arguments)
        return found["every"], found["stage_file"]

    def expected() -> bool:
        (alarm,) = monitored.client("cloudwatch").describe_alarms(AlarmNames=[f"{PREFIX}-missing-reports"])[
            "MetricAlarms"
        ]
        return bool(alarm["ActionsEnabled"])

    assert (shown(), expected()) == (("1h", "1h"), True)
    assert shown("--every", "6h") == ("6h", "1h")
    assert (shown("--off"), expected()) == (("off", "1h"), False)
    found = monitored.client("scheduler").get_schedule(Name=f"{PREFIX}-monitoring")
    assert (found["State"], found["ScheduleExpression"]) == ("DISABLED", "rate(6 hours)")
    assert found["Target"]["Input"] == '{"scheduled": "<aws.scheduler.scheduled-time>"}'
    said = monitored.stage.refused("monitor", "schedule", "--every", "90m")
    assert "--every must be 1h to 24h, or off, got '90m'" in said
    assert shown() == ("off", "1h")


def test_drift_of_predictions_starts_one_training(monitored: Monitored) -> None:
    monitored.list_report("moved", ["predictions", "images"])
    monitored.alarm("predictions")
    sentence = monitored.told("started scones-local-training")
    (execution,) = monitored.executions(TRAINING)
    assert execution["PipelineExecutionArn"] in sentence
    assert sentence.endswith(f"report: s3://{BUCKET}/reports/moved/report.html")
    given = monitored.parameters(execution["PipelineExecutionArn"])
    assert given["SourceUri"] == f"s3://{BUCKET}/source/none"
    assert (given["Classes"], given["DataOrigin"]) == ("bicycle,motorcycle", "drawings")
    monitored.until_ended(execution["PipelineExecutionArn"])  # its images do not exist

    monitored.alarm("predictions", state="OK")
    monitored.alarm("predictions")
    assert "no training is started: the last one was started at" in monitored.told("drift-predictions", "the last one")
    assert len(monitored.executions(TRAINING)) == 1


def test_drift_of_images_alone_is_for_a_person(monitored: Monitored) -> None:
    before = len(monitored.executions(TRAINING))
    monitored.list_report("dark", ["images"])
    monitored.alarm("images")
    sentence = monitored.told("drift-images: the images look different")
    assert sentence.endswith(f"no training is started for that; report: s3://{BUCKET}/reports/dark/report.html")
    assert len(monitored.executions(TRAINING)) == before


def test_low_confidence_is_an_alarm_within_minutes_and_ends_with_its_reason(monitored: Monitored) -> None:
    assert monitored.state_of_low_confidence() == "OK"
    for _ in range(3):
        monitored.classify_until_counted(0.6)
        monitored.advance(timedelta(minutes=1))
    monitored.stage.until(lambda: monitored.state_of_low_confidence() == "ALARM", "low confidence is an alarm")
    assert "low-confidence-rate" in monitored.told("low-confidence-rate", '"NewStateValue": "ALARM"')
    for _ in range(3):
        monitored.classify_until_counted(0.99)
        monitored.advance(timedelta(minutes=1))
    monitored.stage.until(lambda: monitored.state_of_low_confidence() == "OK", "the alarm ends")
    assert "low-confidence-rate" in monitored.told("low-confidence-rate", '"NewStateValue": "OK"')
