"""What a step of a pipeline refers to and calls, checked when the pipeline is created and not when it runs.

Pure, over botocore's model of SageMaker. Every check raises PipelineExpressionError.
"""

from __future__ import annotations

import functools
from collections.abc import Container, Mapping
from typing import TYPE_CHECKING

import botocore.session

from local_account.protocol.actions import Json
from local_account.sagemaker.pipelines.documents import ACTIONS, PipelineStep, conditions_of, own_document
from local_account.sagemaker.pipelines.expressions import (
    EXECUTION_VARIABLES,
    GetReference,
    PipelineExpressionError,
    check_condition,
    is_expression,
    references,
)

if TYPE_CHECKING:
    from botocore.model import ServiceModel, Shape


def check_step(step: PipelineStep, steps: Mapping[str, PipelineStep], parameters: Container[str]) -> None:
    """Refuse a step that refers to what is not there, or whose action does not take its arguments."""
    for name in sorted(step.needs - steps.keys()):
        raise PipelineExpressionError(f"it refers to step {name!r}, which the pipeline does not have")
    for reference in references(own_document(step.document)):
        _check_reference(reference, steps, parameters)
    if step.type == "Condition":
        if not conditions_of(step):
            raise PipelineExpressionError("a Condition step needs at least one condition")
        for condition in conditions_of(step):
            check_condition(condition)
    elif step.type in ACTIONS:
        action, filled_in, _ = ACTIONS[step.type]
        shape = _model().operation_model(action).input_shape
        _check_arguments(step.arguments, shape, "Arguments", {filled_in, "ClientToken"})
    elif step.type == "Lambda" and "FunctionArn" not in step.document:
        raise PipelineExpressionError("a Lambda step needs FunctionArn")
    elif step.type == "Fail" and "ErrorMessage" not in step.arguments:
        raise PipelineExpressionError("a Fail step needs Arguments.ErrorMessage")


def _check_reference(reference: GetReference, steps: Mapping[str, PipelineStep], parameters: Container[str]) -> None:
    if reference.kind == "Parameters" and reference.name not in parameters:
        raise PipelineExpressionError(f"{reference.text} refers to a parameter that the pipeline does not have")
    if reference.kind == "Execution" and reference.name not in EXECUTION_VARIABLES:
        raise PipelineExpressionError(f"{reference.text} is not one of {', '.join(sorted(EXECUTION_VARIABLES))}")
    if reference.kind == "Steps":
        _check_property(reference, steps[reference.name])


def _check_property(reference: GetReference, step: PipelineStep) -> None:
    path = reference.path
    if not path:
        raise PipelineExpressionError(f"{reference.text} must name a property of the step")
    if path[0] == "PropertyFiles":
        names = {f["PropertyFileName"] for f in step.document.get("PropertyFiles") or []}
        if len(path) != 2 or path[1] not in names:
            raise PipelineExpressionError(
                f"{reference.text}: step {step.name!r} has the property files {sorted(names)}"
            )
    elif step.type == "Lambda":
        names = {o["OutputName"] for o in step.document.get("OutputParameters") or []}
        if len(path) != 2 or path[0] != "OutputParameters" or path[1] not in names:
            raise PipelineExpressionError(
                f"{reference.text}: step {step.name!r} has the output parameters {sorted(names)}"
            )
    elif step.type == "Condition":
        if path != ("Outcome",):
            raise PipelineExpressionError(f"{reference.text}: a Condition step has the property Outcome only")
    elif step.type == "Fail":
        raise PipelineExpressionError(f"{reference.text}: a Fail step has no properties")
    else:
        _check_shape_path(reference, _model().operation_model(ACTIONS[step.type][2]).output_shape)


def _check_shape_path(reference: GetReference, shape: Shape) -> None:
    for part in reference.path:
        if shape.type_name == "structure" and part in shape.members:
            shape = shape.members[str(part)]
        elif shape.type_name == "list":
            shape = shape.member
        elif shape.type_name == "map":
            shape = shape.value
        else:
            raise PipelineExpressionError(f"{reference.text}: there is no property {part!r}")


def _check_arguments(value: Json, shape: Shape, path: str, filled_in: set[str]) -> None:
    """Refuse members that the API does not have, and say which ones it needs."""
    if is_expression(value):
        return
    if shape.type_name == "structure" and isinstance(value, dict):
        unknown = sorted(value.keys() - shape.members.keys())
        if unknown:
            raise PipelineExpressionError(f"{path} has the unknown member {unknown[0]!r}")
        missing = sorted(set(shape.required_members) - value.keys() - filled_in)
        if missing:
            raise PipelineExpressionError(f"{path} lacks the member {missing[0]!r}")
        for name, member in value.items():
            _check_arguments(member, shape.members[name], f"{path}.{name}", set())
    elif shape.type_name == "list" and isinstance(value, list):
        for position, member in enumerate(value):
            _check_arguments(member, shape.member, f"{path}[{position}]", set())


@functools.cache
def _model() -> ServiceModel:
    return botocore.session.get_session().get_service_model("sagemaker")
