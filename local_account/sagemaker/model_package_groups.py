"""Model package groups of the registry and their policies.

Runs in the server process; state: the tables ``model-package-groups``, ``model-package-group-policies`` and
``model-package-versions``, by name.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from local_account.base.arns import name_of
from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.records import change, chosen
from local_account.protocol.service import now
from local_account.sagemaker.records import ModelPackageGroupRecord
from local_account.sagemaker.service import SageMaker, listing
from local_account.sagemaker.tags import drop_tags, set_tags

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        CreateModelPackageGroupInputTypeDef,
        DeleteModelPackageGroupInputTypeDef,
        DeleteModelPackageGroupPolicyInputTypeDef,
        DescribeModelPackageGroupInputTypeDef,
        GetModelPackageGroupPolicyInputTypeDef,
        ListModelPackageGroupsInputTypeDef,
        PutModelPackageGroupPolicyInputTypeDef,
    )

_GROUP_SUMMARY = [
    "ModelPackageGroupName",
    "ModelPackageGroupArn",
    "ModelPackageGroupDescription",
    "CreationTime",
    "ModelPackageGroupStatus",
]


class ModelPackageGroups:
    """The actions on groups."""

    def __init__(self, sagemaker: SageMaker) -> None:
        self.sagemaker = sagemaker
        self._policies = sagemaker.table("model-package-group-policies", dict[str, str])
        self.versions = sagemaker.table("model-package-versions", dict[str, int])

    def group(self, name_or_arn: str) -> ModelPackageGroupRecord:
        """A group by its name or ARN.

        Raises ServiceError when there is none.
        """
        name = name_of(name_or_arn, "sagemaker", "model-package-group")
        group = self.sagemaker.model_package_groups.get(name)
        if group is None:
            arn = self.sagemaker.arn(f"model-package-group/{name}")
            raise ServiceError(f"ModelPackageGroup {arn} does not exist.")
        return group

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
            self.versions.pop(name, None)
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
