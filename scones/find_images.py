"""The images that a training starts from: found on this machine, drawn, or downloaded with a bar that shows how far.

Runs on a laptop or in CodeBuild.
"""

from __future__ import annotations

from pathlib import Path

from rich.progress import Progress

from scones import screen
from scones.source_data import data, sample_data
from scones.stage.settings import WORKING_FOLDER

SAMPLE_DIR = WORKING_FOLDER / "data" / "drawn"


def locate(path: Path | None, sample: bool) -> data.FoundImages:
    """Find the images, download them as a last resort, or draw them when ``sample`` is asked for."""
    if sample:
        screen.say("drawing vehicles (--sample): these are not photographs, and figures say nothing about real ones")
        return data.FoundImages(sample_data.write(SAMPLE_DIR), "drawn by --sample, not photographs", drawn=True)
    return data.find(path) or _download()


def _download() -> data.FoundImages:
    screen.say(f"no CIFAR-100 here: downloading {data.OFFICIAL_URL}")
    with Progress(console=screen.err, transient=True) as progress:
        task = progress.add_task("downloading", total=None)
        return data.fetch(lambda done, total: progress.update(task, completed=done, total=total or None))
