"""The training pipeline's definition: built offline, the steps of the diagram, and arguments the service accepts."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scones.stage.sections import HYPERPARAMETERS
from tests.places import ROOT
from tests.unit.definitions import a_deployment, assert_valid_request, check_sample, resolve


@pytest.fixture(scope="module")
def definition() -> dict[str, Any]:
    from pipelines import training_pipeline  # the SDK takes seconds to import

    document: dict[str, Any] = json.loads(training_pipeline.definition(a_deployment()))
    return document


@pytest.fixture(scope="module")
def parameters(definition: dict[str, Any]) -> dict[str, Any]:
    given = {"SourceUri": "s3://bucket/source/0123456789abcdef"}
    return {p["Name"]: p.get("DefaultValue", given.get(p["Name"])) for p in definition["Parameters"]}


def every_step(steps: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    found = {step["Name"]: step for step in steps}
    for step in steps:
        for branch in ("IfSteps", "ElseSteps"):
            found.update(every_step(step.get("Arguments", {}).get(branch, [])))
    return found


def test_building_it_makes_no_connection_and_gives_the_same_text_twice(tmp_path: Path) -> None:
    code = """
import socket
def refuse(self, address): raise SystemExit(f"connects to {address}")
socket.socket.connect = refuse
from tests.unit.definitions import a_deployment
from pipelines import monitoring_pipeline, training_pipeline
for module in (training_pipeline, monitoring_pipeline):
    assert module.definition(a_deployment()) == module.definition(a_deployment())
