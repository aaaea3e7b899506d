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
import re
import threading
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from local_account.account import Account
from local_account.autoscaling.tracking import ScalableTarget, ScalingActivity, ScalingPolicy, Tracking
from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.records import record_of, without
from local_account.protocol.service import Service, now

if TYPE_CHECKING:
    from types_boto3_application_autoscaling.type_defs import (
        DeleteScalingPolicyRequestTypeDef,
        DeregisterScalableTargetRequestTypeDef,
        DescribeScalableTargetsRequestTypeDef,
        DescribeScalingActivitiesRequestTypeDef,
        DescribeScalingPoliciesRequestTypeDef,
        PutScalingPolicyRequestTypeDef,
        RegisterScalableTargetRequestTypeDef,
        SuspendedStateTypeDef,
    )

    _Scaled = (
        RegisterScalableTargetRequestTypeDef
        | DeregisterScalableTargetRequestTypeDef
        | PutScalingPolicyRequestTypeDef
        | DeleteScalingPolicyRequestTypeDef
    )

log = logging.getLogger(__name__)

NAMESPACE, DIMENSION = "sagemaker", "sagemaker:variant:DesiredInstanceCount"
METRIC = "SageMakerVariantInvocationsPerInstance"
LOOK_EVERY_S = 1.0
MAX_ACTIVITIES = 100
_RESOURCE = re.compile(r"endpoint/([^/]+)/variant/([^/]+)")


