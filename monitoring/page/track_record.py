"""What earlier reports expected, beside what labels have said since: whether this model's estimates can be believed.

Runs in the monitoring container. Reads the list of the reports beside this one, and measures the accuracy of their
windows anew with all labels that there are by now; of windows that the state no longer has, what was measured then
stands.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from monitoring.captures.times import parse_time
from monitoring.job_inputs.gather import Gathered
from monitoring.job_inputs.options import Options
from monitoring.page import earlier
from monitoring.page.earlier import ListedReport
from monitoring.page.sections import SECTIONS, ReportView
from monitoring.quality.performance import answers_of, performance
from monitoring.store.window_table import Window, stored_captures
from reporting.documents.report import LabelledAccuracy, PastEstimate
from reporting.page import Cell, Content, Table, Text
from reporting.wording import UNKNOWN, clock, count, number

# Each window is read again, which takes a second for a hundred thousand predictions.
MOST = 12


def track_record(gathered: Gathered, options: Options) -> list[PastEstimate]:
    """Of the reports that ended before this one's window does and showed an estimate, the newest first."""
    if not options.report_uri:
        return []
    end = options.window.end
    shown = [each for each in earlier.beside(options.report_uri) if each.estimated is not None]
    return [_past(each, gathered, options) for each in shown if parse_time(each.end) < end][:MOST]


def _past(entry: ListedReport, gathered: Gathered, options: Options) -> PastEstimate:
    labels, found = _measured(entry, gathered, options)
    weighed = found.traffic if found else None
    return PastEstimate(
        name=entry.name,
        start=entry.start,
        end=entry.end,
        estimated=entry.estimated or 0.0,
        interval=entry.interval,
        measured=entry.measured if weighed is None else weighed,
        measured_interval=found.traffic_interval if found else None,
        labels=labels,
    )


def _measured(entry: ListedReport, gathered: Gathered, options: Options) -> tuple[int, LabelledAccuracy | None]:
    """How many predictions of an earlier window are labelled by now, and how right they were."""
    if not gathered.truth.labels:
        return 0, None
    source, classes = gathered.collected.source, gathered.classes
    window = Window(parse_time(entry.start), parse_time(entry.end))
    frame = stored_captures(source.store, source.captures, window, options.endpoint, live=source.live).frame
    frame = frame[_answered_by(entry.version, frame)]
    if frame.empty:
        return 0, None
    passing = gathered.thresholds.by_index(classes, len(classes))[frame["predicted"].to_numpy(np.int64)]
    passes = frame["confidence"].to_numpy(np.float64) >= passing
    found = performance(answers_of(frame, passes, len(classes)), gathered.truth.labels, classes)
    return found.labelled, found.accuracy


def _answered_by(version: str, frame: pd.DataFrame) -> list[bool]:
    """Which rows the version of an earlier report answered, as far as both name one."""
    ending = f":model-package/{version}" if version else ""
    return [not each or not each.startswith("arn:") or each.endswith(ending) for each in frame["model_version"]]


@SECTIONS.add("Past estimates and the truth", after="quality")
def past_estimates(view: ReportView) -> Content | None:
    """Each estimate of earlier reports, what labels say of it by now, and how often the truth lay within it."""
    record = view.report.track_record
    if not record:
        return None
    rows = [
        [
            (clock(each.start), f"to {clock(each.end)}"),
            _share(each.estimated, each.interval),
            _share(each.measured, each.measured_interval),
            f"{each.labels:,}",
            _held(each),
        ]
        for each in record
    ]
    judged = [each for each in record if each.measured is not None and each.interval]
    held = sum(_within(each) for each in judged)
    said = f"The truth lay within what was expected in {held} of {count(len(judged), 'labelled window')}."
    unknown = "None of these windows has enough labels yet, so nobody knows whether the estimates held."
    note = "Measured is weighed by what passes, which takes ten labels of what does and ten of what does not."
    table = Table(["window (UTC)", "expected", "measured", "labels", "held"], rows)
    return Content(before=[Text(said if judged else unknown), table, Text(note, soft=True)])


def _within(each: PastEstimate) -> bool:
    low, high = each.interval or (0.0, 1.0)
    return each.measured is not None and low <= each.measured <= high


def _held(each: PastEstimate) -> str:
    if each.measured is None or not each.interval:
        return UNKNOWN
    return "yes" if _within(each) else "no"


def _share(value: float | None, interval: list[float] | None) -> Cell:
    if value is None or not interval:
        return number(value)
    return number(value), f"{interval[0]:.3f} to {interval[1]:.3f}"
