"""AWS Budgets of the account: moto's, with UpdateBudget. Nothing costs anything here, so none of them alarms.

Runs in the server process.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from moto.budgets import urls
from moto.budgets.exceptions import NotFoundException
from moto.budgets.models import BudgetsBackend, budgets_backends
from moto.budgets.responses import BudgetsResponse
from moto.core.utils import unix_time

from local_account.account import Account
from local_account.base.replacements import answered_by, extends, use_backend

if TYPE_CHECKING:
    from local_account.base.replacements import Handlers


def install(_account: Account) -> None:
    """Let a budget change in place."""
    use_backend(budgets_backends, ChangeableBudgets)


@extends
class ChangeableBudgets(BudgetsBackend):
    """moto's budgets, answered by `BudgetAnswers`."""

    @property
    def url_paths(self) -> Handlers:
        """What answers which address."""
        return answered_by(BudgetAnswers, urls.url_paths)


@extends
class BudgetAnswers(BudgetsResponse):
    """moto's answers, and that of UpdateBudget."""

    def update_budget(self) -> str:
        """UpdateBudget: the new budget keeps the old one's period unless it names another."""
        wanted = self._get_param("NewBudget")
        held = self.backend.budgets[self._get_param("AccountId")].get(wanted["BudgetName"])
        if held is None:
            raise NotFoundException(f"Unable to update budget: {wanted['BudgetName']} - the budget doesn't exist.")
        held.budget = {"TimePeriod": held.budget["TimePeriod"], **wanted, "LastUpdatedTime": unix_time()}
        return json.dumps({})
