"""AWS::Budgets::Budget: a budget with whom it tells. Runs in the server process."""

from __future__ import annotations

from typing import Any

from local_account.cloudformation.resources.base import Kind, Made, Place, Properties, call, call_gone, only


class Budget(Kind):
    """A change of whom it tells makes a new budget (here only; AWS cannot change that of an existing one either)."""

    replaced_by = frozenset({"NotificationsWithSubscribers", "ResourceTags"})

    def create(self, place: Place, properties: Properties) -> Made:
        budget = dict(properties["Budget"])
        budget.setdefault("BudgetName", place.generated_name(100))
        request = self._account(place) | {"Budget": budget, **only(properties, "NotificationsWithSubscribers")}
        call(place, "budgets", "CreateBudget", request | only(properties, "ResourceTags"))
        return Made(budget["BudgetName"], {})

    def update(self, place: Place, physical_id: str, old: Properties, new: Properties) -> Made:
        budget = {"BudgetName": physical_id, **new["Budget"]}
        call(place, "budgets", "UpdateBudget", self._account(place) | {"NewBudget": budget})
        return Made(physical_id, {})

    def delete(self, place: Place, physical_id: str, properties: Properties) -> None:
        call_gone(place, "budgets", "DeleteBudget", self._account(place) | {"BudgetName": physical_id})

    def needs_replacement(self, old: Properties, new: Properties) -> bool:
        renamed = old["Budget"].get("BudgetName") != new["Budget"].get("BudgetName")
        return renamed or super().needs_replacement(old, new)

    @staticmethod
    def _account(place: Place) -> dict[str, Any]:
        return {"AccountId": place.account.account_id}
