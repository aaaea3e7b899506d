"""A queue of SQS that counts its messages when somebody asks, and reads the clock once for it.

Runs in the server process; part of the state file of SQS.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterator, Mapping

from moto.core.utils import unix_time_millis
from moto.sqs.models import Message, Queue

from local_account.base.replacements import extends
from local_account.base.stored import stored

_FIFO_NAMES = frozenset(Queue.FIFO_ATTRIBUTES)


@stored
@extends
class AccountQueue(Queue):
    """moto's queue; its attributes are put together, and its messages counted, for each message that is sent to it."""

    @property
    def attributes(self) -> QueueAttributes:  # type: ignore[override]  # read only, as moto reads it
        """What GetQueueAttributes has."""
        return QueueAttributes(
            lambda: super(AccountQueue, self).attributes, frozenset() if self.fifo_queue else _FIFO_NAMES
        )

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
