"""Trains as the image sagemaker-xgboost does without a script: hyperparameters and channels in, ``xgboost-model`` out.

Runs in the container of a training job, ``python3 -m train_xgboost``. Reads ``/opt/ml/input``; writes the model and,
when it fails, ``/opt/ml/output/failure``. Authority: SageMaker developer guide, "XGBoost algorithm": CSV has the label
first and no header; from version 1.3 on XGBoost writes the model itself, before it pickle did.
"""

from __future__ import annotations

import json
import os
import pickle
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xgboost

ROOT = Path("/opt/ml")
MODEL_FILE = "xgboost-model"
_CSV, _LIBSVM, _PARQUET = {"text/csv", "csv"}, {"", "libsvm", "text/libsvm", "text/x-libsvm"}, {"application/x-parquet"}
# What belongs to SageMaker, not to XGBoost.
_OF_SAGEMAKER = {"num_round", "eval_metric", "early_stopping_rounds", "csv_weights", "save_model_on_termination"}


class BoosterRequestError(Exception):
    """What is wrong with the job's request."""


def main(root: Path = ROOT) -> int:
    """Train; the exit status. What is wrong with the request is left as the job's failure."""
    try:
        train(root, json.loads((root / "input/config/hyperparameters.json").read_text(encoding="utf-8")))
    except BoosterRequestError as error:
        print(error, file=sys.stderr)
        (root / "output").mkdir(exist_ok=True)
        (root / "output/failure").write_text(f"ClientError: {error}"[:1024], encoding="utf-8")
        return 1
    return 0


def train(root: Path, hyperparameters: Mapping[str, str]) -> None:
    """Train on the channels and write the model. Raises BoosterRequestError."""
    import xgboost

    rounds = whole_number(hyperparameters, "num_round")
    stopping = (
        whole_number(hyperparameters, "early_stopping_rounds") if "early_stopping_rounds" in hyperparameters else None
    )
    weighted = hyperparameters.get("csv_weights", "0") == "1"
    channels = {name: read_channel(root, name, weighted=weighted) for name in channel_names(root)}
    if "train" not in channels:
        raise BoosterRequestError(f"Expected a channel 'train', got {', '.join(channels) or 'none'}.")
    if stopping is not None and "validation" not in channels:
        raise BoosterRequestError("Hyperparameter early_stopping_rounds needs a channel 'validation'.")
    evals = [(channels[name], name) for name in ("train", "validation") if name in channels]
    try:
        booster = xgboost.train(
            parameters_of(hyperparameters), channels["train"], rounds, evals=evals, early_stopping_rounds=stopping,
            verbose_eval=False, callbacks=[metric_log(xgboost)],
        )  # fmt: skip
    except (xgboost.core.XGBoostError, ValueError) as error:
        raise BoosterRequestError(f"XGBoost training failed with exception: {str(error).splitlines()[0]}") from error
    write_model(booster, root / "model" / MODEL_FILE)


def whole_number(hyperparameters: Mapping[str, str], name: str) -> int:
    """A hyperparameter that is a number of at least 1. Raises BoosterRequestError."""
    value = hyperparameters.get(name, "")
    if not value.isdecimal() or int(value) < 1:
        raise BoosterRequestError(f"Hyperparameter {name} must be a positive integer, got {value!r}.")
    return int(value)


def parameters_of(hyperparameters: Mapping[str, str]) -> dict[str, object]:
    """What XGBoost itself takes."""
    found: dict[str, object] = {
        name: value for name, value in hyperparameters.items() if name not in _OF_SAGEMAKER and not name.startswith("_")
    }
    metrics = hyperparameters.get("eval_metric", "")
    return found | ({"eval_metric": metrics.split(",")} if metrics else {})


def metric_log(module: object) -> object:
    """Prints each round as AWS's log shows it, tabs as #011."""

    class Log(module.callback.TrainingCallback):  # type: ignore[misc, name-defined]  # the module comes as a value
        def after_iteration(
            self, _model: object, epoch: int, evals_log: Mapping[str, Mapping[str, list[float]]]
        ) -> bool:
            values = [f"{data}-{name}:{log[-1]:.5f}" for data, logs in evals_log.items() for name, log in logs.items()]
            print("".join([f"[{epoch}]", *(f"#011{value}" for value in values)]), flush=True)
            return False

    return Log()


def channel_names(root: Path) -> list[str]:
    """The channels that have data."""
    return sorted(path.name for path in (root / "input/data").iterdir() if path.is_dir())


def read_channel(root: Path, name: str, *, weighted: bool) -> xgboost.DMatrix:
    """A channel's files as one matrix. Raises BoosterRequestError."""
    config = json.loads((root / "input/config/inputdataconfig.json").read_text(encoding="utf-8"))
    content_type = str(config.get(name, {}).get("ContentType", "")).partition(";")[0].strip().lower()
    files = sorted(path for path in (root / "input/data" / name).rglob("*") if path.is_file())
    if not files:
        raise BoosterRequestError(f"Channel {name!r} has no files.")
    try:
        return _matrix(files, content_type, weighted=weighted)
    except (ValueError, IndexError) as error:
        raise BoosterRequestError(f"Channel {name!r} cannot be read as {content_type or 'libsvm'}: {error}") from error


def _matrix(files: list[Path], content_type: str, *, weighted: bool) -> xgboost.DMatrix:
    import xgboost

    if content_type in _LIBSVM:
        from scipy.sparse import vstack
        from sklearn.datasets import load_svmlight_files

        parts = load_svmlight_files([str(file) for file in files])
        return xgboost.DMatrix(vstack(parts[::2]).tocsr(), label=np.concatenate(parts[1::2]))
    if content_type in _CSV:
        table = np.concatenate([np.genfromtxt(file, delimiter=",", ndmin=2) for file in files])
    elif content_type in _PARQUET:
        import pandas as pd

        table = pd.concat([pd.read_parquet(file) for file in files]).to_numpy(dtype=float)
    else:
        raise ValueError(f"expected text/csv, text/libsvm or application/x-parquet, got {content_type!r}")
    if np.isnan(table[:, 0]).any():
        raise ValueError("the first column is the label and must be numbers, without a header")
    if weighted:
        return xgboost.DMatrix(table[:, 2:], label=table[:, 0], weight=table[:, 1])
    return xgboost.DMatrix(table[:, 1:], label=table[:, 0])


def image_version(uri: str) -> tuple[int, int]:
    """Major and minor version of XGBoost in an image's tag, such as ``1.0-1-cpu-py3``; the newest without one."""
    match = re.match(r"(\d+)\.(\d+)", uri.rpartition(":")[2])
    return (int(match[1]), int(match[2])) if match else (99, 0)


def write_model(booster: xgboost.Booster, path: Path) -> None:
    """Write the model as the image of this version does."""
    if image_version(os.environ.get("TRAINING_IMAGE_URI", "")) < (1, 3):
        path.write_bytes(pickle.dumps(booster))
    else:
        path.write_bytes(bytes(booster.save_raw("json")))


if __name__ == "__main__":
    sys.exit(main())
