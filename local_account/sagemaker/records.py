"""What SageMaker's tables hold, in the shapes that ``Describe*`` answers, times as epoch seconds.

Runs in the server process. Members that begin with an underscore are the account's own and never leave it. The shapes
inside are those of the requests that made the resource (``types-boto3-sagemaker``, generated from AWS's model).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypedDict

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        AdditionalInferenceSpecificationDefinitionOutputTypeDef,
        AutoRollbackConfigOutputTypeDef,
        BlueGreenUpdatePolicyTypeDef,
        ContainerDefinitionOutputTypeDef,
        DataCaptureConfigOutputTypeDef,
        InferenceSpecificationOutputTypeDef,
        ParallelismConfigurationTypeDef,
        ParameterTypeDef,
        ProductionVariantOutputTypeDef,
        ProductionVariantServerlessConfigTypeDef,
        RollingUpdatePolicyTypeDef,
        SelectiveExecutionConfigOutputTypeDef,
        VpcConfigOutputTypeDef,
    )

    from local_account.protocol.actions import Json


class ModelRecord(TypedDict):
    """A model; either ``PrimaryContainer`` or ``Containers`` is there."""

    ModelName: str
    ModelArn: str
    CreationTime: float
    EnableNetworkIsolation: bool
    PrimaryContainer: NotRequired[ContainerDefinitionOutputTypeDef]
    Containers: NotRequired[list[ContainerDefinitionOutputTypeDef]]
    ExecutionRoleArn: NotRequired[str]
    VpcConfig: NotRequired[VpcConfigOutputTypeDef]


class ModelPackageGroupRecord(TypedDict):
    """A model package group."""

    ModelPackageGroupName: str
    ModelPackageGroupArn: str
    ModelPackageGroupDescription: NotRequired[str]
    CreationTime: float
    CreatedBy: dict[str, str]
    ModelPackageGroupStatus: str


class ModelPackageRecord(TypedDict):
    """A model package: a version of a group, or one with a name of its own."""

    ModelPackageArn: str
    ModelPackageGroupName: NotRequired[str]
    ModelPackageVersion: NotRequired[int]
    ModelApprovalStatus: NotRequired[str]
    InferenceSpecification: NotRequired[InferenceSpecificationOutputTypeDef]
    AdditionalInferenceSpecifications: NotRequired[list[AdditionalInferenceSpecificationDefinitionOutputTypeDef]]
    CustomerMetadataProperties: NotRequired[dict[str, str]]
    CreationTime: float
    LastModifiedTime: float


class RequestToken(TypedDict):
    """What the request with a ClientRequestToken made."""

    Arn: str


class PipelineRecord(TypedDict):
    """A pipeline."""

    PipelineArn: str
    PipelineName: str
    PipelineDefinition: str
    RoleArn: str
    ParallelismConfiguration: NotRequired[ParallelismConfigurationTypeDef]
    CreationTime: float
    LastModifiedTime: float
    LastRunTime: NotRequired[float]


class StepOutput(TypedDict):
    """An output parameter of a Lambda step."""

    Name: str
    Value: str


class StepMetadata(TypedDict, total=False):
    """What a step made or decided."""

    Arn: str
    CallbackToken: str
    SqsQueueUrl: str
    OutputParameters: list[StepOutput]
    Outcome: str
    ErrorMessage: str


class StepRecord(TypedDict, total=False):
    """A step of an execution, as far as it has come."""

    StepName: str
    StepDisplayName: str
    StepDescription: str
    StepStatus: str
    AttemptCount: int
    StartTime: float
    EndTime: float
    FailureReason: str
    Metadata: dict[str, StepMetadata]
    """By the kind of step, as ListPipelineExecutionSteps names it: TrainingJob, Model, Lambda..."""
    CacheKey: str
    CacheHitResult: dict[str, str]
    SelectiveExecutionResult: dict[str, str]


class ExecutionRecord(TypedDict):
    """An execution of a pipeline; ``Definition``, ``Parameters``, ``Values`` and ``Steps`` are the account's own."""

    PipelineArn: str
    PipelineExecutionArn: str
    PipelineExecutionDisplayName: str
    PipelineExecutionDescription: NotRequired[str]
    PipelineExecutionStatus: str
    FailureReason: NotRequired[str]
    ParallelismConfiguration: NotRequired[ParallelismConfigurationTypeDef]
    CreationTime: float
    LastModifiedTime: float
    CreatedBy: dict[str, str]
    LastModifiedBy: dict[str, str]
    PipelineVersionId: NotRequired[int]
    RoleArn: NotRequired[str]
    """In whose name the steps call, where it is not the pipeline's."""
    PipelineExperimentConfig: NotRequired[dict[str, str]]
    SelectiveExecutionConfig: NotRequired[SelectiveExecutionConfigOutputTypeDef]
    Definition: str
    Parameters: list[ParameterTypeDef]
    Values: dict[str, Json]
    Steps: dict[str, StepRecord]


class Container(TypedDict):
    """The part of a container definition that a model server needs."""

    image: str
    model_data: str
    compressed: bool
    environment: dict[str, str]
    role: NotRequired[str]  # state of an older version has none
    isolated: NotRequired[bool]


class VariantStatus(TypedDict):
    """What a variant is doing."""

    Status: str
    StatusMessage: str
    StartTime: float


class VariantRecord(TypedDict):
    """A variant as it was deployed: the configuration's members, and what its model was then."""

    VariantName: str
    ModelName: str
    InitialVariantWeight: float
    InitialInstanceCount: NotRequired[int]
    ServerlessConfig: NotRequired[ProductionVariantServerlessConfigTypeDef]
    ContainerStartupHealthCheckTimeoutInSeconds: NotRequired[int]
    container: Container
    _status: NotRequired[VariantStatus]


class EndpointSource(TypedDict):
    """What an endpoint was made from: its configuration and models may be deleted meanwhile."""

    variants: list[VariantRecord]
    shadows: NotRequired[list[VariantRecord]]  # state of an older version has none
    capture: DataCaptureConfigOutputTypeDef | None


class DeploymentConfig(TypedDict):
    """How an update of an endpoint shifts the traffic: by one of the policies, or all at once."""

    BlueGreenUpdatePolicy: NotRequired[BlueGreenUpdatePolicyTypeDef]
    RollingUpdatePolicy: NotRequired[RollingUpdatePolicyTypeDef]
    AutoRollbackConfiguration: NotRequired[AutoRollbackConfigOutputTypeDef]


class PendingUpdate(TypedDict):
    """The update that an endpoint is going through."""

    config: str
    source: EndpointSource
    start: float
    deployment: NotRequired[DeploymentConfig]
    rolled_back: NotRequired[bool]
    counts: NotRequired[dict[str, int]]
    status: NotRequired[VariantStatus]


class EndpointConfigRecord(TypedDict):
    """An endpoint configuration."""

    EndpointConfigName: str
    EndpointConfigArn: str
    CreationTime: float
    ProductionVariants: list[ProductionVariantOutputTypeDef]
    ShadowProductionVariants: NotRequired[list[ProductionVariantOutputTypeDef]]
    DataCaptureConfig: NotRequired[DataCaptureConfigOutputTypeDef]


class EndpointRecord(TypedDict):
    """An endpoint."""

    EndpointName: str
    EndpointArn: str
    EndpointConfigName: str
    EndpointStatus: str
    FailureReason: NotRequired[str]
    LastDeploymentConfig: NotRequired[DeploymentConfig]
    CreationTime: float
    LastModifiedTime: float
    _source: EndpointSource
    _pending: NotRequired[PendingUpdate]
