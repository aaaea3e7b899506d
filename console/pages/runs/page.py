"""The runs' page: where it stands, and what it changes."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from console.account import ConsoleAccount
from console.pages.runs import compared, views
from console.web.form import FormFields
from console.web.page import ConsolePage, PageAction, Panel
from scones.errors import SconesError
from scones.runs import pipeline_runs
from scones.runs.start_training import parse_parameters, start_training
from scones.source_data import data
from scones.stage.connection import Connection

_SET_BY_ITSELF = ("SourceUri", "GitCommit")


def runs_page(_account: ConsoleAccount) -> ConsolePage:
    """Make the page."""
    return ConsolePage(
        "runs",
        "Runs",
        "The training pipeline: what runs, what it learned, and what it was started with.",
        _panels,
        {
            "start": PageAction(lambda _form: "Start the training pipeline; its jobs cost money on AWS.", start),
            "stop": PageAction(lambda form: f"Stop run {form.text('run')}.", stop),
            "retry": PageAction(lambda form: f"Retry run {form.text('run')} from the step that failed.", retry),
        },
        every_s=2.0,
    )


def _panels(query: FormFields) -> Sequence[Panel]:
    run, other, step = query.text("run"), query.text("with"), query.text("step")
    panels = [
        Panel("run", "The run", lambda c: views.read_run(c, run), "runs_run", live=True, wide=True),
        Panel("curves", "Learning curves", lambda c: views.read_curves(c, run), "runs_curves", live=True),
        Panel("runs", "Runs", lambda c: views.read_runs(c, run), "runs_list", live=True),
        Panel("log", "Log", lambda c: views.read_log(c, run, step), "runs_log", live=True, wide=True),
        Panel(
            "parameters",
            "Side by side" if other else "Parameters",
            lambda c: compared.read_compared(c, run, other),
            "runs_parameters",
            wide=True,
        ),
        Panel("start", "Start a run", views.read_start, "runs_start", wide=True),
    ]
    if other:
        panels[2:2] = [
            Panel("other", f"Learning curves of {other}", lambda c: views.read_curves(c, other), "runs_curves")
        ]
    return panels


def start(connection: Connection, form: FormFields) -> str:
    """Start the pipeline with what was changed of its defaults, and the images of the newest run or of this machine."""
    view = views.read_start(connection)
    given = [f"{name}={form.text(f'p.{name}')}" for name in view.defaults if name not in _SET_BY_ITSELF]
    wanted = parse_parameters([each for each in given if each.partition("=")[2]])
    changed = {name: value for name, value in wanted.items() if value != view.defaults[name]}
    source = form.text("source", view.source)
    if source:
        arn = start_training(connection, None, {**changed, **parse_parameters([f"SourceUri={source}"])})
    else:
        found = data.find(None)
        if found is None:
            raise SconesError("there are no images: start the first run with `scones pipeline run`, which fetches them")
        arn = start_training(connection, found, changed)
    said = ", ".join(f"{name}={value}" for name, value in changed.items()) or "the pipeline's defaults"
    return f"Run {arn.rpartition('/')[2]} has begun with {said}."


def stop(connection: Connection, form: FormFields) -> str:
    """Stop a run."""
    identity = form.needed("run")
    pipeline_runs.stop(connection, views.arn_of(connection, identity))
    return f"Run {identity} is being stopped."


def retry(connection: Connection, form: FormFields) -> str:
    """Go on with a run that failed; steps that succeeded are not repeated."""
    identity = form.needed("run")
    connection.client("sagemaker").retry_pipeline_execution(
        PipelineExecutionArn=views.arn_of(connection, identity), ClientRequestToken=uuid.uuid4().hex
    )
    return f"Run {identity} goes on from the step that failed."
