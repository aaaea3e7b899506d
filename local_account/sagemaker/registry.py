"""The model registry: model packages, versions of groups, and their approval.

Runs in the server process; state: the table ``model-packages`` (by ARN). Creating a package and changing its approval
send the event ``SageMaker Model Package State Change``.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.records import change, chosen, record_of, without
from local_account.protocol.service import now
from local_account.sagemaker.model_package_groups import ModelPackageGroups
from local_account.sagemaker.models import check_model_data
from local_account.sagemaker.network import check_key
from local_account.sagemaker.records import ModelPackageRecord
from local_account.sagemaker.service import SageMaker, listing
from local_account.sagemaker.tags import drop_tags, set_tags

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        CreateModelPackageInputTypeDef,
        DeleteModelPackageInputTypeDef,
        DescribeModelPackageInputTypeDef,
        ListModelPackagesInputTypeDef,
        UpdateModelPackageInputTypeDef,
    )

EVENT = "SageMaker Model Package State Change"
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

    def __init__(self, sagemaker: SageMaker, groups: ModelPackageGroups) -> None:
        self.sagemaker = sagemaker
        self._groups = groups

    def package(self, name_or_arn: str) -> ModelPackageRecord:
        """A model package by its ARN, or by what follows ``model-package/`` in it.

        Raises ServiceError when there is none.
        """
        arn = name_or_arn if name_or_arn.startswith("arn:") else self.sagemaker.arn(f"model-package/{name_or_arn}")
        package = self.sagemaker.model_packages.get(arn)
        if package is None:
            raise ServiceError(f"ModelPackage {arn} does not exist.")
        return package

    @action("CreateModelPackage")
    def create_package(self, request: CreateModelPackageInputTypeDef) -> Reply:
        """The next version of a group, or a package with a name of its own.

        Raises ServiceError for model data that is not there.
        """
        if ("ModelPackageGroupName" in request) == ("ModelPackageName" in request):
            raise ServiceError("Expected either ModelPackageName or ModelPackageGroupName.")
        self._complete(request)
        created = now()
        token = f"CreateModelPackage:{request.get('ClientToken', '')}"
        with self.sagemaker.lock:
            known = self.sagemaker.request_tokens.get(token)
            if "ClientToken" in request and known and known["Arn"] in self.sagemaker.model_packages:
                return {"ModelPackageArn": known["Arn"]}
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
            if "ClientToken" in request:
                self.sagemaker.request_tokens[token] = {"Arn": arn}
            set_tags(self.sagemaker, arn, request.get("Tags"))
            self.sagemaker.changed()
        self._emit(package)
        return {"ModelPackageArn": arn}

    def _complete(self, request: CreateModelPackageInputTypeDef) -> None:
        """Look at the model data of all containers, and tell what is known of it. Raises ServiceError."""
        if "SecurityConfig" in request:
            check_key(self.sagemaker.account, request["SecurityConfig"], "KmsKeyId")
        given = [request["InferenceSpecification"]] if "InferenceSpecification" in request else []
        for specification in [*given, *request.get("AdditionalInferenceSpecifications", [])]:
            for container in specification["Containers"]:
                if etag := check_model_data(self.sagemaker, container):
                    container.setdefault("ModelDataETag", etag)
                    container.setdefault("IsCheckpoint", False)

    def _identity(self, request: CreateModelPackageInputTypeDef) -> dict[str, object]:
        if "ModelPackageName" in request:
            name = request["ModelPackageName"]
            if "ModelApprovalStatus" in request:
                raise ServiceError("ModelApprovalStatus belongs to versions of a model package group.")
            arn = self.sagemaker.arn(f"model-package/{name}")
            if arn in self.sagemaker.model_packages:
                raise ServiceError(f"Model Package already exists: {arn}")
            return {"ModelPackageArn": arn}
        name = self._groups.group(request["ModelPackageGroupName"])["ModelPackageGroupName"]
        # A counter of its own: the number of a deleted version is never given out again.
        counter = self._groups.versions.setdefault(name, {"last": 0})
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
            name = self._groups.group(request["ModelPackageGroupName"])["ModelPackageGroupName"]
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
                further = request["AdditionalInferenceSpecificationsToAdd"]
                known = package.get("AdditionalInferenceSpecifications", [])
                change(package, {"AdditionalInferenceSpecifications": [*known, *further]})
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
