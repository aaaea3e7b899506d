"""The page of live traffic: where it stands and what it reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from console.account import ConsoleAccount
from console.drawing.lines import ChartMark, LineChart
from console.pages.live import dashboard
from console.web.form import FormFields
from console.web.page import ConsolePage, Panel
from console.web.remembered import Remembered
from reporting.documents.baseline import BaselineDocument
from scones.errors import SconesError
from scones.plain_text import brief
from scones.serving_versions import deployments, live_version
from scones.stage.connection import Connection

RANGES = {
    "15m": ("15 minutes", timedelta(minutes=15)),
    "1h": ("an hour", timedelta(hours=1)),
    "6h": ("6 hours", timedelta(hours=6)),
    "24h": ("a day", timedelta(hours=24)),
    "7d": ("a week", timedelta(days=7)),
}
_CONFIDENCE = "Confidence"
_QUANTILES = (10, 50, 90)
_baselines: Remembered[BaselineDocument] = Remembered()


@dataclass(frozen=True)
class LiveView:
    """The charts, and what they are of."""

    charts: list[LineChart]
    chosen: str
    ranges: dict[str, tuple[str, timedelta]]
    period_s: int
    local: bool


@dataclass(frozen=True)
class AlarmRow:
    """An alarm of the stage."""

    name: str
    state: str
    reason: str
    since: datetime


@dataclass(frozen=True)
class AlarmsView:
    """Every alarm, those that are on first."""

    rows: list[AlarmRow]


@dataclass(frozen=True)
class BaselineView:
    """Quantiles of the confidence: of the baseline, and of the traffic of the chosen time."""

    rows: list[tuple[str, float, float | None]]
    below: tuple[float, float | None]
    origin: str


def live_page(account: ConsoleAccount) -> ConsolePage:
    """Make the page."""
    return ConsolePage(
        "live",
        "Live traffic",
        "The metrics of the stack's own dashboard; times are UTC.",
        lambda query: _panels(account, query),
        every_s=2.0,
    )


def _panels(account: ConsoleAccount, query: FormFields) -> Sequence[Panel]:
    chosen = query.text("range", "1h")
    if chosen not in RANGES:
        raise SconesError(f"expected a range of {', '.join(RANGES)}, got {chosen!r}")
    return [
        Panel("charts", "Over time", lambda c: read_charts(c, account, chosen), "live_charts", live=True, wide=True),
        Panel("baseline", "Against the baseline", lambda c: read_baseline(c, chosen), "live_baseline"),
        Panel("alarms", "Alarms", read_alarms, "live_alarms"),
    ]


def read_charts(connection: Connection, account: ConsoleAccount, chosen: str) -> LiveView:
    """Read the dashboard's definition and all its values."""
    window = dashboard.window_of(RANGES[chosen][1], connection.now())
    drawn = dashboard.charts(connection, dashboard.widgets(connection), window, _marks(connection))
    return LiveView(drawn, chosen, RANGES, window.period_s, account.local)


def _marks(connection: Connection) -> list[ChartMark]:
    """Deployments, by the time at which they began."""
    records = deployments.state(connection).records
    return [
        ChartMark(datetime.fromisoformat(record["started"]).timestamp(), f"v{record['version']}")
        for record in records[-50:]
        if record["outcome"] in deployments.FINE
    ]


def read_alarms(connection: Connection) -> AlarmsView:
    """Read the alarms of the stage."""
    prefix = f"{connection.names.prefix}-"
    pages = connection.client("cloudwatch").get_paginator("describe_alarms").paginate(AlarmNamePrefix=prefix)
    rows = [
        AlarmRow(
            str(alarm["AlarmName"]).removeprefix(prefix),
            str(alarm["StateValue"]),
            brief(str(alarm.get("StateReason", ""))),
            alarm["StateUpdatedTimestamp"],
        )
        for page in pages
        for alarm in page["MetricAlarms"]
    ]
    return AlarmsView(sorted(rows, key=lambda row: (row.state != "ALARM", row.name)))


def read_baseline(connection: Connection, chosen: str) -> BaselineView:
    """Hold the confidence of the chosen time against the baseline's."""
    document = _baseline(connection)
    length, now = RANGES[chosen][1], connection.now()
    window = dashboard.TimeWindow(now - length, now, int(length.total_seconds()))
    shown = [w for w in dashboard.widgets(connection) if w.title == _CONFIDENCE or _tells_the_share(w)]
    traffic = {s.label: s.last for chart in dashboard.charts(connection, shown, window, []) for s in chart.series}
    below = next((traffic.get(m.label) for w in shown if _tells_the_share(w) for m in dashboard.watched(w)), None)
    values = sorted(document.records.confidence)
    rows = [(f"p{q}", quantile(values, q / 100), traffic.get(f"p{q}")) for q in _QUANTILES] if values else []
    return BaselineView(rows, (document.share_below_threshold, below), document.origin)


def _tells_the_share(widget: dashboard.WidgetProperties) -> bool:
    """Of predictions below the threshold, as they were made: reports come later."""
    return "below the threshold" in widget.title and "Reports" not in widget.title


def _baseline(connection: Connection) -> BaselineDocument:
    version = live_version.live(connection)
    if version is None:
        raise SconesError("nothing serves: approve a version in the registry")
    return _baselines.get(version.arn, lambda: live_version.kept_baseline(connection, version).document)


def quantile(values: Sequence[float], share: float) -> float:
    """Of sorted values, the one at a share of them."""
    return values[min(len(values) - 1, int(share * len(values)))]
