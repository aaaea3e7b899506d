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
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

from scones.errors import SettingsError
from scones.stage.endpoint_settings import EndpointSettings
from scones.stage.monitoring_settings import MonitoringSettings
from scones.stage.sections import (
    HYPERPARAMETERS,
    PRECISIONS,
    PRETRAINED_MODES,
    RECIPES,
    BuiltInSettings,
    CostSettings,
    DeliverySettings,
    ImageSettings,
    NetworkSettings,
    NotificationSettings,
    PipelineSettings,
    WorkflowSettings,
)
from scones.stage.tracking_address import check_address, tracking_uri

__all__ = ["EndpointSettings", "MonitoringSettings", "Settings", "SettingsError"]

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_Kind = TypeVar("_Kind", bound="DataclassInstance")

PROJECT_ROOT = Path(__file__).resolve().parents[2]
"""Where the code lies: a checkout, or the folder that a wheel was installed into."""
WORKING_FOLDER = PROJECT_ROOT if (PROJECT_ROOT / "setup.py").is_file() else Path.cwd()
"""Where state, data and what is built go: the checkout, or for an installed wheel the folder of the call."""
STAGES_DIR = PROJECT_ROOT / "stages"


def home() -> Path:
    """Where this machine's stand-in account keeps its state: ``SCONES_HOME``, or ``.scones`` in the working folder."""
    return Path(os.environ.get("SCONES_HOME") or WORKING_FOLDER / ".scones").resolve()


_SECTIONS: dict[str, type[DataclassInstance]] = {
    "pipeline": PipelineSettings,
    "workflow": WorkflowSettings,
    "built_in": BuiltInSettings,
    "network": NetworkSettings,
    "notifications": NotificationSettings,
    "cost": CostSettings,
    "endpoint": EndpointSettings,
    "delivery": DeliverySettings,
    "monitoring": MonitoringSettings,
}
"""Section of a stage file -> what it is read into."""


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
    mlflow: str = ""
    """Where trainings are logged: see `scones.stage.tracking_address`. ``MLFLOW_TRACKING_URI`` overrides it."""
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

    @property
    def tracking_uri(self) -> str:
        """The address as MLflow takes it; empty when nothing is logged."""
        return tracking_uri(self.mlflow, home() / "mlflow" / "mlflow.db")

    def __post_init__(self) -> None:
        check_address(self.mlflow, stand_in=self.endpoint_url is not None)
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
        allowed = {"recipe": RECIPES, "pretrained_mode": PRETRAINED_MODES, "precision": PRECISIONS}
        for name, choices in allowed.items():
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
        parts: dict[str, object] = {
            name: _build(kind, document.pop(name, {}), f"{path} [{name}]") for name, kind in _SECTIONS.items()
        }
        parts["images"] = {
            name: _build(ImageSettings, members, f"{path} [images.{name}]")
            for name, members in document.pop("images", {}).items()
        }
        if address := os.environ.get("MLFLOW_TRACKING_URI"):
            document["mlflow"] = address
        if "endpoint_url" in document:
            document["endpoint_url"] = os.environ.get("AWS_ENDPOINT_URL") or document["endpoint_url"]
            _check_url(document["endpoint_url"], f"{path}: endpoint_url (AWS_ENDPOINT_URL overrides it)")
        return _build(cls, {**document, "stage": stage, **parts}, str(path))


def _check_name(stage: str, stages: list[str]) -> None:
    """Raise SettingsError for a name whose resources another stage's roles, or delivery's, would reach."""
    for other in ("delivery", *(other for other in stages if other != stage)):
        if f"{stage}-".startswith(f"{other}-") or other.startswith(f"{stage}-"):
            raise SettingsError(
                f"stage {stage!r} shares its beginning with {other!r}, and permissions go by it: rename it"
            )


def _check_url(url: str, where: str) -> None:
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
    "Mapping[str, ImageSettings]": (dict,),
    "Mapping[str, str]": (dict,),
    **{kind.__name__: (kind,) for kind in _SECTIONS.values()},
}


def _build(kind: type[_Kind], values: Mapping[str, object], where: str) -> _Kind:
    fields = {f.name: str(f.type) for f in dataclasses.fields(kind)}
    for name, value in values.items():
        if name not in fields:
            raise SettingsError(f"{where}: unknown key {name!r}; known keys: {', '.join(sorted(fields))}")
        expected = _TYPES[fields[name]]
        if not isinstance(value, expected) or (isinstance(value, bool) and bool not in expected):
            raise SettingsError(f"{where}: {name} must be {fields[name]}, got {value!r}")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
