"""Types of resource that take more than one call: buckets, roles, functions, state machines, rules, topics, queues...

Runs in the server process. Each class says what its properties become; see ``stack_kinds`` for the rest of the types.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from typing import Any

from local_account.stack_buckets import Bucket, BucketPolicy
from local_account.stack_identity import ManagedPolicy, Policy, Role
from local_account.stack_resources import (
    ApiKind,
    Kind,
    Made,
    Place,
    Properties,
    ResourceError,
    as_text,
    call,
    call_gone,
    only,
    without,
)


class Function(Kind):
    """AWS::Lambda::Function; the code is a zip in S3 or the text of ``index.py``."""

    name = "FunctionName"
    replaced_by = frozenset({"PackageType"})

    def create(self, place: Place, properties: Properties) -> Made:
        name = properties.get("FunctionName") or place.generated_name()
        request = without(properties, "ReservedConcurrentExecutions") | {
            "FunctionName": name,
            "Code": _code(properties["Code"]),
        }
        answer = call(place, "lambda", "CreateFunction", request)
        self._reserve(place, name, properties)
        return Made(name, {"Arn": answer["FunctionArn"]})

    def update(self, place: Place, physical_id: str, old: Properties, new: Properties) -> Made:
        if old["Code"] != new["Code"]:
            code = {"FunctionName": physical_id, **_code(new["Code"])}
            call(place, "lambda", "UpdateFunctionCode", code)
        left_out = ("Code", "Tags", "ReservedConcurrentExecutions", "Architectures", "PackageType")
        cleared = {"Environment": {"Variables": {}}, "Layers": []} if old.keys() - new.keys() else {}
        request = cleared | without(new, *left_out) | {"FunctionName": physical_id}
        answer = call(place, "lambda", "UpdateFunctionConfiguration", request)
        self._reserve(place, physical_id, new)
        return Made(physical_id, {"Arn": answer["FunctionArn"]})

    def delete(self, place: Place, physical_id: str, properties: Properties) -> None:  # noqa: ARG002  # Kind's
        call_gone(place, "lambda", "DeleteFunction", {"FunctionName": physical_id})

    @staticmethod
    def _reserve(place: Place, name: str, properties: Properties) -> None:
        if "ReservedConcurrentExecutions" in properties:
            request = {"FunctionName": name, **only(properties, "ReservedConcurrentExecutions")}
            call(place, "lambda", "PutFunctionConcurrency", request)


def _code(code: Properties) -> dict[str, Any]:
    if "ZipFile" not in code:
        return dict(code)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("index.py", code["ZipFile"])
    return {"ZipFile": archive.getvalue()}


class LayerVersion(Kind):
    """AWS::Lambda::LayerVersion; any change publishes another version."""

    def create(self, place: Place, properties: Properties) -> Made:
        name = properties.get("LayerName") or place.generated_name()
        answer = call(place, "lambda", "PublishLayerVersion", {**properties, "LayerName": name})
        return Made(answer["LayerVersionArn"], {"LayerVersionArn": answer["LayerVersionArn"]})

    def delete(self, place: Place, physical_id: str, properties: Properties) -> None:  # noqa: ARG002  # Kind's
        layer, _, version = physical_id.rpartition(":")
        call_gone(place, "lambda", "DeleteLayerVersion", {"LayerName": layer, "VersionNumber": version})

    def needs_replacement(self, old: Properties, new: Properties) -> bool:
        return old != new


class Permission(Kind):
    """AWS::Lambda::Permission: one statement of the function's policy; any change makes a new one."""

    def create(self, place: Place, properties: Properties) -> Made:
        statement = place.generated_name(100)
        call(place, "lambda", "AddPermission", {**properties, "StatementId": statement})
        return Made(statement, {"Id": statement})

    def delete(self, place: Place, physical_id: str, properties: Properties) -> None:
        request = {**only(properties, "FunctionName"), "StatementId": physical_id}
        call_gone(place, "lambda", "RemovePermission", request)

    def needs_replacement(self, old: Properties, new: Properties) -> bool:
        return old != new


