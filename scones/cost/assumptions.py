"""What an estimate assumes, because neither a stage's settings nor its template say it.

Runs on a laptop or in CodeBuild. `scones cost` lists every one, and ``--assume`` changes it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

from scones.cost.prices import CostError


@dataclass(frozen=True)
class Assumptions:
    """None was measured on AWS; what begins with ``photo_`` was on one core of a laptop, at 224 pixels."""

    month_hours: float = 730
    image_kb: float = 100
    """Of an image as it is uploaded; the endpoint gets it once, and the capture holds it in base64."""
    answer_kb: float = 1
    low_confidence_share: float = 0.1
    serialize_ms: float = 150
    """Billed time of a function; the same for those below."""
    classify_ms: float = 150
    filter_ms: float = 20
    batch_image_ms: float = 80
    """Of the batch's function, for one image."""
    summary_ms: float = 3000
    scheduled_ms: float = 500
    model_ms: float = 50
    """A serverless endpoint is billed for the time of the model."""
    express_ms: float = 500
    express_memory_mb: float = 64
    batch_size: float = 50
    batch_images: float = 1000
    """In one execution of the batch workflow."""
    log_kb: float = 4
    """For an image that goes through the three functions."""
    batch_log_kb: float = 0.5
    data_gb: float = 5
    """In the buckets beside captures, old versions included."""
    capture_months: float = 3
    """As long as the bucket's rule keeps captures."""
    kms_requests_per_image: float = 1
    processing_minutes: float = 5
    """Billed time of a job, the same for those below; the pipeline has three processing jobs."""
    training_minutes: float = 20
    monitoring_minutes: float = 5
    spot_saving: float = 0.6
    """Of the price of training; AWS says up to 0.9."""
    volume_gb: float = 30
    """Of a job's instance."""
    update_minutes: float = 10
    """For which old and new instances run side by side, beside the waits in the settings."""
    used_hours_per_run: float = 2
    """For how long a version is asked before it is idle, where idle endpoints are deleted."""
    table_requests_per_step: float = 10
    """Of the function that deploys, each time a schedule calls it; half are writes."""
    photo_filter_ms: float = 3.8
    """To find, decode, scale, compare and write one (`python -m benchmarks.model.photographs`, as the next)."""
    photo_merge_ms: float = 0.05
    """Of the one instance that merges what many filtered."""
    photo_features_ms: float = 68
    """Three views through EfficientNet-Lite0, of the recipe frozen."""
    photo_epoch_ms: float = 190
    """Of the recipe fine-tuned, forwards and backwards (`python -m benchmarks.model.accuracy --mode fine-tuned`)."""
    photo_answer_ms: float = 70
    """Decoding and three views, as the endpoint answers."""
    photo_stored_kb: float = 95
    """Of the dataset's PNG file."""
    job_start_minutes: float = 3
    """Of a job, until its code runs."""
    instance_gbit: float = 5
    """A second, between an instance and S3."""

    def changed(self, pairs: Sequence[str]) -> Assumptions:
        """With ``NAME=VALUE`` for some; raises CostError for a name or a value that is none."""
        known = {field.name for field in dataclasses.fields(self)}
        values: dict[str, float] = {}
        for pair in pairs:
            name, _, text = pair.partition("=")
            if name not in known:
                raise CostError(f"there is no assumption {name!r}; they are: {', '.join(sorted(known))}")
            try:
                values[name] = float(text)
            except ValueError:
                raise CostError(f"{name} must be a number, got {text!r}") from None
            if not 0 <= values[name] < math.inf:
                raise CostError(f"{name} must be 0 or above, got {text}")
        made = dataclasses.replace(self, **values)
        for name in ("batch_size", "batch_images", "month_hours"):
            if getattr(made, name) <= 0:
                raise CostError(f"{name} must be above 0")
        for name in ("low_confidence_share", "spot_saving"):
            if getattr(made, name) > 1:
                raise CostError(f"{name} is a share from 0 to 1, got {getattr(made, name)}")
        return made
