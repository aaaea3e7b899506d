"""What one run of the training pipeline takes for a dataset of any size: hours and dollars of each step.

Runs on a laptop or in CodeBuild and makes no AWS call. Multiplies the cost of one photograph, which the commands beside
each assumption measured on one core, by the photographs, and spreads it over the instances' cores.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scones.cost.assumptions import Assumptions
from scones.cost.prices import Prices
from scones.stage.sections import has_gpu
from scones.stage.settings import Settings

_HOUR_MS = 3_600_000
_KIB_PER_GB = 1024**2
TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1


@dataclass(frozen=True)
class Plan:
    """How many photographs, and how many instances of the steps that can use more than one."""

    photographs: int
    filter_instances: int = 1
    training_instances: int = 1
    mode: str = "frozen"
    epochs: int = 8
    """Of a fine-tuned network."""


@dataclass(frozen=True)
class StepCost:
    """What one step takes: ``hours`` as the clock counts them, ``usd`` for all instances and their volumes."""

    name: str
    instances: int
    instance_type: str
    hours: float
    usd: float
    basis: str


@dataclass(frozen=True)
class _Work:
    """A step's work: milliseconds of one core for all photographs, what one instance does alone, and data."""

    name: str
    instance_type: str
    instances: int
    shared_ms: float
    alone_ms: float
    gb: float
    """That all instances together read from S3 and keep on their volumes."""
    basis: str


def scale(plan: Plan, settings: Settings, prices: Prices, assumed: Assumptions) -> list[StepCost]:
    """The steps in their order, evaluation and baseline at once, and storage. Raises CostError for unknown types."""
    return [
        *(_priced(work, prices, assumed) for work in _works(plan, settings, assumed)),
        _stored(plan, prices, assumed),
    ]


def clock_hours(steps: list[StepCost]) -> float:
    """From start to end: the steps one after another, but the last two jobs side by side."""
    hours = {step.name: step.hours for step in steps}
    return hours["FilterClasses"] + hours["TrainModel"] + max(hours["EvaluateModel"], hours["BuildBaseline"])


def _works(plan: Plan, settings: Settings, a: Assumptions) -> list[_Work]:
    count, pipeline = plan.photographs, settings.pipeline
    test, validation = TEST_SHARE * count, VALIDATION_SHARE * (1 - TEST_SHARE) * count
    uploaded_gb, stored_gb = count * a.image_kb / _KIB_PER_GB, count * a.photo_stored_kb / _KIB_PER_GB
    processing, training = pipeline.processing_instance_type, pipeline.training_instance_type
    passes = count - test if plan.mode == "frozen" else plan.epochs * (count - test)
    each_ms = a.photo_features_ms if plan.mode == "frozen" else a.photo_epoch_ms
    return [
        _Work(
            "FilterClasses",
            processing,
            plan.filter_instances,
            count * a.photo_filter_ms,
            count * a.photo_merge_ms,
            uploaded_gb + stored_gb,
            f"{a.photo_filter_ms:g} ms a photograph, {a.photo_merge_ms:g} of the merge on one instance",
        ),
        _Work(
            "TrainModel",
            training,
            plan.training_instances,
            passes * each_ms,
            0.0,
            stored_gb * (1 - TEST_SHARE),
            f"{plan.mode}, {each_ms:g} ms a photograph"
            + (f" and epoch, {plan.epochs}" if plan.mode != "frozen" else "")
            + (", on the cores alone: no GPU was measured" if has_gpu(training) else ""),
        ),
        _Work(
            "EvaluateModel",
            processing,
            1,
            test * a.photo_answer_ms,
            0.0,
            stored_gb * TEST_SHARE,
            f"{a.photo_answer_ms:g} ms an answer, {test:,.0f} test photographs",
        ),
        _Work(
            "BuildBaseline",
            processing,
            1,
            validation * a.photo_answer_ms,
            0.0,
            stored_gb * VALIDATION_SHARE,
            f"the same, {validation:,.0f} validation photographs",
        ),
    ]


def _priced(work: _Work, prices: Prices, a: Assumptions) -> StepCost:
    cores, network = prices.cores(work.instance_type), a.instance_gbit * 3600 / 8
    computing = (work.shared_ms / cores / work.instances + work.alone_ms) / _HOUR_MS
    # Reading goes on while others compute; whichever takes longer is waited for.
    hours = max(computing, work.gb / work.instances / network) + a.job_start_minutes / 60
    volume_gb = max(a.volume_gb, math.ceil(work.gb / work.instances))
    volume = prices.of("instance_volume", volume_gb * hours / a.month_hours)
    usd = work.instances * (prices.hour(work.instance_type) * hours + volume)
    return StepCost(work.name, work.instances, work.instance_type, hours, usd, work.basis)


def _stored(plan: Plan, prices: Prices, a: Assumptions) -> StepCost:
    kept_gb = plan.photographs * (a.image_kb + a.photo_stored_kb) / _KIB_PER_GB
    requests = prices.of("s3_put", plan.photographs) + prices.of("s3_get", 3 * plan.photographs)
    usd = prices.of("s3_gb_month", kept_gb) + requests
    return StepCost("storage, a month", 0, "", 0.0, usd, f"{kept_gb:,.0f} GB in S3, a file for each photograph")
