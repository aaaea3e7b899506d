"""SageMaker Metrics: values of metrics of trial components, put and read back.

Runs in the server process. Its requests are signed for ``sagemaker`` and known by their paths.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NotRequired, TypedDict

from local_account.account import Account
from local_account.protocol.actions import Reply, ServiceError, action
from local_account.protocol.service import Service
from local_account.protocol.wire import RestJsonWire
from local_account.sagemaker.experiments.components import MetricPoint, TrialComponents
from local_account.sagemaker.service import epoch_s

_PERIODS_S = {"OneMinute": 60, "FiveMinute": 300, "OneHour": 3600}
_STATISTICS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "Min": min,
    "Max": max,
    "Avg": lambda values: sum(values) / len(values),
    "Count": lambda values: float(len(values)),
    "Last": lambda values: values[-1],
}


class MetricDatum(TypedDict):
    """A value of a metric that is put."""

    MetricName: str
    Timestamp: float | str
    Value: float
    Step: NotRequired[int]


class PutMetrics(TypedDict):
    """The request of BatchPutMetrics."""

    TrialComponentName: str
    MetricData: list[MetricDatum]


class MetricQuery(TypedDict):
    """What is asked of one metric; Start and End are places on the axis."""

    MetricName: str
    ResourceArn: str
    MetricStat: str
    Period: str
    XAxisType: str
    Start: NotRequired[int]
    End: NotRequired[int]


class GetMetrics(TypedDict):
    """The request of BatchGetMetrics."""

    MetricQueries: list[MetricQuery]


class MetricsService(Service):
    """The two actions."""

    title = "SageMaker Metrics"

    def __init__(self, account: Account, components: TrialComponents) -> None:
        super().__init__(account, "sagemaker-metrics", RestJsonWire())
        self._components = components

    @action("BatchPutMetrics")
    def put(self, request: PutMetrics) -> Reply:
        """Values for a component that is not there are told one by one, as the model says."""
        points = [(one["MetricName"], _point(one)) for one in request["MetricData"]]
        try:
            self._components.put(request["TrialComponentName"], points)
        except ServiceError:
            return {"Errors": [{"Code": "VALIDATION_ERROR", "MetricIndex": index} for index in range(len(points))]}
        return {}

    @action("BatchGetMetrics")
    def get(self, request: GetMetrics) -> Reply:
        """A query that names nothing known has a status of its own."""
        return {"MetricQueryResults": [self._result(query) for query in request["MetricQueries"]]}

    def _result(self, query: MetricQuery) -> Reply:
        try:
            points = self._components.points(query["ResourceArn"], query["MetricName"])
        except ServiceError as error:
            return {"Status": "ValidationError", "Message": str(error), "XAxisValues": [], "MetricValues": []}
        if query["MetricStat"] not in _STATISTICS:
            message = f"MetricStat: expected one of {', '.join(_STATISTICS)}, got {query['MetricStat']}."
            return {"Status": "ValidationError", "Message": message, "XAxisValues": [], "MetricValues": []}
        grouped: dict[int, list[float]] = {}
        for point in points:
            place = _place(point, query)
            if query.get("Start", place) <= place <= query.get("End", place):
                grouped.setdefault(place, []).append(point["value"])
        values = [_STATISTICS[query["MetricStat"]](grouped[place]) for place in sorted(grouped)]
        return {"Status": "Complete", "XAxisValues": sorted(grouped), "MetricValues": values}


def _point(datum: MetricDatum) -> MetricPoint:
    return {"at": epoch_s(datum["Timestamp"]), "step": datum.get("Step"), "value": float(datum["Value"])}


def _place(point: MetricPoint, query: MetricQuery) -> int:
    """Where a value is on the axis: its step, or the beginning of its period in epoch seconds."""
    if query["XAxisType"] == "IterationNumber":
        return point["step"] or 0
    length_s = _PERIODS_S.get(query["Period"], 60)
    return int(point["at"]) // length_s * length_s
