"""Starting a training: parameters checked, images uploaded once, the pipeline started; used by the verbs and the demo.

Runs on a laptop or in CodeBuild; calls S3 and SageMaker of the stage.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from scones.errors import SconesError
from scones.runs import pipeline_runs
from scones.runs.pipeline_runs import Run
from scones.source_data import data, in_bucket, own_pictures, sample_data
from scones.source_data.own_pictures import OwnPictures
from scones.stage.connection import Connection, surroundings
from scones.stage.names import Names
from scones.stage.sections import RECIPES, has_gpu
from scones.stage.settings import PROJECT_ROOT, Settings


class Algorithm(StrEnum):
    """What learns: our own network in PyTorch, or SageMaker's built-in image classification."""

    PYTORCH = "pytorch"
    BUILT_IN = "built-in"

    def pipeline(self, names: Names) -> str:
        """Name the pipeline that trains with it."""
        return names.built_in_pipeline if self is Algorithm.BUILT_IN else names.training_pipeline


# Checked here because the pipeline would find out minutes later; names and types are the account's to check.
_SHARES = ("AccuracyGate", "ChampionSignificance", "ConfidenceThreshold")


def git_commit() -> str:
    """The commit: what `git archive` noted in its zip, what a build was given, or what is checked out."""
    archived = (PROJECT_ROOT / "scones" / "commit.txt").read_text(encoding="ascii").strip()
    for found in (archived, os.environ.get("CODEBUILD_RESOLVED_SOURCE_VERSION", "")):
        if re.fullmatch(r"[0-9a-f]{40}", found):
            return found
    try:
        finished = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False
        )
    except OSError:  # no git on this machine
        return "unknown"
    return finished.stdout.strip() or "unknown"


def parse_parameters(given: list[str] | None, *, own_pictures: bool = False) -> dict[str, str]:
    """``["AccuracyGate=0.9"]`` as a dictionary; SconesError for anything else.

    The classes of somebody's own pictures may be called by numbers.
    """
    parameters = {}
    for item in given or []:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise SconesError(f"--parameter {item!r} is not NAME=VALUE, for example AccuracyGate=0.9")
        if name in _SHARES and not _is_share(value):
            raise SconesError(f"--parameter {item!r}: {name} is a number from 0 to 1")
        if name == "SourceUri" and not value.startswith("s3://"):
            raise SconesError(f"--parameter {item!r}: expected s3://BUCKET/KEY; --data uploads what is on this machine")
        parameters[name] = _class_names(value) if name == "Classes" else value
    if not own_pictures:
        _refuse_numbers(parameters.get("Classes", ""))
    return parameters


def _class_names(text: str) -> str:
    """The names without spaces around them: as they stand here, the workflow and the reports show them."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if len(names) < 2 or len(set(names)) != len(names):
        raise SconesError(f"--parameter Classes={text!r}: expected two or more different names between commas")
    return ",".join(names)


def _refuse_numbers(text: str) -> None:
    """CIFAR-100's classes have names, which the workflow and the reports show; a folder may be called 7."""
    if numbers := [name for name in text.split(",") if name.isdecimal()]:
        raise SconesError(f"--parameter Classes={text!r}: expected names such as bicycle, got the number {numbers[0]}")


def _is_share(text: str) -> bool:
    try:
        return 0.0 <= float(text) <= 1.0
    except ValueError:
        return False


def start_training(
    connection: Connection,
    source: data.FoundImages | None,
    parameters: dict[str, str],
    algorithm: Algorithm = Algorithm.PYTORCH,
) -> str:
    """Upload the images (once for each content) and start a training pipeline; answers the execution's ARN.

    No source: the images are in S3 already, where the parameter SourceUri says.
    """
    if algorithm is Algorithm.PYTORCH and "TrainingInstanceType" in parameters:
        _check_container(parameters["TrainingInstanceType"], connection.settings)
    given = {"GitCommit": git_commit(), **parameters}
    pictures = _described(connection, source, given)
    if pictures is None:
        _refuse_numbers(given.get("Classes", ""))
    if pictures is not None and pictures.problem:
        raise SconesError(pictures.problem)
    if pictures is not None and "Classes" not in given:
        given["Classes"] = pictures.parameter()
    if source is not None:
        files = None if pictures is None else pictures.files
        given["SourceUri"] = data.upload(connection.client("s3"), source, connection.names.source_uri, files)
    if source is not None and source.drawn:
        given.setdefault("DataOrigin", sample_data.ORIGIN)
    if algorithm is Algorithm.BUILT_IN and "Classes" in given:
        # The algorithm wants their number, which no pipeline expression can count.
        given.setdefault("NumClasses", str(len(given["Classes"].split(","))))
    if connection.settings.tracking_uri:
        given.setdefault("TrackingUri", connection.settings.tracking_uri)
    return pipeline_runs.start(connection, algorithm.pipeline(connection.names), given)


def _described(connection: Connection, source: data.FoundImages | None, given: Mapping[str, str]) -> OwnPictures | None:
    """What somebody's own folder or prefix holds; None for CIFAR-100, and where it cannot be told."""
    classes, environment = given.get("Classes", ""), surroundings(connection.settings)
    if source is None and not classes:
        with tempfile.TemporaryDirectory(prefix="scones-names-") as folder:
            return in_bucket.describe(connection.client("s3"), given["SourceUri"], Path(folder), environment)
    if source is None or source.drawn or not source.path.is_dir():
        return None
    return own_pictures.describe(source.named, classes, environment)


def _check_container(instance_type: str, settings: Settings) -> None:
    """Raise SconesError for GPUs in a container without CUDA, which would stand idle, and for CUDA without GPUs."""
    own = settings.pipeline.training_instance_type
    if has_gpu(instance_type) != has_gpu(own):
        raise SconesError(
            f"--parameter TrainingInstanceType={instance_type}: the pipeline's container was chosen for {own}, one of"
            f" the two has a GPU; set training_instance_type in stages/{settings.stage}.toml, then scones deploy"
        )


def checked_recipe(recipe: str, algorithm: Algorithm) -> str:
    """The recipe; SconesError when there is none of that name, or the algorithm has no recipes."""
    if algorithm is Algorithm.BUILT_IN:
        raise SconesError(
            "--recipe is for our own network: the built-in algorithm starts from pretrained weights with"
            " -p UsePretrainedModel=1"
        )
    if recipe not in RECIPES:
        raise SconesError(f"there is no recipe {recipe!r}; recipes are: {', '.join(RECIPES)}")
    return recipe


def finish(run: Run) -> Run:
    """The run, or SconesError with the reason when it did not succeed."""
    if not run.succeeded:
        raise SconesError(run.explain())
    return run