class StateMachine(Kind):
    """AWS::StepFunctions::StateMachine: the definition as text, as an object or in S3, with its substitutions."""

    name = "StateMachineName"
    replaced_by = frozenset({"StateMachineType"})
    _DEFINITION = ("Definition", "DefinitionString", "DefinitionS3Location", "DefinitionSubstitutions")

    def create(self, place: Place, properties: Properties) -> Made:
        name = properties.get("StateMachineName") or place.generated_name(80)
        request = without(properties, *self._DEFINITION, "StateMachineName", "StateMachineType")
        request |= {"Name": name, "Definition": self._definition(place, properties)}
        request |= {"Type": properties.get("StateMachineType", "STANDARD")}
        arn = call(place, "stepfunctions", "CreateStateMachine", request)["stateMachineArn"]
        return Made(arn, {"Arn": arn, "Name": name})

    def update(self, place: Place, physical_id: str, old: Properties, new: Properties) -> Made:  # noqa: ARG002  # Kind's
        request = without(new, *self._DEFINITION, "StateMachineName", "StateMachineType", "Tags")
        request |= {"StateMachineArn": physical_id, "Definition": self._definition(place, new)}
        call(place, "stepfunctions", "UpdateStateMachine", request)
        return Made(physical_id, {"Arn": physical_id, "Name": physical_id.rpartition(":")[2]})

    def delete(self, place: Place, physical_id: str, properties: Properties) -> None:  # noqa: ARG002  # Kind's
        call_gone(place, "stepfunctions", "DeleteStateMachine", {"StateMachineArn": physical_id})

    def _definition(self, place: Place, properties: Properties) -> str:
        given = [name for name in self._DEFINITION[:3] if name in properties]
        if len(given) != 1:
            raise ResourceError(f"Expected one of {', '.join(self._DEFINITION[:3])}, got {', '.join(given) or 'none'}")
        if given == ["DefinitionS3Location"]:
            place_in_s3 = fit_location(properties["DefinitionS3Location"])
            text = place.client("s3").get_object(**place_in_s3)["Body"].read().decode()
        else:
            text = as_text(properties[given[0]])
        substitutions = properties.get("DefinitionSubstitutions", {})
        return re.sub(
            r"\$\{([A-Za-z0-9_]+)\}",
            lambda match: as_text(substitutions[match[1]]) if match[1] in substitutions else match[0],
            text,
        )


def fit_location(location: Properties) -> dict[str, str]:
    """A location in S3 as GetObject takes it."""
    spelt = {"Bucket": "Bucket", "Key": "Key", "Version": "VersionId", "VersionId": "VersionId"}
    return {spelt[name]: str(value) for name, value in location.items() if name in spelt}


class Rule(Kind):
    """AWS::Events::Rule with its targets."""

    name = "Name"
    replaced_by = frozenset({"EventBusName"})

    def create(self, place: Place, properties: Properties) -> Made:
        return self._put(place, properties.get("Name") or place.generated_name(), properties)

    def update(self, place: Place, physical_id: str, old: Properties, new: Properties) -> Made:
        made = self._put(place, physical_id, new)
        kept = {target["Id"] for target in new.get("Targets", [])}
        gone = [target["Id"] for target in old.get("Targets", []) if target["Id"] not in kept]
        if gone:
            call(place, "events", "RemoveTargets", {"Rule": physical_id, "Ids": gone, **only(new, "EventBusName")})
        return made

    def delete(self, place: Place, physical_id: str, properties: Properties) -> None:
        bus = only(properties, "EventBusName")
        ids = [target["Id"] for target in properties.get("Targets", [])]
        if ids:
            call_gone(place, "events", "RemoveTargets", {"Rule": physical_id, "Ids": ids, **bus})
        call_gone(place, "events", "DeleteRule", {"Name": physical_id, **bus})

    @staticmethod
    def _put(place: Place, name: str, properties: Properties) -> Made:
        arn = call(place, "events", "PutRule", without(properties, "Targets") | {"Name": name})["RuleArn"]
        if targets := properties.get("Targets"):
            request = {"Rule": name, "Targets": targets, **only(properties, "EventBusName")}
            answer = call(place, "events", "PutTargets", request)
            if answer.get("FailedEntryCount"):
                raise ResourceError(f"Targets were refused: {answer['FailedEntries']}")
        return Made(name, {"Arn": arn})


class LogGroup(Kind):
    """AWS::Logs::LogGroup with its retention."""

    name = "LogGroupName"

    def create(self, place: Place, properties: Properties) -> Made:
        name = properties.get("LogGroupName") or place.generated_name(512)
        call(place, "logs", "CreateLogGroup", without(properties, "RetentionInDays") | {"LogGroupName": name})
        return self.update(place, name, {}, properties)

    def update(self, place: Place, physical_id: str, old: Properties, new: Properties) -> Made:
        request: dict[str, Any] = {"LogGroupName": physical_id}
        if "RetentionInDays" in new:
            call(place, "logs", "PutRetentionPolicy", request | only(new, "RetentionInDays"))
        elif "RetentionInDays" in old:
            call(place, "logs", "DeleteRetentionPolicy", request)
        return Made(physical_id, {"Arn": place.account.arn("logs", f"log-group:{physical_id}:*")})

    def delete(self, place: Place, physical_id: str, properties: Properties) -> None:  # noqa: ARG002  # Kind's
        call_gone(place, "logs", "DeleteLogGroup", {"LogGroupName": physical_id})


