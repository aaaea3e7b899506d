"""A deployment under way: ask SageMaker for it, see how it ended, test it, and write down what came of it.

Runs in Lambda. A deployment is in the table before SageMaker hears of it, and every step may be repeated: whatever
process dies in between, the next one goes on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from botocore.exceptions import ClientError

from lambdas.deployment.ledger import CHANGING, PLANNED, Deployment, Live
from lambdas.deployment.sagemaker_endpoint import (
    IN_PROGRESS,
    NameTaken,
    create_config,
    create_model,
    model_name,
    says,
    tags,
    update_options,
)
from lambdas.deployment.surroundings import usable_alarms
from lambdas.deployment.version import VersionGoneError
from lambdas.deployment.wishes import ROLLBACK
from lambdas.deployment.workplace import Situation, Step, Workplace

MAX_ATTEMPTS = 3
REJECTION, APPROVAL, SHADOW, SETTINGS, REMOVAL = "rejection", "approval", "shadow", "settings", "removal"
# Answers that will be the same next time.
_FINAL = {"ValidationException", "ValidationError", "ResourceLimitExceeded", "ResourceNotFound"}


def go_on(at: Workplace, seen: Situation, current: Deployment) -> Step:
    """The next step of the deployment under way."""
    status = seen.status
    if status in IN_PROGRESS:
        return Step(f"waiting: the endpoint is {status}")
    if seen.endpoint and seen.serves == current.config:
        return _arrived(at, seen, seen.endpoint, current)
    if current.phase == PLANNED:
        return _ask(at, seen, current)
    if seen.endpoint is None:
        word = at.deleted_elsewhere(current.started)
        at.end(current, "deleted", word.reason, seen.live)
        return Step(word.reason, more=True)
    reason = seen.endpoint.get("FailureReason", "SageMaker gives no reason")
    if status == "Failed":
        return _failed(at, seen, current, "failed", reason)
    return _failed(at, seen, current, "rolled back", f"SageMaker went back to {seen.config}: {reason}")


def _failed(at: Workplace, seen: Situation, current: Deployment, outcome: str, detail: str, *, smoke: str = "") -> Step:
    """Put it down to the version, or to the settings when the version served before."""
    live, blame = seen.live, current.version
    if current.action == SHADOW:
        blame = current.shadow_version
    elif live and live.version == current.version:
        live, blame = replace(live, refused_config=current.config), 0
    at.end(current, outcome, detail, live, smoke=smoke, blame=blame)
    return Step(f"version {current.version} {outcome}: {detail}", more=True)


def _ask(at: Workplace, seen: Situation, current: Deployment) -> Step:
    if seen.status == "Failed":
        # A failed endpoint can only be deleted (DescribeEndpoint, EndpointStatus).
        at.sagemaker.delete_endpoint(EndpointName=at.where.endpoint)
        return Step("deleting the failed endpoint")
    current = replace(current, attempts=current.attempts + 1)
    if not at.ledger.advance(current):
        return Step("somebody else has ended this deployment", more=True)
    if current.attempts > MAX_ATTEMPTS:
        return _failed(at, seen, current, "failed", f"given up after {MAX_ATTEMPTS} attempts")
    try:
        note = _change(at, seen, current)
    except (ClientError, NameTaken, VersionGoneError) as error:
        return _refused(at, seen, current, error)
    at.ledger.advance(replace(current, phase=CHANGING))
    return Step(f"endpoint {at.where.endpoint} goes to {current.config}{note}")


def _refused(at: Workplace, seen: Situation, current: Deployment, error: Exception) -> Step:
    """What to make of an error: wait, give up, or (raised) try again."""
    if isinstance(error, ClientError):
        if says(error, "in-progress"):
            return Step("waiting: somebody else changes the endpoint")
        if error.response["Error"]["Code"] not in _FINAL:
            raise error
    return _failed(at, seen, current, "failed", str(error))


def _change(at: Workplace, seen: Situation, current: Deployment) -> str:
    """Make what the configuration needs, then have the endpoint take it; a remark on the alarms."""
    packages = {current.version: current.package_arn, current.shadow_version: current.shadow_arn}
    for version, package_arn in packages.items():
        if version:
            at.ledger.will_make("model", model_name(at.where, version))
            create_model(at.sagemaker, at.where, at.version(package_arn))
    at.ledger.will_make("config", current.config)
    versions = (current.version, current.shadow_version)
    create_config(at.sagemaker, at.where, current.config, current.package_arn, versions)
    names = {"EndpointName": at.where.endpoint, "EndpointConfigName": current.config}
    if seen.endpoint is None:
        at.sagemaker.create_endpoint(**names, Tags=tags(current.package_arn))
        return ""
    keep_scale = seen.live is not None and at.where.settings.scales and current.action != SETTINGS
    at.without_scaling(seen.live)
    alarms, on = usable_alarms(at.clients("cloudwatch"), at.where.alarms)
    back = current.action in (REJECTION, ROLLBACK)
    at.sagemaker.update_endpoint(**names, **update_options(at.where, alarms, back=back, keep_scale=keep_scale))
    return f"; not watched, because on already: {', '.join(on)}" if on else ""


def _arrived(at: Workplace, seen: Situation, endpoint: dict[str, Any], current: Deployment) -> Step:
    live = seen.live
    smoke = at.smoke(current.package_arn)
    if smoke.passed is False and not (live and live.version == current.version):
        return _failed(at, seen, current, "rolled back", smoke.text, smoke=smoke.text)
    went_forward = live is not None and live.version != current.version and current.action not in (REJECTION, ROLLBACK)
    previous = (live.version, live.config) if live and went_forward else (0, "")
    if live and live.version == current.version:
        previous = (live.previous_version, live.previous_config)
    settled = Live(
        version=current.version,
        package_arn=current.package_arn,
        config=current.config,
        since=at.now(),
        shadow_version=current.shadow_version,
        previous_version=previous[0],
        previous_config=previous[1],
    )
    outcome = "shadowing" if current.action == SHADOW else "deployed"
    at.sagemaker.add_tags(ResourceArn=endpoint["EndpointArn"], Tags=tags(current.package_arn))
    at.end(current, outcome, "", settled, smoke=smoke.text)
    return Step(f"version {current.version} serves", more=True)
