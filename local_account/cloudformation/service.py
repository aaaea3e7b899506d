"""AWS CloudFormation of the account; its actions are in ``stack_actions``, ``stack_queries``,
``template_queries`` and ``change_set_actions``.

Runs in the server process. moto's is not used: it skips types that it does not know and still says CREATE_COMPLETE.
Here every resource is made through the account's own API, so that it behaves like one that a client made, and what is
not implemented fails the stack. Differences from AWS: no imports or stack sets.
"""

from __future__ import annotations

from pathlib import Path

from local_account.account import Account
from local_account.cloudformation.api.change_set_actions import ChangeSetActions
from local_account.cloudformation.api.stack_actions import StackActions
from local_account.cloudformation.api.stack_queries import StackQueries
from local_account.cloudformation.api.template_queries import TemplateQueries
from local_account.cloudformation.drift.actions import DriftActions
from local_account.cloudformation.stacks import Stacks
from local_account.protocol.actions import Reply
from local_account.protocol.members import register
from local_account.protocol.service import Service
from local_account.protocol.wire import QueryWire, Request


def install(account: Account) -> CloudFormation:
    """Build the service over what an earlier run of the account left."""
    return CloudFormation(account)


class CloudFormation(Service):
    """Stacks and change sets."""

    invalid_code = "ValidationError"
    serial = True

    def __init__(self, account: Account) -> None:
        super().__init__(account, "cloudformation", QueryWire())
        register(Path(__file__).with_name("members.toml"))
        self._stacks = Stacks(self)
        change_sets = ChangeSetActions(self._stacks)
        self.add(StackActions(self._stacks), StackQueries(self._stacks))
        self.add(change_sets, TemplateQueries(self._stacks, change_sets), DriftActions(self, self._stacks))

    def perform(self, name: str, request: Request) -> Reply:
        """Run one action, and wait a little for the operation that it started.

        Raises ServiceError.
        """
        answer = super().perform(name, request)
        self._stacks.let_finish()
        return answer