class Parameter(Kind):
    """AWS::SSM::Parameter."""

    name = "Name"

    def create(self, place: Place, properties: Properties) -> Made:
        name = properties.get("Name") or place.generated_name(longest=1011)
        call(place, "ssm", "PutParameter", {**properties, "Name": name})
        return Made(name, only(properties, "Type", "Value"))

    def update(self, place: Place, physical_id: str, old: Properties, new: Properties) -> Made:  # noqa: ARG002  # Kind's
        call(place, "ssm", "PutParameter", without(new, "Tags") | {"Name": physical_id, "Overwrite": True})
        return Made(physical_id, only(new, "Type", "Value"))

    def delete(self, place: Place, physical_id: str, properties: Properties) -> None:  # noqa: ARG002  # Kind's
        call_gone(place, "ssm", "DeleteParameter", {"Name": physical_id})


class Pipeline(Kind):
    """AWS::SageMaker::Pipeline."""

    name = "PipelineName"

    def create(self, place: Place, properties: Properties) -> Made:
        call(place, "sagemaker", "CreatePipeline", self._request(properties))
        return Made(properties["PipelineName"], {})

    def update(self, place: Place, physical_id: str, old: Properties, new: Properties) -> Made:  # noqa: ARG002  # Kind's
        call(place, "sagemaker", "UpdatePipeline", without(self._request(new), "Tags"))
        return Made(physical_id, {})

    def delete(self, place: Place, physical_id: str, properties: Properties) -> None:  # noqa: ARG002  # Kind's
        call_gone(place, "sagemaker", "DeletePipeline", {"PipelineName": physical_id})

    @staticmethod
    def _request(properties: Properties) -> dict[str, Any]:
        definition = properties["PipelineDefinition"]
        body = only(definition, "PipelineDefinitionBody")
        if body:
            return without(properties, "PipelineDefinition") | {"PipelineDefinition": body["PipelineDefinitionBody"]}
        location = definition["PipelineDefinitionS3Location"]
        in_s3 = {"Bucket": location["Bucket"], "ObjectKey": location["Key"]} | (
            {"VersionId": location["Version"]} if "Version" in location else {}
        )
        return without(properties, "PipelineDefinition") | {"PipelineDefinitionS3Location": in_s3}


class Topic(Kind):
    """AWS::SNS::Topic with the subscriptions that it lists itself."""

    name = "TopicName"
    replaced_by = frozenset({"FifoTopic", "Subscription"})

    def create(self, place: Place, properties: Properties) -> Made:
        name = properties.get("TopicName") or place.generated_name(256)
        settings = without(properties, "TopicName", "Subscription", "Tags")
        request = {"Name": name, "Attributes": settings, **only(properties, "Tags")}
        arn = call(place, "sns", "CreateTopic", request)["TopicArn"]
        for subscription in properties.get("Subscription", []):
            call(place, "sns", "Subscribe", {"TopicArn": arn, **subscription})
        return Made(arn, {"TopicArn": arn, "TopicName": name})

    def update(self, place: Place, physical_id: str, old: Properties, new: Properties) -> Made:
        for name, value in without(new, "TopicName", "Subscription", "Tags", "FifoTopic").items():
            if old.get(name) != value:
                request = {"TopicArn": physical_id, "AttributeName": name, "AttributeValue": value}
                call(place, "sns", "SetTopicAttributes", request)
        return Made(physical_id, {"TopicArn": physical_id, "TopicName": physical_id.rpartition(":")[2]})

    def delete(self, place: Place, physical_id: str, properties: Properties) -> None:  # noqa: ARG002  # Kind's
        call_gone(place, "sns", "DeleteTopic", {"TopicArn": physical_id})


