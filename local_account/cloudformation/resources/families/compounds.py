"""Types of resource that take more than one call: rules, parameters, pipelines, topics, queues, keys.

Runs in the server process. Each class says what its properties become; ``resources.kinds`` has the rest of
the types.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from local_account.base.arns import last_part
from local_account.cloudformation.resources.base import Kind, Made, StackPlace, call, call_gone
from local_account.cloudformation.resources.families.buckets import Bucket, BucketPolicy
from local_account.cloudformation.resources.families.functions import Function, LayerVersion, Permission, StateMachine
from local_account.cloudformation.resources.families.identity import ManagedPolicy, Policy, Role
from local_account.cloudformation.resources.families.keys import Alias, Key
from local_account.cloudformation.resources.families.log_groups import LOG_GROUPS
from local_account.cloudformation.resources.families.tables import CatalogEntry, DynamoTable
from local_account.cloudformation.resources.values import Properties, ResourceError, as_text, only, part, rows, texts
from local_account.protocol.records import without


class EventRule(Kind):
    """AWS::Events::Rule with its targets."""

    has_tags = True
    name = "Name"
    replaced_by = frozenset({"EventBusName"})

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the rule, then give it its targets.

        Raises ResourceError for targets that EventBridge refuses.
        """
        return self._put(place, place.name_of(properties, "Name"), properties)

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Put the rule and its targets again, and remove the targets that the template no longer has."""
        name = _name_of_rule(physical_id)
        made = self._put(place, name, new)
        kept = {target["Id"] for target in rows(new, "Targets")}
        gone = [target["Id"] for target in rows(old, "Targets") if target["Id"] not in kept]
        if gone:
            call(place, "events", "RemoveTargets", {"Rule": name, "Ids": gone, **only(new, "EventBusName")})
        return made

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the targets, without which a rule can go, then the rule."""
        bus, name = only(properties, "EventBusName"), _name_of_rule(physical_id)
        ids = [target["Id"] for target in rows(properties, "Targets")]
        if ids:
            call_gone(place, "events", "RemoveTargets", {"Rule": name, "Ids": ids, **bus})
        call_gone(place, "events", "DeleteRule", {"Name": name, **bus})

    @staticmethod
    def _put(place: StackPlace, name: str, properties: Properties) -> Made:
        targets = rows(properties, "Targets")
        arn = call(place, "events", "PutRule", without(properties, "Targets") | {"Name": name})["RuleArn"]
        bus = last_part(str(properties.get("EventBusName", "default")))
        reference = name if bus == "default" else f"{bus}|{name}"
        place.begun(reference)
        if targets:
            request = {"Rule": name, "Targets": targets, **only(properties, "EventBusName")}
            answer = call(place, "events", "PutTargets", request)
            if answer.get("FailedEntryCount"):
                raise ResourceError(f"Targets were refused: {answer['FailedEntries']}")
        return Made(reference, {"Arn": arn, "RuleName": name})


def _name_of_rule(physical_id: str) -> str:
    """The rule's own name: ``Ref`` gives ``BUS|RULE`` for one on a bus that is not the default one."""
    return physical_id.rpartition("|")[2]


