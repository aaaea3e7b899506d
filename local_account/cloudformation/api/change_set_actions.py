"""The actions of CloudFormation on change sets: what a template would change, shown before it is done.

Runs in the server process; state: the table ``change_sets``.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from local_account.cloudformation.api.requests import UntransformedError, wanted_stack
from local_account.cloudformation.api.stack_queries import pairs
from local_account.cloudformation.changes import Preview, without_values
from local_account.cloudformation.language.errors import MissingExportError
from local_account.cloudformation.record import now
from local_account.cloudformation.records import ChangeSetRecord, TemplateDocument, WantedStack
from local_account.cloudformation.resources.values import ResourceError
from local_account.cloudformation.stack import DeployedStack
from local_account.cloudformation.stacks import Stacks
from local_account.cloudformation.template import parse
from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.records import change, chosen, view

if TYPE_CHECKING:
    from types_boto3_cloudformation.type_defs import (
        CreateChangeSetInputTypeDef,
        DeleteChangeSetInputTypeDef,
        DescribeChangeSetInputTypeDef,
        ExecuteChangeSetInputTypeDef,
        GetTemplateInputTypeDef,
        ListChangeSetsInputTypeDef,
    )

    ChangeSetRequest = (
        DescribeChangeSetInputTypeDef
        | ExecuteChangeSetInputTypeDef
        | DeleteChangeSetInputTypeDef
        | GetTemplateInputTypeDef
    )

NO_CHANGES = "The submitted information didn't contain changes. Submit different information to create a change set."


class ChangeSetActions:
    """The change sets and what the API does to them."""

    def __init__(self, stacks: Stacks) -> None:
        self._stacks = stacks
        self.records = stacks.change_sets  # by change set id

    @action("CreateChangeSet")
    def create_change_set(self, request: CreateChangeSetInputTypeDef) -> Reply:
        """Say what a template would change, of a stack or of one that is to be made.

        Raises ServiceError for a stack that cannot take it now, a name that is taken, and an unusable template.
        """
        kind = request.get("ChangeSetType", "UPDATE")
        stack = self._stack_for(request, is_new=kind == "CREATE")
        macros = self._stacks.macros()
        failure = ""
        try:
            wanted = wanted_stack(self._stacks.account, request, stack, is_new=kind == "CREATE", macros=macros)
        except UntransformedError as error:
            failure, wanted = str(error), error.wanted
        same = self._find(stack.record["StackId"], request["ChangeSetName"])
        if same and same["ExecutionStatus"] == "EXECUTE_COMPLETE":
            same = None  # it stays to be found by its id
        if same:
            raise ServiceError(f"ChangeSet {request['ChangeSetName']} already exists", "AlreadyExistsException")
        if stack.record["StackId"] not in self._stacks.records:
            self._stacks.keep(stack)
            stack.set_status("REVIEW_IN_PROGRESS", "User Initiated")
        change_set = self._prepare(stack, request, kind, wanted, failure)
        return {"Id": change_set["ChangeSetId"], "StackId": stack.record["StackId"]}

    def _stack_for(self, request: CreateChangeSetInputTypeDef, is_new: bool) -> DeployedStack:
        name = request["StackName"]
        stack = self._stacks.find(name, deleted=is_new)
        if not is_new:
            return self._stacks.updatable(name)
        if stack and stack.record["StackStatus"] != "REVIEW_IN_PROGRESS":
            raise ServiceError(
                f"Stack [{name}] already exists and cannot be created again with the "
                f"changeSet [{request['ChangeSetName']}]."
            )
        return stack or self._stacks.unkept(name)

    def _prepare(
        self, stack: DeployedStack, request: CreateChangeSetInputTypeDef, kind: str, wanted: WantedStack, failure: str
    ) -> ChangeSetRecord:
        name = request["ChangeSetName"]
        change_set: ChangeSetRecord = {
            "ChangeSetId": self._stacks.account.arn("cloudformation", f"changeSet/{name}/{uuid.uuid4()}"),
            "ChangeSetName": name,
            "StackId": stack.record["StackId"],
            "StackName": stack.record["StackName"],
            "Description": request.get("Description", ""),
            "CreationTime": now(),
            "Kind": kind,
            "Wanted": wanted,
            "Changes": [],
            "Status": "CREATE_COMPLETE",
            "ExecutionStatus": "AVAILABLE",
        }
        if "OnStackFailure" in request:
            change_set["OnStackFailure"] = request["OnStackFailure"]
        if reason := failure or self._why_not(stack, change_set):
            change_set |= {"Status": "FAILED", "ExecutionStatus": "UNAVAILABLE", "StatusReason": reason}
        self.records[change_set["ChangeSetId"]] = change_set
        self._stacks.changed()
        return change_set

    def _why_not(self, stack: DeployedStack, change_set: ChangeSetRecord) -> str:
        """Fill in what would change; why it cannot be done, or an empty text."""
        wanted = change_set["Wanted"]
        preview = Preview(stack, parse(wanted["Template"]), wanted["Parameters"], wanted.get("Stored", {}))
        try:
            change_set["Changes"] = preview.changes()
            changed = self._stacks.differs(stack, wanted)
        except (MissingExportError, ResourceError) as error:
            return str(error)
        return "" if changed else NO_CHANGES

    @action("DescribeChangeSet")
    def describe_change_set(self, request: DescribeChangeSetInputTypeDef) -> Reply:
        """Tell what a change set would change, with the values of properties if they are asked for.

        Raises ServiceError for an unknown one.
        """
        change_set = self.existing(request)
        wanted, changes = change_set["Wanted"], change_set["Changes"]
        document = parse(wanted["Template"]) if wanted["Template"] else view(TemplateDocument, {})
        parameters = pairs(document, wanted["Parameters"], wanted.get("Stored", {}))
        return {
            **_shown(change_set),
            "Capabilities": wanted["Capabilities"],
            "Changes": changes if request.get("IncludePropertyValues") else without_values(changes),
            "NotificationARNs": wanted.get("NotificationARNs", []),
            "RollbackConfiguration": wanted.get("RollbackConfiguration", {}),
            **({"Parameters": parameters} if parameters else {}),
            **({"Tags": wanted["Tags"]} if wanted["Tags"] else {}),
            **chosen(change_set, ("OnStackFailure",)),
        }

    @action("ExecuteChangeSet")
    def execute_change_set(self, request: ExecuteChangeSetInputTypeDef) -> Reply:
        """Begin to do what a change set says; the stack's other change sets go.

        Raises ServiceError for an unknown one, one without changes, and while the stack is busy.
        """
        change_set = self.existing(request)
        if change_set["ExecutionStatus"] != "AVAILABLE":
            status = change_set["Status"]
            if status == "CREATE_COMPLETE":
                status = change_set["ExecutionStatus"]
            raise ServiceError(
                f"ChangeSet [{change_set['ChangeSetId']}] cannot be executed in its current status of [{status}]",
                "InvalidChangeSetStatus",
            )
        stack = self._stacks.existing(change_set["StackId"])
        wanted = self._taken(change_set, request)
        if change_set["Kind"] == "UPDATE":
            self._stacks.refuse_while_busy(stack)
        # The others are no longer valid for what the stack becomes (API reference, ExecuteChangeSet).
        others = [i for i, c in self.records.items() if c["StackId"] == change_set["StackId"] and c is not change_set]
        for other in others:
            if self.records[other]["ExecutionStatus"] != "EXECUTE_COMPLETE":
                del self.records[other]
        change_set["ExecutionStatus"] = "EXECUTE_COMPLETE"
        if change_set["Kind"] == "CREATE":
            stack.record["LastUpdatedTime"] = now()
            self._stacks.create(stack, wanted)
        else:
            self._stacks.update(stack, wanted)
        return {}

    @staticmethod
    def _taken(change_set: ChangeSetRecord, request: ExecuteChangeSetInputTypeDef) -> WantedStack:
        wanted = change_set["Wanted"]
        wanted["ChangeSetId"] = change_set["ChangeSetId"]
        change(wanted, chosen(request, ("ClientRequestToken", "RetainExceptOnCreate")))
        if request.get("DisableRollback"):
            if "OnStackFailure" in change_set:
                raise ServiceError("You cannot specify both DisableRollback and OnStackFailure")
            wanted["OnFailure"] = "DO_NOTHING"
        return wanted

    @action("DeleteChangeSet")
    def delete_change_set(self, request: DeleteChangeSetInputTypeDef) -> Reply:
        """Remove a change set, if it exists.

        Raises ServiceError for an unknown stack, and for a name without one.
        """
        found = self._sought(request)
        if found:
            del self.records[found["ChangeSetId"]]
            self._stacks.changed()
        return {}

    @action("ListChangeSets")
    def list_change_sets(self, request: ListChangeSetsInputTypeDef) -> Reply:
        """List the change sets of a stack that were not executed.

        Raises ServiceError for an unknown stack.
        """
        stack_id = self._stacks.of_change(request["StackName"]).record["StackId"]
        found = [c for c in self.records.values() if c["StackId"] == stack_id]
        return {"Summaries": [_shown(each) for each in found if each["ExecutionStatus"] != "EXECUTE_COMPLETE"]}

    def _find(self, stack_id: str | None, name_or_id: str) -> ChangeSetRecord | None:
        if name_or_id in self.records:
            return self.records[name_or_id]
        named = [c for c in self.records.values() if c["ChangeSetName"] == name_or_id and c["StackId"] == stack_id]
        return named[-1] if named else None

    def _sought(self, request: ChangeSetRequest) -> ChangeSetRecord | None:
        name = request.get("ChangeSetName", "")
        if name.startswith("arn:"):
            return self._find(None, name)
        if "StackName" not in request:
            raise ServiceError("StackName must be specified if ChangeSetName is not specified as an ARN.")
        return self._find(self._stacks.of_change(request["StackName"]).record["StackId"], name)

    def existing(self, request: ChangeSetRequest) -> ChangeSetRecord:
        """The change set that a request names.

        Raises ServiceError for an unknown one.
        """
        found = self._sought(request)
        if found is None:
            raise ServiceError(f"ChangeSet [{request.get('ChangeSetName')}] does not exist", "ChangeSetNotFound", 404)
        return found


def _shown(change_set: ChangeSetRecord) -> dict[str, object]:
    """What is told of a change set wherever it is told of."""
    members = (
        "ChangeSetId", "ChangeSetName", "CreationTime", "ExecutionStatus", "StackId", "StackName", "Status",
        "StatusReason",
    )  # fmt: skip
    described = {"Description": change_set["Description"]} if change_set["Description"] else {}
    return {**chosen(change_set, members), **described, "IncludeNestedStacks": False}
