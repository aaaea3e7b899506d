"""The sections of ``report.html``, in the order in which they stand on the page.

Runs in the monitoring container. Values in, blocks out. A further section is one more function here, registered with
`SECTIONS.add`; charts say themselves which section they belong to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgspec import UNSET

from monitoring.page.chart_data import ENOUGH_FOR_A_COURSE
from monitoring.page.drift_tables import channel_table, class_share_blocks, held_against, state_of
from monitoring.page.parts import brush
from monitoring.page.thumbnails import thumbnail
from monitoring.page.versions import version_blocks
from reporting.documents.report import Family, LabelledAccuracy, Performance, Quality, Report
from reporting.documents.traffic import Figures, PerVariant, Shown
from reporting.page import Block, Card, CardLine, Cards, Content, Heading, Sections, Table, Text
from reporting.wording import UNKNOWN, clock, count, duration, number, percent

ROWS_SHOWN = 20


@dataclass(frozen=True)
class ReportView:
    """What the page is made from: the report, and captured images by the ``row`` of the predictions that are shown."""

    report: Report
    images: Mapping[int, bytes | None]


SECTIONS: Sections[ReportView] = Sections()


def moved(family: Family) -> list[str]:
    """The channels of a family that its alarm is about."""
    return [name.replace("_", " ") for name, channel in family.channels.items() if channel.moved]


@SECTIONS.add("Traffic")
def traffic(view: ReportView) -> Content | None:
    """Charts, and in words what is too short for them."""
    report = view.report
    if not report.counts.records or report.counts.records >= ENOUGH_FOR_A_COURSE:
        return Content(before=brush(report), after=version_blocks(report)) if report.per_version else None
    passed = report.counts.records - report.below_threshold
    said = (
        f"{count(report.counts.records, 'prediction')}, too few to draw over time: mean confidence "
        f"{number(report.confidence.mean)}, from {number(report.confidence.min)} to {number(report.confidence.max)}; "
        f"{passed:,} of {report.counts.records:,} pass."
    )
    return Content(before=[Text(said)], after=version_blocks(report))


@SECTIONS.add("Drift")
def drift(view: ReportView) -> Content | None:
    """Evidence, channels and violations; nothing where drift was not looked for."""
    found = view.report.drift
    if found is None:
        return None
    before: list[Block] = [Text(held_against(found), soft=True)]
    after: list[Block] = [Heading("How often each class is predicted"), *class_share_blocks(found)]
    for family in found.families:
        if family.channels:
            after += [Heading(f"{family.family.capitalize()}: {state_of(family)}"), channel_table(family)]
    note = (
        "Only the evidence decides. The distances describe, and are large on few predictions of healthy traffic too; "
        "Wasserstein is in the channel's own unit."
    )
    after.append(Text(note, soft=True))
    violations = [[v.feature_name, v.description] for v in view.report.violations]
    if violations:
        after += [Heading("Violations"), Table(["feature", "what was found"], violations, text_columns=2)]
    return Content(before=before, after=after)


@SECTIONS.add("Quality")
def quality(view: ReportView) -> Content | None:
    """How right the model was, where that is known, and what its confidence says of the rest."""
    found = view.report.quality
    estimated, labelled = found.estimated_accuracy, found.accuracy
    if not view.report.counts.records:
        return None
    facts = [_labelled(found.labelled, labelled)]
    if estimated:
        facts.append(f"expected accuracy of all predictions {_with_interval(estimated.value, estimated.interval)}")
    else:
        facts.append(f"what the rest amounts to is not estimated, because {found.no_estimate_because}")
    facts += [f"{count(n, 'label')} cannot be used: {reason}" for reason, n in found.ground_truth.unusable.items()]
    if found.unknown_ids:
        facts.append(f"{count(found.unknown_ids, 'label')} of predictions that the window does not have")
    if contradictions := found.ground_truth.contradictions:
        said = "contradicts an earlier one, and counts" if contradictions == 1 else "contradict earlier ones, and count"
        facts.append(f"{count(contradictions, 'label')} {said}")
    before = [Text(f"{'; '.join(facts)}.")]
    if estimated:
        before.append(Text(estimated.caveat, soft=True))
    return Content(before=before, after=[*([_per_class(found)] if labelled else []), *_to_label(found)])


def _to_label(found: Quality) -> list[Block]:
    """How many labels say how right the model is, and which ones would teach most."""
    if not found.label_budget:
        return []
    sizes = ", ".join(f"{number:,} for ± {float(half):.0%}" for half, number in found.label_budget.items())
    how = f"To know the accuracy of this window, label predictions drawn by chance: {sizes.replace('%', ' %')}."
    rows = [[row.id, row.why, row.predicted, number(row.confidence)] for row in found.label_first]
    what = "To cure the model, label these first; being chosen, they say nothing of the accuracy of the others."
    listed: list[Block] = [
        Text(what, soft=True),
        Table(["prediction", "why", "predicted", "confidence"], rows, text_columns=3),
    ]
    return [Heading("What to label"), Text(how), *(listed if rows else [])]


def _labelled(how_many: int, accuracy: LabelledAccuracy | None) -> str:
    if accuracy is None:
        return "No prediction of the window is labelled yet"
    figure = f"{count(how_many, 'prediction')} labelled: accuracy {_with_interval(accuracy.value, accuracy.interval)}"
    if accuracy.traffic is None:
        return f"{figure}, of what was labelled, which may be mostly what did not pass"
    return f"{figure}, weighed by what passes {_with_interval(accuracy.traffic, accuracy.traffic_interval or [0, 1])}"


def _with_interval(value: float, interval: Sequence[float]) -> str:
    low, high = interval
    return f"{value:.3f} (95 %: {low:.3f} to {high:.3f})"


def _per_class(found: Performance) -> Table:
    rows = [
        [name, f"{row.labels:,}", number(row.precision), number(row.recall), number(row.f1), number(found.auc[name])]
        for name, row in found.per_class.items()
    ]
    return Table(["class", "labels", "precision", "recall", "F1", "AUC"], rows)


@SECTIONS.add("Least confident predictions")
def least_confident(view: ReportView) -> Content | None:
    """The predictions with the lowest confidence."""
    note = "Lowest confidence first; ✓ passes the threshold. Below each: the inference id, or else the event id."
    return _cards(note, view.report.least_confident, view.images)


@SECTIONS.add("Surest mistakes")
def mistakes(view: ReportView) -> Content | None:
    """Labelled predictions that are wrong."""
    note = "Labelled predictions that are wrong, the most confident first."
    return _cards(note, view.report.mistakes, view.images)


@SECTIONS.add("Farthest from the training images")
def farthest(view: ReportView) -> Content | None:
    """Images that are unlike what the model learned from."""
    note = "Of the images that were looked at, those furthest from the training images, as the model itself sees them."
    return _cards(note, view.report.farthest, view.images)


@SECTIONS.add("Most unusual images")
def most_unusual(view: ReportView) -> Content | None:
    """Images that are least like the usual ones."""
    note = "Of the images that were looked at, those least like the usual ones, and how far from the median."
    return _cards(note, view.report.most_unusual, view.images)


def _cards(note: str, rows: Sequence[Shown], images: Mapping[int, bytes | None]) -> Content | None:
    if not rows:
        return None
    return Content(before=[Text(note, soft=True), Cards([_card(row, images.get(row.row)) for row in rows])])


def _card(row: Shown, image: bytes | None) -> Card:
    lines = [CardLine(strong=row.predicted, after=f" {row.confidence:.3f}{' ✓' if row.passes else ''}")]
    if row.true_label is not UNSET:
        lines.append(CardLine(f"is a {row.true_label}"))
    if row.statistic is not UNSET:
        far = f"{row.value:.3g}, usually {row.usual:.3g} ({row.deviations:.1f} sd)"
        lines.append(CardLine(f"{row.statistic.replace('_', ' ')} {far}"))
    lines.append(CardLine(clock(row.time)))
    missing = "no captured input" if image is None else "input is not an image"
    return Card(thumbnail(image), missing, lines, row.inference_id or row.event_id)


@SECTIONS.add("By predicted class")
def by_class(view: ReportView) -> Content | None:
    """Number, mean confidence and share below the threshold of each class; of many, the commonest first."""
    figures = list(view.report.per_class.items())
    if len(figures) > Table.longest:
        figures.sort(key=lambda of_class: -of_class[1].count)
    rows = [[label, *_figures(row, view.report)] for label, row in figures]
    return _figures_table(["class"], rows, view.report)


@SECTIONS.add("By variant")
def by_variant(view: ReportView) -> Content | None:
    """The same of each variant of each endpoint."""
    rows = [[row.endpoint, row.variant, *_figures(row, view.report)] for row in view.report.per_variant]
    return _figures_table(["endpoint", "variant"], rows, view.report)


def _figures_table(names: list[str], rows: list[list[str]], report: Report) -> Content | None:
    if not report.counts.records:
        return None
    headers = [*names, "predictions", "mean confidence", "below threshold"]
    return Content(before=[Table(headers, rows, text_columns=len(names))])


def _figures(row: Figures | PerVariant, report: Report) -> list[str]:
    records = report.counts.records
    return [
        f"{row.count:,} ({percent(row.count / records)})" if records else "0",
        number(row.mean_confidence),
        f"{row.below_threshold:,} ({percent(row.below_threshold / row.count)})" if row.count else UNKNOWN,
    ]


@SECTIONS.add("Distribution of confidence")
def distribution(view: ReportView) -> Content | None:
    """Extremes, percentiles and mean."""
    found = view.report.confidence
    if found.mean is None:
        return None
    columns = {
        "min": found.min, "5 %": found.p5, "25 %": found.p25, "median": found.median, "75 %": found.p75,
        "95 %": found.p95, "max": found.max, "mean": found.mean,
    }  # fmt: skip
    return Content(before=[Table(list(columns), [[number(value) for value in columns.values()]], text_columns=0)])


@SECTIONS.add("Deployments")
def deployments(view: ReportView) -> Content | None:
    """The endpoint's history, the newest first."""
    newest = view.report.deployments[-ROWS_SHOWN:][::-1]
    rows = [[clock(each.at), each.version, each.outcome] for each in newest]
    return Content(before=[Table(["at (UTC)", "version", "outcome"], rows, text_columns=3)]) if rows else None


