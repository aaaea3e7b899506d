"""What a job may not ask for: what this account cannot do, and what AWS refuses, refused when the job is created.

Runs in the server process, on requests that fit SageMaker's model. Every check raises ServiceError.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from local_account.protocol.actions import ServiceError
from local_account.sagemaker.data_processing import DataProcessing, RecordError
from local_account.sagemaker.jobs.cluster import check_count, check_groups, check_hosts, groups_of
from local_account.sagemaker.jobs.script_mode import TrainingScript
from local_account.sagemaker.network import check_network

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        ChannelUnionTypeDef,
        CreateProcessingJobRequestTypeDef,
        CreateTrainingJobRequestTypeDef,
        CreateTransformJobRequestTypeDef,
    )

LOCAL_PREFIX = "/opt/ml/processing"
CHECKPOINTS_PATH = "/opt/ml/checkpoints"
# Developer guide, "Managed Spot Training": algorithms that do not checkpoint get one hour.
MAX_WAIT_WITHOUT_CHECKPOINTS_S = 3600
DEFAULT_PAYLOAD_MB = 6
MAX_PAYLOAD_MB = 100  # also of all concurrent requests together (CreateTransformJob, MaxPayloadInMB)


def check_processing(request: CreateProcessingJobRequestTypeDef) -> None:
    """Refuse hosts that cannot be here, other sources than S3 files, and paths outside the job's folder."""
    isolated = False
    if "NetworkConfig" in request:
        check_network(request["NetworkConfig"])
        isolated = request["NetworkConfig"].get("EnableNetworkIsolation", False)
    machines = request["ProcessingResources"]["ClusterConfig"]
    check_hosts(machines.get("InstanceCount", 1), isolated=isolated)
    names: set[str] = set()
    for given in request.get("ProcessingInputs", []):
        where = f"Processing input {given['InputName']!r}"
        source = given.get("S3Input")
        _check_unique(names, given["InputName"], where)
        if given.get("AppManaged"):  # the container fetches it itself
            continue
        if source is None:
            raise ServiceError(f"{where}: expected S3Input.")
        if source.get("S3InputMode", "File") != "File":
            raise ServiceError(f"{where}: the stand-in account supports S3InputMode File only, got Pipe.")
        if source.get("S3CompressionType", "None") != "None":
            raise ServiceError(f"{where}: the stand-in account unpacks nothing: expected S3CompressionType None.")
        _check_path(where, source.get("LocalPath"))
    names.clear()
    for output in request["ProcessingOutputConfig"]["Outputs"] if "ProcessingOutputConfig" in request else ():
        where = f"Processing output {output['OutputName']!r}"
        _check_unique(names, output["OutputName"], where)
        if output.get("AppManaged"):
            continue
        if "S3Output" not in output:
            raise ServiceError(f"{where}: expected S3Output.")
        _check_path(where, output["S3Output"].get("LocalPath"))


def _check_path(where: str, path: str | None) -> None:
    if path is None or not (path + "/").startswith(LOCAL_PREFIX + "/") or ".." in Path(path).parts:
        raise ServiceError(f"{where}: LocalPath must be below {LOCAL_PREFIX}, got {path}.")


def _check_unique(names: set[str], name: str, where: str) -> None:
    if name in names:
        raise ServiceError(f"{where}: the name occurs twice.")
    names.add(name)


def check_training(request: CreateTrainingJobRequestTypeDef) -> None:
    """Refuse hosts that cannot be here, other channels than S3 files, and metrics that are no patterns."""
    if "AlgorithmSpecification" not in request or "ResourceConfig" not in request:
        raise ServiceError("The stand-in account needs AlgorithmSpecification and ResourceConfig for a training job.")
    check_network(request)
    specification = request["AlgorithmSpecification"]
    if "TrainingImage" not in specification:
        raise ServiceError("The stand-in account needs a TrainingImage, it has no AlgorithmName resources.")
    check_groups(request["ResourceConfig"])
    groups = groups_of(request["ResourceConfig"])
    count = sum(group.count for group in groups)
    check_hosts(count, isolated=bool(request.get("EnableNetworkIsolation")))
    if script := TrainingScript.of(dict(request.get("HyperParameters", {})), dict(request.get("Environment", {}))):
        script.check_launcher()
    for channel in request.get("InputDataConfig", []):
        _check_channel(channel, specification["TrainingInputMode"], {group.name for group in groups})
    _check_spot(request)
    for definition in specification.get("MetricDefinitions", []):
        try:
            re.compile(definition["Regex"])
        except re.error as error:
            raise ServiceError(f"Metric {definition['Name']!r}: {definition['Regex']!r}: {error}") from error


