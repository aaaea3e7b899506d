"""What resources are now, in the properties of their types, for the types whose drift is detected.

Runs in the server process. Of any other type the drift is not checked, as on AWS for types that do not support it. A
reader answers those properties that the service tells as a template states them; None for one that it has no more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from local_account.protocol.records import chosen

Properties = Mapping[str, object]
Client = Callable[[str], Any]
"""Gives a client of a service by botocore's name."""
Reader = Callable[[Client, str], Properties]
"""What a resource is, by its physical id; raises ClientError for one that is gone."""


def _function(client: Client, name: str) -> Properties:
    told = client("lambda").get_function_configuration(FunctionName=name)
    members = ("Description", "FunctionName", "Handler", "MemorySize", "Role", "Runtime", "Timeout")
    return {**chosen(told, members), "Environment": told.get("Environment", {})}


def _parameter(client: Client, name: str) -> Properties:
    told = client("ssm").get_parameter(Name=name)["Parameter"]
    return chosen(told, ("Name", "Type", "Value"))


def _queue(client: Client, url: str) -> Properties:
    told = client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    members = (
        *("ContentBasedDeduplication", "DelaySeconds", "FifoQueue", "KmsMasterKeyId", "MaximumMessageSize"),
        *("MessageRetentionPeriod", "ReceiveMessageWaitTimeSeconds", "VisibilityTimeout"),
    )
    return chosen(told, members)


def _topic(client: Client, arn: str) -> Properties:
    told = client("sns").get_topic_attributes(TopicArn=arn)["Attributes"]
    return chosen(told, ("DisplayName", "FifoTopic", "KmsMasterKeyId"))


def _log_group(client: Client, name: str) -> Properties:
    groups = client("logs").describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    told = next((group for group in groups if group["logGroupName"] == name), None)
    if told is None:
        raise LookupError(name)
    return {"LogGroupName": name, "RetentionInDays": told.get("retentionInDays"), "KmsKeyId": told.get("kmsKeyId")}


def _role(client: Client, name: str) -> Properties:
    told = client("iam").get_role(RoleName=name)["Role"]
    return chosen(told, ("AssumeRolePolicyDocument", "Description", "MaxSessionDuration", "Path", "RoleName"))


def _machine(client: Client, arn: str) -> Properties:
    told = client("stepfunctions").describe_state_machine(stateMachineArn=arn)
    return {"StateMachineName": told["name"], "StateMachineType": told["type"], "RoleArn": told["roleArn"]}


def _bucket(client: Client, name: str) -> Properties:
    client("s3").head_bucket(Bucket=name)
    status = client("s3").get_bucket_versioning(Bucket=name).get("Status")
    return {"BucketName": name, **({"VersioningConfiguration": {"Status": status}} if status else {})}


def _alarm(client: Client, name: str) -> Properties:
    told = client("cloudwatch").describe_alarms(AlarmNames=[name], AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    found = [*told["MetricAlarms"], *told["CompositeAlarms"]]
    if not found:
        raise LookupError(name)
    alarm: Properties = json.loads(json.dumps(found[0], default=str))
    return alarm


READERS: Mapping[str, Reader] = {
    "AWS::CloudWatch::Alarm": _alarm,
    "AWS::CloudWatch::CompositeAlarm": _alarm,
    "AWS::IAM::Role": _role,
    "AWS::Lambda::Function": _function,
    "AWS::Logs::LogGroup": _log_group,
    "AWS::S3::Bucket": _bucket,
    "AWS::SNS::Topic": _topic,
    "AWS::SQS::Queue": _queue,
    "AWS::SSM::Parameter": _parameter,
    "AWS::StepFunctions::StateMachine": _machine,
}
