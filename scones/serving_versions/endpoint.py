"""The endpoint: what it serves, waiting for a version to be deployed, going back, deleting it.

Runs on a laptop or in CodeBuild.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from scones.errors import SconesError
from scones.serving_versions import deployments, registry
from scones.serving_versions.deployment_items import DecisionItem
from scones.stage.connection import Connection

if TYPE_CHECKING:
    from types_boto3_sagemaker import SageMakerClient
    from types_boto3_sagemaker.type_defs import ContainerDefinitionOutputTypeDef

_IDLE_PERIOD_S = 3600
_PACKAGE_VARIABLE = "SCONES_MODEL_PACKAGE_ARN"  # `lambdas.deployment.sagemaker_endpoint` sets it


def _nobody(_line: str) -> None:
    """Nobody is told of the progress."""


@dataclass(frozen=True)
class EndpointStatus:
    """An endpoint and the model package behind it; ``model_package_arn`` is empty while nothing serves."""

    name: str
    status: str
    config: str
    model_package_arn: str
    failure: str


def status(connection: Connection) -> EndpointStatus | None:
    """What the stage's endpoint serves, or None when there is no endpoint."""
    sagemaker = connection.client("sagemaker")
    name = connection.names.endpoint
    try:
        endpoint = sagemaker.describe_endpoint(EndpointName=name)
    except ClientError as error:
        if "Could not find" in str(error):
            return None
        raise
    config = endpoint["EndpointConfigName"]
    failure = endpoint.get("FailureReason", "")
    return EndpointStatus(name, endpoint["EndpointStatus"], config, _model_package(sagemaker, config), failure)


def _model_package(sagemaker: SageMakerClient, config_name: str) -> str:
    config = sagemaker.describe_endpoint_config(EndpointConfigName=config_name)
    model = sagemaker.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    containers = [model["PrimaryContainer"]] if "PrimaryContainer" in model else model.get("Containers", [])
    return next((found for c in containers if (found := _package(c))), "")


def _package(container: ContainerDefinitionOutputTypeDef) -> str:
    """The variable is the deployment's; models of before it named their package."""
    return str(container.get("Environment", {}).get(_PACKAGE_VARIABLE) or container.get("ModelPackageName", ""))


def live(connection: Connection) -> EndpointStatus:
    """The endpoint in service; SconesError when there is none yet."""
    found = status(connection)
    if found is None:
        raise SconesError(
            f"endpoint {connection.names.endpoint} does not exist: approve a version with `scones model approve`"
        )
    if found.status not in ("InService", "Updating"):
        raise SconesError(f"endpoint {found.name} is {found.status}: {found.failure or 'wait until it is InService'}")
    return found


def wait_for(
    connection: Connection,
    model_package_arn: str,
    timeout_s: float,
    since: str = "",
    progress: deployments.Progress = _nobody,
) -> EndpointStatus:
    """Wait until a version that was approved at ``since`` is deployed and tested. SconesError when it was not."""
    version = int(model_package_arn.rpartition("/")[2])

    def done(found: deployments.DeploymentsState) -> str | None:
        outcome = deployments.outcome_of(found, since, version)
        known = found.decisions.get(version, DecisionItem())
        if outcome is None and found.quiet and known.get("removed_at", "") >= since > "":
            raise SconesError(f"version {version} is not deployed: it was deleted from the registry before that")
        if outcome is None and found.quiet and found.order and found.order["at"] > since > "":
            raise SconesError(f"version {version} is not deployed: {found.order['action']} was ordered later")
        serves = found.live is not None and version in (int(found.live["version"]), int(found.live["shadow_version"]))
        if outcome is None and found.quiet and serves and known.get("at", "") >= since:
            return "deployed"  # it was before
        newer = [d for d in found.decisions.values() if d["at"] > since and int(d["version"]) != version]
        if outcome is None and since and found.quiet and newer and not serves:
            latest = max(newer, key=lambda d: str(d["at"]))
            raise SconesError(
                f"version {version} is not deployed: version {latest['version']} was {latest['status'].lower()} later"
            )
        return outcome

    deployments.follow(connection, done, f"the deployment of version {version}", timeout_s, progress)
    return live(connection)


def newest_before(connection: Connection, found: deployments.DeploymentsState, version: int) -> int:
    """The newest other version that is still approved and did not fail; SconesError when there is none.

    The registry has the last word: what the table says of it may be older than a deletion.
    """
    approved = {v.version for v in registry.versions(connection) if v.approval == "Approved"}
    usable = [
        d
        for number, d in found.decisions.items()
        if number in approved and not d["failed"] and not d["shadow"] and number != version
    ]
    if not usable:
        raise SconesError("there is no other approved version to go back to: approve one with `scones model approve`")
    return int(max(usable, key=lambda d: str(d["at"]))["version"])


def idle_deletion(connection: Connection) -> datetime | None:
    """When an endpoint that nobody asks from now on is deleted; None for never."""
    hours = connection.settings.endpoint.idle_hours
    if not hours:
        return None
    now = connection.now()
    found = connection.client("sagemaker").describe_endpoint(EndpointName=connection.names.endpoint)
    answer = connection.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName="Invocations",
        Dimensions=[
            {"Name": "EndpointName", "Value": connection.names.endpoint},
            {"Name": "VariantName", "Value": "AllTraffic"},
        ],
        StartTime=now - timedelta(hours=hours),
        EndTime=now,
        Period=_IDLE_PERIOD_S,
        Statistics=["Sum"],
    )
    asked = [point["Timestamp"] for point in answer["Datapoints"] if point["Sum"]]
    last: datetime = max([found["LastModifiedTime"], *asked])
    return last + timedelta(hours=hours)


def delete(connection: Connection, reason: str, timeout_s: float, progress: deployments.Progress) -> str:
    """Have the endpoint deleted with its configurations and models, and wait; what became of it."""
    if status(connection) is None:
        raise SconesError(f"endpoint {connection.names.endpoint} does not exist: there is nothing to delete")
    at = deployments.order(connection, deployments.DELETE, 0, 0, reason)

    def done(found: deployments.DeploymentsState) -> str | None:
        return deployments.ended_order(found, at) if not found.status else None

    return deployments.follow(connection, done, "the end of the endpoint", timeout_s, progress)
