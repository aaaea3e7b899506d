"""Serves as the image sagemaker-xgboost does: the hooks of a model without a script, and what a script leaves out.

Runs in a model server's process. Reads ``xgboost-model`` in the model's folder. Authority: SageMaker developer guide,
"XGBoost algorithm", inference: text/csv and text/libsvm come without labels, predictions go out as CSV or JSON.
"""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xgboost

_LIBSVM = {"text/libsvm", "text/x-libsvm"}
_UNNAMED = {"", "application/json", "application/octet-stream"}  # what a request without a content type comes as


class UnsupportedError(Exception):
    """A content type that the algorithm does not know."""

    status_code = 415


def model_fn(model_dir: str) -> xgboost.Booster:
    """The model that a training left, in XGBoost's own format or pickled."""
    import xgboost

    named = Path(model_dir) / "xgboost-model"
    path = named if named.is_file() else next(path for path in sorted(Path(model_dir).iterdir()) if path.is_file())
    content = path.read_bytes()
    if content.startswith(b"\x80"):  # pickle's first byte; as the image, it trusts the account's own models
        loaded: xgboost.Booster = pickle.loads(content)  # noqa: S301
        return loaded
    booster = xgboost.Booster()
    booster.load_model(bytearray(content))
    return booster


def input_fn(body: bytes, content_type: str) -> xgboost.DMatrix:
    """Rows of features. Raises UnsupportedError, ValueError."""
    import xgboost

    kind = content_type.partition(";")[0].strip().lower()
    text = body.decode().strip() if isinstance(body, bytes) else body.strip()
    if kind in _UNNAMED:
        kind = "text/libsvm" if ":" in text else "text/csv"
    if kind == "text/csv":
        rows = [[float(value) if value.strip() else np.nan for value in line.split(",")] for line in text.splitlines()]
        return xgboost.DMatrix(np.array(rows, dtype=float))
    if kind in _LIBSVM:
        return xgboost.DMatrix(_dense(text))
    raise UnsupportedError(f"Content type {content_type} is not supported: expected text/csv or text/libsvm.")


def _dense(text: str) -> np.ndarray:
    """Lines of ``index:value``, with or without a label: float64 [rows, features], NaN where nothing is said."""
    rows = [[pair.split(":") for pair in line.split() if ":" in pair] for line in text.splitlines()]
    width = 1 + max((int(index) for row in rows for index, _ in row), default=0)
    found = np.full((len(rows), width), np.nan)
    for position, row in enumerate(rows):
        for index, value in row:
            found[position, int(index)] = float(value)
    return found


def predict_fn(data: xgboost.DMatrix, model: xgboost.Booster) -> np.ndarray:
    """The predictions: float32 [rows], or [rows, classes]."""
    predictions: np.ndarray = model.predict(data, validate_features=False)
    return predictions


def output_fn(predictions: np.ndarray, accept: str) -> tuple[str, str]:
    """Encode as JSON, JSON lines or CSV; a batch has one line each. Raises UnsupportedError."""
    kind, values = accept.partition(";")[0].strip().lower(), np.asarray(predictions).tolist()
    if kind == "application/json":
        return json.dumps({"predictions": [{"score": value} for value in values]}), kind
    if kind in {"application/jsonlines", "application/x-jsonlines"}:
        return "\n".join(json.dumps({"score": value}) for value in values), kind
    if kind not in {"text/csv", "*/*", ""}:
        raise UnsupportedError(f"Accept type {accept} is not supported: expected text/csv or application/json.")
    lines = [",".join(map(str, value)) if isinstance(value, list) else str(value) for value in values]
    return ("\n".join(lines) + "\n" if os.environ.get("SAGEMAKER_BATCH") else ",".join(lines)), "text/csv"
