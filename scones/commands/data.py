"""``scones data``: find the images, show what is in them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from reporting.documents.dataset import MANIFEST_FILE, Checks, Manifest
from reporting.documents.json import from_bytes
from scones import outputs, screen
from scones.commands import Json, Stage
from scones.errors import SconesError
from scones.find_images import locate
from scones.source_data import data, in_bucket, own_pictures
from scones.source_data.own_pictures import OwnPictures
from scones.stage.connection import connect, surroundings
from scones.stage.settings import PROJECT_ROOT, Settings

SHOWN = 10  # classes
MOST_ROWS = 100  # of the table

app = typer.Typer(no_args_is_help=True, help="The images that the pipeline starts from.")

DataPath = Annotated[Path | None, typer.Option("--data", help=f"The CIFAR-100 archive, or {data.LAYOUTS}.")]
Sample = Annotated[bool, typer.Option("--sample", help="Use drawn vehicles instead of photographs.")]


@app.command()
def fetch(path: DataPath = None, sample: Sample = False) -> None:
    """Find CIFAR-100, or download it (checksummed) into data/; print where it is."""
    source = locate(path, sample)
    screen.out.print(f"{source.path} ({source.origin})", markup=False)


@app.command()
def show(
    *,
    stage: Stage = "local",
    path: DataPath = None,
    sample: Sample = False,
    classes: Annotated[
        str, typer.Option(help="Names or numbers, comma separated; without: all of a folder, two of CIFAR-100.")
    ] = "",
    image_size: Annotated[int, typer.Option(help="Pixels a side; 0: 32 for thumbnails, 224 for photographs.")] = 0,
    tolerated: Annotated[float, typer.Option(help="Share of the pictures that may be unreadable.")] = 0.01,
    sheet: Annotated[Path, typer.Option(help="Where to write the contact sheet.")] = Path("reports/contact_sheet.png"),
    as_json: Json = False,
) -> None:
    """Filter the images as the pipeline does, print the counts, write a contact sheet."""
    outputs.check_file(sheet)
    options = [f"--classes={classes}", f"--image-size={image_size}", f"--tolerated={tolerated}"]
    with tempfile.TemporaryDirectory(prefix="scones-data-") as folder:
        source = _located(path, sample, stage, Path(folder) / "source")
        environment = surroundings(Settings.load(stage))
        _tell(own_pictures.describe(source.named, environment=environment))
        dataset = _filter(source, options, Path(folder) / "dataset", environment)
        manifest = from_bytes((dataset / MANIFEST_FILE).read_bytes(), Manifest)
        sheet.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(dataset / "contact_sheet.png", sheet)
    if as_json:
        screen.print_json(
            {
                **msgspec.to_builtins(manifest),
                "source": str(source.path),
                "drawn": source.drawn,
                "contact_sheet": str(sheet),
            }
        )
        return
    where = source.origin if in_bucket.address(path) else f"{source.path} ({source.origin})"
    screen.out.print(where, markup=False)
    counts = manifest.counts
    rows = [(name, *[split[name] for split in counts.values()]) for name in manifest.classes[:MOST_ROWS]]
    if (more := len(manifest.classes) - MOST_ROWS) > 0:
        rows.append((f"and {more:,} more classes, which --json names", *["" for _ in counts]))
    rows.append(("all", *[sum(split.values()) for split in counts.values()]))
    screen.out.print(screen.table("class", *counts, rows=rows))
    left_out = sum(map(len, manifest.checks.copies_left_out.values()))
    if left_out:
        screen.out.print(f"{left_out} images left out, because another split holds them as well (dataset.json: checks)")
    _remarks(manifest.checks)
    screen.out.print(f"contact sheet: {sheet}", markup=False)


def _located(path: Path | None, sample: bool, stage: str, folder: Path) -> data.FoundImages:
    """The images on this machine, or a copy of those in S3."""
    uri = in_bucket.address(path)
    if uri is None:
        return locate(path, sample)
    s3 = connect(stage).client("s3")
    files = in_bucket.stored_files(s3, uri)
    screen.say(f"fetching {len(files):,} objects of {uri}")
    folder.mkdir()
    in_bucket.download(s3, uri, folder, files)
    return replace(locate(folder, sample=False), origin=uri)


def _remarks(checks: Checks) -> None:
    if checks.unreadable:
        screen.out.print(f"left out, because they cannot be read: {'; '.join(checks.unreadable)}", markup=False)
    if checks.classes_left_out:
        screen.out.print(f"classes left out: {', '.join(checks.classes_left_out)}", markup=False)
    if checks.near_copies:
        screen.out.print(f"{checks.near_copies} pictures show nearly what another one does: kept on one side")


def _tell(found: OwnPictures | None) -> None:
    """Say what a folder of somebody's own holds, before anything is decoded."""
    if found is None:
        return
    screen.say(
        f"{found.layout}: {found.total:,} pictures of {len(found.classes)} classes, {found.image_size} pixels a side"
    )
    for split, of_split in found.counts.items():
        some = ", ".join(f"{name} {count:,}" for name, count in list(of_split.items())[:SHOWN])
        more = f", and {len(of_split) - SHOWN} more classes" if len(of_split) > SHOWN else ""
        screen.say(f"  {split}: {some}{more}")
    if found.skipped:
        skipped = ", ".join(f"{name} ({count:,})" for name, count in list(found.skipped.items())[:SHOWN])
        screen.say(f"  skipped by name: {skipped}")


def _filter(source: data.FoundImages, options: list[str], folder: Path, environment: Mapping[str, str]) -> Path:
    """Run the pipeline's own filter job in a temporary folder: what is shown is what is trained on."""
    command = [sys.executable, "-m", "processing.filter_cifar", "--source", str(source.named), "--output", str(folder)]
    finished = subprocess.run(
        [*command, *options], cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False
    )
    if finished.returncode != 0:
        raise SconesError((finished.stderr.strip().splitlines() or ["the filter job failed without a word"])[-1])
    return folder
