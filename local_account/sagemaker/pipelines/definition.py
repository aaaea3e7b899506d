"""A pipeline definition: read, checked, and put in order.

Pure: text in, ``Definition`` out. What cannot run is refused with a message that names the step, when the pipeline is
created, not when it runs.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import botocore.session

from local_account.sagemaker.pipelines.expressions import (
    EXECUTION_VARIABLES,
    ExpressionError,
    Reference,
    check_condition,
    is_expression,
    references,
)

VERSION = "2020-12-01"
# Step type: the action its arguments belong to, the member that the pipeline fills in, what its properties are.
ACTIONS = {
    "Processing": ("CreateProcessingJob", "ProcessingJobName", "DescribeProcessingJob"),
    "Training": ("CreateTrainingJob", "TrainingJobName", "DescribeTrainingJob"),
    "Transform": ("CreateTransformJob", "TransformJobName", "DescribeTransformJob"),
    "RegisterModel": ("CreateModelPackage", "", "DescribeModelPackage"),
    "Model": ("CreateModel", "ModelName", "DescribeModel"),
}
STEP_TYPES = (*ACTIONS, "Condition", "Lambda", "Fail")
_NAME = re.compile(r"[A-Za-z0-9\-_]{1,64}")
_PARAMETER_TYPES: dict[str, tuple[type, ...]] = {
    "String": (str,),
    "Integer": (int,),
    "Float": (int, float),
    "Boolean": (bool,),
}


class DefinitionError(Exception):
    """A definition that cannot run."""


@dataclass(frozen=True)
class Parameter:
    """A pipeline parameter; ``default`` is None when every execution must give it."""

    name: str
    type: str
    default: Any
    choices: tuple[Any, ...]

    def parse(self, text: str) -> Any:
        """The value an execution gives, in the parameter's type; raises DefinitionError."""
        try:
            value: Any = text
            if self.type == "Integer":
                value = int(text)
            elif self.type == "Float":
                value = float(text)
            elif self.type == "Boolean":
                value = {"true": True, "false": False}[text.lower()]
        except (ValueError, KeyError) as error:
            raise DefinitionError(f"Parameter {self.name!r} expects {self.type}, got {text!r}.") from error
        if self.choices and value not in self.choices:
            raise DefinitionError(f"Parameter {self.name!r} must be one of {list(self.choices)}, got {text!r}.")
        return value


@dataclass(frozen=True)
class Step:
    """One step; ``branch`` is the condition step it lies in and the outcome that leads to it."""

    name: str
    type: str
    document: dict[str, Any]
    needs: frozenset[str]
    branch: tuple[str, bool] | None

    @property
    def arguments(self) -> dict[str, Any]:
        arguments: dict[str, Any] = self.document.get("Arguments", {})
        return arguments


@dataclass(frozen=True)
class Definition:
    """A definition that can run: parameters and all steps, those inside conditions too, in a valid order."""

    parameters: Mapping[str, Parameter]
    steps: Mapping[str, Step]

    def values(self, given: list[dict[str, str]]) -> dict[str, Any]:
        """The parameters of an execution; raises DefinitionError for unknown, missing or wrong ones."""
        unknown = sorted({p["Name"] for p in given} - self.parameters.keys())
        if unknown:
            known = ", ".join(self.parameters) or "none"
            raise DefinitionError(f"The pipeline has no parameter {', '.join(map(repr, unknown))}; it has: {known}.")
        values = {name: p.default for name, p in self.parameters.items() if p.default is not None}
        values.update({p["Name"]: self.parameters[p["Name"]].parse(p.get("Value", "")) for p in given})
        missing = sorted(self.parameters.keys() - values.keys())
        if missing:
            names = ", ".join(map(repr, missing))
            raise DefinitionError(f"Parameter {names} has no default value: give it in PipelineParameters.")
        return values


