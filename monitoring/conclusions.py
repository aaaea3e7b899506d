"""What `report.json` says of captured traffic beyond its counts: quality, pictures to look at, notes on the report.

Runs in the monitoring container. Values in, values out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from monitoring.drift.findings import RATE_PER_MONTH
from monitoring.job_inputs.gather import Gathered
from monitoring.job_inputs.options import Options
from monitoring.page.plots_drift import Labelled
from monitoring.publish import model_monitor
from monitoring.publish.metrics import metrics
from monitoring.quality.performance import Answers, merge, performance
from monitoring.quality.unusual import most_unusual
from monitoring.summary import Summary, iso, least_confident_rows, prediction, summarize


@dataclass
class Concluded:
    """The document, what the plots need besides it, and Model Monitor's files by name."""

    document: dict[str, Any]
    labelled: Labelled
    model_monitor: dict[str, dict[str, Any]]


def conclude(gathered: Gathered, options: Options, frame: pd.DataFrame) -> Concluded:
    """``report.json``: `Summary`, and

    - ``drift``: `monitoring.drift.watch.describe` and what was held against what, or null; then ``no_drift_because``.
    - ``quality``: `monitoring.quality.performance.Performance` with ``ground_truth``: ``files``, ``lines``,
      ``unusable``.
    - ``mistakes``, ``most_unusual``: predictions as in ``least_confident``, with ``true_label``; with ``statistic``,
      ``value``, ``usual``, ``deviations``.
    - ``deployments`` (``at``, ``version``, ``outcome``), ``capture_gap`` (share of requests), ``violations`` (those of
      constraint_violations.json), ``metrics`` (see `monitoring.publish.metrics`), ``notes`` (sentences about the
      report).

    ``frame`` is the table of the captures with its column ``below``.
    """
    collected, classes = gathered.collected, gathered.classes
    summary = summarize(
        dataclasses.replace(collected.captures, frame=frame),
        options.window,
        classes,
        gathered.thresholds,
        endpoint=options.endpoint,
        least_confident=least_confident_rows(frame, options.least_confident),
    )
    summary["data_origin"] = options.data_origin
    answers = Answers(
        np.array(frame["probabilities"].tolist(), np.float64).reshape(len(frame), len(classes)),
        ~frame["below"].to_numpy(bool),
        frame["event_id"].tolist(),
        frame["inference_id"].tolist(),
    )
    labelled, rows = _labelled(answers, gathered)
    watched, baseline = collected.watched, gathered.baseline
    drift = None if watched is None else watched.document
    documents: dict[str, dict[str, Any]] = {}
    if watched is not None and baseline is not None:
        violations = model_monitor.violations(watched.findings)
        documents = {
            model_monitor.STATISTICS_FILE: model_monitor.statistics(watched.predictions, classes),
            model_monitor.CONSTRAINTS_FILE: model_monitor.constraints(
                baseline.predictions(gathered.thresholds.by_index(classes, len(classes)).tolist()),
                classes,
                RATE_PER_MONTH,
            ),
            **dict.fromkeys(model_monitor.VIOLATIONS_FILES, violations),
        }
    document = {
        **summary,
        "drift": drift,
        "no_drift_because": _no_drift_because(gathered),
        "quality": {
            **performance(answers, gathered.truth.labels, classes),
            "ground_truth": {
                "files": gathered.truth.files,
                "lines": gathered.truth.lines,
                "unusable": dict(gathered.truth.unusable.most_common(20)),
            },
        },
        "mistakes": _mistakes(frame, labelled, rows, options.least_confident),
        "most_unusual": _most_unusual(frame, gathered, options.least_confident),
        "deployments": [
            {"at": iso(each.at), "version": each.version, "outcome": each.outcome}
            for each in gathered.context.deployments
        ],
        "capture_gap": collected.capture_gap,
        "violations": documents[model_monitor.VIOLATIONS_FILES[0]]["violations"] if documents else [],
        "metrics": metrics(summary, drift, collected.capture_gap),
        "notes": [*gathered.notes, *_notes(summary)],
    }
    return Concluded(document, labelled, documents)


def _no_drift_because(gathered: Gathered) -> str | None:
    if gathered.collected.watched is not None:
        return None
    return "no baseline" if gathered.baseline is None else "the version was deployed after the window"


def _notes(summary: Summary) -> list[str]:
    misplaced = summary["counts"]["misplaced"]
    if not misplaced:
        return []
    return [f"Predictions that say another hour than the file they stand in, since a clock is wrong: {misplaced:,}"]


def _labelled(answers: Answers, gathered: Gathered) -> tuple[Labelled, npt.NDArray[np.int64]]:
    rows, truth, _ = merge(answers, gathered.truth.labels)
    probabilities = answers.probabilities[rows]
    confidence = probabilities.max(axis=1, initial=0.0)
    predicted = probabilities.argmax(axis=1) if len(rows) else np.empty(0, np.int64)
    return Labelled(confidence, predicted, truth, gathered.classes, gathered.thresholds.default), rows


def _mistakes(frame: pd.DataFrame, labelled: Labelled, rows: npt.NDArray[np.int64], most: int) -> list[dict[str, Any]]:
    wrong = np.flatnonzero(labelled.predicted != labelled.truth)
    surest = wrong[np.argsort(-labelled.confidence[wrong], kind="stable")][:most]
    return [
        {
            **prediction(frame, int(rows[at]), labelled.classes),
            "true_label": labelled.classes[int(labelled.truth[at])],
        }
        for at in surest
    ]


def _most_unusual(frame: pd.DataFrame, gathered: Gathered, most: int) -> list[dict[str, Any]]:
    collected = gathered.collected
    reference: Mapping[str, npt.NDArray[np.float64]] = gathered.baseline.statistics if gathered.baseline else {}
    return [
        {
            **prediction(frame, found.row, gathered.classes),
            "statistic": found.statistic,
            "value": found.value,
            "usual": found.usual,
            "deviations": found.deviations,
        }
        for found in most_unusual(frame, collected.image_statistics, reference, most)
    ]
