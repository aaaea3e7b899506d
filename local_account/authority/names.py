"""How the parameters of operations name resources: ARNs by service and resource type.

Runs in the server process. Source: Service Authorization Reference, the page of each service (resource types of each
action); tests/unit/account/test_iam_resources.py compares these tables with the copy of that reference that cfn-lint
carries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from local_account.base.arns import last_part, read_arn


@dataclass(frozen=True)
class Region:
    """Where resources are: a region of an account."""

    account_id: str
    region: str

    def arn(self, service: str, resource: str) -> str:
        """The ARN of a resource; what is not of one region (roles, dashboards) names none."""
        everywhere = service == "iam" or resource.startswith("dashboard/")
        return f"arn:aws:{service}:{'' if everywhere else self.region}:{self.account_id}:{resource}"


def resources(prefix: str, operation: str, parameters: Mapping[str, object], place: Region) -> list[tuple[str, str]]:
    """Resource types with the ARNs that the parameters name, of those that the operation's action is about."""
    namings = _NAMINGS.get(prefix, [])
    wanted = _TYPES.get(prefix, {}).get(operation)
    found = []
    for naming in namings:
        if (wanted is None and naming.by_operation_only) or (wanted is not None and naming.kind not in wanted):
            continue
        for parameter in naming.parameters:
            values = _given(parameters, parameter)
            for value in values if isinstance(values, list) else [values]:
                if isinstance(value, str) and value:
                    arn = value if value.startswith("arn:") else place.arn(prefix, naming.template(value, parameters))
                    found.append((naming.kind, arn))
    return list(dict.fromkeys(found))


def _given(parameters: Mapping[str, object], path: str) -> object:
    """What stands at ``Name``, or at ``Inner.Name`` in a structure."""
    outer, _, inner = path.partition(".")
    value = parameters.get(outer)
    return value.get(inner) if inner and isinstance(value, dict) else None if inner else value


@dataclass(frozen=True)
class _Naming:
    """How parameters name a resource of one type. ``by_operation_only``: the name alone says nothing of the type."""

    kind: str
    parameters: tuple[str, ...]
    template: Callable[[str, Mapping[str, object]], str]
    by_operation_only: bool = False


def _below(prefix: str) -> Callable[[str, Mapping[str, object]], str]:
    return lambda name, _parameters: f"{prefix}{name}"


def _function(name: str, parameters: Mapping[str, object]) -> str:
    qualifier = parameters.get("Qualifier")
    return f"function:{name}:{qualifier}" if qualifier else f"function:{name}"


def _stream(group: str, parameters: Mapping[str, object]) -> str:
    # Written so that the ARN that policies use, log-group:NAME:*, matches (CloudWatch Logs User Guide, IAM overview).
    return f"log-group:{group}:log-stream:{parameters.get('logStreamName', '')}"


def _rule(name: str, parameters: Mapping[str, object]) -> str:
    bus = last_part(str(parameters.get("EventBusName") or "default"))
    return f"rule/{name}" if bus == "default" else f"rule/{bus}/{name}"


def _schedule(name: str, parameters: Mapping[str, object]) -> str:
    group = parameters.get("GroupName") or parameters.get("groupName") or "default"
    return f"schedule/{group}/{name}"


def _table(name: str, parameters: Mapping[str, object]) -> str:
    index = parameters.get("IndexName")
    return f"table/{name}/index/{index}" if index else f"table/{name}"


def _database(name: str, parameters: Mapping[str, object]) -> str:
    return f"database/{parameters.get('DatabaseName') or name}"


def _secret(name: str, _parameters: Mapping[str, object]) -> str:
    """As the secret of that name is called, whose ARN ends in six characters more."""
    from moto.secretsmanager.models import secretsmanager_backends  # heavy, and only needed once the server runs

    for regions in list(secretsmanager_backends.values()):
        for backend in list(regions.values()):
            kept = backend.secrets.get(name) if name in backend.secrets else None
            if kept is not None and (arn := read_arn(kept.arn)):
                return arn.resource
    return f"secret:{name}-??????"


def _plain(name: str, _parameters: Mapping[str, object]) -> str:
    return name


def _with_path(kind: str) -> Callable[[str, Mapping[str, object]], str]:
    return lambda name, parameters: f"{kind}{parameters.get('Path') or '/'}{name}"


