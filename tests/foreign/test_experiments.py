"""A project that tracks its runs: version 3 of the SageMaker SDK's ``Run``, and what boto3 finds of it afterwards."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from local_account.authority.owner import owner_keys
from tests.local.conftest import RunningAccount
from tests.local.sagemaker_requests import bucket, run_training, training_arguments


@pytest.fixture
def at_home(account: RunningAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables that lead every client here."""
    for name, value in account.environment().items():
        if name.startswith("AWS_"):
            monkeypatch.setenv(name, value)


@pytest.fixture
def session(account: RunningAccount, at_home: None) -> Any:
    """The SDK's session on this account."""
    from sagemaker.core.helper.session_helper import Session

    keys = owner_keys(account.state_dir)
    boto_session = boto3.Session(keys.access_key, keys.secret_key, region_name="us-east-1")
    clients = {
        name: account.client(service)
        for name, service in (("sagemaker_client", "sagemaker"), ("sagemaker_metrics_client", "sagemaker-metrics"))
    }
    return Session(boto_session, default_bucket=f"sagemaker-runs-{uuid.uuid4().hex[:8]}", **clients)


def test_a_run_keeps_parameters_metrics_and_files(account: RunningAccount, session: Any, tmp_path: Path) -> None:
    from sagemaker.core.experiments.run import Run

    sagemaker, experiment = account.client("sagemaker"), f"abalone-{uuid.uuid4().hex[:8]}"
    notes = tmp_path / "notes.txt"
    notes.write_text("rings")
    account.client("s3").create_bucket(Bucket=session.default_bucket())
    with Run(experiment_name=experiment, run_name="first", sagemaker_session=session) as run:
        run.log_parameters({"depth": 5, "objective": "reg:linear"})
        for step, value in enumerate((0.9, 0.5, 0.7)):
            run.log_metric("loss", value, step=step)
        run.log_file(str(notes), name="notes")
        run.log_confusion_matrix([0, 1, 1], [0, 1, 0], title="matrix")
        config = run.experiment_config
    code = "import re\nprint('loss=0.25')\n"
    data = bucket(account, f"sagemaker-experiment-{uuid.uuid4().hex[:8]}")
    request = training_arguments(data, {"train.py": code}, "train.py", account, depth=6)
    request["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "loss", "Regex": "loss=([0-9.]+)"}]
    job = run_training(account, f"{experiment}-job", {**request, "ExperimentConfig": config})
    assert job["ExperimentConfig"] == config

    component = sagemaker.describe_trial_component(TrialComponentName=config["RunName"])
    assert component["Parameters"] == {"depth": {"NumberValue": 5.0}, "objective": {"StringValue": "reg:linear"}}
    (loss,) = [metric for metric in component["Metrics"] if metric["MetricName"] == "loss"]
    assert [loss[name] for name in ("Min", "Max", "Last", "Count")] == [0.5, 0.9, 0.7, 3]
    assert (
        account.client("s3")
        .get_object(
            **dict(
                zip(("Bucket", "Key"), component["OutputArtifacts"]["notes"]["Value"][5:].split("/", 1), strict=True)
            )
        )["Body"]
        .read()
        == b"rings"
    )
    (made,) = sagemaker.list_associations(SourceArn=component["TrialComponentArn"])["AssociationSummaries"]
    assert (made["AssociationType"], made["DestinationName"]) == ("Produced", "matrix")

    listed = sagemaker.list_trial_components(ExperimentName=experiment)["TrialComponentSummaries"]
    assert {one["TrialComponentName"] for one in listed} == {config["RunName"], f"{experiment}-job-aws-training-job"}
    (of_job,) = sagemaker.list_trial_components(SourceArn=job["TrainingJobArn"])["TrialComponentSummaries"]
    told = sagemaker.describe_trial_component(TrialComponentName=of_job["TrialComponentName"])
    assert told["Status"]["PrimaryStatus"] == "Completed"
    assert told["Parameters"]["depth"] == {"NumberValue": 6.0}
    assert told["OutputArtifacts"]["SageMaker.ModelArtifact"]["Value"] == job["ModelArtifacts"]["S3ModelArtifacts"]
    found = account.client("sagemaker-metrics").batch_get_metrics(
        MetricQueries=[
            {
                "MetricName": "loss",
                "ResourceArn": component["TrialComponentArn"],
                "MetricStat": "Last",
                "Period": "IterationNumber",
                "XAxisType": "IterationNumber",
            }
        ]
    )["MetricQueryResults"][0]
    assert (found["XAxisValues"], found["MetricValues"]) == ([0, 1, 2], [0.9, 0.5, 0.7])
    with pytest.raises(ClientError, match="delete its trials first"):
        sagemaker.delete_experiment(ExperimentName=experiment)


@pytest.fixture(scope="module")
def jobs(account: RunningAccount) -> str:
    """Two training jobs with tags, hyperparameters and metrics; answers what their names begin with."""
    name = f"searched-{uuid.uuid4().hex[:8]}"
    data = bucket(account, f"sagemaker-{name}")
    for number in (1, 2):
        code = f"print('accuracy={0.4 * number}')"
        request = training_arguments(data, {"train.py": code}, "train.py", account, rate=number / 10)
        request["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "accuracy", "Regex": "accuracy=([0-9.]+)"}]
        tags = [{"Key": "owner", "Value": f"person-{number}"}]
        job = run_training(account, f"{name}-{number}", {**request, "Tags": tags})
        assert job["TrainingJobStatus"] == "Completed", job
    return name


def named(name: str, operator: str, value: str | None = None) -> dict[str, str]:
    return {"Name": name, "Operator": operator, **({"Value": value} if value is not None else {})}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ({"Filters": [named("Metrics.accuracy", "GreaterThan", "0.5")]}, [2]),
        ({"Filters": [named("HyperParameters.rate", "LessThan", "0.15")]}, [1]),
        ({"Filters": [named("Tags.owner", "Equals", "person-2")]}, [2]),
        ({"Filters": [named("TrainingJobStatus", "In", "Failed, Completed")]}, [2, 1]),
        ({"Filters": [named("TrainingJobStatus", "NotEquals", "Completed")]}, []),
        ({"Filters": [named("FailureReason", "NotExists")]}, [2, 1]),
        ({"Filters": [named("CreationTime", "GreaterThan", "2020-01-01T00:00:00Z")]}, [2, 1]),
        ({"Filters": [named("StoppingCondition.MaxRuntimeInSeconds", "LessThanOrEqualTo", "60")]}, []),
        (
            {
                "Operator": "Or",
                "Filters": [named("Tags.owner", "Equals", "person-1")],
                "SubExpressions": [{"Filters": [named("Tags.owner", "Contains", "son-2")]}],
            },
            [2, 1],
        ),
        (
            {
                "NestedFilters": [
                    {
                        "NestedPropertyName": "FinalMetricDataList",
                        "Filters": [
                            named("FinalMetricDataList.MetricName", "Equals", "accuracy"),
                            named("FinalMetricDataList.Value", "LessThan", "0.5"),
                        ],
                    }
                ]
            },
            [1],
        ),
    ],
)
def test_a_search_finds_what_its_expression_says(
    account: RunningAccount, jobs: str, expression: dict[str, Any], expected: list[int]
) -> None:
    both = {"SubExpressions": [{"Filters": [named("TrainingJobName", "Contains", jobs)]}, expression]}
    found = account.client("sagemaker").search(Resource="TrainingJob", SearchExpression=both, SortBy="TrainingJobName")
    names = [one["TrainingJob"]["TrainingJobName"] for one in found["Results"]]
    assert names == [f"{jobs}-{number}" for number in expected]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ({}, "at least one filter"),
        ({"Filters": [named("Colour", "Equals", "red")]}, "Unknown property name: Colour"),
        ({"Filters": [named("TrainingJobName", "GreaterThan", "5")]}, "needs a number or a time"),
        ({"Filters": [named("CreationTime", "LessThan", "soon")]}, "must be a time in ISO 8601, got 'soon'"),
        ({"Filters": [named("TrainingJobName", "Exists", "x")]}, "Value must be left out"),
        ({"Filters": [named("TrainingJobName", "Equals")]}, "Value is needed"),
    ],
)
def test_a_search_for_what_cannot_be_is_refused(
    account: RunningAccount, expression: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClientError, match=message) as refused:
        account.client("sagemaker").search(Resource="TrainingJob", SearchExpression=expression)
    assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_every_kind_of_resource_can_be_searched(account: RunningAccount, jobs: str) -> None:
    sagemaker = account.client("sagemaker")
    kinds = sagemaker.meta.service_model.shape_for("ResourceType").enum
    for kind in kinds:
        assert sagemaker.search(Resource=kind, MaxResults=5)["TotalHits"]["Value"] >= (kind == "TrainingJob")
