"""Log lines and metrics of functions and executions, written to CloudWatch off the path of a request.

Runs in the server process: one thread writes what has gathered, every quarter of a second (on AWS both arrive after
seconds to a minute).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from local_account.account import Account
from local_account.base import clock

INTERVAL_S = 0.25
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MetricValue:
    """One value of one metric, at a time in UTC without a zone, as moto compares times."""

    namespace: str
    name: str
    value: float
    unit: str
    dimensions: Mapping[str, str]
    at: datetime


@dataclass
class Telemetry:
    """What waits to be written; ``add_lines`` and ``add_metric`` cost microseconds."""

    account: Account
    _lines: list[tuple[str, str, list[str]]] = field(default_factory=list)
    _metrics: list[MetricValue] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Begin to write what gathers."""
        self.account.before_clock_moves.append(self.write)
        threading.Thread(target=self._run, name="telemetry", daemon=True).start()

    def add_lines(self, group: str, stream: str, lines: Iterable[str]) -> None:
        """Have lines written to a stream of CloudWatch Logs."""
        with self._lock:
            self._lines.append((group, stream, list(lines)))

    def add_metric(self, namespace: str, name: str, value: float, unit: str, dimensions: Mapping[str, str]) -> None:
        """Have a value of now written to CloudWatch."""
        found = MetricValue(namespace, name, value, unit, dimensions, clock.now().replace(tzinfo=None))
        with self._lock:
            self._metrics.append(found)

    def write(self) -> None:
        """Write everything that waits."""
        with self._lock:
            lines, self._lines = self._lines, []
            metrics, self._metrics = self._metrics, []
        for (group, stream), batch in _grouped(lines).items():
            self.account.put_log_lines(group, stream, batch)
        if metrics:
            self._put(metrics)

    def _put(self, metrics: list[MetricValue]) -> None:
        from local_account.cloudwatch.backend import watched_metrics  # moto is heavy, and needed once the server runs

        watched_metrics(self.account).add_values(metrics)
        self.account.snapshots.mark_dirty("monitoring")

    def _run(self) -> None:
        while not self.account.stopping.wait(INTERVAL_S):
            try:
                self.write()
            except Exception:  # the thread has to live on; what could not be written is in the server's log
                log.exception("log lines or metrics were lost")


def _grouped(lines: list[tuple[str, str, list[str]]]) -> dict[tuple[str, str], list[str]]:
    streams: dict[tuple[str, str], list[str]] = {}
    for group, stream, batch in lines:
        streams.setdefault((group, stream), []).extend(batch)
    return streams