def parse(text: str) -> Definition:
    """Read and check a definition; raises DefinitionError."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise DefinitionError(f"The pipeline definition is not valid JSON: {error}") from error
    if not isinstance(document, dict) or document.get("Version") != VERSION:
        raise DefinitionError(f"The pipeline definition must be an object with Version {VERSION!r}.")
    steps = document.get("Steps")
    if not isinstance(steps, list) or not steps:
        raise DefinitionError("The pipeline definition needs a list Steps with at least one step.")
    parameters = _parameters(document.get("Parameters") or [])
    found: dict[str, Step] = {}
    for step in _steps(steps, None):
        if step.name in found:
            raise DefinitionError(f"Step {step.name!r}: the name occurs twice.")
        found[step.name] = step
    for step in found.values():
        try:
            _check_step(step, found, parameters)
        except ExpressionError as error:
            raise DefinitionError(f"Step {step.name!r}: {error}.") from error
    return Definition(parameters, _in_order(found))


def _parameters(documents: list[Any]) -> dict[str, Parameter]:
    parameters: dict[str, Parameter] = {}
    for document in documents:
        name, kind = document.get("Name"), document.get("Type")
        if kind not in _PARAMETER_TYPES or not isinstance(name, str) or name in parameters:
            expected = f"a name of its own and a Type out of {', '.join(_PARAMETER_TYPES)}"
            raise DefinitionError(f"Parameter {name!r} needs {expected}, got {document!r}.")
        default = document.get("DefaultValue")
        good = isinstance(default, _PARAMETER_TYPES[kind]) and (isinstance(default, bool) == (kind == "Boolean"))
        if default is not None and not good:
            raise DefinitionError(f"Parameter {name!r}: DefaultValue must be of type {kind}, got {default!r}.")
        parameters[name] = Parameter(name, kind, default, tuple(document.get("EnumValues") or ()))
    return parameters


def _steps(documents: Any, branch: tuple[str, bool] | None) -> Iterator[Step]:
    """All steps, a condition before those inside it."""
    if not isinstance(documents, list):
        raise DefinitionError(f"Expected a list of steps, got {documents!r}.")
    for position, document in enumerate(documents):
        name = document.get("Name") if isinstance(document, dict) else None
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise DefinitionError(f"Step {position + 1} needs a Name of letters, digits, - and _, got {name!r}.")
        kind = document.get("Type")
        if kind not in STEP_TYPES:
            known = ", ".join(STEP_TYPES)
            raise DefinitionError(f"Step {name!r} has the type {kind!r}; the stand-in account runs: {known}.")
        arguments = document.get("Arguments", {})
        if not isinstance(arguments, dict):
            raise DefinitionError(f"Step {name!r}: Arguments must be an object, got {arguments!r}.")
        yield Step(name, kind, document, _needs(name, document, branch), branch)
        if kind == "Condition":
            yield from _steps(arguments.get("IfSteps") or [], (name, True))
            yield from _steps(arguments.get("ElseSteps") or [], (name, False))


def _needs(name: str, document: dict[str, Any], branch: tuple[str, bool] | None) -> frozenset[str]:
    depends_on = document.get("DependsOn") or []
    if not isinstance(depends_on, list):
        raise DefinitionError(f"Step {name!r}: DependsOn must be a list of step names, got {depends_on!r}.")
    try:
        referred = {r.name for r in references(_own(document)) if r.kind == "Steps"}
    except ExpressionError as error:
        raise DefinitionError(f"Step {name!r}: {error}.") from error
    return frozenset(referred | set(depends_on) | ({branch[0]} if branch else set()))


def _own(document: dict[str, Any]) -> dict[str, Any]:
    """A step without the steps inside it."""
    arguments = {k: v for k, v in document.get("Arguments", {}).items() if k not in ("IfSteps", "ElseSteps")}
    return {**document, "Arguments": arguments}


def _check_step(step: Step, steps: Mapping[str, Step], parameters: Mapping[str, Parameter]) -> None:
    for name in sorted(step.needs - steps.keys()):
        raise ExpressionError(f"it refers to step {name!r}, which the pipeline does not have")
    for reference in references(_own(step.document)):
        _check_reference(reference, steps, parameters)
    if step.type == "Condition":
        for condition in step.arguments.get("Conditions") or []:
            check_condition(condition)
        if not step.arguments.get("Conditions"):
            raise ExpressionError("a Condition step needs at least one condition")
    elif step.type in ACTIONS:
        action, filled_in, _ = ACTIONS[step.type]
        shape = _model().operation_model(action).input_shape
        _check_arguments(step.arguments, shape, "Arguments", {filled_in, "ClientToken"})
    elif step.type == "Lambda" and "FunctionArn" not in step.document:
        raise ExpressionError("a Lambda step needs FunctionArn")
    elif step.type == "Fail" and "ErrorMessage" not in step.arguments:
        raise ExpressionError("a Fail step needs Arguments.ErrorMessage")


def _check_reference(reference: Reference, steps: Mapping[str, Step], parameters: Mapping[str, Parameter]) -> None:
    if reference.kind == "Parameters" and reference.name not in parameters:
        raise ExpressionError(f"{reference.text} refers to a parameter that the pipeline does not have")
    if reference.kind == "Execution" and reference.name not in EXECUTION_VARIABLES:
        raise ExpressionError(f"{reference.text} is not one of {', '.join(sorted(EXECUTION_VARIABLES))}")
    if reference.kind == "Steps":
        _check_property(reference, steps[reference.name])


def _check_property(reference: Reference, step: Step) -> None:
    path = reference.path
    if not path:
        raise ExpressionError(f"{reference.text} must name a property of the step")
    if path[0] == "PropertyFiles":
        names = {f["PropertyFileName"] for f in step.document.get("PropertyFiles") or []}
        if len(path) != 2 or path[1] not in names:
            raise ExpressionError(f"{reference.text}: step {step.name!r} has the property files {sorted(names)}")
    elif step.type == "Lambda":
        names = {o["OutputName"] for o in step.document.get("OutputParameters") or []}
        if len(path) != 2 or path[0] != "OutputParameters" or path[1] not in names:
            raise ExpressionError(f"{reference.text}: step {step.name!r} has the output parameters {sorted(names)}")
    elif step.type == "Condition":
        if path != ("Outcome",):
            raise ExpressionError(f"{reference.text}: a Condition step has the property Outcome only")
    elif step.type == "Fail":
        raise ExpressionError(f"{reference.text}: a Fail step has no properties")
    else:
        _check_shape_path(reference, _model().operation_model(ACTIONS[step.type][2]).output_shape)


def _check_shape_path(reference: Reference, shape: Any) -> None:
    for part in reference.path:
        if shape.type_name == "structure" and part in shape.members:
            shape = shape.members[str(part)]
        elif shape.type_name == "list":
            shape = shape.member
        elif shape.type_name == "map":
            shape = shape.value
        else:
            raise ExpressionError(f"{reference.text}: there is no property {part!r}")


def _check_arguments(value: Any, shape: Any, path: str, filled_in: set[str]) -> None:
    """Refuse members that the API does not have, and say which ones it needs."""
    if is_expression(value):
        return
    if shape.type_name == "structure" and isinstance(value, dict):
        unknown = sorted(value.keys() - shape.members.keys())
        if unknown:
            raise ExpressionError(f"{path} has the unknown member {unknown[0]!r}")
        missing = sorted(set(shape.required_members) - value.keys() - filled_in)
        if missing:
            raise ExpressionError(f"{path} lacks the member {missing[0]!r}")
        for name, member in value.items():
            _check_arguments(member, shape.members[name], f"{path}.{name}", set())
    elif shape.type_name == "list" and isinstance(value, list):
        for position, member in enumerate(value):
            _check_arguments(member, shape.member, f"{path}[{position}]", set())


@functools.cache
def _model() -> Any:
    return botocore.session.get_session().get_service_model("sagemaker")


def _in_order(steps: dict[str, Step]) -> dict[str, Step]:
    """The steps so that each comes after what it needs; raises DefinitionError when they wait for each other."""
    ordered: dict[str, Step] = {}
    waiting = dict(steps)
    while waiting:
        ready = [step for step in waiting.values() if step.needs <= ordered.keys()]
        if not ready:
            raise DefinitionError(f"The steps {', '.join(map(repr, waiting))} wait for each other (a cycle).")
        for step in ready:
            ordered[step.name] = waiting.pop(step.name)
    return ordered
