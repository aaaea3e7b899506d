"""The page ``evaluation.html``: one self-contained file from evaluation.json, the plots and the worst mistakes.

Runs in the evaluation job. Values in, text out; it reads only its own template, ``evaluation.html`` beside it. Class
names and file names come from the data, so every text is HTML-escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template
from typing import Any

TEMPLATE = Path(__file__).with_name("evaluation.html")
PHOTOGRAPHS = "photographs"
CAPTIONS = {
    "confidence": (
        "Confidence of sampled images",
        "Up to 50 test images drawn at random, in the column of their class.",
    ),
    "coverage": ("Coverage", "What a threshold lets pass, and how much of that is right; bands: 95 % intervals."),
    "reliability": ("Reliability", "Accuracy of the answers at each confidence, with 95 % intervals."),
    "confusion": ("Confusion", "Test images by true and predicted class; shades are shares of the row."),
    "learning_curves": ("Learning curves", "From the training job; one line for each member of the ensemble."),
}

NO_HISTORY = (
    "Left out: the model archive holds no history of its training; it is older, or the answers came from files."
)
UNKNOWN = "-"

Cell = str | tuple[str, str]  # a text, or a text with another one small below it


@dataclass(frozen=True)
class Demands:
    """What is asked of the model; ``accuracy_gate`` is None and ``champion_group`` empty where nothing is."""

    accuracy_gate: float | None
    champion_group: str
    champion_significance: float
    data_origin: str


@dataclass(frozen=True)
class Mistake:
    """A wrong answer: the image and what was said of it."""

    path: str
    png: bytes
    true: str
    predicted: str
    confidence: float


def verdict(document: Mapping[str, Any], demands: Demands) -> str:
    """The evaluation in one sentence, as plain text: the gate, the champion, the coverage."""
    parts = [_gate_clause(document, demands), _champion_clause(document, demands), _coverage_clause(document)]
    if demands.data_origin != PHOTOGRAPHS:
        parts.append(f"all images are {demands.data_origin}")
    sentence = "; ".join(part for part in parts if part) + "."
    start = {"fit": "Fit to register: ", "unfit": "Not fit to register: "}.get(outcome(document, demands))
    return start + sentence if start else sentence[0].upper() + sentence[1:]


def outcome(document: Mapping[str, Any], demands: Demands) -> str:
    """``fit`` or ``unfit`` to register by accuracy and comparison; ``unjudged`` where nothing is asked of the model."""
    champion = document["champion"]
    if demands.accuracy_gate is None and (champion is None or champion["p_value"] is None):
        return "unjudged"
    worse = document["champion_gate"]["p_value_worse"]["value"] < demands.champion_significance
    reached = demands.accuracy_gate is None or _accuracy(document) >= demands.accuracy_gate
    return "fit" if reached and not worse else "unfit"


def _gate_clause(document: Mapping[str, Any], demands: Demands) -> str:
    text = f"accuracy {percent(_accuracy(document))} ({_between(document['accuracy_interval_95'])}) on "
    text += f"{document['images']:,} test image{'s' if document['images'] > 1 else ''}"
    if demands.accuracy_gate is None:
        return text
    reached = _accuracy(document) >= demands.accuracy_gate
    return f"{text} {'reaches' if reached else 'misses'} the gate of {100 * demands.accuracy_gate:g} %"


def _champion_clause(document: Mapping[str, Any], demands: Demands) -> str:
    champion = document["champion"]
    if champion is None:
        if not demands.champion_group:
            return ""
        off = demands.champion_significance == 0
        return "the comparison with the champion is switched off" if off else "no approved version to compare with"
    name = f"the champion (version {champion['model_package_arn'].rsplit('/', 1)[-1]})"
    if champion["p_value"] is None:
        return f"not compared with {name}, because {champion['reason']}"
    worse = champion["p_value"] < demands.champion_significance
    figures = f"{percent(champion['accuracy'])} on the same images, p = {champion['p_value']:.2g}"
    return f"{'worse than' if worse else 'not shown to be worse than'} {name}, {figures}"


def _coverage_clause(document: Mapping[str, Any]) -> str:
    threshold = document["threshold"]
    entry = next(row for row in document["coverage"] if row["threshold"] == threshold)
    if entry["accuracy"] is None:
        return f"no image passes the threshold {threshold:g}"
    return (
        f"{percent(entry['coverage'])} of the images pass the threshold {threshold:g}, and of those "
        f"{percent(entry['accuracy'])} are right ({_between(entry['accuracy_interval_95'])})"
    )


def render_page(
    document: Mapping[str, Any], demands: Demands, plots: Mapping[str, str], mistakes: Sequence[Mistake], wrong: int
) -> str:
    """The whole page. ``plots`` are SVG elements; ``mistakes`` are the worst of the ``wrong`` answers, worst first."""
    classes = document["classes"]
    counts = ", ".join(f"{figures['images']:,} {name}" for name, figures in list(classes.items())[:12])
    more = f" and {len(classes) - 12} more classes" if len(classes) > 12 else ""
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        subtitle=escape(f"{document['images']:,} held-out test images: {counts}{more}"),
        outcome=outcome(document, demands),
        verdict=_text(verdict(document, demands)),
        plots="".join(_figure(name, plots.get(name)) for name in CAPTIONS),
        summary=_summary(document),
        by_class=_by_class(classes),
        thresholds=_thresholds(document),
        champion=_champion(document),
        mistakes=_mistakes(mistakes, wrong, document["threshold"]),
    )


def percent(share: float) -> str:
    """``70.5 %``; and never 0 or 100 where that is not so."""
    if share in (0, 1):
        return f"{100 * share:.0f} %"
    text = f"{100 * share:.1f} %"
    return {"0.0 %": "< 0.1 %", "100.0 %": "> 99.9 %"}.get(text, text)


def _accuracy(document: Mapping[str, Any]) -> float:
    return float(document["multiclass_classification_metrics"]["accuracy"]["value"])


def _between(interval: Sequence[float]) -> str:
    low, high = (f"{100 * end:.1f}".removesuffix(".0") for end in interval)
    return f"{low} to {high} %"


def _share(share: float | None, interval: Sequence[float]) -> Cell:
    return UNKNOWN if share is None else (percent(share), _between(interval))


def _number(value: float | None, digits: int = 3) -> str:
    return UNKNOWN if value is None else f"{value:.{digits}f}"


def _figure(name: str, svg: str | None) -> str:
    title, text = CAPTIONS[name]
    if svg is None:
        return f'<figure><h2>{title}</h2><p class="note">{NO_HISTORY}</p></figure>'
    drawing = f'<div class="plot" role="img" aria-label="{title}">{svg}</div>'
    return f'<figure><h2>{title}</h2><p class="note">{text}</p>{drawing}</figure>'


def _summary(document: Mapping[str, Any]) -> str:
    constant = document["multiclass_classification_metrics"]["accuracy_best_constant_classifier"]["value"]
    rows: list[list[Cell]] = [
        ["accuracy", percent(_accuracy(document)), _between(document["accuracy_interval_95"])],
        ["accuracy of always answering the commonest class", percent(constant), UNKNOWN],
        ["area under the ROC curve, mean of the classes", _number(document["area_under_curve"]), UNKNOWN],
        ["calibration error (ECE, ten bins)", _number(document["calibration_error"]), UNKNOWN],
    ]
    return _table(["figure", "value", "95 % interval"], rows)


def _by_class(classes: Mapping[str, Any]) -> str:
    rows: list[list[Cell]] = [
        [
            name,
            f"{figures['images']:,}",
            _share(figures["precision"], figures["precision_interval_95"]),
            _share(figures["recall"], figures["recall_interval_95"]),
            _number(figures["f1"]),
            _number(figures["area_under_curve"]),
        ]
        for name, figures in classes.items()
    ]
    return _table(["class", "images", "precision", "recall", "F1", "AUC"], rows)


def _thresholds(document: Mapping[str, Any]) -> str:
    found = document["threshold_for_accuracy"]
    wished = f"{100 * found['wished']:g} %"
    rows: list[list[Cell]] = [
        [
            f"{row['threshold']:g}" + (" (of this run)" if row["threshold"] == document["threshold"] else ""),
            _share(row["coverage"], row["coverage_interval_95"]),
            _share(row["accuracy"], row["accuracy_interval_95"]),
        ]
        for row in document["coverage"]
    ]
    needed = found["images_to_assure"]
    takes = f"that takes at least {needed:,} passing images, all right" if needed else "no number of images shows that"
    estimate = f"For {wished} right among the passing: {_point(found, 'no threshold does on these images')}."
    assured = _point(found["assured"], f"no threshold does on these images; {takes}")
    assured = f"For the lower end of the interval to reach {wished} as well: {assured}."
    table = _table(["threshold", "coverage", "accuracy of passing"], rows)
    return f'{table}<p class="note">{_text(f"{estimate} {assured}")}</p>'


def _point(point: Mapping[str, Any], otherwise: str) -> str:
    if point["threshold"] is None:
        return otherwise
    return (
        f"threshold {point['threshold']:g}; {percent(point['coverage'])} pass, {percent(point['accuracy'])} of them "
        f"right ({_between(point['accuracy_interval_95'])})"
    )


def _champion(document: Mapping[str, Any]) -> str:
    champion = document["champion"]
    if champion is None:
        return ""
    title = f"<section><h2>Champion against challenger</h2><p>{escape(champion['model_package_arn'])}</p>"
    if champion["p_value"] is None:
        return f"{title}<p>Not compared: {escape(champion['reason'])}.</p></section>"
    images, champion_only = document["images"], champion["only_champion_right"]
    both = round(champion["accuracy"] * images) - champion_only
    challenger_only = champion["only_challenger_right"]
    neither = images - both - champion_only - challenger_only
    rows: list[list[Cell]] = [
        ["challenger right", f"{both:,}", f"{challenger_only:,}"],
        ["challenger wrong", f"{champion_only:,}", f"{neither:,}"],
    ]
    note = (
        f"Champion {percent(champion['accuracy'])}, challenger {percent(_accuracy(document))}. Were both equally good, "
        f"the champion would do at least this well with probability {champion['p_value']:.2g} "
        "(McNemar's test, exact, one-sided)."
    )
    table = _table(["images", "champion right", "champion wrong"], rows)
    return f'{title}{table}<p class="note">{_text(note)}</p></section>'


def _mistakes(mistakes: Sequence[Mistake], wrong: int, threshold: float) -> str:
    if not mistakes:
        return "<p>None: every test image was answered rightly.</p>"
    note = f"The most confident {len(mistakes)} of {wrong:,}; ✓ passes the threshold."
    cards = "".join(
        f'<li><img src="data:image/png;base64,{base64.b64encode(mistake.png).decode()}" alt="">'
        f"<p>said <strong>{escape(mistake.predicted)}</strong><br>is <strong>{escape(mistake.true)}</strong><br>"
        f"{mistake.confidence:.3f}{' ✓' if mistake.confidence >= threshold else ''}</p>"
        f'<p class="id">{escape(mistake.path)}</p></li>'
        for mistake in mistakes
    )
    return f'<p class="note">{note}</p><ul class="cards">{cards}</ul>'


def _table(headers: Iterable[str], rows: Iterable[Sequence[Cell]]) -> str:
    """A table of plain texts, escaped here; the columns after the first one hold numbers."""
    head = "".join(f'<th scope="col"{_align(at)}>{escape(name)}</th>' for at, name in enumerate(headers))
    body = "".join(
        "<tr>" + "".join(f"<td{_align(at)}>{_cell(cell)}</td>" for at, cell in enumerate(row)) + "</tr>" for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(cell: Cell) -> str:
    return _text(cell) if isinstance(cell, str) else f"{_text(cell[0])}<br><small>{_text(cell[1])}</small>"


def _text(text: str) -> str:
    """Escaped, and no line ends between a number and its percent sign."""
    return escape(text).replace(" %", "&nbsp;%")


def _align(column: int) -> str:
    return ' class="number"' if column else ""
