"""What a step of a pipeline refers to and calls, checked when the pipeline is created and not when it runs.

Pure, over botocore's model of SageMaker. Every check raises PipelineExpressionError.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING

import botocore.session

from local_account.protocol.actions import Json
from local_account.sagemaker.pipelines.cache import duration_s
from local_account.sagemaker.pipelines.documents import (
    ACTIONS,
    EXCEPTION_TYPES,
    WITH_OUTPUTS,
    CacheConfig,
    PipelineStep,
    conditions_of,
    own_document,
)
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


class InAwsWordsError(PipelineExpressionError):
    """A refusal whose whole sentence is AWS's, which does not name the step."""


def check_step(step: PipelineStep, steps: Mapping[str, PipelineStep], parameters: Mapping[str, str]) -> None:
    """Refuse a step that refers to what is not there, or whose action does not take its arguments.

    ``parameters`` are the pipeline's, with their types.
    """
    _check_members(step)
    for name in sorted(step.needs - steps.keys()):
        raise PipelineExpressionError(f"it refers to step {name!r}, which the pipeline does not have")
    for name in sorted(step.needs):
        if steps[name].type == "Fail":
            raise PipelineExpressionError(f"it depends on {name!r}, a Fail step, which ends the execution")
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
        _check_texts(step.arguments, shape, "Arguments", parameters)
        _check_enumerations(step.arguments, shape)
    elif (needed := _NEEDED.get(step.type)) and needed not in step.document:
        raise PipelineExpressionError(f"a {step.type} step needs {needed}")


_MEMBERS = {"Name", "Type", "DisplayName", "Description", "Arguments", "DependsOn"}
_OWN_MEMBERS = {
    "Processing": {"CacheConfig", "PropertyFiles", "RetryPolicies"},
    "Training": {"CacheConfig", "RetryPolicies"},
    "Transform": {"CacheConfig", "RetryPolicies"},
    "Tuning": {"CacheConfig", "RetryPolicies"},
    "RegisterModel": {"RetryPolicies"},
    "Model": {"RetryPolicies"},
    "Lambda": {"CacheConfig", "FunctionArn", "OutputParameters"},
    "Callback": {"CacheConfig", "SqsQueueUrl", "OutputParameters"},
}
_NEEDED = {"Lambda": "FunctionArn", "Callback": "SqsQueueUrl"}
_OF_A_CONDITION = {"Conditions", "IfSteps", "ElseSteps"}


def _check_members(step: PipelineStep) -> None:
    """Refuse what the schema of definitions does not have (Amazon SageMaker Pipeline Definition JSON Schema)."""
    if unknown := step.document.keys() - _MEMBERS - _OWN_MEMBERS.get(step.type, set()):
        raise PipelineExpressionError(f"a {step.type} step has no member {min(unknown)!r}")
    known = {"Condition": _OF_A_CONDITION, "Fail": {"ErrorMessage"}}.get(step.type)
    if known and (unknown := step.arguments.keys() - known):
        raise PipelineExpressionError(f"Arguments has the unknown member {min(unknown)!r}")
    for policy in step.document.get("RetryPolicies") or []:
        if others := set(policy["ExceptionType"]) - EXCEPTION_TYPES:
            all_types = ", ".join(sorted(EXCEPTION_TYPES))
            raise PipelineExpressionError(f"RetryPolicies: ExceptionType must be of {all_types}, got {min(others)!r}")
    if cache := step.document.get("CacheConfig"):
        _check_cache(cache)


def _check_cache(config: CacheConfig) -> None:
    if unknown := config.keys() - {"Enabled", "ExpireAfter"}:
        raise PipelineExpressionError(f"CacheConfig has the unknown member {min(unknown)!r}")
    if not isinstance(config.get("Enabled"), bool):
        raise PipelineExpressionError(f"CacheConfig.Enabled must be true or false, got {config.get('Enabled')!r}")
    if config["Enabled"] and "ExpireAfter" not in config:
        raise PipelineExpressionError("CacheConfig needs ExpireAfter, an ISO 8601 duration, when Enabled is true")
    if "ExpireAfter" in config:
        try:
            duration_s(str(config["ExpireAfter"]))
        except ValueError as error:
            raise PipelineExpressionError(f"CacheConfig.ExpireAfter: {error}") from error


def _check_reference(reference: GetReference, steps: Mapping[str, PipelineStep], parameters: Mapping[str, str]) -> None:
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
    elif step.type in WITH_OUTPUTS:
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
    elif step.type == "Tuning" and path[0] == "TrainingJobSummaries":
        listed = _model().operation_model("ListTrainingJobsForHyperParameterTuningJob").output_shape
        _check_shape_path(reference, listed)
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
            raise InAwsWordsError(f"Unknown Argument member '{unknown[0]}'")
        missing = sorted(set(shape.required_members) - value.keys() - filled_in)
        if missing:
            raise PipelineExpressionError(f"{path} lacks the member {missing[0]!r}")
        for name, member in value.items():
            _check_arguments(member, shape.members[name], f"{path}.{name}", set())
    elif shape.type_name == "list" and isinstance(value, list):
        for position, member in enumerate(value):
            _check_arguments(member, shape.member, f"{path}[{position}]", set())


def _check_texts(value: Json, shape: Shape, path: str, parameters: Mapping[str, str]) -> None:
    """Refuse a parameter that is no text where the API takes one: SageMaker does not convert it."""
    if is_expression(value):
        direct = isinstance(value, dict) and "Get" in value and shape.type_name == "string"
        for found in references(value) if direct else ():
            kind = parameters.get(found.name, "String")
            if found.kind == "Parameters" and kind != "String":
                raise PipelineExpressionError(f"{path} takes a text, and the parameter {found.name!r} is {kind}")
    elif isinstance(value, dict) and shape.type_name in {"structure", "map"}:
        for name, member in value.items():
            inner = shape.members[name] if shape.type_name == "structure" else shape.value
            _check_texts(member, inner, f"{path}.{name}", parameters)
    elif isinstance(value, list) and shape.type_name == "list":
        for position, member in enumerate(value):
            _check_texts(member, shape.member, f"{path}[{position}]", parameters)


def _check_enumerations(value: Json, shape: Shape) -> None:
    """Refuse a text that is none of those that the API has, in AWS's words."""
    if is_expression(value):
        return
    if isinstance(value, dict) and shape.type_name in {"structure", "map"}:
        for name, member in value.items():
            _check_enumerations(member, shape.members[name] if shape.type_name == "structure" else shape.value)
    elif isinstance(value, list) and shape.type_name == "list":
        for member in value:
            _check_enumerations(member, shape.member)
    elif isinstance(value, str) and (known := shape.metadata.get("enum")) and value not in known:
        raise InAwsWordsError(
            f"Model Validation failed: Value '{value}' for '{shape.name}' failed to satisfy enum value set: "
            f"[{', '.join(known)}]"
        )


@functools.cache
def _model() -> ServiceModel:
    return botocore.session.get_session().get_service_model("sagemaker")
