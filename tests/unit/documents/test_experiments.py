"""What a stage that logs to MLflow gives its jobs: the address, and no more permissions than logging takes."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from infrastructure.stack import template_parameters
from infrastructure.template import stage_template
from local_account.cloudformation.template import parse
from pipelines import training_pipeline
from scones.artifacts import build as artifacts
from scones.stage.connection import Connection
from scones.stage.names import Names
from scones.stage.settings import Settings
from tests.unit.definitions import a_deployment

SERVER = "arn:aws:sagemaker:us-east-1:123456789012:mlflow-tracking-server/team"
LOGGING = {"GetExperimentByName", "CreateExperiment", "CreateRun", "GetRun", "LogBatch", "UpdateRun"}


def given(mlflow: str) -> str:
    """The template's parameter for a stage that logs there."""
    settings = dataclasses.replace(Settings.load("local"), mlflow=mlflow)
    connection = Connection(settings, Names.of(settings, "123456789012"), None)
    built = artifacts.build(dict.fromkeys(("inference-workflow", "inference-express", "batch-workflow"), "{}"))
    return template_parameters(connection, built, artifacts.packed("layers/pillow-{}.zip", {}))["MlflowServerArn"]


@pytest.mark.parametrize(("mlflow", "arn"), [("", ""), ("local", ""), ("https://mlflow.example", ""), (SERVER, SERVER)])
def test_only_a_stage_that_names_sagemakers_mlflow_gives_permissions_for_it(mlflow: str, arn: str) -> None:
    assert given(mlflow) == arn


def test_the_policy_is_for_logging_to_that_server_and_for_two_kinds_of_job() -> None:
    template = parse(stage_template())
    policy = template["Resources"]["ExperimentsPolicy"]
    assert policy["Condition"] == "LogsToMlflow"
    assert template["Conditions"]["LogsToMlflow"] == {"Fn::Not": [{"Fn::Equals": [{"Ref": "MlflowServerArn"}, ""]}]}
    server, app, files = policy["Properties"]["PolicyDocument"]["Statement"]
    assert set(server["Action"]) == {f"sagemaker-mlflow:{name}" for name in LOGGING}
    assert server["Resource"] == app["Resource"] == {"Ref": "MlflowServerArn"}
    assert files["Resource"]["Fn::Sub"].endswith(":${DataBucketName}/mlflow/*")
    attached = {"Fn::If": ["LogsToMlflow", {"Ref": "ExperimentsPolicy"}, {"Ref": "AWS::NoValue"}]}
    roles = [name for name, each in template["Resources"].items() if attached in managed(each)]
    assert roles == ["TrainingRole", "EvaluationRole"]


def managed(resource: dict[str, Any]) -> list[Any]:
    found: list[Any] = resource["Properties"].get("ManagedPolicyArns", [])
    return found


def test_the_jobs_learn_the_address_from_a_parameter_of_the_run() -> None:
    deployment = dataclasses.replace(
        a_deployment(), settings=dataclasses.replace(Settings.load("local"), mlflow=SERVER)
    )
    definition = json.loads(training_pipeline.definition(deployment))
    (parameter,) = (each for each in definition["Parameters"] if each["Name"] == "TrackingUri")
    assert parameter["DefaultValue"] == SERVER
    steps = {step["Name"]: step for step in definition["Steps"]}
    for name in ("TrainModel", "EvaluateModel"):
        told = steps[name]["Arguments"]["Environment"]
        assert told["MLFLOW_TRACKING_URI"] == {"Get": "Parameters.TrackingUri"}
        assert told["SCONES_MLFLOW_ARTIFACTS"].endswith("/mlflow")
    assert "Environment" not in steps["FilterClasses"]["Arguments"]
