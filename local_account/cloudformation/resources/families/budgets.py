"""AWS::Budgets::Budget: a budget with whom it tells. Runs in the server process."""

from __future__ import annotations

from local_account.cloudformation.resources.base import Kind, Made, StackPlace, call, call_gone
from local_account.cloudformation.resources.values import Properties, only, part


class Budget(Kind):
    """A change of whom it tells makes a new budget (here only; AWS cannot change that of an existing one either)."""

    replaced_by = frozenset({"NotificationsWithSubscribers", "ResourceTags"})

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the budget, whom it tells and its tags in one call."""
        budget = dict(part(properties, "Budget"))
        budget.setdefault("BudgetName", place.generated_name(100))
        request = self._account(place) | {"Budget": budget, **only(properties, "NotificationsWithSubscribers")}
        call(place, "budgets", "CreateBudget", request | only(properties, "ResourceTags"))
        return Made(str(budget["BudgetName"]), {})

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Change amount, time and filters."""
        budget = {"BudgetName": physical_id, **part(new, "Budget")}
        call(place, "budgets", "UpdateBudget", self._account(place) | {"NewBudget": budget})
        return Made(physical_id, {})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the budget with its notifications."""
        call_gone(place, "budgets", "DeleteBudget", self._account(place) | {"BudgetName": physical_id})

    def needs_replacement(self, old: Properties, new: Properties) -> bool:
        """Also for another name, which stands inside the property ``Budget``."""
        renamed = part(old, "Budget").get("BudgetName") != part(new, "Budget").get("BudgetName")
        return renamed or super().needs_replacement(old, new)

    @staticmethod
    def _account(place: StackPlace) -> dict[str, object]:
        return {"AccountId": place.account.account_id}
