"""What the runs' page shows: the runs, one of them as a graph with curves and logs, and two side by side."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from markupsafe import Markup

from console.drawing.boxes import GraphBox, boxes_svg
from console.drawing.lines import LineChart, LineSeries
from console.pages.runs import graph
from console.web.remembered import Remembered
from scones.errors import SconesError
from scones.runs import pipeline_runs
from scones.runs.pipeline_runs import Run, RunStep
from scones.stage.connection import Connection

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import PipelineExecutionSummaryTypeDef

_RECENT = 15
_LOG_LINES = 400
_EPOCH = re.compile(r"epoch=(\d+)/(\d+)(?: member=(\d+))?((?: [a-z_]+=[0-9.eE+-]+)+)")
_FIGURE = re.compile(r"([a-z_]+)=([0-9.eE+-]+)")
_logs: Remembered[list[str]] = Remembered()
TONES = {"Succeeded": "good", "Failed": "bad", "Executing": "busy", "Starting": "busy", "Stopped": "warn"}


@dataclass(frozen=True)
class RunsView:
    """The newest runs, and the one that is shown."""

    runs: Sequence[PipelineExecutionSummaryTypeDef]
    chosen: str


@dataclass(frozen=True)
class RunView:
    """One run as a graph."""

    identity: str
    run: Run
    drawing: Markup
    started: datetime | None

    @property
    def going(self) -> bool:
        """Whether it can be stopped."""
        return self.run.status == "Executing"

    @property
    def retryable(self) -> bool:
        """Whether it can be retried from the step that failed."""
        return self.run.status in ("Failed", "Stopped")


@dataclass(frozen=True)
class CurvesView:
    """Learning curves of a run's training, of each member a line; figures where it has one epoch alone."""

    charts: list[LineChart]
    progress: str

    @property
    def figures(self) -> list[tuple[str, float]]:
        """What a training of one epoch came to: a curve would be a single dot."""
        if any(chart.end > 1 for chart in self.charts):
            return []
        series = (series for chart in self.charts for series in chart.series)
        return [(each.label, each.last) for each in series if each.last is not None]


@dataclass(frozen=True)
class LogView:
    """The newest lines of a step's log."""

    step: str
    steps: list[str]
    lines: Sequence[str]
    more: int
    identity: str


@dataclass(frozen=True)
class StartView:
    """What a new run begins with: defaults of the pipeline, and what may be changed of them."""

    defaults: dict[str, str]
    source: str


def arn_of(connection: Connection, identity: str) -> str:
    """The ARN of a run of the training pipeline."""
    if not re.fullmatch(r"[A-Za-z0-9]{1,32}", identity):
        raise SconesError(f"there is no run {identity!r}")
    names = connection.names
    place = f"arn:aws:sagemaker:{names.region}:{names.account_id}:pipeline"
    return f"{place}/{names.training_pipeline}/execution/{identity}"


def recent(connection: Connection) -> Sequence[PipelineExecutionSummaryTypeDef]:
    """The newest runs."""
    return connection.client("sagemaker").list_pipeline_executions(
        PipelineName=connection.names.training_pipeline,
        SortBy="CreationTime",
        SortOrder="Descending",
        MaxResults=_RECENT,
    )["PipelineExecutionSummaries"]


def identity_of(summary: PipelineExecutionSummaryTypeDef) -> str:
    """The last part of its ARN."""
    return str(summary["PipelineExecutionArn"]).rpartition("/")[2]


def newest(connection: Connection, wanted: str) -> str:
    """The run that is asked for, or the newest. SconesError when none ever ran."""
    return wanted or pipeline_runs.latest(connection, connection.names.training_pipeline).rpartition("/")[2]


def read_runs(connection: Connection, wanted: str) -> RunsView:
    """Read the newest runs."""
    found = recent(connection)
    return RunsView(found, wanted or (identity_of(found[0]) if found else ""))


def read_run(connection: Connection, wanted: str) -> RunView:
    """Read a run's steps and draw them into the pipeline's definition of that run."""
    identity = newest(connection, wanted)
    arn = arn_of(connection, identity)
    run = pipeline_runs.describe(connection, arn)
    answer = connection.client("sagemaker").describe_pipeline_definition_for_execution(PipelineExecutionArn=arn)
    steps = graph.steps_of(answer["PipelineDefinition"])
    boxes = [GraphBox(step.name, _line(run.step(step.name)), step.column, _tone(run.step(step.name))) for step in steps]
    drawing = boxes_svg(boxes, graph.direct(steps), "the pipeline's steps")
    began = [step.started for step in run.steps if step.started]
    return RunView(identity, run, drawing, min(began) if began else None)


