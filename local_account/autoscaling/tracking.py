"""What is scaled, and target tracking: how many instances a variant should have, from what it is asked.

Runs in the server process; pure but for its clock. The rules are those of the Application Auto Scaling User Guide,
"Target tracking scaling policies", with the differences that ``service`` names.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from types_boto3_application_autoscaling.type_defs import (
        SuspendedStateTypeDef,
        TargetTrackingScalingPolicyConfigurationOutputTypeDef,
        TargetTrackingScalingPolicyConfigurationUnionTypeDef,
    )

COOLDOWN_S = 300.0
SCALE_IN_AFTER_S = 900.0
# AWS's low alarm lies 10 % below the target.
LOW = 0.9


class ScalableTarget(TypedDict):
    """A variant whose instances are scaled; times as epoch seconds."""

    ScalableTargetARN: str
    ResourceId: str
    MinCapacity: int
    MaxCapacity: int
    RoleARN: str
    SuspendedState: SuspendedStateTypeDef
    CreationTime: float


class ScalingPolicy(TypedDict):
    """How a target is scaled; time as epoch seconds."""

    PolicyARN: str
    PolicyName: str
    ResourceId: str
    TargetTrackingScalingPolicyConfiguration: TargetTrackingScalingPolicyConfigurationOutputTypeDef
    Alarms: list[str]
    CreationTime: float


class ScalingActivity(TypedDict):
    """What was scaled, when and why; times as epoch seconds."""

    ActivityId: str
    ServiceNamespace: str
    ResourceId: str
    ScalableDimension: str
    Description: str
    Cause: str
    StartTime: float
    EndTime: float
    StatusCode: str


@dataclass
class Tracking:
    """When a target was last scaled and since when it has had too little to do; ``clock`` gives seconds."""

    time_scale: float
    clock: Callable[[], float] = time.monotonic
    _scaled_at: float = -math.inf
    _low_since: float | None = field(default=None)

    def wanted(
        self,
        policy: TargetTrackingScalingPolicyConfigurationUnionTypeDef,
        bounds: tuple[int, int],
        current: int,
        per_minute: float,
    ) -> int:
        """How many instances there should be now.

        ``bounds`` are the target's capacities, ``per_minute`` the invocations of the last minute, over all instances.
        """
        low, high = bounds
        target = float(policy["TargetValue"])
        if not low <= current <= high:
            return self._scaled(min(high, max(low, current)))
        enough = min(high, max(low, math.ceil(per_minute / target)))
        if per_minute / current >= LOW * target:
            self._low_since = None
        elif self._low_since is None:
            self._low_since = self.clock()
        if enough > current and self._waited(policy.get("ScaleOutCooldown", COOLDOWN_S)):
            return self._scaled(enough)
        if (
            enough < current
            and not policy.get("DisableScaleIn")
            and self._waited(policy.get("ScaleInCooldown", COOLDOWN_S))
        ):
            idle_s = self.clock() - self._low_since if self._low_since is not None else 0.0
            if idle_s * self.time_scale >= SCALE_IN_AFTER_S:
                return self._scaled(enough)
        return current

    def _waited(self, cooldown_s: float) -> bool:
        return (self.clock() - self._scaled_at) * self.time_scale >= cooldown_s

    def _scaled(self, count: int) -> int:
        self._scaled_at, self._low_since = self.clock(), None
        return count
