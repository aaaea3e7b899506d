"""The images that this console holds: received from the review queue, hidden from others until they are handed back.

Runs in the console's process. A message that is held too long is in the queue again by itself, and let go here.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field

from scones.errors import SconesError
from scones.review.queue import LABEL_SECONDS, MESSAGES_AT_ONCE, ReviewItem, ReviewQueue
from scones.stage.connection import Connection

_MARGIN_S = 60.0
_MOST_DONE = 20


@dataclass
class _Held:
    item: ReviewItem
    until: float


@dataclass(frozen=True)
class LabelledImage:
    """What was said of an image, so that it can be taken back."""

    item: ReviewItem
    label: str


@dataclass
class ReviewHands:
    """What is held, in order, and what was labelled last."""

    _held: OrderedDict[str, _Held] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    done: list[LabelledImage] = field(default_factory=list)
    labelled: int = 0

    def first(self) -> ReviewItem | None:
        """Return the first image that is held."""
        with self._lock:
            self._let_go()
            return next(iter(self._held.values())).item if self._held else None

    def take(self, connection: Connection) -> ReviewItem | None:
        """Return the first image that is held; more are received when none is. None when none is to be had."""
        with self._lock:
            self._let_go()
            waiting = 0 if self._held else ReviewQueue(connection).visible()
            for item in _received(connection, waiting) if waiting else ():
                self._hold(item)
            return next(iter(self._held.values())).item if self._held else None

    def find(self, name: str) -> ReviewItem:
        """Return a held image by its inference id. SconesError when it is no longer held."""
        with self._lock:
            self._let_go()
            if name not in self._held:
                raise SconesError(
                    "this image is no longer yours: it was labelled, or waited too long; go on with the next"
                )
            return self._held[name].item

    def skip(self, name: str) -> None:
        """Put an image behind the others that are held."""
        with self._lock:
            if name in self._held:
                self._held.move_to_end(name)

    def finished(self, item: ReviewItem, label: str) -> None:
        """Let go of an image that was labelled."""
        with self._lock:
            self._held.pop(item.inference_id, None)
            self.done = [*self.done[-_MOST_DONE:], LabelledImage(item, label)]
            self.labelled += 1

    def take_up(self, item: ReviewItem) -> None:
        """Hold an image again, before all others."""
        with self._lock:
            self._hold(item)
            self._held.move_to_end(item.inference_id, last=False)

    @property
    def count(self) -> int:
        """How many are held."""
        return len(self._held)

    def give_up(self, connection: Connection) -> int:
        """Let others see at once what is held; how many that were."""
        with self._lock:
            items = [held.item for held in self._held.values()]
            self._held.clear()
        ReviewQueue(connection).return_to_others([receipt for item in items for receipt in item.receipts])
        return len(items)

    def _hold(self, item: ReviewItem) -> None:
        self._held[item.inference_id] = _Held(item, time.monotonic() + LABEL_SECONDS - _MARGIN_S)

    def _let_go(self) -> None:
        for name in [name for name, held in self._held.items() if held.until < time.monotonic()]:
            del self._held[name]


def _received(connection: Connection, waiting: int) -> Iterator[ReviewItem]:
    """No more than wait: asking for more would wait for what does not come."""
    received = ReviewQueue(connection).receive(LABEL_SECONDS)
    for message, receipt in itertools.islice(received, min(waiting, MESSAGES_AT_ONCE)):
        yield ReviewItem(message, [receipt])
