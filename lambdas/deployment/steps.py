"""What a step of the reconciliation works with, what it sees, and what it answers.

Runs in Lambda.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING

from lambdas.deployment.clients import EndpointClients
from lambdas.deployment.desired_state import DesiredState, VersionDecision, text_of
from lambdas.deployment.endpoint_spec import EndpointSpec
from lambdas.deployment.history import History, Notifier
from lambdas.deployment.ledger import Ledger
from lambdas.deployment.records import LiveDeployment, ModelDeployment
from lambdas.deployment.registry import find_version, keep_version
from lambdas.deployment.sagemaker_endpoint import describe_endpoint
from lambdas.deployment.scaling import stop_scaling
from lambdas.deployment.smoke import Asker, Smoke
from lambdas.deployment.version import ServableVersion, VersionGoneError

if TYPE_CHECKING:
    from types_boto3_sagemaker import SageMakerClient
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


def utc_now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class DeploymentContext:
    """Everything that a step reads and changes the account with."""

    clients: EndpointClients
    ledger: Ledger
    notifier: Notifier
    spec: EndpointSpec
    clock: Callable[[], datetime] = utc_now

    @property
    def sagemaker(self) -> SageMakerClient:
        """SageMaker's client, which nearly every step needs."""
        return self.clients.sagemaker

    @property
    def history(self) -> History:
        """Records outcomes in the ledger and tells of them."""
        return History(self.ledger, self.notifier, self.clock)

    def now(self) -> str:
        """Return the time as the ledger keeps it: ISO 8601 in UTC, with microseconds."""
        return text_of(self.clock())

    def endpoint(self) -> DescribeEndpointOutputTypeDef | None:
        """Describe the endpoint; None when there is none."""
        return describe_endpoint(self.sagemaker, self.spec.endpoint)

    def version(self, package_arn: str) -> ServableVersion:
        """What is known of a version; raises VersionGoneError."""
        return find_version(self.sagemaker, self.ledger, package_arn)

    def keep_version(self, package_arn: str) -> None:
        """Keep what the registry says of a version now."""
        keep_version(self.sagemaker, self.ledger, package_arn)

    def smoke_test(self, package_arn: str) -> Smoke:
        """Ask the endpoint for the version's known images, unless the stage switched that off."""
        if not self.spec.settings.smoke_test:
            return Smoke(None, "not tested: switched off")
        asker = Asker(self.clients.s3, self.clients.sagemaker_runtime, self.spec.endpoint)
        try:
            return asker.test(self.version(package_arn))
        except VersionGoneError as error:
            return Smoke(None, f"not tested: {error}")

    def stop_scaling(self, live: LiveDeployment | None) -> None:
        """Take autoscaling off the endpoint, where it is on."""
        if live is not None and live.scaled:
            stop_scaling(self.clients.application_autoscaling, self.spec)
            self.ledger.put_live(replace(live, scaled=False))
