"""Composite alarms: made of a rule, and given the state that the states of other alarms say.

Runs in the server process; moto keeps them among the other alarms. Source: CloudWatch API reference, PutCompositeAlarm,
and recorded reasons.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from moto.cloudwatch.exceptions import ValidationError
from moto.cloudwatch.models import Alarm

from local_account.base.arns import own_arn
from local_account.cloudwatch.alarms.rules import AlarmRuleError, RulePart, StateTest, read_rule

Alarms = Mapping[str, Alarm]


def check_composite(name: str, text: str, alarms: Alarms, account: str, region: str) -> None:
    """Raises moto's ValidationError for a text that is no rule, and for a rule that nothing here could evaluate."""
    try:
        rule = read_rule(text)
    except AlarmRuleError as error:
        raise ValidationError(f"AlarmRule cannot be read: {error}.") from error
    tests = list(rule.tests())
    missing = [test.alarm for test in tests if test.name not in alarms or not _is_own(test, account, region)]
    if missing:
        shown = ", ".join(dict.fromkeys(missing))
        raise ValidationError(f"Could not save the composite alarm as alarms [{shown}] in the alarm rule do not exist")
    if name in _reached(tests, alarms):
        raise ValidationError(f"Could not save the composite alarm as its alarm rule leads to alarm [{name}] itself")


def _is_own(test: StateTest, account: str, region: str) -> bool:
    return test.alarm == test.name or own_arn(test.alarm, account, region) is not None


def _reached(tests: Iterable[StateTest], alarms: Alarms) -> set[str]:
    """The names of the alarms that a rule depends on, also through others."""
    reached: set[str] = set()
    waiting = [test.name for test in tests]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            alarm = alarms.get(name)
            waiting += [test.name for test in _rule(alarm).tests()] if alarm and alarm.rule is not None else []
    return reached


def _rule(alarm: Alarm) -> RulePart:
    return read_rule(alarm.rule or "")


def refuse_while_used(names: Iterable[str], alarms: Alarms) -> None:
    """Raises moto's ValidationError for alarms that a composite alarm needs, and for several composite alarms."""
    going = set(names)
    if sum(alarms[name].rule is not None for name in going if name in alarms) > 1:
        raise ValidationError("DeleteAlarms can delete at most one composite alarm per operation.")
    for name, alarm in alarms.items():
        if alarm.rule is None or name in going:
            continue
        for used in sorted(going & {test.name for test in _rule(alarm).tests()}):
            raise ValidationError(f"Cannot delete {used} as there are composite alarm(s) depending on it.")


def children(alarm: Alarm) -> set[str]:
    """The names of the alarms that a composite alarm asks."""
    return {test.name for test in _rule(alarm).tests()}


class CompositeChange:
    """The state that a composite alarm should have."""

    def __init__(self, alarm: Alarm, alarms: Alarms) -> None:
        states = {name: each.state_value for name, each in alarms.items()}
        rule = _rule(alarm)
        self.state = "ALARM" if rule.holds(states) else "OK"
        named = dict.fromkeys(test.name for test in rule.deciding(states))
        told = [alarms[name] for name in named if name in alarms]
        self._told = sorted(told, key=lambda each: each.state_updated_timestamp, reverse=True)
        self._alarm = alarm

    @property
    def reason(self) -> str:
        """Which alarm it was, and when."""
        if self._alarm.state_value == "INSUFFICIENT_DATA" or not self._told:
            return f"{self._alarm.alarm_arn} was created and its alarm rule evaluates to {self.state}"
        last = self._told[0]
        when = last.state_updated_timestamp.strftime("%A %d %B, %Y %H:%M:%S UTC")
        return f"{last.alarm_arn} transitioned to {last.state_value} at {when}"

    @property
    def reason_data(self) -> str:
        """The alarms that made it so, the last one first."""
        return json.dumps({"triggeringAlarms": [_told(each) for each in self._told]})


def _told(alarm: Alarm) -> dict[str, object]:
    return {
        "arn": alarm.alarm_arn,
        "state": {"value": alarm.state_value, "timestamp": stamp(alarm.state_updated_timestamp)},
    }


def composite_changes(alarms: Alarms, changed: Iterable[str]) -> Iterator[tuple[Alarm, CompositeChange]]:
    """The composite alarms that should have another state, now that the named alarms have changed.

    Whoever takes one sets its state before taking the next: what it changes may change further ones.
    """
    waiting = set(changed)
    while waiting:
        asked = [each for each in list(alarms.values()) if each.rule is not None]
        due = [each for each in asked if each.name in waiting or children(each) & waiting]
        waiting = set()
        for alarm in due:
            change = CompositeChange(alarm, alarms)
            if change.state != alarm.state_value:
                waiting.add(alarm.name)
                yield alarm, change


def stamp(moment: datetime) -> str:
    """A time as CloudWatch's documents have it."""
    at = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}+0000"
