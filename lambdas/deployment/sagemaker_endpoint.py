"""The endpoint, its configurations and its models: what is asked of SageMaker, and how its answers read.

Runs in Lambda. Every name derives from the version and the settings, so that making something twice makes it once.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, TypedDict

from botocore.exceptions import ClientError

from lambdas.deployment.endpoint_spec import ContainerNetwork, EndpointSpec
from lambdas.deployment.version import ServableVersion

if TYPE_CHECKING:
    from types_boto3_cloudwatch import CloudWatchClient
    from types_boto3_sagemaker import SageMakerClient
    from types_boto3_sagemaker.type_defs import (
        DataCaptureConfigTypeDef,
        DeploymentConfigUnionTypeDef,
        DescribeEndpointOutputTypeDef,
        DescribeModelOutputTypeDef,
        ProductionVariantTypeDef,
        TagTypeDef,
        TrafficRoutingConfigTypeDef,
        VariantPropertyTypeDef,
        VpcConfigUnionTypeDef,
    )

VARIANT, SHADOW_VARIANT = "AllTraffic", "Shadow"
PACKAGE_TAG = "scones:model-package-arn"
# What the serving code reads of itself; the package's own variables stay beside these.
VERSION_VARIABLE = "SCONES_MODEL_VERSION"
PACKAGE_VARIABLE = "SCONES_MODEL_PACKAGE_ARN"
IN_PROGRESS = {"Creating", "Updating", "RollingBack", "SystemUpdating", "Deleting"}
# API reference, BlueGreenUpdatePolicy: at least 600 s and more than all waits; starting instances takes minutes too.
MIN_TIMEOUT_S, STARTING_S = 600, 1800


class ConfigSettings(TypedDict, total=False):
    """CreateEndpointConfig without name and tags."""

    ProductionVariants: list[ProductionVariantTypeDef]
    DataCaptureConfig: DataCaptureConfigTypeDef
    ShadowProductionVariants: list[ProductionVariantTypeDef]


class UpdateOptions(TypedDict, total=False):
    """UpdateEndpoint without names."""

    RetainAllVariantProperties: bool
    ExcludeRetainedVariantProperties: list[VariantPropertyTypeDef]
    DeploymentConfig: DeploymentConfigUnionTypeDef


class Placement(TypedDict, total=False):
    """The network part of CreateModel."""

    VpcConfig: VpcConfigUnionTypeDef


class NameTaken(Exception):  # noqa: N818  # an error name in the function's log and metrics
    """A model of the wanted name serves another package."""


def model_name(spec: EndpointSpec, version: int) -> str:
    """A model cannot be changed, so it has another name in another network, and where it captures by itself."""
    name = f"{spec.endpoint}-v{version}"
    place: dict[str, object] = asdict(spec.network) if spec.network else {}
    own = _own_capture(spec)
    if own:
        place = {"network": place, "capture": own}
    return f"{name}-{_digest(place)}" if place else name


def _own_capture(spec: EndpointSpec) -> dict[str, str]:
    """What the serving code has to know to capture its traffic (`serving.capture`); nothing where SageMaker does."""
    if spec.settings.capture != "container":
        return {}
    return {
        "SCONES_CAPTURE_URI": spec.capture_uri,
        "SCONES_CAPTURE_ENDPOINT": spec.endpoint,
        "SCONES_CAPTURE_VARIANT": VARIANT,
        "SCONES_CAPTURE_PERCENT": str(spec.settings.capture_percent),
        "SCONES_CAPTURE_KMS_KEY": spec.data_key_arn,
    }


def config_settings(spec: EndpointSpec, version: int, shadow_version: int = 0) -> ConfigSettings:
    """CreateEndpointConfig without name and tags: one variant, all of its traffic captured, perhaps a shadow of it."""
    settings: ConfigSettings = {"ProductionVariants": [_variant(spec, VARIANT, version)]}
    # SageMaker captures nothing of serverless endpoints (developer guide, serverless inference).
    if not spec.settings.serverless and spec.settings.capture == "endpoint":
        settings["DataCaptureConfig"] = _capture(spec)
    if shadow_version:
        settings["ShadowProductionVariants"] = [_variant(spec, SHADOW_VARIANT, shadow_version)]
    return settings


def _capture(spec: EndpointSpec) -> DataCaptureConfigTypeDef:
    return {
        "EnableCapture": True,
        "InitialSamplingPercentage": spec.settings.capture_percent,
        "DestinationS3Uri": spec.capture_uri,
        "KmsKeyId": spec.data_key_arn,
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        # Without it the answers would be captured as base64.
        "CaptureContentTypeHeader": {
            "JsonContentTypes": ["application/json"],
            "CsvContentTypes": ["text/csv"],
        },
    }


def _variant(spec: EndpointSpec, name: str, version: int) -> ProductionVariantTypeDef:
    variant: ProductionVariantTypeDef = {
        "VariantName": name,
        "ModelName": model_name(spec, version),
        "InitialVariantWeight": 1.0,
    }
    if spec.settings.serverless:
        variant["ServerlessConfig"] = {
            "MemorySizeInMB": spec.settings.serverless_memory_mb,
            "MaxConcurrency": spec.settings.serverless_max_concurrency,
        }
    else:
        variant["InitialInstanceCount"] = spec.settings.initial_instance_count if name == VARIANT else 1
        variant["InstanceType"] = spec.instance_type
    return variant


def config_name(spec: EndpointSpec, version: int, package_arn: str, shadow_version: int = 0) -> str:
    """Name a configuration by its version and a digest of its settings, so that other settings have another name."""
    document = {**config_settings(spec, version, shadow_version), "ModelPackageArn": package_arn}
    return f"{spec.endpoint}-v{version}-{_digest(document)}"


def version_of(spec: EndpointSpec, name: str) -> int:
    """The version that a configuration or a model of ours serves; 0 for one of somebody else."""
    found = re.fullmatch(re.escape(spec.endpoint) + r"-v(\d+)(-[0-9a-f]{8})?", name)
    return int(found[1]) if found else 0


def served_version(spec: EndpointSpec, endpoint: DescribeEndpointOutputTypeDef | None) -> int:
    """The version of the endpoint's configuration; 0 without an endpoint, or for a configuration of somebody else."""
    return version_of(spec, str(endpoint["EndpointConfigName"])) if endpoint else 0


