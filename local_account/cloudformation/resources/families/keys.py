"""KMS in stacks: keys, and the names they go by. Runs in the server process."""

from __future__ import annotations

from local_account.cloudformation.resources.base import Kind, Made, StackPlace, call, call_gone
from local_account.cloudformation.resources.values import Properties, as_text, only, part, rows
from local_account.protocol.records import without


class Key(Kind):
    """AWS::KMS::Key. Its policy, description, rotation and state change in place: what it encrypted stays readable."""

    has_tags = True
    replaced_by = frozenset({"KeySpec", "KeyUsage", "MultiRegion", "Origin"})
    _APART = ("KeyPolicy", "EnableKeyRotation", "Enabled", "PendingWindowInDays", "Tags")

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the key, then set whether it is enabled and rotated."""
        request = without(properties, *self._APART)
        if "KeyPolicy" in properties:
            request["Policy"] = properties["KeyPolicy"]
        if "Tags" in properties:
            request["Tags"] = [{"TagKey": tag["Key"], "TagValue": tag["Value"]} for tag in rows(properties, "Tags")]
        key = str(part(call(place, "kms", "CreateKey", request), "KeyMetadata")["KeyId"])
        place.begun(key)
        return self.update(place, key, without(properties, "EnableKeyRotation", "Enabled"), properties)

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Change policy, description, state and rotation, each where it differs."""
        key: Properties = {"KeyId": physical_id}
        if old.get("KeyPolicy") != new.get("KeyPolicy") and "KeyPolicy" in new:
            call(place, "kms", "PutKeyPolicy", {**key, "PolicyName": "default", "Policy": new["KeyPolicy"]})
        if old.get("Description", "") != new.get("Description", ""):
            call(place, "kms", "UpdateKeyDescription", {**key, "Description": new.get("Description", "")})
        for setting, default, on, off in (
            ("Enabled", "true", "EnableKey", "DisableKey"),
            ("EnableKeyRotation", "false", "EnableKeyRotation", "DisableKeyRotation"),
        ):
            wanted = as_text(new.get(setting, default))
            if as_text(old.get(setting, default)) != wanted:
                call(place, "kms", on if wanted == "true" else off, key)
        arn = place.account.arn("kms", f"key/{physical_id}")
        return Made(physical_id, {"Arn": arn, "KeyId": physical_id})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Have the key deleted after its waiting time, as KMS never deletes one at once."""
        request = {"KeyId": physical_id, **only(properties, "PendingWindowInDays")}
        call_gone(place, "kms", "ScheduleKeyDeletion", request)


class Alias(Kind):
    """AWS::KMS::Alias; it can be turned to another key."""

    name = "AliasName"

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Give a key the name."""
        call(place, "kms", "CreateAlias", properties)
        return Made(str(properties["AliasName"]), {})

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Turn the name to another key."""
        request: dict[str, object] = {"AliasName": physical_id, **only(new, "TargetKeyId")}
        call(place, "kms", "UpdateAlias", request)
        return Made(physical_id, {})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the name; the key stays."""
        call_gone(place, "kms", "DeleteAlias", {"AliasName": physical_id})
