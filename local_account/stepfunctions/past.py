"""What stays of the worker of an execution that has ended.

Runs in the server process; part of the state file of Step Functions.
"""

from __future__ import annotations

import json
import zlib
from types import SimpleNamespace
from typing import Any

from local_account.base.stored import stored


@stored
class PastWorker:
    """In place of the worker of an execution that has ended: it knows the history, packed, and that it is over."""

    def __init__(self, history: list[Any]) -> None:
        self.packed = zlib.compress(json.dumps(history, separators=(",", ":"), default=str).encode(), 1)

    @property
    def history(self) -> list[Any]:
        events: list[Any] = json.loads(zlib.decompress(self.packed))
        return events

    @property
    def env(self) -> Any:
        return SimpleNamespace(
            event_manager=SimpleNamespace(get_event_history=lambda: self.history),
            callback_pool_manager=SimpleNamespace(notify=lambda **_: False, heartbeat=lambda **_: False),
        )
