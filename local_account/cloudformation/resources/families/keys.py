"""What protects and is protected in stacks: keys of KMS with the names they go by, and secrets.

Runs in the server process.
"""

from __future__ import annotations

import json

from botocore.exceptions import ClientError

from local_account.cloudformation.resources.base import Kind, Made, StackPlace, call, call_gone
from local_account.cloudformation.resources.values import Properties, ResourceError, as_text, only, part, rows
from local_account.protocol.records import without

_GENERATED = "GenerateSecretString"
_OF_TEMPLATES = {"GenerateStringKey", "SecretStringTemplate"}


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
        try:
            call_gone(place, "kms", "ScheduleKeyDeletion", request)
        except ClientError as error:
            if error.response["Error"]["Code"] != "KMSInvalidStateException":  # it waits already
                raise


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


class Secret(Kind):
    """AWS::SecretsManager::Secret; a generated value stays when the stack is updated."""

    has_tags = True
    name = "Name"

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the secret, with a value of its own where the template asks for one."""
        request = without(properties, _GENERATED) | {"Name": place.name_of(properties, "Name", 255)}
        if _GENERATED in properties:
            request["SecretString"] = _generated(place, part(properties, _GENERATED))
        arn = str(call(place, "secretsmanager", "CreateSecret", request)["ARN"])
        return Made(arn, {"Id": arn})

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Change the description, the key, or a value that the template states."""
        request = {"SecretId": physical_id, **only(new, "Description", "KmsKeyId", "SecretString")}
        if new.get(_GENERATED) != old.get(_GENERATED) and _GENERATED in new:
            request["SecretString"] = _generated(place, part(new, _GENERATED))
        call(place, "secretsmanager", "UpdateSecret", request)
        return Made(physical_id, {"Id": physical_id})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the secret, as stacks do, without the days in which it could be had back."""
        request = {"SecretId": physical_id, "ForceDeleteWithoutRecovery": True}
        call_gone(place, "secretsmanager", "DeleteSecret", request)


def _generated(place: StackPlace, wanted: Properties) -> str:
    """The value that a template asks for: a password, or a document with one.

    Raises ResourceError for a template without a key for the password.
    """
    request = without(wanted, *_OF_TEMPLATES)
    password = str(call(place, "secretsmanager", "GetRandomPassword", request)["RandomPassword"])
    given = _OF_TEMPLATES & wanted.keys()
    if not given:
        return password
    if given != _OF_TEMPLATES:
        raise ResourceError("GenerateSecretString needs SecretStringTemplate and GenerateStringKey together")
    try:
        document = json.loads(str(wanted["SecretStringTemplate"]))
    except ValueError as error:
        raise ResourceError("Could not parse SecretStringTemplate JSON") from error
    return json.dumps({**document, str(wanted["GenerateStringKey"]): password}, separators=(",", ":"))
