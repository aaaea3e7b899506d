"""Policy documents, compiled: which statements of one speak of an action on a resource.

Runs in the server process. A document is compiled once for its text, so a changed policy needs no cache to be told.
IAM User Guide, "IAM JSON policy elements reference".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from local_account.authority.conditions import Conditions, Values, arn_matches, expand, glob, holds


@dataclass(frozen=True)
class Principal:
    """Who calls, as resource policies name it: a role's session, a service, or the account's owner."""

    arn: str
    """The session's ARN of a role; the name of a service (``events.amazonaws.com``)."""
    account_id: str
    role_arn: str | None = None

    @property
    def is_service(self) -> bool:
        """Whether a service calls, in nobody's name."""
        return not self.arn.startswith("arn:")


@dataclass(frozen=True)
class Statement:
    """One statement of a policy, ready to be compared with requests; None stands for an element that is left out."""

    effect: str
    actions: re.Pattern[str] | None
    not_actions: re.Pattern[str] | None
    resources: tuple[str, ...]
    not_resources: tuple[str, ...]
    principals: Mapping[str, tuple[str, ...]] | None
    not_principals: Mapping[str, tuple[str, ...]] | None
    conditions: Conditions
    sid: str

    def speaks_of(self, action: str, resource: str, context: Mapping[str, Values]) -> bool:
        """Whether the statement is about this action on this resource, under these circumstances."""
        if self.actions is not None and self.actions.fullmatch(action) is None:
            return False
        if self.not_actions is not None and self.not_actions.fullmatch(action) is not None:
            return False
        if self.resources and not _among(self.resources, resource, context):
            return False
        if self.not_resources and _among(self.not_resources, resource, context):
            return False
        return not self.conditions or holds(self.conditions, context, unknown=self.effect == "Deny")

    def grants_to(self, principal: Principal) -> str:
        """How a resource policy's statement names the principal.

        ``session``, ``role``, ``anyone``, ``service``, ``account`` (whose own policies then decide), or nothing.
        """
        if self.not_principals is not None:
            return "" if _named(self.not_principals, principal) else "anyone"
        return _named(self.principals or {}, principal)


def _among(patterns: tuple[str, ...], resource: str, context: Mapping[str, Values]) -> bool:
    for pattern in patterns:
        expanded = expand(pattern, context)
        if expanded is not None and (arn_matches(expanded, resource) or expanded == resource):
            return True
    return False


def _named(principals: Mapping[str, tuple[str, ...]], principal: Principal) -> str:
    if principal.is_service:
        return "service" if principal.arn in principals.get("Service", ()) or _everybody(principals) else ""
    named = principals.get("AWS", ())
    if principal.arn in named:
        return "session"
    if principal.role_arn is not None and principal.role_arn in named:
        return "role"
    if _everybody(principals):
        return "anyone"
    account = principal.account_id
    return "account" if account in named or f"arn:aws:iam::{account}:root" in named else ""


def _everybody(principals: Mapping[str, tuple[str, ...]]) -> bool:
    return "*" in principals.get("AWS", ())


@lru_cache(maxsize=4096)
def compiled(document: str) -> tuple[Statement, ...]:
    """The statements of a policy's text; one that is no policy has none."""
    try:
        parsed = json.loads(document)
    except ValueError:
        return ()
    if not isinstance(parsed, dict):
        return ()
    return tuple(_statement(one) for one in _listed(parsed.get("Statement")) if isinstance(one, dict))


def _statement(one: dict[str, object]) -> Statement:
    return Statement(
        str(one.get("Effect")),
        _actions(one.get("Action")),
        _actions(one.get("NotAction")),
        tuple(map(str, _listed(one.get("Resource")))),
        tuple(map(str, _listed(one.get("NotResource")))),
        _principals(one.get("Principal")),
        _principals(one.get("NotPrincipal")),
        _conditions(one.get("Condition")),
        str(one.get("Sid", "")),
    )


_MALFORMED: Conditions = {"malformed": {"": ""}}


def _conditions(value: object) -> Conditions:
    """A Condition element as it stands; one that is malformed counts as an operator that nobody knows."""
    if not value:
        return {}
    if not isinstance(value, dict) or not all(isinstance(keys, dict) for keys in value.values()):
        return _MALFORMED
    return value


def _listed(value: object) -> list[object]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _actions(value: object) -> re.Pattern[str] | None:
    if value is None:
        return None
    patterns = "|".join(glob(str(one), fold=True).pattern for one in _listed(value))
    return re.compile(f"(?:{patterns})", re.IGNORECASE)


def _principals(value: object) -> Mapping[str, tuple[str, ...]] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        return {"AWS": ("*",)} if value == "*" else {}
    return {kind: tuple(map(str, _listed(names))) for kind, names in value.items()}
