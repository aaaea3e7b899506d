"""What TestState refuses: mocks that a state cannot have, contexts and results that are none.

Runs in the server process; the texts are recorded answers of AWS.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from moto.core.exceptions import AWSError
from moto.stepfunctions.exceptions import ValidationException

from local_account.base.arns import read_arn
from local_account.stepfunctions import clients
from local_account.stepfunctions.clients import client_of
from local_account.stepfunctions.language.definition import State, members_of

if TYPE_CHECKING:
    from botocore.model import Shape

MOCKED = {"Task", "Map", "Parallel"}
ALONE = "[Task, Wait, Pass, Succeed, Fail, Choice]"
CONTEXT: dict[str, dict[str, type | None]] = {
    "Execution": {"Id": str, "Input": None, "Name": str, "RoleArn": str, "StartTime": str, "RedriveCount": int},
    "State": {"EnteredTime": str, "Name": str, "RetryCount": int},
    "StateMachine": {"Id": str, "Name": str},
    "Task": {"Token": str},
}
_NAMES = {str: "a string", int: "a number"}
_SCHEMA = "Mock result schema validation error: "
_KINDS: dict[str, tuple[type | tuple[type, ...], str]] = {
    "list": (list, "an array"),
    "structure": (dict, "an object"),
    "map": (dict, "an object"),
    "boolean": (bool, "a boolean"),
    **dict.fromkeys(("string", "timestamp", "blob"), (str, "a string")),
    **dict.fromkeys(("integer", "long", "float", "double"), ((int, float), "a number")),
}


def check_mock(state: State, mock: Mapping[str, object] | None, reveal: bool) -> None:
    """ValidationException, InvalidDefinition for a mock that the state cannot have, or has to have."""
    kind = state.get("Type")
    if mock is None:
        if kind in {"Map", "Parallel"}:
            raise AWSError(
                f"TestState API does not support Map or Parallel states. Supported state types include: {ALONE}",
                "InvalidDefinition",
            )
        return
    if kind not in MOCKED:
        raise ValidationException(f"State type '{kind}' is not supported when a mock is specified")
    if mock.keys() >= {"result", "errorOutput"}:
        raise ValidationException("A test mock should have only one of the following fields: [result, errorOutput].")
    if reveal:
        raise ValidationException("TestState does not support RevealSecrets when a mock is specified.")


def mocked_value(state: State, mock: Mapping[str, object]) -> object:
    """The mock's result; ValidationException for one that the state cannot have."""
    try:
        value = json.loads(str(mock["result"]))
    except ValueError as error:
        raise ValidationException("Mocked result must be valid JSON") from error
    _check_shape(state, value)
    mode = mock.get("fieldValidationMode", "STRICT")
    shape = _output_of(str(state.get("Resource", ""))) if state.get("Type") == "Task" else None
    if mode != "NONE" and shape is not None and isinstance(value, dict):
        for fault in _faults(value, shape, strict=mode == "STRICT", skip=_free(str(state["Resource"]))):
            raise ValidationException(f"{_SCHEMA}{fault}")
    return value


def _check_shape(state: State, value: object) -> None:
    kind = state.get("Type")
    if kind == "Map" and "Resource" in members_of(state.get("ResultWriter")):
        if not isinstance(value, dict):
            raise ValidationException("Mocked result must be a JSON object.")
        return
    if kind in {"Map", "Parallel"} and not isinstance(value, list):
        raise ValidationException("Mocked result must be an array.")
    branches = state.get("Branches")
    if kind == "Parallel" and isinstance(branches, list) and isinstance(value, list) and len(branches) != len(value):
        raise ValidationException("Mocked result must contain the same number of items as number of Parallel branches.")