class Budget(Kind):
    """AWS::Budgets::Budget. A change of whom it tells makes a new one (AWS cannot change that of a budget either)."""

    replaced_by = frozenset({"NotificationsWithSubscribers", "ResourceTags"})

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the budget, whom it tells and its tags in one call."""
        budget = dict(part(properties, "Budget"))
        budget.setdefault("BudgetName", place.generated_name(100))
        request = self._account(place) | {"Budget": budget, **only(properties, "NotificationsWithSubscribers")}
        call(place, "budgets", "CreateBudget", request | only(properties, "ResourceTags"))
        return Made(str(budget["BudgetName"]), {})

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Change amount, time and filters."""
        budget = {"BudgetName": physical_id, **part(new, "Budget")}
        call(place, "budgets", "UpdateBudget", self._account(place) | {"NewBudget": budget})
        return Made(physical_id, {})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the budget with its notifications."""
        call_gone(place, "budgets", "DeleteBudget", self._account(place) | {"BudgetName": physical_id})

    def needs_replacement(self, old: Properties, new: Properties) -> bool:
        """Also for another name, which stands inside the property ``Budget``."""
        renamed = part(old, "Budget").get("BudgetName") != part(new, "Budget").get("BudgetName")
        return renamed or super().needs_replacement(old, new)

    @staticmethod
    def _account(place: StackPlace) -> dict[str, object]:
        return {"AccountId": place.account.account_id}


class StoredParameter(Kind):
    """AWS::SSM::Parameter."""

    has_tags = True
    name = "Name"

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Put the parameter; one of that name that exists already fails it."""
        name = place.name_of(properties, "Name", 1011)
        call(place, "ssm", "PutParameter", {**properties, "Name": name})
        return Made(name, only(properties, "Type", "Value"))

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Overwrite the parameter; its tags stay."""
        call(place, "ssm", "PutParameter", without(new, "Tags") | {"Name": physical_id, "Overwrite": True})
        return Made(physical_id, only(new, "Type", "Value"))

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the parameter."""
        call_gone(place, "ssm", "DeleteParameter", {"Name": physical_id})


class Pipeline(Kind):
    """AWS::SageMaker::Pipeline."""

    has_tags = True
    name = "PipelineName"

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the pipeline of a definition that is text or lies in S3."""
        call(place, "sagemaker", "CreatePipeline", self._request(properties))
        return Made(str(properties["PipelineName"]), {})

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Give the pipeline another definition; its tags stay."""
        call(place, "sagemaker", "UpdatePipeline", without(self._request(new), "Tags"))
        return Made(physical_id, {})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the pipeline."""
        call_gone(place, "sagemaker", "DeletePipeline", {"PipelineName": physical_id})

    @staticmethod
    def _request(properties: Properties) -> dict[str, object]:
        definition = part(properties, "PipelineDefinition")
        body = only(definition, "PipelineDefinitionBody")
        if body:
            return without(properties, "PipelineDefinition") | {"PipelineDefinition": body["PipelineDefinitionBody"]}
        location = part(definition, "PipelineDefinitionS3Location")
        in_s3 = {"Bucket": location["Bucket"], "ObjectKey": location["Key"]} | (
            {"VersionId": location["Version"]} if "Version" in location else {}
        )
        return without(properties, "PipelineDefinition") | {"PipelineDefinitionS3Location": in_s3}


def _fifo(properties: Properties, member: str) -> str:
    """The end that the names of first-in-first-out queues and topics have."""
    return ".fifo" if as_text(properties.get(member, "false")) == "true" else ""


class Topic(Kind):
    """AWS::SNS::Topic with the subscriptions that it lists itself."""

    has_tags = True
    name = "TopicName"
    replaced_by = frozenset({"FifoTopic", "Subscription"})

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the topic, then its subscriptions."""
        name = place.name_of(properties, "TopicName", 256, _fifo(properties, "FifoTopic"))
        settings = without(properties, "TopicName", "Subscription", "Tags")
        request = {"Name": name, "Attributes": settings, **only(properties, "Tags")}
        arn = str(call(place, "sns", "CreateTopic", request)["TopicArn"])
        place.begun(arn)
        for subscription in rows(properties, "Subscription"):
            call(place, "sns", "Subscribe", {"TopicArn": arn, **subscription})
        return Made(arn, {"TopicArn": arn, "TopicName": name})

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Set the attributes that differ, one call each."""
        for name, value in without(new, "TopicName", "Subscription", "Tags", "FifoTopic").items():
            if old.get(name) != value:
                request = {"TopicArn": physical_id, "AttributeName": name, "AttributeValue": value}
                call(place, "sns", "SetTopicAttributes", request)
        return Made(physical_id, {"TopicArn": physical_id, "TopicName": last_part(physical_id)})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the topic."""
        call_gone(place, "sns", "DeleteTopic", {"TopicArn": physical_id})


