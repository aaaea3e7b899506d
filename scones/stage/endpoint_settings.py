"""How a stage's endpoint runs and how it is changed: ``[endpoint]`` in ``stages/<stage>.toml``.

Runs on a laptop or in CodeBuild. The stack passes all of it on to `lambdas/deploy_approved_model.py` as JSON.
"""

from __future__ import annotations

from dataclasses import dataclass

from scones.errors import SettingsError

_GIB = 1024


@dataclass(frozen=True)
class EndpointSettings:
    """Waits are in seconds; AWS's own limits are checked here, so that a stage file fails before anything is made."""

    variant: str = "instance"
    """``instance``, or ``serverless``: no cost while nobody asks, but a slow first answer, and what SageMaker excludes
    there: captured traffic (so there are no monitoring reports), canaries, alarms that undo an update, copied traffic,
    a network of the stage's own. An endpoint with instances cannot become a serverless one: delete it first."""
    initial_instance_count: int = 1
    """A canary takes whole instances, and at most half of them: there is one from 2 instances on."""
    serverless_memory_mb: int = 2048
    serverless_max_concurrency: int = 5
    canary_percent: int = 10
    """The share of instances that takes traffic first; 0: all at once."""
    canary_wait_s: int = 300
    bake_s: int = 300
    """How long the old instances wait, ready to take the traffic back, after the new ones have all of it."""
    autoscaling_max_instances: int = 0
    """Autoscaling from ``initial_instance_count`` up to this; 0: none."""
    autoscaling_invocations_per_instance: int = 600
    """What an instance should get in a minute."""
    smoke_test: bool = True
    capture: str = "endpoint"
    """Who writes down what is asked and answered: ``endpoint``, SageMaker's data capture, or ``container``, the serving
    code itself, in the same layout; that works for a serverless endpoint too."""
    capture_percent: int = 100
    """The share of the requests that is captured."""
    idle_hours: float = 0.0
    """An endpoint that nobody asked for so long is deleted until the next word; 0: never."""
    max_error_count: int = 1
    """Answers with status 5xx in a minute from which on an update is undone; the same for the two below."""
    max_latency_p99_ms: int = 2000
    max_low_confidence_rate: float = 0.5

    def __post_init__(self) -> None:
        if self.variant not in ("instance", "serverless"):
            raise SettingsError(f"endpoint.variant must be instance or serverless, got {self.variant!r}")
        if self.capture not in ("endpoint", "container"):
            raise SettingsError(f"endpoint.capture must be endpoint or container, got {self.capture!r}")
        limits = {  # API reference: CapacitySize, TrafficRoutingConfig, BlueGreenUpdatePolicy, serverless config
            "initial_instance_count": (1, 1000),
            "serverless_max_concurrency": (1, 200),
            "canary_percent": (0, 50),
            "capture_percent": (1, 100),
            "canary_wait_s": (0, 3600),
            "bake_s": (0, 3600),
            "autoscaling_invocations_per_instance": (1, 10**9),
            "idle_hours": (0, 24 * 365),
            "max_error_count": (1, 10**9),
            "max_latency_p99_ms": (1, 60_000),
            "max_low_confidence_rate": (0, 1),
        }
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise SettingsError(f"endpoint.{name} must lie between {low} and {high}, got {getattr(self, name)}")
        if self.serverless_memory_mb not in range(_GIB, 6 * _GIB + 1, _GIB):
            raise SettingsError(
                f"endpoint.serverless_memory_mb must be 1024 to 6144 in steps of 1024, got {self.serverless_memory_mb}"
            )
        if 0 < self.autoscaling_max_instances < self.initial_instance_count:
            raise SettingsError(
                "endpoint.autoscaling_max_instances must be 0 or at least initial_instance_count, got"
                f" {self.autoscaling_max_instances}"
            )
