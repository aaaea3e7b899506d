"""What hangs on a function in stacks: versions, aliases, and what becomes of asynchronous invocations.

Runs in the server process.
"""

from __future__ import annotations

from local_account.base.arns import last_part, without_last
from local_account.cloudformation.resources.base import Answer, Kind, Made, StackPlace, call, call_gone
from local_account.cloudformation.resources.values import Properties, ResourceError, as_text, only, part, rows
from local_account.protocol.records import without


class Version(Kind):
    """AWS::Lambda::Version: published once; a change publishes another one."""

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Publish what the function is now.

        Raises ResourceError for what versions cannot have here.
        """
        if unknown := sorted(properties.keys() - {"FunctionName", "Description", "CodeSha256"}):
            raise ResourceError(f"The stand-in account does not implement the property /{unknown[0]}")
        answer = call(place, "lambda", "PublishVersion", properties)
        arn, version = str(answer["FunctionArn"]), str(answer["Version"])
        if not arn.endswith(f":{version}"):
            arn = f"{arn}:{version}"
        return Made(arn, {"FunctionArn": arn, "Version": version})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove this version of the function."""
        request = {"FunctionName": without_last(physical_id), "Qualifier": last_part(physical_id)}
        call_gone(place, "lambda", "DeleteFunction", request)

    def needs_replacement(self, old: Properties, new: Properties) -> bool:
        """A published version never changes."""
        return old != new


class FunctionAlias(Kind):
    """AWS::Lambda::Alias; it can be turned to another version."""

    name = "Name"
    replaced_by = frozenset({"FunctionName"})

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Give a version the name."""
        arn = str(call(place, "lambda", "CreateAlias", self._request(properties))["AliasArn"])
        return Made(arn, {"AliasArn": arn})

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Turn the name to another version, or share the traffic of two."""
        request: dict[str, object] = {}
        if "RoutingConfig" in old:
            request["RoutingConfig"] = {"AdditionalVersionWeights": {}}
        call(place, "lambda", "UpdateAlias", request | self._request(new))
        return Made(physical_id, {"AliasArn": physical_id})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the name; the version stays."""
        call_gone(place, "lambda", "DeleteAlias", only(properties, "FunctionName", "Name"))

    @staticmethod
    def _request(properties: Properties) -> dict[str, object]:
        if "ProvisionedConcurrencyConfig" in properties:
            raise ResourceError("The stand-in account does not implement the property /ProvisionedConcurrencyConfig")
        request = without(properties, "RoutingConfig")
        if "RoutingConfig" in properties:
            weights = rows(part(properties, "RoutingConfig"), "AdditionalVersionWeights")
            shares = {as_text(each["FunctionVersion"]): each["FunctionWeight"] for each in weights}
            request["RoutingConfig"] = {"AdditionalVersionWeights": shares}
        return request


class EventInvokeConfig(Kind):
    """AWS::Lambda::EventInvokeConfig: retries of asynchronous invocations, and where their results go."""

    replaced_by = frozenset({"FunctionName", "Qualifier"})

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Say what becomes of asynchronous invocations."""
        call(place, "lambda", "PutFunctionEventInvokeConfig", properties)
        return Made(place.generated_name(), {})

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Say it anew."""
        call(place, "lambda", "PutFunctionEventInvokeConfig", new)
        return Made(physical_id, {})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Go back to what holds for every function."""
        request = only(properties, "FunctionName", "Qualifier")
        call_gone(place, "lambda", "DeleteFunctionEventInvokeConfig", request)


class EventSourceMapping(Kind):
    """AWS::Lambda::EventSourceMapping: a queue whose messages go to a function."""

    replaced_by = frozenset({"EventSourceArn"})

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Begin to send what the queue holds to the function."""
        answer = call(place, "lambda", "CreateEventSourceMapping", properties)
        return self._made(place, str(answer["UUID"]))

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Change how messages are sent, and to which function."""
        request = without(new, "EventSourceArn", "Tags") | {"UUID": physical_id}
        call(place, "lambda", "UpdateEventSourceMapping", request)
        return self._made(place, physical_id)

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Leave the messages in the queue."""
        call_gone(place, "lambda", "DeleteEventSourceMapping", {"UUID": physical_id})

    @staticmethod
    def _made(place: StackPlace, uuid: str) -> Made:
        arn = place.account.arn("lambda", f"event-source-mapping:{uuid}")
        return Made(uuid, {"Id": uuid, "EventSourceMappingArn": arn})


class FunctionAddressKind(Kind):
    """AWS::Lambda::Url: the address of a function, or of an alias of it."""

    replaced_by = frozenset({"TargetFunctionArn", "Qualifier"})

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Give the function an address."""
        return self._made(call(place, "lambda", "CreateFunctionUrlConfig", _of_address(properties)))

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Change who may call there."""
        return self._made(call(place, "lambda", "UpdateFunctionUrlConfig", _of_address(new)))

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Take the address away."""
        request = only(_of_address(properties), "FunctionName", "Qualifier")
        call_gone(place, "lambda", "DeleteFunctionUrlConfig", request)

    @staticmethod
    def _made(answer: Answer) -> Made:
        return Made(str(answer["FunctionArn"]), only(answer, "FunctionArn", "FunctionUrl"))


def _of_address(properties: Properties) -> dict[str, object]:
    return {**without(properties, "TargetFunctionArn"), "FunctionName": properties["TargetFunctionArn"]}
