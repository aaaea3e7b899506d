"""Stack policies: which resources an update may change, replace or delete.

Runs in the server process. Source: CloudFormation User Guide, prevent updates to stack resources. Without a policy an
update may do everything; with one, what no statement allows is denied.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from local_account.protocol.actions import ServiceError

_ACTIONS = {"Update:*", "Update:Modify", "Update:Replace", "Update:Delete"}
_MEMBERS = {"Action", "Condition", "Effect", "NotAction", "NotResource", "Principal", "Resource"}
Statement = Mapping[str, object]


@dataclass(frozen=True)
class StackPolicy:
    """The statements of a policy; none allow everything."""

    statements: tuple[Statement, ...] = field(default=())

    @classmethod
    def read(cls, text: str) -> StackPolicy:
        """The policy that a text says; an empty text or object is none.

        Raises ServiceError for a text that is no policy.
        """
        try:
            document = json.loads(text or "{}")
            statements = document.get("Statement", []) if isinstance(document, dict) else None
        except ValueError:
            statements = None
        rows: list[Statement] = statements if isinstance(statements, list) else [{"": statements}]
        if not all(_is_statement(each) for each in rows):
            raise ServiceError("Error validating stack policy: Invalid stack policy")
        return cls(tuple(rows))

    def refusal(self, action: str, logical_id: str, resource_type: str) -> str:
        """Why an update may not do this (``Modify``, ``Replace``, ``Delete``) to a resource; empty if it may."""
        applying = [
            (number, each)
            for number, each in enumerate(self.statements, 1)
            if _applies(each, action, logical_id, resource_type)
        ]
        denying = [number for number, each in applying if each["Effect"] == "Deny"]
        if denying:
            return (
                f"Action denied by stack policy: Statement [#{denying[0]}] does not allow [Update:{action}] "
                f"for resource [{logical_id}]"
            )
        if self.statements and not applying:
            return (
                f"Action not allowed by stack policy: no statement allows [Update:{action}] for resource [{logical_id}]"
            )
        return ""


def _is_statement(each: object) -> bool:
    if not isinstance(each, Mapping) or each.keys() - _MEMBERS or each.get("Effect") not in ("Allow", "Deny"):
        return False
    actions = _listed(each.get("Action", each.get("NotAction")))
    resources = _listed(each.get("Resource", each.get("NotResource")))
    principal = each.get("Principal")
    everybody = principal in ("*", {"AWS": "*"})
    known = all(action in _ACTIONS for action in actions)
    return bool(actions and resources) and known and everybody and isinstance(each.get("Condition", {}), Mapping)


def _applies(statement: Statement, action: str, logical_id: str, resource_type: str) -> bool:
    actions = _listed(statement.get("Action", statement.get("NotAction")))
    named = any(each in ("Update:*", f"Update:{action}") for each in actions)
    resources = _listed(statement.get("Resource", statement.get("NotResource")))
    meant = any(fnmatchcase(f"LogicalResourceId/{logical_id}", each) for each in resources)
    return named == ("Action" in statement) and meant == ("Resource" in statement) and _holds(statement, resource_type)


def _holds(statement: Statement, resource_type: str) -> bool:
    conditions = statement.get("Condition", {})
    for operator, tests in conditions.items() if isinstance(conditions, Mapping) else []:
        patterns = _listed(tests.get("ResourceType")) if isinstance(tests, Mapping) else []
        matches = any(
            fnmatchcase(resource_type, each) if operator.endswith("Like") else resource_type == each
            for each in patterns
        )
        if matches == operator.startswith("StringNot"):
            return False
    return True


def _listed(value: object) -> list[str]:
    return [str(each) for each in value] if isinstance(value, list) else [value] if isinstance(value, str) else []
