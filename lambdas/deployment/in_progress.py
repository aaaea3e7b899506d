"""The deployment in progress: ask SageMaker for it, see how it ended, test it, and record what came of it.

Runs in Lambda. A deployment is in the table before SageMaker hears of it, and every step may be repeated: whatever
process dies in between, the next one goes on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from lambdas.deployment.desired_state import ROLLBACK
from lambdas.deployment.records import CHANGING, PLANNED, LiveDeployment, ModelDeployment
from lambdas.deployment.sagemaker_endpoint import (
    IN_PROGRESS,
    NameTaken,
    create_config,
    create_model,
    model_name,
    says,
    tags,
    update_options,
    usable_alarms,
)
from lambdas.deployment.steps import DeploymentContext, ObservedState, ReconcileStep
from lambdas.deployment.version import VersionGoneError

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import DescribeEndpointOutputTypeDef

MAX_ATTEMPTS = 3
REJECTION, APPROVAL, SHADOW, SETTINGS, REMOVAL = "rejection", "approval", "shadow", "settings", "removal"
# Answers that will be the same next time.
_FINAL = {"ValidationException", "ValidationError", "ResourceLimitExceeded", "ResourceNotFound"}


def go_on(context: DeploymentContext, observed: ObservedState, deployment: ModelDeployment) -> ReconcileStep:
    """The next step of the deployment in progress."""
    status = observed.status
    if status in IN_PROGRESS:
        return ReconcileStep.waiting(f"waiting: the endpoint is {status}")
    if observed.endpoint and observed.config_in_service == deployment.config:
        return _arrived(context, observed, observed.endpoint, deployment)
    if deployment.phase == PLANNED:
        return _ask(context, observed, deployment)
    if observed.endpoint is None:
        reason = context.history.deleted_elsewhere(deployment.started)
        context.history.end(deployment, "deleted", reason.text, observed.live)
        return ReconcileStep.progressed(reason.text)
    said = observed.endpoint.get("FailureReason", "SageMaker gives no reason")
    if status == "Failed":
        return _failed(context, observed, deployment, "failed", said)
    return _failed(context, observed, deployment, "rolled back", f"SageMaker went back to {observed.config}: {said}")


def _failed(
    context: DeploymentContext,
    observed: ObservedState,
    deployment: ModelDeployment,
    outcome: str,
    detail: str,
    *,
    smoke: str = "",
) -> ReconcileStep:
    """Put it down to the version, or to the settings when the version served before."""
    live, blame = observed.live, deployment.version
    if deployment.action == SHADOW:
        blame = deployment.shadow_version
    elif live and live.version == deployment.version:
        live, blame = replace(live, refused_config=deployment.config), 0
    context.history.end(deployment, outcome, detail, live, smoke=smoke, blame=blame)
    return ReconcileStep.progressed(f"version {deployment.version} {outcome}: {detail}")


def _ask(context: DeploymentContext, observed: ObservedState, deployment: ModelDeployment) -> ReconcileStep:
    if observed.status == "Failed":
        # A failed endpoint can only be deleted (DescribeEndpoint, EndpointStatus).
        context.sagemaker.delete_endpoint(EndpointName=context.spec.endpoint)
        return ReconcileStep.deleting("deleting the failed endpoint")
    deployment = replace(deployment, attempts=deployment.attempts + 1)
    if not context.ledger.advance(deployment):
        return ReconcileStep.progressed("somebody else has ended this deployment")
    if deployment.attempts > MAX_ATTEMPTS:
        return _failed(context, observed, deployment, "failed", f"given up after {MAX_ATTEMPTS} attempts")
    try:
        note = _change(context, observed, deployment)
    except (ClientError, NameTaken, VersionGoneError) as error:
        return _refused(context, observed, deployment, error)
    context.ledger.advance(replace(deployment, phase=CHANGING))
    return ReconcileStep.waiting(f"endpoint {context.spec.endpoint} goes to {deployment.config}{note}")


def _refused(
    context: DeploymentContext, observed: ObservedState, deployment: ModelDeployment, error: Exception
) -> ReconcileStep:
    """What to make of an error: wait, give up, or (raised) try again."""
    if isinstance(error, ClientError):
        if says(error, "in-progress"):
            return ReconcileStep.waiting("waiting: somebody else changes the endpoint")
        if error.response["Error"]["Code"] not in _FINAL:
            raise error
    return _failed(context, observed, deployment, "failed", str(error))


def _change(context: DeploymentContext, observed: ObservedState, deployment: ModelDeployment) -> str:
    """Make what the configuration needs, then have the endpoint take it; a remark on the alarms."""
    packages = {deployment.version: deployment.package_arn, deployment.shadow_version: deployment.shadow_arn}
    for version, package_arn in packages.items():
        if version:
            context.ledger.record_creation("model", model_name(context.spec, version))
            create_model(context.sagemaker, context.spec, context.version(package_arn))
    context.ledger.record_creation("config", deployment.config)
    versions = (deployment.version, deployment.shadow_version)
    create_config(context.sagemaker, context.spec, deployment.config, deployment.package_arn, versions)
    endpoint, config = context.spec.endpoint, deployment.config
    if observed.endpoint is None:
        context.sagemaker.create_endpoint(
            EndpointName=endpoint, EndpointConfigName=config, Tags=tags(deployment.package_arn)
        )
        return ""
    keep_scale = observed.live is not None and context.spec.settings.scales and deployment.action != SETTINGS
    context.stop_scaling(observed.live)
    alarms, on = usable_alarms(context.clients.cloudwatch, context.spec.alarms)
    back = deployment.action in (REJECTION, ROLLBACK)
    options = update_options(context.spec, alarms, back=back, keep_scale=keep_scale)
    context.sagemaker.update_endpoint(EndpointName=endpoint, EndpointConfigName=config, **options)
    return f"; not watched, because on already: {', '.join(on)}" if on else ""


def _arrived(
    context: DeploymentContext,
    observed: ObservedState,
    endpoint: DescribeEndpointOutputTypeDef,
    deployment: ModelDeployment,
) -> ReconcileStep:
    live = observed.live
    smoke = context.smoke_test(deployment.package_arn)
    if smoke.passed is False and not (live and live.version == deployment.version):
        return _failed(context, observed, deployment, "rolled back", smoke.text, smoke=smoke.text)
    went_back = deployment.action in (REJECTION, ROLLBACK)
    previous = (live.version, live.config) if live and not went_back else (0, "")
    if live and live.version == deployment.version:
        previous = (live.previous_version, live.previous_config)
    settled = LiveDeployment(
        version=deployment.version,
        package_arn=deployment.package_arn,
        config=deployment.config,
        since=context.now(),
        shadow_version=deployment.shadow_version,
        previous_version=previous[0],
        previous_config=previous[1],
    )
    outcome = "shadowing" if deployment.action == SHADOW else "deployed"
    context.sagemaker.add_tags(ResourceArn=endpoint["EndpointArn"], Tags=tags(deployment.package_arn))
    context.history.end(deployment, outcome, "", settled, smoke=smoke.text)
    return ReconcileStep.progressed(f"version {deployment.version} serves")