class AutoScaling(Service):
    """Targets by resource id; policies by resource id and name."""

    def __init__(self, account: Account) -> None:
        super().__init__(account, "application-autoscaling")
        self._targets = self.table("targets", ScalableTarget)
        self._policies = self.table("policies", ScalingPolicy)
        self._activities = self.table("activities", ScalingActivity)
        self._tracking: dict[str, Tracking] = {}

    @action("RegisterScalableTarget")
    def register(self, request: RegisterScalableTargetRequestTypeDef) -> Reply:
        """A target that is known keeps what the request does not name."""
        _check_kind(request)
        resource = request["ResourceId"]
        self._current(resource)  # it exists
        with self.lock:
            old = self._targets.get(resource)
            made = self._targets[resource] = self._changed_target(old or {}, request)
        self.changed()
        return {"ScalableTargetARN": made["ScalableTargetARN"]}

    def _changed_target(
        self, old: Mapping[str, object], request: RegisterScalableTargetRequestTypeDef
    ) -> ScalableTarget:
        role = f"arn:aws:iam::{self.account.account_id}:role/aws-service-role/sagemaker.application-autoscaling."
        new = {
            "ScalableTargetARN": self.arn(f"scalable-target/{uuid.uuid4().hex}"),
            "CreationTime": now(),
            "SuspendedState": _NOTHING_SUSPENDED,
            "RoleARN": f"{role}amazonaws.com/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint",
        }
        members = {**new, **old, **without(request, "Tags")}
        for bound in ("MinCapacity", "MaxCapacity"):
            if bound not in members:
                raise ServiceError(f"{bound} is required for a scalable target that is new.")
        made = record_of(ScalableTarget, members)
        if not 1 <= made["MinCapacity"] <= made["MaxCapacity"]:
            raise ServiceError(
                f"MinCapacity must be at least 1 and at most MaxCapacity, they are {made['MinCapacity']} and "
                f"{made['MaxCapacity']}."
            )
        return made

    @action("DescribeScalableTargets")
    def describe_targets(self, request: DescribeScalableTargetsRequestTypeDef) -> Reply:
        """Answers all targets at once."""
        _check_namespace(request["ServiceNamespace"])
        wanted = request.get("ResourceIds") or list(self._targets)
        return {"ScalableTargets": [t for resource, t in self._targets.items() if resource in wanted]}

    @action("DeregisterScalableTarget")
    def deregister(self, request: DeregisterScalableTargetRequestTypeDef) -> None:
        """The target's policies go with it."""
        resource = request["ResourceId"]
        with self.lock:
            self._target(request)
            del self._targets[resource]
            policies = self._policies
            for key in [key for key, policy in policies.items() if policy["ResourceId"] == resource]:
                del policies[key]
            self._tracking.pop(resource, None)
        self.changed()

    @action("PutScalingPolicy")
    def put_policy(self, request: PutScalingPolicyRequestTypeDef) -> Reply:
        """A policy that is known keeps what the request does not name; answers no alarms."""
        resource = request["ResourceId"]
        with self.lock:
            self._target(request)
            _check_policy(request)
            name = request["PolicyName"]
            key = f"{resource} {name}"
            place = f"resource/{NAMESPACE}/{resource}:policyName/{name}"
            arn = self.account.arn("autoscaling", f"scalingPolicy:{uuid.uuid4()}:{place}")
            new = {"PolicyARN": arn, "CreationTime": now(), "Alarms": []}
            made = self._policies[key] = record_of(ScalingPolicy, self._policies.get(key) or new, request)
        self.changed()
        return {"PolicyARN": made["PolicyARN"], "Alarms": []}

    @action("DescribeScalingPolicies")
    def describe_policies(self, request: DescribeScalingPoliciesRequestTypeDef) -> Reply:
        """Answers all policies at once."""
        _check_namespace(request["ServiceNamespace"])
        found = [
            policy
            for policy in self._policies.values()
            if policy["ResourceId"] == request.get("ResourceId", policy["ResourceId"])
            and policy["PolicyName"] in request.get("PolicyNames", [policy["PolicyName"]])
        ]
        return {"ScalingPolicies": found}

    @action("DeleteScalingPolicy")
    def delete_policy(self, request: DeleteScalingPolicyRequestTypeDef) -> None:
        """The instances stay as many as they are."""
        _check_kind(request)
        with self.lock:
            if self._policies.pop(f"{request['ResourceId']} {request['PolicyName']}", None) is None:
                raise ServiceError(f"No scaling policy found: {request['PolicyName']}.", "ObjectNotFoundException")
        self.changed()

    @action("DescribeScalingActivities")
    def describe_activities(self, request: DescribeScalingActivitiesRequestTypeDef) -> Reply:
        """Answers the last activities at once, the newest first."""
        _check_namespace(request["ServiceNamespace"])
        found = self._activities.values()
        wanted = [a for a in found if a["ResourceId"] == request.get("ResourceId", a["ResourceId"])]
        return {"ScalingActivities": wanted[::-1]}

    def _target(self, request: _Scaled) -> ScalableTarget:
        _check_kind(request)
        target = self._targets.get(request["ResourceId"])
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
            for policy in list(self._policies.values()):
                try:
                    self._follow(policy)
                except (BotoCoreError, ClientError, ServiceError) as error:
                    log.warning("%s was not scaled: %s", policy["ResourceId"], error)

    def _follow(self, policy: ScalingPolicy) -> None:
        resource = policy["ResourceId"]
        target = self._targets.get(resource)
        if target is None or (current := self._current(resource, settled=True)) is None:
            return
        tracking = self._tracking.setdefault(resource, Tracking(self.account.time_scale))
        config = policy["TargetTrackingScalingPolicyConfiguration"]
        per_minute = self._invocations(resource)
        wanted = tracking.wanted(config, (target["MinCapacity"], target["MaxCapacity"]), current, per_minute)
        suspended = target["SuspendedState"]
        stays = suspended.get("DynamicScalingOutSuspended" if wanted > current else "DynamicScalingInSuspended")
        if wanted == current or stays:
            return
        endpoint, variant = _names(resource)
        self.account.client("sagemaker").update_endpoint_weights_and_capacities(
            EndpointName=endpoint,
            DesiredWeightsAndCapacities=[{"VariantName": variant, "DesiredInstanceCount": wanted}],
        )
        self._remember(policy, wanted, f"{per_minute:g} invocations in a minute by {current} instance(s)")

    def _remember(self, policy: ScalingPolicy, wanted: int, cause: str) -> None:
        identifier = str(uuid.uuid4())
        with self.lock:
            activities = self._activities
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


_NOTHING_SUSPENDED: SuspendedStateTypeDef = {
    "DynamicScalingInSuspended": False,
    "DynamicScalingOutSuspended": False,
    "ScheduledScalingSuspended": False,
}


def _check_policy(request: PutScalingPolicyRequestTypeDef) -> None:
    config = request.get("TargetTrackingScalingPolicyConfiguration")
    specification = config.get("PredefinedMetricSpecification") if config else None
    metric = specification["PredefinedMetricType"] if specification else None
    if config is None or request.get("PolicyType") != "TargetTrackingScaling" or metric != METRIC:
        raise ServiceError(
            f"The stand-in account scales by policies of type TargetTrackingScaling on {METRIC}, not by "
            f"{request.get('PolicyType')} on {metric}."
        )
    if config["TargetValue"] <= 0:
        raise ServiceError(f"TargetValue must be above 0, it is {config['TargetValue']}.")


def _check_namespace(namespace: str) -> None:
    if namespace != NAMESPACE:
        raise ServiceError(f"The stand-in account scales {NAMESPACE} only, not {namespace}.")


def _check_kind(request: _Scaled) -> None:
    _check_namespace(request["ServiceNamespace"])
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
