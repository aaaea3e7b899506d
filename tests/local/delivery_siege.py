"""What attacks on delivery are made of: the names of a stage, and calls that are tried with them.

Each call is named with the resources of a stage: with those of production it has to be refused, with the stage's own
it has to pass the policies, whatever the service then says of it. So no refusal is one of a call that nobody may make.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

PROJECT, STAGING, PRODUCTION = "siege", "rehearsal", "local"
ACCOUNT, REGION = "123456789012", "us-east-1"
HERE = f"{REGION}:{ACCOUNT}"
DELIVERY_BUCKET = f"{PROJECT}-delivery-{ACCOUNT}-{REGION}"
ANYBODY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "*", "Resource": "*"}],
    }
)
# What a bucket takes that blocks public policies.
OWNER = ANYBODY.replace('"*"', f'"arn:aws:iam::{ACCOUNT}:root"', 1)
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
Given = dict[str, object]


@dataclass(frozen=True)
class Stage:
    """The names of one stage's resources; ``key`` and ``boundary`` are made by the deployment."""

    name: str
    key: str
    boundary: str
    stack_role: str

    @property
    def prefix(self) -> str:
        return f"{PROJECT}-{self.name}"

    @property
    def tags(self) -> list[dict[str, str]]:
        return [{"Key": "stage", "Value": self.name}, {"Key": "deployment", "Value": self.prefix}]

    @property
    def role(self) -> str:
        """A role of one of the stage's functions, within the boundary."""
        return f"arn:aws:iam::{ACCOUNT}:role/{self.prefix}-function"

    def bucket(self, kind: str) -> str:
        return f"{self.prefix}-{kind}-{ACCOUNT}-{REGION}"

    def arn(self, service: str, before: str = "", after: str = "-x") -> str:
        return f"arn:aws:{service}:{HERE}:{before}{self.prefix}{after}"


@dataclass(frozen=True)
class Attack:
    """One call, tried by the staging's copy of ``role``; ``sid`` is the statement that could let it through."""

    role: str
    sid: str
    service: str
    call: str
    given: Callable[[Stage], Given]

    def __str__(self) -> str:
        return f"{self.role}-{self.sid}-{self.call}"


def of_stack(sid: str, service: str, call: str, given: Callable[[Stage], Given]) -> Attack:
    return Attack("StagingStackRole", sid, service, call, given)


def of_deployment(sid: str, service: str, call: str, given: Callable[[Stage], Given]) -> Attack:
    return Attack("StagingRole", sid, service, call, given)


def within(sid: str, service: str, call: str, given: Callable[[Stage], Given]) -> Attack:
    """By a role of the stage's stack that has all permissions, within the boundary."""
    return Attack("StagingBoundary", sid, service, call, given)


def function(stage: Stage) -> Given:
    return {
        "FunctionName": f"{PROJECT}-{STAGING}-x",
        "Role": stage.role,
        "Runtime": "python3.12",
        "Handler": "a.b",
        "Code": {"S3Bucket": "none", "S3Key": "none"},
    }


def machine(stage: Stage) -> Given:
    return {"stateMachineArn": stage.arn("states", "stateMachine:"), "definition": "{}"}


def change_set(stage: Stage) -> Given:
    return {"StackName": stage.prefix, "ChangeSetName": "x", "TemplateBody": "{}"}


def schedule(stage: Stage, name: str, role: str) -> Given:
    target = {"Arn": stage.arn("lambda", "function:"), "RoleArn": role}
    return {
        "Name": name,
        "ScheduleExpression": "rate(1 day)",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": target,
    }


def alarm(name: str) -> Given:
    metric = {"Namespace": "x", "MetricName": "x", "Period": 60, "EvaluationPeriods": 1, "Threshold": 1.0}
    return {"AlarmName": name, "ComparisonOperator": "LessThanThreshold", "Statistic": "Sum", **metric}
