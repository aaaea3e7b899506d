"""Event source mappings: the messages of queues go to functions, batch by batch, as Lambda's pollers send them.

Runs in the server process, one thread for each mapping that is enabled. Messages that a function has done are deleted;
those of a batch that failed come back when their visibility ends, and reach the queue's dead-letter queue as its
redrive policy says. Source: lambda/latest/dg/with-sqs.html. Differences: one batch of a mapping runs at a time,
whatever ScalingConfig says; kinds of source other than SQS are refused.
"""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from moto.awslambda.models import lambda_backends
from moto.sqs.models import sqs_backends

from local_account.account import Account
from local_account.base.arns import parse_arn
from local_account.base.stored import stored
from local_account.events.patterns import matches
from local_account.functions.api.names import named
from local_account.functions.errors import FunctionError
from local_account.functions.functions import Functions

if TYPE_CHECKING:
    from types_boto3_sqs import SQSClient
    from types_boto3_sqs.type_defs import DeleteMessageBatchRequestEntryTypeDef, MessageTypeDef

    from local_account.functions.storage import FunctionStorage

LOOK_S = 0.1
RECEIVED_AT_ONCE = 10
log = logging.getLogger(__name__)


@stored
@dataclass
class SourceMapping:
    """One mapping, as it is kept; ``function_text`` names the function, with its version or alias."""

    uuid: str
    source_arn: str
    function_arn: str
    enabled: bool = True
    batch_size: int = 10
    window_s: float = 0.0
    response_types: list[str] = field(default_factory=list)
    filters: list[str] = field(default_factory=list)
    """Patterns of events, as JSON; a message that fits none is deleted."""
    scaling: dict[str, object] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    modified: float = 0.0

    @property
    def reports_items(self) -> bool:
        """Whether the function says which messages of a batch failed."""
        return "ReportBatchItemFailures" in self.response_types


class SourcePollers:
    """Has a thread for each enabled mapping of the account."""

    def __init__(self, account: Account, functions: Functions) -> None:
        self._account, self._functions = account, functions
        self._running: dict[str, threading.Thread] = {}
        threading.Thread(target=self._watch, name="lambda-sources", daemon=True).start()

    def _watch(self) -> None:
        """Start what was enabled, also before the last restart; threads of what is gone end by themselves."""
        while not self._account.stopping.wait(LOOK_S):
            for uuid in list(self._kept().mappings):
                thread = self._running.get(uuid)
                if self._mapping(uuid) and not (thread and thread.is_alive()):
                    self._running[uuid] = threading.Thread(
                        target=self._poll, args=(uuid,), name=f"lambda-source-{uuid}", daemon=True
                    )
                    self._running[uuid].start()

    def _kept(self) -> FunctionStorage:
        backend = lambda_backends[self._account.account_id][self._account.region]
        return cast("FunctionStorage", backend._lambdas)  # where moto keeps functions

    def _mapping(self, uuid: str) -> SourceMapping | None:
        """A mapping that is to be polled for; None where it is not, or its function is gone."""
        found = self._kept().mappings.get(uuid)
        return found if found and found.enabled and self._kept().has(named(found.function_arn).name) else None

    def _poll(self, uuid: str) -> None:
        while (mapping := self._mapping(uuid)) and not self._account.stopping.wait(LOOK_S):
            try:
                if self._has_messages(mapping):
                    self._deliver(mapping, self._batch(mapping))
            except Exception:  # the next look may find it mended; a thread would end
                log.exception("the event source mapping %s of %s could not go on", uuid, mapping.source_arn)
                time.sleep(1.0)

    def _has_messages(self, mapping: SourceMapping) -> bool:
        queues = sqs_backends[self._account.account_id][self._account.region].queues
        queue = queues.get(parse_arn(mapping.source_arn).resource)
        return queue is not None and bool(queue.messages)

    def _batch(self, mapping: SourceMapping) -> list[MessageTypeDef]:
        """Messages until the batch is full, or its window is over."""
        found: list[MessageTypeDef] = []
        until = time.monotonic() + mapping.window_s
        while len(found) < mapping.batch_size:
            at_once = min(RECEIVED_AT_ONCE, mapping.batch_size - len(found))
            received = self._receive(mapping, at_once)
            found += received
            if not received and (time.monotonic() >= until or self._account.stopping.wait(LOOK_S)):
                break
        return found

    def _receive(self, mapping: SourceMapping, number: int) -> list[MessageTypeDef]:
        answer = self._sqs(mapping).receive_message(
            QueueUrl=self._url(mapping), MaxNumberOfMessages=number, AttributeNames=["All"],
            MessageAttributeNames=["All"], WaitTimeSeconds=0,
        )  # fmt: skip
        return answer.get("Messages", [])

    def _sqs(self, mapping: SourceMapping) -> SQSClient:
        role = self._kept().version_of(named(mapping.function_arn)).role
        return self._account.client("sqs", role)

    def _url(self, mapping: SourceMapping) -> str:
        name = parse_arn(mapping.source_arn).resource
        return f"{self._account.endpoint_url}/{self._account.account_id}/{name}"

    def _deliver(self, mapping: SourceMapping, messages: list[MessageTypeDef]) -> None:
        records = {str(each["MessageId"]): _record(each, mapping, self._account.region) for each in messages}
        wanted = {name: record for name, record in records.items() if _fits(record, mapping.filters)}
        failed = self._invoke(mapping, list(wanted.values())) if wanted else set()
        done = [each for each in messages if each["MessageId"] not in failed]
        for start in range(0, len(done), RECEIVED_AT_ONCE):
            entries: list[DeleteMessageBatchRequestEntryTypeDef] = [
                {"Id": str(number), "ReceiptHandle": each["ReceiptHandle"]}
                for number, each in enumerate(done[start : start + RECEIVED_AT_ONCE])
            ]
            self._sqs(mapping).delete_message_batch(QueueUrl=self._url(mapping), Entries=entries)

    def _invoke(self, mapping: SourceMapping, records: Sequence[Mapping[str, object]]) -> set[str]:
        """The messages that the function has not done."""
        everything = {str(record["messageId"]) for record in records}
        function = self._kept().version_of(named(mapping.function_arn))
        event = json.dumps({"Records": records}).encode()
        try:
            result = self._functions.invoke(function, event, arn=mapping.function_arn)
        except FunctionError as error:
            log.warning("%s could not be invoked for %s: %s", mapping.function_arn, mapping.source_arn, error)
            return everything
        if result.error is not None:
            return everything
        return _reported(result.payload, everything) if mapping.reports_items else set()


