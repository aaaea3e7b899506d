"""``scones pipeline``: the training pipeline's definition, runs, status and logs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from scones import screen
from scones.commands import Json, Stage
from scones.commands.data import DataPath, Sample
from scones.errors import SconesError
from scones.find_images import locate
from scones.runs import pipeline_runs
from scones.runs.start_training import Algorithm, checked_recipe, finish, parse_parameters, start_training
from scones.source_data import in_bucket
from scones.stage.connection import Connection, connect_deployed
from scones.stage.sections import RECIPES
from scones.stage.tracking_address import lacking_client

app = typer.Typer(no_args_is_help=True, help="The training pipeline.")

Parameter = Annotated[
    list[str] | None, typer.Option("--parameter", "-p", help="NAME=VALUE of a pipeline parameter; can be repeated.")
]
Execution = Annotated[str | None, typer.Option(help="Execution id or ARN; without it, the latest.")]


RecipeOption = Annotated[
    str | None, typer.Option(help=f"How our own network is trained: {' or '.join(RECIPES)}; else the stage's setting.")
]
AlgorithmOption = Annotated[
    Algorithm, typer.Option("--algorithm", help="Our own network, or SageMaker's image-classification.")
]


@app.command()
def definition(
    stage: Stage = "local",
    algorithm: AlgorithmOption = Algorithm.PYTORCH,
    out: Annotated[Path | None, typer.Option(help="Write to a file.")] = None,
) -> None:
    """Print the definition JSON that the stage's account holds."""
    connection = connect_deployed(stage)
    answer = connection.client("sagemaker").describe_pipeline(PipelineName=algorithm.pipeline(connection.names))
    text = json.dumps(json.loads(answer["PipelineDefinition"]), indent=2)
    if out:
        out.write_text(text + "\n", encoding="utf-8")
        screen.say(f"wrote {out}")
    else:
        typer.echo(text)


@app.command()
def run(
    *,
    stage: Stage = "local",
    path: DataPath = None,
    sample: Sample = False,
    parameter: Parameter = None,
    recipe: RecipeOption = None,
    algorithm: AlgorithmOption = Algorithm.PYTORCH,
    wait: Annotated[
        bool, typer.Option("--wait/--no-wait", envvar="SCONES_WAIT", help="Watch the run until it ends.")
    ] = True,
) -> None:
    """Upload the images, unless --data or -p SourceUri names some in S3, and start a training pipeline."""
    parameters = parse_parameters(parameter, own_pictures=path is not None)
    if recipe is not None:
        parameters["Recipe"] = checked_recipe(recipe, algorithm)
    uri = in_bucket.address(path)
    if uri is not None:
        path, parameters = None, {"SourceUri": uri, **parameters}
    uploaded = "SourceUri" in parameters
    if uploaded and (path or sample):
        raise SconesError("-p SourceUri names images that are in S3 already: leave --data and --sample out")
    connection = connect_deployed(stage)
    arn = start_training(connection, None if uploaded else locate(path, sample), parameters, algorithm)
    screen.say(f"started {arn}")
    if lacking := lacking_client(connection.settings.tracking_uri):
        screen.say(f"this run is not logged: {lacking}")
    if wait:
        with screen.pipeline_view("training pipeline") as show:
            ended = pipeline_runs.wait(connection, arn, show)
        screen.out.print(screen.steps_table(ended.steps))
        finish(ended)


@app.command()
def status(
    stage: Stage = "local",
    execution: Execution = None,
    algorithm: AlgorithmOption = Algorithm.PYTORCH,
    as_json: Json = False,
) -> None:
    """Show the steps of a run. Exit code 1 when it failed."""
    connection = connect_deployed(stage)
    found = pipeline_runs.describe(connection, _arn(connection, execution, algorithm))
    if as_json:
        screen.print_json(
            {"arn": found.arn, "status": found.status, "steps": [vars(s) | {"seconds": s.seconds} for s in found.steps]}
        )
    else:
        screen.out.print(f"{found.arn}: ", screen.styled(found.status), sep="")
        screen.out.print(screen.steps_table(found.steps))
    if found.status == "Failed":
        finish(found)


@app.command()
def logs(
    step: Annotated[str, typer.Argument(help="Name of a step, for example TrainModel.")],
    stage: Stage = "local",
    execution: Execution = None,
    algorithm: AlgorithmOption = Algorithm.PYTORCH,
) -> None:
    """Print what a step's job wrote to CloudWatch Logs."""
    connection = connect_deployed(stage)
    found = pipeline_runs.describe(connection, _arn(connection, execution, algorithm))
    chosen = found.step(step)
    if chosen is None:
        raise SconesError(f"the run has no step {step!r}; its steps are: {', '.join(s.name for s in found.steps)}")
    if not chosen.job:
        raise SconesError(f"step {step!r} runs no job, so it has no logs")
    for line in pipeline_runs.log_lines(connection, chosen):
        screen.print_line(line)


def _arn(connection: Connection, execution: str | None, algorithm: Algorithm) -> str:
    pipeline = algorithm.pipeline(connection.names)
    if execution is None:
        return pipeline_runs.latest(connection, pipeline)
    if execution.startswith("arn:"):
        return execution
    names = connection.names
    return f"arn:aws:sagemaker:{names.region}:{names.account_id}:pipeline/{pipeline}/execution/{execution}"
