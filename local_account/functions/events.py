"""Asynchronous invocations: a queue in memory, retries, destinations and dead-letter targets.

Runs in the server process. As on AWS (lambda/latest/dg/invocation-async-error-handling.html): two retries after a
function error unless the event invoke configuration says otherwise, throttled events are tried until their age exceeds
the maximum, then the failure goes to the on-failure destination and to the dead-letter target. Differences: AWS waits
one and two minutes before its retries, here it is one and two seconds (``LOCAL_ACCOUNT_LAMBDA_RETRY_WAITS=60,120``
restores AWS's); events that wait are lost when the account stops.
"""

from __future__ import annotations

import datetime
import heapq
import itertools
import json
import logging
import os
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypedDict, cast

from moto.awslambda.models import lambda_backends

from local_account.account import Account
from local_account.base.arns import own_arn, parse_arn
from local_account.functions.api.names import LATEST, FunctionName, named
from local_account.functions.errors import FunctionError, FunctionThrottledError
from local_account.functions.functions import Functions, InvocationResult

if TYPE_CHECKING:
    from types_boto3_events.type_defs import PutEventsRequestEntryTypeDef
    from types_boto3_lambda.type_defs import DestinationConfigTypeDef
    from types_boto3_sqs.type_defs import MessageAttributeValueTypeDef

    from local_account.functions.configuration import AccountFunction
    from local_account.functions.storage import FunctionStorage

DEFAULT_WAITS_S = (1.0, 2.0)
THROTTLE_WAIT_S = 1.0
MAXIMUM_AGE_S = 21_600
log = logging.getLogger(__name__)


class AsyncSettings(TypedDict, total=False):
    """What PutFunctionEventInvokeConfig brings."""

    MaximumRetryAttempts: int
    MaximumEventAgeInSeconds: int
    DestinationConfig: DestinationConfigTypeDef


@dataclass
class Event:
    """One asynchronous invocation on its way."""

    function: AccountFunction
    arn: str
    body: bytes
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    settings: AsyncSettings = field(default_factory=AsyncSettings)
    """What was configured for what was invoked, when it was."""
    accepted: float = field(default_factory=time.time)
    attempts: int = 0
    last: InvocationResult | None = None

    def destination(self, *, succeeded: bool) -> str | None:
        """The ARN that a result or a failure is sent to."""
        configured = self.settings.get("DestinationConfig", {})
        chosen = configured.get("OnSuccess", {}) if succeeded else configured.get("OnFailure", {})
        return chosen.get("Destination")


