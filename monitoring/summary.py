"""The numbers of a report: from the table of captured predictions to the document ``report.json``.

Runs in the monitoring container. Values in, values out; it touches no files. Every number in the document is finite;
a figure that does not exist (the mean of no predictions) is null.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from datetime import datetime, timedelta
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import pandas as pd

from monitoring.captures.folders import hour_of
from monitoring.captures.times import HOUR_US
from monitoring.store.aggregates import Thresholds
from monitoring.store.window_table import LATE, Captures, Window

Floats = npt.NDArray[np.float64]

# Capture folders are hourly: a silence as long as one of them is worth naming.
GAP = timedelta(hours=1)
PERCENTILES = (5, 10, 25, 75, 90, 95)
MALFORMED_LISTED = 100


class Summary(TypedDict):
    """The counts and shares of ``report.json``; `monitoring.report` puts what it concludes from them around these.

    Times are ISO 8601 in UTC, shares lie between 0 and 1.

    - ``version``: of this layout, 2.
    - ``data_origin``: what the images were that the model was trained on, usually ``photographs``.
    - ``endpoint``: the endpoint asked for, or null for all below the folder.
    - ``window``: ``start`` (included) and ``end`` (excluded).
    - ``threshold``: a prediction passes when its confidence is at or above it; ``class_thresholds``: classes that have
      another, by label.
    - ``classes``: the labels, in the order of the probabilities.
    - ``counts``: ``records`` (predictions in the window, all figures below are about these), ``malformed`` (lines that
      could not be used, see ``malformed``), ``duplicates`` (lines whose eventId had come before), ``outside_window``
      (lines of another window in the files read), ``files`` (files with records of the window), ``misplaced``
      (predictions whose time is hours away from that of the file they stand in: a clock is wrong), and
      `monitoring.store.window_table.LeftOut`: ``smoke_tests``, ``shadow``, ``other_versions``.
    - ``first``, ``last``: times of the first and the last prediction, or null.
    - ``below_threshold``, ``share_below_threshold``: number and share of the predictions that do not pass.
    - ``confidence``: ``mean``, ``median``, ``min``, ``max`` and the percentiles ``p5 p10 p25 p75 p90 p95`` (linear
      interpolation) of the highest probability.
    - ``per_class``: for each label by predicted class ``count``, ``share``, ``mean_confidence``, ``below_threshold``,
      ``share_below_threshold``.
    - ``per_variant``: the same figures as a list, with ``endpoint`` and ``variant`` ("unknown" where the path of the
      capture files does not say), and their ``first`` and ``last`` prediction.
    - ``per_hour``: for each hour with predictions ``hour`` (its start), ``count``, ``mean_confidence``,
      ``min_confidence``, ``below_threshold``, ``share_below_threshold`` and ``per_class`` (predictions by label).
    - ``gaps``: stretches of the window of an hour or more without a prediction: ``start``, ``end``, ``seconds``.
    - ``least_confident``: the predictions with the lowest confidence, lowest first: ``event_id``, ``inference_id``
      (null where none was sent), ``time``, ``endpoint``, ``variant``, ``predicted`` (label), ``confidence``, ``passes``
      and ``row`` (position by time).
    - ``malformed``: ``listed`` (the first 100: ``file``, ``line``, ``reason``) and ``reasons`` (how often each reason
      occurred, most frequent first, at most 100); all of them stand in ``quarantine.jsonl``.
    """

    version: int
    data_origin: str
    endpoint: str | None
    window: dict[str, str]
    threshold: float
    class_thresholds: dict[str, float]
    classes: list[str]
    counts: dict[str, int]
    first: str | None
    last: str | None
    below_threshold: int
    share_below_threshold: float | None
    confidence: dict[str, float | None]
    per_class: dict[str, dict[str, Any]]
    per_variant: list[dict[str, Any]]
    per_hour: list[dict[str, Any]]
    gaps: list[dict[str, Any]]
    least_confident: list[dict[str, Any]]
    malformed: dict[str, Any]


def summarize(
    captures: Captures,
    window: Window,
    classes: tuple[str, ...],
    thresholds: Thresholds,
    *,
    endpoint: str | None,
    least_confident: npt.NDArray[np.int64],
) -> Summary:
    """The figures of a window whose table has the column ``below`` (`below_threshold`) too.

    ``least_confident`` are positions in the table, see `least_confident_rows`.
    """
    frame = captures.frame
    confidence = frame["confidence"].to_numpy(np.float64)
    overall = _figures(frame)
    ends = _first_and_last(frame)
    return {
        "version": 2,
        "data_origin": "photographs",
        "endpoint": endpoint,
        "window": {"start": iso(window.start), "end": iso(window.end)},
        "threshold": thresholds.default,
        "class_thresholds": {name: value for name, value in thresholds.classes.items() if name in classes},
        "classes": list(classes),
        "counts": {
            "records": len(frame),
            "malformed": captures.malformed,
            "duplicates": captures.duplicates,
            "outside_window": captures.outside_window,
            "files": len(captures.files),
            **dataclasses.asdict(captures.left_out),
            "misplaced": _misplaced(captures),
        },
        "first": ends["first"],
        "last": ends["last"],
        "below_threshold": overall["below_threshold"],
        "share_below_threshold": overall["share_below_threshold"],
        "confidence": _distribution(confidence),
        "per_class": _per_class(frame, classes),
        "per_variant": _per_variant(frame),
        "per_hour": _per_hour(frame, classes),
        "gaps": _gaps(frame["time"], window),
        "least_confident": [prediction(frame, int(row), classes) for row in least_confident],
        "malformed": _malformed(captures),
    }


def least_confident_rows(frame: pd.DataFrame, count: int) -> npt.NDArray[np.int64]:
    """Positions of the predictions with the lowest confidence, lowest first, the earlier one first when equal."""
    return np.argsort(frame["confidence"].to_numpy(np.float64), kind="stable")[:count].astype(np.int64)


def iso(time: datetime) -> str:
    """``2026-01-31T12:00:00Z``, with a fraction only where there is one."""
    return time.isoformat().replace("+00:00", "Z")


def below_threshold(frame: pd.DataFrame, classes: tuple[str, ...], thresholds: Thresholds) -> npt.NDArray[np.bool_]:
    """Which predictions do not pass, each by the threshold of its class."""
    needed = thresholds.by_index(classes, len(classes))[frame["predicted"].to_numpy(np.int64)]
    below: npt.NDArray[np.bool_] = frame["confidence"].to_numpy(np.float64) < needed
    return below


def _figures(rows: pd.DataFrame) -> dict[str, Any]:
    confidence, below = rows["confidence"].to_numpy(np.float64), int(rows["below"].sum())
    return {
        "count": len(confidence),
        "mean_confidence": float(confidence.mean()) if len(confidence) else None,
        "below_threshold": below,
        "share_below_threshold": below / len(confidence) if len(confidence) else None,
    }


def _distribution(confidence: Floats) -> dict[str, float | None]:
    names = ["mean", "median", "min", "max", *(f"p{percent}" for percent in PERCENTILES)]
    if not len(confidence):
        return dict.fromkeys(names)
    values = [confidence.mean(), np.median(confidence), confidence.min(), confidence.max()]
    values += list(np.percentile(confidence, PERCENTILES))
    return {name: float(value) for name, value in zip(names, values, strict=True)}


def _first_and_last(frame: pd.DataFrame) -> dict[str, str | None]:
    if frame.empty:
        return {"first": None, "last": None}
    return {"first": iso(frame["time"].iloc[0]), "last": iso(frame["time"].iloc[-1])}


def _per_class(frame: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    result = {}
    for index, label in enumerate(classes):
        figures = _figures(frame[frame["predicted"] == index])
        result[label] = {**figures, "share": figures["count"] / len(frame) if len(frame) else None}
    return result


def _per_variant(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [
        {
            "endpoint": str(endpoint),
            "variant": str(variant),
            **_figures(rows),
            **_first_and_last(rows),
        }
        for (endpoint, variant), rows in frame.groupby(["endpoint", "variant"], observed=True)
    ]


def _per_hour(frame: pd.DataFrame, classes: tuple[str, ...]) -> list[dict[str, Any]]:
    result = []
    for hour, rows in frame.groupby(frame["time"].dt.floor("h")):
        confidence = rows["confidence"].to_numpy(np.float64)
        by_class = np.bincount(rows["predicted"].to_numpy(np.int64), minlength=len(classes))
        result.append(
            {
                "hour": iso(pd.Timestamp(str(hour)).to_pydatetime()),
                **_figures(rows),
                "min_confidence": float(confidence.min()),
                "per_class": {label: int(count) for label, count in zip(classes, by_class, strict=True)},
            }
        )
    return result


def _misplaced(captures: Captures) -> int:
    """A file's folder is the hour it was opened or delivered in, so up to LATE after its records."""
    hours = np.array([-1 if (hour := hour_of(name.rpartition("/")[0])) is None else hour for name in captures.files])
    if captures.frame.empty:
        return 0
    folder = hours[captures.frame["file"].to_numpy(np.int64)]
    # Microseconds whatever unit pandas keeps its times in.
    own = captures.frame["time"].dt.tz_localize(None).to_numpy().astype("datetime64[us]").astype(np.int64) // HOUR_US
    away = int(LATE / timedelta(hours=1))
    return int(((folder >= 0) & (np.abs(folder - own) > away)).sum())


