"""The monitoring job: captured traffic of a time window -> is the model still what it was, and what did it answer.

Runs in a SageMaker processing container (``python -m monitoring.report``), as a container of SageMaker Model Monitor,
in the stand-in account and in tests. Reads captures, the state of earlier runs, the live version's baseline, labels and
what is known of the endpoint (`monitoring.job_inputs.gather`). Writes to ``--output``: ``report.html`` (one file, opens
offline), ``report.json`` (`reporting.documents.report`), every plot as PNG; with a baseline, Model Monitor's
``statistics.json``, ``constraints.json`` and ``constraint_violations.json``; and ``quarantine.jsonl`` where lines are
malformed. All of it is made in a temporary folder and moved into place at the end; then the state goes back to where it
came from, and the report into the list of those beside it.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
from msgspec import UNSET

from monitoring import baseline
from monitoring.conclusions import Concluded, conclude
from monitoring.job_inputs.gather import Gathered, gather
from monitoring.job_inputs.options import Options, read_options
from monitoring.job_inputs.places import Prefix
from monitoring.page import earlier, plots, plots_compared, plots_drift  # noqa: F401 - they register their charts
from monitoring.page.chart_data import CHARTS, Expectation, Mark, ReportData
from monitoring.page.parts import window_parts
from monitoring.page.render import render_page, verdict
from monitoring.publish import metrics, model_monitor
from monitoring.store.novelty import NOVELTY_FILE
from monitoring.store.window_table import CaptureError, Captures, Window
from monitoring.summary import below_threshold
from reporting.documents.json import to_text
from reporting.documents.report import REPORT_FILE, Report
from reporting.job import JobError, run_job
from reporting.page import Drawn

# As many as the validation split has; the bounds of fewer hide every change.
FEWEST_FOR_A_BASELINE = 100
OUTPUTS = (
    "quarantine.jsonl",
    *CHARTS.files(),
    model_monitor.STATISTICS_FILE,
    model_monitor.CONSTRAINTS_FILE,
    *model_monitor.VIOLATIONS_FILES,
    REPORT_FILE,
    "report.html",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the report; 0 when it is written, whatever it says, 1 with one line on standard error when not."""
    options = read_options(argv, os.environ)

    def work() -> None:
        try:
            with tempfile.TemporaryDirectory(prefix="monitoring-") as scratch:
                print(make_report(options, Path(scratch)))
        except (CaptureError, OSError) as error:
            raise JobError(str(error)) from error
        print(options.output / "report.html")

    return run_job("report", work, options.message_file)


def make_report(options: Options, scratch: Path) -> str:
    """Write all files of the report and return its one-sentence verdict."""
    gathered = gather(options, scratch)
    captures = gathered.collected.captures
    if captures.frame.empty and options.refuse_empty:
        raise JobError(_nothing(captures, options))
    frame = captures.frame.assign(below=below_threshold(captures.frame, gathered.classes, gathered.thresholds))
    concluded = conclude(gathered, options, frame)
    report = msgspec.structs.replace(concluded.report, verdict=verdict(concluded.report))
    charts = CHARTS.draw(chart_data(gathered, concluded, frame, options.window))
    page = render_page(report, charts, _images(gathered, report))
    write(options.output, captures, ReportFiles(report, concluded.monitor_files, charts, page))
    if options.publish:
        when = report.window.end
        metrics.write_lines(report.metrics, options.metrics_folder, when, options.endpoint, options.schedule)
    gathered.state.save()
    if options.new_baseline:
        write_baseline(gathered, options)
    if options.report_uri:
        earlier.note_report(options.report_uri, report)
    if options.metrics_namespace:  # last, because an alarm has people look at the report
        metrics.put(report.metrics, options.metrics_namespace, options.endpoint or "")
    return report.verdict


def chart_data(gathered: Gathered, concluded: Concluded, frame: pd.DataFrame, window: Window) -> ReportData:
    """What the charts are drawn from; ``frame`` is the table of the captures with its column ``below``."""
    context, baseline = gathered.context, gathered.baseline
    first, last = window.hours
    expected = baseline.document.calibration if baseline else UNSET
    return ReportData(
        times=pd.DatetimeIndex(frame["time"]),
        confidence=frame["confidence"].to_numpy(np.float64),
        predicted=frame["predicted"].to_numpy(np.int64),
        below=frame["below"].to_numpy(bool),
        classes=gathered.classes,
        thresholds=gathered.thresholds,
        labelled=concluded.labelled,
        reliability=concluded.report.quality.reliability,
        expected_reliability=[] if expected is UNSET else expected.bins,
        drift=concluded.report.drift,
        latency=[each for each in context.latency if first <= each.hour <= last],
        marks=tuple(Mark(each.at, f"{each.version} {each.outcome}") for each in context.deployments),
        parts=tuple(window_parts(concluded.report)),
        baseline=_expectation(gathered),
        statistics=gathered.collected.image_statistics,
    )


