"""The steps of a pipeline definition, as its JSON says them.

Pure. The shapes are those of SageMaker Pipelines' definition schema, version 2020-12-01.
"""

from __future__ import annotations

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
}
STEP_TYPES = (*ACTIONS, "Condition", "Lambda", "Fail")


class PropertyFile(TypedDict):
    """A JSON file of a processing job's output that expressions read."""

    PropertyFileName: str
    OutputName: str
    FilePath: str


class OutputParameter(TypedDict):
    """A value that a Lambda step's function answers."""

    OutputName: str


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
    OutputParameters: list[OutputParameter]


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
        return self.document.get("Arguments", {})


def own_document(document: StepDocument) -> StepDocument:
    """A step without the steps inside it."""
    arguments = {k: v for k, v in document.get("Arguments", {}).items() if k not in ("IfSteps", "ElseSteps")}
    return {**document, "Arguments": arguments}


def conditions_of(step: PipelineStep) -> list[Json]:
    """The conditions of a Condition step; all must hold. Raises PipelineExpressionError when they are no list."""
    conditions = step.arguments.get("Conditions") or []
    if not isinstance(conditions, list):
        raise PipelineExpressionError(f"Conditions must be a list, got {conditions!r}")
    return conditions
