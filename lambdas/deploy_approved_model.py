"""Deploys approved model packages to the endpoint, and takes rejected ones back.

Runs in Lambda, invoked by EventBridge (a model package's approval or rejection, a change of the endpoint's state), by a
schedule, in case that an event or an invocation was lost, and by `scones`. What the event says is only a reason to
look: `lambdas.deployment.reconcile` compares what is wanted with what is there and takes the next step.
Environment: ENDPOINT_NAME, MODEL_PACKAGE_GROUP, INSTANCE_TYPE, EXECUTION_ROLE_ARN, CAPTURE_URI, DATA_KEY_ARN,
SUBNET_IDS and SECURITY_GROUP_IDS (empty without a network of the stage's own), ENDPOINT_SETTINGS (the stage file's
[endpoint] as JSON), ALARM_NAMES, DEPLOYMENTS_TABLE, NOTIFICATION_TOPIC_ARN. Commas separate ids and names.
"""

from __future__ import annotations

import functools
import json
import os
from typing import TYPE_CHECKING, Protocol, TypedDict, cast

from lambdas.deployment.clients import EndpointClients, table
from lambdas.deployment.endpoint_spec import ContainerNetwork, EndpointOptions, EndpointSpec
from lambdas.deployment.history import Notifier
from lambdas.deployment.ledger import Ledger
from lambdas.deployment.reconcile import reconcile
from lambdas.deployment.steps import DeploymentContext

if TYPE_CHECKING:
    from types_boto3_sagemaker.literals import ProductionVariantInstanceTypeType

# Longer than the function may run, so that nobody else begins before it has ended.
LEASE_MARGIN_S = 10


class FunctionContext(Protocol):
    """The part of Lambda's context that is used here."""

    aws_request_id: str

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until Lambda ends the function."""


class PackageDetail(TypedDict, total=False):
    """The part of SageMaker's event that names the package."""

    ModelPackageArn: str


class DeploymentEvent(TypedDict, total=False):
    """An event of SageMaker's, or an empty one of the schedule or of `scones`."""

    detail: PackageDetail


@functools.cache
def _context() -> DeploymentContext:
    clients, spec = EndpointClients(), _spec()
    notifier = Notifier(clients.sns, os.environ["NOTIFICATION_TOPIC_ARN"], spec.endpoint)
    return DeploymentContext(clients, Ledger(table(os.environ["DEPLOYMENTS_TABLE"])), notifier, spec)


def _spec() -> EndpointSpec:
    subnets = _listed(os.environ["SUBNET_IDS"])
    return EndpointSpec(
        endpoint=os.environ["ENDPOINT_NAME"],
        model_package_group=os.environ["MODEL_PACKAGE_GROUP"],
        instance_type=cast("ProductionVariantInstanceTypeType", os.environ["INSTANCE_TYPE"]),
        role_arn=os.environ["EXECUTION_ROLE_ARN"],
        capture_uri=os.environ["CAPTURE_URI"],
        data_key_arn=os.environ["DATA_KEY_ARN"],
        network=ContainerNetwork(subnets, _listed(os.environ["SECURITY_GROUP_IDS"])) if subnets else None,
        settings=EndpointOptions(**json.loads(os.environ["ENDPOINT_SETTINGS"])),
        alarms=_listed(os.environ["ALARM_NAMES"]),
    )


def _listed(names: str) -> tuple[str, ...]:
    return tuple(name for name in names.split(",") if name)


def handler(event: DeploymentEvent, context: FunctionContext) -> list[str]:
    """Bring the endpoint nearer to what is wanted; returns a line for each step taken."""
    lease_s = context.get_remaining_time_in_millis() // 1000 + LEASE_MARGIN_S
    named = event.get("detail", {}).get("ModelPackageArn")
    done = reconcile(_context(), named, context.aws_request_id, lease_s)
    print(json.dumps({"steps": done}))  # the function's log is all that an asynchronous invocation leaves behind
    return done
