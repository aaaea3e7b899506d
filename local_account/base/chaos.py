"""Faults that AWS allows itself, on request: EventBridge delivers some events twice, and some late.

Runs in the server process (``--chaos duplicates``). EventBridge delivers "at least once" and promises no order. What
becomes of the n-th event is the same in every run of an account.
"""

from __future__ import annotations

import random
import threading

SEED = 20_211_025
TWICE, LATE = 0.3, 0.2
MAX_DELAY_S = 1.5
KINDS = {"duplicates": "EventBridge delivers some events twice, and some out of order"}


class Duplicates:
    """Draws for each event and target when it is delivered."""

    def __init__(self) -> None:
        self._random = random.Random(SEED)  # noqa: S311 (has to repeat itself)
        self._lock = threading.Lock()

    def delays_s(self) -> list[float]:
        """One entry for each delivery, seconds from now."""
        with self._lock:
            late, twice, first, second = (self._random.random() for _ in range(4))
        delays = [first * MAX_DELAY_S if late < LATE else 0.0]
        return [*delays, second * MAX_DELAY_S] if twice < TWICE else delays
