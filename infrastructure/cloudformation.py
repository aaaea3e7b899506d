"""Brings one CloudFormation stack to a template, through a change set that somebody may look at, and deletes it.

Runs on a laptop or in CodeBuild. Reads and changes the stack; reports each resource as it changes.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Literal, NotRequired, TypedDict

from botocore.exceptions import ClientError

from infrastructure.change_set import PlannedChange, changes
from scones.errors import SconesError

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_cloudformation.literals import CapabilityType
    from types_boto3_cloudformation.type_defs import ParameterTypeDef, StackEventTypeDef, StackTypeDef, TagTypeDef

Progress = Callable[[str], None]
Agree = Callable[[Sequence[PlannedChange]], bool]

# The waits between two looks grow from the first to the last: short for the stand-in account, polite to AWS.
FIRST_WAIT_SECONDS = 0.1
LAST_WAIT_SECONDS = 5.0
MAX_WAIT_SECONDS = 3600.0

_BUSY = {
    "CREATE_IN_PROGRESS",
    "ROLLBACK_IN_PROGRESS",
    "UPDATE_IN_PROGRESS",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
    "UPDATE_ROLLBACK_IN_PROGRESS",
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
}
_UPDATABLE = {"CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"}
_NO_CHANGES = ("didn't contain changes", "no updates are to be performed", "no changes to deploy")


class StackError(SconesError):
    """A stack that cannot be brought to the template; the message carries the failed resource's reason."""


class ChangeRequest(TypedDict):
    """CreateChangeSet without names and type: the template, or that it stays, and what is given to it."""

    TemplateURL: NotRequired[str]
    TemplateBody: NotRequired[str]
    UsePreviousTemplate: NotRequired[bool]
    Parameters: list[ParameterTypeDef]
    Capabilities: list[CapabilityType]
    Tags: NotRequired[list[TagTypeDef]]
    RoleARN: NotRequired[str]


@dataclass(frozen=True)
class Wanted:
    """What a stack is brought to. ``template`` is the text itself, or the address of an object in S3 that holds it."""

    template: str
    parameters: Mapping[str, str]
    tags: Mapping[str, str]
    role_arn: str = ""
    """With which CloudFormation makes the resources; without one, with the permissions of whoever deploys."""

    def request(self) -> ChangeRequest:
        """Ask for a change set that brings a stack to it."""
        request: ChangeRequest = {
            "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in self.parameters.items()],
            "Capabilities": ["CAPABILITY_IAM"],
            "Tags": [{"Key": k, "Value": v} for k, v in self.tags.items()],
        }
        if self.template.startswith("https://"):
            request["TemplateURL"] = self.template
        else:
            request["TemplateBody"] = self.template
        if self.role_arn:
            request["RoleARN"] = self.role_arn
        return request


