"""What is known of a stack: its record, the values of its expressions, and what another template would change.

Runs in the server process.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Mapping
from typing import Self

from local_account.account import Account
from local_account.cloudformation.expressions import TemplateScope
from local_account.cloudformation.records import (
    ChangeDetail,
    ChangeSetEntry,
    Export,
    StackChange,
    StackEvent,
    StackOutput,
    StackRecord,
    StackResource,
    TemplateDocument,
)
from local_account.cloudformation.resources.kinds import kind_of
from local_account.cloudformation.template import InvalidTemplateError, creation_order

# A resource that does not exist yet, in the preview of a change set.
UNKNOWN = "{{unknown until the change set is executed}}"
Exports = Callable[[], Mapping[str, Export]]
"""Gives what the account's stacks export, by its name."""


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
        self.event(self.record["StackName"], self.record["StackId"], "AWS::CloudFormation::Stack", status, reason)

    def event(self, logical: str, physical: str, kind: str, status: str, reason: str | None) -> None:
        """Record an event of the stack or of one of its resources."""
        event: StackEvent = {
            "StackId": self.record["StackId"],
            "EventId": str(uuid.uuid4()),
            "StackName": self.record["StackName"],
            "LogicalResourceId": logical,
            "PhysicalResourceId": physical,
            "ResourceType": kind,
            "Timestamp": now(),
            "ResourceStatus": status,
        }
        if reason:
            event["ResourceStatusReason"] = reason
        self.record["Events"].append(event)
        self.account.snapshots.mark_dirty("cloudformation")

    def mark(self, logical: str, status: str, reason: str | None = None) -> None:
        """Record a resource's status, with its event."""
        resource = self.resources[logical]
        resource |= {"ResourceStatus": status, "LastUpdatedTimestamp": now(), "ResourceStatusReason": reason}
        self.event(logical, resource["PhysicalResourceId"], resource["ResourceType"], status, reason)

    # Expressions.

    def scope(self, document: TemplateDocument, parameters: dict[str, str], preview: bool = False) -> TemplateScope:
        """What a template's expressions see; in a preview, values of resources that do not exist yet are UNKNOWN."""

        def found(logical: str) -> StackResource | None:
            resource = self.resources.get(logical)
            if resource is None and not preview:
                raise InvalidTemplateError(f"Unresolved resource dependencies [{logical}]: its condition is false")
            return resource

        def ref(logical: str) -> str:
            resource = found(logical)
            return resource["PhysicalResourceId"] if resource else UNKNOWN

        def attribute(logical: str, name: str) -> object:
            resource = found(logical)
            if resource is None:
                return UNKNOWN
            if name not in resource["Attributes"]:
                raise InvalidTemplateError(
                    f"Requested attribute {name} does not exist in schema for {resource['ResourceType']}"
                )
            return resource["Attributes"][name]

        def imported(name: str) -> str:
            if name not in self._exports():
                raise InvalidTemplateError(f"No export named {name} found.")
            return self._exports()[name]["Value"]

        def ssm_value(name: str) -> str:
            return self.account.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]

        pseudo: dict[str, object] = {
            "AWS::AccountId": self.account.account_id,
            "AWS::Region": self.account.region,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackName": self.record["StackName"],
            "AWS::StackId": self.record["StackId"],
            "AWS::NotificationARNs": [],
        }
        return TemplateScope(document, parameters, pseudo, ref, attribute, imported, ssm_value)

    def changes(self, document: TemplateDocument, parameters: dict[str, str]) -> list[StackChange]:
        """What executing the template would add, modify and remove.

        Raises InvalidTemplateError for an expression that cannot be evaluated, ResourceError for an unknown type.
        """
        scope = self.scope(document, parameters, preview=True)
        wanted = scope.active_resources()
        found = [
            change
            for logical in creation_order(wanted)
            if (change := self._change(logical, wanted[logical]["Type"], scope.properties(wanted[logical])))
        ]
        for logical, resource in self.resources.items():
            if logical not in wanted:
                found.append(
                    {
                        "Action": "Remove",
                        "LogicalResourceId": logical,
                        "ResourceType": resource["ResourceType"],
                        "PhysicalResourceId": resource["PhysicalResourceId"],
                    }
                )
        return [{"Type": "Resource", "ResourceChange": change} for change in found]

    def _change(self, logical: str, kind: str, properties: Mapping[str, object]) -> ChangeSetEntry | None:
        """What becomes of a resource that the template has; None for nothing."""
        current = self.resources.get(logical)
        if current is None or current["ResourceType"] != kind:
            return {"Action": "Add", "LogicalResourceId": logical, "ResourceType": kind}
        if properties == current["Properties"]:
            return None
        replaced = kind_of(kind).needs_replacement(current["Properties"], properties)
        return {
            "Action": "Modify",
            "LogicalResourceId": logical,
            "ResourceType": kind,
            "PhysicalResourceId": current["PhysicalResourceId"],
            "Scope": ["Properties"],
            "Details": _details(current["Properties"], properties),
            "Replacement": "True" if replaced else "False",
        }

    def outputs(
        self, document: TemplateDocument, parameters: dict[str, str], preview: bool = False
    ) -> list[StackOutput]:
        """The outputs whose condition holds, with their values.

        Raises InvalidTemplateError for an expression that cannot be evaluated.
        """
        scope = self.scope(document, parameters, preview)
        found = []
        for key, output in (document.get("Outputs") or {}).items():
            if "Condition" in output and not scope.condition(output["Condition"]):
                continue
            entry: StackOutput = {"OutputKey": key, "OutputValue": str(scope.resolve(output["Value"]))}
            if "Description" in output:
                entry["Description"] = output["Description"]
            if "Export" in output:
                entry["ExportName"] = str(scope.resolve(output["Export"]["Name"]))
            found.append(entry)
        return found


def _details(old: Mapping[str, object], new: Mapping[str, object]) -> list[ChangeDetail]:
    """Which properties differ; whether one alone would need a new resource is not told."""
    return [
        {
            "Target": {"Attribute": "Properties", "Name": name},
            "Evaluation": "Static",
            "ChangeSource": "DirectModification",
        }
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    ]
