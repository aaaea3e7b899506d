"""The page ``evaluation.html``: the evaluation in one sentence, its tables, and the worst mistakes.

Runs in the evaluation job. Values in, text out; `reporting.page` escapes what comes from the data. A further section is
one more function here, registered with `SECTIONS.add`; charts say themselves which section they belong to.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reporting.documents.evaluation import ClassFigures, Comparison, Evaluation, Interval, ThresholdPoint, WishedPoint
from reporting.documents.traffic import PHOTOGRAPHS
from reporting.page import (
    Block,
    Card,
    CardLine,
    Cards,
    Cell,
    Content,
    Drawn,
    Heading,
    Page,
    Sections,
    Table,
    Text,
    render,
)
from reporting.wording import UNKNOWN, count, number, percent, percent_range

MOST_CLASSES = 100
"""Whose figures are shown."""


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


@dataclass(frozen=True)
class EvaluationView:
    """What the page is made from; ``mistakes`` are the worst of the ``wrong`` answers, worst first."""

    evaluation: Evaluation
    mistakes: Sequence[Mistake]
    wrong: int


SECTIONS: Sections[EvaluationView] = Sections()


def verdict(evaluation: Evaluation, demands: Demands) -> str:
    """The evaluation in one sentence, as plain text: the gate, the champion, the coverage."""
    parts = [_gate_clause(evaluation, demands), _champion_clause(evaluation, demands), _coverage_clause(evaluation)]
    if demands.data_origin != PHOTOGRAPHS:
        parts.append(f"all images are {demands.data_origin}")
    sentence = "; ".join(part for part in parts if part) + "."
    start = {"fit": "Fit to register: ", "unfit": "Not fit to register: "}.get(outcome(evaluation, demands))
    return start + sentence if start else sentence[0].upper() + sentence[1:]


def outcome(evaluation: Evaluation, demands: Demands) -> str:
    """``fit`` or ``unfit`` to register by accuracy and comparison; ``unjudged`` where nothing is asked of the model."""
    champion = evaluation.comparison
    p_value = champion.p_value if champion else None
    if demands.accuracy_gate is None and p_value is None:
        return "unjudged"
    worse = p_value is not None and p_value < demands.champion_significance
    reached = demands.accuracy_gate is None or evaluation.accuracy >= demands.accuracy_gate
    return "fit" if reached and not worse else "unfit"


def _gate_clause(evaluation: Evaluation, demands: Demands) -> str:
    text = f"accuracy {percent(evaluation.accuracy)} ({percent_range(evaluation.accuracy_interval_95)}) on "
    text += count(evaluation.images, "test image")
    if demands.accuracy_gate is None:
        return text
    reached = evaluation.accuracy >= demands.accuracy_gate
    return f"{text} {'reaches' if reached else 'misses'} the gate of {100 * demands.accuracy_gate:g} %"


def _champion_clause(evaluation: Evaluation, demands: Demands) -> str:
    champion = evaluation.comparison
    if champion is None:
        if not demands.champion_group:
            return ""
        off = demands.champion_significance == 0
        return "the comparison with the champion is switched off" if off else "no approved version to compare with"
    name = f"the champion (version {champion.model_package_arn.rsplit('/', 1)[-1]})"
    if champion.p_value is None or champion.accuracy is None:
        return f"not compared with {name}, because {champion.reason}"
    worse = champion.p_value < demands.champion_significance
    figures = f"{percent(champion.accuracy)} on the same images, p = {champion.p_value:.2g}"
    return f"{'worse than' if worse else 'not shown to be worse than'} {name}, {figures}"


def _coverage_clause(evaluation: Evaluation) -> str:
    threshold = evaluation.threshold
    entry = next(row for row in evaluation.coverage if row.threshold == threshold)
    if entry.accuracy is None:
        return f"no image passes the threshold {threshold:g}"
    return (
        f"{percent(entry.coverage)} of the images pass the threshold {threshold:g}, and of those "
        f"{percent(entry.accuracy)} are right ({percent_range(entry.accuracy_interval_95)})"
    )


def render_page(view: EvaluationView, demands: Demands, charts: Mapping[str, Drawn]) -> str:
    """The whole page."""
    evaluation = view.evaluation
    counts = ", ".join(f"{figures.images:,} {name}" for name, figures in list(evaluation.classes.items())[:12])
    more = f" and {len(evaluation.classes) - 12} more classes" if len(evaluation.classes) > 12 else ""
    return render(
        Page(
            title="Evaluation on held-out images",
            subtitle=f"{evaluation.images:,} held-out test images: {counts}{more}",
            verdict=verdict(evaluation, demands),
            outcome=outcome(evaluation, demands),
            notes=[],
            sections=SECTIONS.lay_out(view, charts),
        )
    )


@SECTIONS.add("Summary")
def summary(view: EvaluationView) -> Content:
    """The figures of all classes together."""
    evaluation = view.evaluation
    constant = evaluation.multiclass_classification_metrics.accuracy_best_constant_classifier
    rows = [
        ["accuracy", percent(evaluation.accuracy), percent_range(evaluation.accuracy_interval_95)],
        ["accuracy of always answering the commonest class", percent(constant.value) if constant else UNKNOWN, UNKNOWN],
        ["area under the ROC curve, mean of the classes", number(evaluation.area_under_curve), UNKNOWN],
        ["calibration error (ECE, ten bins)", number(evaluation.calibration_error), UNKNOWN],
    ]
    return Content(before=[Table(["figure", "value", "95 % interval"], rows)])


@SECTIONS.add("")
def charts(view: EvaluationView) -> Content:
    """The charts, and beside the last one the figures of each class; of many classes, those of the worst."""
    figures = list(view.evaluation.classes.items())
    left_out = len(figures) - MOST_CLASSES
    if left_out > 0:
        figures = sorted(figures, key=lambda of_class: (of_class[1].f1, of_class[0]))[:MOST_CLASSES]
    table = Table(["class", "images", "precision", "recall", "F1", "AUC"], [_class_row(*each) for each in figures])
    note = [Text(f"The {MOST_CLASSES} with the lowest F1; evaluation.json has {left_out:,} more.", soft=True)]
    return Content(beside=[Heading("By class"), table, *(note if left_out > 0 else [])])


def _class_row(name: str, figures: ClassFigures) -> list[Cell]:
    return [
        name,
        f"{figures.images:,}",
        _share(figures.precision, figures.precision_interval_95),
        _share(figures.recall, figures.recall_interval_95),
        number(figures.f1),
        number(figures.area_under_curve),
    ]


def _share(share: float | None, interval: Interval) -> Cell:
    return UNKNOWN if share is None else (percent(share), percent_range(interval))


@SECTIONS.add("Thresholds")
def thresholds(view: EvaluationView) -> Content:
    """What each threshold lets pass, and which one would do."""
    evaluation = view.evaluation
    rows: list[list[Cell]] = [
        [
            f"{row.threshold:g}" + (" (of this run)" if row.threshold == evaluation.threshold else ""),
            _share(row.coverage, row.coverage_interval_95),
            _share(row.accuracy, row.accuracy_interval_95),
        ]
        for row in evaluation.coverage
    ]
    blocks: list[Block] = [Table(["threshold", "coverage", "accuracy of passing"], rows)]
    if evaluation.threshold_for_accuracy:
        blocks.append(Text(_wished(evaluation.threshold_for_accuracy), soft=True))
    return Content(before=blocks)


def _wished(found: WishedPoint) -> str:
    wished, needed = f"{100 * found.wished:g} %", found.images_to_assure
    takes = f"that takes at least {needed:,} passing images, all right" if needed else "no number of images shows that"
    estimate = f"For {wished} right among the passing: {_point(found, 'no threshold does on these images')}."
    assured = _point(found.assured, f"no threshold does on these images; {takes}")
    return f"{estimate} For the lower end of the interval to reach {wished} as well: {assured}."


def _point(point: ThresholdPoint | WishedPoint, otherwise: str) -> str:
    if point.threshold is None or point.coverage is None or point.accuracy is None:
        return otherwise
    return (
        f"threshold {point.threshold:g}; {percent(point.coverage)} pass, {percent(point.accuracy)} of them "
        f"right ({percent_range(point.accuracy_interval_95)})"
    )


@SECTIONS.add("Champion against challenger")
def champion(view: EvaluationView) -> Content | None:
    """Both models on the same images; nothing where there was no champion."""
    found = view.evaluation.comparison
    if not found:
        return None
    if found.p_value is None:
        return Content(before=[Text(found.model_package_arn), Text(f"Not compared: {found.reason}.")])
    return Content(before=[Text(found.model_package_arn), *_compared(found, view.evaluation)])


def _compared(found: Comparison, evaluation: Evaluation) -> list[Block]:
    champion_only, challenger_only = found.only_champion_right or 0, found.only_challenger_right or 0
    accuracy = found.accuracy or 0.0
    both = round(accuracy * evaluation.images) - champion_only
    neither = evaluation.images - both - champion_only - challenger_only
    rows = [
        ["challenger right", f"{both:,}", f"{challenger_only:,}"],
        ["challenger wrong", f"{champion_only:,}", f"{neither:,}"],
    ]
    note = (
        f"Champion {percent(accuracy)}, challenger {percent(evaluation.accuracy)}. Were both equally good, "
        f"the champion would do at least this well with probability {found.p_value:.2g} "
        "(McNemar's test, exact, one-sided)."
    )
    return [Table(["images", "champion right", "champion wrong"], rows), Text(note, soft=True)]


@SECTIONS.add("Worst mistakes")
def worst_mistakes(view: EvaluationView) -> Content:
    """The wrong answers given with the most confidence."""
    if not view.mistakes:
        return Content(before=[Text("None: every test image was answered rightly.")])
    note = f"The most confident {len(view.mistakes)} of {view.wrong:,}; ✓ passes the threshold."
    cards = [_card(mistake, view.evaluation.threshold or 0.0) for mistake in view.mistakes]
    return Content(before=[Text(note, soft=True), Cards(cards)])


def _card(mistake: Mistake, threshold: float) -> Card:
    lines = [
        CardLine("said ", mistake.predicted),
        CardLine("is ", mistake.true),
        CardLine(f"{mistake.confidence:.3f}{' ✓' if mistake.confidence >= threshold else ''}"),
    ]
    picture = f"data:image/png;base64,{base64.b64encode(mistake.png).decode()}"
    return Card(picture, "", lines, mistake.path)
