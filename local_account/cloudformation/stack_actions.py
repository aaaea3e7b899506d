"""The actions of CloudFormation that change stacks: create, update, delete. Runs in the server process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_account.cloudformation.requests import wanted_stack
from local_account.cloudformation.stack import named_role
from local_account.cloudformation.stacks import Stacks
from local_account.protocol.actions import Reply, ServiceError, action

if TYPE_CHECKING:
    from types_boto3_cloudformation.type_defs import (
        CreateStackInputTypeDef,
        DeleteStackInputTypeDef,
        UpdateStackInputTypeDef,
    )


class StackActions:
    """What the API does to stacks; the operations go on after the answer."""

    def __init__(self, stacks: Stacks) -> None:
        self._stacks = stacks

    @action("CreateStack")
    def create_stack(self, request: CreateStackInputTypeDef) -> Reply:
        """Begin to make a stack.

        Raises ServiceError for a name that is taken or not allowed, and for a template that cannot be used.
        """
        name = request["StackName"]
        if self._stacks.find(name):
            raise ServiceError(f"Stack [{name}] already exists", "AlreadyExistsException")
        wanted = wanted_stack(self._stacks.account, request, None)
        stack = self._stacks.new(name)
        self._stacks.operate(stack, "CREATE_IN_PROGRESS", lambda: stack.create(wanted))
        return {"StackId": stack.record["StackId"]}

    @action("UpdateStack")
    def update_stack(self, request: UpdateStackInputTypeDef) -> Reply:
        """Begin to bring a stack to a template.

        Raises ServiceError for a stack that cannot be updated now, a template that cannot be used, and no changes.
        """
        stack = self._stacks.updatable(request["StackName"])
        wanted = wanted_stack(self._stacks.account, request, stack)
        if not self._stacks.differs(stack, wanted):
            raise ServiceError("No updates are to be performed.")
        self._stacks.operate(stack, "UPDATE_IN_PROGRESS", lambda: stack.update(wanted))
        return {"StackId": stack.record["StackId"]}

    @action("DeleteStack")
    def delete_stack(self, request: DeleteStackInputTypeDef) -> Reply:
        """Begin to remove a stack, if it exists.

        Raises ServiceError while another operation runs on it, and for a role that cannot be taken.
        """
        stack = self._stacks.find(request["StackName"])
        if stack:
            self._stacks.refuse_while_busy(stack)
            if "RoleARN" in request:
                stack.record["RoleARN"] = named_role(self._stacks.account, request["RoleARN"])
            self._stacks.operate(stack, "DELETE_IN_PROGRESS", stack.delete)
        return {}