class Queue(Kind):
    """AWS::SQS::Queue."""

    name = "QueueName"
    replaced_by = frozenset({"FifoQueue"})

    def create(self, place: Place, properties: Properties) -> Made:
        name = properties.get("QueueName") or place.generated_name(80)
        request = {"QueueName": name, "Attributes": self._settings(properties)} | only(properties, "Tags")
        url = call(place, "sqs", "CreateQueue", request)["QueueUrl"]
        return self._made(place, url)

    def update(self, place: Place, physical_id: str, old: Properties, new: Properties) -> Made:  # noqa: ARG002  # Kind's
        settings = without(self._settings(new), "FifoQueue")
        call(place, "sqs", "SetQueueAttributes", {"QueueUrl": physical_id, "Attributes": settings})
        return self._made(place, physical_id)

    def delete(self, place: Place, physical_id: str, properties: Properties) -> None:  # noqa: ARG002  # Kind's
        call_gone(place, "sqs", "DeleteQueue", {"QueueUrl": physical_id})

    @staticmethod
    def _settings(properties: Properties) -> dict[str, Any]:
        return without(properties, "QueueName", "Tags")

    @staticmethod
    def _made(place: Place, url: str) -> Made:
        name = url.rpartition("/")[2]
        return Made(url, {"Arn": place.account.arn("sqs", name), "QueueName": name, "QueueUrl": url})


class AttachedPolicy(Kind):
    """A policy document that is an attribute of topics or queues."""

    def __init__(self, service: str, operation: str, key: str, targets: str) -> None:
        self._service, self._operation, self._key, self._targets = service, operation, key, targets
        self.replaced_by = frozenset({targets})

    def create(self, place: Place, properties: Properties) -> Made:
        self._set(place, properties, json.dumps(properties["PolicyDocument"]))
        return Made(place.generated_name(), {})

    def update(self, place: Place, physical_id: str, old: Properties, new: Properties) -> Made:  # noqa: ARG002  # Kind's
        self._set(place, new, json.dumps(new["PolicyDocument"]))
        return Made(physical_id, {})

    def delete(self, place: Place, physical_id: str, properties: Properties) -> None:
        """A queue's policy is emptied; a topic's stays until another one replaces it, as on AWS."""
        if self._service == "sqs":
            self._set(place, properties, "", call_gone)

    def _set(self, place: Place, properties: Properties, policy: str, send: Callable[..., Any] = call) -> None:
        for target in properties[self._targets]:
            if self._service == "sqs":
                request: dict[str, Any] = {"Attributes": {"Policy": policy}}
            else:
                request = {"AttributeName": "Policy", "AttributeValue": policy}
            send(place, self._service, self._operation, {self._key: target, **request})


class Key(ApiKind):
    """AWS::KMS::Key."""

    def __init__(self) -> None:
        super().__init__(
            "kms",
            "CreateKey",
            "ScheduleKeyDeletion",
            "KeyId",
            physical_id=lambda answer, _properties: str(answer["KeyMetadata"]["KeyId"]),
            attributes=lambda answer, _p, _a: {
                "Arn": answer["KeyMetadata"]["Arn"],
                "KeyId": answer["KeyMetadata"]["KeyId"],
            },
        )

    def create(self, place: Place, properties: Properties) -> Made:
        policy = {"Policy": properties["KeyPolicy"]} if "KeyPolicy" in properties else {}
        known = without(properties, "KeyPolicy", "EnableKeyRotation", "PendingWindowInDays")
        made = super().create(place, known | policy)
        if as_text(properties.get("EnableKeyRotation", False)) == "true":
            call(place, "kms", "EnableKeyRotation", {"KeyId": made.physical_id})
        return made

    def delete(self, place: Place, physical_id: str, properties: Properties) -> None:
        request = {"KeyId": physical_id, **only(properties, "PendingWindowInDays")}
        call_gone(place, "kms", "ScheduleKeyDeletion", request)


COMPOUNDS: dict[str, Kind] = {
    "AWS::Events::Rule": Rule(),
    "AWS::IAM::ManagedPolicy": ManagedPolicy(),
    "AWS::IAM::Policy": Policy(),
    "AWS::IAM::Role": Role(),
    "AWS::KMS::Key": Key(),
    "AWS::Lambda::Function": Function(),
    "AWS::Lambda::LayerVersion": LayerVersion(),
    "AWS::Lambda::Permission": Permission(),
    "AWS::Logs::LogGroup": LogGroup(),
    "AWS::S3::Bucket": Bucket(),
    "AWS::S3::BucketPolicy": BucketPolicy(),
    "AWS::SNS::Topic": Topic(),
    "AWS::SNS::TopicPolicy": AttachedPolicy("sns", "SetTopicAttributes", "TopicArn", "Topics"),
    "AWS::SQS::Queue": Queue(),
    "AWS::SQS::QueuePolicy": AttachedPolicy("sqs", "SetQueueAttributes", "QueueUrl", "Queues"),
    "AWS::SSM::Parameter": Parameter(),
    "AWS::SageMaker::Pipeline": Pipeline(),
    "AWS::StepFunctions::StateMachine": StateMachine(),
}
