"""The page ``report.html``: one self-contained file from the numbers, the plots and the images.

Runs in the monitoring container. Values in, text out; it reads only its own template, ``report.html`` beside it.
Whatever comes from captured traffic is HTML-escaped; images are decoded and encoded anew, never passed through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from monitoring.job_inputs.options import PHOTOGRAPHS
from monitoring.page import sections as page_sections
from monitoring.page.plots import MOST_POINTS, Plot
from monitoring.page.wording import between, clock, count, duration, percent, table

TEMPLATE = Path(__file__).with_name("report.html")
ROWS_SHOWN = 20
CAPTIONS = {
    "confidence_over_time": (
        "Confidence over time",
        "Each point is one prediction; the line is the mean of a bin. "
        f"Of more than {MOST_POINTS:,} predictions so many are drawn, evenly chosen.",
    ),
    "confidence_histogram": ("Confidence", "How many predictions fall below the threshold, and how far."),
    "class_distribution": ("Predicted classes", "What the endpoint answered, by number of predictions."),
    "coverage": ("Coverage", "The share of predictions that pass, and how many there were."),
    "latency": ("Latency", "What the endpoint measured of the model, by hour."),
    "drift_evidence": (
        "Evidence of drift",
        "How much speaks against the baseline, hour by hour, each family of channels on its own. At 1 it alarms, and "
        "begins anew.",
    ),
    "confidence_by_truth": ("Confidence by true label", "Circled predictions are wrong."),
    "calibration": ("Calibration", "Of predictions with this confidence, so many are right."),
}
_FIRST = ("confidence_over_time", "confidence_histogram", "class_distribution", "coverage", "latency")
_MOVED = {
    "predictions": "the predictions have moved",
    "images": "the images look different",
    "capture": "the capture is not complete",
}


def verdict(document: Mapping[str, Any]) -> str:
    """The report in one sentence, as plain text."""
    drift, facts = document["drift"], _facts(document)
    if drift is None:
        return facts
    alarms = [family for family in drift["families"] if family["alarm"]]
    if not alarms:
        return f"Nothing has moved away from the baseline: {facts}"
    moved = [
        f"{_MOVED[family['family']]} since {clock(family['since'])[:-3]} UTC ({', '.join(page_sections.moved(family))})"
        for family in alarms
    ]
    return f"ALARM, {'; '.join(moved)}: {facts}"


def render_page(document: Mapping[str, Any], plots: Mapping[str, Plot], images: Mapping[int, bytes | None]) -> str:
    """The whole page; ``images`` by the ``row`` of the predictions that are shown."""
    title = "Captured predictions" + (f" of {document['endpoint']}" if document["endpoint"] else "")
    window = document["window"]
    drawn = {name: _figure(name, plot) for name, plot in plots.items()}
    alarm = bool(document["drift"]) and any(family["alarm"] for family in document["drift"]["families"])
    sections = [
        page_sections.drift(document, drawn.get("drift_evidence", "")),
        page_sections.quality(
            document, "".join(drawn.get(name, "") for name in ("confidence_by_truth", "calibration"))
        ),
        page_sections.pictures(document, images),
        _tables(document) if document["counts"]["records"] else "",
        _deployments(document),
        f"<section><h2>Completeness of the data</h2>{_completeness(document)}</section>",
    ]
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(title),
        window=escape(f"{clock(window['start'])} to {clock(window['end'])} UTC"),
        kind="verdict alarm" if alarm else "verdict",
        verdict=escape(verdict(document)) + ".",
        notes="".join(f'<p class="note">{escape(note)}.</p>' for note in document["notes"]),
        plots="".join(drawn.get(name, "") for name in _FIRST),
        sections="".join(sections),
    )


def _facts(document: Mapping[str, Any]) -> str:
    counts, mean = document["counts"], document["confidence"]["mean"]
    rest = count(counts["malformed"], "malformed line")
    if document["drift"] is None:
        rest += f"; {document['no_drift_because']}, so drift was not looked for"
    if document["data_origin"] != PHOTOGRAPHS:
        rest += f"; the model was trained on {document['data_origin']}"
    if mean is None:
        window = document["window"]
        return f"No predictions between {clock(window['start'])} and {clock(window['end'])} UTC; {rest}"
    records, passed = counts["records"], counts["records"] - document["below_threshold"]
    own = document["class_thresholds"]
    line = "their class's threshold" if own else f"the threshold {document['threshold']:g}"
    return (
        f"{count(records, 'prediction')} between {between(document['first'], document['last'])} UTC; "
        f"{passed:,} ({percent(passed, records)}) at or above {line}; mean confidence {mean:.2f}; {rest}"
    )


def _figure(name: str, plot: Plot) -> str:
    title, text = CAPTIONS[name]
    shapes = [("", plot.wide)] if plot.wide == plot.narrow else [(" wide", plot.wide), (" narrow", plot.narrow)]
    drawings = "".join(f'<div class="plot{shape}" role="img" aria-label="{title}">{svg}</div>' for shape, svg in shapes)
    return f'<figure class="{name}"><h2>{title}</h2><p class="note">{text}</p>{drawings}</figure>'


def _tables(document: Mapping[str, Any]) -> str:
    headers = ["predictions", "mean confidence", "below threshold"]
    records = document["counts"]["records"]
    by_class = [[label, *_cells(figures, records)] for label, figures in document["per_class"].items()]
    by_variant = [[row["endpoint"], row["variant"], *_cells(row, records)] for row in document["per_variant"]]
    return (
        f"<section><h2>By predicted class</h2>{table(['class', *headers], by_class, text_columns=1)}</section>"
        f"<section><h2>By variant</h2>{table(['endpoint', 'variant', *headers], by_variant, text_columns=2)}</section>"
        f"<section><h2>Distribution of confidence</h2>{_confidence_table(document)}</section>"
    )


def _cells(figures: Mapping[str, Any], records: int) -> list[str]:
    number, mean, below = figures["count"], figures["mean_confidence"], figures["below_threshold"]
    return [
        f"{number:,} ({percent(number, records)})",
        "-" if mean is None else f"{mean:.3f}",
        f"{below:,} ({percent(below, number)})" if number else "-",
    ]


def _confidence_table(document: Mapping[str, Any]) -> str:
    order = ["min", "p5", "p25", "median", "p75", "p95", "max", "mean"]
    names = {"p5": "5 %", "p25": "25 %", "p75": "75 %", "p95": "95 %"}
    row = [f"{document['confidence'][key]:.3f}" for key in order]
    return table([names.get(key, key) for key in order], [row], text_columns=0)


def _deployments(document: Mapping[str, Any]) -> str:
    if not document["deployments"]:
        return ""
    newest = document["deployments"][-ROWS_SHOWN:][::-1]
    rows = [[clock(each["at"]), each["version"], each["outcome"]] for each in newest]
    return f"<section><h2>Deployments</h2>{table(['at (UTC)', 'version', 'outcome'], rows, text_columns=3)}</section>"


def _completeness(document: Mapping[str, Any]) -> str:
    counts, gap = document["counts"], document["capture_gap"]
    facts = (
        f"{count(counts['files'], 'file')} read; {count(counts['malformed'], 'malformed line')}; "
        f"{count(counts['duplicates'], 'duplicate')} left out; "
        f"{count(counts['outside_window'], 'line')} of other windows left out."
    )
    reasons = {
        "smoke_tests": "of smoke tests",
        "shadow": "of the shadow variant",
        "other_versions": "of versions with other classes",
    }
    apart = ", ".join(f"{counts[name]:,} {what}" for name, what in reasons.items() if counts[name])
    left_out = f"<p>No traffic of this version's, and left out: {apart}.</p>" if apart else ""
    missed = "" if gap is None else f"<p>{gap:.1%} of the endpoint's requests in whole hours were not captured.</p>"
    return f"<p>{facts}</p>{left_out}{missed}{_gaps(document)}{_malformed(document)}"


def _gaps(document: Mapping[str, Any]) -> str:
    gaps = sorted(document["gaps"], key=lambda gap: -gap["seconds"])
    if not gaps:
        return "<p>No stretch of an hour or more without a prediction.</p>"
    rows = [[clock(gap["start"]), clock(gap["end"]), duration(gap["seconds"])] for gap in gaps[:ROWS_SHOWN]]
    listed = table(["no prediction from (UTC)", "to", "for"], rows, text_columns=2)
    return f"<h3>Gaps of an hour or more</h3>{listed}{_left_out(gaps, len(gaps), 'longest gaps', 'report.json')}"


def _malformed(document: Mapping[str, Any]) -> str:
    listed = document["malformed"]["listed"]
    if not listed:
        return ""
    rows = [[f"{bad['file']}:{bad['line']}", bad["reason"]] for bad in listed[:ROWS_SHOWN]]
    left_out = _left_out(rows, document["counts"]["malformed"], "malformed lines", "quarantine.jsonl")
    return f"<h3>Malformed lines</h3>{table(['file and line', 'reason'], rows, text_columns=2)}{left_out}"


def _left_out(listed: Sequence[Any], number: int, what: str, where: str) -> str:
    if number <= min(len(listed), ROWS_SHOWN):
        return ""
    return f'<p class="note">The first {min(len(listed), ROWS_SHOWN)} of {number:,} {what}; all stand in {where}.</p>'
