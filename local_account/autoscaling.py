"""Application Auto Scaling for SageMaker's endpoints: scalable targets, target tracking, scaling activities.

Runs in the server process: actions on targets and policies, and a thread that follows the policies. Only the instance
count of endpoint variants is scaled, and only on SageMakerVariantInvocationsPerInstance; everything else is refused.
Differs from AWS (Application Auto Scaling User Guide, "Target tracking scaling policies"): no CloudWatch alarms are
made for a policy, so that it answers none; a minute above the target scales out at once, where AWS waits for three
of them; the quarter of an hour below the target before it scales in, and the cooldowns, pass ``time_scale`` times as
fast.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local_account.account import Account
from local_account.protocol.actions import ServiceError, action
from local_account.protocol.service import Resource, Service, now

log = logging.getLogger(__name__)

NAMESPACE, DIMENSION = "sagemaker", "sagemaker:variant:DesiredInstanceCount"
METRIC = "SageMakerVariantInvocationsPerInstance"
LOOK_EVERY_S = 1.0
COOLDOWN_S = 300.0
SCALE_IN_AFTER_S = 900.0
# AWS's low alarm lies 10 % below the target.
LOW = 0.9
MAX_ACTIVITIES = 100
_RESOURCE = re.compile(r"endpoint/([^/]+)/variant/([^/]+)")


@dataclass
class Tracking:
    """When a target was last scaled and since when it has had too little to do; ``clock`` gives seconds."""

    time_scale: float
    clock: Callable[[], float] = time.monotonic
    _scaled_at: float = -math.inf
    _low_since: float | None = field(default=None)

    def wanted(self, policy: Resource, bounds: tuple[int, int], current: int, per_minute: float) -> int:
        """How many instances there should be now."""
        low, high = bounds
        target = float(policy["TargetValue"])
        if not low <= current <= high:
            return self._scaled(min(high, max(low, current)))
        enough = min(high, max(low, math.ceil(per_minute / target)))
        if per_minute / current >= LOW * target:
            self._low_since = None
        elif self._low_since is None:
            self._low_since = self.clock()
        if enough > current and self._waited("ScaleOutCooldown", policy):
            return self._scaled(enough)
        if enough < current and not policy.get("DisableScaleIn") and self._waited("ScaleInCooldown", policy):
            idle_s = self.clock() - self._low_since if self._low_since is not None else 0.0
            if idle_s * self.time_scale >= SCALE_IN_AFTER_S:
                return self._scaled(enough)
        return current

    def _waited(self, cooldown: str, policy: Resource) -> bool:
        return (self.clock() - self._scaled_at) * self.time_scale >= float(policy.get(cooldown, COOLDOWN_S))

    def _scaled(self, count: int) -> int:
        self._scaled_at, self._low_since = self.clock(), None
        return count


class AutoScaling(Service):
    """Targets by resource id; policies by resource id and name."""

    def __init__(self, account: Account) -> None:
        super().__init__(account, "application-autoscaling")
        self._tracking: dict[str, Tracking] = {}

    @action("RegisterScalableTarget")
    def register(self, request: dict[str, Any]) -> dict[str, Any]:
        _check_kind(request)
        resource = request["ResourceId"]
        self._current(resource)  # it exists
        with self.lock:
            old = self.table("targets", Resource).get(resource, {})
            arn = self.account.arn("application-autoscaling", f"scalable-target/{uuid.uuid4().hex}")
            made = {"ScalableTargetARN": arn, "CreationTime": now(), **_SUSPENDED, **old, **request}
            for bound in ("MinCapacity", "MaxCapacity"):
                if bound not in made:
                    raise ServiceError(f"{bound} is required for a scalable target that is new.")
            if not 1 <= made["MinCapacity"] <= made["MaxCapacity"]:
                raise ServiceError(
                    f"MinCapacity must be at least 1 and at most MaxCapacity, they are {made['MinCapacity']} and "
                    f"{made['MaxCapacity']}."
                )
            role = f"arn:aws:iam::{self.account.account_id}:role/aws-service-role/sagemaker.application-autoscaling."
            made.setdefault("RoleARN", f"{role}amazonaws.com/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint")
            made.pop("Tags", None)
            self.table("targets", Resource)[resource] = made
        self.changed()
        return {"ScalableTargetARN": made["ScalableTargetARN"]}

    @action("DescribeScalableTargets")
    def describe_targets(self, request: dict[str, Any]) -> dict[str, Any]:
        _check_namespace(request)
        wanted = request.get("ResourceIds") or list(self.table("targets", Resource))
        return {"ScalableTargets": [t for resource, t in self.table("targets", Resource).items() if resource in wanted]}

    @action("DeregisterScalableTarget")
    def deregister(self, request: dict[str, Any]) -> None:
        resource = request["ResourceId"]
        with self.lock:
            self._target(request)
            del self.table("targets", Resource)[resource]
            policies = self.table("policies", Resource)
            for key in [key for key, policy in policies.items() if policy["ResourceId"] == resource]:
                del policies[key]
            self._tracking.pop(resource, None)
        self.changed()

    @action("PutScalingPolicy")
    def put_policy(self, request: dict[str, Any]) -> dict[str, Any]:
        resource = request["ResourceId"]
        with self.lock:
            self._target(request)
            config = request.get("TargetTrackingScalingPolicyConfiguration", {})
            metric = config.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType")
            if request.get("PolicyType") != "TargetTrackingScaling" or metric != METRIC:
                raise ServiceError(
                    f"The stand-in account scales by policies of type TargetTrackingScaling on {METRIC}, not by "
                    f"{request.get('PolicyType')} on {metric}."
                )
            if config["TargetValue"] <= 0:
                raise ServiceError(f"TargetValue must be above 0, it is {config['TargetValue']}.")
            key = f"{resource} {request['PolicyName']}"
            arn = self.account.arn(
                "autoscaling",
                f"scalingPolicy:{uuid.uuid4()}:resource/{NAMESPACE}/{resource}:policyName/{request['PolicyName']}",
            )
            old = self.table("policies", Resource).get(key, {"PolicyARN": arn, "CreationTime": now(), "Alarms": []})
            self.table("policies", Resource)[key] = {**old, **request}
        self.changed()
        return {"PolicyARN": self.table("policies", Resource)[key]["PolicyARN"], "Alarms": []}

    @action("DescribeScalingPolicies")
    def describe_policies(self, request: dict[str, Any]) -> dict[str, Any]:
        _check_namespace(request)
        found = [
            policy
            for policy in self.table("policies", Resource).values()
            if policy["ResourceId"] == request.get("ResourceId", policy["ResourceId"])
            and policy["PolicyName"] in request.get("PolicyNames", [policy["PolicyName"]])
        ]
        return {"ScalingPolicies": found}

    @action("DeleteScalingPolicy")
    def delete_policy(self, request: dict[str, Any]) -> None:
        _check_kind(request)
        with self.lock:
            if self.table("policies", Resource).pop(f"{request['ResourceId']} {request['PolicyName']}", None) is None:
                raise ServiceError(f"No scaling policy found: {request['PolicyName']}.", "ObjectNotFoundException")
        self.changed()

    @action("DescribeScalingActivities")
    def describe_activities(self, request: dict[str, Any]) -> dict[str, Any]:
        _check_namespace(request)
        found = self.table("activities", Resource).values()
        wanted = [a for a in found if a["ResourceId"] == request.get("ResourceId", a["ResourceId"])]
        return {"ScalingActivities": wanted[::-1]}

    def _target(self, request: dict[str, Any]) -> Resource:
        _check_kind(request)
        target = self.table("targets", Resource).get(request["ResourceId"])
        if target is None:
            raise ServiceError(
                f"No scalable target registered for service namespace: {NAMESPACE}, resource ID: "
                f"{request['ResourceId']}, scalable dimension: {DIMENSION}",
                "ObjectNotFoundException",
            )
        return target

    def follow(self) -> None:
        """The thread's target: scale until the account stops."""
        while not self.account.stopping.wait(LOOK_EVERY_S):
            for policy in list(self.table("policies", Resource).values()):
                try:
                    self._follow(policy)
                except (BotoCoreError, ClientError, ServiceError) as error:
                    log.warning("%s was not scaled: %s", policy["ResourceId"], error)

    def _follow(self, policy: Resource) -> None:
        resource = policy["ResourceId"]
        target = self.table("targets", Resource).get(resource)
        if target is None or (current := self._current(resource, settled=True)) is None:
            return
        tracking = self._tracking.setdefault(resource, Tracking(self.account.time_scale))
        config = policy["TargetTrackingScalingPolicyConfiguration"]
        per_minute = self._invocations(resource)
        wanted = tracking.wanted(config, (target["MinCapacity"], target["MaxCapacity"]), current, per_minute)
        suspended = target["SuspendedState"]
        kind = "DynamicScalingOutSuspended" if wanted > current else "DynamicScalingInSuspended"
        if wanted == current or suspended.get(kind):
            return
        endpoint, variant = _names(resource)
        self.account.client("sagemaker").update_endpoint_weights_and_capacities(
            EndpointName=endpoint,
            DesiredWeightsAndCapacities=[{"VariantName": variant, "DesiredInstanceCount": wanted}],
        )
        self._remember(policy, wanted, f"{per_minute:g} invocations in a minute by {current} instance(s)")

    def _remember(self, policy: Resource, wanted: int, cause: str) -> None:
        identifier = str(uuid.uuid4())
        with self.lock:
            activities = self.table("activities", Resource)
            activities[identifier] = {
                "ActivityId": identifier,
                "ServiceNamespace": NAMESPACE,
                "ResourceId": policy["ResourceId"],
                "ScalableDimension": DIMENSION,
                "Description": f"Setting desired instance count to {wanted}.",
                "Cause": f"policy {policy['PolicyName']}: {cause}",
                "StartTime": now(),
                "EndTime": now(),
                "StatusCode": "Successful",
            }
            for old in list(activities)[:-MAX_ACTIVITIES]:
                del activities[old]
        self.changed()

    def _current(self, resource: str, *, settled: bool = False) -> int | None:
        """The variant's instances; with ``settled`` None while the endpoint changes, or is gone."""
        endpoint, name = _names(resource)
        try:
            found = self.account.client("sagemaker").describe_endpoint(EndpointName=endpoint)
        except ClientError as error:
            if settled and "Could not find" in str(error):
                return None  # it was deleted, and may be made again
            raise ServiceError(f"SageMaker endpoint {endpoint} cannot be scaled: {error}") from error
        if settled and found["EndpointStatus"] != "InService":
            return None
        for variant in found.get("ProductionVariants", []):
            if variant["VariantName"] == name and "DesiredInstanceCount" in variant:
                return int(variant["DesiredInstanceCount"])
        raise ServiceError(f"Endpoint {endpoint} has no variant {name} with instances to scale.")

    def _invocations(self, resource: str) -> float:
        endpoint, variant = _names(resource)
        end = datetime.fromtimestamp(now(), UTC) + timedelta(seconds=1)
        points = self.account.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName="Invocations",
            Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}],
            StartTime=end - timedelta(seconds=61),
            EndTime=end,
            Period=60,
            Statistics=["Sum"],
        )["Datapoints"]
        return float(sum(point["Sum"] for point in points))


_SUSPENDED = {
    "SuspendedState": {
        "DynamicScalingInSuspended": False,
        "DynamicScalingOutSuspended": False,
        "ScheduledScalingSuspended": False,
    }
}


def _check_namespace(request: dict[str, Any]) -> None:
    if request["ServiceNamespace"] != NAMESPACE:
        raise ServiceError(f"The stand-in account scales {NAMESPACE} only, not {request['ServiceNamespace']}.")


def _check_kind(request: dict[str, Any]) -> None:
    _check_namespace(request)
    if request["ScalableDimension"] != DIMENSION:
        raise ServiceError(f"The stand-in account scales {DIMENSION} only, not {request['ScalableDimension']}.")
    _names(request["ResourceId"])


def _names(resource: str) -> tuple[str, str]:
    """Endpoint and variant."""
    match = _RESOURCE.fullmatch(resource)
    if match is None:
        raise ServiceError(f"Expected a ResourceId endpoint/NAME/variant/VARIANT, got {resource!r}.")
    return match[1], match[2]


def install(account: Account) -> AutoScaling:
    """Make the service and begin to follow its policies."""
    service = AutoScaling(account)
    threading.Thread(target=service.follow, name="autoscaling", daemon=True).start()
    return service
