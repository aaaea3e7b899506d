"""The page ``report.html``: one self-contained file from the numbers, the plots and the least confident images.

Runs in the monitoring container. Values in, text out; it reads only its own template, ``report.html`` beside it.
Whatever comes from captured traffic is HTML-escaped; images are decoded and encoded anew, never passed through.
"""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from PIL import Image, UnidentifiedImageError

from monitoring.capture_line import parse_time
from monitoring.plots import Plot
from monitoring.summary import Summary

TEMPLATE = Path(__file__).with_name("report.html")
THUMBNAIL_PIXELS = 128
IMAGE_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP")
# A captured request holds at most 6 MB; a small file that decodes to more pixels than this is an attack or a mistake.
IMAGE_PIXELS = 25_000_000
ROWS_SHOWN = 20

PHOTOGRAPHS = "photographs"

CAPTIONS = {
    "confidence_over_time": ("Confidence over time", "Each point is one prediction; the line is the mean of a bin."),
    "confidence_histogram": ("Confidence", "How many predictions fall below the threshold, and how far."),
    "class_distribution": ("Predicted classes", "What the endpoint answered, by number of predictions."),
}


def verdict(summary: Summary) -> str:
    """The report in one sentence, as plain text."""
    counts, mean = summary["counts"], summary["confidence"]["mean"]
    malformed = _count(counts["malformed"], "malformed line")
    if summary["data_origin"] != PHOTOGRAPHS:
        malformed += f"; the model was trained on {summary['data_origin']}"
    if mean is None or summary["first"] is None or summary["last"] is None:
        window = summary["window"]
        return f"No predictions between {_clock(window['start'])} and {_clock(window['end'])} UTC; {malformed}"
    records, passed = counts["records"], counts["records"] - summary["below_threshold"]
    return (
        f"{_count(records, 'prediction')} between {_between(summary['first'], summary['last'])} UTC; "
        f"{passed:,} ({percent(passed, records)}) at or above the threshold {summary['threshold']:g}; "
        f"mean confidence {mean:.2f}; {malformed}"
    )


def render_page(summary: Summary, plots: Mapping[str, Plot], images: Sequence[bytes | None]) -> str:
    """The whole page; ``images`` belong to ``summary["least_confident"]``, in its order."""
    title = "Captured predictions" + (f" of {summary['endpoint']}" if summary["endpoint"] else "")
    window = summary["window"]
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(title),
        window=escape(f"{_clock(window['start'])} to {_clock(window['end'])} UTC"),
        verdict=escape(verdict(summary)) + ".",
        plots="".join(_figure(name, plot) for name, plot in plots.items()),
        tables=_tables(summary) if summary["counts"]["records"] else "",
        least_confident=_least_confident(summary, images),
        quality=_quality(summary),
    )


def percent(part: int, whole: int) -> str:
    """``70 %``; with a decimal where whole percents would be wrong, and never 0 or 100 where that is not so."""
    value = 100 * part / whole
    if part in (0, whole) or value == round(value):
        return f"{value:.0f} %"
    if value < 0.05:
        return "< 0.1 %"
    return "> 99.9 %" if value >= 99.95 else f"{value:.1f} %"


def thumbnail(data: bytes | None) -> str | None:
    """A data URI of the picture, at most 128 pixels wide and high, or None where the bytes are not a picture."""
    if data is None:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=IMAGE_FORMATS) as image:
                if image.width * image.height > IMAGE_PIXELS:
                    return None
                image.draft("RGB", (2 * THUMBNAIL_PIXELS, 2 * THUMBNAIL_PIXELS))
                picture = image.convert("RGBA" if image.has_transparency_data else "RGB")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError, Warning, Image.DecompressionBombError):
        return None
    picture.thumbnail((THUMBNAIL_PIXELS, THUMBNAIL_PIXELS))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


def _figure(name: str, plot: Plot) -> str:
    title, text = CAPTIONS[name]
    shapes = [("", plot.wide)] if plot.wide == plot.narrow else [(" wide", plot.wide), (" narrow", plot.narrow)]
    drawings = "".join(f'<div class="plot{shape}" role="img" aria-label="{title}">{svg}</div>' for shape, svg in shapes)
    return f'<figure class="{name}"><h2>{title}</h2><p class="note">{text}</p>{drawings}</figure>'


def _tables(summary: Summary) -> str:
    headers = ["predictions", "mean confidence", "below threshold"]
    records = summary["counts"]["records"]
    by_class = [[label, *_cells(figures, records)] for label, figures in summary["per_class"].items()]
    by_variant = [[row["endpoint"], row["variant"], *_cells(row, records)] for row in summary["per_variant"]]
    return (
        f"<section><h2>By predicted class</h2>{_table(['class', *headers], by_class, text_columns=1)}</section>"
        f"<section><h2>By variant</h2>{_table(['endpoint', 'variant', *headers], by_variant, text_columns=2)}</section>"
        f"<section><h2>Distribution of confidence</h2>{_confidence_table(summary)}</section>"
    )


