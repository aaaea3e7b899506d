"""An endpoint's CloudWatch metrics, as AWS documents them for ``AWS/SageMaker`` (latencies in microseconds).

Runs in the server process: invocations are counted in the request path and put to CloudWatch by a thread. Every metric
is there twice: by endpoint and variant, and by the configuration (the fleet) that answered, too, which alarms of a
deployment watch (SageMaker Developer Guide, "Auto-rollback configuration and monitoring").
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from local_account.account import Account
from local_account.base import clock

if TYPE_CHECKING:
    from types_boto3_cloudwatch.type_defs import DimensionTypeDef, MetricDatumTypeDef, StatisticSetTypeDef

log = logging.getLogger(__name__)

FLUSH_S = 0.5
MAX_VALUES = 150  # of one datum in PutMetricData


class MeasuredInvocation(NamedTuple):
    """One invocation; ``status`` is what the model answered, 0 when it gave no answer."""

    endpoint: str
    variant: str
    config: str
    status: int
    model_us: float
    overhead_us: float
    instances: int


class EndpointMetrics:
    """Takes invocations without blocking."""

    def __init__(self, account: Account) -> None:
        self._account = account
        self._waiting: queue.SimpleQueue[MeasuredInvocation] = queue.SimpleQueue()
        self._flushing = threading.Lock()
        account.before_clock_moves.append(self.flush)

    def record(self, invocation: MeasuredInvocation) -> None:
        """Count an invocation; returns at once."""
        self._waiting.put(invocation)

    def run(self) -> None:
        """The thread's target: put metrics until the account stops."""
        while not self._account.stopping.wait(FLUSH_S):
            try:
                self.flush()
            except (BotoCoreError, ClientError) as error:
                log.warning("endpoint metrics could not be put: %s", error)

    def flush(self) -> None:
        """Everything that was recorded before the call is in CloudWatch when it returns."""
        with self._flushing:
            groups: dict[tuple[tuple[str, str], ...], list[MeasuredInvocation]] = {}
            while not self._waiting.empty():
                invocation = self._waiting.get()
                named: tuple[tuple[str, str], ...] = (
                    ("EndpointName", invocation.endpoint),
                    ("VariantName", invocation.variant),
                )
                for key in (named, (*named, ("EndpointConfigName", invocation.config))):
                    groups.setdefault(key, []).append(invocation)
            for key, invocations in groups.items():
                dimensions: list[DimensionTypeDef] = [{"Name": name, "Value": value} for name, value in key]
                now = clock.now()
                data: list[MetricDatumTypeDef] = [
                    {**datum, "Dimensions": dimensions, "Timestamp": now} for datum in _data(invocations)
                ]
                self._account.client("cloudwatch").put_metric_data(Namespace="AWS/SageMaker", MetricData=data)


def _data(invocations: list[MeasuredInvocation]) -> list[MetricDatumTypeDef]:
    return [
        _counts("Invocations", [1.0 for _ in invocations]),
        _counts("InvocationsPerInstance", [1.0 / i.instances for i in invocations]),
        _counts("Invocation4XXErrors", [float(400 <= i.status < 500) for i in invocations]),
        _counts("Invocation5XXErrors", [float(i.status == 0 or i.status >= 500) for i in invocations]),
        *_latencies("ModelLatency", (i.model_us for i in invocations)),
        *_latencies("OverheadLatency", (i.overhead_us for i in invocations)),
    ]


def _counts(name: str, values: list[float]) -> MetricDatumTypeDef:
    statistics: StatisticSetTypeDef = {
        "SampleCount": len(values),
        "Sum": sum(values),
        "Minimum": min(values),
        "Maximum": max(values),
    }
    return {"MetricName": name, "Unit": "Count" if name == "Invocations" else "None", "StatisticValues": statistics}


def _latencies(name: str, values: Iterable[float]) -> list[MetricDatumTypeDef]:
    """Values to three digits, so that many fit one datum and percentiles stay exact to a thousandth."""
    counted = sorted(Counter(float(f"{value:.3g}") for value in values).items())
    return [
        {
            "MetricName": name,
            "Unit": "Microseconds",
            "Values": [value for value, _ in part],
            "Counts": [float(count) for _, count in part],
        }
        for part in (counted[start : start + MAX_VALUES] for start in range(0, len(counted), MAX_VALUES))
    ]
