"""The stacks of the account: how they are found and made, and how an operation on one begins.

Runs in the server process; state: the table ``stacks``.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Literal

from local_account.cloudformation.changes import Preview
from local_account.cloudformation.record import MACRO_TYPE, STACK_TYPE, now, outputs
from local_account.cloudformation.records import ChangeSetRecord, Export, StackRecord, TemplateDocument, WantedStack
from local_account.cloudformation.stack import DeployedStack, settle
from local_account.cloudformation.template import parse
from local_account.protocol.actions import ServiceError
from local_account.protocol.service import Service

FINISH_S = 2.0
_NAME = re.compile(r"[a-zA-Z][-a-zA-Z0-9]*")
_LONGEST_NAME = 128
_UPDATABLE = {"CREATE_COMPLETE", "CREATE_FAILED", "UPDATE_COMPLETE", "UPDATE_FAILED", "UPDATE_ROLLBACK_COMPLETE"}
_OPTIONS: tuple[Literal["NotificationARNs", "RollbackConfiguration"], ...] = (
    "NotificationARNs",
    "RollbackConfiguration",
)


class Stacks:
    """Every stack, also the deleted ones."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.account, self.lock = service.account, service.lock
        self._started = threading.local()
        self.records = service.table("stacks", StackRecord)  # by stack id
        self.change_sets = service.table("change_sets", ChangeSetRecord)  # by change set id
        for record in self.records.values():
            settle(record)

    def changed(self) -> None:
        """Have what was changed written within a second."""
        self._service.changed()

    def exports(self) -> dict[str, Export]:
        """What the stacks export, by its name."""
        return {
            output["ExportName"]: {
                "ExportingStackId": record["StackId"],
                "Name": output["ExportName"],
                "Value": output["OutputValue"],
            }
            for record in self.records.values()
            if record["StackStatus"] != "DELETE_COMPLETE"
            for output in record["Outputs"]
            if "ExportName" in output
        }

    def macros(self) -> dict[str, str]:
        """The functions of the macros that stacks hold, by the macros' names."""
        return {
            str(held["Properties"]["Name"]): str(held["Properties"]["FunctionName"])
            for record in self.records.values()
            if record["StackStatus"] != "DELETE_COMPLETE"
            for held in record["Resources"].values()
            if held["ResourceType"] == MACRO_TYPE
        }

    def parent_of(self, stack_id: str) -> str | None:
        """The id of the stack that a nested one stands in."""
        for record in self.records.values():
            held = list(record["Resources"].values())
            if any(each["ResourceType"] == STACK_TYPE and each["PhysicalResourceId"] == stack_id for each in held):
                return record["StackId"]
        return None

    def importers(self, export: str) -> list[str]:
        """The names of the stacks that import a value."""
        found = []
        for record in self.records.values():
            if record["Template"] and record["StackStatus"] != "DELETE_COMPLETE":
                stack = DeployedStack(self.account, record, self.exports)
                if export in stack.imports():
                    found.append(record["StackName"])
        return found

    def unkept(self, name: str) -> DeployedStack:
        """Make a stack of this name, which nobody sees before it is kept.

        Raises ServiceError for a name that CloudFormation does not take.
        """
        shown = f"1 validation error detected: Value '{name}' at 'stackName' failed to satisfy constraint: Member must"
        if not _NAME.fullmatch(name):
            raise ServiceError(
                f"{shown} satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]*|arn:[-a-zA-Z0-9:/._+]*"
            )
        if len(name) > _LONGEST_NAME:
            raise ServiceError(f"{shown} have length less than or equal to {_LONGEST_NAME}")
        return DeployedStack.new(self.account, name, self.exports)

    def keep(self, stack: DeployedStack) -> None:
        """Keep a stack that has been made."""
        self.records[stack.record["StackId"]] = stack.record

    def outdated(self, stack: DeployedStack) -> None:
        """Say that no change set of the stack is valid any longer."""
        for change_set in self.change_sets.values():
            if change_set["StackId"] == stack.record["StackId"] and change_set["ExecutionStatus"] == "AVAILABLE":
                change_set["ExecutionStatus"] = "OBSOLETE"

    def find(self, name_or_id: str, deleted: bool = False) -> DeployedStack | None:
        """The stack of this name or id; a deleted one by its id alone, and only if asked for."""
        for record in self.records.values():
            by_name = record["StackName"] == name_or_id and record["StackStatus"] != "DELETE_COMPLETE"
            by_id = record["StackId"] == name_or_id and (deleted or record["StackStatus"] != "DELETE_COMPLETE")
            if by_name or by_id:
                return DeployedStack(self.account, record, self.exports)
        return None

    def existing(self, name_or_id: str, deleted: bool = False) -> DeployedStack:
        """The stack of this name or id.

        Raises ServiceError when there is none.
        """
        stack = self.find(name_or_id, deleted)
        if stack is None:
            raise ServiceError(f"Stack with id {name_or_id} does not exist")
        return stack

    def of_change(self, name: str) -> DeployedStack:
        """The stack of this name or id, for what changes it or a change set of it.

        Raises ServiceError when there is none.
        """
        stack = self.find(name)
        if stack is None:
            raise ServiceError(f"Stack [{name}] does not exist")
        return stack

    def updatable(self, name: str) -> DeployedStack:
        """The stack of this name, for an update.

        Raises ServiceError when there is none, or when its status allows no update.
        """
        stack = self.of_change(name)
        self.refuse_while_busy(stack)
        if stack.record["StackStatus"] not in _UPDATABLE:
            raise _refusal(stack)
        return stack

    @staticmethod
    def refuse_while_busy(stack: DeployedStack) -> None:
        """Raises ServiceError while an operation runs on the stack."""
        status = stack.record["StackStatus"]
        if status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS":
            raise _refusal(stack)

    def operate(
        self, stack: DeployedStack, status: str, work: Callable[[], None], reason: str | None = "User Initiated"
    ) -> None:
        """Run an operation in its own thread; from here on the stack is busy."""
        with self.lock:
            stack.set_status(status, reason)
        thread = threading.Thread(target=work, name=f"stack-{stack.record['StackName']}", daemon=True)
        thread.start()
        self._started.thread = thread

    def let_finish(self) -> None:
        """Wait a little for the operation that this request started: the aws CLI looks once, then after 30 s only."""
        thread = self._started.__dict__.pop("thread", None)
        if thread:
            thread.join(FINISH_S)

    def create(self, stack: DeployedStack, wanted: WantedStack, failure: str = "") -> None:
        """Begin to make everything of a stack, or nothing of one whose template could not be made."""
        stack.take(wanted)
        self.operate(stack, "CREATE_IN_PROGRESS", lambda: stack.create(wanted, failure))

    def fail_update(self, stack: DeployedStack, failure: str) -> None:
        """Begin an update whose template could not be made: the stack stays as it is."""
        stack.record["LastUpdatedTime"] = now()
        self.operate(stack, "UPDATE_IN_PROGRESS", lambda: stack.fail_update(failure))

    def update(self, stack: DeployedStack, wanted: WantedStack) -> None:
        """Begin to bring a stack to another template."""
        before = stack.record.copy()
        stack.take(wanted)
        stack.record["LastUpdatedTime"] = now()
        self.operate(stack, "UPDATE_IN_PROGRESS", lambda: stack.update(before, wanted))

    @staticmethod
    def differs(stack: DeployedStack, wanted: WantedStack) -> bool:
        """Whether anything of the stack would change.

        Raises InvalidTemplateError for an expression that cannot be evaluated, ResourceError for an unknown type.
        """
        document = parse(wanted["Template"])
        if not stack.record["Template"] or wanted["Tags"] != stack.record["Tags"]:
            return True
        if any(name in wanted and wanted[name] != stack.record.get(name) for name in _OPTIONS):
            return True
        preview = Preview(stack, document, wanted["Parameters"], wanted.get("Stored", {}))
        if preview.changes() or _policies(document) != _policies(parse(stack.record["Template"])):
            return True
        return outputs(preview.scope()) != stack.record["Outputs"]


def _policies(document: TemplateDocument) -> dict[str, tuple[str, str]]:
    """What happens to each resource that goes."""
    return {
        name: (resource.get("DeletionPolicy", "Delete"), resource.get("UpdateReplacePolicy", "Delete"))
        for name, resource in document["Resources"].items()
    }


def _refusal(stack: DeployedStack) -> ServiceError:
    status = stack.record["StackStatus"]
    return ServiceError(f"Stack:{stack.record['StackId']} is in {status} state and can not be updated.")