def _cells(figures: Mapping[str, Any], records: int) -> list[str]:
    count, mean, below = figures["count"], figures["mean_confidence"], figures["below_threshold"]
    return [
        f"{count:,} ({percent(count, records)})",
        "-" if mean is None else f"{mean:.3f}",
        f"{below:,} ({percent(below, count)})" if count else "-",
    ]


def _confidence_table(summary: Summary) -> str:
    order = ["min", "p5", "p25", "median", "p75", "p95", "max", "mean"]
    names = {"p5": "5 %", "p25": "25 %", "p75": "75 %", "p95": "95 %"}
    row = [f"{summary['confidence'][key]:.3f}" for key in order]
    return _table([names.get(key, key) for key in order], [row], text_columns=0)


def _least_confident(summary: Summary, images: Sequence[bytes | None]) -> str:
    cards = []
    for row, data in zip(summary["least_confident"], images, strict=True):
        source = thumbnail(data)
        missing = "no captured input" if data is None else "input is not an image"
        picture = f'<img src="{source}" alt="">' if source else f'<div class="missing">{missing}</div>'
        passed = row["confidence"] >= summary["threshold"]
        identity = row["inference_id"] or row["event_id"]
        cards.append(
            f"<li>{picture}<p><strong>{escape(row['predicted'])}</strong> {row['confidence']:.3f}"
            f'{" ✓" if passed else ""}<br>{_clock(row["time"])}</p><p class="id">{escape(identity)}</p></li>'
        )
    if not cards:
        return ""
    note = "Lowest confidence first; ✓ passes the threshold. Below each: the inference id, or else the event id."
    return (
        f'<section><h2>Least confident predictions</h2><p class="note">{note}</p>'
        f'<ul class="cards">{"".join(cards)}</ul></section>'
    )


def _quality(summary: Summary) -> str:
    counts = summary["counts"]
    facts = (
        f"{_count(counts['files'], 'file')} read; {_count(counts['malformed'], 'malformed line')}; "
        f"{_count(counts['duplicates'], 'duplicate')} left out; "
        f"{_count(counts['outside_window'], 'line')} of other windows left out."
    )
    return f"<p>{facts}</p>{_gaps(summary)}{_malformed(summary)}"


def _gaps(summary: Summary) -> str:
    gaps = sorted(summary["gaps"], key=lambda gap: -gap["seconds"])
    if not gaps:
        return "<p>No stretch of an hour or more without a prediction.</p>"
    rows = [[_clock(gap["start"]), _clock(gap["end"]), _duration(gap["seconds"])] for gap in gaps[:ROWS_SHOWN]]
    table = _table(["no prediction from (UTC)", "to", "for"], rows, text_columns=2)
    return f"<h3>Gaps of an hour or more</h3>{table}{_left_out(len(gaps), 'longest gaps', 'report.json')}"


def _malformed(summary: Summary) -> str:
    listed = summary["malformed"]["listed"]
    if not listed:
        return ""
    rows = [[f"{bad['file']}:{bad['line']}", bad["reason"]] for bad in listed[:ROWS_SHOWN]]
    left_out = _left_out(summary["counts"]["malformed"], "malformed lines", "quarantine.jsonl")
    return f"<h3>Malformed lines</h3>{_table(['file and line', 'reason'], rows, text_columns=2)}{left_out}"


def _left_out(count: int, what: str, where: str) -> str:
    if count <= ROWS_SHOWN:
        return ""
    return f'<p class="note">The first {ROWS_SHOWN} of {count:,} {what}; all stand in {where}.</p>'


def _table(headers: Iterable[str], rows: Iterable[Sequence[str]], text_columns: int) -> str:
    """A table of plain texts, escaped here; the columns after the first ``text_columns`` hold numbers."""
    head = "".join(f'<th scope="col"{_align(at, text_columns)}>{escape(name)}</th>' for at, name in enumerate(headers))
    body = "".join(
        "<tr>" + "".join(f"<td{_align(at, text_columns)}>{escape(cell)}</td>" for at, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _align(column: int, text_columns: int) -> str:
    return "" if column < text_columns else ' class="number"'


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _clock(text: str) -> str:
    return parse_time(text).strftime("%Y-%m-%d %H:%M:%S")


def _between(first: str, last: str) -> str:
    """Both times; the date of the second only where it differs."""
    start, end = _clock(first), _clock(last)
    return f"{start} and {end[11:] if start[:10] == end[:10] else end}"


def _duration(seconds: float) -> str:
    whole = timedelta(seconds=round(seconds))
    hours, minutes = divmod(whole.seconds // 60, 60)
    days = f"{whole.days} d " if whole.days else ""
    return f"{days}{hours} h {minutes} min"
