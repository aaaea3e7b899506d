"""The endpoint: what it serves, waiting for a version to be live, deleting it.

Runs on a laptop or in CodeBuild.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from scones.connection import Connection
from scones.errors import SconesError


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


def _model_package(sagemaker: Any, config_name: str) -> str:
    config = sagemaker.describe_endpoint_config(EndpointConfigName=config_name)
    model = sagemaker.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
    containers = [model["PrimaryContainer"]] if "PrimaryContainer" in model else model.get("Containers", [])
    return next((c["ModelPackageName"] for c in containers if "ModelPackageName" in c), "")


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


def wait_for(connection: Connection, model_package_arn: str, timeout_s: float) -> EndpointStatus:
    """Wait until the endpoint serves exactly this version.

    An endpoint that is InService may have been rolled back, so the version behind it is compared, not the status alone.
    """
    deadline = time.monotonic() + timeout_s
    found: EndpointStatus | None = None
    while time.monotonic() < deadline:
        found = status(connection)
        if found and found.model_package_arn == model_package_arn:
            if found.status == "InService":
                return found
            if found.status in ("Failed", "UpdateRollbackFailed"):
                raise SconesError(f"endpoint {found.name} ended {found.status}: {found.failure}")
        time.sleep(connection.settings.poll_interval_s)
    seen = f"it is {found.status} with {found.model_package_arn or 'no version'}" if found else "it does not exist"
    raise SconesError(
        f"endpoint {connection.names.endpoint} does not serve {model_package_arn} after {timeout_s:.0f} s: {seen}; look"
        f" at the log group /aws/lambda/{connection.names.function('deploy_approved_model')}"
    )


def delete(connection: Connection) -> list[str]:
    """Delete the endpoint with its configuration and its model; answers what was deleted."""
    sagemaker = connection.client("sagemaker")
    found = status(connection)
    if found is None:
        raise SconesError(f"endpoint {connection.names.endpoint} does not exist: there is nothing to delete")
    config = sagemaker.describe_endpoint_config(EndpointConfigName=found.config)
    sagemaker.delete_endpoint(EndpointName=found.name)
    sagemaker.delete_endpoint_config(EndpointConfigName=found.config)
    models = [variant["ModelName"] for variant in config["ProductionVariants"]]
    for model in models:
        sagemaker.delete_model(ModelName=model)
    return [found.name, found.config, *models]
