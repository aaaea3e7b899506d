"""Evaluating a definition in this process, without an account: what its states do, for those that call nothing."""

from __future__ import annotations

import datetime
import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from local_account.stepfunctions.language.definition import problems
from local_account.stepfunctions.language.programs import program_of
from local_account.stepfunctions.runs import ExecutionStart, history_of, new_environment, run

ARN = "arn:aws:states:us-east-1:123456789012"


@dataclass(frozen=True)
class Evaluated:
    """What a definition came to."""

    status: str
    output: Any
    error: str | None
    cause: str | None
    events: list[dict[str, Any]]

    @property
    def kinds(self) -> list[str]:
        """The types of the events."""
        return [str(getattr(event["type"], "value", event["type"])) for event in self.events]

    @property
    def previous(self) -> list[int]:
        """The events that each event follows."""
        return [event["previousEventId"] for event in self.events]


def evaluated(states: dict[str, Any], data: Any = None, **machine: Any) -> Evaluated:
    """Evaluate a machine that starts at the first of ``states``; AssertionError where it is not accepted."""
    definition = json.dumps({"StartAt": next(iter(states)), "States": states, **machine})
    assert problems(definition) == []
    account: Any = SimpleNamespace(account_id="123456789012", region="us-east-1")
    start = ExecutionStart(
        arn=f"{ARN}:execution:m:e",
        name="e",
        data=json.dumps({} if data is None else data),
        role="arn:aws:iam::123456789012:role/r",
        machine_arn=f"{ARN}:stateMachine:m",
        machine_name="m",
        kind="STANDARD",
        log=None,
        at=datetime.datetime.now(datetime.UTC),
    )
    env = new_environment(account, start)
    result = run(program_of(definition), env, start)
    events: Any = history_of(env, result)
    output = json.loads(result.output) if result.output else None
    return Evaluated(result.status, output, result.error, result.cause, events)
