"""What is known of a stack: its record, the values of its expressions, and what another template would change.

Runs in the server process. The record is a plain dictionary in the shapes that Describe* answers, times as ISO text.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Self

from local_account.account import Account
from local_account.cloudformation.resources.kinds import kind_of
from local_account.cloudformation.template import Scope, TemplateError, creation_order

# A resource that does not exist yet, in the preview of a change set.
UNKNOWN = "{{unknown until the change set is executed}}"
Exports = Callable[[], Mapping[str, Mapping[str, Any]]]


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


class StackRecord:
    """One stack's record."""

    def __init__(self, account: Account, record: dict[str, Any], exports: Exports) -> None:
        self.account = account
        self.record = record
        self._exports = exports

    @classmethod
    def new(cls, account: Account, name: str, exports: Exports) -> Self:
        stack_id = account.arn("cloudformation", f"stack/{name}/{uuid.uuid4()}")
        record = {
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
    def resources(self) -> dict[str, dict[str, Any]]:
        resources: dict[str, dict[str, Any]] = self.record["Resources"]
        return resources

    # What is recorded.

    def set_status(self, status: str, reason: str | None = None) -> None:
        self.record["StackStatus"] = status
        self.record["StackStatusReason"] = reason
        self.event(self.record["StackName"], self.record["StackId"], "AWS::CloudFormation::Stack", status, reason)

    def event(self, logical: str, physical: str, kind: str, status: str, reason: str | None) -> None:
        event = {
            "StackId": self.record["StackId"],
            "EventId": str(uuid.uuid4()),
            "StackName": self.record["StackName"],
            "LogicalResourceId": logical,
            "PhysicalResourceId": physical,
            "ResourceType": kind,
            "Timestamp": now(),
            "ResourceStatus": status,
        }
        self.record["Events"].append(event | ({"ResourceStatusReason": reason} if reason else {}))
        self.account.snapshots.mark_dirty("cloudformation")

    def mark(self, logical: str, status: str, reason: str | None = None) -> None:
        resource = self.resources[logical]
        resource |= {"ResourceStatus": status, "LastUpdatedTimestamp": now(), "ResourceStatusReason": reason}
        self.event(logical, resource["PhysicalResourceId"], resource["ResourceType"], status, reason)

    # Expressions.

    def scope(self, document: dict[str, Any], parameters: dict[str, str], preview: bool = False) -> Scope:
        def found(logical: str) -> dict[str, Any] | None:
            resource = self.resources.get(logical)
            if resource is None and not preview:
                raise TemplateError(f"Unresolved resource dependencies [{logical}]: its condition is false")
            return resource

        def ref(logical: str) -> Any:
            resource = found(logical)
            return resource["PhysicalResourceId"] if resource else UNKNOWN

        def attribute(logical: str, name: str) -> Any:
            resource = found(logical)
            if resource is None:
                return UNKNOWN
            if name not in resource["Attributes"]:
                raise TemplateError(
                    f"Requested attribute {name} does not exist in schema for {resource['ResourceType']}"
                )
            return resource["Attributes"][name]

        def imported(name: str) -> str:
            if name not in self._exports():
                raise TemplateError(f"No export named {name} found.")
            return str(self._exports()[name]["Value"])

        def ssm_value(name: str) -> str:
            return str(self.account.client("ssm").get_parameter(Name=name)["Parameter"]["Value"])

        pseudo = {
            "AWS::AccountId": self.account.account_id,
            "AWS::Region": self.account.region,
            "AWS::Partition": "aws",
            "AWS::URLSuffix": "amazonaws.com",
            "AWS::StackName": self.record["StackName"],
            "AWS::StackId": self.record["StackId"],
            "AWS::NotificationARNs": [],
        }
        return Scope(document, parameters, pseudo, ref, attribute, imported, ssm_value)

    def changes(self, document: dict[str, Any], parameters: dict[str, str]) -> list[dict[str, Any]]:
        """What executing the template would add, modify and remove, as DescribeChangeSet says it."""
        scope = self.scope(document, parameters, preview=True)
        wanted = scope.active_resources()
        found = []
        for logical in creation_order(wanted):
            declared = wanted[logical]
            current = self.resources.get(logical)
            change = {"LogicalResourceId": logical, "ResourceType": declared["Type"]}
            if current is None or current["ResourceType"] != declared["Type"]:
                found.append(change | {"Action": "Add"})
                continue
            properties = scope.resolve(declared.get("Properties") or {})
            if properties != current["Properties"]:
                replaced = kind_of(declared["Type"]).needs_replacement(current["Properties"], properties)
                change |= {"PhysicalResourceId": current["PhysicalResourceId"], "Scope": ["Properties"]}
                change["Details"] = _details(current["Properties"], properties)
                found.append(change | {"Action": "Modify", "Replacement": "True" if replaced else "False"})
        for logical, resource in self.resources.items():
            if logical not in wanted:
                change = {"LogicalResourceId": logical, "ResourceType": resource["ResourceType"]}
                found.append(change | {"Action": "Remove", "PhysicalResourceId": resource["PhysicalResourceId"]})
        return [{"Type": "Resource", "ResourceChange": change} for change in found]

    def outputs(
        self, document: dict[str, Any], parameters: dict[str, str], preview: bool = False
    ) -> list[dict[str, Any]]:
        scope = self.scope(document, parameters, preview)
        found = []
        for key, output in (document.get("Outputs") or {}).items():
            if "Condition" in output and not scope.condition(output["Condition"]):
                continue
            entry = {"OutputKey": key, "OutputValue": str(scope.resolve(output["Value"]))}
            if "Description" in output:
                entry["Description"] = output["Description"]
            if "Export" in output:
                entry["ExportName"] = str(scope.resolve(output["Export"]["Name"]))
            found.append(entry)
        return found


def _details(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[dict[str, Any]]:
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
