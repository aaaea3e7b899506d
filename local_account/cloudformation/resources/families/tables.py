"""AWS::DynamoDB::Table: created, then given what takes calls of its own.

Runs in the server process.
"""

from __future__ import annotations

from local_account.cloudformation.resources.base import Kind, Made, StackPlace, call, call_gone
from local_account.cloudformation.resources.values import Properties, as_text, only, part
from local_account.protocol.records import without

_APART = ("PointInTimeRecoverySpecification", "TimeToLiveSpecification", "SSESpecification")


class DynamoTable(Kind):
    """Its name, keys and attributes cannot change in place here (on AWS, keys cannot either)."""

    has_tags = True
    name = "TableName"
    replaced_by = frozenset({"KeySchema", "AttributeDefinitions"})

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the table, then its recovery and the lifetime of its items."""
        name = place.name_of(properties, "TableName", 255)
        call(place, "dynamodb", "CreateTable", without(self._request(properties), "TableName") | {"TableName": name})
        place.begun(name)
        self._settle(place, name, {}, properties)
        return self._made(place, name)

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Change what differs of the table, its recovery and the lifetime of its items."""
        before, after = self._request(old), self._request(new)
        changed = {key: value for key, value in after.items() if before.get(key) != value}
        if changed := without(changed, "Tags", "KeySchema", "AttributeDefinitions", "TableName"):
            call(place, "dynamodb", "UpdateTable", changed | {"TableName": physical_id})
        self._settle(place, physical_id, old, new)
        return self._made(place, physical_id)

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the table with its items."""
        call_gone(place, "dynamodb", "DeleteTable", {"TableName": physical_id})

    @staticmethod
    def _request(properties: Properties) -> dict[str, object]:
        request = without(properties, *_APART)
        if properties.get("SSESpecification"):
            encryption = part(properties, "SSESpecification")
            # CloudFormation's SSEEnabled is the API's Enabled.
            request["SSESpecification"] = without(encryption, "SSEEnabled") | {"Enabled": encryption["SSEEnabled"]}
        return request

    @staticmethod
    def _settle(place: StackPlace, name: str, old: Properties, new: Properties) -> None:
        recovery, lifetime = (only(new, key) for key in _APART[:2])
        if recovery and recovery != only(old, _APART[0]):
            wanted = {"PointInTimeRecoveryEnabled": as_text(part(recovery, _APART[0])["PointInTimeRecoveryEnabled"])}
            request: dict[str, object] = {"TableName": name, _APART[0]: wanted}
            call(place, "dynamodb", "UpdateContinuousBackups", request)
        if lifetime and lifetime != only(old, _APART[1]):
            call(place, "dynamodb", "UpdateTimeToLive", {"TableName": name, **lifetime})

    @staticmethod
    def _made(place: StackPlace, name: str) -> Made:
        return Made(name, {"Arn": place.account.arn("dynamodb", f"table/{name}")})