class EventQueue:
    """Takes events, runs them on a few threads, and reports what came of them."""

    def __init__(self, account: Account, functions: Functions) -> None:
        self._account, self._functions = account, functions
        waits = os.environ.get("LOCAL_ACCOUNT_LAMBDA_RETRY_WAITS")
        self._waits_s = tuple(float(wait) for wait in waits.split(",")) if waits else DEFAULT_WAITS_S
        self._due: list[tuple[float, int, Event]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._threads = ThreadPoolExecutor(16, thread_name_prefix="lambda-event")
        threading.Thread(target=self._dispatch, name="lambda-events", daemon=True).start()

    def accept(self, function: AccountFunction, arn: str, body: bytes) -> Event:
        """Take an invocation that nobody waits for; ``arn`` is the function as its invoker named it."""
        event = Event(function, arn, body, settings=_settings(function, arn))
        self.put(event)
        return event

    def put(self, event: Event, wait_s: float = 0.0) -> None:
        """Run an event after a while."""
        with self._changed:
            heapq.heappush(self._due, (time.monotonic() + wait_s, next(self._numbers), event))
            self._changed.notify()

    def _dispatch(self) -> None:
        while not self._account.stopping.is_set():
            with self._changed:
                wait_s = self._due[0][0] - time.monotonic() if self._due else 1.0
                if not self._due or wait_s > 0:
                    self._changed.wait(min(wait_s, 1.0))
                    continue
                event = heapq.heappop(self._due)[2]
            self._threads.submit(self._guarded, event)

    def _guarded(self, event: Event) -> None:
        try:
            self._run(event)
        except Exception:  # a thread of the executor would swallow it
            log.exception("the event %s of %s was lost", event.request_id, event.arn)

    def _run(self, event: Event) -> None:
        maximum_age_s = event.settings.get("MaximumEventAgeInSeconds", MAXIMUM_AGE_S)
        if time.time() - event.accepted > maximum_age_s:
            self._failed(event, "EventAgeExceeded")
            return
        try:
            result = self._functions.invoke(event.function, event.body, arn=event.arn, request_id=event.request_id)
        except FunctionThrottledError:
            if str(event.function.reserved_concurrency) == "0":  # it may not run, so nothing is waited for
                self._failed(event, "ZeroReservedConcurrency")
            else:
                self.put(event, THROTTLE_WAIT_S)
            return
        except FunctionError as error:
            payload = json.dumps({"errorType": error.code, "errorMessage": str(error)}).encode()
            result = InvocationResult(payload, "Unhandled", [], event.request_id)
        event.attempts, event.last = event.attempts + 1, result
        if result.error is None:
            self._deliver(event, "Success", succeeded=True)
        elif event.attempts <= int(event.settings.get("MaximumRetryAttempts", 2)):
            self.put(event, self._waits_s[min(event.attempts, len(self._waits_s)) - 1])
        else:
            self._failed(event, "RetriesExhausted")

    def _failed(self, event: Event, condition: str) -> None:
        self._deliver(event, condition, succeeded=False)
        target = (event.function.dead_letter_config or {}).get("TargetArn")
        if target:
            self._send_dead_letter(event, target)

    def _deliver(self, event: Event, condition: str, *, succeeded: bool) -> None:
        target = event.destination(succeeded=succeeded)
        if not target:
            return
        text, service = json.dumps(_record(event, condition)), parse_arn(target).service
        client, role = self._account.client, event.function.role
        if service == "sqs":
            client("sqs", role).send_message(QueueUrl=self._queue_url(target), MessageBody=text)
        elif service == "sns":
            client("sns", role).publish(TopicArn=target, Message=text)
        elif service == "lambda":
            client("lambda", role).invoke(FunctionName=target, InvocationType="Event", Payload=text.encode())
        elif service == "events":
            result = "Success" if succeeded else "Failure"
            entry: PutEventsRequestEntryTypeDef = {
                "Source": "lambda",
                "DetailType": f"Lambda Function Invocation Result - {result}",
                "Detail": text,
                "EventBusName": target,
                "Resources": [_qualified(event.function), target],
            }
            client("events", role).put_events(Entries=[entry])
        else:
            log.error("%s: a destination of the service %r is not supported (%s)", event.arn, service, target)

    def _send_dead_letter(self, event: Event, target: str) -> None:
        values = {"RequestID": event.request_id, "ErrorCode": "200", "ErrorMessage": _error_message(event)[:1024]}
        attributes: dict[str, MessageAttributeValueTypeDef] = {
            name: {"DataType": "Number" if name == "ErrorCode" else "String", "StringValue": value}
            for name, value in values.items()
            if value
        }
        body = event.body.decode("utf-8", "replace")
        client, role = self._account.client, event.function.role
        if ":sqs:" in target:
            queue_url = self._queue_url(target)
            client("sqs", role).send_message(QueueUrl=queue_url, MessageBody=body, MessageAttributes=attributes)
        else:
            client("sns", role).publish(TopicArn=target, Message=body, MessageAttributes=attributes)

    def _queue_url(self, arn: str) -> str:
        queue = own_arn(arn, self._account.account_id, self._account.region)
        if queue is None:
            raise ValueError(f"expected a queue of this account and region, got {arn}")
        url: str = self._account.client("sqs").get_queue_url(QueueName=queue.resource)["QueueUrl"]
        return url


def _settings(function: AccountFunction, arn: str) -> AsyncSettings:
    """The event invoke configuration of the version or alias that is invoked; empty without one."""
    kept = cast("FunctionStorage", lambda_backends[function.account_id][function.region]._lambdas)
    latest = kept.version_of(FunctionName(function.function_name))
    return cast("AsyncSettings", latest.invoke_configs.get(named(arn).qualifier or LATEST, {}))


def _json(body: bytes) -> object:
    try:
        return json.loads(body)
    except ValueError:
        return body.decode("utf-8", "replace")


def _error_message(event: Event) -> str:
    payload = _json(event.last.payload) if event.last else {}
    return str(payload.get("errorMessage", "")) if isinstance(payload, dict) else ""


def _qualified(function: AccountFunction) -> str:
    return f"{function.unqualified_arn}:{function.version}"


def _record(event: Event, condition: str) -> dict[str, object]:
    """The invocation record of lambda/latest/dg/invocation-async-retain-records.html."""
    version = str(event.function.version)
    record: dict[str, object] = {
        "version": "1.0",
        "timestamp": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z",
        "requestContext": {
            "requestId": event.request_id,
            "functionArn": _qualified(event.function),
            "condition": condition,
            "approximateInvokeCount": event.attempts,
        },
        "requestPayload": _json(event.body),
    }
    if event.last is None:
        return record
    context: dict[str, object] = {"statusCode": 200, "executedVersion": version}
    if event.last.error is not None:
        context["functionError"] = event.last.error
    return {**record, "responseContext": context, "responsePayload": _json(event.last.payload)}