def _output_of(resource: str) -> Shape | None:
    """The shape of what a service answers; None for functions, activities and callbacks."""
    arn = read_arn(resource)
    if ":states:::" not in resource or resource.endswith(".waitForTaskToken"):
        return None
    service, action = arn.parts[-2:] if arn and len(arn.parts) > 1 else ("", "")
    action = action.partition(".")[0]
    try:
        model = client_of({"states": "stepfunctions"}.get(service, service)).meta.service_model
        return model.operation_model(action[:1].upper() + action[1:]).output_shape
    except clients.UNKNOWN:
        return None


def _free(resource: str) -> set[str]:
    """The members that hold whatever a function has answered."""
    return {"Payload"} if resource.endswith(":lambda:invoke") else set()


def _faults(value: object, shape: Shape, *, strict: bool, skip: set[str], name: str = "") -> Iterator[str]:
    kind, words = _KINDS.get(shape.type_name, (object, ""))
    number = shape.type_name in {"integer", "long", "float", "double"}
    if not isinstance(value, kind) or (number and isinstance(value, bool)):
        yield f"Field '{name}' must be {words}"
    elif shape.type_name == "structure" and isinstance(value, dict):
        yield from _member_faults(value, shape, strict, skip)
    elif shape.type_name == "list" and isinstance(value, list):
        for item in value:
            yield from _faults(item, shape.member, strict=strict, skip=skip, name=name)
    elif shape.type_name == "map" and isinstance(value, dict):
        for item in value.values():
            yield from _faults(item, shape.value, strict=strict, skip=skip, name=name)
    else:
        yield from _limits(value, shape, name)


def _member_faults(value: Mapping[str, object], shape: Shape, strict: bool, skip: set[str]) -> Iterator[str]:
    for member, each in shape.members.items():
        name = member[:1].upper() + member[1:]
        if name in skip:
            continue
        if name not in value:
            if strict and member in shape.required_members:
                yield f"Required field '{name}' is missing"
            continue
        yield from _faults(value[name], each, strict=strict, skip=set(), name=name)


def _limits(value: object, shape: Shape, name: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if isinstance(value, str):
        values = shape.metadata.get("enum")
        if values and value not in values:
            yield f"Field '{name}' is not an expected value"
        elif low is not None and len(value) < low:
            yield f"Field '{name}' is smaller than the minimum length"
        elif high is not None and len(value) > high:
            yield f"Field '{name}' exceeds the maximum length"
    elif isinstance(value, int | float):
        if low is not None and value < low:
            yield f"Field '{name}' is less than the minimum value"
        elif high is not None and value > high:
            yield f"Field '{name}' exceeds the maximum value"


def context_of(text: str | None, state: State) -> dict[str, dict[str, object]]:
    """The context object that a trial is given; ValidationException."""
    if text is None:
        return {}
    try:
        given = json.loads(text)
    except ValueError as error:
        raise _bad_context("not a valid JSON") from error
    if not isinstance(given, dict):
        raise _bad_context("not a JSON object")
    resource = str(state.get("Resource", ""))
    if "Map" in given:
        raise _bad_context("'Map' field is not supported when mocking a Context object")
    if "Task" in given and not resource.endswith((".sync", ".sync:2", ".waitForTaskToken")):
        raise _bad_context(
            "Context object contains 'Task' when state is not a Task state with a '.sync' or '.waitForTaskToken' "
            "service integration pattern"
        )
    for name, value in given.items():
        _check_part(name, value)
    return given


def _check_part(name: str, value: object) -> None:
    if name not in CONTEXT:
        raise _bad_context(f"Field '{name}' is not allowed")
    if not isinstance(value, dict):
        raise _bad_context(f"{name} must be an object")
    for member, held in value.items():
        if member not in CONTEXT[name]:
            raise _bad_context(f"Field '{member}' is not allowed")
        kind = CONTEXT[name][member]
        if kind is not None and (not isinstance(held, kind) or isinstance(held, bool)):
            raise _bad_context(f"{name}.{member} must be {_NAMES[kind]}")


def _bad_context(words: str) -> ValidationException:
    return ValidationException(f"Invalid Context object provided: {words}")
