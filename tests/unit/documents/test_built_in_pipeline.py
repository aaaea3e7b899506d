"""The pipeline with SageMaker's built-in image classification: its graph, the algorithm's contract, valid requests."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.unit.definitions import SAMPLES, a_deployment, assert_valid_request, check_sample, resolve
from tests.unit.documents.test_training_pipeline import every_step


@pytest.fixture(scope="module")
def definition() -> dict[str, Any]:
    from pipelines import built_in_pipeline  # the SDK takes seconds to import

    document: dict[str, Any] = json.loads(built_in_pipeline.definition(a_deployment()))
    return document


@pytest.fixture(scope="module")
def parameters(definition: dict[str, Any]) -> dict[str, Any]:
    return {p["Name"]: p.get("DefaultValue", "s3://bucket/source/0123") for p in definition["Parameters"]}


@pytest.fixture(scope="module")
def steps(definition: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return every_step(definition["Steps"])


def test_it_has_the_steps_of_the_diagram(steps: dict[str, dict[str, Any]]) -> None:
    assert {name: step["Type"] for name, step in steps.items()} == {
        "FilterClasses": "Processing",
        "TrainModel": "Training",
        "Candidate-CreateModel": "Model",
        "ClassifyTestImages": "Transform",
        "EvaluateModel": "Processing",
        "BuildBaseline": "Processing",
        "CheckAccuracy": "Condition",
        "VehicleClassifier-RegisterModel": "RegisterModel",
        "GateMissed": "Fail",
    }


@pytest.mark.parametrize(
    ("step", "operation", "name"),
    [
        ("FilterClasses", "CreateProcessingJob", {"ProcessingJobName": "job"}),
        ("TrainModel", "CreateTrainingJob", {"TrainingJobName": "job"}),
        ("Candidate-CreateModel", "CreateModel", {"ModelName": "model"}),
        ("ClassifyTestImages", "CreateTransformJob", {"TransformJobName": "job"}),
        ("EvaluateModel", "CreateProcessingJob", {"ProcessingJobName": "job"}),
        ("BuildBaseline", "CreateProcessingJob", {"ProcessingJobName": "job"}),
        ("VehicleClassifier-RegisterModel", "CreateModelPackage", {}),
    ],
)
def test_the_service_accepts_the_arguments(
    steps: dict[str, dict[str, Any]], parameters: dict[str, Any], step: str, operation: str, name: dict[str, str]
) -> None:
    assert_valid_request(operation, {**name, **resolve(steps[step]["Arguments"], parameters)})


def test_expressions_name_steps_and_parameters_that_exist(
    definition: dict[str, Any], steps: dict[str, dict[str, Any]]
) -> None:
    text = json.dumps(definition["Steps"])
    assert set(re.findall(r'"Get": "Parameters\.(\w+)"', text)) == {p["Name"] for p in definition["Parameters"]}
    assert set(re.findall(r'"Get": "Steps\.([\w-]+)\.', text)) <= set(steps)


def test_training_gets_the_four_channels_and_no_neighbour_of_theirs(
    steps: dict[str, dict[str, Any]], parameters: dict[str, Any]
) -> None:
    channels = resolve(steps["TrainModel"]["Arguments"]["InputDataConfig"], parameters)
    assert {c["ChannelName"]: c["DataSource"]["S3DataSource"]["S3Uri"].rpartition("S3Uri/")[2] for c in channels} == {
        "train": "train/",  # a prefix without the slash would name train.lst too
        "validation": "validation/",
        "train_lst": "train.lst",
        "validation_lst": "validation.lst",
    }
    assert {c["ContentType"] for c in channels} == {"application/x-image"}


def test_the_hyperparameters_are_the_algorithms(steps: dict[str, dict[str, Any]], parameters: dict[str, Any]) -> None:
    arguments = steps["TrainModel"]["Arguments"]
    given = resolve(arguments["HyperParameters"], parameters)
    assert given | {"num_training_samples": "900"} == {
        "checkpoint_frequency": "1",
        "epochs": "30",
        "image_shape": "3,32,32",
        "learning_rate": "0.01",
        "mini_batch_size": "32",
        "num_classes": "2",
        "num_layers": "18",
        "num_training_samples": "900",
        "use_pretrained_model": "0",
    }
    # How many images there are is known once the dataset is written.
    assert "Std:JsonGet" in json.dumps(arguments["HyperParameters"]["num_training_samples"])
    assert arguments["ResourceConfig"]["InstanceType"] == {"Get": "Parameters.TrainingInstanceType"}
    assert parameters["TrainingInstanceType"].startswith("ml.g")  # it trains on GPUs only
    assert arguments["EnableManagedSpotTraining"] is True
    assert "MetricDefinitions" not in arguments["AlgorithmSpecification"]  # built-in algorithms refuse them


def test_the_manifest_holds_the_number_of_images(steps: dict[str, dict[str, Any]]) -> None:
    values = steps["TrainModel"]["Arguments"]["HyperParameters"]["num_training_samples"]["Std:Join"]["Values"]
    expected: Any = json.loads((SAMPLES / "dataset.json").read_text(encoding="utf-8"))
    for name in values[0]["Std:JsonGet"]["Path"].split("."):
        expected = expected[name]
    assert expected == 900
    assert steps["FilterClasses"]["PropertyFiles"] == [
        {"PropertyFileName": "Dataset", "OutputName": "dataset", "FilePath": "dataset.json"}
    ]


def test_the_test_images_go_through_the_model_and_their_answers_into_the_evaluation(
    steps: dict[str, dict[str, Any]], parameters: dict[str, Any]
) -> None:
    transform = steps["ClassifyTestImages"]["Arguments"]
    assert transform["ModelName"] == {"Get": "Steps.Candidate-CreateModel.ModelName"}
    assert resolve(transform["TransformInput"], parameters)["DataSource"]["S3DataSource"]["S3Uri"].endswith("/test/")
    evaluation = steps["EvaluateModel"]["Arguments"]
    inputs = {i["InputName"]: i["S3Input"]["S3Uri"] for i in evaluation["ProcessingInputs"]}
    assert inputs["predictions"] == {"Get": "Steps.ClassifyTestImages.TransformOutput.S3OutputPath"}
    words = evaluation["AppSpecification"]["ContainerArguments"]
    assert words[words.index("--predictions") + 1] == "/opt/ml/processing/input/predictions"
    assert "--model" not in words


def test_the_package_is_served_by_the_algorithms_container(
    steps: dict[str, dict[str, Any]], parameters: dict[str, Any]
) -> None:
    arguments = resolve(steps["VehicleClassifier-RegisterModel"]["Arguments"], parameters)
    (container,) = arguments["InferenceSpecification"]["Containers"]
    assert container["Image"] == steps["TrainModel"]["Arguments"]["AlgorithmSpecification"]["TrainingImage"]
    assert container["Image"].endswith("/image-classification:1")
    assert container["Environment"] == {"SCONES_CLASSES": "bicycle,motorcycle"}
    assert arguments["InferenceSpecification"]["SupportedContentTypes"] == [
        "image/png",
        "image/jpeg",
        "application/x-image",
    ]
    assert arguments["CustomerMetadataProperties"]["algorithm"] == "image-classification"


def test_the_definition_is_the_sample(definition: dict[str, Any]) -> None:
    check_sample("built_in_pipeline.json", json.dumps(definition, indent=1) + "\n")
