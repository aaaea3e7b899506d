"""What of a stage's template and state machines costs money: how many of each, how large, how often.

Runs on a laptop or in CodeBuild; takes documents and makes no AWS call. A condition in the template is taken as true.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypedDict

from scones.cost.prices import CostError

_MINUTES = {"minute": 1, "minutes": 1, "hour": 60, "hours": 60, "day": 1440, "days": 1440}
_RATE = re.compile(r"rate\((\d+) (\w+)\)")
_MONTH_MINUTES = 730 * 60
_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
# Pricing examples of Step Functions count the step into the first state.
_START = 1
# Functions each of whose scheduled calls starts a pipeline.
_STARTS_A_PIPELINE = {"start_monitoring"}


class ScheduleTarget(TypedDict):
    """What a schedule calls: an ARN, or a function of the template's that makes one."""

    Arn: str | Mapping[str, list[str]]


class ChargedProperties(TypedDict, total=False):
    """The properties of resources that decide what they cost; each kind of resource has some of them."""

    Handler: str
    MemorySize: int
    ScheduleExpression: str | Mapping[str, str]
    Target: ScheduleTarget
    MetricName: str
    Namespace: str
    Metrics: list[Mapping[str, object]]
    DashboardBody: str | Mapping[str, str]


class ChargedResource(TypedDict):
    """One resource of a template."""

    Type: str
    Properties: ChargedProperties


class ChargedTemplate(TypedDict):
    """A parsed template, as far as it is read here."""

    Resources: Mapping[str, ChargedResource]


class Branch(TypedDict):
    """A rule of a Choice state."""

    Next: str


class CaughtErrors(TypedDict):
    """A catcher of a state."""

    ErrorEquals: list[str]
    Next: str


class CountedState(TypedDict, total=False):
    """What of a state says where an execution goes."""

    Type: str
    Next: str
    Choices: list[Branch]
    Catch: list[CaughtErrors]


class CountedMachine(TypedDict):
    """A state machine in Amazon States Language, as far as it is read here."""

    StartAt: str
    States: Mapping[str, CountedState]


@dataclass(frozen=True)
class Facts:
    """What the template holds, as far as it is charged for."""

    types: Mapping[str, int]
    """Type of resource -> how many."""
    alarm_metrics: int
    custom_metrics: int
    memory_mb: Mapping[str, int]
    """Handler's name, such as ``classify_image`` -> memory of its function."""
    scheduled: Mapping[str, float]
    """Handler's name -> calls by schedules in a month."""
    scheduled_pipelines: float
    """Pipelines that schedules start in a month."""


@dataclass(frozen=True)
class Transitions:
    """Charged steps of the standard workflows."""

    confident: int
    """Of an execution whose image passes."""
    uncertain: int
    """Of an execution whose image goes to review."""
    batch: int
    """Of a batch, beside one for each child."""


def facts(template: ChargedTemplate, schedule: Mapping[str, str]) -> Facts:
    """Read from a parsed template; ``schedule`` has its parameters about the reports' schedule."""
    resources = template["Resources"]

    def of(kind: str) -> list[ChargedProperties]:
        return [resource["Properties"] for resource in resources.values() if resource["Type"] == kind]

    handlers = {
        name: str(resource["Properties"]["Handler"]).split(".")[-2]
        for name, resource in resources.items()
        if resource["Type"] == "AWS::Lambda::Function"
    }
    scheduled: dict[str, float] = {}
    pipelines = 0.0
    for found in of("AWS::Scheduler::Schedule"):
        expression = found["ScheduleExpression"]
        if isinstance(expression, Mapping):
            if schedule["MonitoringState"] == "DISABLED":
                continue
            expression = schedule[expression["Ref"]]
        calls = calls_per_month(expression)
        called = found["Target"]["Arn"]
        function = called.get("Fn::GetAtt", [""])[0] if isinstance(called, Mapping) else ""
        if function in handlers:
            scheduled[handlers[function]] = scheduled.get(handlers[function], 0.0) + calls
        if function not in handlers or handlers[function] in _STARTS_A_PIPELINE:
            pipelines += calls
    return Facts(
        types=Counter(str(resource["Type"]) for resource in resources.values()),
        alarm_metrics=sum(_metrics(alarm) for alarm in of("AWS::CloudWatch::Alarm")),
        custom_metrics=len(_custom_metrics(of("AWS::CloudWatch::Alarm"), of("AWS::CloudWatch::Dashboard"))),
        memory_mb={
            handlers[name]: int(resources[name]["Properties"].get("MemorySize", 128)) for name in sorted(handlers)
        },
        scheduled=scheduled,
        scheduled_pipelines=pipelines,
    )


