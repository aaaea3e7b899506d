"""The types of resource that a stack may hold; any other type fails the stack.

Runs in the server process. Most types are one call to create, one to update and one to delete; those that are more are
in ``resources.compounds``. Types and their ``Ref`` and ``Fn::GetAtt`` follow AWS's resource and property types
reference.
"""

from __future__ import annotations

import re

from local_account.base.arns import last_part
from local_account.cloudformation.language.schemas import ALWAYS, schema_of
from local_account.cloudformation.resources.base import ApiKind, Kind, Made, StackPlace
from local_account.cloudformation.resources.families.compounds import COMPOUNDS
from local_account.cloudformation.resources.families.custom import CustomResource
from local_account.cloudformation.resources.families.delivery import DELIVERY
from local_account.cloudformation.resources.families.function_versions import (
    EventInvokeConfig,
    EventSourceMapping,
    FunctionAddressKind,
    FunctionAlias,
    Version,
)
from local_account.cloudformation.resources.families.keys import Secret
from local_account.cloudformation.resources.families.nested import CdkMetadata, Macro, NestedStack
from local_account.cloudformation.resources.families.people import PEOPLE
from local_account.cloudformation.resources.families.scaling import ScalableTargetKind, ScalingPolicyKind
from local_account.cloudformation.resources.values import Properties, ResourceError

POLL_S = 0.2
CUSTOM = "AWS::CloudFormation::CustomResource"
_SERVICE = re.compile(r"\w+::\w+")
_OWN = re.compile(r"Custom::[A-Za-z0-9_@-]{1,60}")


class _EndpointKind(ApiKind):
    """An endpoint is made once it is in service on the configuration that the template names."""

    def wait(self, place: StackPlace, properties: Properties) -> None:
        name = str(properties["EndpointName"])
        endpoint = place.account.client("sagemaker", place.role).describe_endpoint(EndpointName=name)
        while endpoint["EndpointStatus"] in ("Creating", "Updating", "SystemUpdating", "RollingBack"):
            place.pause(POLL_S)
            endpoint = place.account.client("sagemaker", place.role).describe_endpoint(EndpointName=name)
        wanted = last_part(str(properties["EndpointConfigName"]))
        if endpoint["EndpointStatus"] != "InService" or endpoint["EndpointConfigName"] != wanted:
            reason = endpoint.get("FailureReason", "it is not in service on the configuration asked for")
            raise ResourceError(f"endpoint {name} is {endpoint['EndpointStatus']}: {reason}")


class _SubscriptionKind(ApiKind):
    """A subscription has its ARN also while it waits to be confirmed."""

    def create(self, place: StackPlace, properties: Properties) -> Made:
        return super().create(place, {**properties, "ReturnSubscriptionArn": True})


def _sagemaker(resource: str, update: str = "", made_by: type[ApiKind] = ApiKind) -> ApiKind:
    """A SageMaker resource: its ARN is what ``Ref`` gives, its name what the calls take."""
    name, arn = f"{resource}Name", f"{resource}Arn"
    return made_by(
        "sagemaker",
        f"Create{resource}",
        f"Delete{resource}",
        name,
        name=name,
        update=update,
        longest_name=63,
        has_tags=True,
        key_of=last_part,
        physical_id=lambda answer, _properties: str(answer[arn]),
        attributes=lambda answer, properties, _account: {arn: answer[arn], name: properties[name]},
    )


def _alarm(put: str) -> ApiKind:
    """An alarm, which the call that makes it changes, too."""
    return ApiKind(
        "cloudwatch",
        put,
        "DeleteAlarms",
        "AlarmNames",
        name="AlarmName",
        update=put,
        has_tags=True,
        update_key="AlarmName",
        longest_name=255,
        attributes=lambda _a, p, account: {"Arn": account.arn("cloudwatch", f"alarm:{p['AlarmName']}")},
    )


