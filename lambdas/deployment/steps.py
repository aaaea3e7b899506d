"""What a step of the reconciliation sees, and what it answers.

Runs in Lambda; no AWS call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from lambdas.deployment.desired_state import DesiredState, VersionDecision
from lambdas.deployment.records import LiveDeployment, ModelDeployment

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import DescribeEndpointOutputTypeDef


class StepKind(Enum):
    """What follows a step."""

    PROGRESSED = "progressed"
    """Another step can follow at once."""
    WAITING = "waiting"
    """An event tells when it goes on."""
    DELETING = "deleting"
    """The endpoint will be gone soon, and no event tells of that."""
    SETTLED = "settled"
    """Nothing is left to do."""


@dataclass(frozen=True)
class ReconcileStep:
    """What a step did: ``text`` is its line in the function's log."""

    kind: StepKind
    text: str

    @classmethod
    def progressed(cls, text: str) -> ReconcileStep:
        """Say that another step can follow at once."""
        return cls(StepKind.PROGRESSED, text)

    @classmethod
    def waiting(cls, text: str) -> ReconcileStep:
        """Say that an event tells when it goes on."""
        return cls(StepKind.WAITING, text)

    @classmethod
    def deleting(cls, text: str) -> ReconcileStep:
        """Say that the endpoint will be gone soon."""
        return cls(StepKind.DELETING, text)

    @classmethod
    def settled(cls, text: str) -> ReconcileStep:
        """Say that nothing is left to do."""
        return cls(StepKind.SETTLED, text)


@dataclass(frozen=True)
class ObservedState:
    """What is desired and what is there, at one look. ``endpoint`` is DescribeEndpoint's answer."""

    desired: DesiredState
    decisions: Mapping[int, VersionDecision]
    deployment: ModelDeployment | None
    live: LiveDeployment | None
    endpoint: DescribeEndpointOutputTypeDef | None

    @property
    def status(self) -> str:
        """SageMaker's EndpointStatus, or ``absent``."""
        return str(self.endpoint["EndpointStatus"]) if self.endpoint else "absent"

    @property
    def config(self) -> str:
        """The endpoint's configuration, whatever its status; empty without an endpoint."""
        return str(self.endpoint["EndpointConfigName"]) if self.endpoint else ""

    @property
    def config_in_service(self) -> str:
        """The configuration in service; empty when none is."""
        return self.config if self.status == "InService" else ""
