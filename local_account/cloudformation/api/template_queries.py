"""The actions of CloudFormation that tell of templates. Runs in the server process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_account.cloudformation.api.change_set_actions import ChangeSetActions
from local_account.cloudformation.api.requests import required_capabilities, template_of
from local_account.cloudformation.api.stack_queries import plain_metadata
from local_account.cloudformation.language.functions import plain_text
from local_account.cloudformation.language.parameters import is_secret
from local_account.cloudformation.records import DeclaredParameter, StackRecord, TemplateDocument, WantedStack
from local_account.cloudformation.stacks import Stacks
from local_account.cloudformation.template import parse, read_template
from local_account.cloudformation.transforms.apply import transforms_of
from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.records import chosen, view

if TYPE_CHECKING:
    from types_boto3_cloudformation.type_defs import (
        GetTemplateInputTypeDef,
        GetTemplateSummaryInputTypeDef,
        ValidateTemplateInputTypeDef,
    )

_CONSTRAINTS = ("AllowedPattern", "ConstraintDescription", "MaxLength", "MaxValue", "MinLength", "MinValue")


class TemplateQueries:
    """What the API tells of templates."""

    def __init__(self, stacks: Stacks, change_sets: ChangeSetActions) -> None:
        self._stacks, self._change_sets = stacks, change_sets

    @action("GetTemplate")
    def get_template(self, request: GetTemplateInputTypeDef) -> Reply:
        """Give the template of a stack, or of a change set.

        Raises ServiceError for an unknown one.
        """
        change_set = request.get("ChangeSetName", "")
        if "StackName" not in request and not change_set.startswith("arn:"):
            raise ServiceError("StackName is a required parameter.")
        if change_set:
            shown: WantedStack | StackRecord = self._change_sets.existing(request)["Wanted"]
        else:
            shown = self._stacks.existing(request["StackName"], deleted=True).record
        processed = shown["Template"]
        original = shown.get("Original") or processed
        template = processed if request.get("TemplateStage") == "Processed" else original
        return {"TemplateBody": template, "StagesAvailable": ["Original", "Processed"]}

    @action("GetTemplateSummary")
    def get_template_summary(self, request: GetTemplateSummaryInputTypeDef) -> Reply:
        """Tell the parameters, the types of resource and the capabilities of a template, or of a stack's.

        Raises ServiceError for an unknown stack, and for a template that cannot be used.
        """
        if "StackName" in request:
            stack = self._stacks.existing(request["StackName"])
            if stack.record["StackStatus"] == "REVIEW_IN_PROGRESS":
                raise ServiceError("GetTemplateSummary cannot be called on REVIEW_IN_PROGRESS stacks.")
            document = parse(stack.record["Template"])
        else:
            body = template_of(self._stacks.account, request, None)
            if transforms_of(body):
                return _before_transforms(body)
            document = parse(body)
        return {
            **_summary(document),
            "Parameters": [_declared(*each) for each in (document.get("Parameters") or {}).items()],
        }

    @action("ValidateTemplate")
    def validate_template(self, request: ValidateTemplateInputTypeDef) -> Reply:
        """Tell the parameters and the capabilities of a template.

        Raises ServiceError for one that cannot be used.
        """
        body = template_of(self._stacks.account, request, None)
        if transforms_of(body):
            return _before_transforms(body)
        document = parse(body)
        declared = (document.get("Parameters") or {}).items()
        return {
            **chosen(document, ("Description",)),
            **_capabilities(document),
            "Parameters": [_parameter(name, each) for name, each in declared],
        }


def _before_transforms(body: str) -> Reply:
    """What can be told of a template whose transforms have not been applied: what it holds is not known yet."""
    document, names = view(TemplateDocument, read_template(body)), transforms_of(body)
    return {
        **chosen(document, ("Description",)),
        "Capabilities": ["CAPABILITY_AUTO_EXPAND"],
        "CapabilitiesReason": f"The following resource(s) require capabilities: [{', '.join(names)}]",
        "DeclaredTransforms": names,
        "Parameters": [_declared(*each) for each in (document.get("Parameters") or {}).items()],
    }


def _summary(document: TemplateDocument) -> Reply:
    logical: dict[str, list[str]] = {}
    for name, resource in document["Resources"].items():
        logical.setdefault(resource["Type"], []).append(name)
    return {
        **chosen(document, ("Description",)),
        **_capabilities(document),
        **({"Version": document["AWSTemplateFormatVersion"]} if "AWSTemplateFormatVersion" in document else {}),
        **({"Metadata": plain_metadata(document["Metadata"])} if "Metadata" in document else {}),
        "ResourceTypes": sorted(logical),
        "ResourceIdentifierSummaries": [
            {"ResourceType": kind, "LogicalResourceIds": names} for kind, names in sorted(logical.items())
        ],
    }


def _capabilities(document: TemplateDocument) -> dict[str, object]:
    required, reason = required_capabilities(document)
    return {"Capabilities": required, "CapabilitiesReason": reason} if required else {}


def _parameter(name: str, declared: DeclaredParameter) -> Reply:
    return {
        "ParameterKey": name,
        "NoEcho": is_secret(declared),
        **({"DefaultValue": plain_text(declared["Default"])} if "Default" in declared else {}),
        **chosen(declared, ("Description",)),
    }


def _declared(name: str, declared: DeclaredParameter) -> Reply:
    constraints: dict[str, object] = {key: plain_text(each) for key, each in chosen(declared, _CONSTRAINTS).items()}
    if "AllowedValues" in declared:
        constraints["AllowedValues"] = [plain_text(each) for each in declared["AllowedValues"]]
    return {**_parameter(name, declared), "ParameterType": declared["Type"], "ParameterConstraints": constraints}
