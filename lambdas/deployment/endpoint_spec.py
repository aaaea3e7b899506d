"""Where approved models go and how: the endpoint's settings as the stack passes them on.

Runs in Lambda.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types_boto3_sagemaker.literals import ProductionVariantInstanceTypeType


@dataclass(frozen=True)
class EndpointOptions:
    """How the endpoint runs and is changed; `scones.stage.settings.EndpointSettings` says what each means."""

    variant: str
    initial_instance_count: int
    serverless_memory_mb: int
    serverless_max_concurrency: int
    canary_percent: int
    canary_wait_s: int
    bake_s: int
    autoscaling_max_instances: int
    autoscaling_invocations_per_instance: int
    smoke_test: bool
    idle_hours: float
    capture: str = "endpoint"
    capture_percent: int = 100

    @property
    def serverless(self) -> bool:
        """Whether AWS finds the capacity for each request, instead of instances that wait."""
        return self.variant == "serverless"

    @property
    def scales(self) -> bool:
        """Whether autoscaling may add instances."""
        return not self.serverless and self.autoscaling_max_instances > self.initial_instance_count


@dataclass(frozen=True)
class ContainerNetwork:
    """The stage's own network, in which the model's container stands."""

    subnet_ids: tuple[str, ...]
    security_group_ids: tuple[str, ...]


@dataclass(frozen=True)
class EndpointSpec:
    """The endpoint, and all that its changes need to know."""

    endpoint: str
    model_package_group: str
    instance_type: ProductionVariantInstanceTypeType
    role_arn: str
    capture_uri: str
    data_key_arn: str
    network: ContainerNetwork | None
    settings: EndpointOptions
    alarms: tuple[str, ...]