KINDS: dict[str, Kind] = {
    **COMPOUNDS,
    **DELIVERY,
    **PEOPLE,
    "AWS::CloudWatch::Alarm": _alarm("PutMetricAlarm"),
    "AWS::CloudWatch::CompositeAlarm": _alarm("PutCompositeAlarm"),
    "AWS::CloudWatch::Dashboard": ApiKind(
        "cloudwatch",
        "PutDashboard",
        "DeleteDashboards",
        "DashboardNames",
        name="DashboardName",
        update="PutDashboard",
        update_key="DashboardName",
    ),
    "AWS::Events::EventBus": ApiKind(
        "events",
        "CreateEventBus",
        "DeleteEventBus",
        "Name",
        name="Name",
        attributes=lambda a, p, _: {"Arn": a["EventBusArn"], "Name": p["Name"]},
    ),
    "AWS::ApplicationAutoScaling::ScalableTarget": ScalableTargetKind(),
    "AWS::ApplicationAutoScaling::ScalingPolicy": ScalingPolicyKind(),
    "AWS::CDK::Metadata": CdkMetadata(),
    CUSTOM: CustomResource(CUSTOM),
    "AWS::CloudFormation::Macro": Macro(),
    "AWS::CloudFormation::Stack": NestedStack(),
    "AWS::Lambda::Url": FunctionAddressKind(),
    "AWS::Lambda::Alias": FunctionAlias(),
    "AWS::Lambda::EventInvokeConfig": EventInvokeConfig(),
    "AWS::Lambda::EventSourceMapping": EventSourceMapping(),
    "AWS::Lambda::Version": Version(),
    "AWS::SecretsManager::Secret": Secret(),
    "AWS::SNS::Subscription": _SubscriptionKind(
        "sns",
        "Subscribe",
        "Unsubscribe",
        "SubscriptionArn",
        physical_id=lambda a, _p: str(a["SubscriptionArn"]),
        attributes=lambda a, _p, _: {"Arn": a["SubscriptionArn"]},
    ),
    "AWS::Scheduler::Schedule": ApiKind(
        "scheduler",
        "CreateSchedule",
        "DeleteSchedule",
        "Name",
        name="Name",
        update="UpdateSchedule",
        scope="GroupName",
        attributes=lambda a, _p, _: {"Arn": a["ScheduleArn"]},
    ),
    "AWS::Scheduler::ScheduleGroup": ApiKind(
        "scheduler",
        "CreateScheduleGroup",
        "DeleteScheduleGroup",
        "Name",
        name="Name",
        attributes=lambda a, _p, _: {"Arn": a["ScheduleGroupArn"]},
    ),
    "AWS::SageMaker::Endpoint": _sagemaker("Endpoint", update="UpdateEndpoint", made_by=_EndpointKind),
    "AWS::SageMaker::EndpointConfig": _sagemaker("EndpointConfig"),
    "AWS::SageMaker::Model": _sagemaker("Model"),
}


def kind_of(resource_type: str) -> Kind:
    """How resources of a type are made (``AWS::SQS::Queue``).

    Raises ResourceError for a type that the account does not implement.
    """
    if _OWN.fullmatch(resource_type):
        return CustomResource(resource_type)
    if resource_type not in KINDS:
        named = _SERVICE.match(resource_type)
        service = named[0] if named else resource_type
        siblings = sorted(name for name in KINDS if name.startswith(f"{service}::"))
        known = f"of {service} it implements {', '.join(siblings)}" if siblings else f"it implements none of {service}"
        raise ResourceError(
            f"The stand-in account does not implement the resource type {resource_type}: {known} "
            "(docs/local_account.md lists all)."
        )
    return KINDS[resource_type]


def is_known(resource_type: str) -> bool:
    """Whether the account implements a type of resource."""
    return resource_type in KINDS or _OWN.fullmatch(resource_type) is not None


def is_replaced(resource_type: str, old: Properties, new: Properties) -> bool:
    """Whether such a change takes a new resource, as AWS's schema or our own calls have it.

    Raises ResourceError for a type that the account does not implement.
    """
    known = schema_of(resource_type)
    changed = [name for name in old.keys() | new.keys() if old.get(name) != new.get(name)]
    stated = known is not None and any(known.recreation(name) == ALWAYS for name in changed)
    return stated or kind_of(resource_type).needs_replacement(old, new)
