"""What the classes of a version are called, whose answer has to be told.

Runs in Lambda. Reads the table of deployments, in which the deploying function keeps what is known of a version before
it serves. The registry is asked only for a version that was deployed before the table kept that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from lambdas.deployment.version import CLASSES_VARIABLE, ServableVersion, VersionGoneError, key_of, of_package
from lambdas.inference.body import WorkflowFault

if TYPE_CHECKING:
    from types_boto3_dynamodb import DynamoDBClient
    from types_boto3_sagemaker import SageMakerClient


class UnexpectedModelAnswer(WorkflowFault):
    """The model's answer is not one probability for each class."""


@dataclass(frozen=True)
class AnsweringModel:
    """A model package, and what its classes are called."""

    package_arn: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Versions:
    """Where versions are looked up: ``table`` is the name of the table of deployments."""

    dynamodb: DynamoDBClient
    table: str
    sagemaker: SageMakerClient

    def described(self, package_arn: str) -> AnsweringModel:
        """Raises UnexpectedModelAnswer for a package that is not known or does not name its classes."""
        text = self._kept(package_arn)
        named = self._registered(package_arn).classes if text is None else text
        classes = tuple(name for name in named.split(",") if name)
        if not classes:
            raise UnexpectedModelAnswer(f"{package_arn} does not name its classes in {CLASSES_VARIABLE}")
        return AnsweringModel(package_arn, classes)

    def _kept(self, package_arn: str) -> str | None:
        key = {name: {"S": value} for name, value in key_of(package_arn).items()}
        item = self.dynamodb.get_item(TableName=self.table, Key=key, ConsistentRead=True).get("Item", {})
        return str(item["classes"]["S"]) if item.get("package_arn", {}).get("S") == package_arn else None

    def _registered(self, package_arn: str) -> ServableVersion:
        try:
            return of_package(self.sagemaker.describe_model_package(ModelPackageName=package_arn))
        except ClientError as error:
            if "does not exist" not in error.response["Error"].get("Message", ""):
                raise
            raise UnexpectedModelAnswer(str(VersionGoneError(package_arn))) from error
