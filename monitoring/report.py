"""The monitoring job: captured traffic of a time window -> report.html, report.json and the plots.

Runs in a SageMaker processing container (``python -m monitoring.report``), in the stand-in account and in tests.
Reads the capture files below ``--captures``. Writes to ``--output``: ``report.html`` (one file, opens offline),
``report.json`` (every key is described at `monitoring.summary.Summary`), ``confidence_over_time.png``,
``confidence_histogram.png``, ``class_distribution.png`` and, if there are malformed lines, ``quarantine.jsonl``.
All of it is made in a temporary folder and moved into place at the end.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from monitoring.capture import CaptureError, Captures, Window, read_captures
from monitoring.capture_line import parse_time
from monitoring.page import PHOTOGRAPHS, render_page, verdict
from monitoring.plots import PlotData, draw_plots
from monitoring.summary import least_confident_rows, summarize

PLOT_NAMES = ("confidence_over_time", "confidence_histogram", "class_distribution")
MESSAGE_FILE = Path("/opt/ml/output/message")
OUTPUTS = ("quarantine.jsonl", *(f"{name}.png" for name in PLOT_NAMES), "report.json", "report.html")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the report; 0 when it is written, 1 with one line on standard error when not."""
    arguments = _parser().parse_args(argv)
    try:
        window = Window(arguments.start, arguments.end)
        captures = read_captures(arguments.captures, window, len(arguments.classes), arguments.endpoint)
        if captures.frame.empty and not arguments.allow_empty:
            raise CaptureError(_nothing(captures, arguments))
        print(write_report(captures, window, arguments))
    except (CaptureError, OSError) as error:
        message = f"report: {error}"
        print(message, file=sys.stderr)
        _leave_message(message, arguments.message_file)
        return 1
    print(arguments.output / "report.html")
    return 0


def _leave_message(message: str, message_file: Path) -> None:
    """Processing jobs show the first 1 KB of this file as their ExitMessage."""
    if message_file.parent.parent.is_dir():  # else there is no /opt/ml: the job runs outside a container
        message_file.parent.mkdir(exist_ok=True)
        message_file.write_bytes(message.encode("utf-8", "replace")[:1024])


def write_report(captures: Captures, window: Window, arguments: argparse.Namespace) -> str:
    """Write all files of the report to ``arguments.output`` and return its one-sentence verdict."""
    rows = least_confident_rows(captures.frame, arguments.least_confident)
    summary = summarize(
        captures, window, arguments.classes, arguments.threshold, endpoint=arguments.endpoint, least_confident=rows
    )
    summary["data_origin"] = arguments.data_origin
    plots = {} if captures.frame.empty else draw_plots(_plot_data(captures, arguments.classes, arguments.threshold))
    images = [captures.image(int(row)) for row in rows]
    page = render_page(summary, plots, images)

    arguments.output.mkdir(parents=True, exist_ok=True)
    # Inside the output folder, which may be a mount of its own: a rename is atomic only within one file system.
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=arguments.output))
    try:
        if captures.quarantined:
            captures.write_quarantine(partial / "quarantine.jsonl")
        for name, plot in plots.items():
            (partial / f"{name}.png").write_bytes(plot.png)
        said = verdict(summary)
        document = json.dumps({"verdict": said, **summary}, indent=2, allow_nan=False)
        (partial / "report.json").write_text(document + "\n", encoding="utf-8")
        (partial / "report.html").write_text(page, encoding="utf-8", errors="replace")
        _move(partial, arguments.output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return said


def _move(partial: Path, output: Path) -> None:
    """Put the new files in place, the page last, and remove those of an earlier report that this one does not have."""
    for name in OUTPUTS:
        if (partial / name).exists():
            (partial / name).replace(output / name)
        else:
            (output / name).unlink(missing_ok=True)


def _plot_data(captures: Captures, classes: tuple[str, ...], threshold: float) -> PlotData:
    frame = captures.frame
    return PlotData(
        times=pd.DatetimeIndex(frame["time"]),
        confidence=frame["confidence"].to_numpy(np.float64),
        predicted=frame["predicted"].to_numpy(np.int64),
        classes=classes,
        threshold=threshold,
    )


def _nothing(captures: Captures, arguments: argparse.Namespace) -> str:
    whose = f" of endpoint {arguments.endpoint}" if arguments.endpoint else ""
    found = (
        f"no predictions{whose} from {arguments.start.isoformat()} to {arguments.end.isoformat()} below "
        f"{arguments.captures} ({len(captures.files)} files read, {captures.outside_window} lines of other windows)"
    )
    if captures.quarantined:
        first = captures.quarantined[0]
        count = len(captures.quarantined)
        found += f"; {count} malformed, the first at {first.file}:{first.line}: {first.reason}"
    return f"{found}; captures arrive minutes late, so widen the window or try again, or pass --allow-empty"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m monitoring.report", description="Report on captured predictions.")
    job = Path("/opt/ml/processing")
    parser.add_argument("--captures", type=Path, default=job / "input/captures", help="folder of capture files")
    parser.add_argument("--output", type=Path, default=job / "output/report", help="folder for the report")
    parser.add_argument("--start", type=_time, required=True, help="start of the window, ISO 8601, UTC")
    parser.add_argument("--end", type=_time, required=True, help="end of the window (not included)")
    parser.add_argument("--threshold", type=_share, required=True, help="confidence at which a prediction passes")
    parser.add_argument("--classes", type=_labels, required=True, help="labels in the order of the probabilities, a,b")
    parser.add_argument("--endpoint", type=lambda name: name or None, help="only this endpoint (default: all)")
    parser.add_argument("--data-origin", default=PHOTOGRAPHS, help="what the model's training images were")
    parser.add_argument("--least-confident", type=_number, default=12, metavar="N", help="images to show (default: 12)")
    parser.add_argument("--allow-empty", action="store_true", help="write a report even when there are no predictions")
    parser.add_argument("--message-file", type=Path, default=MESSAGE_FILE, help=argparse.SUPPRESS)
    return parser


def _time(text: str) -> datetime:
    try:
        return parse_time(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return value


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, got {text!r}")
    return int(text)


def _labels(text: str) -> tuple[str, ...]:
    labels = tuple(label.strip() for label in text.split(","))
    if len(labels) < 2 or not all(labels) or len(set(labels)) != len(labels):
        raise argparse.ArgumentTypeError(f"expected different labels such as bicycle,motorcycle, got {text!r}")
    return labels


if __name__ == "__main__":
    sys.exit(main())
