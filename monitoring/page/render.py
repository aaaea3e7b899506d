"""The page ``report.html``, and the report in one sentence.

Runs in the monitoring container. Values in, text out. `reporting.page` escapes whatever comes from captured traffic;
images are decoded and encoded anew, never passed through.
"""

from __future__ import annotations

from collections.abc import Mapping

from monitoring.page.sections import SECTIONS, ReportView, moved
from monitoring.page.versions import others_in_words
from reporting.documents.report import Drift, Report
from reporting.documents.traffic import PHOTOGRAPHS
from reporting.page import Drawn, Link, Page, render
from reporting.wording import between, clock, count, percent

_MOVED = {
    "predictions": "the predictions have moved",
    "images": "the images look different",
    "capture": "the capture is not complete",
}


def verdict(report: Report) -> str:
    """The report in one sentence, as plain text."""
    facts = _facts(report)
    if report.drift is None:
        return facts
    if not report.alarms():
        return f"{_quiet(report.drift)}: {facts}"
    said = [
        f"{_MOVED[family.family]} since {clock(family.since or '')[:-3]} UTC ({', '.join(moved(family))})"
        for family in report.alarms()
    ]
    return f"ALARM, {'; '.join(said)}: {facts}"


def _quiet(drift: Drift) -> str:
    """What can be said where no alarm is on: no more than what was judged."""
    unjudged = [family.family for family in drift.families if len(family.unjudged()) == len(family.channels)]
    if len(unjudged) == len(drift.families):
        return "Nothing could be judged yet"
    if unjudged:
        return f"Nothing that was judged has moved away from the baseline (not judged yet: {', '.join(unjudged)})"
    return "Nothing has moved away from the baseline"


def render_page(report: Report, charts: Mapping[str, Drawn], images: Mapping[int, bytes | None]) -> str:
    """The whole page; ``images`` by the ``row`` of the predictions that are shown."""
    return render(
        Page(
            title="Captured predictions" + (f" of {report.endpoint}" if report.endpoint else ""),
            subtitle=f"Window: {clock(report.window.start)} to {clock(report.window.end)} UTC",
            facts=report.about,
            links=[Link("index.html", "Earlier reports", up=True), Link("report.json", "All figures (JSON)")],
            verdict=f"{report.verdict}.",
            outcome="alarm" if report.alarms() else "",
            notes=[f"{note}." for note in report.notes],
            sections=SECTIONS.lay_out(ReportView(report, images), charts),
        )
    )


def _facts(report: Report) -> str:
    counts, mean = report.counts, report.confidence.mean
    rest = count(counts.malformed, "malformed line")
    if report.drift is None:
        rest += f"; {report.no_drift_because}, so drift was not looked for"
    if report.data_origin != PHOTOGRAPHS:
        rest += f"; the model was trained on {report.data_origin}"
    if mean is None or report.first is None or report.last is None:
        return f"No predictions between {clock(report.window.start)} and {clock(report.window.end)} UTC; {rest}"
    passed = counts.records - report.below_threshold
    line = "their class's threshold" if report.class_thresholds else f"the threshold {report.threshold:g}"
    return (
        f"{count(counts.records, 'prediction')} between {between(report.first, report.last)} UTC; "
        f"{passed:,} ({percent(passed / counts.records)}) at or above {line}; mean confidence {mean:.2f}"
        f"{others_in_words(report)}; {rest}"
    )
