"""The stacks of the account: how they are found and made, and how an operation on one begins.

Runs in the server process; state: the table ``stacks``.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable

from local_account.cloudformation.record import now
from local_account.cloudformation.records import Export, StackRecord, WantedStack
from local_account.cloudformation.stack import DeployedStack, settle
from local_account.cloudformation.template import parse
from local_account.protocol.actions import ServiceError
from local_account.protocol.service import Service

FINISH_S = 2.0
_NAME = re.compile(r"[a-zA-Z][-a-zA-Z0-9]{0,127}")
_UPDATABLE = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"}


class Stacks:
    """Every stack, also the deleted ones."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.account, self.lock = service.account, service.lock
        self._started = threading.local()
        self.records = service.table("stacks", StackRecord)  # by stack id
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

    def new(self, name: str) -> DeployedStack:
        """Make a stack of this name, and keep it.

        Raises ServiceError for a name that CloudFormation does not take.
        """
        if not _NAME.fullmatch(name):
            raise ServiceError(
                f"1 validation error detected: Value '{name[:200]}' at 'stackName' failed to satisfy constraint: "
                "Member must satisfy regular expression pattern: [a-zA-Z][-a-zA-Z0-9]* and have at most 128 characters"
            )
        stack = DeployedStack.new(self.account, name, self.exports)
        self.records[stack.record["StackId"]] = stack.record
        return stack

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

    def updatable(self, name: str) -> DeployedStack:
        """The stack of this name, for an update.

        Raises ServiceError when there is none, or when its status allows no update.
        """
        stack = self.find(name)
        if stack is None:
            raise ServiceError(f"Stack [{name}] does not exist")
        self.refuse_while_busy(stack)
        if stack.record["StackStatus"] not in _UPDATABLE:
            status = stack.record["StackStatus"]
            raise ServiceError(f"Stack:{stack.record['StackId']} is in {status} state and can not be updated.")
        return stack

    @staticmethod
    def refuse_while_busy(stack: DeployedStack) -> None:
        """Raises ServiceError while an operation runs on the stack."""
        status = stack.record["StackStatus"]
        if status.endswith("_IN_PROGRESS") and status != "REVIEW_IN_PROGRESS":
            raise ServiceError(f"Stack:{stack.record['StackId']} is in {status} state and can not be updated.")

    def operate(self, stack: DeployedStack, status: str, work: Callable[[], None]) -> None:
        """Run an operation in its own thread; from here on the stack is busy."""
        with self.lock:
            stack.record["LastUpdatedTime"] = now()
            stack.set_status(status, "User Initiated")
        thread = threading.Thread(target=work, name=f"stack-{stack.record['StackName']}", daemon=True)
        thread.start()
        self._started.thread = thread

    def let_finish(self) -> None:
        """Wait a little for the operation that this request started: the aws CLI looks once, then after 30 s only."""
        thread = self._started.__dict__.pop("thread", None)
        if thread:
            thread.join(FINISH_S)

    @staticmethod
    def differs(stack: DeployedStack, wanted: WantedStack) -> bool:
        """Whether anything of the stack would change.

        Raises InvalidTemplateError for an expression that cannot be evaluated, ResourceError for an unknown type.
        """
        document = parse(wanted["Template"])
        if not stack.record["Template"] or wanted["Tags"] != stack.record["Tags"]:
            return True
        if stack.changes(document, wanted["Parameters"]):
            return True
        outputs = stack.outputs(document, wanted["Parameters"], preview=True)
        return outputs != stack.record["Outputs"]
