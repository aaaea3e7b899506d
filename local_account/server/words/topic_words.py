"""What SNS refuses before it looks at a topic, in its own words.

Runs in the server process, called by ``service_words``. Authority: the answers of AWS to such requests, and the SNS API
reference.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from local_account.base.arns import read_arn

ARN_PARTS = 6
LONGEST_SUBJECT = 100
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NAME = re.compile(r"[\w-]{1,256}", re.ASCII)
_FIFO_NAME = re.compile(r"[\w-]{1,251}\.fifo", re.ASCII)
_MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_PROTOCOLS = {"http", "https", "email", "email-json", "sms", "sqs", "application", "lambda", "firehose"}
_OF_SUBSCRIPTIONS = {
    "DeliveryPolicy", "FilterPolicy", "FilterPolicyScope", "RawMessageDelivery", "RedrivePolicy", "SubscriptionRoleArn",
    "ReplayPolicy",
}  # fmt: skip
_OF_TOPICS = re.compile(
    r"DeliveryPolicy|DisplayName|Policy|TracingConfig|KmsMasterKeyId|SignatureVersion|ContentBasedDeduplication|"
    r"ArchivePolicy|FifoTopic|FifoThroughputScope|DataProtectionPolicy|"
    r"(HTTP|Firehose|Lambda|Application|SQS)(SuccessFeedbackRoleArn|SuccessFeedbackSampleRate|FailureFeedbackRoleArn)"
)
_KINDS = ("Binary", "Number", "String")


class TopicRefusal(NamedTuple):
    """A code and what it says."""

    code: str
    message: str


def topic_words(operation: str, members: Mapping[str, object]) -> TopicRefusal | None:
    """How SNS refuses a request; None lets it pass."""
    for check in (_arns, _topic, _subscription, _subscription_attribute, _message, _attributes, _batch, _tags):
        if refused := next(check(operation, members), None):
            return refused
    return None


def _invalid(what: str) -> TopicRefusal:
    return TopicRefusal("InvalidParameter", f"Invalid parameter: {what}")


def _arns(_operation: str, members: Mapping[str, object]) -> Iterator[TopicRefusal]:
    for name, value in members.items():
        if name.endswith("Arn") and isinstance(value, str) and (parts := value.count(":") + 1) < ARN_PARTS:
            yield _invalid(f"{name} Reason: An ARN must have at least {ARN_PARTS} elements, not {parts}")
    token = members.get("NextToken", members.get("nextToken"))
    if isinstance(token, str) and not token.isdigit():
        yield _invalid("NextToken")


def _topic(operation: str, members: Mapping[str, object]) -> Iterator[TopicRefusal]:
    given = members.get("Attributes")
    if operation == "CreateTopic":
        name = str(members.get("Name", ""))
        is_fifo = isinstance(given, Mapping) and str(given.get("FifoTopic", "")).lower() == "true"
        if is_fifo and not _FIFO_NAME.fullmatch(name):
            yield _invalid(
                "Fifo Topic names must end with .fifo and must be made up of only uppercase and lowercase ASCII "
                "letters, numbers, underscores, and hyphens, and must be between 1 and 256 characters long."
            )
        if not is_fifo and not _NAME.fullmatch(name):
            yield _invalid("Topic Name")
    if operation == "SetTopicAttributes" and not _OF_TOPICS.fullmatch(str(members.get("AttributeName"))):
        yield _invalid("AttributeName")


def _subscription(operation: str, members: Mapping[str, object]) -> Iterator[TopicRefusal]:
    if operation != "Subscribe":
        return
    protocol, endpoint = str(members.get("Protocol", "")), str(members.get("Endpoint", ""))
    if protocol not in _PROTOCOLS:
        yield _invalid(f"Amazon SNS does not support this protocol string: {protocol}")
    if protocol in {"http", "https"} and not endpoint.startswith(f"{protocol}://"):
        yield _invalid("Endpoint must match the specified protocol")
    if protocol.startswith("email") and not _MAIL.fullmatch(endpoint):
        yield _invalid("Email address")
    arn = read_arn(endpoint)
    for name, title in (("sqs", "SQS"), ("lambda", "Lambda")):
        if protocol == name and (arn is None or arn.service != name):
            yield _invalid(f"{title} endpoint ARN")
    given = members.get("Attributes")
    for name, value in given.items() if isinstance(given, Mapping) else ():
        yield from _attribute(str(name), str(value))


def _subscription_attribute(operation: str, members: Mapping[str, object]) -> Iterator[TopicRefusal]:
    if operation == "SetSubscriptionAttributes":
        yield from _attribute(str(members.get("AttributeName")), str(members.get("AttributeValue", "")))


def _attribute(name: str, value: str) -> Iterator[TopicRefusal]:
    if name not in _OF_SUBSCRIPTIONS:
        yield _invalid("AttributeName")
    if name == "FilterPolicyScope" and value not in {"MessageBody", "MessageAttributes"}:
        why = f"Invalid value [{value}]. Please use either MessageBody or MessageAttributes"
        yield _invalid(f"FilterPolicyScope: {why}")
    if name == "RawMessageDelivery" and value.lower() not in {"true", "false"}:
        yield _invalid(f"RawMessageDelivery: Invalid value [{value}]. Must be true or false.")
    if name in {"FilterPolicy", "RedrivePolicy"} and value:
        document = _json(value)
        if document is None:
            yield _invalid(f"{name}: failed to parse JSON.")
        elif name == "RedrivePolicy" and read_arn(document.get("deadLetterTargetArn")) is None:
            yield _invalid("RedrivePolicy: deadLetterTargetArn is an invalid arn")


def _json(text: str) -> Mapping[str, object] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, Mapping) else None


def _message(operation: str, members: Mapping[str, object]) -> Iterator[TopicRefusal]:
    if operation != "Publish":
        return
    if not members.keys() & {"TopicArn", "TargetArn", "PhoneNumber"}:
        yield _invalid("TopicArn or TargetArn Reason: no value for required parameter")
    message, subject = str(members.get("Message", "")), members.get("Subject")
    if not message:
        yield _invalid("Empty message")
    if members.get("MessageStructure") == "json":
        by_protocol = _json(message)
        if by_protocol is None:
            yield _invalid("Message Structure - JSON message body failed to parse")
        elif "default" not in by_protocol:
            yield _invalid("Message Structure - No default entry in JSON message body")
    if isinstance(subject, str) and (not 0 < len(subject) <= LONGEST_SUBJECT or _CONTROL.search(subject)):
        yield _invalid("Subject")
    if str(members.get("TopicArn", "")).endswith(".fifo") and not members.get("MessageGroupId"):
        yield _invalid("The MessageGroupId parameter is required for FIFO topics")


def _attributes(operation: str, members: Mapping[str, object]) -> Iterator[TopicRefusal]:
    given = members.get("MessageAttributes")
    for name, value in given.items() if operation == "Publish" and isinstance(given, Mapping) else ():
        kind, text = str(value.get("DataType", "")), value.get("StringValue")
        about = f"The message attribute '{name}'"
        if not kind.startswith(_KINDS):
            why = (
                "has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and "
                "String."
            )
            yield TopicRefusal("ParameterValueInvalid", f"{about} {why}")
        elif text == "" or (text is None and not value.get("BinaryValue")):
            why = f"must contain non-empty message attribute value for message attribute type '{kind}'."
            yield TopicRefusal("ParameterValueInvalid", f"{about} {why}")
        elif kind.startswith("Number") and not _is_number(str(text)):
            message = f"Could not cast message attribute '{name}' value to number."
            yield TopicRefusal("ParameterValueInvalid", message)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _batch(operation: str, members: Mapping[str, object]) -> Iterator[TopicRefusal]:
    if operation == "PublishBatch" and not members.get("PublishBatchRequestEntries"):
        yield TopicRefusal("EmptyBatchRequest", "The batch request doesn't contain any entries.")


def _tags(operation: str, members: Mapping[str, object]) -> Iterator[TopicRefusal]:
    tags = members.get("Tags")
    keys = [each.get("Key") for each in tags if isinstance(each, Mapping)] if isinstance(tags, list) else []
    if operation in {"CreateTopic", "TagResource"} and len(keys) > len(set(keys)):
        yield _invalid("Duplicated keys are not allowed.")