_SAGEMAKER_KINDS = {
    "training-job": ("TrainingJobName", "TrainingJobArn"),
    "processing-job": ("ProcessingJobName",),
    "transform-job": ("TransformJobName",),
    "model": ("ModelName",),
    "endpoint-config": ("EndpointConfigName",),
    "endpoint": ("EndpointName",),
    "pipeline": ("PipelineName", "PipelineArn"),
    "pipeline-execution": ("PipelineExecutionArn",),
    "model-package": ("ModelPackageName", "ModelPackageArn"),
    "model-package-group": ("ModelPackageGroupName",),
    "monitoring-schedule": ("MonitoringScheduleName",),
    "hyper-parameter-tuning-job": ("HyperParameterTuningJobName",),
    "experiment": ("ExperimentName",),
    "experiment-trial": ("TrialName",),
    "experiment-trial-component": ("TrialComponentName",),
    "artifact": ("ArtifactArn",),
}
_NAMINGS: dict[str, list[_Naming]] = {
    "sagemaker": [
        *(_Naming(kind, names, _below(f"{kind}/")) for kind, names in _SAGEMAKER_KINDS.items()),
        _Naming("model-package", ("ModelPackageGroupName",), lambda n, _: f"model-package/{n}/*", True),
        _Naming("any", ("ResourceArn",), _plain, True),
    ],
    "lambda": [
        _Naming("function", ("FunctionName",), _function),
        _Naming("layer", ("LayerName",), _below("layer:"), True),
        _Naming("layerVersion", ("LayerName",), lambda n, p: f"layer:{n}:{p.get('VersionNumber')}", True),
    ],
    "states": [
        _Naming("statemachine", ("stateMachineArn",), _plain),
        _Naming("statemachine", ("name",), _below("stateMachine:"), True),
        _Naming("execution", ("executionArn",), _plain),
        _Naming("maprun", ("mapRunArn",), _plain),
        _Naming("activity", ("activityArn",), _plain),
    ],
    "sqs": [
        _Naming("queue", ("QueueUrl",), lambda url, _: last_part(url)),
        _Naming("queue", ("QueueName", "SourceArn"), _plain),
    ],
    "sns": [
        _Naming("topic", ("TopicArn", "TargetArn"), _plain),
        _Naming("topic", ("Name",), _plain, True),
        # A subscription's ARN is its topic's and a part more.
        _Naming("topic", ("SubscriptionArn",), _plain, True),
    ],
    "ssm": [_Naming("parameter", ("Name", "Names", "Path"), lambda n, _: f"parameter/{n.lstrip('/')}", True)],
    "dynamodb": [
        _Naming("table", ("TableName",), _table),
        _Naming("table", ("ResourceArn",), _plain),
        _Naming("table", ("RequestItems",), _below("table/"), True),
    ],
    "logs": [_Naming("log-stream", ("logGroupName", "logGroupIdentifier"), _stream)],
    "events": [
        _Naming("rule", ("Rule",), _rule),
        _Naming("rule", ("Name",), _rule, True),
        _Naming("event-bus", ("EventBusName",), _below("event-bus/"), True),
    ],
    "scheduler": [
        _Naming("schedule", ("Name",), _schedule, True),
        _Naming("schedule-group", ("Name",), _below("schedule-group/"), True),
    ],
    "cloudformation": [_Naming("stack", ("StackName",), lambda name, _: f"stack/{name}/*")],
    "kms": [
        _Naming("key", ("KeyId", "TargetKeyId"), lambda n, _: n if n.startswith("alias/") else f"key/{n}"),
        _Naming("alias", ("AliasName",), _plain, True),
    ],
    "ecr": [_Naming("repository", ("repositoryName", "repositoryNames"), _below("repository/"))],
    "codebuild": [
        _Naming("project", ("projectName",), _below("project/")),
        _Naming("project", ("ids", "id"), lambda build, _: f"project/{build.partition(':')[0]}"),
    ],
    "codepipeline": [
        _Naming("pipeline", ("pipelineName",), _plain),
        _Naming("pipeline", ("name",), _plain, True),
        _Naming("stage", ("pipelineName",), lambda n, p: f"{n}/{p.get('stageName')}", True),
        _Naming("action", ("pipelineName",), lambda n, p: f"{n}/{p.get('stageName')}/{p.get('actionName')}", True),
    ],
    "cloudwatch": [
        _Naming("alarm", ("AlarmName", "AlarmNames"), _below("alarm:")),
        _Naming("dashboard", ("DashboardName", "DashboardNames"), _below("dashboard/"), True),
    ],
    "secretsmanager": [
        _Naming("Secret", ("SecretId",), _secret),
        _Naming("Secret", ("Name",), lambda name, _: f"secret:{name}-??????", True),
    ],
    "glue": [
        _Naming("database", ("DatabaseInput.Name", "Name", "DatabaseName"), _database, True),
        _Naming("table", ("TableInput.Name", "Name"), lambda n, p: f"table/{p.get('DatabaseName')}/{n}", True),
    ],
    "iam": [
        _Naming("role", ("RoleName",), _with_path("role")),
        _Naming("role", ("PolicySourceArn",), _plain),
        _Naming("policy", ("PolicyArn",), _plain, True),
        _Naming("policy", ("PolicyName",), _with_path("policy"), True),
    ],
    "sts": [_Naming("role", ("RoleArn",), _plain)],
}
_NONE: frozenset[str] = frozenset()


