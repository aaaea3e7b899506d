"""What stays of the worker of an execution that has ended.

Runs in the server process; part of the state file of Step Functions.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING

from local_account.base.stored import stored

if TYPE_CHECKING:
    from moto.stepfunctions.parser.api import HistoryEvent


@stored
class PastWorker:
    """In place of the worker of an execution that has ended: it knows the history, packed, and that it is over."""

    def __init__(self, history: Sequence[HistoryEvent]) -> None:
        self.packed = zlib.compress(json.dumps(history, separators=(",", ":"), default=str).encode(), 1)

    @property
    def history(self) -> list[HistoryEvent]:
        """The events, oldest first."""
        events: list[HistoryEvent] = json.loads(zlib.decompress(self.packed))
        return events

    @property
    def env(self) -> SimpleNamespace:
        """What moto's backend asks of an environment, for who still had the execution among those that run."""
        return SimpleNamespace(
            event_manager=SimpleNamespace(get_event_history=lambda: self.history),
            callback_pool_manager=SimpleNamespace(notify=lambda **_: False, heartbeat=lambda **_: False),
        )
