"""What one stage is set to: read from ``stages/<stage>.toml``, validated, frozen.

Runs on a laptop or in CodeBuild. A stage file may leave out what has a default here; a key that is not
known here is an error, so that a typing mistake never passes for a setting.
"""

from __future__ import annotations

import dataclasses
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from scones.errors import SettingsError
from scones.stage.endpoint_settings import EndpointSettings
from scones.stage.monitoring_settings import MonitoringSettings

__all__ = ["EndpointSettings", "MonitoringSettings", "Settings", "SettingsError"]

_Kind = TypeVar("_Kind")

PROJECT_ROOT = Path(__file__).resolve().parents[2]
"""Where the code lies: a checkout, or the folder that a wheel was installed into."""
WORKING_FOLDER = PROJECT_ROOT if (PROJECT_ROOT / "setup.py").is_file() else Path.cwd()
"""Where state, data and what is built go: the checkout, or for an installed wheel the folder of the call."""
STAGES_DIR = PROJECT_ROOT / "stages"
# What training/train.py knows: networks from random weights, or from ImageNet's.
RECIPES = ("scratch", "pretrained")
PRETRAINED_MODES = ("distilled", "fine-tuned", "frozen")
# What of a recipe a stage or a run may set: settings, and in capitals parameters of the pipeline.
HYPERPARAMETERS = ("epochs", "members", "learning_rate", "batch_size", "network_side", "penalty")


def home() -> Path:
    """Where this machine's stand-in account keeps its state: ``SCONES_HOME``, or ``.scones`` in the working folder."""
    return Path(os.environ.get("SCONES_HOME") or WORKING_FOLDER / ".scones").resolve()


@dataclass(frozen=True)
class PipelineSettings:
    """Defaults of the training pipeline's parameters."""

    classes: tuple[str, ...] = ("bicycle", "motorcycle")
    accuracy_gate: float = 0.85
    champion_significance: float = 0.05
    recipe: str = "scratch"
    pretrained_mode: str = "distilled"
    epochs: int = 0
    """0: the recipe's own number, for each of `HYPERPARAMETERS`; the recipes' are in training/hyperparameters.py."""
    members: int = 0
    learning_rate: float = 0.0
    batch_size: int = 0
    network_side: int = 0
    """Pixels that a pretrained network sees of an image."""
    penalty: float = 0.0
    """Of the squared weights."""
    seed: int = 0
    processing_instance_type: str = "ml.m5.large"
    training_instance_type: str = "ml.c5.xlarge"
    endpoint_instance_type: str = "ml.m5.large"
    approval_status: str = "PendingManualApproval"
    managed_spot_training: bool = True


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
    locked_tools: bool = True  # builds install what requirements-build.txt locks, which is for Linux x86_64
    production_account_id: str = ""  # may read this stage's models and registry, to promote them into its own

    def __post_init__(self) -> None:
        if self.source not in ("connection", "s3"):
            raise SettingsError(f"delivery.source must be connection or s3, got {self.source!r}")
        if len(self.stages) != 2 or self.stages[0] == self.stages[1]:
            raise SettingsError(f"delivery.stages must name two different stages, got {list(self.stages)}")


