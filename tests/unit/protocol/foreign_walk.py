"""Requests with ARNs of another account and of another region, to every operation that takes an ARN.

What is there is called ``there``. For every member that may hold an ARN, the smallest valid request is sent with the
ARN that ``there`` would have elsewhere. A success means that something of ours was read or changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from local_account.authority.requests import CLIENT_NAMES
from local_account.server.application import Application
from tests.unit.protocol.walk import EVERYWHERE, ID, FrontDoor, operations
from tests.unit.protocol.walk_verdicts import Verdict, verdict
from tests.unit.protocol.walked_requests import Walk

if TYPE_CHECKING:
    from botocore.model import Shape

ELSEWHERE = (("us-east-1", "999999999999"), ("eu-west-1", ID))
THERE = {
    "application-autoscaling": ("scalable-target/there",),
    "cloudformation": ("stack/there/1b4db7eb-4057-5ddf-91e0-36dec72071f5",),
    "cloudwatch": ("alarm:there",),
    "codebuild": ("project/there", "build/there:1b4db7eb-4057-5ddf-91e0-36dec72071f5"),
    "codepipeline": ("there",),
    "dynamodb": ("table/there",),
    "ecr": ("repository/there",),
    "events": ("rule/there", "event-bus/default"),
    "kms": ("alias/there", "key/there"),
    "lambda": ("function:there", "function:there:1", "function:there:there"),
    "logs": ("log-group:there", "log-group:there:*"),
    "sagemaker": ("pipeline/there", "model-package-group/there", "model-package/there/1", "experiment/there"),
    "scheduler": ("schedule/default/there", "schedule-group/default"),
    "secretsmanager": ("secret:there",),
    "sns": ("there",),
    "sqs": ("there",),
    "ssm": ("parameter/there",),
    "states": ("stateMachine:there", "stateMachine:there:1", "execution:there:there"),
}
"""What the account has of each service, as its ARN says it behind the account."""
ARN_SERVICES = {"monitoring": "cloudwatch", "codeconnections": "codestar-connections"}
"""Where it differs from the name that requests are signed for."""
NAMES = (
    r"(?i).*arns?|(Function|EventBus|.*Package|Pipeline)Name|(.*Key|secret|resource)Id|resource|logGroupIdentifiers?"
)
ANYBODYS = {("ListRuleNamesByTarget", "TargetArn")}
"""Members that say no more than where an ARN is looked for, which may be anybody's."""


def takes_arns(name: str, shape: Shape) -> bool:
    """Whether a member may hold an ARN: by its name, its type's, or the pattern that it has to match."""
    if shape.type_name != "string" or shape.metadata.get("enum"):
        return False
    return "arn:" in str(shape.metadata.get("pattern", "")) or any(re.fullmatch(NAMES, n) for n in (name, shape.name))


def places(shape: Shape, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where ARNs may stand in a request, down to three structures deep."""
    for name, member in shape.members.items():
        inner = member.member if member.type_name == "list" else member
        if inner.type_name == "structure" and len(path) < 3:
            yield from places(inner, (*path, name))
        elif takes_arns(name, inner):
            yield (*path, name)


class ForeignWalk(Walk):
    """Writes the smallest valid request, but for one member."""

    def members(self, operation: str, place: tuple[str, ...], value: str) -> dict[str, Any]:
        """The members of a request that has ``value`` at a place."""
        shape = self.model.operation_model(operation).input_shape
        assert shape is not None
        return self._with(shape, self._structure(shape, 0.0, 0.0, 0), place, value)

    def _with(self, shape: Shape, made: dict[str, Any], place: tuple[str, ...], value: str) -> dict[str, Any]:
        name, *rest = place
        member = shape.members[name]
        inner = member.member if member.type_name == "list" else member
        one: Any = value
        if rest:
            one = self._with(inner, self._structure(inner, 0.0, 0.0, 1), tuple(rest), value)
        return {**made, name: [one] if member.type_name == "list" else one}


def foreign_arns(service: str) -> Iterator[str]:
    """The ARNs elsewhere of what is there of a service."""
    name = ARN_SERVICES.get(service, service)
    for region, account in ELSEWHERE:
        for resource in THERE.get(name, ()):
            yield f"arn:aws:{name}:{region}:{account}:{resource}"


def walk_elsewhere(application: Application, door: FrontDoor, services: list[str]) -> Iterator[Verdict | None]:
    """What is wrong with each answer: what no service would say, and a success."""
    for service in services:
        walk = ForeignWalk(service, CLIENT_NAMES.get(service, service), EVERYWHERE, 1)
        for operation in operations(application, service, walk.model):
            shape = walk.model.operation_model(operation).input_shape
            for place in places(shape) if shape else ():
                if (operation, place[-1]) not in ANYBODYS:
                    yield from _answers(walk, door, operation, place)


def _answers(walk: ForeignWalk, door: FrontDoor, operation: str, place: tuple[str, ...]) -> Iterator[Verdict | None]:
    for arn in foreign_arns(walk.service):
        request = walk.written(operation, walk.members(operation, place, arn))
        answer = door.send(request)
        if answer[0] < 300:
            yield Verdict(request, answer[0], f"{'.'.join(place)} took {arn}")
        else:
            yield verdict(walk.model, request, answer)
