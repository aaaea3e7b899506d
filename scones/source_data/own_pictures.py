"""What somebody's own folder of pictures holds, before anything is uploaded or trained.

Runs on a laptop. The job that filters the images knows the layouts; it is asked in a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from scones.errors import SconesError
from scones.stage.settings import PROJECT_ROOT

LONGEST_PARAMETER = 1024
"""Characters of a pipeline's parameter, and of a container's environment variable (botocore, StringParameterValue)."""


class OwnPictures(msgspec.Struct, frozen=True):
    """What ``processing.describe_source`` says: pictures by split and class, skipped files by the reason.

    ``files`` are paths from the folder on; ``problem`` is why they cannot be filtered, as far as names tell.
    """

    layout: str
    image_size: int
    classes: list[str]
    counts: dict[str, dict[str, int]]
    skipped: dict[str, int]
    files: list[str]
    problem: str = ""

    @property
    def total(self) -> int:
        """Pictures of all classes."""
        return sum(sum(of_split.values()) for of_split in self.counts.values())

    def parameter(self) -> str:
        """The classes as a pipeline takes them. Raises SconesError where they are too many for it."""
        text = ",".join(self.classes)
        if len(text) > LONGEST_PARAMETER:
            raise SconesError(
                f"the names of {len(self.classes)} classes have {len(text):,} characters, and a pipeline takes"
                f" {LONGEST_PARAMETER:,}: choose some with -p Classes=..., or give their folders shorter names"
            )
        return text


def describe(source: Path, classes: str = "", environment: Mapping[str, str] | None = None) -> OwnPictures | None:
    """What a folder or a list holds, of all classes or those between commas; None for CIFAR-100. Raises SconesError.

    ``environment`` leads to the account in which a list's pictures lie.
    """
    command = [sys.executable, "-m", "processing.describe_source", "--for-upload", str(source), f"--classes={classes}"]
    finished = subprocess.run(command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False)
    if finished.returncode != 0:
        raise SconesError((finished.stderr.strip().splitlines() or [f"{source} cannot be looked at"])[-1])
    return None if finished.stdout.strip() == "{}" else msgspec.json.decode(finished.stdout, type=OwnPictures)
