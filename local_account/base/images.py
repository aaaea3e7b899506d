"""What stands for a container image: this account pulls none, so it is told which code does its work.

Runs in the server process. The account's configuration names an image by its repository (``image-classification`` of
``811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:1``); jobs and endpoints with any other image must
bring their own code. A folder of images has a folder for each, with an ``image.toml``:

    repository = "my-algorithm"         # the folder's name unless it says otherwise
    train = ["python3", "-m", "train"]  # the command of a training job; the folder is on its path
    serve = "serve.py"                  # the serving functions
    needs = "xgboost"                   # a module without which the image cannot be
    [environment]                       # further variables of its model servers
    SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT = "text/csv"
    [metrics]                           # what a training's log is searched for when the job names no metrics
    "validation:rmse" = 'rmse=([0-9.]+)'
"""

from __future__ import annotations

import importlib.util
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from local_account.base.errors import AccountError

IMAGE_FILE = "image.toml"
PACKAGED = Path(__file__).resolve().parents[1] / "container_images"


@dataclass(frozen=True)
class ContainerImage:
    """Code in ``folder``, which is on the path of its processes."""

    folder: Path
    train: tuple[str, ...]
    """The command that a training job runs; it finds its files below /opt/ml, as in a real container."""
    serve: str
    """The file in ``folder`` with the serving functions of SageMaker's script mode, such as ``model_fn``."""
    metrics: Mapping[str, str] = field(default_factory=dict)
    """Patterns by the name of a metric, for training jobs that define none."""
    needs: str = ""
    """The module that its code imports."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Further variables of its model servers."""

    def serving_environment(self) -> dict[str, str]:
        """The variables that tell SageMaker's serving containers which script to run, and what a script lacks."""
        return {
            **self.environment,
            "SAGEMAKER_PROGRAM": self.serve,
            "SAGEMAKER_SUBMIT_DIRECTORY": str(self.folder),
            "IMAGE_SERVING_HOOKS": str(self.folder / self.serve),
        }

    def missing(self) -> str:
        """What is not installed that the image needs; empty when nothing."""
        return "" if not self.needs or importlib.util.find_spec(self.needs) else self.needs


def repository(uri: str) -> str:
    """The repository's name in the address of an image."""
    return uri.rpartition("/")[2].partition("@")[0].partition(":")[0]


def parse_images(text: str) -> dict[str, ContainerImage]:
    """``{"NAME": {"folder": "/path", "train": ["command", ...], "serve": "file.py"}}``. Raises AccountError."""
    try:
        document: Mapping[str, Mapping[str, object]] = json.loads(text)
        return {name: _image(name, members) for name, members in document.items()}
    except (ValueError, AttributeError, TypeError, KeyError) as error:
        expected = '{"NAME": {"folder": "/path", "train": ["command", "argument"], "serve": "file.py"}}'
        raise AccountError(f"--images must be JSON like {expected} ({type(error).__name__}: {error})") from error


def read_folder(folder: Path) -> dict[str, dict[str, object]]:
    """The images of a folder, as ``parse_images`` takes them. Raises AccountError where there are none."""
    files = sorted(folder.glob(f"*/{IMAGE_FILE}"))
    if not files:
        raise AccountError(f"--images: expected a folder with NAME/{IMAGE_FILE} for each image, got {folder}")
    found: dict[str, dict[str, object]] = {}
    for file in files:
        try:
            document = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise AccountError(f"--images: {file}: {error}") from error
        name = str(document.pop("repository", file.parent.name))
        if missing := {"train", "serve"} - document.keys():
            raise AccountError(f"--images: {file} lacks {min(missing)!r}")
        found[name] = {**document, "folder": str(file.parent.resolve())}
    return found


def packaged_images() -> dict[str, ContainerImage]:
    """The images that the account brings."""
    return {name: _image(name, members) for name, members in read_folder(PACKAGED).items()}


def _image(name: str, members: Mapping[str, object]) -> ContainerImage:
    train, metrics = members["train"], members.get("metrics", {})
    known = {"folder", "train", "serve", "metrics", "needs", "environment"}
    variables = members.get("environment", {})
    tables = isinstance(metrics, dict) and isinstance(variables, dict)
    if not isinstance(train, list) or not train or not tables or members.keys() - known:
        raise ValueError(f"image {name!r} has the members {sorted(members)}")
    folder = Path(str(members["folder"])).resolve()
    if not (folder / str(members["serve"])).is_file():
        raise AccountError(f"image {name!r}: there is no {members['serve']} in {folder}")
    words = tuple(str(word) for word in train)
    needs = str(members.get("needs", ""))
    return ContainerImage(folder, words, str(members["serve"]), _texts(metrics), needs, _texts(variables))


def _texts(table: object) -> dict[str, str]:
    return {str(key): str(value) for key, value in table.items()} if isinstance(table, dict) else {}
