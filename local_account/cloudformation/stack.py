"""Stacks: the operations that bring one to a template or take it away.

Runs in the server process; operations run in a thread each, as AWS's do, so that clients wait for the stack's status.
A failed creation is rolled back, so is a failed update. An operation that a stop of the account cuts short has failed
when the account is back.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from local_account.account import Account
from local_account.authority.authority import AccessDeniedError
from local_account.cloudformation.deployment import DeployingStack
from local_account.cloudformation.language.errors import InvalidTemplateError
from local_account.cloudformation.record import now
from local_account.cloudformation.records import StackRecord, WantedStack
from local_account.cloudformation.removal import Course
from local_account.cloudformation.rollback_triggers import watch
from local_account.protocol.records import change, chosen

STOPPED_REASON = "The stand-in account was stopped during the operation"
_TAKEN = (
    "Capabilities",
    "ChangeSetId",
    "ClientRequestToken",
    "EnableTerminationProtection",
    "NotificationARNs",
    "Original",
    "Parameters",
    "RoleARN",
    "RollbackConfiguration",
    "StackPolicy",
    "Stored",
    "Tags",
    "Template",
    "TimeoutInMinutes",
)
_RESTORED = ("Template", "Original", "Parameters", "Stored", "Tags", "Capabilities", "Outputs")


class DeployedStack(DeployingStack):
    """A stack and what can be done to it. The caller runs one operation at a time."""

    def take(self, request: WantedStack) -> None:
        """Record what the operation that begins now makes of the stack."""
        change(self.record, {"ClientRequestToken": None, **chosen(request, _TAKEN)})
        self.record["DisableRollback"] = request["OnFailure"] == "DO_NOTHING"

    def create(self, request: WantedStack, failure: str = "") -> None:
        """Make everything; roll back, delete or leave it when something fails, as ``OnFailure`` says.

        ``failure``: why there is no template, so that nothing is made.
        """
        course = Course.of(request.get("TimeoutInMinutes"))
        reason = failure or self._bring_and_watch(course)
        if reason is None:
            self.set_status("CREATE_COMPLETE")
        elif request["OnFailure"] == "DO_NOTHING":
            self.set_status("CREATE_FAILED", f"{reason}. ")
        elif request["OnFailure"] == "DELETE":
            self._take_back("DELETE", f"{reason}. Delete requested by user.", course, request)
        else:
            self._take_back("ROLLBACK", f"{reason}. Rollback requested by user.", course, request)

    def _bring_and_watch(self, course: Course) -> str | None:
        return self.attempt(partial(self.bring_to_template, course)) or self.attempt(
            partial(watch, self.account, self.record, self._place("", course))
        )

    def _take_back(self, status: str, reason: str, course: Course, request: WantedStack) -> None:
        self.record["DeletionTime"] = now()
        self.set_status(f"{status}_IN_PROGRESS", reason)
        if request.get("RetainExceptOnCreate"):
            self._retain_only_later(course.made)
        failure = self.remove(list(reversed(self.resources)), made=course.made)
        self.record["Outputs"] = []
        self.set_status(f"{status}_FAILED" if failure else f"{status}_COMPLETE", failure)

    def _retain_only_later(self, made: Collection[str]) -> None:
        for logical in made & self.resources.keys():
            if self.resources[logical]["DeletionPolicy"] == "Retain":
                self.resources[logical]["DeletionPolicy"] = "RetainExceptOnCreate"

    def update(self, before: StackRecord, request: WantedStack) -> None:
        """Bring the stack to a template; when that fails, bring it back to the one it had ``before``."""
        policy = request.get("StackPolicyDuringUpdate") or before.get("StackPolicy", "")
        course = Course.of(None, policy)
        reason = self._bring_and_watch(course)
        if reason is None:
            self.set_status("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS")
            self.clean_up(rolled_back=False)
            self.set_status("UPDATE_COMPLETE")
        elif request["OnFailure"] == "DO_NOTHING":
            self.set_status("UPDATE_FAILED", f"{reason}. ")
        else:
            self.set_status("UPDATE_ROLLBACK_IN_PROGRESS", f"{reason}. ")
            self._go_back(before)

    def fail_update(self, reason: str) -> None:
        """End an update that has no template; nothing was changed."""
        self.set_status("UPDATE_ROLLBACK_IN_PROGRESS", f"{reason}. ")
        self.set_status("UPDATE_ROLLBACK_COMPLETE")

    def _go_back(self, before: StackRecord) -> None:
        change(self.record, {name: before.get(name) for name in _RESTORED})
        replaced = self.record.get("Replaced", {})
        for logical, original in replaced.items():
            replaced[logical], self.resources[logical] = self.resources[logical], original
        failure = self.attempt(partial(self.bring_to_template, Course()))
        if failure is None:
            self.set_status("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS")
            self.clean_up(rolled_back=True)
        self.set_status("UPDATE_ROLLBACK_FAILED" if failure else "UPDATE_ROLLBACK_COMPLETE", failure)

    def delete(self, retained: Collection[str] = (), force: bool = False) -> None:
        """Remove every resource, the last one first; what cannot be removed stays, and so does the stack.

        With ``force`` the stack goes all the same.
        """
        failure = self.remove(list(reversed(self.resources)), retained)
        if failure and force:
            failure = self.remove(list(reversed(self.resources)), list(self.resources))
        self.record["DeletionTime"] = now()
        if failure is None:
            self.record["Outputs"] = []
        self.set_status("DELETE_FAILED" if failure else "DELETE_COMPLETE", failure)


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
            "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS": "UPDATE_ROLLBACK_COMPLETE",
            "UPDATE_ROLLBACK_IN_PROGRESS": "UPDATE_ROLLBACK_FAILED",
        }
        record |= {"StackStatus": failed.get(status, "UPDATE_FAILED"), "StackStatusReason": STOPPED_REASON}
