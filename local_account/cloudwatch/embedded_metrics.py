"""CloudWatch's embedded metric format: metrics that a function prints as JSON lines of its log.

Runs in the server process; ``functions.functions`` passes it every line. Format and limits:
AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html. Difference from AWS: a value
is counted at the time when its line arrives, not at the line's own ``Timestamp`` (milliseconds apart).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MARK = '"_aws"'
VALUES_LIMIT = 100  # of one metric in one line


@dataclass(frozen=True)
class Value:
    """One value of one metric in one set of dimensions."""

    namespace: str
    name: str
    value: float
    unit: str
    dimensions: dict[str, str]


def embedded_values(line: str) -> list[Value]:
    """The values in a log line; none when it is no document of the format, as CloudWatch then ignores it."""
    if MARK not in line or not line.startswith("{"):
        return []
    try:
        return list(_values(json.loads(line)))
    except (ValueError, KeyError, TypeError, AttributeError):
        return []


def _values(document: dict[str, Any]) -> Iterator[Value]:
    for directive in document["_aws"]["CloudWatchMetrics"]:
        for names in directive.get("Dimensions") or [[]]:
            dimensions = {name: str(document[name]) for name in names}
            for metric in directive["Metrics"]:
                found = document[metric["Name"]]
                for value in (found if isinstance(found, list) else [found])[:VALUES_LIMIT]:
                    unit = metric.get("Unit", "None")
                    yield Value(directive["Namespace"], metric["Name"], float(value), unit, dimensions)
