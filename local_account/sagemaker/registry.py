"""The model registry: model package groups, versions and their approval.

Runs in the server process; state: the tables ``model-package-groups`` (by name) and ``model-packages`` (by ARN).
Creating a
package and changing its approval send the event ``SageMaker Model Package State Change``.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.records import change, chosen, record_of, without
from local_account.protocol.service import now
from local_account.sagemaker.models import check_model_data
from local_account.sagemaker.records import ModelPackageGroupRecord, ModelPackageRecord
from local_account.sagemaker.service import SageMaker, listing
from local_account.sagemaker.tags import drop_tags, set_tags

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        CreateModelPackageGroupInputTypeDef,
        CreateModelPackageInputTypeDef,
        DeleteModelPackageGroupInputTypeDef,
        DeleteModelPackageGroupPolicyInputTypeDef,
        DeleteModelPackageInputTypeDef,
        DescribeModelPackageGroupInputTypeDef,
        DescribeModelPackageInputTypeDef,
        GetModelPackageGroupPolicyInputTypeDef,
        ListModelPackageGroupsInputTypeDef,
        ListModelPackagesInputTypeDef,
        PutModelPackageGroupPolicyInputTypeDef,
        UpdateModelPackageInputTypeDef,
    )

EVENT = "SageMaker Model Package State Change"
_GROUP_SUMMARY = [
    "ModelPackageGroupName",
    "ModelPackageGroupArn",
    "ModelPackageGroupDescription",
    "CreationTime",
    "ModelPackageGroupStatus",
]
_PACKAGE_SUMMARY = [
    "ModelPackageName",
    "ModelPackageGroupName",
    "ModelPackageVersion",
    "ModelPackageArn",
    "ModelPackageDescription",
    "CreationTime",
    "ModelPackageStatus",
    "ModelApprovalStatus",
    "ModelLifeCycle",
]
# What UpdateModelPackage replaces when it is given and leaves alone when it is not.
_REPLACEABLE = ("ModelApprovalStatus", "ApprovalDescription", "InferenceSpecification", "SourceUri", "ModelCard")


class Registry:
    """The registry's actions."""

    def __init__(self, sagemaker: SageMaker) -> None:
        self.sagemaker = sagemaker
        self._policies = sagemaker.table("model-package-group-policies", dict[str, str])
        self._versions = sagemaker.table("model-package-versions", dict[str, int])

    def group(self, name_or_arn: str) -> ModelPackageGroupRecord:
        """A group by its name or ARN.

        Raises ServiceError when there is none.
        """
        name = name_or_arn.rsplit("/", 1)[-1]
        group = self.sagemaker.model_package_groups.get(name)
        if group is None:
            arn = self.sagemaker.arn(f"model-package-group/{name}")
            raise ServiceError(f"ModelPackageGroup {arn} does not exist.")
        return group

    def package(self, name_or_arn: str) -> ModelPackageRecord:
        """A model package by its ARN, or by what follows ``model-package/`` in it.

        Raises ServiceError when there is none.
        """
        arn = name_or_arn if name_or_arn.startswith("arn:") else self.sagemaker.arn(f"model-package/{name_or_arn}")
        package = self.sagemaker.model_packages.get(arn)
        if package is None:
            raise ServiceError(f"ModelPackage {arn} does not exist.")
        return package

    @action("CreateModelPackageGroup")
    def create_group(self, request: CreateModelPackageGroupInputTypeDef) -> Reply:
        """Raises ServiceError for a name that is taken."""
        name = request["ModelPackageGroupName"]
        arn = self.sagemaker.arn(f"model-package-group/{name}")
        with self.sagemaker.lock:
            if name in self.sagemaker.model_package_groups:
                raise ServiceError(f"Model Package Group already exists: {arn}")
            group: ModelPackageGroupRecord = {
                "ModelPackageGroupName": name,
                "ModelPackageGroupArn": arn,
                "CreationTime": now(),
                "CreatedBy": {},
                "ModelPackageGroupStatus": "Completed",
            }
            change(group, chosen(request, ("ModelPackageGroupDescription",)))
            self.sagemaker.model_package_groups[name] = group
            set_tags(self.sagemaker, arn, request.get("Tags"))
            self.sagemaker.changed()
        return {"ModelPackageGroupArn": arn}

    @action("DescribeModelPackageGroup")
    def describe_group(self, request: DescribeModelPackageGroupInputTypeDef) -> Reply:
        """Answers the group."""
        return self.group(request["ModelPackageGroupName"])

    @action("ListModelPackageGroups")
    def list_groups(self, request: ListModelPackageGroupsInputTypeDef) -> Reply:
        """Answers a page of groups, the oldest first."""
        return listing(
            self.sagemaker.model_package_groups.values(),
            request,
            key="ModelPackageGroupSummaryList",
            fields=_GROUP_SUMMARY,
            name_field="ModelPackageGroupName",
            default_order="Ascending",
        )

    @action("DeleteModelPackageGroup")
    def delete_group(self, request: DeleteModelPackageGroupInputTypeDef) -> None:
        """Raises ServiceError while the group has versions."""
        with self.sagemaker.lock:
            group = self.group(request["ModelPackageGroupName"])
            name, arn = group["ModelPackageGroupName"], group["ModelPackageGroupArn"]
            if any(p.get("ModelPackageGroupName") == name for p in self.sagemaker.model_packages.values()):
                raise ServiceError(
                    f"Model Package Group {arn} cannot be deleted because it still contains Model Packages.",
                    "ConflictException",
                )
            del self.sagemaker.model_package_groups[name]
            self._versions.pop(name, None)
            self._policies.pop(name, None)
            drop_tags(self.sagemaker, arn)
            self.sagemaker.changed()

    @action("PutModelPackageGroupPolicy")
    def put_policy(self, request: PutModelPackageGroupPolicyInputTypeDef) -> Reply:
        """Raises ServiceError for a policy that is no JSON; it is kept and not enforced."""
        group = self.group(request["ModelPackageGroupName"])
        try:
            json.loads(request["ResourcePolicy"])
        except ValueError as error:
            raise ServiceError(f"ResourcePolicy is not valid JSON: {error}") from error
        with self.sagemaker.lock:
            self._policies[group["ModelPackageGroupName"]] = {"ResourcePolicy": request["ResourcePolicy"]}
            self.sagemaker.changed()
        return {"ModelPackageGroupArn": group["ModelPackageGroupArn"]}

    @action("GetModelPackageGroupPolicy")
    def get_policy(self, request: GetModelPackageGroupPolicyInputTypeDef) -> Reply:
        """Raises ServiceError when the group has none."""
        group = self.group(request["ModelPackageGroupName"])
        policy = self._policies.get(group["ModelPackageGroupName"])
        if policy is None:
            arn = group["ModelPackageGroupArn"]
            raise ServiceError(f"Cannot find resource policy for {arn}", "ResourceNotFoundException")
        return policy

    @action("DeleteModelPackageGroupPolicy")
    def delete_policy(self, request: DeleteModelPackageGroupPolicyInputTypeDef) -> None:
        """A group without a policy is left as it is."""
        group = self.group(request["ModelPackageGroupName"])
        with self.sagemaker.lock:
            self._policies.pop(group["ModelPackageGroupName"], None)
            self.sagemaker.changed()

    @action("CreateModelPackage")
    def create_package(self, request: CreateModelPackageInputTypeDef) -> Reply:
        """The next version of a group, or a package with a name of its own.

        Raises ServiceError for model data that is not there.
        """
        if ("ModelPackageGroupName" in request) == ("ModelPackageName" in request):
            raise ServiceError("Expected either ModelPackageName or ModelPackageGroupName.")
        if "InferenceSpecification" in request:
            for container in request["InferenceSpecification"]["Containers"]:
                check_model_data(self.sagemaker, container)
        created = now()
        with self.sagemaker.lock:
            package = record_of(
                ModelPackageRecord,
                {"CertifyForMarketplace": False},
                self._identity(request),
                without(request, "Tags", "ClientToken", "ModelPackageGroupName"),
                {
                    "CreationTime": created,
                    "LastModifiedTime": created,
                    "ModelPackageStatus": "Completed",
                    "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
                },
            )
            arn = package["ModelPackageArn"]
            self.sagemaker.model_packages[arn] = package
            set_tags(self.sagemaker, arn, request.get("Tags"))
            self.sagemaker.changed()
        self._emit(package)
        return {"ModelPackageArn": arn}

    def _identity(self, request: CreateModelPackageInputTypeDef) -> dict[str, object]:
        if "ModelPackageName" in request:
            name = request["ModelPackageName"]
            if "ModelApprovalStatus" in request:
                raise ServiceError("ModelApprovalStatus belongs to versions of a model package group.")
            arn = self.sagemaker.arn(f"model-package/{name}")
            if arn in self.sagemaker.model_packages:
                raise ServiceError(f"Model Package already exists: {arn}")
            return {"ModelPackageArn": arn}
        name = self.group(request["ModelPackageGroupName"])["ModelPackageGroupName"]
        # A counter of its own: the number of a deleted version is never given out again.
        counter = self._versions.setdefault(name, {"last": 0})
        counter["last"] += 1
        return {
            "ModelPackageGroupName": name,
            "ModelPackageVersion": counter["last"],
            "ModelPackageArn": self.sagemaker.arn(f"model-package/{name}/{counter['last']}"),
            "ModelApprovalStatus": "PendingManualApproval",
        }

    @action("DescribeModelPackage")
    def describe_package(self, request: DescribeModelPackageInputTypeDef) -> Reply:
        """Answers the model package."""
        return self.package(request["ModelPackageName"])

    @action("ListModelPackages")
    def list_packages(self, request: ListModelPackagesInputTypeDef) -> Reply:
        """Answers a page of model packages, the oldest first."""
        packages = list(self.sagemaker.model_packages.values())
        if "ModelPackageGroupName" in request:
            name = self.group(request["ModelPackageGroupName"])["ModelPackageGroupName"]
            packages = [p for p in packages if p.get("ModelPackageGroupName") == name]
        else:
            kind = request.get("ModelPackageType", "Unversioned")
            packages = [
                p for p in packages if kind in ("Both", "Versioned" if "ModelPackageVersion" in p else "Unversioned")
            ]
        if "ModelApprovalStatus" in request:
            packages = [p for p in packages if p.get("ModelApprovalStatus") == request["ModelApprovalStatus"]]
        return listing(
            packages,
            request,
            key="ModelPackageSummaryList",
            fields=_PACKAGE_SUMMARY,
            name_field="ModelPackageArn",
            default_order="Ascending",
        )

    @action("UpdateModelPackage")
    def update_package(self, request: UpdateModelPackageInputTypeDef) -> Reply:
        """Members that the request does not name stay; a new approval status is told to EventBridge."""
        with self.sagemaker.lock:
            package = self.package(request["ModelPackageArn"])
            if "ModelApprovalStatus" in request and "ModelPackageVersion" not in package:
                raise ServiceError("ModelApprovalStatus belongs to versions of a model package group.")
            before = package.get("ModelApprovalStatus")
            change(package, chosen(request, (*_REPLACEABLE, "ModelLifeCycle")))
            properties = {
                **package.get("CustomerMetadataProperties", {}),
                **request.get("CustomerMetadataProperties", {}),
            }
            for key in request.get("CustomerMetadataPropertiesToRemove", []):
                properties.pop(key, None)
            if properties or "CustomerMetadataProperties" in package:
                package["CustomerMetadataProperties"] = properties
            if "AdditionalInferenceSpecificationsToAdd" in request:
                package.setdefault("AdditionalInferenceSpecifications", []).extend(
                    request["AdditionalInferenceSpecificationsToAdd"]
                )
            package["LastModifiedTime"] = now()
            self.sagemaker.changed()
            changed = package.get("ModelApprovalStatus") != before
        if changed:
            self._emit(package)
        return {"ModelPackageArn": package["ModelPackageArn"]}

    @action("DeleteModelPackage")
    def delete_package(self, request: DeleteModelPackageInputTypeDef) -> None:
        """What was deployed of the version goes on serving."""
        with self.sagemaker.lock:
            arn = self.package(request["ModelPackageName"])["ModelPackageArn"]
            del self.sagemaker.model_packages[arn]
            drop_tags(self.sagemaker, arn)
            self.sagemaker.changed()

    def _emit(self, package: ModelPackageRecord) -> None:
        with self.sagemaker.lock:
            detail = json.loads(json.dumps(package))
        for name in ("CreationTime", "LastModifiedTime"):
            detail[name] = datetime.fromtimestamp(detail[name], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.sagemaker.emit(EVENT, detail, [package["ModelPackageArn"]])
