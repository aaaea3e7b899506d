"""What `report.json` says of captured traffic beyond its counts: quality, pictures to look at, notes on the report.

Runs in the monitoring container. Values in, values out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import numpy as np
import numpy.typing as npt
import pandas as pd

from monitoring.drift.channels import RATE_PER_MONTH
from monitoring.drift.detector import Floats
from monitoring.job_inputs.gather import Gathered
from monitoring.job_inputs.options import Options
from monitoring.page.chart_data import Labelled
from monitoring.page.track_record import track_record
from monitoring.publish import model_monitor
from monitoring.publish.metrics import metrics
from monitoring.quality.estimate import expected_accuracy
from monitoring.quality.labelling import Unlabelled, budget, label_first
from monitoring.quality.performance import Answers, answers_of, merge, performance
from monitoring.quality.unusual import Unusual, furthest, most_unusual
from monitoring.store.window_table import Live
from monitoring.summary import iso, least_confident_rows, prediction, summarize
from reporting.documents.report import DeploymentEntry, LabelFiles, LabelFirst, PerVersion, Quality, Report, Violation
from reporting.documents.traffic import Shown, Summary

Find = Callable[[pd.DataFrame, Mapping[str, Floats], Mapping[str, Floats], int], list[Unusual]]


@dataclass(frozen=True)
class Concluded:
    """The document, what the plots need besides it, and Model Monitor's files by name."""

    report: Report
    labelled: Labelled
    monitor_files: Mapping[str, model_monitor.Document]


def conclude(gathered: Gathered, options: Options, frame: pd.DataFrame) -> Concluded:
    """``report.json`` but for its verdict. ``frame`` is the table of the captures with its column ``below``."""
    collected, classes = gathered.collected, gathered.classes
    summary = summarize(
        dataclasses.replace(collected.captures, frame=frame),
        options.window,
        classes,
        gathered.thresholds,
        endpoint=options.endpoint,
        data_origin=options.data_origin,
        least_confident=least_confident_rows(frame, options.least_confident),
    )
    own = _own(frame, collected.source.live)
    answers = answers_of(frame.iloc[own], ~frame["below"].to_numpy(bool)[own], len(classes))
    labelled, rows = _labelled(answers, gathered)
    drift = collected.watched.drift if collected.watched else None
    violations = model_monitor.violations(collected.watched.findings if collected.watched else [])
    report = Report(
        **msgspec.structs.asdict(summary),
        drift=drift,
        no_drift_because=_no_drift_because(gathered),
        quality=_quality(answers, own, gathered),
        mistakes=_mistakes(frame, labelled, own[rows], options.least_confident),
        most_unusual=_pictures(most_unusual, frame, gathered, options.least_confident),
        farthest=_pictures(furthest, frame, gathered, options.least_confident),
        deployments=[
            DeploymentEntry(iso(each.at), each.version, each.outcome) for each in gathered.context.deployments
        ],
        capture_gap=collected.capture_gap,
        violations=violations,
        metrics=metrics(summary, drift, collected.capture_gap),
        notes=[*gathered.notes, *_notes(summary)],
        about=about(options),
        per_version=per_version(frame, options.model_package),
        track_record=track_record(gathered, options),
    )
    return Concluded(report, labelled, _model_monitor(gathered, violations))


def _own(frame: pd.DataFrame, live: Live) -> npt.NDArray[np.int64]:
    """The rows that the report's version answered, as far as the answers name one."""
    return np.flatnonzero([live.answered(version) for version in frame["model_version"]]).astype(np.int64)


