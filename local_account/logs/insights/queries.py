"""Insights' queries: commands behind each other, each of which takes rows and gives rows.

Runs in the server process, in the place of moto's, which drops every command but ``fields``, ``sort`` and ``limit``.
Authority: CloudWatch Logs User Guide, CloudWatch Logs Insights language query syntax. A command that is not here is
refused by name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from local_account.logs.insights.events import Fields, Value
from local_account.logs.insights.expressions import (
    Expression,
    compiled,
    is_true,
    number_of,
    read_expression,
    text_of,
)
from local_account.logs.insights.tokens import InsightsError, QueryReader, unquoted

POINTER = "@ptr"
DEFAULT_LIMIT = 10_000
_SHOWN = ("@timestamp", "@message")

Command = Callable[[list[Fields]], list[Fields]]


@dataclass(frozen=True)
class InsightsQuery:
    """What a query does, and the columns that it shows."""

    commands: tuple[Command, ...]
    columns: tuple[str, ...]
    aggregates: bool

    def run(self, events: Iterable[Fields]) -> list[dict[str, str]]:
        """Rows of text by column, the newest event first unless the query sorts."""
        rows = sorted(events, key=lambda event: text_of(event["@timestamp"]), reverse=True)
        for command in self.commands:
            rows = command(rows)
        shown = self.columns if self.aggregates else (*self.columns, POINTER)
        return [{name: text_of(row[name]) for name in shown if row.get(name) is not None} for row in rows]


def parse_query(text: str) -> InsightsQuery:
    """Raises InsightsError."""
    reader, parser = QueryReader(text), _Parser()
    parser.read_command(reader)
    while reader.next.kind != "end":
        reader.expect("mark", "|")
        parser.read_command(reader)
    if not parser.limited:
        parser.commands.append(lambda rows: rows[:DEFAULT_LIMIT])
    return InsightsQuery(tuple(parser.commands), tuple(parser.columns or _SHOWN), parser.aggregates)


class _Parser:
    """Gathers the commands of a query."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.columns: list[str] = []
        self.limited = self.aggregates = False

    def read_command(self, reader: QueryReader) -> None:
        """The command that comes."""
        word = reader.expect("name").text
        commands = {
            "dedup": self._dedup, "display": self._display, "fields": self._fields, "filter": self._filter,
            "limit": self._limit, "parse": self._parse, "sort": self._sort, "stats": self._stats,
        }  # fmt: skip
        if word.lower() not in commands:
            raise InsightsError(f"The stand-in account does not run the command {word}: it runs {', '.join(commands)}")
        commands[word.lower()](reader)

    def _fields(self, reader: QueryReader) -> None:
        made = _named_list(reader)
        self.columns += [name for name, _ in made if name not in self.columns]
        self.commands.append(lambda rows: [{**row, **{name: value(row) for name, value in made}} for row in rows])

    def _display(self, reader: QueryReader) -> None:
        self.columns = []
        self._fields(reader)

    def _filter(self, reader: QueryReader) -> None:
        holds = read_expression(reader)
        self.commands.append(lambda rows: [row for row in rows if is_true(holds(row))])

    def _limit(self, reader: QueryReader) -> None:
        most = int(float(reader.expect("number").text))
        self.limited = True
        self.commands.append(lambda rows: rows[:most])

    def _sort(self, reader: QueryReader) -> None:
        keys: list[tuple[Expression, bool]] = []
        while not keys or reader.took(","):
            key = read_expression(reader)
            ascending = reader.took("asc")
            if not ascending:
                reader.took("desc")
            keys.append((key, not ascending))
        self.commands.append(lambda rows: _sorted(rows, keys))

    def _dedup(self, reader: QueryReader) -> None:
        made = _named_list(reader)

        def first_of_each(rows: list[Fields]) -> list[Fields]:
            kept: dict[tuple[Value, ...], Fields] = {}
            for row in rows:
                kept.setdefault(tuple(value(row) for _, value in made), row)
            return list(kept.values())

        self.commands.append(first_of_each)

    def _parse(self, reader: QueryReader) -> None:
        source = read_expression(reader) if reader.next.kind == "name" else lambda row: row.get("@message")
        token = reader.take()
        if token.kind == "regex":
            pattern = compiled(token.text)
            names = list(pattern.groupindex)
            if not names:
                raise InsightsError("parse with a regular expression needs groups with names: (?<name>...)")
        elif token.kind == "text":
            pattern, names = _of_wildcards(unquoted(token.text)), []
            if not reader.took("as"):
                raise InsightsError("parse with wildcards needs as and a name for each *")
            while not names or reader.took(","):
                names.append(reader.expect("name").text)
            if len(names) != pattern.groups:
                raise InsightsError(f"{token.text} has {pattern.groups} wildcards, and there are {len(names)} names")
        else:
            raise InsightsError(f"expected a text or a regular expression to parse by, got {token.text}")

        def found(row: Fields) -> Fields:
            match = pattern.search(text_of(source(row)))
            groups = pattern.groupindex or {name: number for number, name in enumerate(names, 1)}
            return {**row, **{name: match[number] for name, number in groups.items()}} if match else row

        self.columns += [name for name in names if self.columns and name not in self.columns]
        self.commands.append(lambda rows: [found(row) for row in rows])

    def _stats(self, reader: QueryReader) -> None:
        made: list[tuple[str, Aggregate]] = []
        while not made or reader.took(","):
            begin = reader.next
            aggregate = _read_aggregate(reader)
            name = reader.since(begin)
            made.append((_alias(reader) or name, aggregate))
        by = _named_list(reader) if reader.took("by") else []
        self.columns = [name for name, _ in (*by, *made)]
        self.aggregates = True
        self.commands.append(lambda rows: _grouped(rows, by, made))


