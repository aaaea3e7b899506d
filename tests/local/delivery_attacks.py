"""What staging, and a build, could try against production: an attack for each statement of delivery's policies.

Each call is named with the resources of a stage: with those of production it has to be refused, with the stage's own
it has to pass the policies, whatever the service then says of it. So no refusal is one of a call that nobody may make.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

PROJECT, STAGING, PRODUCTION = "siege", "rehearsal", "local"
ACCOUNT, REGION = "123456789012", "us-east-1"
HERE = f"{REGION}:{ACCOUNT}"
DELIVERY_BUCKET = f"{PROJECT}-delivery-{ACCOUNT}-{REGION}"
ANYBODY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "*", "Resource": "*"}],
    }
)
ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"
Given = dict[str, object]


@dataclass(frozen=True)
class Stage:
    """The names of one stage's resources; ``key`` and ``boundary`` are made by the deployment."""

    name: str
    key: str
    boundary: str
    stack_role: str

    @property
    def prefix(self) -> str:
        return f"{PROJECT}-{self.name}"

    @property
    def tags(self) -> list[dict[str, str]]:
        return [{"Key": "stage", "Value": self.name}, {"Key": "deployment", "Value": self.prefix}]

    @property
    def role(self) -> str:
        """A role of one of the stage's functions, within the boundary."""
        return f"arn:aws:iam::{ACCOUNT}:role/{self.prefix}-function"

    def bucket(self, kind: str) -> str:
        return f"{self.prefix}-{kind}-{ACCOUNT}-{REGION}"

    def arn(self, service: str, before: str = "", after: str = "-x") -> str:
        return f"arn:aws:{service}:{HERE}:{before}{self.prefix}{after}"


@dataclass(frozen=True)
class Attack:
    """One call, tried by the staging's copy of ``role``; ``sid`` is the statement that could let it through."""

    role: str
    sid: str
    service: str
    call: str
    given: Callable[[Stage], Given]

    def __str__(self) -> str:
        return f"{self.role}-{self.sid}-{self.call}"


def of_stack(sid: str, service: str, call: str, given: Callable[[Stage], Given]) -> Attack:
    return Attack("StagingStackRole", sid, service, call, given)


def of_deployment(sid: str, service: str, call: str, given: Callable[[Stage], Given]) -> Attack:
    return Attack("StagingRole", sid, service, call, given)


def within(sid: str, service: str, call: str, given: Callable[[Stage], Given]) -> Attack:
    """By a role of the stage's stack that has all permissions, within the boundary."""
    return Attack("StagingBoundary", sid, service, call, given)


def _function(stage: Stage) -> Given:
    return {
        "FunctionName": f"{PROJECT}-{STAGING}-x",
        "Role": stage.role,
        "Runtime": "python3.12",
        "Handler": "a.b",
        "Code": {"S3Bucket": "none", "S3Key": "none"},
    }


def _machine(stage: Stage) -> Given:
    return {"stateMachineArn": stage.arn("states", "stateMachine:"), "definition": "{}"}


def _change_set(stage: Stage) -> Given:
    return {"StackName": stage.prefix, "ChangeSetName": "x", "TemplateBody": "{}"}


def _schedule(stage: Stage, name: str, role: str) -> Given:
    target = {"Arn": stage.arn("lambda", "function:"), "RoleArn": role}
    return {
        "Name": name,
        "ScheduleExpression": "rate(1 day)",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "Target": target,
    }


def _alarm(name: str) -> Given:
    metric = {"Namespace": "x", "MetricName": "x", "Period": 60, "EvaluationPeriods": 1, "Threshold": 1.0}
    return {"AlarmName": name, "ComparisonOperator": "LessThanThreshold", "Statistic": "Sum", **metric}


