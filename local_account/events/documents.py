"""The documents of EventBridge: events, what PutEvents brings, and the targets of rules and schedules.

Used in the server process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NotRequired, TypedDict, cast

if TYPE_CHECKING:
    from types_boto3_events.type_defs import (
        DeadLetterConfigTypeDef,
        InputTransformerTypeDef,
        RetryPolicyTypeDef,
        SageMakerPipelineParametersTypeDef,
        SqsParametersTypeDef,
    )
    from types_boto3_scheduler.type_defs import EventBridgeParametersTypeDef


# An event as targets see it; ``time`` is ISO 8601 in UTC.
BusEvent = TypedDict(
    "BusEvent",
    {
        "version": str,
        "id": str,
        "detail-type": str,
        "source": str,
        "account": str,
        "time": str,
        "region": str,
        "resources": list[str],
        "detail": dict[str, object],
    },
)


class EventEntry(TypedDict, total=False):
    """An entry of PutEvents as it comes in: ``Time`` in epoch seconds, ``Detail`` the text of a JSON object."""

    Source: str
    DetailType: str
    Detail: str
    EventBusName: str
    Resources: list[str]
    Time: float


class EventTarget(TypedDict):
    """A target of a rule or of a schedule: its ARN, what it receives, as whom, and what becomes of failures."""

    Arn: str
    RoleArn: NotRequired[str]
    Input: NotRequired[str]
    InputPath: NotRequired[str]
    InputTransformer: NotRequired[InputTransformerTypeDef]
    SqsParameters: NotRequired[SqsParametersTypeDef]
    SageMakerPipelineParameters: NotRequired[SageMakerPipelineParametersTypeDef]
    EventBridgeParameters: NotRequired[EventBridgeParametersTypeDef]
    DeadLetterConfig: NotRequired[DeadLetterConfigTypeDef]
    RetryPolicy: NotRequired[RetryPolicyTypeDef]


def kept_target(held: Mapping[str, object]) -> EventTarget:
    """A target as moto keeps it: in the members of the request that brought it."""
    return cast("EventTarget", held)
