"""What an update of an endpoint asks for: the steps of its deployment policy, and what it keeps of the endpoint.

Runs in the server process. The rules are those of the API reference (DeploymentConfig, TrafficRoutingConfig,
RollingUpdatePolicy) and of the developer guide's page on exclusions of deployment guardrails. Instances are whole:
what a canary or a step of some per cent asks for is rounded up to an instance, and AWS's limit of 50 % of "the
variant's total instance count" then refuses gradual shifts of a single instance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from local_account.protocol.actions import ServiceError
from local_account.protocol.service import Resource

MAX_STEP_PERCENT = 50
MIN_PERCENT = {"CanarySize": 1, "LinearStepSize": 10, "MaximumBatchSize": 5, "RollbackMaximumBatchSize": 1}


@dataclass(frozen=True)
class Step:
    """Share of the traffic that the new fleet takes, and how long it is watched then."""

    share: float
    bake_s: float
    wait_name: str


@dataclass(frozen=True)
class Plan:
    """``rolling``: the old fleet gives its instances up as the new one grows; its way back has steps of its own."""

    steps: tuple[Step, ...] = (Step(1.0, 0.0, "TerminationWaitInSeconds"),)
    rolling: bool = False
    way_back: tuple[float, ...] = ()
    alarms: tuple[str, ...] = ()
    timeout_s: float = math.inf


def retain_properties(endpoint: Resource, source: dict[str, Any], excluded: set[str]) -> None:
    """RetainAllVariantProperties: weights, instance counts and data capture stay as the endpoint has them now."""
    current = {variant["VariantName"]: variant for variant in endpoint["_source"]["variants"]}
    properties = {"DesiredWeight": "InitialVariantWeight", "DesiredInstanceCount": "InitialInstanceCount"}
    for variant in source["variants"]:
        for kind, key in properties.items():
            if kind not in excluded and key in current.get(variant["VariantName"], {}) and key in variant:
                variant[key] = current[variant["VariantName"]][key]
    if "DataCaptureConfig" not in excluded:
        source["capture"] = endpoint["_source"]["capture"]


def check_change(source: dict[str, Any], old: dict[str, Any]) -> None:
    """Refuse to turn instances into a serverless variant (Developer Guide, serverless endpoint operations)."""
    if _is_serverless(source) and not _is_serverless(old):
        raise ServiceError("A real-time endpoint cannot be updated to a serverless one: create another endpoint.")


def _is_serverless(source: dict[str, Any]) -> bool:
    return any("ServerlessConfig" in variant for variant in source["variants"])


def plan_of(deployment: dict[str, Any] | None, source: dict[str, Any], old: dict[str, Any]) -> Plan:
    """The steps of a DeploymentConfig from what was deployed to ``source``; ServiceError for what AWS refuses."""
    if not deployment:
        return Plan()
    check_policies(deployment)
    _check_variants(deployment, source, old)
    new = source["variants"]
    alarms = tuple(a["AlarmName"] for a in deployment.get("AutoRollbackConfiguration", {}).get("Alarms", []))
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


def check_policies(deployment: dict[str, Any]) -> None:
    """What can be said of a DeploymentConfig without the fleets."""
    if "BlueGreenUpdatePolicy" in deployment and "RollingUpdatePolicy" in deployment:
        raise ServiceError("Only one of BlueGreenUpdatePolicy and RollingUpdatePolicy can be specified.")
    routing = deployment.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration")
    if routing is None:
        return
    sizes = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}
    for kind, member in sizes.items():
        if (member in routing) != (routing["Type"] == kind):
            verb = "needs" if routing["Type"] == kind else "does not take"
            raise ServiceError(f"TrafficRoutingConfiguration of type {routing['Type']} {verb} {member}.")


def _check_variants(deployment: dict[str, Any], source: dict[str, Any], old: dict[str, Any]) -> None:
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


def _blue_green(policy: dict[str, Any] | None, new: list[Resource], alarms: tuple[str, ...]) -> Plan:
    policy = policy or {"TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}}
    routing = policy["TrafficRoutingConfiguration"]
    steps: list[Step] = []
    if routing["Type"] != "ALL_AT_ONCE":
        member = "CanarySize" if routing["Type"] == "CANARY" else "LinearStepSize"
        part = min(_share(member, routing[member], v) for v in new)
        number = 1 if routing["Type"] == "CANARY" else math.ceil(1 / part - 1e-9) - 1
        wait_s = float(routing["WaitIntervalInSeconds"])
        steps = [Step(part * (i + 1), wait_s, "WaitIntervalInSeconds") for i in range(number)]
    steps.append(Step(1.0, float(policy.get("TerminationWaitInSeconds", 0)), "TerminationWaitInSeconds"))
    return Plan(tuple(steps), alarms=alarms, timeout_s=policy.get("MaximumExecutionTimeoutInSeconds", math.inf))


def _rolling(policy: dict[str, Any], count: int, alarms: tuple[str, ...]) -> Plan:
    variant = {"VariantName": "of the endpoint", "InitialInstanceCount": count}
    wait_s = float(policy["WaitIntervalInSeconds"])
    shares = _batches("MaximumBatchSize", policy["MaximumBatchSize"], variant)
    back = policy.get("RollbackMaximumBatchSize")
    return Plan(
        tuple(Step(share, wait_s, "WaitIntervalInSeconds") for share in shares),
        rolling=True,
        way_back=_batches("RollbackMaximumBatchSize", back, variant, limit=100) if back else (1.0,),
        alarms=alarms,
        timeout_s=policy.get("MaximumExecutionTimeoutInSeconds", math.inf),
    )


def _batches(member: str, size: dict[str, Any], variant: Resource, limit: int = MAX_STEP_PERCENT) -> tuple[float, ...]:
    """The shares after each batch; batches are whole instances."""
    count = variant["InitialInstanceCount"]
    batch = math.ceil(_share(member, size, variant, limit) * count - 1e-9)
    return tuple(min(count, batch * (i + 1)) / count for i in range(math.ceil(count / batch)))


def _share(member: str, size: dict[str, Any], variant: Resource, limit: int = MAX_STEP_PERCENT) -> float:
    """A capacity size as a part of the variant's instances."""
    count = variant["InitialInstanceCount"]
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
            f"{variant['VariantName']} has {count} instance{'s' * (count > 1)}, {member} asks for {instances}."
        )
    return percent / 100
