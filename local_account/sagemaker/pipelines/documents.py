"""The steps of a pipeline definition, as its JSON says them.

Pure. The shapes are those of SageMaker Pipelines' definition schema, version 2020-12-01.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NotRequired, TypedDict

from local_account.protocol.actions import Json
from local_account.sagemaker.pipelines.expressions import PipelineExpressionError

# Step type: the action its arguments belong to, the member that the pipeline fills in, what its properties are.
ACTIONS = {
    "Processing": ("CreateProcessingJob", "ProcessingJobName", "DescribeProcessingJob"),
    "Training": ("CreateTrainingJob", "TrainingJobName", "DescribeTrainingJob"),
    "Transform": ("CreateTransformJob", "TransformJobName", "DescribeTransformJob"),
    "RegisterModel": ("CreateModelPackage", "", "DescribeModelPackage"),
    "Model": ("CreateModel", "ModelName", "DescribeModel"),
    "Tuning": ("CreateHyperParameterTuningJob", "HyperParameterTuningJobName", "DescribeHyperParameterTuningJob"),
}
STEP_TYPES = (*ACTIONS, "Condition", "Lambda", "Callback", "Fail")
WITH_OUTPUTS = ("Lambda", "Callback")
"""Step types whose properties are their OutputParameters."""
EXCEPTION_TYPES = {
    "Step.SERVICE_FAULT",
    "Step.THROTTLING",
    "SageMaker.JOB_INTERNAL_ERROR",
    "SageMaker.CAPACITY_ERROR",
    "SageMaker.RESOURCE_LIMIT",
}
"""What a retry policy may name (developer guide, retry policy for pipeline steps)."""
ELSEWHERE = {
    "ClarifyCheck": "its checks are images of AWS's own",
    "QualityCheck": "its checks are images of AWS's own",
    "EMR": "there are no EMR clusters",
    "EMRServerless": "there is no EMR Serverless",
    "AutoML": "there is no Autopilot",
}
"""Why step types that other pipelines have do not run here."""


class PropertyFile(TypedDict):
    """A JSON file of a processing job's output that expressions read."""

    PropertyFileName: str
    OutputName: str
    FilePath: str


class OutputParameter(TypedDict):
    """A value that a Lambda step's function, or who answers a callback, gives."""

    OutputName: str
    OutputType: NotRequired[str]


class RetryPolicy(TypedDict):
    """How often a step is tried again after exceptions of some types, and how long it waits."""

    ExceptionType: list[str]
    IntervalSeconds: NotRequired[float]
    BackoffRate: NotRequired[float]
    MaxAttempts: NotRequired[int]
    ExpireAfterMin: NotRequired[float]


class CacheConfig(TypedDict, total=False):
    """Whether an earlier result may be taken, and how old it may be, as an ISO 8601 duration."""

    Enabled: bool
    ExpireAfter: str


class StepDocument(TypedDict, total=False):
    """A step as a definition's JSON says it (SageMaker Pipelines' definition schema, 2020-12-01)."""

    Name: str
    Type: str
    DisplayName: str
    Description: str
    Arguments: dict[str, Json]
    DependsOn: list[str]
    CacheConfig: CacheConfig
    PropertyFiles: list[PropertyFile]
    RetryPolicies: list[RetryPolicy]
    FunctionArn: Json
    SqsQueueUrl: Json
    OutputParameters: list[OutputParameter]


_NUMBER = (int, float)
_STEP_SHAPE: Mapping[str, object] = {
    "DisplayName?": str,
    "Description?": str,
    "Arguments?": dict,
    "DependsOn?": [str],
    "CacheConfig?": {"Enabled?": bool, "ExpireAfter?": str},
    "PropertyFiles?": [{"PropertyFileName": str, "OutputName": str, "FilePath": str}],
    "OutputParameters?": [{"OutputName": str, "OutputType?": str}],
    "RetryPolicies?": [
        {
            "ExceptionType": [str],
            "IntervalSeconds?": _NUMBER,
            "BackoffRate?": _NUMBER,
            "MaxAttempts?": int,
            "ExpireAfterMin?": _NUMBER,
        }
    ],
}
"""What a step's members are: a type, a list of one shape, or members, of which those with ``?`` may be left out."""
_SHOWN = {str: "a text", dict: "an object", bool: "true or false", int: "a whole number", _NUMBER: "a number"}


def misshapen_member(value: object, shape: object = _STEP_SHAPE, path: str = "") -> str:
    """Which member of a step is of another type than the schema's, in a sentence; empty when none is."""
    if isinstance(shape, list):
        if not isinstance(value, list):
            return f"{path} must be a list, got {value!r}"
        found = (misshapen_member(one, shape[0], f"{path}[{number}]") for number, one in enumerate(value))
        return next(filter(None, found), "")
    if isinstance(shape, Mapping):
        if not isinstance(value, dict):
            return f"{path} must be an object, got {value!r}"
        found = (_misshapen_one(value, name, inner, path) for name, inner in shape.items())
        return next(filter(None, found), "")
    wrong = not isinstance(value, shape) or (isinstance(value, bool) and shape is not bool)  # type: ignore[arg-type]  # types are all that is left
    return f"{path} must be {_SHOWN[shape]}, got {value!r}" if wrong else ""


def _misshapen_one(held: Mapping[str, object], name: str, shape: object, path: str) -> str:
    key = name.removesuffix("?")
    where = f"{path}.{key}" if path else key
    if held.get(key) is None:
        return "" if name != key else f"{where} is needed"
    return misshapen_member(held[key], shape, where)


@dataclass(frozen=True)
class PipelineStep:
    """One step; ``branch`` is the condition step it lies in and the outcome that leads to it."""

    name: str
    type: str
    document: StepDocument
    needs: frozenset[str]
    branch: tuple[str, bool] | None

    @property
    def arguments(self) -> dict[str, Json]:
        """What the step's action is called with, before expressions are replaced."""
        return self.document.get("Arguments") or {}


def own_document(document: StepDocument) -> StepDocument:
    """A step without the steps inside it."""
    arguments = {k: v for k, v in (document.get("Arguments") or {}).items() if k not in ("IfSteps", "ElseSteps")}
    return {**document, "Arguments": arguments}


def conditions_of(step: PipelineStep) -> list[Json]:
    """The conditions of a Condition step; all must hold. Raises PipelineExpressionError when they are no list."""
    conditions = step.arguments.get("Conditions") or []
    if not isinstance(conditions, list):
        raise PipelineExpressionError(f"Conditions must be a list, got {conditions!r}")
    return conditions
