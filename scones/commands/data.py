"""``scones data``: find CIFAR-100, show what is in it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from reporting.documents.dataset import MANIFEST_FILE, Manifest
from reporting.documents.json import from_bytes
from scones import outputs, screen
from scones.commands import Json
from scones.errors import SconesError
from scones.find_images import locate
from scones.source_data import data
from scones.stage.sections import PipelineSettings
from scones.stage.settings import PROJECT_ROOT

app = typer.Typer(no_args_is_help=True, help="The images that the pipeline starts from.")

DataPath = Annotated[Path | None, typer.Option("--data", help="The CIFAR-100 archive, or a folder <split>/<class>/*.")]
Sample = Annotated[bool, typer.Option("--sample", help="Use drawn vehicles instead of photographs.")]


@app.command()
def fetch(path: DataPath = None, sample: Sample = False) -> None:
    """Find CIFAR-100, or download it (checksummed) into data/; print where it is."""
    source = locate(path, sample)
    screen.out.print(f"{source.path} ({source.origin})", markup=False)


@app.command()
def show(
    path: DataPath = None,
    sample: Sample = False,
    classes: Annotated[str, typer.Option(help="Class names or CIFAR-100 numbers, comma separated.")] = ",".join(
        PipelineSettings.classes
    ),
    sheet: Annotated[Path, typer.Option(help="Where to write the contact sheet.")] = Path("reports/contact_sheet.png"),
    as_json: Json = False,
) -> None:
    """Filter the images as the pipeline does, print the counts, write a contact sheet."""
    outputs.check_file(sheet)
    source = locate(path, sample)
    with tempfile.TemporaryDirectory(prefix="scones-data-") as folder:
        dataset = _filter(source, classes, Path(folder))
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
    screen.out.print(f"{source.path} ({source.origin})", markup=False)
    counts = manifest.counts
    rows = [(name, *[split[name] for split in counts.values()]) for name in manifest.classes]
    screen.out.print(screen.table("class", *counts, rows=rows))
    left_out = sum(map(len, manifest.checks.copies_left_out.values()))
    if left_out:
        screen.out.print(f"{left_out} images left out, because another split holds them as well (dataset.json: checks)")
    screen.out.print(f"contact sheet: {sheet}", markup=False)


def _filter(source: data.FoundImages, classes: str, folder: Path) -> Path:
    """Run the pipeline's own filter job in a temporary folder: what is shown is what is trained on."""
    command = [sys.executable, "-m", "processing.filter_cifar", "--source", str(source.path), "--output", str(folder)]
    finished = subprocess.run(
        [*command, "--classes", classes], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False
    )
    if finished.returncode != 0:
        raise SconesError((finished.stderr.strip().splitlines() or ["the filter job failed without a word"])[-1])
    return folder
