"""What moto does anew for every request, done once or at less cost.

Runs in the server process; changes nothing of what is answered.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from local_account.account import Account


def install(_account: Account) -> None:
    """Called once, before the first request."""
    _hook_requests()
    _hook_queues()


def configure(application: Any) -> None:
    """Take moto's Flask application out of debug mode, in which it makes a class for each request's form."""
    application.debug = False
    application.config["PROPAGATE_EXCEPTIONS"] = True  # to our front, as in debug mode


def _hook_requests() -> None:
    from moto.core import responses
    from moto.moto_api._internal.moto_random import MotoRandom

    original_names = responses.method_names_from_class

    def random_string(self: Any, length: int = 20, include_digits: bool = True, lower_case: bool = False) -> str:
        pool = string.ascii_letters + (string.digits if include_digits else "")
        text = "".join(self.choices(pool, k=length))
        return text.lower() if lower_case else text

    # It looks at every member of the service's class, which are all there before the first request.
    responses.method_names_from_class = cache(lambda kind: frozenset(original_names(kind)))
    responses.camelcase_to_underscores = cache(responses.camelcase_to_underscores)
    MotoRandom.get_random_string = random_string


def _hook_queues() -> None:
    """moto counts all messages of a queue for each one sent to it, and reads the clock twice for each it counts."""
    from moto.sqs import models

    queue_class: Any = models.Queue
    original = queue_class.attributes.fget
    fifo_names = frozenset(queue_class.FIFO_ATTRIBUTES)

    def attributes(self: Any) -> _Attributes:
        absent = frozenset() if self.fifo_queue else fifo_names
        return _Attributes(lambda: original(self), absent)

    def delayed(self: Any) -> int:
        now = models.unix_time_millis()
        return sum(now < message.delayed_until for message in list(self._messages))

    def not_visible(self: Any) -> int:
        now = models.unix_time_millis()
        return sum(now <= message.visible_at for message in list(self._messages))

    def messages(self: Any) -> list[Any]:
        now = models.unix_time_millis()
        return [each for each in list(self._messages) if now > each.visible_at and now >= each.delayed_until]

    queue_class.attributes = property(attributes)
    queue_class.approximate_number_of_messages_delayed = property(delayed)
    queue_class.approximate_number_of_messages_not_visible = property(not_visible)
    queue_class.messages = property(messages)


class _Attributes(Mapping[str, Any]):
    """A queue's attributes, put together when somebody asks for one that the queue can have."""

    def __init__(self, compute: Callable[[], dict[str, Any]], absent: frozenset[str]) -> None:
        self._compute, self._absent = compute, absent

    def __getitem__(self, name: str) -> Any:
        if name in self._absent:
            raise KeyError(name)
        return self._compute()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._compute())

    def __len__(self) -> int:
        return len(self._compute())

    def items(self) -> Any:
        return self._compute().items()