def _only(kind: str, *operations: str) -> dict[str, frozenset[str]]:
    return {operation: frozenset({kind} if kind else ()) for operation in operations}


# Operations whose parameters also name what their action is not about, or name it only by where they stand.
_TYPES: dict[str, dict[str, frozenset[str]]] = {
    "sagemaker": {
        **_only("transform-job", "CreateTransformJob"),
        **_only("model-package", "CreateModelPackage", "ListModelPackages"),
        **_only("any", "AddTags", "DeleteTags", "ListTags"),
        **_only("monitoring-schedule", "CreateMonitoringSchedule"),
        **_only(
            "",
            *("ListMonitoringExecutions", "ListMonitoringSchedules", "ListMonitoringAlerts"),
            *("ListMonitoringAlertHistory", "ListDataQualityJobDefinitions", "ListModelQualityJobDefinitions"),
            *("ListModelBiasJobDefinitions", "ListModelExplainabilityJobDefinitions", "ListDevices"),
            *("ListTrials", "ListTrialComponents"),
            *("CreateEdgePackagingJob", "CreateInferenceExperiment", "GetScalingConfigurationRecommendation"),
        ),
    },
    "lambda": {
        **_only(
            "",
            *("CreateEventSourceMapping", "UpdateEventSourceMapping", "ListEventSourceMappings"),
            *("GetProvisionedConcurrencyConfig", "PutProvisionedConcurrencyConfig"),
            "DeleteProvisionedConcurrencyConfig",
        ),
        **_only("layer", "PublishLayerVersion"),
        **_only("layerVersion", "DeleteLayerVersion", "GetLayerVersion"),
    },
    "states": _only("statemachine", "CreateStateMachine"),
    "sns": _only("topic", "CreateTopic", "Unsubscribe"),
    "ssm": _only(
        "parameter",
        *("GetParameter", "GetParameters", "GetParametersByPath", "GetParameterHistory", "PutParameter"),
        *("DeleteParameter", "DeleteParameters", "LabelParameterVersion", "UnlabelParameterVersion"),
    ),
    "glue": {
        **_only("database", "CreateDatabase", "UpdateDatabase", "DeleteDatabase", "GetDatabase"),
        **{
            operation: frozenset({"database", "table"})
            for operation in ("CreateTable", "UpdateTable", "DeleteTable", "GetTable")
        },
        **_only("database", "GetTables"),
    },
    "secretsmanager": _only("Secret", "CreateSecret"),
    "events": {
        **_only("rule", "PutRule", "DescribeRule", "DeleteRule", "EnableRule", "DisableRule"),
        **_only("event-bus", "CreateEventBus", "DeleteEventBus", "DescribeEventBus", "PutEvents"),
    },
    "scheduler": {
        **_only("schedule", "CreateSchedule", "UpdateSchedule", "GetSchedule", "DeleteSchedule"),
        **_only("schedule-group", "CreateScheduleGroup", "GetScheduleGroup", "DeleteScheduleGroup"),
    },
    "codepipeline": {
        **_only("pipeline", "StartPipelineExecution", "GetPipelineState", "GetPipeline", "DeletePipeline"),
        **_only("action", "PutApprovalResult", "PutActionRevision"),
        **_only(
            "stage",
            *("DisableStageTransition", "EnableStageTransition", "OverrideStageCondition"),
            *("RetryStageExecution", "RollbackStage"),
        ),
    },
    "dynamodb": _only("", "ListBackups", "ListContributorInsights"),
    "logs": _only("", "DeleteIndexPolicy", "PutIndexPolicy", "DescribeQueries", "ListSyslogConfigurations"),
    "cloudformation": _only("", "CreateGeneratedTemplate"),
    "kms": {
        **_only("", "ListAliases"),
        **{operation: frozenset({"key", "alias"}) for operation in ("CreateAlias", "DeleteAlias", "UpdateAlias")},
    },
    "iam": _only(
        "policy",
        *("CreatePolicy", "DeletePolicy", "GetPolicy", "ListEntitiesForPolicy", "ListPolicyTags"),
        *("CreatePolicyVersion", "DeletePolicyVersion", "GetPolicyVersion", "ListPolicyVersions"),
        *("SetDefaultPolicyVersion", "TagPolicy", "UntagPolicy"),
    ),
    "cloudwatch": {
        **_only("dashboard", "PutDashboard", "GetDashboard", "DeleteDashboards"),
        **_only("", "PutMetricData", "GetMetricData", "GetMetricStatistics", "ListMetrics", "ListAlarmMuteRules"),
    },
}
