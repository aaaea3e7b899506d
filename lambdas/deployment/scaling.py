"""The endpoint's autoscaling: on while a version serves, off during an update.

Runs in Lambda.
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from lambdas.deployment.endpoint_spec import EndpointSpec
from lambdas.deployment.sagemaker_endpoint import VARIANT

DIMENSION = "sagemaker:variant:DesiredInstanceCount"
POLICY = "invocations-per-instance"


def start_scaling(scaling: Any, spec: EndpointSpec) -> None:
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


def stop_scaling(scaling: Any, spec: EndpointSpec) -> None:
    """Before an update, as SageMaker's developer guide asks (update endpoints that use auto scaling)."""
    try:
        scaling.deregister_scalable_target(**_target(spec))
    except ClientError as error:
        if error.response["Error"]["Code"] != "ObjectNotFoundException":
            raise


def _target(spec: EndpointSpec) -> dict[str, str]:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{spec.endpoint}/variant/{VARIANT}",
        "ScalableDimension": DIMENSION,
    }
