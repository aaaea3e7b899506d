"""What staging, and a build, could try against production: an attack for each statement of delivery's policies."""

from __future__ import annotations

from tests.local.delivery_attacks_stack import OF_THE_STACK
from tests.local.delivery_siege import (
    ACCOUNT,
    DELIVERY_BUCKET,
    HERE,
    OWNER,
    PROJECT,
    STAGING,
    change_set,
    of_deployment,
    schedule,
    within,
)

OF_THE_DEPLOYMENT = [
    of_deployment(
        "KeepTheArtifacts", "s3", "put_bucket_policy", lambda s: {"Bucket": s.bucket("artifacts"), "Policy": OWNER}
    ),
    of_deployment(
        "UploadArtifacts", "s3", "put_object", lambda s: {"Bucket": s.bucket("artifacts"), "Key": "x", "Body": b""}
    ),
    of_deployment(
        "UploadTheImages", "s3", "put_object", lambda s: {"Bucket": s.bucket("data"), "Key": "source/x", "Body": b""}
    ),
    of_deployment("FindTheImages", "s3", "list_objects_v2", lambda s: {"Bucket": s.bucket("data")}),
    of_deployment("EncryptThem", "s3", "get_object", lambda s: {"Bucket": s.bucket("data"), "Key": "source/secret"}),
    of_deployment("ChangeTheStack", "cloudformation", "create_change_set", change_set),
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
        lambda s: schedule(s, f"{s.prefix}-monitoring", f"{_own_role()}-MonitoringScheduleRole-X"),
    ),
    of_deployment(
        "LeaveItItsRole",
        "scheduler",
        "update_schedule",
        lambda s: schedule(
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
        lambda s: {**change_set(s), "StackName": f"{PROJECT}-{STAGING}", "RoleARN": s.stack_role},
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
    within("OwnWorkflows", "lambda", "invoke", lambda s: {"FunctionName": f"{s.prefix}-x"}),
    within(
        "OwnWorkflows",
        "stepfunctions",
        "start_execution",
        lambda s: {"stateMachineArn": s.arn("states", "stateMachine:")},
    ),
    within(
        "OwnRecordsLogsAndAlarms",
        "dynamodb",
        "delete_item",
        lambda s: {"TableName": f"{s.prefix}-deployments", "Key": {"pk": {"S": "x"}}},
    ),
    within(
        "OwnRecordsLogsAndAlarms",
        "s3",
        "delete_object",
        lambda s: {"Bucket": s.bucket("data"), "Key": "reports/state/captured/x"},
    ),
    within("OwnRecordsLogsAndAlarms", "sns", "publish", lambda s: {"TopicArn": s.arn("sns"), "Message": "x"}),
    within("OwnRecordsLogsAndAlarms", "ssm", "get_parameter", lambda s: {"Name": f"/{PROJECT}/{s.name}/x"}),
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
    within(
        "OwnRecordsLogsAndAlarms",
        "cloudwatch",
        "delete_alarms",
        lambda s: {"AlarmNames": [f"{s.prefix}-endpoint-5xx"]},
    ),
    within(
        "OwnRecordsLogsAndAlarms",
        "logs",
        "create_log_stream",
        lambda s: {"logGroupName": f"/aws/lambda/{s.prefix}-x", "logStreamName": "x"},
    ),
]
ATTACKS = [*OF_THE_STACK, *OF_THE_DEPLOYMENT, *WITHIN_THE_BOUNDARY]
# Statements without an attack of their own, and why.
EXEMPT = {
    **dict.fromkeys(("FindAliases", "Find", "PublishedLayers"), "reads what is nobody's secret"),
    **dict.fromkeys(("WithoutResourceTypes", "Metrics", "ScalingContainersAndNetwork"), "names no stage"),
    "Budget": "the account does not decide about budgets",
    "ReadWhatWasBuilt": "tried against delivery's own bucket",
    **dict.fromkeys(("TellMissingFromForbidden", "UseTheKey"), "tried against delivery's own bucket and key"),
}