KEY_TAG = "deployment"
OF_THE_STACK = [
    of_stack("Buckets", "s3", "put_bucket_policy", lambda s: {"Bucket": s.bucket("data"), "Policy": ANYBODY}),
    of_stack("Buckets", "s3", "delete_bucket_policy", lambda s: {"Bucket": s.bucket("data")}),
    of_stack("Code", "s3", "get_object", lambda s: {"Bucket": s.bucket("artifacts"), "Key": "x"}),
    of_stack("NewKeys", "kms", "create_key", lambda s: {"Tags": [{"TagKey": KEY_TAG, "TagValue": s.prefix}]}),
    of_stack(
        "TagNewKeys",
        "kms",
        "tag_resource",
        lambda s: {"KeyId": s.key, "Tags": [{"TagKey": KEY_TAG, "TagValue": f"{PROJECT}-{STAGING}"}]},
    ),
    of_stack("Keys", "kms", "encrypt", lambda s: {"KeyId": s.key, "Plaintext": b"x"}),
    of_stack("Keys", "kms", "put_key_policy", lambda s: {"KeyId": s.key, "PolicyName": "default", "Policy": ANYBODY}),
    of_stack(
        "Keys", "kms", "create_grant", lambda s: {"KeyId": s.key, "GranteePrincipal": s.role, "Operations": ["Decrypt"]}
    ),
    of_stack("Keys", "kms", "untag_resource", lambda s: {"KeyId": s.key, "TagKeys": ["anything"]}),
    of_stack(
        "Aliases",
        "kms",
        "create_alias",
        lambda s: {"AliasName": f"alias/{PROJECT}-{STAGING}-{s.name}", "TargetKeyId": s.key},
    ),
    of_stack("Aliases", "kms", "delete_alias", lambda s: {"AliasName": f"alias/{s.prefix}-data"}),
    of_stack(
        "Topics",
        "sns",
        "set_topic_attributes",
        lambda s: {"TopicArn": s.arn("sns"), "AttributeName": "Policy", "AttributeValue": ANYBODY},
    ),
    of_stack(
        "Topics", "sns", "subscribe", lambda s: {"TopicArn": s.arn("sns"), "Protocol": "email", "Endpoint": "a@b.c"}
    ),
    of_stack(
        "Queues",
        "sqs",
        "set_queue_attributes",
        lambda s: {
            "QueueUrl": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{s.prefix}-x",
            "Attributes": {"Policy": ANYBODY},
        },
    ),
    of_stack("Tables", "dynamodb", "delete_table", lambda s: {"TableName": f"{s.prefix}-x"}),
    of_stack(
        "Parameters",
        "ssm",
        "put_parameter",
        lambda s: {"Name": f"/{PROJECT}/{s.name}/x", "Value": "0", "Type": "String"},
    ),
    of_stack(
        "Models",
        "sagemaker",
        "put_model_package_group_policy",
        lambda s: {"ModelPackageGroupName": f"{s.prefix}-x", "ResourcePolicy": ANYBODY},
    ),
    of_stack(
        "Models",
        "sagemaker",
        "add_tags",
        lambda s: {"ResourceArn": s.arn("sagemaker", "model-package-group/"), "Tags": [{"Key": "a", "Value": "b"}]},
    ),
    of_stack("Roles", "iam", "delete_role", lambda s: {"RoleName": f"{s.prefix}-gone"}),
    of_stack("Roles", "iam", "tag_role", lambda s: {"RoleName": f"{PROJECT}-{STAGING}-function", "Tags": s.tags[:1]}),
    of_stack("Roles", "iam", "tag_role", lambda s: {"RoleName": f"{PROJECT}-{STAGING}-function", "Tags": s.tags[1:]}),
    of_stack(
        "Roles",
        "iam",
        "update_assume_role_policy",
        lambda s: {"RoleName": f"{s.prefix}-function", "PolicyDocument": ANYBODY},
    ),
    of_stack(
        "Policies",
        "iam",
        "create_policy_version",
        lambda s: {"PolicyArn": f"arn:aws:iam::{ACCOUNT}:policy/{s.prefix}-x", "PolicyDocument": ANYBODY},
    ),
    of_stack("GiveTheServicesTheirRoles", "lambda", "create_function", _function),
    of_stack(
        "Functions",
        "lambda",
        "update_function_code",
        lambda s: {"FunctionName": f"{s.prefix}-x", "S3Bucket": "none", "S3Key": "none"},
    ),
    of_stack(
        "Functions",
        "lambda",
        "add_permission",
        lambda s: {
            "FunctionName": f"{s.prefix}-x",
            "StatementId": "x",
            "Action": "lambda:InvokeFunction",
            "Principal": "*",
        },
    ),
    of_stack(
        "Layers", "lambda", "delete_layer_version", lambda s: {"LayerName": f"{s.prefix}-pillow", "VersionNumber": 1}
    ),
    of_stack("Workflows", "stepfunctions", "update_state_machine", _machine),
    of_stack("Rules", "events", "put_rule", lambda s: {"Name": f"{s.prefix}-x", "ScheduleExpression": "rate(1 day)"}),
    of_stack(
        "Rules",
        "events",
        "put_targets",
        lambda s: {"Rule": f"{s.prefix}-x", "Targets": [{"Id": "x", "Arn": f"arn:aws:sqs:{HERE}:x"}]},
    ),
    of_stack("Schedules", "scheduler", "update_schedule", lambda s: _schedule(s, f"{s.prefix}-x", s.role)),
    of_stack("AlarmsAndDashboards", "cloudwatch", "put_metric_alarm", lambda s: _alarm(f"{s.prefix}-endpoint-5xx")),
    of_stack(
        "AlarmsAndDashboards", "cloudwatch", "delete_alarms", lambda s: {"AlarmNames": [f"{s.prefix}-endpoint-5xx"]}
    ),
    of_stack("Logs", "logs", "delete_log_group", lambda s: {"logGroupName": f"/aws/lambda/{s.prefix}-x"}),
    of_stack(
        "RolesWithinTheBoundary",
        "iam",
        "create_role",
        lambda s: {
            "RoleName": f"{PROJECT}-{STAGING}-for-{s.name}",
            "AssumeRolePolicyDocument": ANYBODY,
            "PermissionsBoundary": s.boundary,
        },
    ),
    of_stack(
        "RolesWithinTheBoundary",
        "iam",
        "put_role_policy",
        lambda s: {"RoleName": f"{s.prefix}-function", "PolicyName": "x", "PolicyDocument": ANYBODY},
    ),
    of_stack(
        "RolesWithinTheBoundary",
        "iam",
        "attach_role_policy",
        lambda s: {"RoleName": f"{s.prefix}-function", "PolicyArn": ADMINISTRATOR},
    ),
    of_stack(
        "RolesWithinTheBoundary",
        "iam",
        "put_role_permissions_boundary",
        lambda s: {"RoleName": f"{PROJECT}-{STAGING}-function", "PermissionsBoundary": s.boundary},
    ),
    of_stack(
        "NoTagOfAnotherStage",
        "sns",
        "create_topic",
        lambda s: {"Name": f"{PROJECT}-{STAGING}-{s.name}", "Tags": s.tags[:1]},
    ),
    of_stack(
        "NoDeploymentOfAnotherStage",
        "sns",
        "create_topic",
        lambda s: {"Name": f"{PROJECT}-{STAGING}-{s.name}", "Tags": s.tags[1:]},
    ),
]
OF_THE_DEPLOYMENT = [
    of_deployment(
        "KeepTheArtifacts", "s3", "put_bucket_policy", lambda s: {"Bucket": s.bucket("artifacts"), "Policy": ANYBODY}
    ),
    of_deployment(
        "UploadArtifacts", "s3", "put_object", lambda s: {"Bucket": s.bucket("artifacts"), "Key": "x", "Body": b""}
    ),
    of_deployment(
        "UploadTheImages", "s3", "put_object", lambda s: {"Bucket": s.bucket("data"), "Key": "source/x", "Body": b""}
    ),
    of_deployment("FindTheImages", "s3", "list_objects_v2", lambda s: {"Bucket": s.bucket("data")}),
    of_deployment("EncryptThem", "s3", "get_object", lambda s: {"Bucket": s.bucket("data"), "Key": "source/secret"}),
    of_deployment("ChangeTheStack", "cloudformation", "create_change_set", _change_set),
    of_deployment("ChangeTheStack", "cloudformation", "delete_stack", lambda s: {"StackName": f"{s.prefix}"}),
    of_deployment(
        "DefineAndStartThePipelines",
        "sagemaker",
        "update_pipeline",
        lambda s: {"PipelineName": f"{s.prefix}-training", "PipelineDefinition": "{}"},
    ),
    of_deployment(
        "DefineAndStartThePipelines",
        "sagemaker",
        "start_pipeline_execution",
        lambda s: {"PipelineName": f"{s.prefix}-training"},
    ),
    of_deployment(
        "WatchTheSteps",
        "sagemaker",
        "describe_training_job",
        lambda s: {"TrainingJobName": f"pipelines-{s.name}"},
    ),
    of_deployment(
        "GiveThePipelinesTheirRole",
        "sagemaker",
        "create_pipeline",
        lambda s: {"PipelineName": f"{PROJECT}-{STAGING}-x", "PipelineDefinition": "{}", "RoleArn": s.role},
    ),
    of_deployment(
        "KeepTheThreshold",
        "ssm",
        "put_parameter",
        lambda s: {"Name": f"/{PROJECT}/{s.name}/confidence-threshold", "Value": "0", "Type": "String"},
    ),
    of_deployment(
        "KeepTheSchedule",
        "scheduler",
        "update_schedule",
        lambda s: _schedule(s, f"{s.prefix}-monitoring", f"{_own_role()}-MonitoringScheduleRole-X"),
    ),
    of_deployment(
        "LeaveItItsRole",
        "scheduler",
        "update_schedule",
        lambda s: _schedule(
            s,
            f"{PROJECT}-{STAGING}-monitoring",
            f"arn:aws:iam::{ACCOUNT}:role/{s.prefix}-MonitoringScheduleRole-X",
        ),
    ),
    of_deployment(
        "ExpectReportsOrNot",
        "cloudwatch",
        "disable_alarm_actions",
        lambda s: {"AlarmNames": [f"{s.prefix}-missing-reports"]},
    ),
    of_deployment(
        "HandTheStackToCloudFormation",
        "cloudformation",
        "create_change_set",
        lambda s: {**_change_set(s), "StackName": f"{PROJECT}-{STAGING}", "RoleARN": s.stack_role},
    ),
    of_deployment(
        "WriteLogs",
        "logs",
        "create_log_stream",
        lambda s: {"logGroupName": f"/aws/codebuild/{PROJECT}-delivery-deploy-{s.name}", "logStreamName": "x"},
    ),
    of_deployment(
        "KeepItsCache",
        "s3",
        "put_object",
        lambda s: {"Bucket": DELIVERY_BUCKET, "Key": f"cache/deploy-{s.name}/x", "Body": b""},
    ),
]


