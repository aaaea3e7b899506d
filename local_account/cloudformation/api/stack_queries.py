"""The actions of CloudFormation that tell of stacks. Runs in the server process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from local_account.cloudformation.language.parameters import MASKED, is_secret
from local_account.cloudformation.records import StackRecord, StackResource, TemplateDocument
from local_account.cloudformation.stack import DeployedStack
from local_account.cloudformation.stacks import Stacks
from local_account.cloudformation.template import parse
from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.records import chosen

if TYPE_CHECKING:
    from types_boto3_cloudformation.type_defs import (
        DescribeStackEventsInputTypeDef,
        DescribeStackResourceInputTypeDef,
        DescribeStackResourcesInputTypeDef,
        DescribeStacksInputTypeDef,
        ListExportsInputTypeDef,
        ListImportsInputTypeDef,
        ListStackResourcesInputTypeDef,
        ListStacksInputTypeDef,
    )

_SHOWN = (
    "StackId", "StackName", "CreationTime", "DeletionTime", "LastUpdatedTime", "StackStatus", "StackStatusReason",
    "DisableRollback", "RoleARN", "Tags", "TimeoutInMinutes",
)  # fmt: skip
_OF_LIVING = ("Outputs", "ChangeSetId")
_OF_ALL = ("Capabilities",)
_IN_LISTS = (
    "StackId", "StackName", "CreationTime", "DeletionTime", "LastUpdatedTime", "StackStatus", "StackStatusReason",
)  # fmt: skip
_OF_RESOURCES = ("PhysicalResourceId", "ResourceType", "ResourceStatus", "ResourceStatusReason")
_NO_DRIFT = {"StackDriftStatus": "NOT_CHECKED"}
_NO_RESOURCE_DRIFT = {"StackResourceDriftStatus": "NOT_CHECKED"}


class StackQueries:
    """What the API tells of stacks."""

    def __init__(self, stacks: Stacks) -> None:
        self._stacks = stacks

    @action("DescribeStacks")
    def describe_stacks(self, request: DescribeStacksInputTypeDef) -> Reply:
        """Tell of one stack, or of all that are not deleted.

        Raises ServiceError for an unknown stack.
        """
        if "StackName" in request:
            found = [self._stacks.existing(request["StackName"], deleted=True).record]
        else:
            found = [r for r in reversed(self._stacks.records.values()) if r["StackStatus"] != "DELETE_COMPLETE"]
        return {"Stacks": [{**_described(record), **self._family(record["StackId"])} for record in found]}

    def _family(self, stack_id: str) -> dict[str, str]:
        """The stack that one stands in, and the one that all of them stand in."""
        parent = root = self._stacks.parent_of(stack_id)
        while root is not None and (above := self._stacks.parent_of(root)):
            root = above
        return {} if parent is None or root is None else {"ParentId": parent, "RootId": root}

    @action("ListStacks")
    def list_stacks(self, request: ListStacksInputTypeDef) -> Reply:
        """List all stacks, the newest first; of some statuses if ``StackStatusFilter`` names them."""
        wanted = request.get("StackStatusFilter")
        found = [r for r in self._stacks.records.values() if not wanted or r["StackStatus"] in wanted]
        return {"StackSummaries": [_summary(record) for record in reversed(found)]}

    @action("DescribeStackEvents")
    def describe_stack_events(self, request: DescribeStackEventsInputTypeDef) -> Reply:
        """List the events of a stack, the newest first.

        Raises ServiceError for an unknown stack.
        """
        if "StackName" not in request:
            raise ServiceError("1 validation error detected: Value null at 'stackName' failed to satisfy constraint: "
                               "Member must not be null")  # fmt: skip
        stack = self._stacks.find(request["StackName"], deleted=True)
        if stack is None:
            raise ServiceError(f"Stack [{request['StackName']}] does not exist")
        return {"StackEvents": stack.record["Events"][::-1]}

    @action("DescribeStackResources")
    def describe_stack_resources(self, request: DescribeStackResourcesInputTypeDef) -> Reply:
        """List the resources of a stack, or the one of a logical name, or the stack's that has a physical one.

        Raises ServiceError for an unknown stack or resource.
        """
        stack = self._stack_of(request)
        wanted = request.get("LogicalResourceId")
        if wanted is not None and wanted not in _names(stack):
            raise ServiceError(f"Resource {wanted} does not exist for stack {stack.record['StackName']}")
        return {"StackResources": [_resource(stack, name) for name in _names(stack) if wanted in (None, name)]}

    def _stack_of(self, request: DescribeStackResourcesInputTypeDef) -> DeployedStack:
        if "StackName" in request:
            return self._stacks.existing(request["StackName"], deleted=True)
        physical = request.get("PhysicalResourceId")
        if physical is None:
            raise ServiceError("You must specify either StackName or PhysicalResourceId")
        for stack_id in self._stacks.records:
            stack = self._stacks.find(stack_id)
            if stack and any(each["PhysicalResourceId"] == physical for each in stack.resources.values()):
                return stack
        raise ServiceError(f"Stack for {physical} does not exist")

    @action("DescribeStackResource")
    def describe_stack_resource(self, request: DescribeStackResourceInputTypeDef) -> Reply:
        """Tell of one resource.

        Raises ServiceError for an unknown stack or resource.
        """
        name, logical = request["StackName"], request["LogicalResourceId"]
        stack = self._stacks.find(name, deleted=True)
        if stack is None:
            raise ServiceError(f"Stack '{name}' does not exist")
        if logical not in _names(stack):
            raise ServiceError(f"Resource {logical} does not exist for stack {name}")
        resource = _resource(stack, logical)
        declared = parse(stack.record["Template"])["Resources"].get(logical)
        metadata = plain_metadata(declared.get("Metadata", {}) if declared else {})
        return {
            "StackResourceDetail": {**resource, "LastUpdatedTimestamp": resource["Timestamp"], "Metadata": metadata}
        }

    @action("ListStackResources")
    def list_stack_resources(self, request: ListStackResourcesInputTypeDef) -> Reply:
        """List the resources of a stack.

        Raises ServiceError for an unknown stack.
        """
        stack = self._stacks.existing(request["StackName"], deleted=True)
        found = [_resource(stack, name) for name in _names(stack)]
        return {"StackResourceSummaries": [{**each, "LastUpdatedTimestamp": each["Timestamp"]} for each in found]}

    @action("ListExports")
    def list_exports(self, _request: ListExportsInputTypeDef) -> Reply:
        """List what the stacks export."""
        exports = self._stacks.exports()
        return {"Exports": [exports[name] for name in sorted(exports)]}

    @action("ListImports")
    def list_imports(self, request: ListImportsInputTypeDef) -> Reply:
        """List the stacks that import a value.

        Raises ServiceError for a value that no stack imports.
        """
        name = request["ExportName"]
        if name not in self._stacks.exports():
            raise ServiceError(f"Export '{name}' does not exist")
        if not (found := self._stacks.importers(name)):
            raise ServiceError(f"Export '{name}' is not imported by any stack.")
        return {"Imports": found}


def plain_metadata(metadata: object) -> str:
    """Metadata of a template or a resource, as the API shows it: JSON without spaces."""
    return json.dumps(metadata, separators=(",", ":"))


def pairs(document: TemplateDocument | None, parameters: Mapping[str, str], stored: Mapping[str, str]) -> list[Reply]:
    """Parameters with their values, as the API lists them; what is not to be shown is masked."""
    declared = (document.get("Parameters") if document else None) or {}
    return [
        {
            "ParameterKey": key,
            "ParameterValue": MASKED if key in declared and is_secret(declared[key]) else value,
            **({"ResolvedValue": stored[key]} if key in stored else {}),
        }
        for key, value in parameters.items()
    ]


def _described(record: StackRecord) -> Reply:
    document = parse(record["Template"]) if record["Template"] else None
    shown = {name: value for name, value in chosen(record, _SHOWN).items() if value is not None}
    shown |= {name: value for name, value in chosen(record, _OF_ALL).items() if value}
    if record["StackStatus"] != "DELETE_COMPLETE":
        shown |= {name: value for name, value in chosen(record, _OF_LIVING).items() if value}
        shown["EnableTerminationProtection"] = record.get("EnableTerminationProtection", False)
    shown |= {
        "DriftInformation": record.get("Drift", _NO_DRIFT),
        "NotificationARNs": record.get("NotificationARNs", []),
        "RollbackConfiguration": record.get("RollbackConfiguration", {}),
    }
    if found := pairs(document, record["Parameters"], record.get("Stored", {})):
        shown["Parameters"] = found
    return shown | _description(document)


def _summary(record: StackRecord) -> Reply:
    shown = {name: value for name, value in chosen(record, _IN_LISTS).items() if value is not None}
    document = parse(record["Template"]) if record["Template"] else None
    return {**shown, "DriftInformation": record.get("Drift", _NO_DRIFT)} | (
        {"TemplateDescription": document["Description"]} if document and "Description" in document else {}
    )


def _description(document: TemplateDocument | None) -> dict[str, object]:
    return chosen(document, ("Description",)) if document else {}


def _resource_drift(resource: StackResource) -> dict[str, str]:
    drift = resource.get("Drift")
    if drift is None:
        return _NO_RESOURCE_DRIFT
    return {
        "StackResourceDriftStatus": drift["StackResourceDriftStatus"],
        "LastCheckTimestamp": drift["Timestamp"],
    }


def _names(stack: DeployedStack) -> list[str]:
    known = {**stack.record.get("Gone", {}), **stack.resources}
    return sorted(name for name, resource in known.items() if "ResourceStatus" in resource)


def _resource(stack: DeployedStack, logical: str) -> dict[str, object]:
    resource = {**stack.record.get("Gone", {}), **stack.resources}[logical]
    return {
        "StackName": stack.record["StackName"],
        "StackId": stack.record["StackId"],
        "LogicalResourceId": logical,
        "Timestamp": resource["LastUpdatedTimestamp"],
        "DriftInformation": _resource_drift(resource),
        **{name: value for name, value in chosen(resource, _OF_RESOURCES).items() if value is not None},
    }
