"""The actions of CloudFormation that tell of stacks and templates. Runs in the server process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_account.cloudformation.records import DeclaredParameter, StackRecord
from local_account.cloudformation.requests import template_of
from local_account.cloudformation.stack import DeployedStack
from local_account.cloudformation.stacks import Stacks
from local_account.cloudformation.template import parse
from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.records import chosen, without

if TYPE_CHECKING:
    from types_boto3_cloudformation.type_defs import (
        DescribeStackEventsInputTypeDef,
        DescribeStackResourceInputTypeDef,
        DescribeStackResourcesInputTypeDef,
        DescribeStacksInputTypeDef,
        GetTemplateInputTypeDef,
        GetTemplateSummaryInputTypeDef,
        ListExportsInputTypeDef,
        ListStackResourcesInputTypeDef,
        ListStacksInputTypeDef,
    )

_HIDDEN = ("Template", "Resources", "Events", "Replaced", "Parameters")


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
            found = [r for r in self._stacks.records.values() if r["StackStatus"] != "DELETE_COMPLETE"]
        return {"Stacks": [_described(record) for record in found]}

    @action("ListStacks")
    def list_stacks(self, request: ListStacksInputTypeDef) -> Reply:
        """List all stacks, the newest first; of some statuses if ``StackStatusFilter`` names them."""
        wanted = request.get("StackStatusFilter")
        found = [r for r in self._stacks.records.values() if not wanted or r["StackStatus"] in wanted]
        return {"StackSummaries": [_described(record) for record in reversed(found)]}

    @action("DescribeStackEvents")
    def describe_stack_events(self, request: DescribeStackEventsInputTypeDef) -> Reply:
        """List the events of a stack, the newest first.

        Raises ServiceError for an unknown stack.
        """
        return {"StackEvents": self._stacks.existing(request["StackName"], deleted=True).record["Events"][::-1]}

    @action("DescribeStackResources")
    def describe_stack_resources(self, request: DescribeStackResourcesInputTypeDef) -> Reply:
        """List the resources of a stack, or the one of a logical name.

        Raises ServiceError for an unknown stack.
        """
        stack = self._stacks.existing(request["StackName"], deleted=True)
        wanted = request.get("LogicalResourceId")
        return {"StackResources": [r for r in _listed(stack) if wanted in (None, r["LogicalResourceId"])]}

    @action("DescribeStackResource")
    def describe_stack_resource(self, request: DescribeStackResourceInputTypeDef) -> Reply:
        """Tell of one resource.

        Raises ServiceError for an unknown stack or resource.
        """
        name, logical = request["StackName"], request["LogicalResourceId"]
        for resource in _listed(self._stacks.existing(name, deleted=True)):
            if resource["LogicalResourceId"] == logical:
                return {"StackResourceDetail": {**resource, "LastUpdatedTimestamp": resource["Timestamp"]}}
        raise ServiceError(f"Resource {logical} does not exist for stack {name}")

    @action("ListStackResources")
    def list_stack_resources(self, request: ListStackResourcesInputTypeDef) -> Reply:
        """List the resources of a stack.

        Raises ServiceError for an unknown stack.
        """
        found = _listed(self._stacks.existing(request["StackName"], deleted=True))
        return {"StackResourceSummaries": [{**r, "LastUpdatedTimestamp": r["Timestamp"]} for r in found]}

    @action("ListExports")
    def list_exports(self, _request: ListExportsInputTypeDef) -> Reply:
        """List what the stacks export."""
        return {"Exports": list(self._stacks.exports().values())}

    @action("GetTemplate")
    def get_template(self, request: GetTemplateInputTypeDef) -> Reply:
        """Give the template of a stack.

        Raises ServiceError for an unknown stack, and for a change set's, which is not given here.
        """
        if "StackName" not in request:
            raise ServiceError("The stand-in account gives the templates of stacks, not of change sets.")
        template = self._stacks.existing(request["StackName"], deleted=True).record["Template"]
        return {"TemplateBody": template, "StagesAvailable": ["Original", "Processed"]}

    @action("GetTemplateSummary", "ValidateTemplate")
    def get_template_summary(self, request: GetTemplateSummaryInputTypeDef) -> Reply:
        """Tell the parameters, the types of resource and the capabilities of a template, or of a stack's.

        Raises ServiceError for an unknown stack, and for a template that cannot be used.
        """
        if "StackName" in request:
            document = parse(self._stacks.existing(request["StackName"]).record["Template"])
        else:
            document = parse(template_of(self._stacks.account, request, None))
        kinds = sorted({resource["Type"] for resource in document["Resources"].values()})
        named = any(kind.startswith("AWS::IAM::") for kind in kinds)
        declared = (document.get("Parameters") or {}).items()
        return {
            "Parameters": [_parameter(name, declaration) for name, declaration in declared],
            "ResourceTypes": kinds,
            **({"Capabilities": ["CAPABILITY_NAMED_IAM"]} if named else {}),
            **chosen(document, ("Description",)),
        }


def pairs(parameters: dict[str, str]) -> list[dict[str, str]]:
    """Parameters with their values, as the API lists them."""
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()]


def _parameter(name: str, declared: DeclaredParameter) -> Reply:
    return {
        "ParameterKey": name,
        "ParameterType": declared.get("Type", "String"),
        "NoEcho": bool(declared.get("NoEcho", False)),
        **({"DefaultValue": str(declared["Default"])} if "Default" in declared else {}),
        **chosen(declared, ("Description",)),
    }


def _described(record: StackRecord) -> Reply:
    shown = {name: value for name, value in without(record, *_HIDDEN).items() if value is not None}
    description = parse(record["Template"]).get("Description") if record["Template"] else None
    shown |= {"Description": description} if description else {}
    return {**shown, "Parameters": pairs(record["Parameters"])}


def _listed(stack: DeployedStack) -> list[Reply]:
    shown = ("PhysicalResourceId", "ResourceType", "ResourceStatus", "ResourceStatusReason")
    return [
        {
            "StackName": stack.record["StackName"],
            "StackId": stack.record["StackId"],
            "LogicalResourceId": logical,
            "Timestamp": resource["LastUpdatedTimestamp"],
            **{name: value for name, value in chosen(resource, shown).items() if value is not None},
        }
        for logical, resource in list(stack.resources.items())
        if "ResourceStatus" in resource
    ]
