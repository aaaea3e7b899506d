"""Delivery to targets of rules, schedules and alarms: in threads of its own, with retries and dead-letter queues.

Runs in the server process. Deliveries that wait for a retry are lost when the account stops; EventBridge would keep
them for up to a day.
"""

from __future__ import annotations

import heapq
import itertools
import json
import logging
import queue
import random
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from local_account.account import Account
from local_account.base.arns import last_part, parse_arn, read_arn
from local_account.events.documents import BusEvent, EventTarget

if TYPE_CHECKING:
    from types_boto3_events.type_defs import PutEventsRequestEntryTypeDef
    from types_boto3_sqs.type_defs import SendMessageRequestTypeDef

log = logging.getLogger(__name__)

WORKERS = 4
# EventBridge's defaults: 185 attempts in 24 hours, with exponential backoff and jitter.
MAX_ATTEMPTS = 185
MAX_AGE_S = 86_400
MAX_BACKOFF_S = 60.0
_PERMANENT = ("NotFound", "DoesNotExist", "NonExistent", "AccessDenied", "Validation", "InvalidRequestContent")


class UndeliverableError(Exception):
    """A target that the stand-in account cannot deliver to, or a payload that it cannot take."""


def service_of(arn: str) -> str:
    """Which kind of target an ARN names; raises UndeliverableError for one that nothing here delivers to."""
    if named := read_arn(arn):
        if named.service in {"codepipeline", "lambda", "states", "sqs", "sns", "logs"}:
            return named.service
        if (named.service, named.kind) in {("sagemaker", "pipeline"), ("events", "event-bus")}:
            return named.service
    raise UndeliverableError(f"The stand-in account cannot deliver to {arn}.")


@dataclass
class Delivery:
    """One payload for one target; ``source_arn`` is the rule or schedule it comes from."""

    target: EventTarget
    payload: str
    source_arn: str
    attempts: int = 0
    first_at: float = field(default_factory=time.time)


class Deliverer:
    """Takes deliveries without blocking."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._ready: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._later: list[tuple[float, int, Delivery]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        for number in range(WORKERS):
            threading.Thread(target=self._work, name=f"delivery-{number}", daemon=True).start()
        threading.Thread(target=self._wait_for_retries, name="delivery-retries", daemon=True).start()

    def deliver(self, delivery: Delivery, delay_s: float = 0.0) -> None:
        """Send now or after a while; what fails is tried again."""
        if delay_s > 0:
            self._put_off(delivery, delay_s)
        else:
            self._ready.put(lambda: self._try(delivery))

    def _put_off(self, delivery: Delivery, delay_s: float) -> None:
        with self._changed:
            heapq.heappush(self._later, (time.monotonic() + delay_s, next(self._numbers), delivery))
            self._changed.notify()

    def run(self, job: Callable[[], None]) -> None:
        """Run anything else off the caller's thread."""
        self._ready.put(job)

    def _work(self) -> None:
        while True:
            job = self._ready.get()
            try:
                job()
            except Exception:
                log.exception("a delivery failed")

    def _wait_for_retries(self) -> None:
        while True:
            with self._changed:
                wait_s = self._later[0][0] - time.monotonic() if self._later else None
                if wait_s is None or wait_s > 0:
                    self._changed.wait(wait_s)
                    continue
                _, _, delivery = heapq.heappop(self._later)
            self.deliver(delivery)

    def _try(self, delivery: Delivery) -> None:
        delivery.attempts += 1
        try:
            send(self._account, delivery)
            return
        except (BotoCoreError, ClientError, UndeliverableError) as error:
            failure = error
        if self._account.stopping.is_set():
            return
        policy = delivery.target.get("RetryPolicy", {})
        attempts = policy.get("MaximumRetryAttempts", MAX_ATTEMPTS)
        age_s = policy.get("MaximumEventAgeInSeconds", MAX_AGE_S)
        delay_s = min(MAX_BACKOFF_S, 2.0 ** (delivery.attempts - 1)) * random.uniform(0.5, 1)  # noqa: S311 (jitter)
        exhausted = None
        if delivery.attempts > attempts:
            exhausted = "MaximumRetryAttempts"
        elif time.time() + delay_s - delivery.first_at > age_s:
            exhausted = "MaximumEventAgeInSeconds"
        if exhausted or _is_permanent(failure):
            self._give_up(delivery, failure, exhausted)
            return
        self._put_off(delivery, delay_s)

    def _give_up(self, delivery: Delivery, failure: Exception, exhausted: str | None) -> None:
        arn = delivery.target["Arn"]
        log.warning("%s could not be delivered to %s: %s", delivery.source_arn, arn, failure)
        dead_letters = delivery.target.get("DeadLetterConfig", {}).get("Arn")
        if not dead_letters:
            return
        attributes = {
            "ERROR_CODE": _code(failure),
            "ERROR_MESSAGE": str(failure),
            "RETRY_ATTEMPTS": str(delivery.attempts - 1),
            "RULE_ARN": delivery.source_arn,
            "TARGET_ARN": arn,
        }
        if exhausted:
            attributes["EXHAUSTED_RETRY_CONDITION"] = exhausted
        self._account.client("sqs").send_message(
            QueueUrl=queue_url(self._account, dead_letters),
            MessageBody=delivery.payload,
            MessageAttributes={k: {"DataType": "String", "StringValue": v} for k, v in attributes.items()},
        )


def _code(failure: Exception) -> str:
    if isinstance(failure, ClientError):
        return str(failure.response["Error"]["Code"])
    return type(failure).__name__


def _is_permanent(failure: Exception) -> bool:
    return isinstance(failure, UndeliverableError) or any(word in _code(failure) for word in _PERMANENT)


