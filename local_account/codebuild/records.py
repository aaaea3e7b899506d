"""What CodeBuild keeps: projects, builds and reports, in the shapes that the service answers; times are epoch seconds.

Runs in the server process. Only the members that are read here have names; a record holds whatever else a request said.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict


class ProjectSource(TypedDict):
    """Where the files of a build come from; ``location`` is ``bucket/key``, ``buildspec`` a path or the text itself."""

    type: str
    location: NotRequired[str]
    buildspec: NotRequired[str]
    sourceIdentifier: NotRequired[str]


class ProjectArtifacts(TypedDict):
    """Where a project's artifacts go."""

    type: str
    location: NotRequired[str]
    path: NotRequired[str]
    namespaceType: NotRequired[str]
    name: NotRequired[str]
    packaging: NotRequired[str]
    encryptionDisabled: NotRequired[bool]


class BuildVariable(TypedDict):
    """An environment variable; of type PARAMETER_STORE, its value is a parameter's name."""

    name: str
    value: str
    type: NotRequired[str]


class ExportedVariable(TypedDict):
    """A variable that a build hands on."""

    name: str
    value: str


class BuildEnvironment(TypedDict):
    """What a build runs in."""

    type: str
    image: str
    environmentVariables: NotRequired[list[BuildVariable]]
    privilegedMode: NotRequired[bool]


class ProjectCache(TypedDict):
    """What kind of cache a project has, and where."""

    type: str
    location: NotRequired[str]


class LogSettings(TypedDict, total=False):
    """A place that logs may go to."""

    status: str
    groupName: str
    streamName: str


class LogsConfig(TypedDict, total=False):
    """Where a project's logs go."""

    cloudWatchLogs: LogSettings
    s3Logs: LogSettings


class BuildProjectRecord(TypedDict):
    """A project."""

    name: str
    arn: str
    created: float
    lastModified: float
    serviceRole: str
    source: ProjectSource
    secondarySources: NotRequired[list[ProjectSource]]
    artifacts: ProjectArtifacts
    environment: BuildEnvironment
    cache: NotRequired[ProjectCache]
    logsConfig: NotRequired[LogsConfig]
    timeoutInMinutes: NotRequired[int]
    queuedTimeoutInMinutes: NotRequired[int]
    encryptionKey: NotRequired[str]
    concurrentBuildLimit: NotRequired[int]


class PhaseContext(TypedDict):
    """Why a phase ended as it did."""

    statusCode: str
    message: str


class BuildPhase(TypedDict):
    """A phase that a build has gone through, or is in."""

    phaseType: str
    startTime: float
    phaseStatus: NotRequired[str]
    endTime: NotRequired[float]
    durationInSeconds: NotRequired[int]
    contexts: NotRequired[list[PhaseContext]]


class BuildLogs(TypedDict):
    """Where a build's log is."""

    groupName: str
    streamName: str
    cloudWatchLogsArn: str
    cloudWatchLogs: LogSettings


class BuildArtifacts(TypedDict):
    """Where a build's artifacts are; empty while there are none."""

    location: str


class BuildRecord(TypedDict):
    """A build."""

    id: str
    arn: str
    buildNumber: int
    startTime: float
    endTime: NotRequired[float]
    currentPhase: str
    buildStatus: str
    buildComplete: bool
    sourceVersion: str
    resolvedSourceVersion: str
    projectName: str
    phases: list[BuildPhase]
    source: ProjectSource
    secondarySources: list[ProjectSource]
    artifacts: BuildArtifacts
    cache: ProjectCache
    environment: BuildEnvironment
    serviceRole: str
    logs: BuildLogs
    timeoutInMinutes: int
    queuedTimeoutInMinutes: int
    initiator: str
    encryptionKey: str
    exportedEnvironmentVariables: list[ExportedVariable]
    reportArns: list[str]


class ReportedTest(TypedDict):
    """One test; ``reportArn`` and ``expired`` come with the report that it is put into."""

    prefix: str
    name: str
    status: str
    durationInNanoSeconds: int
    message: str
    testSuiteName: str
    reportArn: NotRequired[str]
    expired: NotRequired[float]


class ReportTestSummary(TypedDict):
    """What the tests of a report come to."""

    total: int
    statusCounts: dict[str, int]
    durationInNanoSeconds: int


class CoverageCounts(TypedDict):
    """Lines and branches that tests have reached, and missed."""

    linesCovered: int
    linesMissed: int
    branchesCovered: int
    branchesMissed: int


class CoverageSummary(CoverageCounts):
    """The counts, and the shares in percent."""

    lineCoveragePercentage: float
    branchCoveragePercentage: float


class FileCoverage(CoverageSummary):
    """The coverage of one file; ``reportARN`` and ``expired`` come with the report that it is put into."""

    id: str
    filePath: str
    reportARN: NotRequired[str]
    expired: NotRequired[float]


class ReportContents(TypedDict):
    """What the files of one report say: test cases with their summary, or coverages with theirs."""

    status: str
    testSummary: NotRequired[ReportTestSummary]
    cases: NotRequired[list[ReportedTest]]
    codeCoverageSummary: NotRequired[CoverageSummary]
    coverages: NotRequired[list[FileCoverage]]


class ReportGroupRecord(TypedDict):
    """A report group; ``exportConfig`` and ``tags`` are kept as they came."""

    arn: str
    name: str
    type: str
    created: float
    lastModified: float
    status: str
    exportConfig: NotRequired[object]
    tags: NotRequired[object]


class ReportRecord(ReportContents):
    """A report with what its files said."""

    arn: str
    type: str
    name: str
    reportGroupArn: str
    executionId: str
    created: float
    expired: float
    truncated: bool
