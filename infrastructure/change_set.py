"""What a change set would do to a stack, resource by resource, as a person reads it before agreeing.

Runs on a laptop or in CodeBuild. Reads one change set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types_boto3_cloudformation import CloudFormationClient
    from types_boto3_cloudformation.type_defs import ResourceChangeTypeDef

ACTIONS = {"Add": "add", "Modify": "change", "Remove": "remove", "Import": "import", "Dynamic": "decided later"}
REPLACEMENTS = {"True": "replace", "Conditional": "perhaps replace"}


@dataclass(frozen=True)
class PlannedChange:
    """One resource: ``action`` is add, change, replace, perhaps replace or remove."""

    action: str
    logical_id: str
    kind: str
    physical_id: str
    properties: tuple[str, ...]
    """The properties that differ; ``Tags`` among them when only the stack's tags do."""

    @classmethod
    def of(cls, found: ResourceChangeTypeDef) -> PlannedChange:
        """From a ResourceChange of DescribeChangeSet."""
        action = REPLACEMENTS.get(found.get("Replacement", ""), ACTIONS[found["Action"]])
        targets = [detail.get("Target", {}) for detail in found.get("Details", [])]
        names = {target.get("Name") or target.get("Attribute", "") for target in targets}
        return cls(
            action if found["Action"] == "Modify" else ACTIONS[found["Action"]],
            found["LogicalResourceId"],
            found["ResourceType"],
            found.get("PhysicalResourceId", ""),
            tuple(sorted(names - {""})),
        )


def changes(client: CloudFormationClient, stack: str, change_set: str) -> list[PlannedChange]:
    """Every change of a change set that is ready, in its order."""
    pages = client.get_paginator("describe_change_set").paginate(StackName=stack, ChangeSetName=change_set)
    return [PlannedChange.of(each["ResourceChange"]) for page in pages for each in page.get("Changes", [])]


def summary(found: Sequence[PlannedChange]) -> str:
    """``3 to add, 1 to replace``."""
    counts = {action: sum(change.action == action for change in found) for action in _in_order(found)}
    return ", ".join(f"{count} to {action}" for action, count in counts.items()) or "only outputs or tags change"


def _in_order(found: Sequence[PlannedChange]) -> list[str]:
    order = ["add", "change", "replace", "perhaps replace", "remove"]
    actions = {change.action for change in found}
    return [action for action in order if action in actions] + sorted(actions - set(order))
