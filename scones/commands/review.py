"""``scones review``: what people say of images whose confidence was too low."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from scones import outputs, screen
from scones.commands import Json, Stage
from scones.errors import SconesError
from scones.review import export as review_export
from scones.review import queue as review_queue
from scones.review import records as review
from scones.review import threshold
from scones.review.queue import LABEL_SECONDS, ReviewItem, ReviewQueue
from scones.review.records import NO_CLASS, GivenLabel, ReviewRecord
from scones.stage.connection import Connection, connect_deployed

app = typer.Typer(no_args_is_help=True, help="Images whose confidence was too low.")

_SKIP, _QUIT = "s", "q"


@app.command(name="list")
def list_items(stage: Stage = "local", as_json: Json = False) -> None:
    """List the images that wait for a review, the oldest first. Takes none of them out of the queue."""
    items, elsewhere = review_queue.waiting(connect_deployed(stage))
    now = datetime.now(UTC)
    if as_json:
        screen.print_json([{**item.message, "uri": item.uri, "age_s": round(item.age_s(now), 1)} for item in items])
        return
    rows = [
        (
            item.key or item.inference_id,
            item.message["predicted_label"],
            f"{item.message['confidence']:.3f}",
            f"{item.message['threshold']:g}",
            _age(item.age_s(now)),
        )
        for item in items
    ]
    screen.out.print(screen.table("image", "predicted", "confidence", "needed", "waits for", rows=rows))
    others = f"; about {elsewhere} more are being looked at elsewhere" if elsewhere else ""
    screen.out.print(f"{len(items)} images wait for a review{others}", markup=False)


@app.command()
def label(
    key: Annotated[
        str | None, typer.Argument(help="Key, file name or inference id of the image; without it, one after another.")
    ] = None,
    label_: Annotated[
        str | None, typer.Argument(metavar="LABEL", help=f"Its class, or {NO_CLASS} when it shows none of them.")
    ] = None,
    open_: Annotated[bool, typer.Option("--open", help="Open each image in this machine's viewer.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the images that are shown.")] = Path("reports/review"),
    stage: Stage = "local",
) -> None:
    """Say what an image shows: ground truth for monitoring, an example for training. Doing it twice is harmless."""
    if (key is None) != (label_ is None):
        raise SconesError("expected both KEY and LABEL, or neither, to be asked about one image after another")
    if key is None:
        outputs.check_folder(out)
    connection = connect_deployed(stage)
    by = threshold.caller(connection)
    queue = ReviewQueue(connection)
    try:
        if key is not None and label_ is not None:
            _record(connection, queue, review.find(connection, queue, key), label_, by)
            return
        labelled = 0
        for message, receipt in queue.receive(LABEL_SECONDS):
            given = _ask(connection, ReviewItem(message, [receipt]), out, open_)
            if given == _QUIT:
                break
            if given != _SKIP:
                _record(connection, queue, ReviewItem(message, [receipt]), given, by)
                labelled += 1
        screen.say(f"{labelled} images labelled; what was skipped waits on")
    finally:
        queue.hand_back()


@app.command()
def export(
    out: Annotated[str, typer.Option(help="A new folder, or an s3:// address where nothing is yet.")],
    stage: Stage = "local",
    as_json: Json = False,
) -> None:
    """Write the live model's dataset with the reviewed images added to its training images. Test images stay apart."""
    done = review_export.export(connect_deployed(stage), out)
    if as_json:
        screen.print_json(asdict(done))
        return
    screen.out.print(f"{sum(done.added.values())} reviewed images added to those of {done.dataset_uri}", markup=False)
    for name, count in done.added.items():
        screen.out.print(f"  {name}: {count}", markup=False)
    for reason, count in done.left_out.items():
        screen.out.print(f"  left out, {reason}: {count}", markup=False)
    how = f"-p SourceUri={out}" if out.startswith("s3://") else f"--data {out}"
    screen.out.print(f"train with them: scones pipeline run {how}", markup=False)


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _record(connection: Connection, queue: ReviewQueue, item: ReviewItem, given: str, by: str) -> ReviewRecord:
    made = review.record(connection, queue, item, GivenLabel(given, by, datetime.now(UTC)))
    truth = "put aside" if given == NO_CLASS else f"s3://{connection.names.data_bucket}/{made.truths[-1]}"
    screen.out.print(f"{item.key or item.inference_id}: {given} ({truth})", markup=False)
    return made


def _ask(connection: Connection, item: ReviewItem, out: Path, open_: bool) -> str:
    """A label, or that the image is skipped, or that it is enough."""
    if (before := review.label_of(connection, item)) is not None:
        return before  # the same image once more: its message only has to go
    message = item.message
    scores = ", ".join(f"{n} {p:.3f}" for n, p in zip(item.classes, message["inferences"], strict=False))
    screen.out.print(f"\n{item.uri}\n  predicted {message['predicted_label']} ({scores})", markup=False)
    path = _save(connection, item, out)
    screen.out.print(f"  {path or 'the image is gone'}", markup=False)
    if open_ and path:
        typer.launch(str(path))
    choices = {str(number): name for number, name in enumerate([*item.classes, NO_CLASS], start=1)}
    asked = ", ".join(f"{number} {name}" for number, name in choices.items())
    while True:
        try:
            given = str(typer.prompt(f"  {asked}, {_SKIP} skip, {_QUIT} quit")).strip()
        except typer.Abort:
            return _QUIT
        given = choices.get(given, given)
        if given in (_SKIP, _QUIT, *choices.values()):
            return given
        screen.say(f"  there is no {given!r}")


def _save(connection: Connection, item: ReviewItem, out: Path) -> Path | None:
    content = review.image_bytes(connection, item)
    if content is None:
        return None
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{review.safe_name(item.inference_id)}{Path(item.key).suffix}"
    path.write_bytes(content)
    return path
