"""CloudWatch's embedded metric format: metrics that a function prints as JSON lines of its log.

Runs in the server process; ``functions.functions`` passes it every line. Format and limits:
AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html. Difference from AWS: a value
is counted at the time when its line arrives, not at the line's own ``Timestamp`` (milliseconds apart).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypedDict

MARK = '"_aws"'
VALUES_LIMIT = 100  # of one metric in one line


@dataclass(frozen=True)
class EmbeddedValue:
    """One value of one metric in one set of dimensions."""

    namespace: str
    name: str
    value: float
    unit: str
    dimensions: dict[str, str]


def embedded_values(line: str) -> list[EmbeddedValue]:
    """The values in a log line; none when it is no document of the format, as CloudWatch then ignores it."""
    if MARK not in line or not line.startswith("{"):
        return []
    try:
        document = json.loads(line)
        return list(_values(document, document["_aws"]["CloudWatchMetrics"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


class _Metric(TypedDict, total=False):
    Name: str
    Unit: str


class _Directive(TypedDict, total=False):
    Namespace: str
    Dimensions: list[list[str]]
    Metrics: list[_Metric]


def _values(document: Mapping[str, float | list[float]], directives: list[_Directive]) -> Iterator[EmbeddedValue]:
    for directive in directives:
        for names in directive.get("Dimensions") or [[]]:
            dimensions = {name: str(document[name]) for name in names}
            for metric in directive["Metrics"]:
                for value in _numbers(document[metric["Name"]]):
                    unit = metric.get("Unit", "None")
                    yield EmbeddedValue(directive["Namespace"], metric["Name"], value, unit, dimensions)


def _numbers(found: float | list[float]) -> list[float]:
    """The values of a member; CloudWatch takes no NaN. Raises TypeError for what is no number and no list of them."""
    numbers = [float(value) for value in (found if isinstance(found, list) else [found])[:VALUES_LIMIT]]
    return [number for number in numbers if not math.isnan(number)]
