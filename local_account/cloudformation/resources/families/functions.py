"""Functions and state machines in stacks: their code and definitions come from S3 or from the template.

Runs in the server process.
"""

from __future__ import annotations

import io
import re
import zipfile
from importlib.resources import files
from typing import TYPE_CHECKING

from local_account.base.arns import last_part, without_last
from local_account.cloudformation.resources.base import Kind, Made, StackPlace, call, call_gone
from local_account.cloudformation.resources.values import Properties, ResourceError, as_mapping, as_text, only, part
from local_account.protocol.records import without

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import GetObjectRequestTypeDef


class Function(Kind):
    """AWS::Lambda::Function; the code is a zip in S3 or the text of ``index.py``."""

    has_tags = True
    name = "FunctionName"
    replaced_by = frozenset({"PackageType"})

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the function, then reserve its concurrency."""
        name = place.name_of(properties, "FunctionName")
        request = without(properties, "ReservedConcurrentExecutions") | {
            "FunctionName": name,
            "Code": _code(part(properties, "Code")),
        }
        answer = call(place, "lambda", "CreateFunction", request)
        place.begun(name)
        self._reserve(place, name, properties)
        return Made(name, {"Arn": answer["FunctionArn"]})

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Change code and configuration; environment and layers that the template lost are cleared."""
        if old["Code"] != new["Code"]:
            code = {"FunctionName": physical_id, **_code(part(new, "Code"))}
            call(place, "lambda", "UpdateFunctionCode", code)
        left_out = ("Code", "Tags", "ReservedConcurrentExecutions", "Architectures", "PackageType")
        cleared: dict[str, object] = {"Environment": {"Variables": {}}, "Layers": []} if old.keys() - new.keys() else {}
        request = cleared | without(new, *left_out) | {"FunctionName": physical_id}
        answer = call(place, "lambda", "UpdateFunctionConfiguration", request)
        self._reserve(place, physical_id, new)
        return Made(physical_id, {"Arn": answer["FunctionArn"]})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the function with its versions."""
        call_gone(place, "lambda", "DeleteFunction", {"FunctionName": physical_id})

    @staticmethod
    def _reserve(place: StackPlace, name: str, properties: Properties) -> None:
        if "ReservedConcurrentExecutions" in properties:
            request = {"FunctionName": name, **only(properties, "ReservedConcurrentExecutions")}
            call(place, "lambda", "PutFunctionConcurrency", request)


def _code(code: Properties) -> dict[str, object]:
    if "ZipFile" not in code:
        return dict(code)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        text = as_text(code["ZipFile"])
        file.writestr("index.py", text)
        if "cfnresponse" in text:  # AWS gives it to functions whose code is inline
            file.writestr("cfnresponse.py", (files(__package__) / "cfnresponse.py").read_text(encoding="utf-8"))
    return {"ZipFile": archive.getvalue()}


class LayerVersion(Kind):
    """AWS::Lambda::LayerVersion; any change publishes another version."""

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Publish a version of the layer."""
        name = place.name_of(properties, "LayerName")
        answer = call(place, "lambda", "PublishLayerVersion", {**properties, "LayerName": name})
        return Made(str(answer["LayerVersionArn"]), {"LayerVersionArn": answer["LayerVersionArn"]})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove this version of the layer."""
        request = {"LayerName": without_last(physical_id), "VersionNumber": last_part(physical_id)}
        call_gone(place, "lambda", "DeleteLayerVersion", request)

    def needs_replacement(self, old: Properties, new: Properties) -> bool:
        """A published version never changes."""
        return old != new


class Permission(Kind):
    """AWS::Lambda::Permission: one statement of the function's policy; any change makes a new one."""

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Add a statement to the function's policy, under a generated id."""
        statement = place.generated_name(100)
        call(place, "lambda", "AddPermission", {**properties, "StatementId": statement})
        return Made(statement, {"Id": statement})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the statement."""
        request = {**only(properties, "FunctionName"), "StatementId": physical_id}
        call_gone(place, "lambda", "RemovePermission", request)

    def needs_replacement(self, old: Properties, new: Properties) -> bool:
        """A statement cannot be changed, only removed and added."""
        return old != new


class StateMachine(Kind):
    """AWS::StepFunctions::StateMachine: the definition as text, as an object or in S3, with its substitutions."""

    has_tags = True
    name = "StateMachineName"
    replaced_by = frozenset({"StateMachineType"})
    _DEFINITION = ("Definition", "DefinitionString", "DefinitionS3Location", "DefinitionSubstitutions")

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the state machine.

        Raises ResourceError unless one of the three ways to give a definition is used.
        """
        name = place.name_of(properties, "StateMachineName", 80)
        request = without(properties, *self._DEFINITION, "StateMachineName", "StateMachineType")
        request |= {"Name": name, "Definition": self._definition(place, properties)}
        request |= {"Type": properties.get("StateMachineType", "STANDARD")}
        arn = str(call(place, "stepfunctions", "CreateStateMachine", request)["stateMachineArn"])
        return Made(arn, {"Arn": arn, "Name": name})

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Change the definition, the role and the logging.

        Raises ResourceError as `create` does.
        """
        request = without(new, *self._DEFINITION, "StateMachineName", "StateMachineType", "Tags")
        request |= {"StateMachineArn": physical_id, "Definition": self._definition(place, new)}
        call(place, "stepfunctions", "UpdateStateMachine", request)
        return Made(physical_id, {"Arn": physical_id, "Name": last_part(physical_id)})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the state machine."""
        call_gone(place, "stepfunctions", "DeleteStateMachine", {"StateMachineArn": physical_id})

    def _definition(self, place: StackPlace, properties: Properties) -> str:
        given = [name for name in self._DEFINITION[:3] if name in properties]
        if len(given) != 1:
            raise ResourceError(f"Expected one of {', '.join(self._DEFINITION[:3])}, got {', '.join(given) or 'none'}")
        if given == ["DefinitionS3Location"]:
            place_in_s3 = fit_location(part(properties, "DefinitionS3Location"))
            text = str(place.account.client("s3", place.role).get_object(**place_in_s3)["Body"].read().decode())
        else:
            text = as_text(properties[given[0]])
        substitutions = as_mapping(properties.get("DefinitionSubstitutions", {}), "DefinitionSubstitutions")
        return re.sub(
            r"\$\{([A-Za-z0-9_]+)\}",
            lambda match: as_text(substitutions[match[1]]) if match[1] in substitutions else match[0],
            text,
        )


def fit_location(location: Properties) -> GetObjectRequestTypeDef:
    """A location in S3 as GetObject takes it.

    Raises ResourceError for one without a bucket or a key.
    """
    if missing := [name for name in ("Bucket", "Key") if name not in location]:
        raise ResourceError(f"Property {missing[0]} is required")
    request: GetObjectRequestTypeDef = {"Bucket": as_text(location["Bucket"]), "Key": as_text(location["Key"])}
    if version := location.get("Version") or location.get("VersionId"):
        request["VersionId"] = as_text(version)
    return request
