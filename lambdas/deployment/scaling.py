"""The endpoint's autoscaling: on while a version serves, off during an update.

Runs in Lambda.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from botocore.exceptions import ClientError

from lambdas.deployment.endpoint_spec import EndpointSpec
from lambdas.deployment.sagemaker_endpoint import VARIANT

if TYPE_CHECKING:
    from types_boto3_application_autoscaling import ApplicationAutoScalingClient
    from types_boto3_application_autoscaling.literals import ScalableDimensionType, ServiceNamespaceType

POLICY = "invocations-per-instance"


class EndpointCapacity(TypedDict):
    """What Application Auto Scaling calls the endpoint's instances."""

    ServiceNamespace: ServiceNamespaceType
    ResourceId: str
    ScalableDimension: ScalableDimensionType


def start_scaling(scaling: ApplicationAutoScalingClient, spec: EndpointSpec) -> None:
    """Follow the invocations; both calls replace what is there (Application Auto Scaling, RegisterScalableTarget)."""
    target = _target(spec)
    settings = spec.settings
    scaling.register_scalable_target(
        **target, MinCapacity=settings.initial_instance_count, MaxCapacity=settings.autoscaling_max_instances
    )
    scaling.put_scaling_policy(
        **target,
        PolicyName=POLICY,
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": float(settings.autoscaling_invocations_per_instance),
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
        },
    )


def stop_scaling(scaling: ApplicationAutoScalingClient, spec: EndpointSpec) -> None:
    """Before an update, as SageMaker's developer guide asks (update endpoints that use auto scaling)."""
    try:
        scaling.deregister_scalable_target(**_target(spec))
    except ClientError as error:
        if error.response["Error"]["Code"] != "ObjectNotFoundException":
            raise


def _target(spec: EndpointSpec) -> EndpointCapacity:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{spec.endpoint}/variant/{VARIANT}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
