"""What is known of a stack: its record and events, and what its expressions see.

Runs in the server process.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Self

from local_account.account import Account
from local_account.cloudformation.language.dynamic import DynamicReferences
from local_account.cloudformation.language.errors import InvalidTemplateError, MissingExportError, UnresolvedError
from local_account.cloudformation.language.expressions import UNKNOWN, TemplateScope
from local_account.cloudformation.language.functions import plain_text, shown_json
from local_account.cloudformation.language.references import imported_names
from local_account.cloudformation.notifications import notify
from local_account.cloudformation.records import (
    Export,
    StackEvent,
    StackOutput,
    StackRecord,
    StackResource,
    TemplateDocument,
)
from local_account.cloudformation.template import parse

Exports = Callable[[], Mapping[str, Export]]
"""Gives what the account's stacks export, by its name."""
STACK_TYPE, MACRO_TYPE = "AWS::CloudFormation::Stack", "AWS::CloudFormation::Macro"


def now() -> str:
    """This moment as ISO text, to the millisecond."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


class KnownStack:
    """One stack as far as its record tells it."""

    def __init__(self, account: Account, record: StackRecord, exports: Exports) -> None:
        self.account = account
        self.record = record
        self._exports = exports

    @classmethod
    def new(cls, account: Account, name: str, exports: Exports) -> Self:
        """Make a stack without resources, which waits for its first change set."""
        stack_id = account.arn("cloudformation", f"stack/{name}/{uuid.uuid4()}")
        record: StackRecord = {
            "StackId": stack_id,
            "StackName": name,
            "CreationTime": now(),
            "StackStatus": "REVIEW_IN_PROGRESS",
            "Template": "",
            "Parameters": {},
            "Tags": [],
            "Capabilities": [],
            "DisableRollback": False,
            "Outputs": [],
            "Resources": {},
            "Events": [],
        }
        return cls(account, record, exports)

    @property
    def resources(self) -> dict[str, StackResource]:
        """The resources by their logical names, in the order they were made."""
        return self.record["Resources"]

    # What is recorded.

    def set_status(self, status: str, reason: str | None = None) -> None:
        """Record the stack's status, with its event."""
        self.record["StackStatus"] = status
        self.record["StackStatusReason"] = reason
        stack_id = self.record["StackId"]
        event = self._event(self.record["StackName"], STACK_TYPE, status, stack_id, reason)
        self._add(event | {"EventId": str(uuid.uuid4())})

    def mark(self, logical: str, status: str, reason: str | None = None) -> None:
        """Record a resource's status, with its event, which shows the properties that it is to have."""
        resource = self.resources[logical]
        resource |= {"ResourceStatus": status, "LastUpdatedTimestamp": now(), "ResourceStatusReason": reason}
        event = self._event(logical, resource["ResourceType"], status, resource["PhysicalResourceId"], reason)
        shown = shown_json(resource["Properties"])
        moment = event["Timestamp"].replace("+00:00", "Z")
        self._add(event | {"EventId": f"{logical}-{status}-{moment}", "ResourceProperties": shown})

    def event_of_old(self, logical: str, resource: StackResource, status: str, reason: str | None = None) -> None:
        """Record an event of a resource that the template no longer has, or whose successor is there."""
        event = self._event(logical, resource["ResourceType"], status, resource["PhysicalResourceId"], reason)
        self._add(event | {"EventId": f"{logical}-{uuid.uuid4()}"})

    def _event(self, logical: str, kind: str, status: str, physical: str, reason: str | None) -> StackEvent:
        event: StackEvent = {
            "StackId": self.record["StackId"],
            "EventId": "",
            "StackName": self.record["StackName"],
            "LogicalResourceId": logical,
            "PhysicalResourceId": physical,
            "ResourceType": kind,
            "Timestamp": now(),
            "ResourceStatus": status,
        }
        if reason:
            event["ResourceStatusReason"] = reason
        if token := self.record.get("ClientRequestToken"):
            event["ClientRequestToken"] = token
        return event

    def _add(self, event: StackEvent) -> None:
        self.record["Events"].append(event)
        self.account.snapshots.mark_dirty("cloudformation")
        notify(self.account, self.record.get("NotificationARNs", []), event)

    # Expressions.

    def scope(
        self,
        document: TemplateDocument,
        parameters: Mapping[str, str],
        stored: Mapping[str, str],
        unknown: Collection[str] | None = None,
        changed: Collection[str] = (),
    ) -> TemplateScope:
        """What a template's expressions see.

        In a preview, ``unknown`` are the resources that are new or replaced, ``changed`` those that change in place.
        """

        def found(logical: str) -> StackResource | None:
            if logical not in scope.active_resources():
                raise UnresolvedError(logical)
            return None if unknown is not None and logical in unknown else self.resources.get(logical)

        def ref(logical: str) -> str:
            resource = found(logical)
            return resource["PhysicalResourceId"] if resource else UNKNOWN

        def attribute(logical: str, name: str) -> object:
            resource = found(logical)
            return UNKNOWN if resource is None or logical in changed else _attribute(resource, name)

        def imported(name: str) -> str:
            if name not in self._exports():
                raise MissingExportError(f"No export named {name} found.")
            return self._exports()[name]["Value"]

        dynamic = DynamicReferences(self.account, self.record.get("RoleARN", ""))
        scope = TemplateScope(document, parameters, self._pseudo(), ref, attribute, imported, stored, dynamic.plain)
        return scope

    def current_scope(self, document: TemplateDocument) -> TemplateScope:
        """What the expressions of the stack's own template see."""
        return self.scope(document, self.record["Parameters"], self.record.get("Stored", {}))

    def imports(self) -> set[str]:
        """The names of the exports that the stack's template imports."""
        document = parse(self.record["Template"])
        scope = self.current_scope(document)
        used = [each.get("Properties") for each in scope.active_resources().values()]
        return {plain_text(scope.resolve(name)) for name in imported_names([used, document.get("Outputs") or {}])}

    def _pseudo(self) -> dict[str, object]:
        return {
            "AWS::AccountId": self.account.account_id,
            "AWS::Region": self.account.region,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackName": self.record["StackName"],
            "AWS::StackId": self.record["StackId"],
            "AWS::NotificationARNs": list(self.record.get("NotificationARNs", [])),
        }


