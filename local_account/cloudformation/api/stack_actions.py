"""The actions of CloudFormation that change stacks: create, update, delete, protect. Runs in the server process."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from local_account.cloudformation.api.requests import UntransformedError, stack_policy, wanted_stack
from local_account.cloudformation.stack import DeployedStack, named_role
from local_account.cloudformation.stacks import Stacks
from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.records import change

if TYPE_CHECKING:
    from collections.abc import Mapping

    from types_boto3_cloudformation.type_defs import (
        CreateStackInputTypeDef,
        DeleteStackInputTypeDef,
        GetStackPolicyInputTypeDef,
        SetStackPolicyInputTypeDef,
        UpdateStackInputTypeDef,
        UpdateTerminationProtectionInputTypeDef,
    )


class StackActions:
    """What the API does to stacks; the operations go on after the answer."""

    def __init__(self, stacks: Stacks) -> None:
        self._stacks = stacks

    @action("CreateStack")
    def create_stack(self, request: CreateStackInputTypeDef) -> Reply:
        """Begin to make a stack, also one that waits for its first change set.

        Raises ServiceError for a name that is taken or not allowed, and for a template that cannot be used.
        """
        name = request["StackName"]
        waiting = self._stacks.find(name)
        if waiting and waiting.record["StackStatus"] != "REVIEW_IN_PROGRESS":
            raise ServiceError(f"Stack [{name}] already exists", "AlreadyExistsException")
        stack = waiting or self._stacks.unkept(name)
        failure = ""
        try:
            wanted = wanted_stack(self._stacks.account, request, stack, is_new=True, macros=self._stacks.macros())
        except UntransformedError as error:
            failure, wanted = str(error), error.wanted
        self._stacks.keep(stack)
        self._stacks.outdated(stack)
        self._stacks.create(stack, wanted, failure)
        return {"StackId": stack.record["StackId"]}

    @action("UpdateStack")
    def update_stack(self, request: UpdateStackInputTypeDef) -> Reply:
        """Begin to bring a stack to a template.

        Raises ServiceError for a stack that cannot be updated now, a template that cannot be used, and no changes.
        """
        stack = self._stacks.updatable(request["StackName"])
        try:
            wanted = wanted_stack(self._stacks.account, request, stack, is_new=False, macros=self._stacks.macros())
        except UntransformedError as error:
            self._stacks.fail_update(stack, str(error))
            return {"StackId": stack.record["StackId"]}
        if not self._stacks.differs(stack, wanted):
            raise ServiceError("No updates are to be performed.")
        self._stacks.update(stack, wanted)
        return {"StackId": stack.record["StackId"]}

    @action("DeleteStack")
    def delete_stack(self, request: DeleteStackInputTypeDef) -> Reply:
        """Begin to remove a stack, if it exists.

        Raises ServiceError while another operation runs on it, while it is protected, and for a role that cannot be
        taken.
        """
        stack = self._stacks.find(request["StackName"])
        if stack:
            self._demand_deletable(stack, request)
            if "RoleARN" in request:
                stack.record["RoleARN"] = named_role(self._stacks.account, request["RoleARN"])
            retained, force = request.get("RetainResources", []), request.get("DeletionMode") == "FORCE_DELETE_STACK"
            change(stack.record, {"ClientRequestToken": request.get("ClientRequestToken")})
            self._stacks.outdated(stack)
            self._stacks.operate(stack, "DELETE_IN_PROGRESS", lambda: stack.delete(retained, force))
        return {}

    def _demand_deletable(self, stack: DeployedStack, request: DeleteStackInputTypeDef) -> None:
        record = stack.record
        if record.get("EnableTerminationProtection"):
            raise ServiceError(f"Stack [{record['StackId']}] cannot be deleted while TerminationProtection is enabled")
        self._stacks.refuse_while_busy(stack)
        failed = record["StackStatus"] == "DELETE_FAILED"
        if request.get("RetainResources") and not failed:
            raise ServiceError(
                f"Invalid operation on stack [{record['StackId']}]. Specify resources to retain only when the current "
                "stack status is DELETE_FAILED."
            )
        if request.get("DeletionMode") == "FORCE_DELETE_STACK" and not failed:
            raise ServiceError(
                f"Invalid operation on stack [{record['StackId']}]. "
                "FORCE_DELETE_STACK is only allowed when the current stack status is DELETE_FAILED."
            )
        if unknown := sorted(set(request.get("RetainResources", [])) - stack.resources.keys()):
            raise ServiceError(f"The specified resources to retain must be in a valid state. [{', '.join(unknown)}]")

    @action("UpdateTerminationProtection")
    def update_termination_protection(self, request: UpdateTerminationProtectionInputTypeDef) -> Reply:
        """Protect a stack from being deleted, or no longer.

        Raises ServiceError for an unknown stack.
        """
        stack = self._stacks.of_change(request["StackName"])
        stack.record["EnableTerminationProtection"] = request["EnableTerminationProtection"]
        self._stacks.changed()
        return {"StackId": stack.record["StackId"]}

    @action("SetStackPolicy")
    def set_stack_policy(self, request: SetStackPolicyInputTypeDef) -> Reply:
        """Say which resources updates may change.

        Raises ServiceError for an unknown stack, and for what is no policy.
        """
        stack = self._stacks.of_change(request["StackName"])
        policy = stack_policy(self._stacks.account, cast("Mapping[str, str]", request), "StackPolicy")
        if policy is None:
            raise ServiceError("Either StackPolicyURL or StackPolicyBody must be specified.")
        stack.record["StackPolicy"] = policy
        self._stacks.changed()
        return {}

    @action("GetStackPolicy")
    def get_stack_policy(self, request: GetStackPolicyInputTypeDef) -> Reply:
        """Tell which resources updates may change.

        Raises ServiceError for an unknown stack.
        """
        policy = self._stacks.of_change(request["StackName"]).record.get("StackPolicy")
        return {} if policy is None else {"StackPolicyBody": policy}