def _gaps(times: pd.Series[pd.Timestamp], window: Window) -> list[dict[str, Any]]:
    edges = np.array([_naive(window.start), *times.dt.tz_localize(None), _naive(window.end)], dtype="datetime64[us]")
    lengths = np.diff(edges)
    return [
        {
            "start": iso(edges[at].item()) + "Z",
            "end": iso(edges[at + 1].item()) + "Z",
            "seconds": float(lengths[at] / np.timedelta64(1, "s")),
        }
        for at in np.flatnonzero(lengths >= np.timedelta64(GAP))
    ]


def _naive(time: datetime) -> datetime:
    return time.replace(tzinfo=None)


def prediction(frame: pd.DataFrame, row: int, classes: tuple[str, ...]) -> dict[str, Any]:
    """One row of the table, which has the column ``below`` too, as `Summary` lists them."""
    place = frame.iloc[row]
    return {
        "row": row,
        "event_id": place["event_id"],
        "inference_id": place["inference_id"],
        "time": iso(place["time"]),
        "endpoint": str(place["endpoint"]),
        "variant": str(place["variant"]),
        "predicted": classes[int(place["predicted"])],
        "confidence": float(place["confidence"]),
        "passes": not place["below"],
    }


def _malformed(captures: Captures) -> dict[str, Any]:
    listed = captures.quarantined[:MALFORMED_LISTED]
    return {
        "listed": [{"file": bad.file, "line": bad.line, "reason": bad.reason} for bad in listed],
        "reasons": dict(Counter(bad.reason for bad in captures.quarantined).most_common(MALFORMED_LISTED)),
    }
