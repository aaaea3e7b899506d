"""A queue of SQS that counts its messages when somebody asks, and reads the clock once for it.

Runs in the server process; part of the state file of SQS.
"""

from __future__ import annotations

import json
from collections.abc import Callable, ItemsView, Iterator, Mapping

from moto.core.utils import unix_time_millis
from moto.sqs.models import DEDUPLICATION_TIME_IN_SECONDS, Message, Queue

from local_account.base.replacements import extends
from local_account.base.stored import stored

_FIRST_SEQUENCE_NUMBER = 18850000000000000000
_TIMES = ("CreatedTimestamp", "LastModifiedTimestamp")
_FIFO_NAMES = frozenset(Queue.FIFO_ATTRIBUTES)


@stored
@extends
class AccountQueue(Queue):
    """moto's queue; its attributes are put together, and its messages counted, for each message that is sent to it."""

    @property
    def attributes(self) -> QueueAttributes:  # type: ignore[override]  # read only, as moto reads it
        """What GetQueueAttributes has."""
        return QueueAttributes(self.told_attributes, frozenset() if self.fifo_queue else _FIFO_NAMES)

    def told_attributes(self) -> dict[str, object]:
        """What moto puts together, with times in whole seconds."""
        found = dict(super().attributes)
        return found | {name: int(float(str(found[name]))) for name in _TIMES if name in found}

    @property
    def policy(self) -> str | None:
        """The queue's policy as JSON; None without statements."""
        return json.dumps(self._policy_json) if self._policy_json.get("Statement") else None

    @policy.setter
    def policy(self, policy: str | None) -> None:
        empty = {"Version": "2008-10-17", "Id": f"{self.queue_arn}/SQSDefaultPolicy", "Statement": []}
        self._policy_json = json.loads(policy) if policy else empty

    def add_message(self, message: Message) -> None:
        """Take a message; one of a FIFO queue that came before is answered as the first, also when that is gone."""
        vars(message).setdefault("home_arn", self.queue_arn)  # where a dead-letter queue gives it back to
        if self.fifo_queue:
            sent: dict[str, tuple[float, str, str]] = vars(self).setdefault("sent_once", {})
            since = unix_time_millis() - DEDUPLICATION_TIME_IN_SECONDS * 1000
            for key in [key for key, (moment, _, _) in sent.items() if moment < since]:
                del sent[key]
            per_group = str(self.attributes.get("DeduplicationScope")) == "messageGroup"
            key = f"{message.group_id if per_group else ''} {message.deduplication_id}"
            if key in sent:
                _, message.id, message.sequence_number = sent[key]
                return
            message.sequence_number = self.next_sequence_number()
            sent[key] = (unix_time_millis(), message.id, message.sequence_number)
        super().add_message(message)

    def next_sequence_number(self) -> str:
        """A number above all that were given out, of 20 digits as AWS's."""
        vars(self)["sequence"] = vars(self).get("sequence", _FIRST_SEQUENCE_NUMBER) + 256
        return str(vars(self)["sequence"])

    @property
    def approximate_number_of_messages_delayed(self) -> int:
        """Messages that are not to be had yet."""
        now = unix_time_millis()
        return sum(now < message.delayed_until for message in list(self._messages))

    @property
    def approximate_number_of_messages_not_visible(self) -> int:
        """Messages that somebody works on."""
        now = unix_time_millis()
        return sum(now <= message.visible_at for message in list(self._messages))

    @property
    def messages(self) -> list[Message]:
        """Messages that can be received."""
        now = unix_time_millis()
        return [each for each in list(self._messages) if now > each.visible_at and now >= each.delayed_until]


class QueueAttributes(Mapping[str, object]):
    """A queue's attributes, put together when somebody asks for one that the queue can have."""

    def __init__(self, compute: Callable[[], Mapping[str, object]], absent: frozenset[str]) -> None:
        self._compute, self._absent = compute, absent

    def __getitem__(self, name: str) -> object:
        if name in self._absent:
            raise KeyError(name)
        return self._compute()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._compute())

    def __len__(self) -> int:
        return len(self._compute())

    def items(self) -> ItemsView[str, object]:
        """All of them, computed once."""
        return self._compute().items()