def about(options: Options) -> dict[str, str]:
    """What the report is about, as far as the job was told."""
    package = options.model_package.rpartition(":model-package/")[2]
    execution = options.report_uri.rstrip("/").rpartition("/")[2]
    told = {"endpoint": options.endpoint or "", "version": package, "stage": options.stage, "execution": execution,
            "written": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"}  # fmt: skip
    return {name: value for name, value in told.items() if value}


def per_version(frame: pd.DataFrame, live: str) -> list[PerVersion]:
    """Predictions by the version that their answers name, the first one first; what names none counts as live."""
    named = frame["model_version"].fillna(live)
    found = []
    for version, rows in frame.groupby(named.where(named != "", "unknown"), sort=False):
        found.append(
            PerVersion(
                version=str(version).rpartition(":model-package/")[2],
                live=version == live,
                count=len(rows),
                mean_confidence=float(rows["confidence"].mean()),
                first=iso(rows["time"].iloc[0]),
                last=iso(rows["time"].iloc[-1]),
            )
        )
    return found


def _model_monitor(gathered: Gathered, violations: list[Violation]) -> dict[str, model_monitor.Document]:
    """Model Monitor's files; none where drift was not looked for."""
    watched, baseline, classes = gathered.collected.watched, gathered.baseline, gathered.classes
    if watched is None or baseline is None:
        return {}
    expected = baseline.predictions(gathered.thresholds.by_index(classes, len(classes)).tolist())
    return {
        model_monitor.STATISTICS_FILE: model_monitor.statistics(watched.predictions, classes),
        model_monitor.CONSTRAINTS_FILE: model_monitor.constraints(expected, classes, RATE_PER_MONTH),
        **{name: {"violations": violations} for name in model_monitor.VIOLATIONS_FILES},
    }


def _quality(answers: Answers, own: npt.NDArray[np.int64], gathered: Gathered) -> Quality:
    truth, baseline = gathered.truth, gathered.baseline
    expected = expected_accuracy(
        answers.probabilities, gathered.collected.watched, baseline.document if baseline else None
    )
    return Quality(
        estimated_accuracy=expected.accuracy,
        no_estimate_because=expected.because,
        label_budget=budget(expected.accuracy.value if expected.accuracy else None, len(answers.probabilities)),
        label_first=_label_first(answers, own, gathered),
        **msgspec.structs.asdict(performance(answers, truth.labels, gathered.classes)),
        ground_truth=LabelFiles(truth.files, truth.lines, dict(truth.unusable.most_common(20)), truth.contradictions),
    )


def _label_first(answers: Answers, own: npt.NDArray[np.int64], gathered: Gathered) -> list[LabelFirst]:
    watched, truth = gathered.collected.watched, gathered.truth.labels
    ids = [name or event for name, event in zip(answers.inference_ids, answers.event_ids, strict=True)]
    known = [event in truth or name in truth for name, event in zip(ids, answers.event_ids, strict=True)]
    seen = Unlabelled(
        ids,
        answers.probabilities.max(axis=1, initial=0.0),
        [gathered.classes[index] for index in answers.probabilities.argmax(axis=1).tolist()] if ids else [],
        {name: values[own] for name, values in gathered.collected.image_statistics.items()},
        ~np.array(known, bool),
    )
    families = watched.drift.families if watched else []
    moved = [name for family in families for name, channel in family.channels.items() if channel.moved]
    return label_first(seen, moved, gathered.baseline.statistics if gathered.baseline else {})


def _no_drift_because(gathered: Gathered) -> str | None:
    if gathered.collected.watched is not None:
        return None
    return "no baseline" if gathered.baseline is None else "the version was deployed after the window"


def _notes(summary: Summary) -> list[str]:
    misplaced = summary.counts.misplaced
    if not misplaced:
        return []
    return [f"Predictions that say another hour than the file they stand in, since a clock is wrong: {misplaced:,}"]


def _labelled(answers: Answers, gathered: Gathered) -> tuple[Labelled, npt.NDArray[np.int64]]:
    rows, truth, _ = merge(answers, gathered.truth.labels)
    probabilities = answers.probabilities[rows]
    confidence = probabilities.max(axis=1, initial=0.0)
    predicted = probabilities.argmax(axis=1) if len(rows) else np.empty(0, np.int64)
    return Labelled(confidence, predicted, truth, gathered.classes, gathered.thresholds.default), rows


def _mistakes(frame: pd.DataFrame, labelled: Labelled, rows: npt.NDArray[np.int64], most: int) -> list[Shown]:
    wrong = np.flatnonzero(labelled.predicted != labelled.truth)
    surest = wrong[np.argsort(-labelled.confidence[wrong], kind="stable")][:most]
    return [
        msgspec.structs.replace(
            prediction(frame, int(rows[at]), labelled.classes),
            true_label=labelled.classes[int(labelled.truth[at])],
        )
        for at in surest
    ]


def _pictures(find: Find, frame: pd.DataFrame, gathered: Gathered, most: int) -> list[Shown]:
    reference: Mapping[str, npt.NDArray[np.float64]] = gathered.baseline.statistics if gathered.baseline else {}
    return [
        msgspec.structs.replace(
            prediction(frame, found.row, gathered.classes),
            statistic=found.statistic,
            value=found.value,
            usual=found.usual,
            deviations=found.deviations,
        )
        for found in find(frame, gathered.collected.image_statistics, reference, most)
    ]
