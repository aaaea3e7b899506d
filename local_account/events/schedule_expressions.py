"""``rate(...)``, ``cron(...)`` and ``at(...)`` as EventBridge and its Scheduler write them.

Runs in the server process. Its cron has six fields, Sunday is 1, and ``L``, ``W``, ``#`` and ``?`` have a meaning; the
cron packages on PyPI read other dialects (https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html).
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_UNITS_S = {"minute": 60, "hour": 3600, "day": 86_400}
_MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
_DAYS = {name: number for number, name in enumerate(("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"), start=1)}
_LAST_YEAR = 2199


class ScheduleExpressionError(ValueError):
    """The schedule expression or its time zone is not valid."""


@dataclass(frozen=True)
class Timing:
    """``next_after(moment)`` is the first time after ``moment``, None when there is none; all times are in UTC."""

    next_after: Callable[[datetime], datetime | None]
    once: bool = False


def parse(expression: str, *, zone: str = "UTC", start: datetime, allow_at: bool = True) -> Timing:
    """When an expression falls due; ``start`` is the moment from which ``rate`` counts.

    Rules have no ``at``, and ask ``rate`` for the grammatical number, which schedules do not. Raises
    ScheduleExpressionError.
    """
    try:
        tz = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ScheduleExpressionError(f"Invalid ScheduleExpressionTimezone {zone}.") from error
    found = re.fullmatch(r"(rate|cron|at)\((.+)\)", expression)
    if found is None or (found[1] == "at" and not allow_at):
        raise ScheduleExpressionError(f"Invalid Schedule Expression {expression}.")
    kind, argument = found[1], found[2]
    if kind == "rate":
        return _rate(expression, argument, start, numbered=not allow_at)
    if kind == "at":
        return _at(expression, argument, tz)
    return _cron(expression, argument, tz)


def _rate(expression: str, argument: str, start: datetime, *, numbered: bool) -> Timing:
    found = re.fullmatch(r"(\d+) (minute|hour|day)(s?)", argument)
    if found is None or int(found[1]) == 0 or (numbered and (int(found[1]) == 1) == bool(found[3])):
        raise ScheduleExpressionError(f"Invalid Schedule Expression {expression}.")
    step_s = int(found[1]) * _UNITS_S[found[2]]

    def next_after(moment: datetime) -> datetime:
        passed = max(0, int((moment - start).total_seconds() // step_s) + 1)
        return start + timedelta(seconds=max(1, passed) * step_s)

    return Timing(next_after)


def _at(expression: str, argument: str, tz: ZoneInfo) -> Timing:
    try:
        due = datetime.strptime(argument, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=tz).astimezone(UTC)
    except ValueError as error:
        raise ScheduleExpressionError(f"Invalid Schedule Expression {expression}.") from error
    return Timing(lambda moment: due if due > moment else None, once=True)


def _cron(expression: str, argument: str, tz: ZoneInfo) -> Timing:
    fields = argument.split()
    if len(fields) != 6 or (fields[2] == "?") == (fields[4] == "?"):
        raise ScheduleExpressionError(f"Invalid Schedule Expression {expression}.")
    try:
        minutes = _numbers(fields[0], 0, 59)
        hours = _numbers(fields[1], 0, 23)
        months = set(_numbers(fields[3], 1, 12, _MONTHS))
        years = set(_numbers(fields[5], 1970, _LAST_YEAR))
        on_day = _weekday_test(fields[4]) if fields[2] == "?" else _month_day_test(fields[2])
    except ValueError as error:
        raise ScheduleExpressionError(f"Invalid Schedule Expression {expression}.") from error

    def days(first: date) -> Iterator[date]:
        for year in range(first.year, max(years, default=0) + 1):
            for month in range(1, 13):
                if year not in years or month not in months or (year, month) < (first.year, first.month):
                    continue
                for day in range(1, calendar.monthrange(year, month)[1] + 1):
                    candidate = date(year, month, day)
                    if candidate >= first and on_day(candidate):
                        yield candidate

    def next_after(moment: datetime) -> datetime | None:
        for day in days(moment.astimezone(tz).date()):
            for hour in hours:
                for minute in minutes:
                    local = datetime(day.year, day.month, day.day, hour, minute, tzinfo=tz)
                    due = local.astimezone(UTC)
                    exists = due.astimezone(tz).replace(tzinfo=None) == local.replace(tzinfo=None)
                    if due > moment and exists:  # the hour that daylight saving skips does not fire
                        return due
        return None

    return Timing(next_after)


def _numbers(field: str, low: int, high: int, names: dict[str, int] | None = None) -> list[int]:
    """The values a field of ``* , - /`` stands for, in order; raises ValueError."""
    found: set[int] = set()
    for part in field.split(","):
        span, slash, step = part.partition("/")
        if span == "*":
            first, last = low, high
        elif "-" in span:
            first, last = (_number(end, names) for end in span.split("-"))
        else:
            first = _number(span, names)
            last = high if slash else first
        every = int(step) if slash else 1
        if not (low <= first <= last <= high and every > 0):
            raise ValueError(field)
        found.update(range(first, last + 1, every))
    return sorted(found)


def _number(text: str, names: dict[str, int] | None) -> int:
    return names[text.upper()] if names and text.upper() in names else int(text)


def _month_length(day: date) -> int:
    return calendar.monthrange(day.year, day.month)[1]


def _month_day_test(field: str) -> Callable[[date], bool]:
    if field == "L":
        return lambda day: day.day == _month_length(day)
    if field == "LW":
        return lambda day: day == _nearest_weekday(day, _month_length(day))
    if found := re.fullmatch(r"(\d+)W", field):
        wanted = int(found[1])
        if not 1 <= wanted <= 31:
            raise ValueError(field)
        return lambda day: wanted <= _month_length(day) and day == _nearest_weekday(day, wanted)
    values = set(_numbers(field, 1, 31))
    return lambda day: day.day in values


def _nearest_weekday(day: date, wanted: int) -> date:
    """The weekday next to a day of the month, without leaving the month."""
    target = day.replace(day=wanted)
    if target.weekday() == calendar.SATURDAY:
        return target - timedelta(days=1) if wanted > 1 else target + timedelta(days=2)
    if target.weekday() == calendar.SUNDAY:
        return target + timedelta(days=1) if wanted < _month_length(day) else target - timedelta(days=2)
    return target


def _weekday_test(field: str) -> Callable[[date], bool]:
    def number(day: date) -> int:
        return (day.weekday() + 1) % 7 + 1

    if found := re.fullmatch(r"(\w+)#([1-5])", field):
        wanted, week = _number(found[1], _DAYS), int(found[2])
        return lambda day: number(day) == wanted and (day.day - 1) // 7 + 1 == week
    if field == "L":
        return lambda day: number(day) == 7
    if found := re.fullmatch(r"(\w+)L", field):
        wanted = _number(found[1], _DAYS)
        return lambda day: number(day) == wanted and day.day + 7 > _month_length(day)
    values = set(_numbers(field, 1, 7, _DAYS))
    return lambda day: number(day) in values
