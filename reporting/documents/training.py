"""``training.json``: how a model was trained, inside its archive.

The training job writes it, the evaluation job reads the learning curves. An archive of the built-in algorithm has none.
"""

from __future__ import annotations

import msgspec

TRAINING_FILE = "training.json"


class EpochFigures(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One pass of one member over the training images; losses are cross entropies in nats, accuracy is a share.

    Archives of older versions may lack some of the figures.
    """

    member: int
    epoch: int
    train_loss: float | None = None
    train_accuracy: float | None = None
    """Of the views that it learned from."""
    validation_loss: float | None = None
    validation_accuracy: float | None = None


class TrainingArguments(msgspec.Struct, frozen=True, kw_only=True):
    """What the job was told; 0 stands for the recipe's own number."""

    recipe: str
    pretrained_mode: str
    seed: int
    epochs: int
    members: int
    learning_rate: float
    batch_size: int = 0
    network_side: int = 0
    penalty: float = 0.0
    backbone: str = ""
    backbone_weights: str = ""
    precision: str = "float32"


class TrainedOn(msgspec.Struct, frozen=True, kw_only=True):
    """The dataset's images by split and class, the digest of what they were read from, and their side in pixels."""

    counts: dict[str, dict[str, int]]
    source_sha256: str
    image_size: int = 32


class EnsembleScores(msgspec.Struct, frozen=True, kw_only=True):
    """The whole ensemble on the validation images: a share, and a cross entropy in nats after calibration."""

    validation_accuracy: float
    validation_loss: float


class Int8Check(msgspec.Struct, frozen=True, kw_only=True):
    """How right the model is in eight bits and before, on so many held-out images; whether it was taken."""

    float32_accuracy: float
    int8_accuracy: float
    images: int
    taken: bool


class TrainingRecord(msgspec.Struct, frozen=True, kw_only=True):
    """``training.json``.

    - ``recipe``: which one trained; ``versions``: of Python and of the libraries, by name.
    - ``temperature``: what the logits are divided by.
    - ``cpu_seconds``: of all processes, ``process_cpu_seconds`` of each member's.
    - ``history``: an entry for each epoch of each member.
    - ``parity_max_difference``: the largest difference of a probability between torch and ONNX Runtime.
    - ``precision``: what the exported model counts in; ``int8``: the trial, where int8 was asked for.
    """

    recipe: str
    arguments: TrainingArguments
    versions: dict[str, str]
    dataset: TrainedOn
    scores: EnsembleScores
    temperature: float
    cpu_seconds: float
    process_cpu_seconds: list[float]
    history: list[EpochFigures]
    parity_max_difference: float = 0.0
    precision: str = "float32"
    int8: Int8Check | None = None


class LearningCurves(msgspec.Struct, frozen=True):
    """What the evaluation reads of ``training.json``; archives of older versions have little more."""

    history: list[EpochFigures]
