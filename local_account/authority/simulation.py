"""What policies would decide, asked in advance: IAM's SimulatePrincipalPolicy and SimulateCustomPolicy.

Runs in the server process; knows only documents. IAM API Reference, SimulatePrincipalPolicy: the decision for each
action on each resource, from identity policies and a permissions boundary, with the context keys that the caller gives.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from local_account.authority.conditions import RequestContext
from local_account.authority.policies import Statement, compiled


@dataclass(frozen=True)
class Simulation:
    """Which policies are asked, by name, and under which circumstances."""

    policies: Sequence[tuple[str, str]]
    """Name and document."""
    boundary: str | None
    context: Mapping[str, object]


def simulate(simulation: Simulation, actions: Iterable[str], resources: Sequence[str]) -> list[dict[str, object]]:
    """The members of EvaluationResults: one for each action and resource."""
    return [_evaluation(simulation, action, resource) for action in actions for resource in resources]


def _evaluation(simulation: Simulation, action: str, resource: str) -> dict[str, object]:
    context = RequestContext(simulation.context)
    spoken = {
        name: [one for one in compiled(document) if one.speaks_of(action, resource, context)]
        for name, document in simulation.policies
    }
    effects = {one.effect for statements in spoken.values() for one in statements}
    limit = simulation.boundary
    limited = {one.effect for one in compiled(limit or "") if one.speaks_of(action, resource, context)}
    within = limit is None or ("Allow" in limited and "Deny" not in limited)
    answer: dict[str, object] = {
        "EvalActionName": action,
        "EvalResourceName": resource,
        "EvalDecision": _decision(effects, limited, within=within),
        "MatchedStatements": [
            {"SourcePolicyId": name, "SourcePolicyType": "IAM Policy"}
            for name, statements in spoken.items()
            for _ in statements
        ],
        "MissingContextValues": sorted(_missing(simulation, action, context)),
    }
    if limit is not None:
        answer["PermissionsBoundaryDecisionDetail"] = {"AllowedByPermissionsBoundary": within}
    return answer


def _decision(effects: set[str], limited: set[str], *, within: bool) -> str:
    if "Deny" in effects | limited:
        return "explicitDeny"
    return "allowed" if "Allow" in effects and within else "implicitDeny"


def _missing(simulation: Simulation, action: str, context: Mapping[str, object]) -> set[str]:
    """The keys that statements about the action ask for, and that nobody gave."""
    documents = [document for _, document in simulation.policies] + [simulation.boundary or ""]
    about = [one for document in documents for one in compiled(document) if _about(one, action)]
    keys = {key for one in about for wanted in one.conditions.values() for key in wanted}
    return {key for key in keys if key and key not in context}


def _about(statement: Statement, action: str) -> bool:
    if statement.actions is not None:
        return statement.actions.fullmatch(action) is not None
    return statement.not_actions is None or statement.not_actions.fullmatch(action) is None
