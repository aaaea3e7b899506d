"""Stacks: the operations that bring one to a template or take it away.

Runs in the server process; operations run in a thread each, as AWS's do, so that clients wait for the stack's status.
A failed creation is rolled back, so is a failed update. An operation that a stop of the account cuts short has failed
when the account is back.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from botocore.exceptions import BotoCoreError, ClientError

from local_account.account import Account
from local_account.authority.authority import AccessDeniedError
from local_account.cloudformation.record import KnownStack, now
from local_account.cloudformation.records import StackRecord, WantedStack
from local_account.cloudformation.resources.base import Made, StackPlace
from local_account.cloudformation.resources.kinds import kind_of
from local_account.cloudformation.resources.values import Properties, ResourceError
from local_account.cloudformation.template import InvalidTemplateError, creation_order, parse
from local_account.protocol.records import change, chosen

log = logging.getLogger(__name__)

STOPPED_REASON = "The stand-in account was stopped during the operation"


class DeployedStack(KnownStack):
    """A stack and what can be done to it. The caller runs one operation at a time."""

    def create(self, request: WantedStack) -> None:
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

    def update(self, request: WantedStack) -> None:
        """Bring the stack to a template; when that fails, bring it back to the one it had."""
        before = chosen(self.record, ("Template", "Parameters", "Tags", "Capabilities"))
        self._take(request)
        reason = self._attempt(self._bring_to_template)
        if reason is None:
            self._clean_up()
            self.set_status("UPDATE_COMPLETE")
            return
        self.set_status("UPDATE_ROLLBACK_IN_PROGRESS", reason)
        change(self.record, before)
        replaced = self.record.get("Replaced", {})
        for logical, original in replaced.items():
            replaced[logical], self.resources[logical] = self.resources[logical], original
        failure = self._attempt(self._bring_to_template)
        if failure is None:
            self._clean_up()
        self.set_status("UPDATE_ROLLBACK_FAILED" if failure else "UPDATE_ROLLBACK_COMPLETE", failure)

    def delete(self) -> None:
        """Remove every resource, the last one first; what cannot be removed stays, and so does the stack."""
        failure = self._remove(list(reversed(self.resources)))
        self.record["DeletionTime"] = now()
        self.set_status("DELETE_FAILED" if failure else "DELETE_COMPLETE", failure)

    def _take(self, request: WantedStack) -> None:
        change(self.record, chosen(request, ("Template", "Parameters", "Tags", "Capabilities", "RoleARN")))

    def _attempt(self, step: Callable[[], object]) -> str | None:
        """Run a step; the reason why it failed, or None."""
        try:
            step()
        except (ResourceError, InvalidTemplateError, ClientError, BotoCoreError) as error:
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
            policy = declared.get("DeletionPolicy", "Delete")
            self._bring(logical, declared["Type"], scope.properties(declared), policy)
        self.record["Outputs"] = self.outputs(document, parameters)

    def _bring(self, logical: str, kind_name: str, properties: Properties, policy: str) -> None:
        current = self.resources.get(logical)
        if current and current["ResourceType"] == kind_name:
            if current["Properties"] == properties and not current.get("ResourceStatus", "").endswith("FAILED"):
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

    def _create_one(self, logical: str, kind_name: str, properties: Properties, policy: str) -> None:
        self.resources[logical] = {
            "PhysicalResourceId": "",
            "ResourceType": kind_name,
            "Properties": properties,
            "Attributes": {},
            "DeletionPolicy": policy,
        }
        self.mark(logical, "CREATE_IN_PROGRESS")

        def step() -> None:
            kind, place = kind_of(kind_name), self._place(logical)
            self._made(logical, kind.create(place, kind.tagged(properties, self.record["Tags"])))
            kind.wait(place, {**properties, **self.resources[logical]["Attributes"]})

        self._step(logical, "CREATE", step)

    def _update_one(self, logical: str, properties: Properties) -> None:
        resource = self.resources[logical]
        self.mark(logical, "UPDATE_IN_PROGRESS")
        kind = kind_of(resource["ResourceType"])
        old = resource["Properties"]

        def step() -> None:
            made = kind.update(self._place(logical), resource["PhysicalResourceId"], old, properties)
            resource["Properties"] = properties
            self._made(logical, made)
            kind.wait(self._place(logical), {**properties, **made.attributes})

        self._step(logical, "UPDATE", step)

    def _step(self, logical: str, verb: str, step: Callable[[], object]) -> None:
        reason = self._attempt(step)
        if reason is not None:
            self.mark(logical, f"{verb}_FAILED", reason)
            # AWS's wording; the resource's own event has the reason, and here it saves a look there.
            raise ResourceError(
                f"The following resource(s) failed to {verb.lower()}: [{logical}]. {logical}: {reason}."
            )
        self.mark(logical, f"{verb}_COMPLETE")

    def _made(self, logical: str, made: Made) -> None:
        self.resources[logical] |= {"PhysicalResourceId": made.physical_id, "Attributes": made.attributes}

    def _place(self, logical: str) -> StackPlace:
        return StackPlace(self.account, self.record["StackName"], logical, self.record.get("RoleARN", ""))

    def _clean_up(self) -> None:
        """After an update: remove what was replaced and what the template left out; a failure does not undo it."""
        self.set_status("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
        for logical, replaced in self.record.pop("Replaced", {}).items():
            place = self._place(logical)
            kind = kind_of(replaced["ResourceType"])
            reason = self._attempt(partial(kind.delete, place, replaced["PhysicalResourceId"], replaced["Properties"]))
            if reason:
                self.event(logical, replaced["PhysicalResourceId"], replaced["ResourceType"], "DELETE_FAILED", reason)
        document = parse(self.record["Template"])
        wanted = self.scope(document, self.record["Parameters"]).active_resources()
        self._remove([logical for logical in reversed(self.resources) if logical not in wanted])

    def _remove(self, names: list[str]) -> str | None:
        """Delete resources in this order; the reason for what could not be deleted, or None."""
        failures = []
        for logical in names:
            resource = self.resources[logical]
            if resource["PhysicalResourceId"] and resource["DeletionPolicy"] not in ("Retain", "RetainExceptOnCreate"):
                self.mark(logical, "DELETE_IN_PROGRESS")
                kind, place = kind_of(resource["ResourceType"]), self._place(logical)
                reason = self._attempt(
                    partial(kind.delete, place, resource["PhysicalResourceId"], resource["Properties"])
                )
                if reason is not None:
                    self.mark(logical, "DELETE_FAILED", reason)
                    failures.append(f"{logical}: {reason}")
                    continue
                self.mark(logical, "DELETE_COMPLETE")
            elif resource["PhysicalResourceId"]:
                self.mark(logical, "DELETE_SKIPPED")
            del self.resources[logical]
        return "; ".join(failures) or None


def named_role(account: Account, role: str) -> str:
    """The role for this and all later operations, once CloudFormation may take it (API reference, UpdateStack).

    Raises InvalidTemplateError for one that it may not.
    """
    try:
        account.authority.demand_trust(role, "cloudformation.amazonaws.com")
    except AccessDeniedError as error:
        raise InvalidTemplateError(f"Role {role} is invalid or cannot be assumed") from error
    return role


def settle(record: StackRecord) -> None:
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
