"""Deploys the model package that an approval event names, and no other, to the endpoint.

Runs in Lambda, invoked by EventBridge (`SageMaker Model Package State Change`, ModelApprovalStatus Approved). Events
may come more than once: every name derives from the version and the configuration, so a repetition changes nothing.
Environment: ENDPOINT_NAME, MODEL_PACKAGE_GROUP, INSTANCE_TYPE, EXECUTION_ROLE_ARN, CAPTURE_URI.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from dataclasses import dataclass
from typing import Any, TypedDict

import boto3
from botocore.exceptions import ClientError

VARIANT = "AllTraffic"
PACKAGE_TAG = "scones:model-package-arn"
# What the serving code reads of itself; the package's own variables stay beside these.
VERSION_VARIABLE = "SCONES_MODEL_VERSION"
PACKAGE_VARIABLE = "SCONES_MODEL_PACKAGE_ARN"


class Outcome(TypedDict):
    """What happened: ``created``, ``updated``, ``unchanged``, ``in progress`` or ``ignored``, and why."""

    outcome: str
    reason: str
    model_package_arn: str
    endpoint: str
    endpoint_config: str


class EndpointBusy(Exception):  # noqa: N818  # an error name in the function's log and metrics
    """The endpoint is changing. Lambda's asynchronous retries (after one and two minutes) try again."""


class NameTaken(Exception):  # noqa: N818  # an error name in the function's log and metrics
    """A model of the wanted name serves another package."""


@dataclass(frozen=True)
class Target:
    """Where approved models go."""

    endpoint: str
    model_package_group: str
    instance_type: str
    role_arn: str
    capture_uri: str


@functools.cache
def sagemaker_client() -> Any:
    return boto3.client("sagemaker")


@functools.cache
def target() -> Target:
    return Target(
        endpoint=os.environ["ENDPOINT_NAME"],
        model_package_group=os.environ["MODEL_PACKAGE_GROUP"],
        instance_type=os.environ["INSTANCE_TYPE"],
        role_arn=os.environ["EXECUTION_ROLE_ARN"],
        capture_uri=os.environ["CAPTURE_URI"],
    )


def handler(event: dict[str, Any], _context: object) -> Outcome:
    outcome = deploy(event, sagemaker_client(), target())
    print(json.dumps(outcome))  # the function's log is all that an asynchronous invocation leaves behind
    return outcome


def deploy(event: dict[str, Any], sagemaker: Any, where: Target) -> Outcome:
    """Bring the approved package of ``event`` to the endpoint."""
    detail = event["detail"]
    arn = detail["ModelPackageArn"]
    if detail.get("ModelApprovalStatus") != "Approved":
        return _outcome("ignored", f"the event says {detail.get('ModelApprovalStatus')}", arn, where)
    package = sagemaker.describe_model_package(ModelPackageName=arn)
    if package.get("ModelPackageGroupName") != where.model_package_group:
        return _outcome("ignored", f"the package is not of the group {where.model_package_group}", arn, where)
    if package["ModelApprovalStatus"] != "Approved":
        return _outcome("ignored", f"the package is {package['ModelApprovalStatus']} by now", arn, where)

    version = package["ModelPackageVersion"]
    model = f"{where.endpoint}-v{version}"
    settings = endpoint_settings(model, where)
    config = f"{model}-{digest({**settings, 'ModelPackageArn': arn})}"
    endpoint = describe_endpoint(sagemaker, where.endpoint)
    verdict = compare(endpoint, config)
    if verdict in {"unchanged", "in progress"}:
        return _outcome(verdict, f"the endpoint has {config} already", arn, where, config)
    if verdict == "failed":
        # A failed endpoint can only be deleted (DescribeEndpoint, EndpointStatus).
        sagemaker.delete_endpoint(EndpointName=where.endpoint)
    if verdict in {"failed", "busy"}:
        status = endpoint["EndpointStatus"] if endpoint else ""
        raise EndpointBusy(f"endpoint {where.endpoint} is {status}; {config} has to wait for the next attempt")

    tags = [{"Key": PACKAGE_TAG, "Value": arn}]
    create_model(sagemaker, model, container(arn, version), where.role_arn, tags)
    create_endpoint_config(sagemaker, config, settings, tags)
    if endpoint is None:
        sagemaker.create_endpoint(EndpointName=where.endpoint, EndpointConfigName=config, Tags=tags)
        return _outcome("created", "there was no endpoint", arn, where, config)
    sagemaker.update_endpoint(EndpointName=where.endpoint, EndpointConfigName=config)
    sagemaker.add_tags(ResourceArn=endpoint["EndpointArn"], Tags=tags)
    return _outcome("updated", f"the endpoint had {endpoint['EndpointConfigName']}", arn, where, config)


