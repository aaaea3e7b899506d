"""The numbers of a report: from the table of captured predictions to the first part of ``report.json``.

Runs in the monitoring container. Values in, values out; it touches no files. Every number in the document is finite;
a figure that does not exist (the mean of no predictions) is null.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from monitoring.captures.folders import hour_of
from monitoring.captures.times import HOUR_US
from monitoring.store.aggregates import Thresholds
from monitoring.store.window_table import LATE, Captures, Window
from reporting.documents.traffic import (
    VERSION,
    Counts,
    Distribution,
    Figures,
    Gap,
    MalformedLine,
    MalformedLines,
    PerClass,
    PerHour,
    PerVariant,
    Shown,
    Summary,
    TimeSpan,
)

Floats = npt.NDArray[np.float64]

# Capture folders are hourly: a silence as long as one of them is worth naming.
GAP = timedelta(hours=1)
PERCENTILES = (5, 10, 25, 75, 90, 95)
MALFORMED_LISTED = 100


def summarize(
    captures: Captures,
    window: Window,
    classes: tuple[str, ...],
    thresholds: Thresholds,
    *,
    endpoint: str | None,
    data_origin: str,
    least_confident: npt.NDArray[np.int64],
) -> Summary:
    """The figures of a window whose table has the column ``below`` (`below_threshold`) too.

    ``least_confident`` are positions in the table, see `least_confident_rows`.
    """
    frame = captures.frame
    confidence = frame["confidence"].to_numpy(np.float64)
    overall = _figures(frame)
    first, last = _first_and_last(frame)
    return Summary(
        version=VERSION,
        data_origin=data_origin,
        endpoint=endpoint,
        window=TimeSpan(iso(window.start), iso(window.end)),
        threshold=thresholds.default,
        class_thresholds={name: value for name, value in thresholds.classes.items() if name in classes},
        classes=list(classes),
        counts=_counts(captures),
        first=first,
        last=last,
        below_threshold=overall.below_threshold,
        share_below_threshold=overall.share_below_threshold,
        confidence=_distribution(confidence),
        per_class=_per_class(frame, classes),
        per_variant=_per_variant(frame),
        per_hour=_per_hour(frame, classes),
        gaps=_gaps(frame["time"], window),
        least_confident=[prediction(frame, int(row), classes) for row in least_confident],
        malformed=_malformed(captures),
    )


def _counts(captures: Captures) -> Counts:
    return Counts(
        records=len(captures.frame),
        malformed=captures.malformed,
        duplicates=captures.duplicates,
        outside_window=captures.outside_window,
        files=len(captures.files),
        smoke_tests=captures.left_out.smoke_tests,
        shadow=captures.left_out.shadow,
        other_versions=captures.left_out.other_versions,
        misplaced=_misplaced(captures),
    )


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


def _figures(rows: pd.DataFrame) -> Figures:
    confidence, below = rows["confidence"].to_numpy(np.float64), int(rows["below"].sum())
    return Figures(
        count=len(confidence),
        mean_confidence=float(confidence.mean()) if len(confidence) else None,
        below_threshold=below,
        share_below_threshold=below / len(confidence) if len(confidence) else None,
    )


def _distribution(confidence: Floats) -> Distribution:
    if not len(confidence):
        return Distribution()
    p5, p10, p25, p75, p90, p95 = np.percentile(confidence, PERCENTILES).tolist()
    return Distribution(
        mean=float(confidence.mean()),
        median=float(np.median(confidence)),
        min=float(confidence.min()),
        max=float(confidence.max()),
        p5=p5,
        p10=p10,
        p25=p25,
        p75=p75,
        p90=p90,
        p95=p95,
    )


def _first_and_last(frame: pd.DataFrame) -> tuple[str | None, str | None]:
    if frame.empty:
        return None, None
    return iso(frame["time"].iloc[0]), iso(frame["time"].iloc[-1])


def _per_class(frame: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, PerClass]:
    result = {}
    for index, label in enumerate(classes):
        figures = _figures(frame[frame["predicted"] == index])
        result[label] = PerClass(
            count=figures.count,
            mean_confidence=figures.mean_confidence,
            below_threshold=figures.below_threshold,
            share_below_threshold=figures.share_below_threshold,
            share=figures.count / len(frame) if len(frame) else None,
        )
    return result


def _per_variant(frame: pd.DataFrame) -> list[PerVariant]:
    result = []
    for (endpoint, variant), rows in frame.groupby(["endpoint", "variant"], observed=True):
        figures, (first, last) = _figures(rows), _first_and_last(rows)
        result.append(
            PerVariant(
                endpoint=str(endpoint),
                variant=str(variant),
                count=figures.count,
                mean_confidence=figures.mean_confidence,
                below_threshold=figures.below_threshold,
                share_below_threshold=figures.share_below_threshold,
                first=first,
                last=last,
            )
        )
    return result


def _per_hour(frame: pd.DataFrame, classes: tuple[str, ...]) -> list[PerHour]:
    result = []
    for hour, rows in frame.groupby(frame["time"].dt.floor("h")):
        figures = _figures(rows)
        by_class = np.bincount(rows["predicted"].to_numpy(np.int64), minlength=len(classes))
        result.append(
            PerHour(
                hour=iso(pd.Timestamp(str(hour)).to_pydatetime()),
                count=figures.count,
                mean_confidence=figures.mean_confidence,
                below_threshold=figures.below_threshold,
                share_below_threshold=figures.share_below_threshold,
                min_confidence=float(rows["confidence"].min()),
                per_class={label: int(count) for label, count in zip(classes, by_class, strict=True)},
            )
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


def _gaps(times: pd.Series[pd.Timestamp], window: Window) -> list[Gap]:
    edges = np.array([_naive(window.start), *times.dt.tz_localize(None), _naive(window.end)], dtype="datetime64[us]")
    lengths = np.diff(edges)
    return [
        Gap(
            start=iso(edges[at].item()) + "Z",
            end=iso(edges[at + 1].item()) + "Z",
            seconds=float(lengths[at] / np.timedelta64(1, "s")),
        )
        for at in np.flatnonzero(lengths >= np.timedelta64(GAP))
    ]


def _naive(time: datetime) -> datetime:
    return time.replace(tzinfo=None)


def prediction(frame: pd.DataFrame, row: int, classes: tuple[str, ...]) -> Shown:
    """One row of the table, which has the column ``below`` too, as the report lists it."""
    place = frame.iloc[row]
    return Shown(
        row=row,
        event_id=place["event_id"],
        inference_id=place["inference_id"],
        time=iso(place["time"]),
        endpoint=str(place["endpoint"]),
        variant=str(place["variant"]),
        predicted=classes[int(place["predicted"])],
        confidence=float(place["confidence"]),
        passes=not place["below"],
    )


def _malformed(captures: Captures) -> MalformedLines:
    return MalformedLines(
        listed=[MalformedLine(bad.file, bad.line, bad.reason) for bad in captures.quarantined[:MALFORMED_LISTED]],
        reasons=dict(Counter(bad.reason for bad in captures.quarantined).most_common(MALFORMED_LISTED)),
    )
