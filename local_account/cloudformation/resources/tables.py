"""AWS::DynamoDB::Table: created, then given what takes calls of its own.

Runs in the server process.
"""

from __future__ import annotations

from typing import Any

from local_account.cloudformation.resources.base import (
    Kind,
    Made,
    Place,
    Properties,
    as_text,
    call,
    call_gone,
    only,
    without,
)

_APART = ("PointInTimeRecoverySpecification", "TimeToLiveSpecification", "SSESpecification")


class Table(Kind):
    """Its name, keys and attributes cannot change in place here (on AWS, keys cannot either)."""

    has_tags = True
    name = "TableName"
    replaced_by = frozenset({"KeySchema", "AttributeDefinitions"})

    def create(self, place: Place, properties: Properties) -> Made:
        name = properties.get("TableName") or place.generated_name(255)
        call(place, "dynamodb", "CreateTable", without(self._request(properties), "TableName") | {"TableName": name})
        self._settle(place, name, {}, properties)
        return self._made(place, name)

    def update(self, place: Place, physical_id: str, old: Properties, new: Properties) -> Made:
        before, after = self._request(old), self._request(new)
        changed = {key: value for key, value in after.items() if before.get(key) != value}
        if changed := without(changed, "Tags", "KeySchema", "AttributeDefinitions", "TableName"):
            call(place, "dynamodb", "UpdateTable", changed | {"TableName": physical_id})
        self._settle(place, physical_id, old, new)
        return self._made(place, physical_id)

    def delete(self, place: Place, physical_id: str, properties: Properties) -> None:
        call_gone(place, "dynamodb", "DeleteTable", {"TableName": physical_id})

    @staticmethod
    def _request(properties: Properties) -> dict[str, Any]:
        request = without(properties, *_APART)
        if encryption := properties.get("SSESpecification"):
            # CloudFormation's SSEEnabled is the API's Enabled.
            request["SSESpecification"] = without(encryption, "SSEEnabled") | {"Enabled": encryption["SSEEnabled"]}
        return request

    @staticmethod
    def _settle(place: Place, name: str, old: Properties, new: Properties) -> None:
        recovery, lifetime = (only(new, key) for key in _APART[:2])
        if recovery and recovery != only(old, _APART[0]):
            wanted = {"PointInTimeRecoveryEnabled": as_text(recovery[_APART[0]]["PointInTimeRecoveryEnabled"])}
            request: dict[str, Any] = {"TableName": name, _APART[0]: wanted}
            call(place, "dynamodb", "UpdateContinuousBackups", request)
        if lifetime and lifetime != only(old, _APART[1]):
            call(place, "dynamodb", "UpdateTimeToLive", {"TableName": name, **lifetime})

    @staticmethod
    def _made(place: Place, name: str) -> Made:
        return Made(name, {"Arn": place.account.arn("dynamodb", f"table/{name}")})
