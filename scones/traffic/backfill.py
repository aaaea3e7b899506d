"""Reports about past windows that have none.

Runs on a laptop or in CodeBuild. Reads the list of reports that the monitoring job keeps, and has the monitoring
pipeline write what is missing, the oldest first, one after another. Their figures do not go to CloudWatch: alarms are
about now.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from scones.errors import SconesError
from scones.runs import pipeline_runs
from scones.runs.pipeline_runs import Run
from scones.stage.connection import Connection, split_uri
from scones.traffic import captures, listed_reports
from scones.traffic.captures import TimeRange

# As many as the list of reports remembers (`monitoring.page.earlier`).
MOST = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class BackfilledReport:
    """A report that was missing."""

    window: TimeRange
    uri: str
    verdict: str

    def as_json(self) -> dict[str, str]:
        """Return it as a document; times are ISO 8601 in UTC."""
        return {
            "start": _text(self.window.start),
            "end": _text(self.window.end),
            "uri": self.uri,
            "verdict": self.verdict,
        }


def windows(chosen: TimeRange, every: timedelta) -> list[TimeRange]:
    """The whole windows of that length in a time range, the oldest first; they begin where the schedule's would.

    SconesError when there is none, or more than the list of reports holds.
    """
    if every < timedelta(hours=1):
        raise SconesError("a report is about hours, as requests are counted by the hour: --every takes 1h and more")
    first = -((_EPOCH - chosen.start) // every)
    number = (chosen.end - _EPOCH) // every - first
    if number < 1:
        raise SconesError(
            f"no whole window of {every} lies between {_text(chosen.start)} and {_text(chosen.end)}: take a longer time"
        )
    if number > MOST:
        raise SconesError(f"{number} windows of {every} are more than the list of reports holds ({MOST})")
    return [TimeRange(_EPOCH + (first + n) * every, _EPOCH + (first + n + 1) * every) for n in range(number)]


def missing(connection: Connection, wanted: list[TimeRange]) -> list[TimeRange]:
    """Those without a report."""
    known = {(datetime.fromisoformat(e["start"]), datetime.fromisoformat(e["end"])) for e in _listed(connection)}
    return [window for window in wanted if (window.start, window.end) not in known]


def fill(
    connection: Connection, wanted: list[TimeRange], show: Callable[[Run], None] | None = None
) -> Iterator[BackfilledReport]:
    """Write them one after another. Left early, it stops the execution that is under way.

    SconesError when one fails; those before it stand.
    """
    for window in wanted:
        run = captures.run_monitoring(connection, window, show, {"WhenEmpty": "report"})
        uri = pipeline_runs.processing_output(connection, run, "report")
        bucket, prefix = split_uri(uri)
        body = connection.client("s3").get_object(Bucket=bucket, Key=f"{prefix}/report.json")["Body"].read()
        yield BackfilledReport(window, uri, captures.read_report(body, uri).verdict)


def _listed(connection: Connection) -> list[dict[str, str]]:
    data = listed_reports.read(connection)
    listed: list[dict[str, str]] = json.loads(data) if data else []
    return listed


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
