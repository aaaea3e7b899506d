"""What stands for a container image: this account pulls none, so it is told which code does its work.

Runs in the server process. The account's configuration names an image by its repository (``image-classification`` of
``811284229777.dkr.ecr.us-east-1.amazonaws.com/image-classification:1``); jobs and endpoints with any other image must
bring their own code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local_account.base.errors import AccountError


@dataclass(frozen=True)
class ContainerImage:
    """Code in ``folder``, which is on the path of its processes."""

    folder: Path
    train: tuple[str, ...]
    """The command that a training job runs; it finds its files below /opt/ml, as in a real container."""
    serve: str
    """The file in ``folder`` with the serving functions of SageMaker's script mode, such as ``model_fn``."""

    def serving_environment(self) -> dict[str, str]:
        """The variables that tell SageMaker's serving containers which script to run."""
        return {"SAGEMAKER_PROGRAM": self.serve, "SAGEMAKER_SUBMIT_DIRECTORY": str(self.folder)}


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


def _image(name: str, members: Mapping[str, object]) -> ContainerImage:
    train = members["train"]
    if not isinstance(train, list) or not train or set(members) != {"folder", "train", "serve"}:
        raise ValueError(f"image {name!r} has the members {sorted(members)}")
    folder = Path(str(members["folder"])).resolve()
    if not (folder / str(members["serve"])).is_file():
        raise AccountError(f"image {name!r}: there is no {members['serve']} in {folder}")
    return ContainerImage(folder, tuple(str(word) for word in train), str(members["serve"]))
