"""What the steps of the reconciliation work with: clients, ledger, notifier, the endpoint's settings and the clock.

Runs in Lambda.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from lambdas.deployment.clients import Clients
from lambdas.deployment.desired_state import text_of
from lambdas.deployment.endpoint_spec import EndpointSpec
from lambdas.deployment.history import History
from lambdas.deployment.ledger import Ledger
from lambdas.deployment.notifier import Notifier
from lambdas.deployment.records import LiveDeployment
from lambdas.deployment.registry import find_version, keep_version
from lambdas.deployment.sagemaker_endpoint import describe_endpoint
from lambdas.deployment.scaling import stop_scaling
from lambdas.deployment.smoke import Asker, Smoke
from lambdas.deployment.version import ServableVersion, VersionGoneError

if TYPE_CHECKING:
    from types_boto3_sagemaker import SageMakerClient
    from types_boto3_sagemaker.type_defs import DescribeEndpointOutputTypeDef


def utc_now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class DeploymentContext:
    """Everything that a step reads and changes the account with."""

    clients: Clients
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
