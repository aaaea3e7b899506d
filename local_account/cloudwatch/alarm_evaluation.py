"""When a CloudWatch alarm is in alarm: statistics of periods, missing data, M out of N.

Runs in the server process, on values; ``cloudwatch`` reads the data and acts on the verdict. Follows
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html. Differs from AWS: the running
minute counts as soon as it breaches an upper threshold, AWS waits for its end.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
PHRASES = {
    "GreaterThanOrEqualToThreshold": "greater than or equal to",
    "GreaterThanThreshold": "greater than",
    "LessThanThreshold": "less than",
    "LessThanOrEqualToThreshold": "less than or equal to",
}
# AWS looks at more periods than it needs ("evaluation range"), and at most at these many more when data is missing.
EXTRA_PERIODS = 2
GRANULARITY_S = 60


@dataclass(frozen=True)
class Sample:
    """Some values of a metric at one time: one value, or the statistics of many."""

    at: datetime
    count: float
    total: float
    low: float
    high: float


@dataclass(frozen=True)
class AlarmRule:
    """What an alarm compares; ``statistic`` is Average, Sum, Minimum, Maximum, SampleCount or a percentile (p99)."""

    comparison: str
    threshold: float
    statistic: str
    period_s: int
    evaluation_periods: int
    datapoints_to_alarm: int
    missing: str = "missing"
    m_of_n: bool = False
    """Whether ``datapoints_to_alarm`` was said, which is then told in reasons, too."""


@dataclass(frozen=True)
class Point:
    """The statistic of one period."""

    start: datetime
    value: float


@dataclass(frozen=True)
class AlarmVerdict:
    """The state an alarm should have (None: the one it has); ``points`` are those looked at, oldest first."""

    state: str | None
    points: Sequence[Point]
    reason: str


def periods(rule: AlarmRule, now: datetime) -> list[tuple[datetime, datetime]]:
    """The periods of the evaluation range, newest first; they end at a whole minute (or period, when shorter)."""
    step = min(rule.period_s, GRANULARITY_S)
    end_s = math.floor(now.timestamp() / step) * step
    if rule.comparison.startswith("Greater"):
        end_s += step  # the running minute, too: more data cannot take a maximum or a sum back
    end = datetime.fromtimestamp(end_s, now.tzinfo)
    length = timedelta(seconds=rule.period_s)
    return [(end - length * (i + 1), end - length * i) for i in range(rule.evaluation_periods + EXTRA_PERIODS)]


def _sum(samples: Sequence[Sample]) -> float:
    return math.fsum(s.total for s in samples)


def _count(samples: Sequence[Sample]) -> float:
    return math.fsum(s.count for s in samples)


_STATISTICS: dict[str, Callable[[Sequence[Sample]], float]] = {
    "SampleCount": _count,
    "Sum": _sum,
    "Average": lambda samples: _sum(samples) / _count(samples),
    "Minimum": lambda samples: min(s.low for s in samples),
    "Maximum": lambda samples: max(s.high for s in samples),
}


def statistic_of(samples: Sequence[Sample], statistic: str) -> float | None:
    """A statistic over samples, None when there are none."""
    if not samples or _count(samples) == 0:
        return None
    if statistic in _STATISTICS:
        return _STATISTICS[statistic](samples)
    return _percentile(samples, float(statistic.removeprefix("p")))


def _percentile(samples: Sequence[Sample], percent: float) -> float | None:
    """Nearest rank; statistic sets have one only where all their values are equal, as on AWS."""
    if any(s.count != 1 and s.low != s.high for s in samples):
        return None
    ordered = sorted(samples, key=lambda s: s.low)
    wanted = max(1.0, math.ceil(percent / 100 * sum(s.count for s in ordered)))
    passed = 0.0
    for sample in ordered:
        passed += sample.count
        if passed >= wanted:
            return sample.low
    return ordered[-1].low


def evaluate(rule: AlarmRule, samples: Iterable[Sample], now: datetime) -> AlarmVerdict:
    """The verdict on an alarm on one metric at ``now``."""
    return compare(rule, statistics(rule, samples, now), now)


def statistics(rule: AlarmRule, samples: Iterable[Sample], now: datetime) -> list[float | None]:
    """The statistic of each period that the rule looks at, newest first."""
    known = list(samples)
    return [
        statistic_of([s for s in known if start <= s.at < end], rule.statistic) for start, end in periods(rule, now)
    ]


def compare(rule: AlarmRule, values: Sequence[float | None], now: datetime) -> AlarmVerdict:
    """The verdict on an alarm on these values of its periods, newest first."""
    points = [
        Point(start, value) for (start, _), value in zip(periods(rule, now), values, strict=True) if value is not None
    ][: rule.evaluation_periods]
    missing = rule.evaluation_periods - len(points)
    breaching = sum(COMPARISONS[rule.comparison](point.value, rule.threshold) for point in points)
    state = _state(rule, breaching, len(points), missing)
    return AlarmVerdict(state, points[::-1], _reason(rule, points, breaching, state))


def _state(rule: AlarmRule, breaching: int, present: int, missing: int) -> str | None:
    needed = rule.datapoints_to_alarm
    if breaching >= needed:
        return "ALARM"
    possible = missing > 0 and breaching + missing >= needed  # it would alarm if all that is missing breached
    if rule.missing == "breaching":
        return "ALARM" if possible else "OK"
    if rule.missing == "ignore":
        return None if possible else "OK"
    if rule.missing == "missing" and missing:
        if present == 0:
            return "INSUFFICIENT_DATA"
        return "ALARM" if possible and breaching == present else "OK"
    return "OK"


def _reason(rule: AlarmRule, points: Sequence[Point], breaching: int, state: str | None) -> str:
    if not points:
        count = rule.evaluation_periods
        return (
            f"Insufficient Data: {count} datapoint{'s were' if count > 1 else ' was'} unknown."
            if rule.missing == "missing"
            else f"Threshold Crossed: no datapoints were received for {count} period{'s' * (count > 1)} and "
            f"{count} missing datapoint{'s were' if count > 1 else ' was'} treated as "
            f"[{'Breaching' if rule.missing == 'breaching' else 'NonBreaching'}]."
        )
    alarm = state == "ALARM"
    if not rule.m_of_n:
        points = [p for p in points if COMPARISONS[rule.comparison](p.value, rule.threshold) == alarm] or points
        number = len(points)
        subject, least = f"{number} datapoint{'s' * (number > 1)}", ""
    else:
        number = breaching if alarm else len(points) - breaching
        subject, least = f"{number} out of the last {len(points)} datapoints", _least(rule, alarm)
    shown = ", ".join(f"{p.value} ({p.start.strftime('%d/%m/%y %H:%M:%S')})" for p in points)
    verb = ("was" if number == 1 else "were") + ("" if alarm else " not")
    return (
        f"Threshold Crossed: {subject} [{shown}] {verb} {PHRASES[rule.comparison]} the threshold ({rule.threshold})"
        f"{least}."
    )


def _least(rule: AlarmRule, alarm: bool) -> str:
    number = rule.datapoints_to_alarm
    transition = "OK -> ALARM" if alarm else "ALARM -> OK"
    return f" (minimum {number} datapoint{'s' * (number > 1)} for {transition} transition)"
