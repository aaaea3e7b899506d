"""What ``Describe*Job`` tells of a job whose request left it out: the service's defaults.

Runs in the server process. Authority: recorded answers of AWS (2023 to 2026) and the SageMaker API Reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from local_account.base.images import ContainerImage, repository

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        ChannelUnionTypeDef,
        CreateProcessingJobRequestTypeDef,
        CreateTrainingJobRequestTypeDef,
        HyperParameterTrainingJobDefinitionUnionTypeDef,
        MetricDefinitionTypeDef,
    )

MAX_RUNTIME_S = 86400


def fill_processing(request: CreateProcessingJobRequestTypeDef) -> None:
    """Give a processing job what it left out."""
    request.setdefault("StoppingCondition", {"MaxRuntimeInSeconds": MAX_RUNTIME_S})
    for given in request.get("ProcessingInputs", []):
        given.setdefault("AppManaged", False)
        if "S3Input" in given:
            given["S3Input"].setdefault("S3DataDistributionType", "FullyReplicated")
            given["S3Input"].setdefault("S3CompressionType", "None")
    for output in request["ProcessingOutputConfig"]["Outputs"] if "ProcessingOutputConfig" in request else ():
        output.setdefault("AppManaged", False)


def fill_training(request: CreateTrainingJobRequestTypeDef) -> None:
    """Give a training job what it left out."""
    request.setdefault("StoppingCondition", {}).setdefault("MaxRuntimeInSeconds", MAX_RUNTIME_S)
    request.setdefault("InputDataConfig", [])
    request["OutputDataConfig"].setdefault("KmsKeyId", "")
    request["OutputDataConfig"].setdefault("CompressionType", "GZIP")
    if "AlgorithmSpecification" in request:
        request["AlgorithmSpecification"].setdefault("EnableSageMakerMetricsTimeSeries", False)
    fill_switches(request)
    for channel in request["InputDataConfig"]:
        fill_channel(channel)


def fill_metrics(request: CreateTrainingJobRequestTypeDef, images: Mapping[str, ContainerImage]) -> None:
    """An image that has metrics of its own tells them when the job defines none, as AWS's algorithms do."""
    if "AlgorithmSpecification" not in request:
        return
    specification = request["AlgorithmSpecification"]
    image = images.get(repository(specification.get("TrainingImage", "")))
    if image and image.metrics and not specification.get("MetricDefinitions"):
        found: list[MetricDefinitionTypeDef] = [{"Name": k, "Regex": v} for k, v in image.metrics.items()]
        specification["MetricDefinitions"] = found


def fill_switches(request: CreateTrainingJobRequestTypeDef | HyperParameterTrainingJobDefinitionUnionTypeDef) -> None:
    """Say no to what a training job, or the definition of a tuning job, does not ask for."""
    request.setdefault("EnableNetworkIsolation", False)
    request.setdefault("EnableInterContainerTrafficEncryption", False)
    request.setdefault("EnableManagedSpotTraining", False)


def fill_channel(channel: ChannelUnionTypeDef) -> None:
    """Give a channel what it left out."""
    channel.setdefault("CompressionType", "None")
    channel.setdefault("RecordWrapperType", "None")
    if "S3DataSource" in channel["DataSource"]:
        channel["DataSource"]["S3DataSource"].setdefault("S3DataDistributionType", "FullyReplicated")


_OF_TRANSFORMS: dict[str, dict[str, object]] = {
    "TransformInput": {"CompressionType": "None", "SplitType": "None"},
    "TransformOutput": {"AssembleWith": "None", "KmsKeyId": ""},
    "DataProcessing": {"InputFilter": "$", "OutputFilter": "$", "JoinSource": "None"},
}


def shown_transform(record: Mapping[str, object]) -> dict[str, object]:
    """A transform job with what its request left out, and without what only lists tell."""
    shown = {name: value for name, value in record.items() if name != "LastModifiedTime"}
    for name, defaults in _OF_TRANSFORMS.items():
        given = record.get(name)
        shown[name] = {**defaults, **(given if isinstance(given, Mapping) else {})}
    return shown
