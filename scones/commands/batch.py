"""``scones batch``: many images at once, with live progress and a summary."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

from scones import screen
from scones.commands import Json, Stage
from scones.errors import SconesError
from scones.runs import batch
from scones.runs.batch import BatchLimits, BatchProgress, Ended, FailedImage, Show, SummaryDocument
from scones.serving_versions import endpoint
from scones.stage.connection import Connection, connect_deployed

_INTERRUPTED = 130  # as a shell reports Ctrl-C


class OnLowConfidence(StrEnum):
    """What becomes of an image below the threshold; it waits for a review in any case."""

    review = "review"
    fail = "fail"


def run_batch(  # noqa: PLR0917 - typer reads options from the signature
    place: Annotated[
        str | None, typer.Argument(metavar="s3://BUCKET/PREFIX|FOLDER", help="Images in S3, or to upload.")
    ] = None,
    manifest: Annotated[
        str | None, typer.Option(help="A list of images instead: .csv, .json or .jsonl, a file or in S3.")
    ] = None,
    retry_failures: Annotated[
        str | None, typer.Option(metavar="BATCH", help="The images that failed in an earlier batch instead.")
    ] = None,
    follow: Annotated[
        str | None, typer.Option(metavar="BATCH", help="Start nothing: show a batch that was started before.")
    ] = None,
    stop: Annotated[str | None, typer.Option(metavar="BATCH", help="Stop a batch that runs.")] = None,
    max_concurrency: Annotated[int, typer.Option(min=1, max=1000, help="Groups of images at the same time.")] = 4,
    batch_size: Annotated[int, typer.Option(min=1, max=100, help="Images in a group: one call of a function.")] = 50,
    tolerated_failures: Annotated[
        float, typer.Option(min=0, max=100, metavar="PERCENT", help="Share of images that may fail.")
    ] = 10,
    on_low_confidence: Annotated[
        OnLowConfidence, typer.Option(help="With `fail`, exit code 1 when an image needs a review.")
    ] = OnLowConfidence.review,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Show the batch until it ends.")] = True,
    stage: Stage = "local",
    as_json: Json = False,
) -> None:
    """Send many images through the workflow. Exit code 1 when more failed than is tolerated."""
    if sum(given is not None for given in (place, manifest, retry_failures, follow, stop)) != 1:
        raise SconesError(
            "expected one of: an S3 prefix or a folder, --manifest FILE, --retry-failures, --follow or --stop BATCH"
        )
    connection = connect_deployed(stage)
    if stop:
        screen.say(f"stopped batch {batch.stop(connection, stop)}")
        return
    if follow:
        batch_id = batch.id_of(follow)
    else:
        endpoint.live(connection)
        batch_id = batch.new_id()
        source = _source(connection, batch_id, place, manifest, retry_failures)
        batch.start(connection, batch_id, source, BatchLimits(max_concurrency, batch_size, tolerated_failures))
    if not wait:
        screen.say(f"batch {batch_id} has started. {_how_to_go_on(batch_id)}")
        return
    ended = _followed(connection, batch_id)
    _print(connection, ended, as_json)
    if ended.error or (on_low_confidence is OnLowConfidence.fail and ended.summary["needs_review"]):
        raise typer.Exit(1)


def _source(
    connection: Connection, batch_id: str, place: str | None, manifest: str | None, retried: str | None
) -> batch.Source:
    if place is not None:
        return batch.images(connection, place, batch_id)
    if manifest is not None:
        return batch.manifest(connection, manifest, batch_id)
    return batch.failures(connection, retried or "")


def _followed(connection: Connection, batch_id: str) -> Ended:
    try:
        screen.say(f"batch {batch_id} has started")
        with _view() as show:
            return batch.follow(connection, batch_id, show)
    except KeyboardInterrupt as error:
        screen.say(f"batch {batch_id} goes on without this command. {_how_to_go_on(batch_id)}")
        raise typer.Exit(_INTERRUPTED) from error


def _how_to_go_on(batch_id: str) -> str:
    return f"Follow it: scones batch --follow {batch_id}. Stop it: scones batch --stop {batch_id}"


@contextmanager
def _view() -> Iterator[Show]:
    """A bar; where standard error is no terminal, a line for every tenth part that is done."""
    if not screen.err.is_terminal:
        yield _line_view()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=screen.err, transient=True) as bar:
        task = bar.add_task("images", total=None)
        yield lambda progress: bar.update(task, completed=progress.done, total=progress.total or None)


def _line_view() -> Show:
    said = -1

    def show(progress: BatchProgress) -> None:
        nonlocal said
        tenth = 10 * progress.done // progress.total if progress.total else -1
        if tenth > said:
            said = tenth
            screen.say(f"  {progress.done} of {progress.total} images")

    return show


def _print(connection: Connection, ended: Ended, as_json: bool) -> None:
    summary = ended.summary
    failed = batch.failed_images(connection, ended)
    if as_json:
        screen.print_json({**summary, "failed_images": failed})
        return
    rows: list[tuple[object, ...]] = [
        (name, counts["passed"], counts["needs_review"]) for name, counts in summary["classes"].items()
    ]
    screen.out.print(screen.table("predicted", "passed", "needs review", rows=[*rows, _totals(summary)]))
    screen.out.print(f"{summary['items']} images, {summary['failed']} failed", markup=False)
    for name, count in summary["errors"].items():
        screen.out.print(f"  {name}: {count}", markup=False)
    if failed:
        rows = [(row["s3_key"], row["error"], _reason(row)) for row in failed]
        screen.out.print(screen.table("failed", "", "", rows=rows))
    _say_what_next(ended)


def _reason(row: FailedImage) -> str:
    """Without the address, which stands in the line already."""
    return str(row["reason"]).removeprefix(f"s3://{row['s3_bucket']}/{row['s3_key']}").lstrip(": ")


def _totals(summary: SummaryDocument) -> tuple[object, ...]:
    return ("all", summary["passed"], summary["needs_review"])


def _say_what_next(ended: Ended) -> None:
    summary = ended.summary
    screen.out.print(f"results: {summary['results_uri']}", markup=False)
    if summary["needs_review"]:
        screen.say("label what needs a review: scones review label")
    if summary["failed"]:
        screen.say(f"send the failed ones once more: scones batch --retry-failures {ended.batch_id}")
    if ended.error:
        tolerated = summary["tolerated_failure_percentage"]
        screen.say(f"{ended.error}: {summary['failed_percentage']:g} % failed, {tolerated:g} % are tolerated")
