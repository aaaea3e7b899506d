"""What the monitoring job is told: arguments of its own pipeline, or the environment of SageMaker Model Monitor.

Runs in the monitoring container. Amazon SageMaker developer guide, "Container Contract Inputs": Model Monitor gives
its containers an environment and no arguments, so each variable is the default of an option here.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath

from monitoring.captures.times import parse_time
from monitoring.store.aggregates import ThresholdDocument, Thresholds
from monitoring.store.window_table import CaptureError, Window
from reporting.documents.baseline import BASELINE_FILE
from reporting.documents.traffic import PHOTOGRAPHS
from reporting.job import MESSAGE_FILE

METRICS_FOLDER = Path("/opt/ml/output/metrics/cloudwatch")


@dataclass(frozen=True)
class Options:
    """See `_parser` for what each is."""

    captures: str
    output: Path
    window: Window
    classes: tuple[str, ...] | None
    thresholds: Thresholds | None
    endpoint: str | None
    schedule: str
    state: str
    baseline: str
    deployed_at: datetime | None
    model_package: str
    stage: str
    ground_truth: str
    context: str
    report_uri: str
    new_baseline: str
    data_origin: str
    least_confident: int
    refuse_empty: bool
    publish: bool
    metrics_namespace: str
    message_file: Path
    metrics_folder: Path


def read_options(argv: Sequence[str] | None, environment: Mapping[str, str]) -> Options:
    """The options; ends with exit status 2 where they are wrong."""
    parser = _parser(environment)
    given = vars(parser.parse_args(argv))
    start, end = given.pop("start"), given.pop("end")
    if start is None or end is None:
        parser.error("expected --start and --end (or start_time and end_time in the environment), ISO 8601 in UTC")
    if not given["baseline"] and (not given["classes"] or given["thresholds"] is None):
        parser.error("expected --classes and --threshold, or a --baseline that has them")
    given["refuse_empty"] = given.pop("when_empty") == "refuse"
    if given["metrics_namespace"] and not given["endpoint"]:
        parser.error("--metrics-namespace needs --endpoint, by which the metrics are told apart")
    try:
        return Options(window=Window(start, end), **given)
    except CaptureError as error:
        parser.error(str(error))


def _parser(environment: Mapping[str, str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m monitoring.report", description="Report on captured predictions.")
    job = Path("/opt/ml/processing")
    told = environment.get
    models = "dataset_source" in environment
    option = parser.add_argument
    option("--captures", default=told("dataset_source", str(job / "input/captures")), help="folder or s3://")
    option("--output", type=Path, default=told("output_path", str(job / "output/report")), help="folder for the report")
    option("--start", type=_time, default=told("start_time"), help="start of the window, ISO 8601, UTC")
    option("--end", type=_time, default=told("end_time"), help="end of the window (not included)")
    option("--threshold", dest="thresholds", type=_thresholds, default=told("confidence_threshold"),
           help="confidence at which a prediction passes: a number, or the document of the threshold parameter "
           "(default: the baseline's)")  # fmt: skip
    option("--classes", type=_labels, default=told("classes"), help="labels in the order of the probabilities, a,b")
    option("--endpoint", type=_or_none, default=told("sagemaker_endpoint_name"), help="only this one (default: all)")
    option(
        "--schedule", default=told("sagemaker_monitoring_schedule_name", ""), help="the schedule's name, for metrics"
    )
    option("--state", default="", help="folder or s3://: what is kept between two runs (default: nothing is)")
    option("--baseline", default=_beside(told("baseline_statistics", "")), help="baseline.json, a file or s3://")
    option("--deployed-at", type=_time_or_none, help="when the live version began to serve")
    option("--model-package", default="", help="ARN of the live version, which its answers name")
    option("--stage", default=told("SCONES_STAGE", ""), help="which stage it is, for the page")
    option("--ground-truth", default="", help="folder or s3:// of Model Monitor's ground-truth lines")
    option("--context", default="", help="folder or s3:// that may have deployments.json and traffic.json")
    option("--report-uri", default="", help="s3:// where this report will stand; the reports beside it are listed")
    option("--new-baseline", default="", help="s3:// for a baseline made of the window's traffic, known to be healthy")
    option("--data-origin", default=PHOTOGRAPHS, help="what the model's training images were")
    option("--least-confident", type=_number, default=12, metavar="N", help="images to show of a kind (default: 12)")
    option("--when-empty", choices=["refuse", "report"], default="report" if models else "refuse",
           help="what to do when nothing was captured in the window")  # fmt: skip
    option("--publish", type=_enabled, default=told("publish_cloudwatch_metrics", "Disabled"), metavar="Enabled",
           help="write the metrics for CloudWatch too")  # fmt: skip
    option("--metrics-namespace", default="", help="CloudWatch namespace to put the metrics into (default: none)")
    option("--message-file", type=Path, default=MESSAGE_FILE, help=argparse.SUPPRESS)
    option("--metrics-folder", type=Path, default=METRICS_FOLDER, help=argparse.SUPPRESS)
    return parser


def _beside(statistics: str) -> str:
    """Model Monitor names the baseline's statistics.json; ours stands beside it."""
    return str(PurePosixPath(statistics).with_name(BASELINE_FILE)) if statistics else ""


def _time(text: str) -> datetime:
    try:
        return parse_time(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _time_or_none(text: str) -> datetime | None:
    return _time(text) if text else None


def _or_none(text: str) -> str | None:
    return text or None


def _enabled(text: str) -> bool:
    return text == "Enabled"


def _thresholds(text: str) -> Thresholds | None:
    if not text:
        return None
    try:
        document: ThresholdDocument | float = json.loads(text)
        found = Thresholds.of_document(document if isinstance(document, dict) else {"default": document})
    except (ValueError, TypeError, KeyError, AttributeError):
        found = Thresholds(math.nan)
    if not all(0.0 <= value <= 1.0 for value in (found.default, *found.classes.values())):
        raise argparse.ArgumentTypeError(
            f'expected a number from 0 to 1, or {{"default": 0.93, "classes": {{"a": 0.9}}}}, got {text!r}'
        )
    return found


def _number(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a whole number from 0, got {text!r}")
    return int(text)


def _labels(text: str) -> tuple[str, ...] | None:
    labels = tuple(label.strip() for label in text.split(","))
    if not text:
        return None
    if len(labels) < 2 or not all(labels) or len(set(labels)) != len(labels):
        raise argparse.ArgumentTypeError(f"expected different labels such as bicycle,motorcycle, got {text!r}")
    return labels
