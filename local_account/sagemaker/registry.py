"""The model registry: model package groups, versions and their approval.

Runs in the server process; state: the tables ``model-package-groups`` (by name) and ``model-packages`` (by ARN).
Creating a
package and changing its approval send the event ``SageMaker Model Package State Change``.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from local_account.protocol.actions import ServiceError, action
from local_account.protocol.service import Resource, now
from local_account.sagemaker.models import check_model_data
from local_account.sagemaker.service import SageMaker, listing
from local_account.sagemaker.tags import drop_tags, set_tags

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
        self._policies = sagemaker.table("model-package-group-policies", Resource)
        self._versions = sagemaker.table("model-package-versions", dict[str, int])

    def group(self, name_or_arn: str) -> Resource:
        name = name_or_arn.rsplit("/", 1)[-1]
        group = self.sagemaker.model_package_groups.get(name)
        if group is None:
            arn = self.sagemaker.arn(f"model-package-group/{name}")
            raise ServiceError(f"ModelPackageGroup {arn} does not exist.")
        return group

    def package(self, name_or_arn: str) -> Resource:
        arn = name_or_arn if name_or_arn.startswith("arn:") else self.sagemaker.arn(f"model-package/{name_or_arn}")
        package = self.sagemaker.model_packages.get(arn)
        if package is None:
            raise ServiceError(f"ModelPackage {arn} does not exist.")
        return package

    @action("CreateModelPackageGroup")
    def create_group(self, request: dict[str, Any]) -> dict[str, Any]:
        name = request["ModelPackageGroupName"]
        arn = self.sagemaker.arn(f"model-package-group/{name}")
        with self.sagemaker.lock:
            if name in self.sagemaker.model_package_groups:
                raise ServiceError(f"Model Package Group already exists: {arn}")
            self.sagemaker.model_package_groups[name] = {
                "ModelPackageGroupName": name,
                "ModelPackageGroupArn": arn,
                **{k: request[k] for k in ("ModelPackageGroupDescription",) if k in request},
                "CreationTime": now(),
                "CreatedBy": {},
                "ModelPackageGroupStatus": "Completed",
            }
            set_tags(self.sagemaker, arn, request.get("Tags"))
            self.sagemaker.changed()
        return {"ModelPackageGroupArn": arn}

    @action("DescribeModelPackageGroup")
    def describe_group(self, request: dict[str, Any]) -> dict[str, Any]:
        return self.group(request["ModelPackageGroupName"])

    @action("ListModelPackageGroups")
    def list_groups(self, request: dict[str, Any]) -> dict[str, Any]:
        return listing(
            self.sagemaker.model_package_groups.values(),
            request,
            key="ModelPackageGroupSummaryList",
            fields=_GROUP_SUMMARY,
            name_field="ModelPackageGroupName",
            default_order="Ascending",
        )

    @action("DeleteModelPackageGroup")
    def delete_group(self, request: dict[str, Any]) -> None:
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
    def put_policy(self, request: dict[str, Any]) -> dict[str, Any]:
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
    def get_policy(self, request: dict[str, Any]) -> dict[str, Any]:
        group = self.group(request["ModelPackageGroupName"])
        policy = self._policies.get(group["ModelPackageGroupName"])
        if policy is None:
            arn = group["ModelPackageGroupArn"]
            raise ServiceError(f"Cannot find resource policy for {arn}", "ResourceNotFoundException")
        return policy

    @action("DeleteModelPackageGroupPolicy")
    def delete_policy(self, request: dict[str, Any]) -> None:
        group = self.group(request["ModelPackageGroupName"])
        with self.sagemaker.lock:
            self._policies.pop(group["ModelPackageGroupName"], None)
            self.sagemaker.changed()

    @action("CreateModelPackage")
    def create_package(self, request: dict[str, Any]) -> dict[str, Any]:
        if ("ModelPackageGroupName" in request) == ("ModelPackageName" in request):
            raise ServiceError("Expected either ModelPackageName or ModelPackageGroupName.")
        for container in request.get("InferenceSpecification", {}).get("Containers", []):
            check_model_data(self.sagemaker, container)
        left_out = ("Tags", "ClientToken", "ModelPackageGroupName")
        given = {k: v for k, v in request.items() if k not in left_out}
        created = now()
        with self.sagemaker.lock:
            package: Resource = {
                "CertifyForMarketplace": False,
                **self._identity(request),
                **given,
                "CreationTime": created,
                "LastModifiedTime": created,
                "ModelPackageStatus": "Completed",
                "ModelPackageStatusDetails": {"ValidationStatuses": [], "ImageScanStatuses": []},
            }
            arn = package["ModelPackageArn"]
            self.sagemaker.model_packages[arn] = package
            set_tags(self.sagemaker, arn, request.get("Tags"))
            self.sagemaker.changed()
        self._emit(package)
        return {"ModelPackageArn": arn}

    def _identity(self, request: dict[str, Any]) -> Resource:
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
    def describe_package(self, request: dict[str, Any]) -> dict[str, Any]:
        return self.package(request["ModelPackageName"])

    @action("ListModelPackages")
    def list_packages(self, request: dict[str, Any]) -> dict[str, Any]:
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
    def update_package(self, request: dict[str, Any]) -> dict[str, Any]:
        with self.sagemaker.lock:
            package = self.package(request["ModelPackageArn"])
            if "ModelApprovalStatus" in request and "ModelPackageVersion" not in package:
                raise ServiceError("ModelApprovalStatus belongs to versions of a model package group.")
            before = package.get("ModelApprovalStatus")
            package.update({k: request[k] for k in (*_REPLACEABLE, "ModelLifeCycle") if k in request})
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
    def delete_package(self, request: dict[str, Any]) -> None:
        with self.sagemaker.lock:
            arn = self.package(request["ModelPackageName"])["ModelPackageArn"]
            del self.sagemaker.model_packages[arn]
            drop_tags(self.sagemaker, arn)
            self.sagemaker.changed()

    def _emit(self, package: Resource) -> None:
        with self.sagemaker.lock:
            detail = json.loads(json.dumps(package))
        for name in ("CreationTime", "LastModifiedTime"):
            detail[name] = datetime.fromtimestamp(detail[name], UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.sagemaker.emit(EVENT, detail, [package["ModelPackageArn"]])