@dataclass(frozen=True)
class Settings:
    """One stage. ``endpoint_url`` and ``account_id`` are None on AWS, where the credentials decide."""

    stage: str
    project: str = "scones"
    region: str = "us-east-1"
    account_id: str | None = None
    endpoint_url: str | None = None
    confidence_threshold: float = 0.93
    poll_interval_s: float = 10.0
    pipeline: PipelineSettings = field(default_factory=PipelineSettings)
    workflow: WorkflowSettings = field(default_factory=WorkflowSettings)
    built_in: BuiltInSettings = field(default_factory=BuiltInSettings)
    endpoint: EndpointSettings = field(default_factory=EndpointSettings)
    network: NetworkSettings = field(default_factory=NetworkSettings)
    notifications: NotificationSettings = field(default_factory=NotificationSettings)
    cost: CostSettings = field(default_factory=CostSettings)
    delivery: DeliverySettings = field(default_factory=DeliverySettings)
    monitoring: MonitoringSettings = field(default_factory=MonitoringSettings)
    images: Mapping[str, ImageSettings] = field(default_factory=dict)
    """What the stand-in account runs for images that it cannot have, by the repository's name."""

    def __post_init__(self) -> None:
        checks = {
            "confidence_threshold": self.confidence_threshold,
            "pipeline.accuracy_gate": self.pipeline.accuracy_gate,
            "pipeline.champion_significance": self.pipeline.champion_significance,
        }
        for name, value in checks.items():
            if not 0.0 <= value <= 1.0:
                raise SettingsError(f"{name} must lie between 0 and 1, got {value}")
        if self.endpoint.variant == "serverless" and self.network.subnet_ids:
            raise SettingsError(
                "a serverless endpoint cannot stand in a network of the stage's own (SageMaker developer guide,"
                " serverless inference): set endpoint.variant to instance, or leave out [network]"
            )
        if len(self.pipeline.classes) < 2:
            raise SettingsError(f"pipeline.classes needs at least two classes, got {list(self.pipeline.classes)}")
        for name in HYPERPARAMETERS:
            if getattr(self.pipeline, name) < 0:
                raise SettingsError(f"pipeline.{name} must not be negative, got {getattr(self.pipeline, name)}")
        for name, choices in (("recipe", RECIPES), ("pretrained_mode", PRETRAINED_MODES)):
            if getattr(self.pipeline, name) not in choices:
                chosen = getattr(self.pipeline, name)
                raise SettingsError(f"pipeline.{name} must be one of {', '.join(choices)}, got {chosen!r}")

    @classmethod
    def load(cls, stage: str, stages_dir: Path = STAGES_DIR) -> Settings:
        """Read ``stages/<stage>.toml``; ``AWS_ENDPOINT_URL`` overrides the file's ``endpoint_url``, if it has one.

        Raises SettingsError for an unknown stage, an unknown key or a value of the wrong type.
        """
        path = stages_dir / f"{stage}.toml"
        if not path.is_file():
            known = ", ".join(sorted(p.stem for p in stages_dir.glob("*.toml")))
            raise SettingsError(f"there is no stage {stage!r}; stages are: {known} (one file each in {stages_dir})")
        _check_name(stage, [other.stem for other in stages_dir.glob("*.toml")])
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise SettingsError(f"{path} is not valid TOML: {error}") from error
        pipeline = _build(PipelineSettings, document.pop("pipeline", {}), f"{path} [pipeline]")
        workflow = _build(WorkflowSettings, document.pop("workflow", {}), f"{path} [workflow]")
        built_in = _build(BuiltInSettings, document.pop("built_in", {}), f"{path} [built_in]")
        network = _build(NetworkSettings, document.pop("network", {}), f"{path} [network]")
        notifications = _build(NotificationSettings, document.pop("notifications", {}), f"{path} [notifications]")
        cost = _build(CostSettings, document.pop("cost", {}), f"{path} [cost]")
        endpoint = _build(EndpointSettings, document.pop("endpoint", {}), f"{path} [endpoint]")
        delivery = _build(DeliverySettings, document.pop("delivery", {}), f"{path} [delivery]")
        monitoring = _build(MonitoringSettings, document.pop("monitoring", {}), f"{path} [monitoring]")
        images = {
            name: _build(ImageSettings, members, f"{path} [images.{name}]")
            for name, members in document.pop("images", {}).items()
        }
        if "endpoint_url" in document:
            document["endpoint_url"] = os.environ.get("AWS_ENDPOINT_URL") or document["endpoint_url"]
            _check_url(document["endpoint_url"], f"{path}: endpoint_url (AWS_ENDPOINT_URL overrides it)")
        parts = {"pipeline": pipeline, "workflow": workflow, "built_in": built_in, "images": images}
        parts |= {"endpoint": endpoint, "monitoring": monitoring}
        parts |= {"network": network, "notifications": notifications, "cost": cost, "delivery": delivery}
        return _build(cls, {**document, "stage": stage, **parts}, str(path))


def _check_name(stage: str, stages: list[str]) -> None:
    """Raise SettingsError for a name whose resources another stage's roles, or delivery's, would reach."""
    for other in ("delivery", *(other for other in stages if other != stage)):
        if f"{stage}-".startswith(f"{other}-") or other.startswith(f"{stage}-"):
            raise SettingsError(
                f"stage {stage!r} shares its beginning with {other!r}, and permissions go by it: rename it"
            )


def _check_url(url: Any, where: str) -> None:
    """Raise SettingsError for what is no address: boto3 would fail on it with a traceback."""
    try:
        address = urlsplit(url)
        usable = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except (ValueError, AttributeError):
        usable = False
    if not usable:
        raise SettingsError(f"{where} must be like http://127.0.0.1:5055, got {url!r}")


_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "str | None": (str,),
    "int": (int,),
    "bool": (bool,),
    "float": (int, float),
    "tuple[str, ...]": (list,),
    "PipelineSettings": (PipelineSettings,),
    "BuiltInSettings": (BuiltInSettings,),
    "Mapping[str, ImageSettings]": (dict,),
    "WorkflowSettings": (WorkflowSettings,),
    "EndpointSettings": (EndpointSettings,),
    "NetworkSettings": (NetworkSettings,),
    "NotificationSettings": (NotificationSettings,),
    "CostSettings": (CostSettings,),
    "DeliverySettings": (DeliverySettings,),
    "MonitoringSettings": (MonitoringSettings,),
}


def _build(kind: type[_Kind], values: dict[str, Any], where: str) -> _Kind:
    fields = {f.name: str(f.type) for f in dataclasses.fields(kind)}  # type: ignore[arg-type]  # always a dataclass here
    for name, value in values.items():
        if name not in fields:
            raise SettingsError(f"{where}: unknown key {name!r}; known keys: {', '.join(sorted(fields))}")
        expected = _TYPES[fields[name]]
        if not isinstance(value, expected) or (isinstance(value, bool) and bool not in expected):
            raise SettingsError(f"{where}: {name} must be {fields[name]}, got {value!r}")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
