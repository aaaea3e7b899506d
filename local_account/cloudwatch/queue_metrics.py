"""The metrics of SQS queues, on which alarms look: messages that wait, that are being worked on, the oldest one's age.

Runs in the server process, in a thread. SQS publishes them every minute for queues that are in use; here also as soon
as they change, and not for a queue that stays empty.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from local_account.account import Account
from local_account.cloudwatch.telemetry import Telemetry

if TYPE_CHECKING:
    from moto.sqs.models import Message

LOOK_EVERY_S = 2.0
PUBLISH_EVERY_S = 60.0
log = logging.getLogger(__name__)

Counts = tuple[int, int]


def install(account: Account) -> None:
    """Start the thread."""
    threading.Thread(target=_Watch(account).run, name="queue-metrics", daemon=True).start()


class _Watch:
    def __init__(self, account: Account) -> None:
        self._account = account
        self._telemetry = Telemetry(account)
        self._published: dict[str, tuple[Counts, float]] = {}

    def run(self) -> None:
        while not self._account.stopping.wait(LOOK_EVERY_S):
            try:
                self.look()
            except Exception:  # a queue may go while it is looked at; the next look sees what is left
                log.exception("the metrics of queues were not published")

    def look(self) -> None:
        from moto.sqs.models import sqs_backends  # heavy, and only needed once the server runs

        backend = sqs_backends[self._account.account_id][self._account.region]
        now = time.time()
        for name, queue in list(backend.queues.items()):
            messages = list(queue._messages)
            working = sum(not message.visible for message in messages)
            counts = (len(messages) - working, working)
            before, at = self._published.get(name, ((0, 0), 0.0))
            if counts != before or (any(counts) and now - at >= PUBLISH_EVERY_S):
                self._published[name] = (counts, now)
                self._publish(name, counts, _age_s(messages, now))
        self._telemetry.write()

    def _publish(self, name: str, counts: Counts, age_s: float) -> None:
        for metric, value, unit in (
            ("ApproximateNumberOfMessagesVisible", counts[0], "Count"),
            ("ApproximateNumberOfMessagesNotVisible", counts[1], "Count"),
            ("ApproximateAgeOfOldestMessage", age_s, "Seconds"),
        ):
            self._telemetry.add_metric("AWS/SQS", metric, value, unit, {"QueueName": name})


def _age_s(messages: list[Message], now: float) -> float:
    sent = [at for at in (float(message.sent_timestamp or 0) for message in messages) if at]
    return max(0.0, now - min(sent) / 1000) if sent else 0.0