def queue_url(account: Account, arn: str) -> str:
    """The address of the queue of an ARN; raises ClientError."""
    return str(account.client("sqs").get_queue_url(QueueName=last_part(arn))["QueueUrl"])


def _check_json(payload: str) -> None:
    try:
        json.loads(payload)
    except ValueError as error:
        raise UndeliverableError(f"The target takes JSON, its input is not: {payload[:200]!r} ({error})") from error


def send(account: Account, delivery: Delivery) -> None:
    """Call the target's service once; raises ClientError, BotoCoreError or UndeliverableError."""
    arn = read_arn(delivery.target["Arn"])
    if arn is not None and not arn.is_in(account.account_id, account.region):
        raise UndeliverableError(
            f"The stand-in account cannot deliver to {arn}, which is another account's or region's."
        )
    _demand(account, delivery)
    _SENDERS[service_of(delivery.target["Arn"])](account, delivery.target, delivery.payload)


_ACTIONS = {
    "lambda": "lambda:InvokeFunction",
    "sqs": "sqs:SendMessage",
    "sns": "sns:Publish",
    "states": "states:StartExecution",
    "sagemaker": "sagemaker:StartPipelineExecution",
    "codepipeline": "codepipeline:StartPipelineExecution",
    "events": "events:PutEvents",
}


def _demand(account: Account, delivery: Delivery) -> None:
    """Require that the target's role, or without one the target's own policy, allows the delivery; AccessDeniedError.

    As on AWS (EventBridge User Guide, "Using resource-based policies"). Policies of log groups are not looked at.
    """
    arn, role, authority = delivery.target["Arn"], delivery.target.get("RoleArn"), account.authority
    action = _ACTIONS.get(service_of(arn))
    service = "scheduler.amazonaws.com" if ":scheduler:" in delivery.source_arn else "events.amazonaws.com"
    if role and action:
        authority.demand_trust(role, service, delivery.source_arn)
        authority.demand(role, action, arn)
    elif action in {"lambda:InvokeFunction", "sqs:SendMessage", "sns:Publish"}:
        authority.demand_of_service(service, action, arn, delivery.source_arn)
    elif action and service_of(arn) != "events":
        raise UndeliverableError(f"The target {arn} needs a RoleArn that may {action}.")


def _send_to_lambda(account: Account, target: EventTarget, payload: str) -> None:
    _check_json(payload)
    account.client("lambda").invoke(FunctionName=target["Arn"], InvocationType="Event", Payload=payload.encode())


def _send_to_states(account: Account, target: EventTarget, payload: str) -> None:
    _check_json(payload)
    account.client("stepfunctions").start_execution(
        stateMachineArn=target["Arn"], name=f"{uuid.uuid4()}_{uuid.uuid4()}", input=payload
    )


def _send_to_sqs(account: Account, target: EventTarget, payload: str) -> None:
    request: SendMessageRequestTypeDef = {"QueueUrl": queue_url(account, target["Arn"]), "MessageBody": payload}
    parameters = target.get("SqsParameters", {})
    if "MessageGroupId" in parameters:
        request["MessageGroupId"] = parameters["MessageGroupId"]
        # A FIFO queue without content-based deduplication refuses the message otherwise.
        request["MessageDeduplicationId"] = str(uuid.uuid4())
    account.client("sqs").send_message(**request)


def _send_to_sns(account: Account, target: EventTarget, payload: str) -> None:
    account.client("sns").publish(TopicArn=target["Arn"], Message=payload)


def _send_to_sagemaker(account: Account, target: EventTarget, _payload: str) -> None:
    parameters = target.get("SageMakerPipelineParameters", {}).get("PipelineParameterList", [])
    account.client("sagemaker").start_pipeline_execution(
        PipelineName=last_part(target["Arn"]),
        PipelineParameters=[{"Name": p["Name"], "Value": p["Value"]} for p in parameters],
        ClientRequestToken=uuid.uuid4().hex,
    )


def _send_to_codepipeline(account: Account, target: EventTarget, _payload: str) -> None:
    client, token = account.client("codepipeline"), str(uuid.uuid4())
    client.start_pipeline_execution(name=last_part(target["Arn"]), clientRequestToken=token)


def _send_to_logs(account: Account, target: EventTarget, payload: str) -> None:
    account.put_log_lines(parse_arn(target["Arn"]).name.removesuffix(":*"), str(uuid.uuid4()), [payload])


def _send_to_bus(account: Account, target: EventTarget, payload: str) -> None:
    failed = account.client("events").put_events(Entries=[_entry(target, payload)])["Entries"][0]
    if "ErrorCode" in failed:
        raise UndeliverableError(f"{failed['ErrorCode']}: {failed['ErrorMessage']}")


def _entry(target: EventTarget, payload: str) -> PutEventsRequestEntryTypeDef:
    """What goes to another bus: what a schedule says, or the event of a rule."""
    if "EventBridgeParameters" in target:
        parameters = target["EventBridgeParameters"]
        return {
            "EventBusName": target["Arn"],
            "Source": parameters["Source"],
            "DetailType": parameters["DetailType"],
            "Detail": payload,
        }
    _check_json(payload)
    event: BusEvent = json.loads(payload)
    return {
        "EventBusName": target["Arn"],
        "Source": event["source"],
        "DetailType": event["detail-type"],
        "Detail": json.dumps(event["detail"]),
        "Resources": event["resources"],
    }


_SENDERS: dict[str, Callable[[Account, EventTarget, str], None]] = {
    "codepipeline": _send_to_codepipeline,
    "lambda": _send_to_lambda,
    "states": _send_to_states,
    "sqs": _send_to_sqs,
    "sns": _send_to_sns,
    "sagemaker": _send_to_sagemaker,
    "logs": _send_to_logs,
    "events": _send_to_bus,
}
