"""The reports' page: where it stands, and what it changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.routing import Route

from console.account import ConsoleAccount
from console.web.documents import document, served
from console.web.form import FormFields
from console.web.page import ConsolePage, PageAction, Panel
from scones.errors import SconesError
from scones.stage.connection import Connection, object_exists, split_uri
from scones.traffic import captures, report_list
from scones.traffic.report_list import ReportEntry

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import PipelineExecutionSummaryTypeDef

_MOST = 50
_MOST_IMAGES = 500
RANGES = {"1h": "the last hour", "24h": "the last 24 hours", "7d": "the last 7 days"}


@dataclass(frozen=True)
class ReportsView:
    """The reports, the newest first, and the one that is shown."""

    entries: list[ReportEntry]
    more: int
    chosen: str
    runs: Sequence[PipelineExecutionSummaryTypeDef]
    """Of the monitoring pipeline, the newest first."""


@dataclass(frozen=True)
class ShownReport:
    """The report inside the page; "" while there is none. ``there``: whether its page can be had."""

    name: str
    there: bool


@dataclass(frozen=True)
class TrafficView:
    """What traffic can be simulated with."""

    local: bool
    corruptions: list[str]
    ranges: dict[str, str]


class _AtOnce:
    """Simulated traffic of an hour, sent now."""

    step = timedelta(hours=1)

    def now(self) -> datetime:
        """Return this machine's time."""
        return datetime.now(UTC)

    def pass_until(self, moment: datetime) -> None:
        """Wait for nothing."""


def reports_page(account: ConsoleAccount) -> ConsolePage:
    """Make the page."""
    return ConsolePage(
        "reports",
        "Reports",
        "What the captured traffic looked like, held against the version's baseline.",
        lambda query: _panels(account, query),
        {
            "now": PageAction(
                lambda form: f"Write a report about {RANGES.get(form.text('since'), 'a time')}.", report_now
            ),
            "simulate": PageAction(
                lambda form: f"Send {form.text('images')} images to the endpoint.", _simulator(account)
            ),
        },
        [Route("/reports/page/{name}", served(account, _page, document))],
    )


def _panels(account: ConsoleAccount, query: FormFields) -> Sequence[Panel]:
    name = query.text("report")
    return [
        Panel("list", "Reports", lambda c: read_reports(c, name), "reports_list", live=True),
        Panel(
            "new",
            "A new one",
            lambda _c: TrafficView(account.local, _corruptions(), RANGES),
            "reports_new",
        ),
        Panel("report", "The report", lambda c: read_report(c, name), "reports_report", wide=True),
    ]


def read_reports(connection: Connection, name: str) -> ReportsView:
    """Read the list, and how the newest runs of the monitoring pipeline stand."""
    entries = report_list.reports(connection)
    runs = connection.client("sagemaker").list_pipeline_executions(
        PipelineName=connection.names.monitoring_pipeline, SortBy="CreationTime", SortOrder="Descending", MaxResults=3
    )["PipelineExecutionSummaries"]
    known = {entry.name for entry in entries}
    if name and name not in known:
        raise SconesError(f"there is no report {name!r}")
    chosen = name or (entries[0].name if entries else "")
    return ReportsView(entries[:_MOST], max(0, len(entries) - _MOST), chosen, runs)


def read_report(connection: Connection, name: str) -> ShownReport:
    """The report to show: the job lists it before its files are in their place."""
    chosen = read_reports(connection, name).chosen
    bucket, prefix = split_uri(connection.names.reports_uri)
    key = f"{prefix}/{chosen}/report.html"
    return ShownReport(chosen, bool(chosen) and object_exists(connection.client("s3"), bucket, key))


def report_now(connection: Connection, form: FormFields) -> str:
    """Start the monitoring pipeline; the list shows the report when it is written."""
    since = form.text("since", "24h")
    if since not in RANGES:
        raise SconesError(f"expected one of {', '.join(RANGES)}, got {since!r}")
    chosen = captures.window(since, None, connection.now())
    captures.start_monitoring(connection, chosen, {"WhenEmpty": "refuse"})
    return f"A report about {RANGES[since]} is being written; it appears in the list by itself."


def _corruptions() -> list[str]:
    from scones.traffic.corruptions import CORRUPTIONS  # with Pillow, which no other page needs

    return sorted(CORRUPTIONS)


def _simulator(account: ConsoleAccount) -> Callable[[Connection, FormFields], str]:
    def send(connection: Connection, form: FormFields) -> str:
        from scones.traffic import simulate  # with Pillow, which no other page needs

        if not account.local:
            raise SconesError("traffic is simulated in the stand-in account only; on AWS: `scones monitor simulate`")
        images = form.number("images", 1, _MOST_IMAGES, 100)
        corrupt = {form.text("corruption"): form.number("share", 0, 1, 1.0)} if form.text("corruption") else {}
        seed = int(datetime.now(UTC).timestamp())
        plan = simulate.TrafficPlan(timedelta(hours=1), int(images), corrupt=corrupt, seed=seed)
        *_, sent = simulate.send(connection, plan, simulate.load(connection, plan), _AtOnce())
        worse = ", ".join(f"{number} {name}" for name, number in sorted(sent.corrupted.items()))
        return f"{sent.answered} images were answered{', ' + worse if worse else ''}."

    return send


def _page(connection: Connection, request: Request) -> bytes:
    return report_list.page(connection, str(request.path_params["name"]))
