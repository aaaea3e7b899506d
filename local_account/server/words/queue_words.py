"""What SQS refuses before it looks at a queue, in its own words.

Runs in the server process, called by ``service_words``. Authority: the answers of AWS to such requests, and the SQS API
reference; limits from SQSDeveloperGuide, "Quotas".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from local_account.base.arns import read_arn

MOST_ENTRIES = 10
_ENTRY_ID = re.compile(r"[\w-]{1,80}", re.ASCII)
_NAME = re.compile(r"[\w-]{1,80}", re.ASCII)
_FIFO_NAME = re.compile(r"[\w-]{1,75}\.fifo", re.ASCII)
_NOT_IN_A_MESSAGE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_RANGES = {
    "DelaySeconds": (0, 900),
    "MaximumMessageSize": (1024, 1048576),
    "MessageRetentionPeriod": (60, 1209600),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "VisibilityTimeout": (0, 43200),
    "KmsDataKeyReusePeriodSeconds": (60, 86400),
}
_DOCUMENTS = {"Policy", "RedriveAllowPolicy"}
_FLAGS = {"FifoQueue", "ContentBasedDeduplication", "SqsManagedSseEnabled"}
_ATTRIBUTES = {
    *_RANGES, *_FLAGS, "Policy", "RedrivePolicy", "RedriveAllowPolicy", "KmsMasterKeyId", "DeduplicationScope",
    "FifoThroughputLimit",
}  # fmt: skip
_VALID_CHARACTERS = (
    "Invalid characters was found in the message body. Valid Unicode characters are: #x9 | #xA | #xD | #x20 to #xD7FF "
    "| #xE000 to #xFFFD | #x10000 to #x10FFFF"
)


class QueueRefusal(NamedTuple):
    """A code and what it says."""

    code: str
    message: str


def queue_words(operation: str, members: Mapping[str, object]) -> QueueRefusal | None:
    """How SQS refuses a request; None lets it pass."""
    for check in (_name, _batch, _received, _message, _attributes):
        if refused := next(check(operation, members), None):
            return refused
    return None


def _value(value: object, name: str, reason: str) -> QueueRefusal:
    return QueueRefusal("InvalidParameterValue", f"Value {value} for parameter {name} is invalid. Reason: {reason}")


def _name(operation: str, members: Mapping[str, object]) -> Iterator[QueueRefusal]:
    name = members.get("QueueName")
    if operation != "CreateQueue" or not isinstance(name, str):
        return
    attributes = members.get("Attributes")
    is_fifo = isinstance(attributes, Mapping) and str(attributes.get("FifoQueue", "")).lower() == "true"
    if is_fifo and not _FIFO_NAME.fullmatch(name):
        message = (
            "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with "
            ".fifo suffix and be 1 to 80 in length."
        )
        yield QueueRefusal("InvalidParameterValue", message)
    if not is_fifo and not _NAME.fullmatch(name):
        message = "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
        yield QueueRefusal("InvalidParameterValue", message)


def _batch(operation: str, members: Mapping[str, object]) -> Iterator[QueueRefusal]:
    entries = members.get("Entries")
    if not operation.endswith("Batch") or not isinstance(entries, Sequence):
        return
    ids = [str(each.get("Id", "")) for each in entries if isinstance(each, Mapping)]
    start = "AWS.SimpleQueueService."
    if not entries:
        yield QueueRefusal(
            f"{start}EmptyBatchRequest", f"There should be at least one {operation}RequestEntry in the request."
        )
    if len(entries) > MOST_ENTRIES:
        message = f"Maximum number of entries per request are {MOST_ENTRIES}. You have sent {len(entries)}."
        yield QueueRefusal(f"{start}TooManyEntriesInBatchRequest", message)
    if not all(_ENTRY_ID.fullmatch(each) for each in ids):
        message = (
            "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 "
            "letters long."
        )
        yield QueueRefusal(f"{start}InvalidBatchEntryId", message)
    if repeated := next((each for at, each in enumerate(ids) if each in ids[:at]), None):
        yield QueueRefusal(f"{start}BatchEntryIdsNotDistinct", f"Id {repeated} repeated.")


def _received(operation: str, members: Mapping[str, object]) -> Iterator[QueueRefusal]:
    if operation != "ReceiveMessage":
        return
    number, wait_s = members.get("MaxNumberOfMessages"), members.get("WaitTimeSeconds")
    if isinstance(number, int) and not 1 <= number <= MOST_ENTRIES:
        yield _value(number, "MaxNumberOfMessages", f"Must be between 1 and {MOST_ENTRIES}, if provided.")
    if isinstance(wait_s, int) and not 0 <= wait_s <= _RANGES["ReceiveMessageWaitTimeSeconds"][1]:
        yield _value(wait_s, "WaitTimeSeconds", "Must be >= 0 and <= 20, if provided.")


def _message(operation: str, members: Mapping[str, object]) -> Iterator[QueueRefusal]:
    if operation != "SendMessage":
        return
    body = members.get("MessageBody")
    if body == "":
        yield QueueRefusal("MissingParameter", "The request must contain the parameter MessageBody.")
    if isinstance(body, str) and _NOT_IN_A_MESSAGE.search(body):
        yield QueueRefusal("InvalidMessageContents", _VALID_CHARACTERS)
    delay_s = members.get("DelaySeconds")
    if isinstance(delay_s, int) and not 0 <= delay_s <= _RANGES["DelaySeconds"][1]:
        yield _value(delay_s, "DelaySeconds", "DelaySeconds must be >= 0 and <= 900.")
    attributes = members.get("MessageAttributes")
    for name, value in attributes.items() if isinstance(attributes, Mapping) else ():
        if isinstance(value, Mapping) and not value.get("StringValue", " "):
            told = (
                f"Message (user) attribute '{name}' must contain a non-empty value of type '{value.get('DataType')}'."
            )
            yield QueueRefusal("InvalidParameterValue", told)
    deduplication = members.get("MessageDeduplicationId")
    if deduplication and not str(members.get("QueueUrl", "")).endswith(".fifo"):
        reason = "The request includes a parameter that is not valid for this queue type."
        yield _value(deduplication, "MessageDeduplicationId", reason)


def _attributes(operation: str, members: Mapping[str, object]) -> Iterator[QueueRefusal]:
    given = members.get("Attributes")
    if operation not in {"CreateQueue", "SetQueueAttributes"} or not isinstance(given, Mapping):
        return
    for name, value in given.items():
        is_of_others = name == "FifoQueue" and not _is_fifo(members)
        if name not in _ATTRIBUTES or is_of_others:
            yield QueueRefusal("InvalidAttributeName", f"Unknown Attribute {name}.")
        elif not _is_valid(str(name), str(value)):
            yield QueueRefusal("InvalidAttributeValue", f"Invalid value for the parameter {name}.")
        elif name == "FifoQueue" and str(value).lower() == "false":
            reason = "Modifying queue type is not supported."
            yield QueueRefusal("InvalidAttributeValue", f"Invalid value for the parameter {name}. Reason: {reason}")
    if str(given.get("SqsManagedSseEnabled", "")).lower() == "true" and given.get("KmsMasterKeyId"):
        message = (
            "You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS "
            "SSE."
        )
        yield QueueRefusal("InvalidAttributeName", message)
    yield from _redrive(given.get("RedrivePolicy"))


def _is_fifo(members: Mapping[str, object]) -> bool:
    """Whether a queue is called what a first-in-first-out queue is called, or asked to be one."""
    given = members.get("Attributes")
    asked = isinstance(given, Mapping) and str(given.get("FifoQueue", "")).lower() != "false"
    return str(members.get("QueueUrl", "")).endswith(".fifo") or ("QueueName" in members and asked)


def _is_document(text: str) -> bool:
    try:
        return isinstance(json.loads(text), Mapping)
    except (ValueError, RecursionError):
        return False


def _is_valid(name: str, value: str) -> bool:
    if name in _FLAGS:
        return value.lower() in {"true", "false"}
    if name in _DOCUMENTS:
        return not value or _is_document(value)
    if name not in _RANGES:
        return True
    low, high = _RANGES[name]
    return value.isascii() and value.isdigit() and low <= int(value) <= high


def _redrive(text: object) -> Iterator[QueueRefusal]:
    if not isinstance(text, str) or not text:
        return
    try:
        policy = json.loads(text)
    except ValueError:
        policy = None
    if not isinstance(policy, Mapping):
        yield _value(text, "RedrivePolicy", "Redrive policy is not a valid JSON map.")
    elif not {"deadLetterTargetArn", "maxReceiveCount"} <= policy.keys():
        missing = min({"deadLetterTargetArn", "maxReceiveCount"} - policy.keys())
        yield _value(text, "RedrivePolicy", f"Redrive policy does not contain mandatory attribute: {missing}.")
    elif (arn := read_arn(policy["deadLetterTargetArn"])) is None or arn.service != "sqs":
        yield _value(text, "RedrivePolicy", "Invalid value for deadLetterTargetArn.")
    elif not str(policy["maxReceiveCount"]).isdigit() or not 1 <= int(str(policy["maxReceiveCount"])) <= 1000:
        yield _value(text, "RedrivePolicy", "Invalid value for maxReceiveCount.")