def endpoint_settings(model: str, where: Target) -> dict[str, Any]:
    """CreateEndpointConfig without name and tags: one variant, and all of its traffic captured."""
    return {
        "ProductionVariants": [
            {
                "VariantName": VARIANT,
                "ModelName": model,
                "InitialInstanceCount": 1,
                "InstanceType": where.instance_type,
                "InitialVariantWeight": 1.0,
            }
        ],
        "DataCaptureConfig": {
            "EnableCapture": True,
            "InitialSamplingPercentage": 100,
            "DestinationS3Uri": where.capture_uri,
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
            # Without it the answers would be captured as base64.
            "CaptureContentTypeHeader": {
                "JsonContentTypes": ["application/json"],
                "CsvContentTypes": ["text/csv"],
            },
        },
    }


def digest(document: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:8]


def compare(endpoint: dict[str, Any] | None, config: str) -> str:
    """What the endpoint's state means for somebody who wants it on ``config``."""
    if endpoint is None:
        return "absent"
    status = endpoint["EndpointStatus"]
    if status == "Failed":
        return "failed"
    # While an update runs, EndpointConfigName is still the old one.
    coming = endpoint.get("PendingDeploymentSummary", {}).get("EndpointConfigName", endpoint["EndpointConfigName"])
    if status == "InService":
        return "unchanged" if endpoint["EndpointConfigName"] == config else "other"
    if status in {"Creating", "Updating"} and coming == config:
        return "in progress"
    return "busy"


def describe_endpoint(sagemaker: Any, name: str) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = sagemaker.describe_endpoint(EndpointName=name)
    except ClientError as error:
        if _says(error, "could not find"):
            return None
        raise
    return found


def container(package_arn: str, version: int) -> dict[str, Any]:
    """The package's container, told what it serves, so that each of its answers can say so."""
    environment = {VERSION_VARIABLE: str(version), PACKAGE_VARIABLE: package_arn}
    return {"ModelPackageName": package_arn, "Environment": environment}


def create_model(sagemaker: Any, name: str, primary: dict[str, Any], role_arn: str, tags: list[dict[str, str]]) -> None:
    package_arn = primary["ModelPackageName"]
    try:
        sagemaker.create_model(
            ModelName=name,
            PrimaryContainer=primary,
            ExecutionRoleArn=role_arn,
            Tags=tags,
        )
    except ClientError as error:
        if not _says(error, "already exist"):
            raise
        found = sagemaker.describe_model(ModelName=name)
        if found.get("PrimaryContainer", {}).get("ModelPackageName") != package_arn:
            raise NameTaken(f"model {name} exists and serves another package than {package_arn}; delete it") from error


def create_endpoint_config(sagemaker: Any, name: str, settings: dict[str, Any], tags: list[dict[str, str]]) -> None:
    """The name carries a digest of the settings, so one that exists is the same."""
    try:
        sagemaker.create_endpoint_config(EndpointConfigName=name, Tags=tags, **settings)
    except ClientError as error:
        if not _says(error, "already exist"):
            raise


def _says(error: ClientError, words: str) -> bool:
    """SageMaker answers ValidationException for both, so only the message tells (`Could not find ...`)."""
    return words in error.response["Error"].get("Message", "").lower()


def _outcome(outcome: str, reason: str, arn: str, where: Target, config: str = "") -> Outcome:
    return {
        "outcome": outcome,
        "reason": reason,
        "model_package_arn": arn,
        "endpoint": where.endpoint,
        "endpoint_config": config,
    }
