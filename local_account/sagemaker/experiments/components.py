"""Trial components: what a run, or a job, took and gave: parameters, artifacts and metrics.

Runs in the server process; state: the tables ``experiment-trial-components`` and ``component-metrics`` (values by the
component's and the metric's name). What a job's component tells is read off the job itself, see ``of_jobs``.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypedDict, cast

from local_account.protocol.actions import Reply, action
from local_account.protocol.service import now
from local_account.sagemaker.experiments.actions import Experiments
from local_account.sagemaker.experiments.named import Record, shown
from local_account.sagemaker.experiments.of_jobs import told_by_job
from local_account.sagemaker.service import SageMaker

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import (
        CreateTrialComponentRequestTypeDef,
        DeleteTrialComponentRequestTypeDef,
        DescribeTrialComponentRequestTypeDef,
        ListTrialComponentsRequestTypeDef,
        UpdateTrialComponentRequestTypeDef,
    )


class MetricPoint(TypedDict):
    """A value of a metric: epoch seconds, and the step where one was named."""

    at: float
    step: int | None
    value: float


class ComponentMetrics:
    """The values of the metrics of all components."""

    def __init__(self, sagemaker: SageMaker) -> None:
        self._sagemaker = sagemaker

    @property
    def _kept(self) -> dict[str, dict[str, list[MetricPoint]]]:
        return self._sagemaker.table("component-metrics", dict[str, list[MetricPoint]])

    def of(self, component: str, metric: str) -> list[MetricPoint]:
        """A metric's values in the order in which they came."""
        return self._kept.get(component, {}).get(metric, [])

    def add(self, component: str, points: Iterable[tuple[str, MetricPoint]]) -> None:
        """Keep further values."""
        with self._sagemaker.lock:
            kept = self._kept.setdefault(component, {})
            for name, point in points:
                kept.setdefault(name, []).append(point)
            self._sagemaker.changed()

    def forget(self, component: str) -> None:
        """Drop the values of a component that is deleted."""
        self._kept.pop(component, None)

    def summaries(self, component: str, source: str) -> list[Record]:
        """What Describe tells of each metric."""
        return [_summary(name, points, source) for name, points in self._kept.get(component, {}).items()]


def _summary(name: str, points: list[MetricPoint], source: str) -> Record:
    values = [point["value"] for point in points]
    return {
        "MetricName": name,
        "SourceArn": source,
        "TimeStamp": points[-1]["at"],
        "Max": max(values),
        "Min": min(values),
        "Last": values[-1],
        "Count": len(values),
        "Avg": statistics.fmean(values),
        "StdDev": statistics.pstdev(values),
    }


class TrialComponents:
    """The actions on trial components."""

    def __init__(self, sagemaker: SageMaker, experiments: Experiments) -> None:
        self._sagemaker, self._experiments = sagemaker, experiments
        self._components = experiments.components
        self.metrics = ComponentMetrics(sagemaker)

    def told(self, record: Record) -> Record:
        """A component with what its job says of it, and its metrics."""
        told = {**told_by_job(self._sagemaker, record), **shown(record)}
        source = record.get("Source")
        arn = str(source["SourceArn"]) if isinstance(source, dict) else str(record["TrialComponentArn"])
        return {**told, "Metrics": self.metrics.summaries(str(record["TrialComponentName"]), arn)}

    def found(self, record: Record) -> Record:
        """A component as a search tells it."""
        trials = self._experiments.trials_of(str(record["TrialComponentName"]))
        parents = [{"TrialName": one["TrialName"], "ExperimentName": one["ExperimentName"]} for one in trials]
        return {**self.told(record), **({"Parents": parents} if parents else {})}

    @action("CreateTrialComponent")
    def create(self, request: CreateTrialComponentRequestTypeDef) -> Reply:
        """Raises ServiceError for a name that is taken."""
        return self._components.create(request, request.get("Tags"))

    @action("DescribeTrialComponent")
    def describe(self, request: DescribeTrialComponentRequestTypeDef) -> Reply:
        """Answers the component as it is now."""
        return self.told(self._components.find(request["TrialComponentName"]))

    @action("UpdateTrialComponent")
    def update(self, request: UpdateTrialComponentRequestTypeDef) -> Reply:
        """Adds parameters and artifacts, removes those that are named, replaces the rest."""

        def remove(record: Record) -> None:
            for member in ("Parameters", "InputArtifacts", "OutputArtifacts"):
                held, named = record.get(member), request.get(f"{member}ToRemove")
                for key in named if isinstance(held, dict) and isinstance(named, list) else ():
                    cast("dict[str, object]", held).pop(str(key), None)

        return self._components.update(request, remove)

    @action("DeleteTrialComponent")
    def delete(self, request: DeleteTrialComponentRequestTypeDef) -> Reply:
        """Raises ServiceError while a trial has the component."""
        answer = self._components.remove(request["TrialComponentName"], self._trials_with)
        self.metrics.forget(request["TrialComponentName"])
        return answer

    def _trials_with(self, component: str) -> str:
        found = [str(one["TrialName"]) for one in self._experiments.trials_of(component)]
        return f"disassociate it from its trials first ({', '.join(found)})" if found else ""

    @action("ListTrialComponents")
    def list_components(self, request: ListTrialComponentsRequestTypeDef) -> Reply:
        """Answers a page of components, the newest first; of an experiment, a trial or a source."""
        found = list(self._components.records.values())
        if "ExperimentName" in request:
            wanted = self._experiments.experiments.find(request["ExperimentName"])["ExperimentName"]
            found = [one for one in found if wanted in [t["ExperimentName"] for t in self._trials(one)]]
        if "TrialName" in request:
            trial = self._experiments.trials.find(request["TrialName"])
            found = [one for one in found if trial in self._trials(one)]
        if "SourceArn" in request:
            found = [one for one in found if _source_arn(one) == request["SourceArn"]]
        return self._components.page([self.told(one) for one in found], request)

    def _trials(self, record: Record) -> list[Record]:
        return self._experiments.trials_of(str(record["TrialComponentName"]))

    def put(self, name: str, points: Iterable[tuple[str, MetricPoint]]) -> None:
        """Keep values of metrics. Raises ServiceError for a component that is not there."""
        self.metrics.add(str(self._components.find(name)["TrialComponentName"]), points)
        self._components.find(name)["LastModifiedTime"] = now()

    def points(self, arn: str, metric: str) -> list[MetricPoint]:
        """A metric's values, of a component by its ARN. Raises ServiceError for one that is not there."""
        return self.metrics.of(str(self._components.find(arn)["TrialComponentName"]), metric)


def _source_arn(record: Record) -> object:
    source = record.get("Source")
    return source.get("SourceArn") if isinstance(source, dict) else None
