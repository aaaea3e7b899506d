"""What stacks hold of CloudFormation itself: nested stacks, and the metadata of the CDK. Runs in the server process."""

from __future__ import annotations

import uuid
from typing import Any

from botocore.exceptions import ClientError

from local_account.cloudformation.language.functions import plain_text
from local_account.cloudformation.resources.base import Kind, Made, StackPlace
from local_account.cloudformation.resources.values import Properties, ResourceError, as_mapping, as_text, only

_LOOK_S = 0.1


class NestedStack(Kind):
    """AWS::CloudFormation::Stack: a stack of its own, by the API, whose outputs are attributes."""

    has_own_attributes = True

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the stack, and wait until it is there.

        Raises ResourceError for one that is not.
        """
        client = _client(place)
        name = place.generated_name(128)
        extra = only(properties, "NotificationARNs") | (
            {"TimeoutInMinutes": int(as_text(properties["TimeoutInMinutes"]))}
            if "TimeoutInMinutes" in properties
            else {}
        )
        answer = client.create_stack(StackName=name, OnFailure="DO_NOTHING", **_request(place, properties), **extra)
        place.begun(answer["StackId"])
        found = _settled(place, client, answer["StackId"])
        if found["StackStatus"] != "CREATE_COMPLETE":
            raise ResourceError(_refusal(found, "created"))
        return _made(found)

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Bring the stack to its template and parameters.

        Raises ResourceError for one that went back to what it was.
        """
        client = _client(place)
        try:
            client.update_stack(StackName=physical_id, **_request(place, new))
        except ClientError as error:
            if "No updates are to be performed" not in str(error):
                raise
        found = _settled(place, client, physical_id)
        if found["StackStatus"] not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            raise ResourceError(_refusal(found, "updated"))
        return _made(found)

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the stack with everything in it.

        Raises ResourceError for what is still there.
        """
        client = _client(place)
        client.delete_stack(StackName=physical_id)
        found = _settled(place, client, physical_id)
        if found["StackStatus"] != "DELETE_COMPLETE":
            raise ResourceError(f"Embedded stack {physical_id} was not successfully deleted: {_reason(found)}")


class CdkMetadata(Kind):
    """AWS::CDK::Metadata: which libraries wrote the template; nothing is made of it, on AWS neither."""

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Give it an id."""
        return Made(str(uuid.uuid4()), {})

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Keep its id."""
        return Made(physical_id, {})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Nothing is there to remove."""


class Macro(Kind):
    """AWS::CloudFormation::Macro: a function under the name by which templates ask for it."""

    name = "Name"

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Look whether the function is there; templates find it by the stack that holds the macro.

        Raises ClientError for a function that is not there.
        """
        place.client("lambda").get_function_configuration(FunctionName=as_text(properties["FunctionName"]))
        return Made(as_text(properties["Name"]), {})

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Look whether the other function is there. Raises as `create` does."""
        return self.create(place, new)

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Nothing but the stack knew of it."""


def _client(place: StackPlace) -> Any:
    return place.client("cloudformation")


def _request(place: StackPlace, properties: Properties) -> dict[str, object]:
    parameters = as_mapping(properties.get("Parameters", {}), "Parameters")
    return {
        "TemplateURL": as_text(properties["TemplateURL"]),
        "Parameters": [{"ParameterKey": key, "ParameterValue": _text_of(value)} for key, value in parameters.items()],
        "Capabilities": list(place.capabilities),
        **only(properties, "Tags"),
        **({"RoleARN": place.role} if place.role else {}),
    }


def _text_of(value: object) -> str:
    return ",".join(map(plain_text, value)) if isinstance(value, list) else plain_text(value)


def _settled(place: StackPlace, client: Any, stack_id: str) -> Any:
    while True:
        found = client.describe_stacks(StackName=stack_id)["Stacks"][0]
        if not found["StackStatus"].endswith("_IN_PROGRESS"):
            return found
        place.pause(_LOOK_S)


def _reason(found: Any) -> str:
    return str(found.get("StackStatusReason", found["StackStatus"])).strip()


def _refusal(found: Any, done: str) -> str:
    return f"Embedded stack {found['StackId']} was not successfully {done}: {_reason(found)}"


def _made(found: Any) -> Made:
    outputs = {f"Outputs.{each['OutputKey']}": each["OutputValue"] for each in found.get("Outputs", [])}
    return Made(found["StackId"], outputs)
