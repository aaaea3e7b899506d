"""Tables: AWS::DynamoDB::Table, created, then given what takes calls of its own; AWS::Glue::Table with its database.

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


class CatalogEntry(Kind):
    """A database, or a table of one; its name stands inside the property that describes it."""

    def __init__(self, resource: str, scope: str = "") -> None:
        self._resource, self._described, self._scope = resource, f"{resource}Input", scope

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make it in one call."""
        described = dict(part(properties, self._described))
        described.setdefault("Name", place.generated_name(255).lower())
        self._send(place, "Create", properties, described)
        return Made(str(described["Name"]), {})

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Replace the description."""
        self._send(place, "Update", new, {"Name": physical_id, **part(new, self._described)}, physical_id)
        return Made(physical_id, {})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the entry; what the table describes stays."""
        request = {"Name": physical_id, **only(properties, "CatalogId", self._scope)}
        call_gone(place, "glue", f"Delete{self._resource}", request)

    def needs_replacement(self, old: Properties, new: Properties) -> bool:
        """Also for another name, which stands inside the description."""
        renamed = part(old, self._described).get("Name") != part(new, self._described).get("Name")
        return renamed or super().needs_replacement(old, new)

    def _send(
        self, place: StackPlace, verb: str, properties: Properties, described: Properties, name: str = ""
    ) -> None:
        request = {**only(properties, "CatalogId", self._scope), self._described: described}
        named = {"Name": name} if name and not self._scope else {}
        call(place, "glue", f"{verb}{self._resource}", request | named)
