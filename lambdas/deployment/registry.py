"""What the model registry says: decisions brought up to date, and what is known of a version.

Runs in Lambda. An event is only a reason to look: what it says may be old by the time it comes. So the registry is
asked for the approved versions, for those that were approved when it was asked last, and for the one that the event
names.
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from lambdas.deployment.desired_state import APPROVED, REJECTED, VersionDecision, text_of
from lambdas.deployment.ledger import Ledger
from lambdas.deployment.version import ServableVersion, VersionGoneError, number_of, of_package

if TYPE_CHECKING:
    from types_boto3_sagemaker import SageMakerClient
    from types_boto3_sagemaker.type_defs import DescribeModelPackageOutputTypeDef

# `scones model approve --shadow` leaves it with the package.
MODE_PROPERTY, SHADOW = "deployment_mode", "shadow"
NEWEST = 20
_BY = re.compile(r"\[by (?P<name>[^\]]+)\]\s*$")


def read_decisions(
    sagemaker: SageMakerClient, ledger: Ledger, group: str, named: str | None
) -> dict[int, VersionDecision]:
    """The decisions after a look at the registry; ``named`` is the package of an event, if it names one."""
    known = ledger.decisions()
    arns = {decision.package_arn for decision in known.values() if decision.deployable}
    arns |= set(_approved(sagemaker, group))
    if named and f":model-package/{group}/" in named:
        arns.add(named)
    changed = False
    for arn in sorted(arns):
        found = _decision(sagemaker, arn, known)
        before = known.get(found.version) if found else None
        if found and not (before and before.same_as(found)):
            changed |= ledger.put_decision(found)
    return ledger.decisions() if changed else known


def _approved(sagemaker: SageMakerClient, group: str) -> list[str]:
    answer = sagemaker.list_model_packages(
        ModelPackageGroupName=group,
        ModelApprovalStatus=APPROVED,
        SortBy="CreationTime",
        SortOrder="Descending",
        MaxResults=NEWEST,
    )
    return [package["ModelPackageArn"] for package in answer["ModelPackageSummaryList"]]


def _decision(sagemaker: SageMakerClient, arn: str, known: dict[int, VersionDecision]) -> VersionDecision | None:
    """What the registry says of a package; None while nobody has decided."""
    package = describe_package(sagemaker, arn)
    if package is None:
        return _removed(arn, known.get(number_of(arn)))
    status = package["ModelApprovalStatus"]
    version = package["ModelPackageVersion"]
    if status != APPROVED and version not in known and status != REJECTED:
        return None
    description = package.get("ApprovalDescription", "")
    return VersionDecision(
        version=version,
        package_arn=package["ModelPackageArn"],
        # Back to PendingManualApproval is no approval any more.
        status=APPROVED if status == APPROVED else REJECTED,
        at=text_of(package.get("LastModifiedTime") or package["CreationTime"]),
        by=_who(package, description),
        reason=description,
        shadow=package.get("CustomerMetadataProperties", {}).get(MODE_PROPERTY) == SHADOW,
    )


def _removed(arn: str, before: VersionDecision | None) -> VersionDecision:
    """A version that is gone from the registry cannot be deployed again."""
    now = text_of(datetime.now(UTC))
    if before is None:
        return VersionDecision(
            number_of(arn), arn, REJECTED, now, "unknown", "deleted from the registry", removed_at=now
        )
    return before if before.removed_at else replace(before, removed_at=now)


def _who(package: DescribeModelPackageOutputTypeDef, description: str) -> str:
    """The caller whom the registry remembers, else whom the description names."""
    identity = package.get("LastModifiedBy", {})
    name = identity.get("UserProfileName") or identity.get("IamIdentity", {}).get("Arn")
    if name:
        return str(name)
    found = _BY.search(description)
    return found["name"] if found else "unknown"


def describe_package(sagemaker: SageMakerClient, arn: str) -> DescribeModelPackageOutputTypeDef | None:
    """DescribeModelPackage's answer; None for a package that is gone."""
    try:
        return sagemaker.describe_model_package(ModelPackageName=arn)
    except ClientError as error:
        if "does not exist" not in error.response["Error"].get("Message", ""):
            raise
        return None


def find_version(sagemaker: SageMakerClient, ledger: Ledger, arn: str) -> ServableVersion:
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


def keep_version(sagemaker: SageMakerClient, ledger: Ledger, arn: str) -> None:
    """Keep what the registry says of a version now; what was kept before stays when the registry has it no more."""
    package = describe_package(sagemaker, arn)
    if package is not None:
        ledger.put_version(of_package(package))
