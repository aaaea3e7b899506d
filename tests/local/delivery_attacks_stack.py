"""What the role that CloudFormation takes for staging could try against production, by statement."""

from __future__ import annotations

from tests.local.delivery_siege import (
    ACCOUNT,
    ADMINISTRATOR,
    ANYBODY,
    HERE,
    OWNER,
    PROJECT,
    REGION,
    STAGING,
    alarm,
    function,
    machine,
    of_stack,
    schedule,
)

KEY_TAG = "deployment"
OF_THE_STACK = [
    of_stack("Buckets", "s3", "put_bucket_policy", lambda s: {"Bucket": s.bucket("data"), "Policy": OWNER}),
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
    of_stack("TrafficTable", "glue", "delete_table", lambda s: {"DatabaseName": s.prefix, "Name": "captured"}),
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
    of_stack("GiveTheServicesTheirRoles", "lambda", "create_function", function),
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
    of_stack("Workflows", "stepfunctions", "update_state_machine", machine),
    of_stack("Rules", "events", "put_rule", lambda s: {"Name": f"{s.prefix}-x", "ScheduleExpression": "rate(1 day)"}),
    of_stack(
        "Rules",
        "events",
        "put_targets",
        lambda s: {"Rule": f"{s.prefix}-x", "Targets": [{"Id": "x", "Arn": f"arn:aws:sqs:{HERE}:x"}]},
    ),
    of_stack("Schedules", "scheduler", "update_schedule", lambda s: schedule(s, f"{s.prefix}-x", s.role)),
    of_stack("AlarmsAndDashboards", "cloudwatch", "put_metric_alarm", lambda s: alarm(f"{s.prefix}-endpoint-5xx")),
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
