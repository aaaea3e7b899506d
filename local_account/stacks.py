"""Stacks: what they hold, and the operations that bring one to a template or take it away.

Runs in the server process; operations run in a thread each, as AWS's do, so that clients wait for the stack's status.
Kept as plain dictionaries in the shapes that Describe* answers, times as ISO text. A failed creation is rolled back, so is
a failed update. An operation that a stop of the account cuts short has failed when the account is back.
"""

from __future__ import annotations

import datetime
import logging
import uuid
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local_account.account import Account
from local_account.stack_kinds import kind_of
from local_account.stack_resources import Made, Place, ResourceError
from local_account.stack_template import NO_VALUE, Scope, TemplateError, creation_order, parse

log = logging.getLogger(__name__)

STOPPED_REASON = "The stand-in account was stopped during the operation"
# A resource that does not exist yet, in the preview of a change set.
UNKNOWN = "{{unknown until the change set is executed}}"


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")


class Stack:
    """One stack's record and what can be done to it. The caller runs one operation at a time."""

    def __init__(self, account: Account, record: dict[str, Any], exports: Any) -> None:
        self.account = account
        self.record = record
        self._exports = exports

    @classmethod
    def new(cls, account: Account, name: str, exports: Any) -> Stack:
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
        self._event(self.record["StackName"], self.record["StackId"], "AWS::CloudFormation::Stack", status, reason)

    def _event(self, logical: str, physical: str, kind: str, status: str, reason: str | None) -> None:
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

    def _mark(self, logical: str, status: str, reason: str | None = None) -> None:
        resource = self.resources[logical]
        resource |= {"ResourceStatus": status, "LastUpdatedTimestamp": now(), "ResourceStatusReason": reason}
        self._event(logical, resource["PhysicalResourceId"], resource["ResourceType"], status, reason)

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

    # Operations.

    def create(self, request: dict[str, Any]) -> None:
        """Make everything; roll back, delete or leave it when something fails, as ``OnFailure`` says."""
        self._take(request)
        reason = self._attempt(self._bring_to_template)
        if reason is None:
            self.set_status("CREATE_COMPLETE")
        elif request.get("OnFailure") == "DO_NOTHING":
            self.set_status("CREATE_FAILED", reason)
        else:
            self.set_status("ROLLBACK_IN_PROGRESS", f"{reason} Rollback requested by user.")
            failure = self._remove(list(reversed(self.resources)))
            self.record["Outputs"] = []
            if failure is None and request.get("OnFailure") == "DELETE":
                self.set_status("DELETE_COMPLETE")
            else:
                self.set_status("ROLLBACK_FAILED" if failure else "ROLLBACK_COMPLETE", failure)

    def update(self, request: dict[str, Any]) -> None:
        """Bring the stack to a template; when that fails, bring it back to the one it had."""
        kept = ("Template", "Parameters", "Tags", "Capabilities")
        before = {name: self.record[name] for name in kept}
        self._take(request)
        reason = self._attempt(self._bring_to_template)
        if reason is None:
            self._clean_up()
            self.set_status("UPDATE_COMPLETE")
            return
        self.set_status("UPDATE_ROLLBACK_IN_PROGRESS", reason)
        self.record |= before
        for logical, original in self.record.get("Replaced", {}).items():
            self.record["Replaced"][logical], self.resources[logical] = self.resources[logical], original
        failure = self._attempt(self._bring_to_template)
        if failure is None:
            self._clean_up()
        self.set_status("UPDATE_ROLLBACK_FAILED" if failure else "UPDATE_ROLLBACK_COMPLETE", failure)

    def delete(self) -> None:
        failure = self._remove(list(reversed(self.resources)))
        self.record["DeletionTime"] = now()
        self.set_status("DELETE_FAILED" if failure else "DELETE_COMPLETE", failure)

    def _take(self, request: dict[str, Any]) -> None:
        self.record |= {name: request[name] for name in ("Template", "Parameters", "Tags", "Capabilities")}

    def _attempt(self, step: Any) -> str | None:
        """Run a step; the reason why it failed, or None."""
        try:
            step()
        except (ResourceError, TemplateError, ClientError, BotoCoreError) as error:
            return str(error)
        except Exception as error:  # a fault of ours ends the operation as any other failure does
            log.exception("stack %s", self.record["StackName"])
            return f"{type(error).__name__}: {error}"
        return None

    def _bring_to_template(self) -> None:
        document, parameters = parse(self.record["Template"]), self.record["Parameters"]
        scope = self.scope(document, parameters)
        wanted = scope.active_resources()
        for logical in creation_order(wanted):
            declared = wanted[logical]
            properties = scope.resolve(declared.get("Properties") or {})
            policy = declared.get("DeletionPolicy", "Delete")
            self._bring(logical, declared["Type"], {} if properties is NO_VALUE else properties, policy)
        self.record["Outputs"] = self.outputs(document, parameters)

    def _bring(self, logical: str, kind_name: str, properties: dict[str, Any], policy: str) -> None:
        current = self.resources.get(logical)
        if current and current["ResourceType"] == kind_name:
            if current["Properties"] == properties and not current["ResourceStatus"].endswith("FAILED"):
                current["DeletionPolicy"] = policy
                return
            if not kind_of(kind_name).needs_replacement(current["Properties"], properties):
                self._update_one(logical, properties)
                return
            name = kind_of(kind_name).name
            if name and properties.get(name) and properties[name] == current["Properties"].get(name):
                raise ResourceError(
                    f"CloudFormation cannot update a stack when a custom-named resource requires replacing. "
                    f"Rename {properties[name]} and update the stack again."
                )
        try:
            self._create_one(logical, kind_name, properties, policy)
        except ResourceError:
            if current:
                self.resources[logical] = current
            raise
        if current:
            self.record.setdefault("Replaced", {})[logical] = current

    def _create_one(self, logical: str, kind_name: str, properties: dict[str, Any], policy: str) -> None:
        self.resources[logical] = {
            "PhysicalResourceId": "",
            "ResourceType": kind_name,
            "Properties": properties,
            "Attributes": {},
            "DeletionPolicy": policy,
        }
        self._mark(logical, "CREATE_IN_PROGRESS")

        def step() -> None:
            self._made(logical, kind_of(kind_name).create(self._place(logical), properties))

        self._step(logical, "CREATE", step)

    def _update_one(self, logical: str, properties: dict[str, Any]) -> None:
        resource = self.resources[logical]
        self._mark(logical, "UPDATE_IN_PROGRESS")
        kind = kind_of(resource["ResourceType"])
        old = resource["Properties"]

        def step() -> None:
            made = kind.update(self._place(logical), resource["PhysicalResourceId"], old, properties)
            resource["Properties"] = properties
            self._made(logical, made)

        self._step(logical, "UPDATE", step)

    def _step(self, logical: str, verb: str, step: Any) -> None:
        reason = self._attempt(step)
        if reason is not None:
            self._mark(logical, f"{verb}_FAILED", reason)
            # AWS's wording; the resource's own event has the reason, and here it saves a look there.
            raise ResourceError(
                f"The following resource(s) failed to {verb.lower()}: [{logical}]. {logical}: {reason}."
            )
        self._mark(logical, f"{verb}_COMPLETE")

    def _made(self, logical: str, made: Made) -> None:
        self.resources[logical] |= {"PhysicalResourceId": made.physical_id, "Attributes": made.attributes}

    def _place(self, logical: str) -> Place:
        return Place(self.account, self.record["StackName"], logical)

    def _clean_up(self) -> None:
        """After an update: remove what was replaced and what the template no longer holds; a failure does not undo it."""
        self.set_status("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
        for logical, replaced in self.record.pop("Replaced", {}).items():
            place = self._place(logical)
            kind = kind_of(replaced["ResourceType"])
            reason = self._attempt(
                lambda k=kind, p=place, r=replaced: k.delete(p, r["PhysicalResourceId"], r["Properties"])
            )
            if reason:
                self._event(logical, replaced["PhysicalResourceId"], replaced["ResourceType"], "DELETE_FAILED", reason)
        document = parse(self.record["Template"])
        wanted = self.scope(document, self.record["Parameters"]).active_resources()
        self._remove([logical for logical in reversed(self.resources) if logical not in wanted])

    def _remove(self, names: list[str]) -> str | None:
        """Delete resources in this order; the reason for what could not be deleted, or None."""
        failures = []
        for logical in names:
            resource = self.resources[logical]
            if resource["PhysicalResourceId"] and resource["DeletionPolicy"] not in ("Retain", "RetainExceptOnCreate"):
                self._mark(logical, "DELETE_IN_PROGRESS")
                kind, place = kind_of(resource["ResourceType"]), self._place(logical)
                reason = self._attempt(
                    lambda k=kind, p=place, r=resource: k.delete(p, r["PhysicalResourceId"], r["Properties"])
                )
                if reason is not None:
                    self._mark(logical, "DELETE_FAILED", reason)
                    failures.append(f"{logical}: {reason}")
                    continue
                self._mark(logical, "DELETE_COMPLETE")
            elif resource["PhysicalResourceId"]:
                self._mark(logical, "DELETE_SKIPPED")
            del self.resources[logical]
        return "; ".join(failures) or None


def settle(record: dict[str, Any]) -> None:
    """End an operation that was cut short by a stop of the account."""
    status = record["StackStatus"]
    if status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS":
        failed = {
            "CREATE_IN_PROGRESS": "CREATE_FAILED",
            "DELETE_IN_PROGRESS": "DELETE_FAILED",
            "ROLLBACK_IN_PROGRESS": "ROLLBACK_FAILED",
            "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS": "UPDATE_COMPLETE",
            "UPDATE_ROLLBACK_IN_PROGRESS": "UPDATE_ROLLBACK_FAILED",
        }
        record |= {"StackStatus": failed.get(status, "UPDATE_FAILED"), "StackStatusReason": STOPPED_REASON}