def _check_channel(channel: ChannelUnionTypeDef, mode: str, groups: set[str]) -> None:
    """Refuse a channel that is not made of S3 files as they are. ``mode`` is the job's input mode."""
    where = f"Channel {channel['ChannelName']!r}"
    if channel.get("InputMode", mode) == "Pipe":
        raise ServiceError(f"{where}: the stand-in account supports the input modes File and FastFile, got Pipe.")
    for member in ("CompressionType", "RecordWrapperType"):
        if channel.get(member, "None") != "None":
            raise ServiceError(f"{where}: the stand-in account hands files over as they are: expected {member} None.")
    source = channel["DataSource"].get("S3DataSource")
    if source is None:
        raise ServiceError(f"{where}: the stand-in account reads S3DataSource only.")
    if source["S3DataType"] not in ("S3Prefix", "ManifestFile"):
        raise ServiceError(f"{where}: expected S3DataType S3Prefix or ManifestFile, got {source['S3DataType']}.")
    if unknown := set(source.get("InstanceGroupNames", [])) - groups:
        raise ServiceError(f"{where}: there is no instance group {min(unknown)!r} in ResourceConfig.")


def _check_spot(request: CreateTrainingJobRequestTypeDef) -> None:
    """Refuse what AWS refuses about checkpoints and managed spot training."""
    config = request.get("CheckpointConfig")
    kept = {name: request.get(name) for name in ("CheckpointConfig", "DebugHookConfig", "TensorBoardOutputConfig")}
    for name, one in kept.items():
        path = str(one.get("LocalPath", CHECKPOINTS_PATH)) if isinstance(one, dict) else CHECKPOINTS_PATH
        if not path.startswith("/opt/ml/") or ".." in Path(path).parts:
            raise ServiceError(f"{name}.LocalPath must be below /opt/ml, got {path}.")
    stopping = request["StoppingCondition"]
    longest = stopping["MaxRuntimeInSeconds"]
    wait = stopping.get("MaxWaitTimeInSeconds")
    if not request.get("EnableManagedSpotTraining"):
        if wait is not None:
            raise ServiceError(
                "Invalid MaxWaitTimeInSeconds. It is not supported when EnableManagedSpotTraining is false."
            )
        return
    if wait is None or wait < longest:
        raise ServiceError(
            "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds "
            f"({longest}) when EnableManagedSpotTraining is true, got {wait}."
        )
    if config is None and wait > MAX_WAIT_WITHOUT_CHECKPOINTS_S:
        raise ServiceError(
            f"Invalid MaxWaitTimeInSeconds. Without CheckpointConfig it must be at most "
            f"{MAX_WAIT_WITHOUT_CHECKPOINTS_S} seconds, got {wait}."
        )


def _check_data_processing(request: CreateTransformJobRequestTypeDef) -> None:
    """Refuse paths that are none, and records that nobody can tell apart (developer guide, associating results)."""
    given = request["TransformInput"]
    processing = DataProcessing.of(request.get("DataProcessing", {}), given.get("ContentType", ""))
    if processing.does_nothing:
        return
    kinds = ("text/csv", "application/json", "application/jsonlines")
    if processing.kind not in kinds:
        raise ServiceError(
            f"DataProcessing needs a ContentType of {', '.join(kinds)}, got {processing.kind or 'none'}."
        )
    for name, path in (("InputFilter", processing.before), ("OutputFilter", processing.after)):
        try:
            path.check()
        except RecordError as error:
            raise ServiceError(f"DataProcessing.{name}: {error}.") from error


def check_transform(request: CreateTransformJobRequestTypeDef) -> None:
    """Refuse more instances than this machine is, parts of objects, and more data at once than AWS takes."""
    check_count(request["TransformResources"]["InstanceCount"])
    given = request["TransformInput"]
    if (split := given.get("SplitType", "None")) not in {"None", "Line"}:
        raise ServiceError(f"The stand-in account sends whole objects or lines: expected None or Line, got {split}.")
    if (asked := given.get("CompressionType", "None")) != "None":
        raise ServiceError(f"The stand-in account sends objects as they are: expected None, got {asked}.")
    _check_data_processing(request)
    if request.get("DataCaptureConfig", {}).get("GenerateInferenceId", False):
        raise ServiceError("The stand-in account appends no inference ids to outputs: expected no GenerateInferenceId.")
    data_type = given["DataSource"]["S3DataSource"]["S3DataType"]
    if data_type not in ("S3Prefix", "ManifestFile"):
        raise ServiceError(f"Expected S3DataType S3Prefix or ManifestFile, got {data_type}.")
    megabytes = request.get("MaxPayloadInMB", DEFAULT_PAYLOAD_MB)
    together = megabytes * max(1, request.get("MaxConcurrentTransforms", 1))
    if megabytes == 0:
        raise ServiceError("The stand-in account sends no chunked requests: expected a MaxPayloadInMB above 0.")
    if together > MAX_PAYLOAD_MB:
        raise ServiceError(
            f"MaxConcurrentTransforms * MaxPayloadInMB must not exceed {MAX_PAYLOAD_MB} MB, got {together}."
        )
