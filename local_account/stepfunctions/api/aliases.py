"""The rules of aliases: what they route to, and that one is made once.

Runs in the server process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from moto.core.exceptions import AWSError
from moto.stepfunctions.exceptions import ValidationException
from moto.stepfunctions.models import StateMachine, StateMachineAlias

from local_account.base.arns import last_part, without_last
from local_account.stepfunctions.api.machines import version_named


class Route(TypedDict):
    """The share of a version."""

    stateMachineVersionArn: str
    weight: int


def check_routes(machines: list[StateMachine], routes: Sequence[Route]) -> StateMachine:
    """The machine whose versions the routes name; ValidationException, ResourceNotFound."""
    arns = [route["stateMachineVersionArn"] for route in routes]
    shown = f"[{', '.join(arns)}]"
    if any(not last_part(arn).isdigit() or arn.count(":") != 7 for arn in arns):
        raise ValidationException(f"Routing configuration must contain state machine version ARNs. Received: {shown}")
    if len(set(arns)) != len(arns):
        words = "Routing configuration must contain distinct state machine version ARNs."
        raise ValidationException(f"{words} Received: {shown}")
    if len({without_last(arn) for arn in arns}) > 1:
        words = "Routing configuration must contain versions of one state machine."
        raise ValidationException(f"{words} Received: {shown}")
    weights = [route["weight"] for route in routes]
    if sum(weights) != 100:
        raise ValidationException(f"Sum of routing configuration weights must equal 100. Received: {weights}")
    return _machine_of(machines, arns)


def _machine_of(machines: list[StateMachine], arns: list[str]) -> StateMachine:
    for arn in arns:
        found = version_named(machines, arn)
        if found is None or found[1] not in found[0].versions:
            raise no_such_resource()
    return found[0]  # type: ignore[index]  # there is one ARN at least


def create_alias(machine: StateMachine, name: str, routes: list[Route], description: str | None) -> StateMachineAlias:
    """The alias, which may be there as it is asked for; ConflictException."""
    existing = machine.aliases.get(name)
    if existing is not None:
        if (existing.routing_configuration, existing.description) != (routes, description):
            raise AWSError(
                "Failed to create alias because an alias with the same name and a different routing configuration "
                "already exists.",
                "ConflictException",
            )
        return existing
    alias = StateMachineAlias(  # type: ignore[abstract]  # of CloudFormation, which moto leaves out
        name, machine.arn, [dict(route) for route in routes], description
    )
    machine.aliases[name] = alias
    return alias


def no_such_resource() -> AWSError:
    """The error for what a request refers to and nobody has."""
    return AWSError("Request references a resource that does not exist.", "ResourceNotFound")
