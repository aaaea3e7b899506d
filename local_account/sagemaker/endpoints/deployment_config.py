"""What an update of an endpoint asks for: the steps of its deployment policy, and what it keeps of the endpoint.

Runs in the server process. The rules are those of the API reference (DeploymentConfig, TrafficRoutingConfig,
RollingUpdatePolicy) and of the developer guide's page on exclusions of deployment guardrails. Instances are whole:
what a canary or a step of some per cent asks for is rounded up to an instance, and AWS's limit of 50 % of "the
variant's total instance count" then refuses gradual shifts of a single instance.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_account.protocol.actions import ServiceError
from local_account.sagemaker.records import EndpointRecord, EndpointSource, VariantRecord

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        BlueGreenUpdatePolicyTypeDef,
        CapacitySizeTypeDef,
        DeploymentConfigUnionTypeDef,
        RollingUpdatePolicyTypeDef,
    )

MAX_STEP_PERCENT = 50
MIN_PERCENT = {"CanarySize": 1, "LinearStepSize": 10, "MaximumBatchSize": 5, "RollbackMaximumBatchSize": 1}


@dataclass(frozen=True)
class RolloutStep:
    """Share of the traffic that the new fleet takes, and how long it is watched then."""

    share: float
    bake_s: float
    wait_name: str


@dataclass(frozen=True)
class RolloutPlan:
    """``rolling``: the old fleet gives its instances up as the new one grows; its way back has steps of its own."""

    steps: tuple[RolloutStep, ...] = (RolloutStep(1.0, 0.0, "TerminationWaitInSeconds"),)
    rolling: bool = False
    way_back: tuple[float, ...] = ()
    alarms: tuple[str, ...] = ()
    timeout_s: float = math.inf


@dataclass(frozen=True)
class Counted:
    """A variant and how many instances it has."""

    name: str
    instances: int


def _counted(variant: VariantRecord) -> Counted:
    return Counted(variant["VariantName"], variant["InitialInstanceCount"])


def retain_properties(endpoint: EndpointRecord, source: EndpointSource, excluded: Collection[str]) -> None:
    """RetainAllVariantProperties: weights, instance counts and data capture stay as the endpoint has them now."""
    current = {variant["VariantName"]: variant for variant in endpoint["_source"]["variants"]}
    for variant in source["variants"]:
        now = current.get(variant["VariantName"])
        if now is None:
            continue
        if "DesiredWeight" not in excluded:
            variant["InitialVariantWeight"] = now["InitialVariantWeight"]
        if "DesiredInstanceCount" not in excluded and "InitialInstanceCount" in variant:
            variant["InitialInstanceCount"] = now.get("InitialInstanceCount", variant["InitialInstanceCount"])
    if "DataCaptureConfig" not in excluded:
        source["capture"] = endpoint["_source"]["capture"]


def check_change(source: EndpointSource, old: EndpointSource) -> None:
    """Refuse to turn instances into a serverless variant (Developer Guide, serverless endpoint operations)."""
    if _is_serverless(source) and not _is_serverless(old):
        raise ServiceError("A real-time endpoint cannot be updated to a serverless one: create another endpoint.")


def _is_serverless(source: EndpointSource) -> bool:
    return any("ServerlessConfig" in variant for variant in source["variants"])


def plan_of(
    deployment: DeploymentConfigUnionTypeDef | None, source: EndpointSource, old: EndpointSource
) -> RolloutPlan:
    """The steps of a DeploymentConfig from what was deployed to ``source``; ServiceError for what AWS refuses."""
    if not deployment:
        return RolloutPlan()
    check_policies(deployment)
    _check_variants(deployment, source, old)
    new = source["variants"]
    alarms = tuple(alarms_of(deployment))
    if "RollingUpdatePolicy" in deployment:
        plan = _rolling(deployment["RollingUpdatePolicy"], new[0]["InitialInstanceCount"], alarms)
    else:
        plan = _blue_green(deployment.get("BlueGreenUpdatePolicy"), new, alarms)
    waits_s = sum(step.bake_s for step in plan.steps)
    if plan.timeout_s <= waits_s:
        raise ServiceError(
            f"MaximumExecutionTimeoutInSeconds must be larger than the total waiting time of the deployment, which is "
            f"{waits_s:g} seconds; it is {plan.timeout_s:g}."
        )
    return plan


def alarms_of(deployment: DeploymentConfigUnionTypeDef) -> list[str]:
    """The names of the alarms that roll a deployment back."""
    if "AutoRollbackConfiguration" not in deployment:
        return []
    return [alarm["AlarmName"] for alarm in deployment["AutoRollbackConfiguration"].get("Alarms", [])]


def check_policies(deployment: DeploymentConfigUnionTypeDef) -> None:
    """What can be said of a DeploymentConfig without the fleets."""
    if "BlueGreenUpdatePolicy" in deployment and "RollingUpdatePolicy" in deployment:
        raise ServiceError("Only one of BlueGreenUpdatePolicy and RollingUpdatePolicy can be specified.")
    if "BlueGreenUpdatePolicy" not in deployment:
        return
    routing = deployment["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    for kind, member, given in (
        ("CANARY", "CanarySize", "CanarySize" in routing),
        ("LINEAR", "LinearStepSize", "LinearStepSize" in routing),
    ):
        if given != (routing["Type"] == kind):
            verb = "needs" if routing["Type"] == kind else "does not take"
            raise ServiceError(f"TrafficRoutingConfiguration of type {routing['Type']} {verb} {member}.")


def _check_variants(deployment: DeploymentConfigUnionTypeDef, source: EndpointSource, old: EndpointSource) -> None:
    names = [sorted(v["VariantName"] for v in fleet["variants"]) for fleet in (source, old)]
    if names[0] != names[1]:
        raise ServiceError(
            "With a DeploymentConfig the new endpoint configuration must have the same variant names as the endpoint: "
            f"it has {', '.join(names[0])}, the endpoint {', '.join(names[1])}."
        )
    if _is_serverless(source) or _is_serverless(old):
        raise ServiceError(
            "A DeploymentConfig applies to real-time variants, not to serverless ones: update without it."
        )
    if "RollingUpdatePolicy" in deployment and len([*source["variants"], *source.get("shadows", [])]) > 1:
        raise ServiceError("A RollingUpdatePolicy does not apply to an endpoint with several variants.")


def _blue_green(
    policy: BlueGreenUpdatePolicyTypeDef | None, new: list[VariantRecord], alarms: tuple[str, ...]
) -> RolloutPlan:
    policy = policy or {"TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}}
    routing = policy["TrafficRoutingConfiguration"]
    steps: list[RolloutStep] = []
    if routing["Type"] != "ALL_AT_ONCE":
        canary = routing["Type"] == "CANARY"
        member = "CanarySize" if canary else "LinearStepSize"
        size = routing["CanarySize"] if canary else routing["LinearStepSize"]
        part = min(_share(member, size, _counted(v)) for v in new)
        number = 1 if canary else math.ceil(1 / part - 1e-9) - 1
        wait_s = float(routing["WaitIntervalInSeconds"])
        steps = [RolloutStep(part * (i + 1), wait_s, "WaitIntervalInSeconds") for i in range(number)]
    steps.append(RolloutStep(1.0, float(policy.get("TerminationWaitInSeconds", 0)), "TerminationWaitInSeconds"))
    return RolloutPlan(tuple(steps), alarms=alarms, timeout_s=policy.get("MaximumExecutionTimeoutInSeconds", math.inf))


def _rolling(policy: RollingUpdatePolicyTypeDef, count: int, alarms: tuple[str, ...]) -> RolloutPlan:
    variant = Counted("of the endpoint", count)
    wait_s = float(policy["WaitIntervalInSeconds"])
    shares = _batches("MaximumBatchSize", policy["MaximumBatchSize"], variant)
    back = policy.get("RollbackMaximumBatchSize")
    return RolloutPlan(
        tuple(RolloutStep(share, wait_s, "WaitIntervalInSeconds") for share in shares),
        rolling=True,
        way_back=_batches("RollbackMaximumBatchSize", back, variant, limit=100) if back else (1.0,),
        alarms=alarms,
        timeout_s=policy.get("MaximumExecutionTimeoutInSeconds", math.inf),
    )


def _batches(
    member: str, size: CapacitySizeTypeDef, variant: Counted, limit: int = MAX_STEP_PERCENT
) -> tuple[float, ...]:
    """The shares after each batch; batches are whole instances."""
    count = variant.instances
    batch = math.ceil(_share(member, size, variant, limit) * count - 1e-9)
    return tuple(min(count, batch * (i + 1)) / count for i in range(math.ceil(count / batch)))


def _share(member: str, size: CapacitySizeTypeDef, variant: Counted, limit: int = MAX_STEP_PERCENT) -> float:
    """A capacity size as a part of the variant's instances."""
    count = variant.instances
    if size["Type"] == "CAPACITY_PERCENT":
        percent = float(size["Value"])
        instances = math.ceil(percent / 100 * count - 1e-9)
        low, high = MIN_PERCENT[member], limit
        if not low <= percent <= high:
            raise ServiceError(f"{member} must be between {low} and {high} percent, it is {percent:g}.")
    else:
        instances = size["Value"]
        percent = 100 * instances / count
        if percent < MIN_PERCENT[member]:
            raise ServiceError(f"{member} must be at least {MIN_PERCENT[member]} percent of {count} instances.")
    if 100 * instances / count > limit:
        raise ServiceError(
            f"{member} must be less than or equal to {limit}% of the variant's total instance count: variant "
            f"{variant.name} has {count} instance{'s' * (count > 1)}, {member} asks for {instances}."
        )
    return percent / 100
