"""What the Step Functions Data Science SDK 2.3.0 lacks and the workflow needs. Runs on a laptop or in CodeBuild."""

from __future__ import annotations

from stepfunctions.steps import Fail


class FailWithCausePath(Fail):  # type: ignore[misc]  # the SDK has no types
    """A Fail state whose cause is read from its input (`CausePath`, in the language since September 2023)."""

    def __init__(self, state_id: str, *, error: str, cause_path: str) -> None:
        super().__init__(state_id, error=error, cause_path=cause_path)

    def is_field_allowed(self, field_name: str) -> bool:
        return field_name == "cause_path" or bool(super().is_field_allowed(field_name))