@SECTIONS.add("Completeness of the data")
def completeness(view: ReportView) -> Content:
    """What was read, what was left out, and what is missing."""
    counts, gap = view.report.counts, view.report.capture_gap
    texts = [
        f"{count(counts.files, 'file')} read; {count(counts.malformed, 'malformed line')}; "
        f"{count(counts.duplicates, 'duplicate')} left out; "
        f"{count(counts.outside_window, 'line')} of other windows left out."
    ]
    apart = {
        "of smoke tests": counts.smoke_tests,
        "of the shadow variant": counts.shadow,
        "of versions with other classes": counts.other_versions,
    }
    left_out = ", ".join(f"{n:,} {what}" for what, n in apart.items() if n)
    if left_out:
        texts.append(f"No traffic of this version's, and left out: {left_out}.")
    if gap is not None:
        texts.append(f"{percent(gap)} of the endpoint's requests in whole hours were not captured.")
    return Content(before=[*map(Text, texts), *_gaps(view.report), *_malformed(view.report)])


def _gaps(report: Report) -> list[Block]:
    gaps = sorted(report.gaps, key=lambda gap: -gap.seconds)
    if not gaps:
        return [Text("No stretch of an hour or more without a prediction.")]
    rows = [[clock(gap.start), clock(gap.end), duration(gap.seconds)] for gap in gaps[:ROWS_SHOWN]]
    listed = Table(["no prediction from (UTC)", "to", "for"], rows, text_columns=2)
    return [Heading("Gaps of an hour or more"), listed, *_left_out(len(rows), len(gaps), "longest gaps", "report.json")]


def _malformed(report: Report) -> list[Block]:
    rows = [[f"{bad.file}:{bad.line}", bad.reason] for bad in report.malformed.listed[:ROWS_SHOWN]]
    if not rows:
        return []
    listed = Table(["file and line", "reason"], rows, text_columns=2)
    rest = _left_out(len(rows), report.counts.malformed, "malformed lines", "quarantine.jsonl")
    return [Heading("Malformed lines"), listed, *rest]


def _left_out(listed: int, number_of_all: int, what: str, where: str) -> list[Block]:
    if number_of_all <= listed:
        return []
    return [Text(f"The first {listed} of {number_of_all:,} {what}; all stand in {where}.", soft=True)]
