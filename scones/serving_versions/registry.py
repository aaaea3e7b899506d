"""The model registry: list, show, approve and reject versions.

Runs on a laptop or in CodeBuild. Approving is all a person does: an EventBridge rule deploys what was approved.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from reporting.documents.evaluation import Evaluation
from reporting.documents.json import DocumentError, from_bytes
from scones.errors import SconesError
from scones.serving_versions import deployments
from scones.stage.connection import Connection, object_exists, split_uri

if TYPE_CHECKING:
    from types_boto3_sagemaker.literals import ModelApprovalStatusType
    from types_boto3_sagemaker.type_defs import DescribeModelPackageOutputTypeDef, UpdateModelPackageInputTypeDef

MODE_PROPERTY = "deployment_mode"  # `lambdas.deployment.registry` reads it
_DESCRIPTION_CHARACTERS = 1024  # UpdateModelPackage, ApprovalDescription
_CLASSES_VARIABLE = "SCONES_CLASSES"  # `pipelines.training_pipeline` registers it


@dataclass(frozen=True)
class ModelVersion:
    """One version of the model package group, with the metadata that the pipeline registered.

    ``classes`` stand in the order of the model's probabilities.
    """

    arn: str
    version: int
    approval: str
    created: datetime
    metadata: dict[str, str]
    description: str
    evaluation_uri: str
    classes: list[str]
    baseline_uri: str = ""


class VersionDeletedError(SconesError):
    """The registry has no entry for a version, which may serve all the same."""

    def __init__(self, arn: str) -> None:
        super().__init__(f"version {arn.rpartition('/')[2]} is not in the registry, somebody deleted it: {arn}")


def deployed(connection: Connection, arn: str) -> ModelVersion:
    """A version that was deployed, as it was then: whatever serves must not need its entry in the registry.

    One that was deployed before the table of deployments kept that is looked up. Raises VersionDeletedError.
    """
    kept = deployments.version(connection, arn)
    if kept is None:
        return describe(connection, arn)
    return ModelVersion(
        arn,
        int(kept["version"]),
        "Approved",
        datetime.fromisoformat(kept["created"]),
        dict(kept["metadata"]),
        "",
        str(kept["evaluation_uri"]),
        _named(str(kept["classes"])),
        str(kept["baseline_uri"]),
    )


def versions(connection: Connection) -> list[ModelVersion]:
    """Every version, the newest first."""
    sagemaker = connection.client("sagemaker")
    pages = sagemaker.get_paginator("list_model_packages").paginate(
        ModelPackageGroupName=connection.names.model_package_group, SortBy="CreationTime", SortOrder="Descending"
    )
    return [describe(connection, item["ModelPackageArn"]) for page in pages for item in page["ModelPackageSummaryList"]]


def describe(connection: Connection, arn: str) -> ModelVersion:
    """One version by its ARN. Raises VersionDeletedError."""
    try:
        answer = connection.client("sagemaker").describe_model_package(ModelPackageName=arn)
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        raise VersionDeletedError(arn) from error
    statistics = answer.get("ModelMetrics", {}).get("ModelQuality", {}).get("Statistics", {})
    return ModelVersion(
        answer["ModelPackageArn"],
        answer["ModelPackageVersion"],
        answer["ModelApprovalStatus"],
        answer["CreationTime"],
        answer.get("CustomerMetadataProperties", {}),
        answer.get("ApprovalDescription", ""),
        statistics.get("S3Uri", ""),
        _classes(answer),
        _baseline_uri(answer),
    )


def _baseline_uri(package: DescribeModelPackageOutputTypeDef) -> str:
    """The registry has no place for baseline.json, which stands beside the statistics."""
    data = package.get("DriftCheckBaselines", {}).get("ModelDataQuality", {})
    statistics = data.get("Statistics", {}).get("S3Uri", "")
    return f"{statistics.rpartition('/')[0]}/baseline.json" if statistics else ""


def _classes(package: DescribeModelPackageOutputTypeDef) -> list[str]:
    """Where the inference workflow reads them too: the container's environment, as metadata may hold no commas."""
    containers = package.get("InferenceSpecification", {}).get("Containers", [{}])
    return _named(containers[0].get("Environment", {}).get(_CLASSES_VARIABLE, ""))


def _named(named: str) -> list[str]:
    return [name.strip() for name in named.split(",") if name.strip()]


def find(connection: Connection, version: int | None) -> ModelVersion:
    """A version by its number; without one, the newest. SconesError when there is none."""
    group = connection.names.model_package_group
    try:
        known = versions(connection)
    except ClientError as error:
        raise SconesError(f"model package group {group} cannot be read ({error}): run `scones deploy` first") from error
    if not known:
        raise SconesError(f"model package group {group} holds no version: start one with `scones pipeline run`")
    if version is None:
        return known[0]
    for candidate in known:
        if candidate.version == version:
            return candidate
    raise SconesError(f"there is no version {version}; versions are: {', '.join(str(v.version) for v in known)}")


def set_approval(
    connection: Connection, version: ModelVersion, status: ModelApprovalStatusType, reason: str, *, shadow: bool = False
) -> str:
    """Approve or reject a version; the reason is kept with it, and whose it is. Answers when, as deployments tell it.

    ``shadow``: it shall get copies of the traffic before it serves any.
    """
    said = _description(connection, reason)
    if (status, said) == (version.approval, version.description):
        # The registry keeps no time of a decision, so that the same words once more would be no new decision.
        said = _description(connection, f"{reason} (again at {deployments.text_of(connection.now())})")
    request: UpdateModelPackageInputTypeDef = {
        "ModelPackageArn": version.arn,
        "ModelApprovalStatus": status,
        "ApprovalDescription": said,
    }
    if shadow or MODE_PROPERTY in version.metadata:
        request["CustomerMetadataProperties"] = {MODE_PROPERTY: "shadow" if shadow else "live"}
    sagemaker = connection.client("sagemaker")
    sagemaker.update_model_package(**request)
    deployments.nudge(connection, version.arn)
    changed = sagemaker.describe_model_package(ModelPackageName=version.arn)
    return deployments.text_of(changed["LastModifiedTime"])


def _description(connection: Connection, reason: str) -> str:
    return " ".join(f"{reason} [by {deployments.caller(connection)}]".split())[-_DESCRIPTION_CHARACTERS:]


def evaluation_text(connection: Connection, version: ModelVersion) -> bytes:
    """The evaluation.json that was registered with a version, as it stands there."""
    if not version.evaluation_uri:
        raise SconesError(f"{version.arn} was registered without an evaluation")
    bucket, key = split_uri(version.evaluation_uri)
    body: bytes = connection.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    return body


def evaluation(connection: Connection, version: ModelVersion) -> Evaluation:
    """The same as a document; one of an early version lacks sections. Raises SconesError."""
    try:
        return from_bytes(evaluation_text(connection, version), Evaluation)
    except DocumentError as error:
        raise SconesError(f"{version.evaluation_uri} is no evaluation: {error}") from error


def evaluation_page(connection: Connection, version: ModelVersion) -> str | None:
    """The S3 URI of the evaluation as a page, which lies beside evaluation.json; None for a version without one."""
    uri = version.evaluation_uri.rpartition("/")[0] + "/evaluation.html"
    return uri if version.evaluation_uri and object_exists(connection.client("s3"), *split_uri(uri)) else None
