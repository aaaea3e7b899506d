"""Finds what is known of a version: in the table of deployments, else in the registry.

Runs in Lambda.
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from lambdas.deployment.ledger import Ledger
from lambdas.deployment.version import ServableVersion, VersionGoneError, number_of, of_package


def describe_package(sagemaker: Any, arn: str) -> dict[str, Any] | None:
    """DescribeModelPackage's answer; None for a package that is gone."""
    try:
        found: dict[str, Any] = sagemaker.describe_model_package(ModelPackageName=arn)
    except ClientError as error:
        if "does not exist" not in error.response["Error"].get("Message", ""):
            raise
        return None
    return found


def find_version(sagemaker: Any, ledger: Ledger, arn: str) -> ServableVersion:
    """What was kept when the version's deployment began; for one of before that, what the registry says.

    Raises VersionGoneError when neither knows it.
    """
    kept = ledger.version(number_of(arn))
    if kept and kept.package_arn == arn:
        return kept
    package = describe_package(sagemaker, arn)
    if package is None:
        raise VersionGoneError(arn)
    return of_package(package)


def keep_version(sagemaker: Any, ledger: Ledger, arn: str) -> None:
    """Keep what the registry says of a version now; what was kept before stays when the registry has it no more."""
    package = describe_package(sagemaker, arn)
    if package is not None:
        ledger.put_version(of_package(package))