def outputs(scope: TemplateScope) -> list[StackOutput]:
    """The outputs whose condition holds, with their values.

    Raises InvalidTemplateError for an expression that cannot be evaluated.
    """
    found: list[StackOutput] = []
    for key, output in (scope.document.get("Outputs") or {}).items():
        if "Condition" in output and not scope.condition(output["Condition"]):
            continue
        value = scope.resolve(output["Value"])
        if isinstance(value, dict | list):
            raise InvalidTemplateError(
                f"Template format error: The Value field of every Outputs member must evaluate to a String. (/{key})"
            )
        entry: StackOutput = {"OutputKey": key, "OutputValue": plain_text(value)}
        if "Export" in output:
            entry["ExportName"] = plain_text(scope.resolve(output["Export"]["Name"]))
        if "Description" in output:
            entry["Description"] = output["Description"]
        found.append(entry)
    return found


def _attribute(resource: StackResource, name: str) -> object:
    """What ``Fn::GetAtt`` gives of a resource: an attribute, or a property that the template gave.

    Raises InvalidTemplateError for what the account does not give.
    """
    if name in resource["Attributes"]:
        return resource["Attributes"][name]
    value: object = resource["Properties"]
    for step in name.split("."):
        if not isinstance(value, Mapping) or step not in value:
            kind = resource["ResourceType"]
            raise InvalidTemplateError(f"The stand-in account does not give the attribute {name} of {kind}.")
        value = value[step]
    return value
