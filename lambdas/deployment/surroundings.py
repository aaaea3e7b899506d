"""What stands around the endpoint: its autoscaling, the alarms that undo an update, and whoever has to be told.

Runs in Lambda.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from botocore.exceptions import ClientError

from lambdas.deployment.ledger import Record
from lambdas.deployment.sagemaker_endpoint import VARIANT
from lambdas.deployment.target import Target

DIMENSION = "sagemaker:variant:DesiredInstanceCount"
POLICY = "invocations-per-instance"


def usable_alarms(cloudwatch: Any, names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The alarms that may undo an update, and those that are on already: these would undo each update, also a cure."""
    if not names:
        return [], []
    found = cloudwatch.describe_alarms(AlarmNames=list(names))["MetricAlarms"]
    on = [alarm["AlarmName"] for alarm in found if alarm["StateValue"] == "ALARM"]
    return [alarm["AlarmName"] for alarm in found if alarm["AlarmName"] not in on], on


def start_scaling(scaling: Any, where: Target) -> None:
    """Follow the invocations; both calls replace what is there (Application Auto Scaling, RegisterScalableTarget)."""
    place = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{where.endpoint}/variant/{VARIANT}",
        "ScalableDimension": DIMENSION,
    }
    settings = where.settings
    scaling.register_scalable_target(
        **place, MinCapacity=settings.initial_instance_count, MaxCapacity=settings.autoscaling_max_instances
    )
    scaling.put_scaling_policy(
        **place,
        PolicyName=POLICY,
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": float(settings.autoscaling_invocations_per_instance),
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
        },
    )


def stop_scaling(scaling: Any, where: Target) -> None:
    """Before an update, as SageMaker's developer guide asks (update endpoints that use auto scaling)."""
    try:
        scaling.deregister_scalable_target(
            ServiceNamespace="sagemaker",
            ResourceId=f"endpoint/{where.endpoint}/variant/{VARIANT}",
            ScalableDimension=DIMENSION,
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ObjectNotFoundException":
            raise


def tell(sns: Any, where: Target, record: Record) -> None:
    """One line for people; for programs the record as JSON, and what they may filter by."""
    attributes = {
        "endpoint": where.endpoint,
        "outcome": record.outcome,
        "version": str(record.version),
        "record": json.dumps(asdict(record)),
    }
    sns.publish(
        TopicArn=where.topic_arn,
        Subject=f"{where.endpoint}: {record.outcome}"[:100],
        Message=line(where, record),
        MessageAttributes={k: {"DataType": "String", "StringValue": v} for k, v in attributes.items()},
    )


def line(where: Target, record: Record) -> str:
    what = f"version {record.version} ({record.action})" if record.version else record.action
    text = f"endpoint {where.endpoint}: {what} {record.outcome}"
    return f"{text}: {record.detail}" if record.detail else text