class MessageQueue(Kind):
    """AWS::SQS::Queue."""

    has_tags = True
    name = "QueueName"
    replaced_by = frozenset({"FifoQueue"})

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Make the queue with all its attributes; it goes by its URL."""
        name = place.name_of(properties, "QueueName", 80, _fifo(properties, "FifoQueue"))
        request = {"QueueName": name, "Attributes": self._settings(properties)} | only(properties, "Tags")
        url = str(call(place, "sqs", "CreateQueue", request)["QueueUrl"])
        return self._made(place, url)

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Set all attributes; whether it is FIFO cannot change."""
        settings = without(self._settings(new), "FifoQueue")
        call(place, "sqs", "SetQueueAttributes", {"QueueUrl": physical_id, "Attributes": settings})
        return self._made(place, physical_id)

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """Remove the queue with its messages."""
        call_gone(place, "sqs", "DeleteQueue", {"QueueUrl": physical_id})

    @staticmethod
    def _settings(properties: Properties) -> dict[str, object]:
        unset = () if _fifo(properties, "FifoQueue") else ("FifoQueue",)
        return without(properties, "QueueName", "Tags", *unset)

    @staticmethod
    def _made(place: StackPlace, url: str) -> Made:
        name = last_part(url)
        return Made(url, {"Arn": place.account.arn("sqs", name), "QueueName": name, "QueueUrl": url})


Send = Callable[[StackPlace, str, str, Properties], object]
"""`call` or `call_gone`."""


class AttachedPolicy(Kind):
    """A policy document that is an attribute of topics or queues."""

    def __init__(self, service: str, operation: str, key: str, targets: str) -> None:
        self._service, self._operation, self._key, self._targets = service, operation, key, targets
        self.replaced_by = frozenset({targets})

    def create(self, place: StackPlace, properties: Properties) -> Made:
        """Give the policy to each of the topics or queues."""
        policy = place.generated_name()
        place.begun(policy)
        self._set(place, properties, json.dumps(properties["PolicyDocument"]))
        return Made(policy, {})

    def update(self, place: StackPlace, physical_id: str, old: Properties, new: Properties) -> Made:
        """Replace the policy of each of the topics or queues."""
        self._set(place, new, json.dumps(new["PolicyDocument"]))
        return Made(physical_id, {})

    def delete(self, place: StackPlace, physical_id: str, properties: Properties) -> None:
        """A queue's policy is emptied; a topic's stays until another one replaces it, as on AWS."""
        if self._service == "sqs":
            self._set(place, properties, "", call_gone)

    def _set(self, place: StackPlace, properties: Properties, policy: str, send: Send = call) -> None:
        for target in texts(properties, self._targets, required=True):
            if self._service == "sqs":
                request: dict[str, object] = {"Attributes": {"Policy": policy}}
            else:
                request = {"AttributeName": "Policy", "AttributeValue": policy}
            send(place, self._service, self._operation, {self._key: target, **request})


COMPOUNDS: dict[str, Kind] = {
    "AWS::DynamoDB::Table": DynamoTable(),
    "AWS::Budgets::Budget": Budget(),
    "AWS::Events::Rule": EventRule(),
    "AWS::Glue::Database": CatalogEntry("Database"),
    "AWS::Glue::Table": CatalogEntry("Table", scope="DatabaseName"),
    "AWS::IAM::ManagedPolicy": ManagedPolicy(),
    "AWS::IAM::Policy": Policy(),
    "AWS::IAM::Role": Role(),
    "AWS::KMS::Alias": Alias(),
    "AWS::KMS::Key": Key(),
    "AWS::Lambda::Function": Function(),
    "AWS::Lambda::LayerVersion": LayerVersion(),
    "AWS::Lambda::Permission": Permission(),
    **LOG_GROUPS,
    "AWS::S3::Bucket": Bucket(),
    "AWS::S3::BucketPolicy": BucketPolicy(),
    "AWS::SNS::Topic": Topic(),
    "AWS::SNS::TopicPolicy": AttachedPolicy("sns", "SetTopicAttributes", "TopicArn", "Topics"),
    "AWS::SQS::Queue": MessageQueue(),
    "AWS::SQS::QueuePolicy": AttachedPolicy("sqs", "SetQueueAttributes", "QueueUrl", "Queues"),
    "AWS::SSM::Parameter": StoredParameter(),
    "AWS::SageMaker::Pipeline": Pipeline(),
    "AWS::StepFunctions::StateMachine": StateMachine(),
}