def _tone(step: RunStep | None) -> str:
    return TONES.get(step.status, "") if step else ""


def _line(step: RunStep | None) -> str:
    if step is None:
        return "not begun"
    if step.progress:
        return step.progress.partition(",")[0]
    return f"{step.status}, {'from cache' if step.cached else f'{step.seconds:.0f} s'}"


def read_curves(connection: Connection, wanted: str) -> CurvesView:
    """Read the lines that a training prints for each epoch, while it runs and after."""
    run = pipeline_runs.describe(connection, arn_of(connection, newest(connection, wanted)))
    step = next((step for step in run.steps if step.kind == "TrainingJob"), None)
    if step is None or not step.job:
        return CurvesView([], "no training job has begun" if run.status == "Executing" else "this run trained nothing")
    lines = log_of(connection, run, step)
    return CurvesView(curves(lines), step.progress or f"{step.status} after {step.seconds:.0f} s")


def log_of(connection: Connection, run: Run, step: RunStep) -> Sequence[str]:
    """All lines of a step's job. A page that is open asks every few seconds: what has ended is read once."""
    if run.status in pipeline_runs.ENDED and step.status in pipeline_runs.ENDED:
        return _logs.get(step.job, lambda: list(pipeline_runs.log_lines(connection, step)))
    return list(pipeline_runs.log_lines(connection, step))


def curves(lines: Sequence[str]) -> list[LineChart]:
    """Losses and accuracies by epoch, a line for each member and kind."""
    points: dict[tuple[str, str], list[tuple[float, float | None]]] = {}
    epochs = 1
    for found in (match for line in lines if (match := _EPOCH.search(line))):
        epochs = int(found[2])
        for name, value in _FIGURE.findall(found[4]):
            points.setdefault((name, found[3] or "0"), []).append((float(found[1]), float(value)))
    members = {member for _, member in points}
    charts = []
    for title, kind in (("Loss", "loss"), ("Accuracy", "accuracy")):
        chosen = {key: line for key, line in points.items() if key[0].endswith(kind)}
        series = [
            LineSeries(f"{name.replace('_', ' ')}{f', member {member}' if len(members) > 1 else ''}", line, number)
            for number, ((name, member), line) in enumerate(sorted(chosen.items()))
        ]
        low = None if kind == "accuracy" else 0.0
        high = 1.0 if kind == "accuracy" else None
        charts.append(LineChart(title, series, 1, epochs, low, high, over_time=False, least_step=1.0))
    return [chart for chart in charts if not chart.empty]


def read_log(connection: Connection, wanted: str, step: str) -> LogView:
    """Read the newest lines of a step's job."""
    identity = newest(connection, wanted)
    run = pipeline_runs.describe(connection, arn_of(connection, identity))
    jobs = [each.name for each in run.steps if each.job and each.kind.endswith("Job")]
    if not jobs:
        return LogView("", [], [], 0, identity)
    running = [each.name for each in run.steps if each.name in jobs and each.status == "Executing"]
    training = [each.name for each in run.steps if each.kind == "TrainingJob"]
    chosen = step if step in jobs else (running or training or jobs)[-1]
    found = run.step(chosen)
    lines = log_of(connection, run, found) if found else []
    return LogView(chosen, jobs, lines[-_LOG_LINES:], max(0, len(lines) - _LOG_LINES), identity)


def parameters(connection: Connection, identity: str) -> dict[str, str]:
    """What a run was started with."""
    pages = connection.client("sagemaker").get_paginator("list_pipeline_parameters_for_execution")
    asked = pages.paginate(PipelineExecutionArn=arn_of(connection, identity))
    return {p["Name"]: p["Value"] for page in asked for p in page["PipelineParameters"]}


def read_start(connection: Connection) -> StartView:
    """Read the pipeline's defaults, and the images of the newest run."""
    definition = connection.client("sagemaker").describe_pipeline(PipelineName=connection.names.training_pipeline)
    found = recent(connection)
    source = parameters(connection, identity_of(found[0])).get("SourceUri", "") if found else ""
    return StartView(graph.default_parameters(definition["PipelineDefinition"]), source)