"""
    # No credentials, no profile, no region: as on a fresh machine.
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


def test_it_has_the_steps_of_the_diagram(definition: dict[str, Any]) -> None:
    kinds = {name: step["Type"] for name, step in every_step(definition["Steps"]).items()}
    assert kinds == {
        "FilterClasses": "Processing",
        "TrainModel": "Training",
        "EvaluateModel": "Processing",
        "BuildBaseline": "Processing",
        "CheckAccuracy": "Condition",
        "VehicleClassifier-RegisterModel": "RegisterModel",
        "GateMissed": "Fail",
    }


def test_many_instances_filter_their_parts_and_one_merges_them(parameters: dict[str, Any]) -> None:
    from pipelines import training_pipeline  # the SDK takes seconds to import

    made = a_deployment()
    pipeline = dataclasses.replace(
        made.settings.pipeline, filter_instances=3, training_instances=2, training_input_mode="FastFile"
    )
    deployment = dataclasses.replace(made, settings=dataclasses.replace(made.settings, pipeline=pipeline))
    steps = every_step(json.loads(training_pipeline.definition(deployment))["Steps"])
    filtering, merging = (resolve(steps[name]["Arguments"], parameters) for name in ("FilterClasses", "MergeParts"))
    assert_valid_request("CreateProcessingJob", {"ProcessingJobName": "job", **filtering})
    assert_valid_request("CreateProcessingJob", {"ProcessingJobName": "job", **merging})
    assert [job["ProcessingResources"]["ClusterConfig"]["InstanceCount"] for job in (filtering, merging)] == [3, 1]
    divided = {
        given["InputName"]: given["S3Input"]["S3DataDistributionType"] for given in filtering["ProcessingInputs"]
    }
    assert divided == {"code": "FullyReplicated", "source": "ShardedByS3Key"}
    training = steps["TrainModel"]["Arguments"]
    assert training["ResourceConfig"]["InstanceCount"] == 2
    assert training["Environment"]["SCONES_HOST_WAIT_MINUTES"] == "10"
    channel = training["InputDataConfig"][0]
    assert channel["InputMode"] == "FastFile"
    uri = channel["DataSource"]["S3DataSource"]["S3Uri"]
    assert uri == {"Get": "Steps.MergeParts.ProcessingOutputConfig.Outputs['dataset'].S3Output.S3Uri"}


@pytest.mark.parametrize(("instance_type", "container"), [("ml.c5.xlarge", "-cpu-"), ("ml.g5.xlarge", "-gpu-")])
def test_the_container_suits_the_instances(instance_type: str, container: str) -> None:
    from pipelines import training_pipeline  # the SDK takes seconds to import

    made = a_deployment()
    pipeline = dataclasses.replace(made.settings.pipeline, training_instance_type=instance_type)
    deployment = dataclasses.replace(made, settings=dataclasses.replace(made.settings, pipeline=pipeline))
    steps = every_step(json.loads(training_pipeline.definition(deployment))["Steps"])
    assert container in steps["TrainModel"]["Arguments"]["AlgorithmSpecification"]["TrainingImage"]
    assert "-cpu-" in steps["FilterClasses"]["Arguments"]["AppSpecification"]["ImageUri"]


def test_only_the_images_have_no_default(definition: dict[str, Any]) -> None:
    assert [p["Name"] for p in definition["Parameters"] if "DefaultValue" not in p] == ["SourceUri"]


@pytest.mark.parametrize(
    ("step", "operation", "job_name"),
    [
        ("FilterClasses", "CreateProcessingJob", {"ProcessingJobName": "job"}),
        ("EvaluateModel", "CreateProcessingJob", {"ProcessingJobName": "job"}),
        ("BuildBaseline", "CreateProcessingJob", {"ProcessingJobName": "job"}),
        ("TrainModel", "CreateTrainingJob", {"TrainingJobName": "job"}),
        ("VehicleClassifier-RegisterModel", "CreateModelPackage", {}),
    ],
)
def test_the_service_accepts_the_arguments(
    definition: dict[str, Any], parameters: dict[str, Any], step: str, operation: str, job_name: dict[str, str]
) -> None:
    arguments = resolve(every_step(definition["Steps"])[step]["Arguments"], parameters)
    assert_valid_request(operation, {**job_name, **arguments})


def test_expressions_name_steps_and_parameters_that_exist(definition: dict[str, Any]) -> None:
    text = json.dumps(definition["Steps"])
    steps = every_step(definition["Steps"])
    assert set(re.findall(r'"Get": "Parameters\.(\w+)"', text)) == {p["Name"] for p in definition["Parameters"]}
    assert set(re.findall(r'"Get": "Steps\.([\w-]+)\.', text)) <= set(steps)


def test_the_gate_reads_the_evaluation_and_its_message_gives_all_figures(
    definition: dict[str, Any], parameters: dict[str, Any]
) -> None:
    steps = every_step(definition["Steps"])
    accuracy, champion = steps["CheckAccuracy"]["Arguments"]["Conditions"]
    assert {accuracy["Type"], champion["Type"]} == {"GreaterThanOrEqualTo"}
    assert accuracy["RightValue"] == {"Get": "Parameters.AccuracyGate"}
    assert accuracy["LeftValue"]["Std:JsonGet"]["Path"] == "multiclass_classification_metrics.accuracy.value"
    assert champion["RightValue"] == {"Get": "Parameters.ChampionSignificance"}
    assert champion["LeftValue"]["Std:JsonGet"]["Path"] == "champion_gate.p_value_worse.value"
    assert steps["EvaluateModel"]["PropertyFiles"] == [
        {"PropertyFileName": "Evaluation", "OutputName": "evaluation", "FilePath": "evaluation.json"}
    ]
    message = resolve(steps["GateMissed"]["Arguments"]["ErrorMessage"], parameters)
    assert message == (
        "No model was registered. Accuracy on the held-out test images: 0.5 (parameter AccuracyGate asks for at least "
        "0.85 ). One-sided p-value of being worse than the approved model (1.0 without one): 0.5 (parameter "
        "ChampionSignificance asks for at least 0.05 )."
    )


def test_the_gate_reads_what_an_evaluation_holds(definition: dict[str, Any]) -> None:
    document = json.loads((ROOT / "tests/samples/evaluation.json").read_text(encoding="utf-8"))
    for condition in every_step(definition["Steps"])["CheckAccuracy"]["Arguments"]["Conditions"]:
        value: Any = document
        for name in condition["LeftValue"]["Std:JsonGet"]["Path"].split("."):
            value = value[name]
        assert 0 <= value <= 1


def test_training_is_cached_a_week_and_the_comparison_with_the_champion_never(definition: dict[str, Any]) -> None:
    steps = every_step(definition["Steps"])
    for name in ("FilterClasses", "TrainModel"):
        assert steps[name]["CacheConfig"] == {"Enabled": True, "ExpireAfter": "P7D"}
    assert "CacheConfig" not in steps["EvaluateModel"]


def test_every_aws_step_retries(definition: dict[str, Any]) -> None:
    steps = every_step(definition["Steps"])
    for name in ("FilterClasses", "TrainModel", "EvaluateModel", "BuildBaseline", "VehicleClassifier-RegisterModel"):
        covered = {kind for policy in steps[name]["RetryPolicies"] for kind in policy["ExceptionType"]}
        assert {"Step.SERVICE_FAULT", "Step.THROTTLING"} <= covered


def test_training_is_on_spot_instances_with_checkpoints_of_its_own(
    definition: dict[str, Any], parameters: dict[str, Any]
) -> None:
    arguments = every_step(definition["Steps"])["TrainModel"]["Arguments"]
    assert arguments["EnableManagedSpotTraining"] is True
    stopping = arguments["StoppingCondition"]
    assert stopping["MaxWaitTimeInSeconds"] >= 2 * stopping["MaxRuntimeInSeconds"]
    uri = arguments["CheckpointConfig"]["S3Uri"]
    assert uri["Std:Join"]["Values"][1] == {"Get": "Steps.FilterClasses.ProcessingJobName"}
    # Everything that decides the result stands in it, and nothing of the execution, which would end the caching.
    named = set(re.findall(r"Parameters\.(\w+)", json.dumps(arguments["HyperParameters"])))
    assert named == set(re.findall(r"Parameters\.(\w+)", json.dumps(uri)))
    assert "Execution." not in json.dumps(uri)
    assert a_deployment().source_digest[:16] in resolve(uri, parameters)


def test_the_hyperparameters_are_arguments_of_the_training_script(definition: dict[str, Any]) -> None:
    given = every_step(definition["Steps"])["TrainModel"]["Arguments"]["HyperParameters"]
    own = {name for name in given if not name.startswith("sagemaker_")}
    adjustable = {name.replace("_", "-") for name in HYPERPARAMETERS}
    assert own == {"recipe", "pretrained-mode", "backbone", "backbone-weights", "precision", "seed", *adjustable}
    assert adjustable >= {"epochs", "members", "learning-rate", "batch-size", "network-side", "penalty"}
    answer = subprocess.run(
        [sys.executable, "-m", "training.train", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert {f"--{name}" for name in own} <= set(re.findall(r"--[\w-]+", answer.stdout))


def test_spot_training_can_be_switched_off() -> None:
    from pipelines import training_pipeline  # the SDK takes seconds to import

    deployment = a_deployment()
    pipeline = dataclasses.replace(deployment.settings.pipeline, managed_spot_training=False)
    settings = dataclasses.replace(deployment.settings, pipeline=pipeline)
    document = json.loads(training_pipeline.definition(dataclasses.replace(deployment, settings=settings)))
    arguments = every_step(document["Steps"])["TrainModel"]["Arguments"]
    assert "CheckpointConfig" not in arguments
    assert not arguments.get("EnableManagedSpotTraining")
    assert "MaxWaitTimeInSeconds" not in arguments["StoppingCondition"]


def test_a_step_writes_only_into_its_runs_folder(definition: dict[str, Any], parameters: dict[str, Any]) -> None:
    names = a_deployment().names
    steps = every_step(definition["Steps"])
    written = [
        output["S3Output"]["S3Uri"]
        for name in ("FilterClasses", "EvaluateModel", "BuildBaseline")
        for output in steps[name]["Arguments"]["ProcessingOutputConfig"]["Outputs"]
    ]
    written.append(steps["TrainModel"]["Arguments"]["OutputDataConfig"]["S3OutputPath"])
    assert {resolve(uri, parameters) for uri in written} == {
        f"{names.pipeline_runs_uri}/abcdef123456/{part}" for part in ("dataset", "model", "evaluation", "baseline")
    }


def test_a_job_starts_a_module_of_the_source_archive(definition: dict[str, Any]) -> None:
    modules = {
        "FilterClasses": "processing.filter_cifar",
        "EvaluateModel": "processing.evaluate",
        "BuildBaseline": "monitoring.baseline",
    }
    for name, module in modules.items():
        application = every_step(definition["Steps"])[name]["Arguments"]["AppSpecification"]
        shell, flag, script, package = application["ContainerEntrypoint"]
        assert (shell, flag, package) == ("/bin/bash", "-ec", module.partition(".")[0])
        assert script.endswith(f'exec python3 -m {module} "$@"')
        assert (ROOT / f"{module.replace('.', '/')}.py").is_file()
        assert (ROOT / package / "requirements.txt").is_file()
    hyperparameters = every_step(definition["Steps"])["TrainModel"]["Arguments"]["HyperParameters"]
    assert (ROOT / json.loads(hyperparameters["sagemaker_program"])).is_file()
    assert json.loads(hyperparameters["sagemaker_submit_directory"]) == a_deployment().source_archive_uri


def test_trainings_log_lines_become_metrics(definition: dict[str, Any]) -> None:
    line = "epoch=3/24 member=0 train_loss=0.41 validation_loss=0.38 train_accuracy=0.88 validation_accuracy=0.91"
    algorithm = every_step(definition["Steps"])["TrainModel"]["Arguments"]["AlgorithmSpecification"]
    found = {}
    for metric in algorithm["MetricDefinitions"]:
        match = re.search(metric["Regex"], line)
        assert match is not None
        found[metric["Name"]] = float(match[1])
    assert found == {"epoch": 3, "epochs": 24, "train:loss": 0.41, "validation:loss": 0.38, "validation:accuracy": 0.91}


def test_the_package_names_its_baseline(definition: dict[str, Any], parameters: dict[str, Any]) -> None:
    arguments = resolve(every_step(definition["Steps"])["VehicleClassifier-RegisterModel"]["Arguments"], parameters)
    baselines = arguments["DriftCheckBaselines"]["ModelDataQuality"]
    assert baselines["Statistics"]["S3Uri"].endswith("/statistics.json")
    assert baselines["Constraints"]["S3Uri"].endswith("/constraints.json")
    assert '"Steps.BuildBaseline.' in json.dumps(every_step(definition["Steps"])["VehicleClassifier-RegisterModel"])


def test_the_package_says_where_it_comes_from_and_how_it_is_served(
    definition: dict[str, Any], parameters: dict[str, Any]
) -> None:
    arguments = resolve(every_step(definition["Steps"])["VehicleClassifier-RegisterModel"]["Arguments"], parameters)
    assert set(arguments["CustomerMetadataProperties"]) == {
        "algorithm",
        "backbone",
        "backbone_weights",
        "code_digest",
        "confidence_threshold",
        "dataset_s3_uri",
        "data_origin",
        "git_commit",
        "image_size",
        "members",
        "precision",
        "pretrained_mode",
        "recipe",
        "reviewed_until",
        "seed",
        "source_s3_uri",
    }
    assert arguments["ModelApprovalStatus"] == "PendingManualApproval"
    (container,) = arguments["InferenceSpecification"]["Containers"]
    assert container["Environment"] == {
        "SAGEMAKER_PROGRAM": "inference.py",
        "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
        "SCONES_CLASSES": "bicycle,motorcycle",
    }
    assert arguments["ModelMetrics"]["ModelQuality"]["Statistics"]["S3Uri"].endswith("/evaluation.json")


def test_the_sdk_knows_the_containers_with_the_python_that_is_locked() -> None:
    from pipelines import container_jobs

    configuration = Path(container_jobs.image_uris.__file__).parent / "image_uri_config" / "pytorch.json"
    document = json.loads(configuration.read_text(encoding="utf-8"))
    for scope, version in (
        ("training", container_jobs.TRAINING_FRAMEWORK_VERSION),
        ("inference", container_jobs.INFERENCE_FRAMEWORK_VERSION),
    ):
        assert container_jobs.CONTAINER_PYTHON in document[scope]["versions"][version]["py_versions"]


def test_the_definition_is_the_sample(definition: dict[str, Any]) -> None:
    check_sample("training_pipeline.json", json.dumps(definition, indent=1) + "\n")
