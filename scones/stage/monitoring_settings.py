"""How a stage is monitored: ``[monitoring]`` in ``stages/<stage>.toml``.

Runs on a laptop or in CodeBuild. `lambdas/retrain_on_drift.py` gets the rules of retraining as JSON.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass

from scones.errors import SettingsError

OFF = "off"
ATHENA, DUCKDB = "athena", "duckdb"
_EVERY = re.compile(r"([1-9][0-9]?)h")
_RETRAINING = ("retrain", "cooldown_hours", "min_records", "min_reviewed_images")
MAX_HOURS = 24


@dataclass(frozen=True)
class MonitoringSettings:
    """The schedule of the reports, and what has to hold before drift starts a training."""

    every: str = "1h"
    """1h to 24h, or off. A report is about whole hours."""
    window_hours: int = 24
    """What a scheduled report shows; drift is looked for since the version was deployed."""
    retrain: bool = True
    cooldown_hours: float = 24.0
    """Between two trainings that drift started."""
    min_records: int = 200
    """Predictions in the report."""
    min_reviewed_images: int = 20
    """New to the version that serves: without new labels a training would learn the same again."""
    query: str = ATHENA
    """What asks the table of captured traffic: athena, or duckdb on this machine."""

    def __post_init__(self) -> None:
        check_every(self.every, "monitoring.every")
        if self.query not in (ATHENA, DUCKDB):
            raise SettingsError(f"monitoring.query must be {ATHENA} or {DUCKDB}, got {self.query!r}")
        limits = {
            "window_hours": (1, 24 * 31),
            "cooldown_hours": (0, 24 * 365),
            "min_records": (0, 10**9),
            "min_reviewed_images": (0, 10**9),
        }
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise SettingsError(f"monitoring.{name} must lie between {low} and {high}, got {getattr(self, name)}")

    @property
    def retraining(self) -> dict[str, bool | float | int]:
        """`lambdas.monitoring.retraining.Rules`."""
        return {name: value for name, value in asdict(self).items() if name in _RETRAINING}


def check_every(text: str, what: str) -> None:
    """SettingsError unless it is off, or whole hours up to a day."""
    found = _EVERY.fullmatch(text)
    if text != OFF and not (found and int(found[1]) <= MAX_HOURS):
        raise SettingsError(f"{what} must be 1h to {MAX_HOURS}h, or {OFF}, got {text!r}")


def every_of(expression: str) -> str:
    """The other way round; an expression that is none of ours stays as it is."""
    found = re.fullmatch(r"rate\((\d+) hours?\)", expression)
    return f"{found[1]}h" if found else expression


def schedule_expression(every: str) -> str:
    """EventBridge Scheduler's words for it."""
    hours = 1 if every == OFF else int(every.removesuffix("h"))
    return f"rate({hours} hour{'s' if hours > 1 else ''})"


def template_schedule(every: str) -> dict[str, str]:
    """The template's parameters about the schedule."""
    state = "DISABLED" if every == OFF else "ENABLED"
    return {"MonitoringExpression": schedule_expression(every), "MonitoringState": state}
