"""The metrics that a training job's MetricDefinitions find in its log.

Runs in the server process. Writes CloudWatch's namespace ``/aws/sagemaker/TrainingJobs`` and the job's
``FinalMetricDataList``.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from local_account.account import Account
from local_account.sagemaker.experiments.components import MetricPoint
from local_account.sagemaker.job_records import FinalMetric

if TYPE_CHECKING:
    from types_boto3_cloudwatch.type_defs import MetricDatumTypeDef
    from types_boto3_sagemaker.type_defs import MetricDefinitionTypeDef

log = logging.getLogger(__name__)


class TrainingMetrics:
    """What was read so far from one job's lines."""

    def __init__(self, definitions: Iterable[MetricDefinitionTypeDef]) -> None:
        self._patterns = [(d["Name"], re.compile(d["Regex"])) for d in definitions]
        self._found: list[tuple[str, float, float]] = []

    def read(self, line: str) -> list[tuple[str, MetricPoint]]:
        """Keep the metrics of a line; answers them as a trial component keeps them."""
        before = len(self._found)
        for name, pattern in self._patterns:
            match = pattern.search(line)
            if match:
                try:
                    self._found.append((name, float(match.group(1)), time.time()))
                except (ValueError, IndexError):  # AWS ignores what is not a number
                    continue
        found = self._found[before:]
        return [(name, {"at": round(at, 3), "step": None, "value": value}) for name, value, at in found]

    def last(self) -> list[FinalMetric]:
        """``FinalMetricDataList``: the last value of each metric."""
        last = {name: (value, at) for name, value, at in self._found}
        return [{"MetricName": name, "Value": value, "Timestamp": round(at, 3)} for name, (value, at) in last.items()]

    def publish(self, account: Account, job: str, role: str) -> None:
        """Send all values to CloudWatch, as the job's role; without its permission there are none."""
        data: list[MetricDatumTypeDef] = [
            {
                "MetricName": name,
                "Dimensions": [{"Name": "TrainingJobName", "Value": job}],
                "Timestamp": datetime.fromtimestamp(at, UTC),
                "Value": value,
            }
            for name, value, at in self._found
        ]
        cloudwatch = account.client("cloudwatch", role)
        for start in range(0, len(data), 500):
            try:
                cloudwatch.put_metric_data(
                    Namespace="/aws/sagemaker/TrainingJobs", MetricData=data[start : start + 500]
                )
            except Exception:  # the job's result does not depend on them
                log.exception("metrics of training job %s", job)