def _reported(payload: bytes, everything: set[str]) -> set[str]:
    """The messages that a function reports as failed: all of them where its report is none."""
    try:
        answer = json.loads(payload)
    except ValueError:
        return everything
    failures = (answer or {}).get("batchItemFailures") if isinstance(answer, dict | None) else None
    if not failures:
        return set() if answer is None or isinstance(answer, dict) else everything
    if not isinstance(failures, list):
        return everything
    names = {each.get("itemIdentifier") if isinstance(each, dict) else None for each in failures}
    return {str(name) for name in names} if names <= everything else everything


def _fits(record: Mapping[str, object], filters: Sequence[str]) -> bool:
    """Whether a message is for the function: it fits one of the patterns, its body read as JSON where it is such."""
    if not filters:
        return True
    try:
        body = json.loads(str(record["body"]))
    except ValueError:
        body = record["body"]
    return any(matches(json.loads(pattern), {**record, "body": body}) for pattern in filters)


def _record(message: MessageTypeDef, mapping: SourceMapping, region: str) -> dict[str, object]:
    """A message as functions get it (lambda/latest/dg/with-sqs.html, "Example Amazon SQS message event")."""
    record: dict[str, object] = {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {
            name: _attribute(cast("Mapping[str, object]", value))
            for name, value in message.get("MessageAttributes", {}).items()
        },
    }
    if digest := message.get("MD5OfMessageAttributes"):
        record["md5OfMessageAttributes"] = digest
    return record | {
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": mapping.source_arn,
        "awsRegion": region,
    }


def _attribute(value: Mapping[str, object]) -> dict[str, object]:
    shown: dict[str, object] = {}
    if "StringValue" in value:
        shown["stringValue"] = value["StringValue"]
    if "BinaryValue" in value:
        shown["binaryValue"] = base64.b64encode(cast("bytes", value["BinaryValue"])).decode()
    return {**shown, "stringListValues": [], "binaryListValues": [], "dataType": value["DataType"]}
