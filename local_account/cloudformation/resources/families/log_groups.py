"""What stacks have of CloudWatch Logs: groups, streams, metric filters and subscriptions.

Runs in the server process. What belongs to a group has the physical id that its ``Ref`` gives: its own name.
"""

from __future__ import annotations

from local_account.cloudformation.resources.base import Kind, Made, StackPlace, call, call_gone
from local_account.cloudformation.resources.values import Properties, only, rows
from local_account.protocol.records import without


class LogGroup(Kind):
    """AWS::Logs::LogGroup with its retention."""

    has_tags = True
    name = "LogGroupName"

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the group, then set how long it keeps events."""
        name = place.name_of(properties, "LogGroupName", 512)
        call(place, "logs", "CreateLogGroup", without(properties, "RetentionInDays") | {"LogGroupName": name})
        place.begun(name)
        return self.update(place, name, only(properties, "KmsKeyId"), properties)

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Set or take away the key and the days that events are kept."""
        request: dict[str, object] = {"LogGroupName": physical_id}
        if "KmsKeyId" in new and old.get("KmsKeyId") != new["KmsKeyId"]:
            call(place, "logs", "AssociateKmsKey", request | only(new, "KmsKeyId"))
        elif "KmsKeyId" in old and "KmsKeyId" not in new:
            call(place, "logs", "DisassociateKmsKey", request)
        if "RetentionInDays" in new:
            call(place, "logs", "PutRetentionPolicy", request | only(new, "RetentionInDays"))
        elif "RetentionInDays" in old:
            call(place, "logs", "DeleteRetentionPolicy", request)
        return Made(physical_id, {"Arn": place.account.arn("logs", f"log-group:{physical_id}:*")})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the group with its streams."""
        call_gone(place, "logs", "DeleteLogGroup", {"LogGroupName": physical_id})


class OfLogGroup(Kind):
    """What a group has by name: ``Put`` makes and changes a filter, ``Create`` a stream."""

    replaced_by = frozenset({"LogGroupName"})

    def __init__(self, name: str, verb: str, what: str) -> None:
        self.name, self._verb, self._what = name, verb, what

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make it, under a generated name where the properties give none."""
        return self._put(place, place.name_of(properties, self.name, 512), properties)

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Put it again, where there is anything but its names."""
        if self._verb == "Create":
            return Made(physical_id, {})
        return self._put(place, physical_id, new)

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove it."""
        request = {self.name: physical_id, **only(properties, "LogGroupName")}
        call_gone(place, "logs", f"Delete{self._what}", request)

    def _put(self, place: StackPlace, name: str, properties: Properties) -> Made:
        request = {**properties, self.name: name}
        if "MetricTransformations" in properties:
            request["MetricTransformations"] = [
                _transformation(each) for each in rows(properties, "MetricTransformations")
            ]
        call(place, "logs", f"{self._verb}{self._what}", request)
        return Made(name, {})


def _transformation(given: Properties) -> Properties:
    """A template lists dimensions, the call maps them."""
    if "Dimensions" not in given:
        return given
    return {**given, "Dimensions": {each["Key"]: each["Value"] for each in rows(given, "Dimensions")}}


LOG_GROUPS: dict[str, Kind] = {
    "AWS::Logs::LogGroup": LogGroup(),
    "AWS::Logs::LogStream": OfLogGroup("LogStreamName", "Create", "LogStream"),
    "AWS::Logs::MetricFilter": OfLogGroup("FilterName", "Put", "MetricFilter"),
    "AWS::Logs::SubscriptionFilter": OfLogGroup("FilterName", "Put", "SubscriptionFilter"),
}