@dataclass(frozen=True)
class StageStack:
    """One stack by name, whether it exists or not."""

    name: str
    client: CloudFormationClient
    sleep: Callable[[float], None] = time.sleep

    def apply(self, wanted: Wanted, progress: Progress, agree: Agree = lambda _: True) -> bool:
        """Create or update the stack; False when ``agree`` says no to the changes. Raises StackError on a failure."""
        status = self._prepare(progress)
        change_set = self._create_change_set(wanted.request(), kind="UPDATE" if status else "CREATE")
        if change_set is None:
            progress(f"stack {self.name} is up to date")
            return True
        if not agree(changes(self.client, self.name, change_set)):
            self._forget(change_set, new=status is None)
            return False
        self._execute(change_set, self._event_ids() if status else set(), progress)
        return True

    def change(self, parameter: str, value: str, progress: Progress) -> bool:
        """Give one parameter another value; False when the stack's state allows no update, or it has no such parameter.

        Raises StackError when the update fails.
        """
        found = self._describe()
        if found and found["StackStatus"] in _BUSY:
            progress(f"stack {self.name} is changing ({found['StackStatus']}): waiting for its end")
            self._wait_for_rest()
            found = self._describe()
        known = [p["ParameterKey"] for p in found.get("Parameters", [])] if found else []
        if found is None or found["StackStatus"] not in _UPDATABLE or parameter not in known:
            return False
        parameters: list[ParameterTypeDef] = [
            {"ParameterKey": name, "UsePreviousValue": True} for name in known if name != parameter
        ]
        request: ChangeRequest = {
            "UsePreviousTemplate": True,
            "Parameters": [*parameters, {"ParameterKey": parameter, "ParameterValue": value}],
            "Capabilities": ["CAPABILITY_IAM"],
        }
        change_set = self._create_change_set(request, kind="UPDATE")
        if change_set:
            self._execute(change_set, self._event_ids(), progress)
        return True

    def delete(self, progress: Progress) -> bool:
        """Delete the stack and wait; False when there is none."""
        found = self._describe()
        if found is None:
            return False
        # By id: a deleted stack can no longer be described by its name.
        stack = StageStack(found["StackId"], self.client, self.sleep)
        if found["StackStatus"] in _BUSY:
            progress(f"stack {self.name} is changing ({found['StackStatus']}): waiting for its end")
            stack._wait_for_rest()
        seen = stack._event_ids()
        self.client.delete_stack(StackName=self.name)
        stack._follow(seen, progress, done={"DELETE_COMPLETE"})
        return True

    def parameter(self, name: str) -> str:
        """The value that a parameter has now; empty without the stack or the parameter."""
        found = self._describe()
        given = found.get("Parameters", []) if found else []
        return next((str(one["ParameterValue"]) for one in given if one["ParameterKey"] == name), "")

    def outputs(self) -> dict[str, str]:
        """Read the stack's outputs by their keys. Raises StackError without a stack."""
        found = self._describe()
        if found is None:
            raise StackError(f"there is no stack {self.name}: run `scones deploy` first")
        return {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}

    def _describe(self) -> StackTypeDef | None:
        try:
            found = self.client.describe_stacks(StackName=self.name)["Stacks"][0]
        except ClientError as error:
            if "does not exist" in error.response["Error"].get("Message", ""):
                return None
            raise
        return None if found["StackStatus"] == "DELETE_COMPLETE" else found

    def _prepare(self, progress: Progress) -> str | None:
        """The stack's status, or None when the stack has yet to be created."""
        found = self._describe()
        status = found["StackStatus"] if found else None
        if status in {None, "REVIEW_IN_PROGRESS"}:
            return None
        if status in {"ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"}:
            progress(f"stack {self.name} is left over from a failed attempt ({status}): deleting it first")
            self.delete(progress)
            return None
        if status == "UPDATE_ROLLBACK_FAILED":
            raise StackError(
                f"stack {self.name} could not go back after a failed update ({status}): see its events, put right what"
                f" they name, run `aws cloudformation continue-update-rollback --stack-name {self.name}`, deploy again"
            )
        if str(status).endswith("_IN_PROGRESS"):
            raise StackError(f"stack {self.name} is changing already ({status}): wait for it and try again")
        return str(status)

    def _forget(self, change_set: str, new: bool) -> None:
        """Leave nothing of a change set that nobody wants: its first one also makes a stack, of nothing."""
        self.client.delete_change_set(ChangeSetName=change_set, StackName=self.name)
        if new:
            self.client.delete_stack(StackName=self.name)

    def _execute(self, change_set: str, seen: set[str], progress: Progress) -> None:
        self.client.execute_change_set(ChangeSetName=change_set, StackName=self.name)
        self._follow(seen, progress, done={"CREATE_COMPLETE", "UPDATE_COMPLETE"})

    def _create_change_set(self, request: ChangeRequest, kind: Literal["CREATE", "UPDATE"]) -> str | None:
        """The id of a change set that is ready to execute; None when nothing would change."""
        try:
            identifier = self.client.create_change_set(
                StackName=self.name,
                ChangeSetName=f"deploy-{uuid.uuid4().hex}",
                ChangeSetType=kind,
                **request,
            )["Id"]
        except ClientError as error:
            if self._unchanged(error.response["Error"].get("Message", "")):
                return None
            raise StackError(f"CloudFormation refused the template: {error.response['Error']['Message']}") from error
        for _ in self._looks(f"the change set of stack {self.name}"):
            found = self.client.describe_change_set(ChangeSetName=identifier, StackName=self.name)
            if found["Status"] == "FAILED":
                self._forget(identifier, new=kind == "CREATE")
                if self._unchanged(found.get("StatusReason", "")):
                    return None
                raise StackError(f"CloudFormation refused the change set: {found.get('StatusReason', 'no reason')}")
            if found["Status"] == "CREATE_COMPLETE":
                break
        return identifier

    @staticmethod
    def _unchanged(reason: str) -> bool:
        return any(words in reason.lower() for words in _NO_CHANGES)

    def _follow(self, seen: set[str], progress: Progress, done: set[str]) -> None:
        """Report the stack's events until it comes to rest; raise StackError unless its status is in ``done``."""
        failures: list[str] = []
        for _ in self._looks(f"stack {self.name}"):
            status = self._status()
            for event in self._new_events(seen):
                line = f"{event['ResourceStatus']} {event['LogicalResourceId']}"
                reason = event.get("ResourceStatusReason", "")
                progress(f"{line}: {reason}" if reason else line)
                if event["ResourceStatus"].endswith("_FAILED") and "cancelled" not in reason.lower():
                    failures.append(f"{event['LogicalResourceId']} ({event.get('ResourceType', '')}): {reason}")
            if status in done:
                return
            if not status.endswith("_IN_PROGRESS"):
                break
        raise StackError(
            f"stack {self.name} ended as {status}: {failures[0] if failures else 'see its events for the reason'}"
        )

    def _wait_for_rest(self) -> None:
        for _ in self._looks(f"stack {self.name}"):
            if not self._status().endswith("_IN_PROGRESS"):
                return

    def _status(self) -> str:
        try:
            return str(self.client.describe_stacks(StackName=self.name)["Stacks"][0]["StackStatus"])
        except ClientError as error:
            if "does not exist" in error.response["Error"].get("Message", ""):
                return "DELETE_COMPLETE"
            raise

    def _events(self) -> Iterator[StackEventTypeDef]:
        """The events of the stack, the newest first, a page at a time as they are asked for."""
        try:
            for page in self.client.get_paginator("describe_stack_events").paginate(StackName=self.name):
                yield from page["StackEvents"]
        except ClientError as error:
            if "does not exist" not in error.response["Error"].get("Message", ""):
                raise

    def _event_ids(self) -> set[str]:
        return {event["EventId"] for event in self._events()}

    def _new_events(self, seen: set[str]) -> list[StackEventTypeDef]:
        new = list(takewhile(lambda event: event["EventId"] not in seen, self._events()))[::-1]
        seen.update(event["EventId"] for event in new)
        return new

    def _looks(self, what: str) -> Iterator[None]:
        """Yield at growing intervals; raise StackError after an hour."""
        wait, waited = FIRST_WAIT_SECONDS, 0.0
        while waited < MAX_WAIT_SECONDS:
            yield
            self.sleep(wait)
            waited += wait
            wait = min(wait * 1.5, LAST_WAIT_SECONDS)
        raise StackError(f"{what} did not come to rest within {MAX_WAIT_SECONDS / 60:.0f} minutes")
