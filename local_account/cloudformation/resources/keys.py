"""KMS in stacks: keys, and the names they go by. Runs in the server process."""

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


class Key(Kind):
    """AWS::KMS::Key. Its policy, description, rotation and state change in place: what it encrypted stays readable."""

    has_tags = True
    replaced_by = frozenset({"KeySpec", "KeyUsage", "MultiRegion", "Origin"})
    _APART = ("KeyPolicy", "EnableKeyRotation", "Enabled", "PendingWindowInDays", "Tags")

    def create(self, place: Place, properties: Properties) -> Made:
        request = without(properties, *self._APART)
        if "KeyPolicy" in properties:
            request["Policy"] = properties["KeyPolicy"]
        if "Tags" in properties:
            request["Tags"] = [{"TagKey": tag["Key"], "TagValue": tag["Value"]} for tag in properties["Tags"]]
        key = str(call(place, "kms", "CreateKey", request)["KeyMetadata"]["KeyId"])
        return self.update(place, key, without(properties, "EnableKeyRotation", "Enabled"), properties)

    def update(self, place: Place, physical_id: str, old: Properties, new: Properties) -> Made:
        key = {"KeyId": physical_id}
        if old.get("KeyPolicy") != new.get("KeyPolicy") and "KeyPolicy" in new:
            call(place, "kms", "PutKeyPolicy", key | {"PolicyName": "default", "Policy": new["KeyPolicy"]})
        if old.get("Description", "") != new.get("Description", ""):
            call(place, "kms", "UpdateKeyDescription", key | {"Description": new.get("Description", "")})
        for setting, default, on, off in (
            ("Enabled", "true", "EnableKey", "DisableKey"),
            ("EnableKeyRotation", "false", "EnableKeyRotation", "DisableKeyRotation"),
        ):
            wanted = as_text(new.get(setting, default))
            if as_text(old.get(setting, default)) != wanted:
                call(place, "kms", on if wanted == "true" else off, key)
        arn = place.account.arn("kms", f"key/{physical_id}")
        return Made(physical_id, {"Arn": arn, "KeyId": physical_id})

    def delete(self, place: Place, physical_id: str, properties: Properties) -> None:
        request = {"KeyId": physical_id, **only(properties, "PendingWindowInDays")}
        call_gone(place, "kms", "ScheduleKeyDeletion", request)


class Alias(Kind):
    """AWS::KMS::Alias; it can be turned to another key."""

    name = "AliasName"

    def create(self, place: Place, properties: Properties) -> Made:
        call(place, "kms", "CreateAlias", properties)
        return Made(properties["AliasName"], {})

    def update(self, place: Place, physical_id: str, old: Properties, new: Properties) -> Made:
        request: dict[str, Any] = {"AliasName": physical_id, **only(new, "TargetKeyId")}
        call(place, "kms", "UpdateAlias", request)
        return Made(physical_id, {})

    def delete(self, place: Place, physical_id: str, properties: Properties) -> None:
        call_gone(place, "kms", "DeleteAlias", {"AliasName": physical_id})
