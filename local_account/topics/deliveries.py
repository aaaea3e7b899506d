"""How a topic's messages reach who subscribed: queues and functions that let it, and HTTP servers of this machine.

Runs in the server process. Authority: SNS Developer Guide, message delivery, and dead-letter queues. A subscription by
e-mail waits to be confirmed, which nobody can do here, and gets nothing, as on AWS; what would leave this machine, or
reach a telephone, is refused when it is asked for.
"""

from __future__ import annotations

import functools
import http.client
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError
from moto.core.exceptions import ServiceException
from moto.sns.exceptions import SNSInvalidParameter
from moto.sns.models import Subscription

from local_account.account import Account
from local_account.authority.authority import AccessDeniedError
from local_account.base.arns import own_arn
from local_account.base.replacements import replace
from local_account.events.delivery import Deliverer, queue_url

log = logging.getLogger(__name__)

WAITING = {"email", "email-json"}
_ACTIONS = {"lambda": "lambda:InvokeFunction", "sqs": "sqs:SendMessage"}
_HERE = {"127.0.0.1", "localhost", "::1"}
_TRIES, _PAUSE_S, _TIMEOUT_S = 3, 1.0, 15.0


def check_endpoint(protocol: str, endpoint: str) -> None:
    """Refuse what would leave this machine, or has nobody to reach; raises moto's SNSInvalidParameter."""
    if protocol in {"http", "https"} and urlsplit(endpoint).hostname not in _HERE:
        raise SNSInvalidParameter(
            f"Invalid parameter: Endpoint Reason: the stand-in account sends nothing to {endpoint}, only to servers of "
            "this machine (127.0.0.1 or localhost)"
        )
    if protocol in {"application", "firehose", "sms"}:
        raise SNSInvalidParameter(
            f"Invalid parameter: Protocol Reason: the stand-in account delivers nothing by {protocol}: it knows sqs, "
            "lambda, http, https and email"
        )


def install(account: Account) -> None:
    """Take the place of moto's deliveries."""
    deliveries, original = Deliveries(account), Subscription.publish

    def publish(  # noqa: PLR0917  # moto's signature
        self: Subscription,
        message: str,
        message_id: str,
        subject: str | None = None,
        message_attributes: dict[str, object] | None = None,
        group_id: str | None = None,
        deduplication_id: str | None = None,
        message_structure: str | None = None,
    ) -> None:
        told = (message, message_id, subject, message_attributes, group_id, deduplication_id, message_structure)
        published = Published(message, message_id, subject, message_attributes, message_structure)
        deliveries.deliver(self, published, lambda: original(self, *told))

    replace(Subscription, "publish", publish, why="a topic delivers only where the target's policy lets it")


@dataclass(frozen=True)
class Published:
    """A message of a topic; ``structure`` is ``json`` where it has a text for each protocol."""

    content: str
    id: str
    subject: str | None
    attributes: dict[str, object] | None
    structure: str | None


class Deliveries:
    """Delivers the messages of one account's topics."""

    def __init__(self, account: Account) -> None:
        self._account = account

    @functools.cached_property
    def _servers(self) -> Deliverer:
        """Threads of their own: a server that does not answer would hold up rules and alarms."""
        return Deliverer(self._account)

    def deliver(self, to: Subscription, message: Published, deliver: Callable[[], None]) -> None:
        """Deliver a message where the subscription's filter lets it; ``deliver`` is moto's way to queues, functions."""
        passes = to._filter_policy_matcher
        if to.protocol in WAITING or (passes and not passes.matches(message.attributes, message.content)):
            return
        is_json = message.structure == "json"
        text = to._parse_message_structure(message.content, to.protocol) if is_json else message.content
        body = to.get_post_data(text, message.id, message.subject, message.attributes)
        if to.protocol in {"http", "https"}:
            self._servers.run(lambda: self._post(to, text, body))
        else:
            self._hand_over(to, body, deliver)

    def _hand_over(self, to: Subscription, body: dict[str, object], deliver: Callable[[], None]) -> None:
        """Deliver to a queue or a function whose policy lets the topic, or say why not."""
        try:
            self._account.authority.demand_of_service(
                "sns.amazonaws.com", _ACTIONS[to.protocol], to.endpoint, to.topic.arn
            )
            deliver()
        except (AccessDeniedError, ServiceException) as error:
            self._give_up(to, body, str(error))

    def _post(self, to: Subscription, text: str, body: dict[str, object]) -> None:
        """Send to an HTTP server of this machine; try again unless it refuses the message itself."""
        raw = str(to.attributes.get("RawMessageDelivery")).lower() == "true"
        failure = ""
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE_S)
            try:
                status = _sent(to, text if raw else json.dumps(body), raw, str(body["MessageId"]))
            except (OSError, http.client.HTTPException) as error:
                failure = f"{type(error).__name__}: {error}"
                continue
            if status < 300:
                return
            failure = f"it answered {status}"
            if 400 <= status < 500 and status != 429:
                break
        self._give_up(to, body, failure)

    def _give_up(self, to: Subscription, body: dict[str, object], why: str) -> None:
        """Say why a message did not arrive, and put it into the subscription's queue of dead letters."""
        log.warning("%s could not be delivered to: %s", to.arn, why)
        policy = cast("dict[str, object]", json.loads(to.attributes.get("RedrivePolicy") or "{}"))
        queue = own_arn(policy.get("deadLetterTargetArn"), self._account.account_id, self._account.region)
        if queue is None:
            return
        try:
            self._account.authority.demand_of_service("sns.amazonaws.com", "sqs:SendMessage", str(queue), to.topic.arn)
            url = queue_url(self._account, str(queue))
            self._account.client("sqs").send_message(QueueUrl=url, MessageBody=json.dumps(body))
        except (AccessDeniedError, BotoCoreError, ClientError) as error:
            log.warning("the dead letter of %s was lost: %s", to.arn, error)


def _sent(to: Subscription, content: str, raw: bool, message_id: str) -> int:
    """The status that a server of this machine answers a message with."""
    address = urlsplit(to.endpoint)
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    headers = {
        "Content-Type": "text/plain; charset=UTF-8",
        "User-Agent": "Amazon Simple Notification Service Agent",
        "x-amz-sns-message-id": message_id,
        "x-amz-sns-message-type": "Notification",
        "x-amz-sns-subscription-arn": to.arn,
        "x-amz-sns-topic-arn": to.topic.arn,
        **({"x-amz-sns-rawdelivery": "true"} if raw else {}),
    }
    connection = kind(address.hostname or "", address.port, timeout=_TIMEOUT_S)
    try:
        connection.request("POST", f"{address.path or '/'}?{address.query}".rstrip("?"), content.encode(), headers)
        return connection.getresponse().status
    finally:
        connection.close()
