"""What CodePipeline keeps: pipelines, executions, what their actions did, and the states of stages; times in seconds.

Runs in the server process. Members in the shapes that the service answers; some more are the account's own.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict


class NamedArtifact(TypedDict):
    """An artifact by its name in the pipeline."""

    name: str


class ActionType(TypedDict):
    """What kind of action it is; ``category`` and ``provider`` say which of ours does it."""

    category: str
    owner: str
    provider: str
    version: str


class ActionDeclaration(TypedDict):
    """One action of a pipeline."""

    name: str
    actionTypeId: ActionType
    runOrder: NotRequired[int]
    configuration: NotRequired[dict[str, str]]
    inputArtifacts: NotRequired[list[NamedArtifact]]
    outputArtifacts: NotRequired[list[NamedArtifact]]
    roleArn: NotRequired[str]
    namespace: NotRequired[str]


class StageDeclaration(TypedDict):
    """One stage of a pipeline."""

    name: str
    actions: list[ActionDeclaration]


class StoreKey(TypedDict):
    """The KMS key that a pipeline's artifacts are encrypted with."""

    id: str
    type: str


class ArtifactStore(TypedDict):
    """Where a pipeline's artifacts lie; ``location`` is a bucket."""

    type: str
    location: str
    encryptionKey: NotRequired[StoreKey]


class VariableDeclaration(TypedDict):
    """A variable of a pipeline."""

    name: str
    defaultValue: NotRequired[str]


class PipelineDeclaration(TypedDict):
    """A pipeline as it is asked for, with its version."""

    name: str
    roleArn: str
    stages: list[StageDeclaration]
    artifactStore: ArtifactStore
    version: int
    executionMode: str
    pipelineType: str
    variables: NotRequired[list[VariableDeclaration]]


class PipelineTag(TypedDict):
    """A tag."""

    key: str
    value: str


class CodePipelineRecord(TypedDict):
    """A pipeline as it is kept: its last version only."""

    pipeline: PipelineDeclaration
    tags: list[PipelineTag]
    created: float
    updated: float


class ArtifactPlace(TypedDict):
    """Where an artifact of an execution lies in S3."""

    bucket: str
    key: str


class Revision(TypedDict):
    """What a source action fetched."""

    revisionId: str
    revisionSummary: str


class SourceRevision(Revision):
    """What a source action fetched, and which artifact it is now."""

    artifact: str


class ActionFailure(TypedDict):
    """Why an action failed."""

    code: str
    message: str


class ActionRecord(TypedDict):
    """One run of an action; ``token`` is there while a person is waited for."""

    actionExecutionId: str
    stageName: str
    actionName: str
    actionTypeId: ActionType
    startTime: float
    lastUpdateTime: float
    status: str
    configuration: dict[str, str]
    inputs: dict[str, ArtifactPlace | None]
    resolvedConfiguration: NotRequired[dict[str, str]]
    outputs: NotRequired[dict[str, ArtifactPlace]]
    outputVariables: NotRequired[dict[str, str]]
    revision: NotRequired[Revision]
    externalExecutionId: NotRequired[str]
    logStreamARN: NotRequired[str]
    summary: NotRequired[str]
    token: NotRequired[str]
    errorDetails: NotRequired[ActionFailure]


class Trigger(TypedDict):
    """What started an execution."""

    triggerType: str
    triggerDetail: NotRequired[str]


class ResolvedVariable(TypedDict):
    """A variable of a pipeline with its value in one execution."""

    name: str
    resolvedValue: str


class CodePipelineExecution(TypedDict):
    """One execution of a pipeline; ``definition`` is the pipeline as it was when the execution began."""

    pipelineName: str
    pipelineVersion: int
    pipelineExecutionId: str
    status: str
    statusSummary: NotRequired[str]
    stopReason: NotRequired[str]
    startTime: float
    lastUpdateTime: float
    trigger: Trigger
    executionMode: str
    variables: list[ResolvedVariable]
    overrides: dict[str, dict[str, str]]
    definition: PipelineDeclaration
    attempt: float
    stage: str
    artifacts: dict[str, ArtifactPlace]
    namespaces: dict[str, dict[str, str]]
    revisions: dict[str, SourceRevision]
    stages: dict[str, str]
    actions: list[ActionRecord]


class StageState(TypedDict):
    """Which execution was in a stage last, and how that went."""

    pipelineExecutionId: str
    status: str
    type: str


class ClosedTransition(TypedDict):
    """Why and since when nothing may enter a stage."""

    reason: str
    at: float


class ConnectionRecord(TypedDict):
    """A connection; ``tags`` by key."""

    ConnectionName: str
    ConnectionArn: str
    ProviderType: str
    OwnerAccountId: str
    tags: dict[str, str]
