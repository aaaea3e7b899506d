"""What the tables of jobs hold, in the shapes that ``Describe*Job`` answers, times as epoch seconds.

Runs in the server process. The shapes inside are those of the requests that made the job (``types-boto3-sagemaker``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypedDict

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        AlgorithmSpecificationOutputTypeDef,
        AppSpecificationOutputTypeDef,
        BatchDataCaptureConfigTypeDef,
        ChannelOutputTypeDef,
        CheckpointConfigTypeDef,
        DataProcessingTypeDef,
        DebugHookConfigOutputTypeDef,
        HyperParameterTrainingJobDefinitionOutputTypeDef,
        HyperParameterTuningJobConfigOutputTypeDef,
        HyperParameterTuningJobWarmStartConfigOutputTypeDef,
        NetworkConfigOutputTypeDef,
        OutputDataConfigTypeDef,
        ProcessingInputTypeDef,
        ProcessingOutputConfigOutputTypeDef,
        ProcessingResourcesTypeDef,
        ResourceConfigOutputTypeDef,
        StoppingConditionTypeDef,
        TensorBoardOutputConfigTypeDef,
        TransformInputTypeDef,
        TransformOutputTypeDef,
        TransformResourcesTypeDef,
    )


class StatusTransition(TypedDict):
    """A secondary status of a training job."""

    Status: str
    StartTime: float
    EndTime: NotRequired[float]
    StatusMessage: str


class ProcessingJobRecord(TypedDict):
    """A processing job."""

    ProcessingJobName: str
    ProcessingResources: ProcessingResourcesTypeDef
    AppSpecification: AppSpecificationOutputTypeDef
    ProcessingInputs: NotRequired[list[ProcessingInputTypeDef]]
    ProcessingOutputConfig: NotRequired[ProcessingOutputConfigOutputTypeDef]
    Environment: NotRequired[dict[str, str]]
    NetworkConfig: NotRequired[NetworkConfigOutputTypeDef]
    ExitMessage: NotRequired[str]


class TrainingJobRecord(TypedDict):
    """A training job; what it lacks of AlgorithmSpecification and ResourceConfig was refused."""

    TrainingJobName: str
    TrainingJobArn: str
    AlgorithmSpecification: AlgorithmSpecificationOutputTypeDef
    ResourceConfig: ResourceConfigOutputTypeDef
    OutputDataConfig: OutputDataConfigTypeDef
    StoppingCondition: StoppingConditionTypeDef
    HyperParameters: NotRequired[dict[str, str]]
    Environment: NotRequired[dict[str, str]]
    InputDataConfig: NotRequired[list[ChannelOutputTypeDef]]
    CheckpointConfig: NotRequired[CheckpointConfigTypeDef]
    DebugHookConfig: NotRequired[DebugHookConfigOutputTypeDef]
    TensorBoardOutputConfig: NotRequired[TensorBoardOutputConfigTypeDef]
    EnableManagedSpotTraining: NotRequired[bool]
    EnableNetworkIsolation: NotRequired[bool]
    CreationTime: float
    TrainingStartTime: NotRequired[float]
    SecondaryStatus: NotRequired[str]
    SecondaryStatusTransitions: NotRequired[list[StatusTransition]]
    FinalMetricDataList: NotRequired[list[FinalMetric]]
    ModelArtifacts: NotRequired[dict[str, str]]
    TrainingTimeInSeconds: NotRequired[int]
    BillableTimeInSeconds: NotRequired[int]


class FinalMetric(TypedDict):
    """The last value of a metric that a training job's log named."""

    MetricName: str
    Value: float
    Timestamp: float


class TransformJobRecord(TypedDict):
    """A batch transform job."""

    TransformJobName: str
    ModelName: str
    TransformInput: TransformInputTypeDef
    TransformOutput: TransformOutputTypeDef
    TransformResources: TransformResourcesTypeDef
    BatchStrategy: NotRequired[str]
    DataProcessing: NotRequired[DataProcessingTypeDef]
    DataCaptureConfig: NotRequired[BatchDataCaptureConfigTypeDef]
    MaxPayloadInMB: NotRequired[int]
    MaxConcurrentTransforms: NotRequired[int]
    Environment: NotRequired[dict[str, str]]


class TriedJob(TypedDict):
    """A training job of a tuning job; ``value`` is its objective, once it has completed and told it.

    ``definition``: the name of its definition, where the tuning job has several.
    """

    name: str
    definition: NotRequired[str]
    hyperparameters: dict[str, str]
    value: NotRequired[float]


class TuningJobRecord(TypedDict):
    """A tuning job; ``_tried`` is the account's own."""

    HyperParameterTuningJobName: str
    HyperParameterTuningJobArn: str
    HyperParameterTuningJobConfig: HyperParameterTuningJobConfigOutputTypeDef
    TrainingJobDefinition: NotRequired[HyperParameterTrainingJobDefinitionOutputTypeDef]
    TrainingJobDefinitions: NotRequired[list[HyperParameterTrainingJobDefinitionOutputTypeDef]]
    HyperParameterTuningJobStatus: str
    CreationTime: float
    LastModifiedTime: float
    HyperParameterTuningEndTime: NotRequired[float]
    WarmStartConfig: NotRequired[HyperParameterTuningJobWarmStartConfigOutputTypeDef]
    FailureReason: NotRequired[str]
    _tried: list[TriedJob]
