"""Custom resources: the template's own function makes, changes and removes what they stand for.

Runs in the server process. A function answers by a PUT to an address in S3 that the event brings, as on AWS; the bucket
is there for as long as one answer is awaited. Source: CloudFormation User Guide, custom resources.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError

from local_account.cloudformation.language.functions import as_shown
from local_account.cloudformation.resources.base import Kind, Made, StackPlace
from local_account.cloudformation.resources.values import Properties, ResourceError, as_mapping, as_text
from local_account.protocol.records import without

_LOOK_S = 0.1
_LONGEST_S = 3600
_KEY = "response"
_SUBJECT = "AWS CloudFormation custom resource request"


class CustomResource(Kind):
    """What a function, or whoever reads a topic, makes of the properties."""

    replaced_by = frozenset({"ServiceToken"})
    has_own_attributes = True

    def __init__(self, type_name: str) -> None:
        self._type_name = type_name

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Have the resource made.

        Raises ResourceError when the function refuses, and when nobody answers in time.
        """
        answer = self._ask(place, "Create", properties, {})
        return _made(place, answer)

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Have the resource changed; with another physical id it is another one.

        Raises ResourceError as `create` does.
        """
        members = {"PhysicalResourceId": physical_id, "OldResourceProperties": as_shown(old)}
        return _made(place, self._ask(place, "Update", new, members))

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Have the resource removed.

        Raises ResourceError as `create` does.
        """
        _check(self._ask(place, "Delete", properties, {"PhysicalResourceId": physical_id}))

    def _ask(
        self, place: StackPlace, kind: str, properties: Properties, members: Mapping[str, object]
    ) -> Mapping[str, object]:
        s3: Any = place.account.client("s3")
        bucket = f"cloudformation-custom-resource-response-{uuid.uuid4().hex[:12]}"
        s3.create_bucket(Bucket=bucket)
        try:
            url = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": _KEY}, ExpiresIn=2 * _LONGEST_S)
            event = {**self._event(place, kind, url, properties), **members}
            failure = _send(place, as_text(properties.get("ServiceToken", "")), event)
            return _awaited(place, s3, bucket, _seconds(properties), failure)
        finally:
            _remove(s3, bucket)

    def _event(self, place: StackPlace, kind: str, url: str, properties: Properties) -> dict[str, object]:
        return {
            "RequestType": kind,
            "ServiceToken": as_text(properties.get("ServiceToken", "")),
            "ResponseURL": url,
            "StackId": place.stack_id,
            "RequestId": str(uuid.uuid4()),
            "LogicalResourceId": place.logical_id,
            "ResourceType": self._type_name,
            "ResourceProperties": as_shown(without(properties, "ServiceTimeout")),
        }


def _send(place: StackPlace, service_token: str, event: Mapping[str, object]) -> str:
    """Send the event to its function or topic; why the function failed, or an empty text."""
    message = json.dumps(event)
    if ":sns:" in service_token:
        place.client("sns").publish(
            TopicArn=service_token, Message=message, Subject="AWS CloudFormation custom resource request"
        )
        return ""
    if ":function:" not in service_token:
        raise ResourceError(f"Invalid ServiceToken: expected the ARN of a function or a topic, got {service_token!r}")
    answer = place.client("lambda").invoke(FunctionName=service_token, Payload=message.encode())
    return str(answer["Payload"].read().decode()) if answer.get("FunctionError") else ""


def _awaited(place: StackPlace, s3: Any, bucket: str, seconds: int, failure: str) -> Mapping[str, object]:
    """What was answered. A function that failed without an answer is not waited for, as AWS would for an hour."""
    left_s = float(seconds)
    while True:
        try:
            text = s3.get_object(Bucket=bucket, Key=_KEY)["Body"].read()
            return as_mapping(json.loads(text), "response")
        except ClientError:
            if failure:
                raise ResourceError(f"The function failed before it answered: {failure}") from None
        except ValueError as error:
            raise ResourceError(f"Response object is not valid JSON: {error}") from error
        if left_s <= 0:
            raise ResourceError("CloudFormation did not receive a response from your Custom Resource. Please check "
                                "your logs for the function's requests.")  # fmt: skip
        place.pause(_LOOK_S)
        left_s -= _LOOK_S


def _remove(s3: Any, bucket: str) -> None:
    s3.delete_object(Bucket=bucket, Key=_KEY)
    s3.delete_bucket(Bucket=bucket)


def _seconds(properties: Properties) -> int:
    stated = as_text(properties.get("ServiceTimeout", _LONGEST_S))
    if not stated.isdigit() or not 1 <= int(stated) <= _LONGEST_S:
        raise ResourceError(f"Property ServiceTimeout should be 1 to {_LONGEST_S} seconds, got {stated}")
    return int(stated)


def _check(answer: Mapping[str, object]) -> None:
    if answer.get("Status") == "SUCCESS":
        return
    reason = answer.get("Reason", "Vendor response doesn't contain Reason")
    if answer.get("Status") != "FAILED":
        reason = "Invalid Status in the response: expected SUCCESS or FAILED"
    raise ResourceError(f"Received response status [FAILED] from custom resource. Message returned: {reason}")


def _made(place: StackPlace, answer: Mapping[str, object]) -> Made:
    physical_id = answer.get("PhysicalResourceId")
    if isinstance(physical_id, str) and physical_id:
        place.begun(physical_id)  # also a creation that failed is taken back by the function
    _check(answer)
    if not isinstance(physical_id, str) or not physical_id:
        raise ResourceError("Invalid PhysicalResourceId")
    return Made(physical_id, as_mapping(answer.get("Data") or {}, "Data"))