def calls_per_month(expression: str) -> float:
    """Of a schedule; ``cron`` expressions are counted by their hours and days."""
    if found := _RATE.fullmatch(expression):
        return _MONTH_MINUTES / (int(found[1]) * _MINUTES[found[2]])
    if expression.startswith("cron("):
        minutes, hours, days, _, weekdays, *_ = expression[5:-1].split()
        a_day = _choices(minutes, 60) * _choices(hours, 24)
        of_days = _choices(weekdays, 7) / 7 if weekdays not in "*?" else _choices(days, 30.4) / 30.4
        return a_day * of_days * 730 / 24
    raise CostError(f"the schedule {expression!r} is neither a rate nor a cron expression")


def _choices(field: str, every: float) -> float:
    if field in "*?":
        return every
    if "/" in field:
        return every / int(field.partition("/")[2])
    return sum(_days(*part.split("-")) for part in field.split(","))


def _days(first: str, last: str = "") -> int:
    """Of a range of a cron expression; weekdays may have names."""
    low, high = (_WEEKDAYS.index(end) if end in _WEEKDAYS else int(end) for end in (first, last or first))
    return high - low + 1


def _metrics(alarm: ChargedProperties) -> int:
    """An alarm on metric math is charged for each metric in it (CloudWatch pricing, alarms)."""
    return sum("MetricStat" in query for query in alarm.get("Metrics", [])) or 1


def _custom_metrics(alarms: list[ChargedProperties], dashboards: list[ChargedProperties]) -> set[str]:
    """Metrics outside of AWS's namespaces that are watched; functions and jobs publish no others."""
    found = {
        alarm["MetricName"] for alarm in alarms if not str(alarm.get("Namespace", "AWS/")).startswith(("AWS/", "/aws/"))
    }
    for dashboard in dashboards:
        body = dashboard["DashboardBody"]
        text = str(body.get("Fn::Sub", "") if isinstance(body, Mapping) else body)
        found |= {name for space, name in re.findall(r'\["([^"]+)", "([^"]+)"', text) if not space.startswith("AWS/")}
    return found


def transitions(image: CountedMachine, batch: CountedMachine, low_confidence: str) -> Transitions:
    """Counted in the definitions; ``low_confidence`` is the error that sends an image to review."""
    path = _path(image["States"], image["StartAt"])
    caught = [
        (len(path[: path.index(name) + 1]), catch["Next"])
        for name in path
        for catch in image["States"][name].get("Catch", [])
        if low_confidence in catch["ErrorEquals"]
    ]
    if len(caught) != 1:
        raise CostError(f"expected one state of the workflow to catch {low_confidence}, found {len(caught)}")
    before, following = caught[0]
    return Transitions(
        confident=_START + len(path),
        uncertain=_START + before + len(_path(image["States"], following)),
        batch=_START + len(_path(batch["States"], batch["StartAt"])),
    )


def _path(states: Mapping[str, CountedState], name: str) -> list[str]:
    """The states from one to the end, by the first branch of each choice, without retries."""
    found: list[str] = []
    while name:
        found.append(name)
        state = states[name]
        name = state["Choices"][0]["Next"] if state["Type"] == "Choice" else state.get("Next", "")
    return found