def _expectation(gathered: Gathered) -> Expectation | None:
    baseline, watched = gathered.baseline, gathered.collected.watched
    if baseline is None:
        return None
    shares = watched.drift.class_shares if watched else {}
    tolerated = {name: (share.lower, share.upper) for name, share in shares.items()}
    return Expectation(baseline.confidence, baseline.predicted, baseline.statistics, tolerated)


@dataclass(frozen=True)
class ReportFiles:
    """What goes into the output folder, besides the lines that could not be used."""

    report: Report
    monitor_files: Mapping[str, model_monitor.Document]
    charts: Mapping[str, Drawn]
    page: str


def write_baseline(gathered: Gathered, options: Options) -> None:
    """Make a baseline of the window's traffic, which somebody knows to be healthy. Raises JobError."""
    window = options.window
    seen = gathered.collected.source.traffic(window, None).predictions
    if len(seen) < FEWEST_FOR_A_BASELINE:
        raise JobError(
            f"expected at least {FEWEST_FOR_A_BASELINE} predictions for a baseline, got {len(seen)} from "
            f"{window.start.isoformat()} to {window.end.isoformat()}: take a longer time"
        )
    origin = f"traffic from {window.start:%Y-%m-%d %H:%M} to {window.end:%Y-%m-%d %H:%M} UTC"
    document = msgspec.structs.replace(
        baseline.describe(seen, gathered.classes, origin, gathered.thresholds.default),
        image_size=gathered.collected.source.image_size,
    )
    if gathered.novelty:
        Prefix(options.new_baseline).write(NOVELTY_FILE, gathered.novelty.data)
    for name, text in baseline.files(seen, document).items():
        Prefix(options.new_baseline).write(name, text.encode(), "application/json")


def write(output: Path, captures: Captures, written: ReportFiles) -> None:
    """Put all files into the folder."""
    output.mkdir(parents=True, exist_ok=True)
    # Inside the output folder, which may be a mount of its own: a rename is atomic only within one file system.
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=output))
    try:
        if captures.quarantined:
            captures.write_quarantine(partial / "quarantine.jsonl")
        for name, chart in written.charts.items():
            if chart.png:
                (partial / f"{name}.png").write_bytes(chart.png)
        for name, document in written.monitor_files.items():
            (partial / name).write_text(to_text(document, indent=1), encoding="utf-8")
        (partial / REPORT_FILE).write_text(to_text(written.report, indent=2), encoding="utf-8")
        (partial / "report.html").write_text(written.page, encoding="utf-8", errors="replace")
        _move(partial, output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _move(partial: Path, output: Path) -> None:
    """Put the new files in place, the page last, and remove those of an earlier report that this one does not have."""
    for name in OUTPUTS:
        if (partial / name).exists():
            (partial / name).replace(output / name)
        else:
            (output / name).unlink(missing_ok=True)


def _images(gathered: Gathered, report: Report) -> dict[int, bytes | None]:
    shown = (*report.least_confident, *report.mistakes, *report.most_unusual, *report.farthest)
    rows = sorted({each.row for each in shown})
    gathered.bring_images(rows)
    return {row: gathered.collected.captures.image(row) for row in rows}


def _nothing(captures: Captures, options: Options) -> str:
    whose = f" of endpoint {options.endpoint}" if options.endpoint else ""
    found = (
        f"no predictions{whose} from {options.window.start.isoformat()} to {options.window.end.isoformat()} below "
        f"{options.captures} ({len(captures.files)} files read, {captures.outside_window} lines of other windows)"
    )
    if captures.quarantined:
        first = captures.quarantined[0]
        number = len(captures.quarantined)
        found += f"; {number} malformed, the first at {first.file}:{first.line}: {first.reason}"
    return f"{found}; captures arrive minutes late, so widen the window or try again, or pass --when-empty report"


if __name__ == "__main__":
    sys.exit(main())