def _named_list(reader: QueryReader) -> list[tuple[str, Expression]]:
    """Expressions with their names, which are their own words where there is no ``as``."""
    found: list[tuple[str, Expression]] = []
    while not found or reader.took(","):
        begin = reader.next
        value = read_expression(reader)
        words = reader.since(begin)
        found.append((_alias(reader) or (unquoted(words) if words[0] == "`" else words), value))
    return found


def _alias(reader: QueryReader) -> str:
    if not reader.took("as"):
        return ""
    word = reader.expect("name").text
    return unquoted(word) if word[0] == "`" else word


def _of_wildcards(text: str) -> re.Pattern[str]:
    """What stands in the place of each * of a text; the last one reaches to the end of it."""
    parts = text.split("*")
    body = "(.*?)".join(map(re.escape, parts))
    return re.compile(f"{body}$" if text.endswith("*") else body, re.DOTALL)


def _sorted(rows: list[Fields], keys: Sequence[tuple[Expression, bool]]) -> list[Fields]:
    for key, reverse in reversed(keys):
        there = [row for row in rows if key(row) is not None]
        missing = [row for row in rows if key(row) is None]
        rows = [*sorted(there, key=lambda row: _order(key(row)), reverse=reverse), *missing]
    return rows


def _order(value: Value) -> tuple[int, float, str]:
    number = number_of(value)
    return (0, number, "") if number is not None else (1, 0.0, text_of(value))


Aggregate = Callable[[Sequence[Fields]], Value]


def _grouped(
    rows: list[Fields], by: Sequence[tuple[str, Expression]], made: Sequence[tuple[str, Aggregate]]
) -> list[Fields]:
    groups: dict[tuple[Value, ...], list[Fields]] = {} if by else {(): rows}
    for row in rows if by else []:
        groups.setdefault(tuple(value(row) for _, value in by), []).append(row)
    return [
        {
            **{name: value for (name, _), value in zip(by, key, strict=True)},
            **{name: aggregate(members) for name, aggregate in made},
        }
        for key, members in groups.items()
    ]


def _read_aggregate(reader: QueryReader) -> Aggregate:
    name = reader.expect("name").text.lower()
    if name not in {"count", "count_distinct", "pct", "percentile", *_NUMBERS, *_ORDERED}:
        known = ", ".join(["count", "count_distinct", "pct", *_NUMBERS, *_ORDERED])
        raise InsightsError(f"The stand-in account does not know the statistic {name}: it knows {known}")
    reader.expect("mark", "(")
    if name == "count" and (reader.took("*", ")") or reader.took(")")):
        return lambda rows: float(len(rows))
    value = read_expression(reader)
    share = 0.0
    if name in {"pct", "percentile"}:
        reader.expect("mark", ",")
        share = float(reader.expect("number").text)
        if not 0.0 <= share <= 100.0:
            raise InsightsError(f"a percentile is from 0 to 100, got {share:g}")
    reader.expect("mark", ")")
    if name in {"count", "count_distinct"}:
        counted: Callable[[list[Value]], int] = len if name == "count" else lambda found: len(set(found))
        return lambda rows: float(counted([found for row in rows if (found := value(row)) is not None]))
    if name in _ORDERED:
        last = name == "latest"
        return lambda rows: _by_time([row for row in rows if value(row) is not None], value, last=last)

    def percentile(numbers: Sequence[float]) -> float:
        return _percentile(numbers, share)

    statistic = _NUMBERS.get(name, percentile)

    def of_numbers(rows: Sequence[Fields]) -> Value:
        numbers = [number for row in rows if (number := number_of(value(row))) is not None]
        return statistic(numbers) if numbers else None

    return of_numbers


def _by_time(rows: Sequence[Fields], value: Expression, *, last: bool) -> Value:
    if not rows:
        return None
    chosen = (max if last else min)(rows, key=lambda row: text_of(row.get("@timestamp")))
    return value(chosen)


def _percentile(numbers: Sequence[float], share: float) -> float:
    """Between the two nearest, as much as it lies between them."""
    ordered = sorted(numbers)
    place = share / 100 * (len(ordered) - 1)
    low, high = math.floor(place), math.ceil(place)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _deviation(numbers: Sequence[float]) -> float:
    mean = sum(numbers) / len(numbers)
    return math.sqrt(sum((number - mean) ** 2 for number in numbers) / len(numbers))


_NUMBERS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "avg": lambda numbers: sum(numbers) / len(numbers),
    "max": max,
    "median": lambda numbers: _percentile(numbers, 50.0),
    "min": min,
    "stddev": _deviation,
    "sum": sum,
}
_ORDERED = ("earliest", "latest")