def _digest(document: Mapping[str, object]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:8]


def update_options(spec: EndpointSpec, alarms: list[str], *, back: bool, keep_scale: bool) -> UpdateOptions:
    """UpdateEndpoint without names: a canary before the rest, undone by alarms. The way back is one step, at once."""
    options: UpdateOptions = {}
    if keep_scale:
        # Else autoscaling's instances would be given up with the old fleet.
        options["RetainAllVariantProperties"] = True
        options["ExcludeRetainedVariantProperties"] = [{"VariantPropertyType": "DataCaptureConfig"}]
    settings = spec.settings
    if settings.serverless:
        return options  # shifts at once: traffic is no matter of instances there
    wait_s = 0
    routing: TrafficRoutingConfigTypeDef = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": wait_s}
    # TrafficRoutingConfig: a canary is at most half of the instances, so of one instance there is none.
    if not back and settings.canary_percent and settings.initial_instance_count > 1:
        wait_s = settings.canary_wait_s
        routing = {
            "Type": "CANARY",
            "WaitIntervalInSeconds": wait_s,
            "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": settings.canary_percent},
        }
    bake_s = 0 if back else settings.bake_s
    deployment: DeploymentConfigUnionTypeDef = {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": routing,
            "TerminationWaitInSeconds": bake_s,
            "MaximumExecutionTimeoutInSeconds": max(MIN_TIMEOUT_S, wait_s + bake_s + STARTING_S),
        }
    }
    if alarms and not back:
        deployment["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": name} for name in alarms]}
    return {**options, "DeploymentConfig": deployment}


def usable_alarms(cloudwatch: CloudWatchClient, names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The alarms that may undo an update, and those that are on already: these would undo each update, also a cure."""
    if not names:
        return [], []
    found = cloudwatch.describe_alarms(AlarmNames=list(names))["MetricAlarms"]
    on = [alarm["AlarmName"] for alarm in found if alarm["StateValue"] == "ALARM"]
    return [alarm["AlarmName"] for alarm in found if alarm["AlarmName"] not in on], on


def describe_endpoint(sagemaker: SageMakerClient, name: str) -> DescribeEndpointOutputTypeDef | None:
    """Describe an endpoint; None when there is none of that name."""
    try:
        return sagemaker.describe_endpoint(EndpointName=name)
    except ClientError as error:
        if says(error, "could not find"):
            return None
        raise


def create_model(sagemaker: SageMakerClient, spec: EndpointSpec, version: ServableVersion) -> None:
    """The package's container, told what it serves, so that each of its answers can say so.

    By its image and archive, not by its package: whatever SageMaker starts of it later must not need the registry.
    """
    name = model_name(spec, version.version)
    told = {VERSION_VARIABLE: str(version.version), PACKAGE_VARIABLE: version.package_arn}
    environment = {**version.container.get("Environment", {}), **told, **_own_capture(spec)}
    try:
        sagemaker.create_model(
            ModelName=name,
            PrimaryContainer={**version.container, "Environment": environment},
            ExecutionRoleArn=spec.role_arn,
            Tags=tags(version.package_arn),
            **_place(spec.network),
        )
    except ClientError as error:
        if not says(error, "already exist"):
            raise
        if package_of(sagemaker.describe_model(ModelName=name)) != version.package_arn:
            text = f"model {name} exists and serves another package than {version.package_arn}; delete it"
            raise NameTaken(text) from error


def package_of(model: DescribeModelOutputTypeDef) -> str:
    """The package that a model of ours serves; those made before 2026-12 name it, later ones carry it."""
    container = model.get("PrimaryContainer", {})
    found = container.get("Environment", {}).get(PACKAGE_VARIABLE) or container.get("ModelPackageName", "")
    return str(found)


def _place(network: ContainerNetwork | None) -> Placement:
    if network is None:
        return {}
    return {"VpcConfig": {"Subnets": list(network.subnet_ids), "SecurityGroupIds": list(network.security_group_ids)}}


def create_config(
    sagemaker: SageMakerClient, spec: EndpointSpec, name: str, package_arn: str, versions: tuple[int, int]
) -> None:
    """The name carries a digest of the settings, so one that exists is the same."""
    settings = config_settings(spec, *versions)
    try:
        sagemaker.create_endpoint_config(EndpointConfigName=name, Tags=tags(package_arn), **settings)
    except ClientError as error:
        if not says(error, "already exist"):
            raise


def delete_created(sagemaker: SageMakerClient, kind: str, name: str) -> None:
    """Delete a model or a configuration, which may be gone already."""
    try:
        if kind == "model":
            sagemaker.delete_model(ModelName=name)
        else:
            sagemaker.delete_endpoint_config(EndpointConfigName=name)
    except ClientError as error:
        if not says(error, "could not find"):
            raise


def tags(package_arn: str) -> list[TagTypeDef]:
    """Return the tags of whatever is made for a version."""
    return [{"Key": PACKAGE_TAG, "Value": package_arn}]


def says(error: ClientError, words: str) -> bool:
    """SageMaker answers ValidationException for many things, so only the message tells (`Could not find ...`)."""
    return words in error.response["Error"].get("Message", "").lower()
