"""Log lines and metrics of functions and executions, written to CloudWatch off the path of a request.

Runs in the server process: one thread writes what has gathered, every quarter of a second (on AWS both arrive after
seconds to a minute).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from local_account.account import Account
from local_account.base import clock

INTERVAL_S = 0.25
BATCH = 1000  # metric values a call, PutMetricData's limit
log = logging.getLogger(__name__)


@dataclass
class Telemetry:
    """What waits to be written; ``add_lines`` and ``add_metric`` cost microseconds."""

    account: Account
    _lines: list[tuple[str, str, list[str]]] = field(default_factory=list)
    _metrics: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        self.account.before_clock_moves.append(self.write)
        threading.Thread(target=self._run, name="telemetry", daemon=True).start()

    def add_lines(self, group: str, stream: str, lines: Iterable[str]) -> None:
        with self._lock:
            self._lines.append((group, stream, list(lines)))

    def add_metric(self, namespace: str, name: str, value: float, unit: str, dimensions: Mapping[str, str]) -> None:
        datum = {
            "MetricName": name,
            "Value": value,
            "Unit": unit,
            "Timestamp": clock.now().replace(tzinfo=None),  # moto compares naive UTC times
            "Dimensions": [{"Name": key, "Value": text} for key, text in dimensions.items()],
        }
        with self._lock:
            self._metrics.append((namespace, datum))

    def write(self) -> None:
        """Write everything that waits."""
        with self._lock:
            lines, self._lines = self._lines, []
            metrics, self._metrics = self._metrics, []
        for (group, stream), batch in _grouped(lines).items():
            self.account.put_log_lines(group, stream, batch)
        namespaces: dict[str, list[dict[str, Any]]] = {}
        for namespace, datum in metrics:
            namespaces.setdefault(namespace, []).append(datum)
        for namespace, data in namespaces.items():
            self._put_metrics(namespace, data)

    def _put_metrics(self, namespace: str, data: list[dict[str, Any]]) -> None:
        from moto.cloudwatch.models import cloudwatch_backends  # heavy, and only needed once the server runs

        backend = cloudwatch_backends[self.account.account_id][self.account.region]
        for start in range(0, len(data), BATCH):
            backend.put_metric_data(namespace, data[start : start + BATCH])
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
