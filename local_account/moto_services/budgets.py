"""AWS Budgets of the account: moto's, with UpdateBudget. Nothing costs anything here, so none of them alarms."""

from __future__ import annotations

import json
from typing import Any

from local_account.account import Account


def install(_account: Account) -> None:
    """Let a budget change in place."""
    from moto.budgets.exceptions import NotFoundException
    from moto.budgets.responses import BudgetsResponse
    from moto.core.utils import unix_time

    def update_budget(self: Any) -> str:
        wanted = self._get_param("NewBudget")
        held = self.backend.budgets[self._get_param("AccountId")].get(wanted["BudgetName"])
        if held is None:
            raise NotFoundException(f"Unable to update budget: {wanted['BudgetName']} - the budget doesn't exist.")
        held.budget = {"TimePeriod": held.budget["TimePeriod"], **wanted, "LastUpdatedTime": unix_time()}
        return json.dumps({})

    BudgetsResponse.update_budget = update_budget
