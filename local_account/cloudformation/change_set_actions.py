"""The actions of CloudFormation on change sets: what a template would change, shown before it is done.

Runs in the server process; state: the table ``change_sets``.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from local_account.cloudformation.record import now
from local_account.cloudformation.records import ChangeSetRecord, WantedStack
from local_account.cloudformation.requests import wanted_stack
from local_account.cloudformation.stack import DeployedStack
from local_account.cloudformation.stack_queries import pairs
from local_account.cloudformation.stacks import Stacks
from local_account.cloudformation.template import parse
from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.records import without
from local_account.protocol.service import Service

if TYPE_CHECKING:
    from types_boto3_cloudformation.type_defs import (
        CreateChangeSetInputTypeDef,
        DeleteChangeSetInputTypeDef,
        DescribeChangeSetInputTypeDef,
        ExecuteChangeSetInputTypeDef,
        ListChangeSetsInputTypeDef,
    )

NO_CHANGES = "The submitted information didn't contain changes. Submit different information to create a change set."


class ChangeSetActions:
    """The change sets and what the API does to them."""

    def __init__(self, service: Service, stacks: Stacks) -> None:
        self._stacks = stacks
        self.records = service.table("change_sets", ChangeSetRecord)  # by change set id

    @action("CreateChangeSet")
    def create_change_set(self, request: CreateChangeSetInputTypeDef) -> Reply:
        """Say what a template would change, of a stack or of one that is to be made.

        Raises ServiceError for a stack that cannot take it now, a name that is taken, and an unusable template.
        """
        name, kind = request["StackName"], request.get("ChangeSetType", "UPDATE")
        stack = self._stacks.find(name)
        if kind == "CREATE":
            if stack and stack.record["StackStatus"] != "REVIEW_IN_PROGRESS":
                raise ServiceError(f"Stack [{name}] already exists and cannot be created again with the changeSet")
        else:
            stack = self._stacks.updatable(name)
        wanted = wanted_stack(self._stacks.account, request, stack)
        if stack is None:
            stack = self._stacks.new(name)
            stack.set_status("REVIEW_IN_PROGRESS", "User Initiated")
        same = self._find_change_set(stack.record["StackId"], request["ChangeSetName"])
        if same and same["ExecutionStatus"] == "EXECUTE_COMPLETE":
            del self.records[same["ChangeSetId"]]
        elif same:
            raise ServiceError(f"ChangeSet {request['ChangeSetName']} already exists", "AlreadyExistsException")
        change_set = self._prepare(stack, request, kind, wanted)
        return {"Id": change_set["ChangeSetId"], "StackId": stack.record["StackId"]}

    def _prepare(
        self, stack: DeployedStack, request: CreateChangeSetInputTypeDef, kind: str, wanted: WantedStack
    ) -> ChangeSetRecord:
        name = request["ChangeSetName"]
        document = parse(wanted["Template"])
        changed = self._stacks.differs(stack, wanted)
        change_set: ChangeSetRecord = {
            "ChangeSetId": self._stacks.account.arn("cloudformation", f"changeSet/{name}/{uuid.uuid4()}"),
            "ChangeSetName": name,
            "StackId": stack.record["StackId"],
            "StackName": stack.record["StackName"],
            "Description": request.get("Description", ""),
            "CreationTime": now(),
            "Kind": kind,
            "Wanted": wanted,
            "Changes": stack.changes(document, wanted["Parameters"]),
            "Status": "CREATE_COMPLETE" if changed else "FAILED",
            "ExecutionStatus": "AVAILABLE" if changed else "UNAVAILABLE",
        }
        if not changed:
            change_set["StatusReason"] = NO_CHANGES
        self.records[change_set["ChangeSetId"]] = change_set
        self._stacks.changed()
        return change_set

    @action("DescribeChangeSet")
    def describe_change_set(self, request: DescribeChangeSetInputTypeDef) -> Reply:
        """Tell what a change set would change.

        Raises ServiceError for an unknown one.
        """
        change_set = self._change_set(request)
        wanted = change_set["Wanted"]
        shown = without(change_set, "Kind", "Wanted")
        return {**shown, "Parameters": pairs(wanted["Parameters"]), "Tags": wanted["Tags"]}

    @action("ExecuteChangeSet")
    def execute_change_set(self, request: ExecuteChangeSetInputTypeDef) -> Reply:
        """Begin to do what a change set says; the stack's other change sets go.

        Raises ServiceError for an unknown one, one without changes, and while the stack is busy.
        """
        change_set = self._change_set(request)
        if change_set["ExecutionStatus"] != "AVAILABLE":
            raise ServiceError(
                f"ChangeSet [{change_set['ChangeSetId']}] cannot be executed in its current status of "
                f"[{change_set['Status']}]",
                "InvalidChangeSetStatus",
            )
        stack = self._stacks.existing(change_set["StackId"])
        wanted = change_set["Wanted"]
        if request.get("DisableRollback"):
            wanted["OnFailure"] = "DO_NOTHING"
        create = change_set["Kind"] == "CREATE"
        if not create:
            self._stacks.refuse_while_busy(stack)
        # The others are no longer valid for what the stack becomes (API reference, ExecuteChangeSet).
        others = [i for i, c in self.records.items() if c["StackId"] == change_set["StackId"] and c is not change_set]
        for other in others:
            del self.records[other]
        change_set["ExecutionStatus"] = "EXECUTE_COMPLETE"
        work = (lambda: stack.create(wanted)) if create else (lambda: stack.update(wanted))
        self._stacks.operate(stack, "CREATE_IN_PROGRESS" if create else "UPDATE_IN_PROGRESS", work)
        return {}

    @action("DeleteChangeSet")
    def delete_change_set(self, request: DeleteChangeSetInputTypeDef) -> Reply:
        """Remove a change set.

        Raises ServiceError for an unknown one.
        """
        self.records.pop(self._change_set(request)["ChangeSetId"])
        self._stacks.changed()
        return {}

    @action("ListChangeSets")
    def list_change_sets(self, request: ListChangeSetsInputTypeDef) -> Reply:
        """List the change sets of a stack.

        Raises ServiceError for an unknown stack.
        """
        stack_id = self._stacks.existing(request["StackName"]).record["StackId"]
        found = [c for c in self.records.values() if c["StackId"] == stack_id]
        return {"Summaries": found}

    def _find_change_set(self, stack_id: str | None, name_or_id: str) -> ChangeSetRecord | None:
        for change_set in self.records.values():
            by_name = change_set["ChangeSetName"] == name_or_id and change_set["StackId"] == stack_id
            if change_set["ChangeSetId"] == name_or_id or by_name:
                return change_set
        return None

    def _change_set(
        self, request: DescribeChangeSetInputTypeDef | ExecuteChangeSetInputTypeDef | DeleteChangeSetInputTypeDef
    ) -> ChangeSetRecord:
        stack = self._stacks.find(request["StackName"]) if "StackName" in request else None
        change_set = self._find_change_set(stack.record["StackId"] if stack else None, request["ChangeSetName"])
        if change_set is None:
            raise ServiceError(f"ChangeSet [{request['ChangeSetName']}] does not exist", "ChangeSetNotFound")
        return change_set