def _own_role() -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{PROJECT}-{STAGING}"


WITHIN_THE_BOUNDARY = [
    within("OwnData", "s3", "get_object", lambda s: {"Bucket": s.bucket("data"), "Key": "plain"}),
    within("OwnData", "s3", "put_object", lambda s: {"Bucket": s.bucket("data"), "Key": "x", "Body": b""}),
    within("OwnCode", "s3", "get_object", lambda s: {"Bucket": s.bucket("artifacts"), "Key": "x"}),
    within("OwnKeys", "kms", "generate_data_key", lambda s: {"KeyId": s.key, "KeySpec": "AES_256"}),
    within("OwnFunctionsAndWorkflows", "lambda", "invoke", lambda s: {"FunctionName": f"{s.prefix}-x"}),
    within(
        "OwnFunctionsAndWorkflows",
        "stepfunctions",
        "start_execution",
        lambda s: {"stateMachineArn": s.arn("states", "stateMachine:")},
    ),
    within(
        "OwnRecordsAndMessages",
        "dynamodb",
        "delete_item",
        lambda s: {"TableName": f"{s.prefix}-deployments", "Key": {"pk": {"S": "x"}}},
    ),
    within("OwnRecordsAndMessages", "sns", "publish", lambda s: {"TopicArn": s.arn("sns"), "Message": "x"}),
    within("OwnRecordsAndMessages", "ssm", "get_parameter", lambda s: {"Name": f"/{PROJECT}/{s.name}/x"}),
    within("ModelsEndpointsAndJobs", "sagemaker", "delete_endpoint", lambda s: {"EndpointName": f"{s.prefix}-x"}),
    within(
        "ModelsEndpointsAndJobs",
        "sagemaker",
        "update_endpoint",
        lambda s: {"EndpointName": f"{s.prefix}-x", "EndpointConfigName": f"{PROJECT}-{STAGING}-x"},
    ),
    within(
        "ModelsEndpointsAndJobs",
        "sagemaker",
        "describe_model_package",
        lambda s: {"ModelPackageName": s.arn("sagemaker", "model-package/", "-x/1")},
    ),
    within(
        "ModelsEndpointsAndJobs",
        "sagemaker",
        "stop_training_job",
        lambda s: {"TrainingJobName": f"pipelines-{s.name}"},
    ),
    within(
        "ModelsEndpointsAndJobs",
        "sagemaker",
        "add_tags",
        lambda s: {
            "ResourceArn": f"arn:aws:sagemaker:{HERE}:training-job/pipelines-{s.name}",
            "Tags": [{"Key": "deployment", "Value": f"{PROJECT}-{STAGING}"}],
        },
    ),
    within(
        "GiveSageMakerOwnRoles",
        "sagemaker",
        "create_model",
        lambda s: {"ModelName": f"{PROJECT}-{STAGING}-x", "ExecutionRoleArn": s.role},
    ),
    within("OwnAlarms", "cloudwatch", "delete_alarms", lambda s: {"AlarmNames": [f"{s.prefix}-endpoint-5xx"]}),
    within(
        "Logs",
        "logs",
        "create_log_stream",
        lambda s: {"logGroupName": f"/aws/lambda/{s.prefix}-x", "logStreamName": "x"},
    ),
]
ATTACKS = [*OF_THE_STACK, *OF_THE_DEPLOYMENT, *WITHIN_THE_BOUNDARY]
# Statements without an attack of their own, and why.
EXEMPT = {
    **dict.fromkeys(("FindAliases", "Find", "PublishedLayers"), "reads what is nobody's secret"),
    **dict.fromkeys(("WithoutResourceTypes", "Metrics", "PullContainers", "StandInTheNetwork"), "names no stage"),
    "ScaleTheEndpoint": "Application Auto Scaling asks for the permission on the endpoint, which is tried",
    "Budget": "the account does not decide about budgets",
    "ReadWhatWasBuilt": "tried against delivery's own bucket",
    **dict.fromkeys(("TellMissingFromForbidden", "UseTheKey"), "tried against delivery's own bucket and key"),
}
