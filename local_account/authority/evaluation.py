"""What a set of policies comes to: AWS's evaluation logic within one account.

Runs in the server process; knows only documents, not where they are kept. IAM User Guide, "Policy evaluation logic":
an explicit deny anywhere ends it; an allow of the resource's policy can be enough; otherwise the identity's policies
have to allow, and the permissions boundary and the session's policy must not leave the action out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from local_account.authority.conditions import Values
from local_account.authority.policies import Principal, Statement, compiled


@dataclass(frozen=True)
class Policies:
    """The documents that have a say in one request. None stands for "there is none", which limits nothing."""

    identity: Sequence[str] = ()
    boundary: str | None = None
    session: str | None = None
    resource: str | None = None
    resource_must_allow: bool = False
    """The resource's policy has to let the account's policies decide first, as those of KMS keys and of roles do."""


@dataclass(frozen=True)
class AccessDecision:
    """``reason`` completes AWS's message "... is not authorized to perform: ACTION on resource: RESOURCE"."""

    allowed: bool
    reason: str = ""


ALLOWED = AccessDecision(True)


def decide(
    principal: Principal, action: str, resource: str, context: Mapping[str, Values], policies: Policies
) -> AccessDecision:
    """Whether the policies allow a role's session this action."""
    identity = [statement for document in policies.identity for statement in compiled(document)]
    spoken = _effects(identity, action, resource, context)
    granted, denied = _resource_says(principal, action, resource, context, policies.resource)
    limits = [
        (kind, _effects(compiled(document), action, resource, context))
        for kind, document in (("permissions boundary", policies.boundary), ("session policy", policies.session))
        if document is not None
    ]
    by_kind = [("an identity-based policy", spoken), *((f"a {kind}", effects) for kind, effects in limits)]
    denying = ["a resource-based policy"] if denied else [kind for kind, effects in by_kind if "Deny" in effects]
    if denying:
        return AccessDecision(False, f"with an explicit deny in {denying[0]}")
    if "session" in granted:
        return ALLOWED  # a session that the resource names itself is not limited by what limits its role
    lacking = [kind for kind, effects in limits if "Allow" not in effects]
    if policies.resource_must_allow and not granted:
        lacking.insert(0, "resource-based policy")
    elif not granted & {"role", "anyone"} and "Allow" not in spoken:
        lacking.insert(0, "identity-based policy")
    return _missing(lacking[0], action) if lacking else ALLOWED


def decide_for_service(
    principal: Principal, action: str, resource: str, context: Mapping[str, Values], document: str | None
) -> AccessDecision:
    """Whether a resource's policy lets a service call it; a service has no policies of its own."""
    granted, denied = _resource_says(principal, action, resource, context, document)
    if denied:
        return AccessDecision(False, "with an explicit deny in a resource-based policy")
    return ALLOWED if granted else _missing("resource-based policy", action)


def _missing(kind: str, action: str) -> AccessDecision:
    return AccessDecision(False, f"because no {kind} allows the {action} action")


def _effects(
    statements: Sequence[Statement], action: str, resource: str, context: Mapping[str, Values]
) -> frozenset[str]:
    return frozenset(one.effect for one in statements if one.speaks_of(action, resource, context))


def _resource_says(
    principal: Principal, action: str, resource: str, context: Mapping[str, Values], document: str | None
) -> tuple[set[str], bool]:
    """How a resource's policy allows the principal (`Statement.grants_to`), and whether it denies it."""
    granted: set[str] = set()
    for statement in compiled(document) if document else ():
        how = statement.grants_to(principal)
        if how and statement.speaks_of(action, resource, context):
            if statement.effect == "Deny":
                return set(), True
            granted.add(how)
    return granted, False
