"""What the threshold's page shows: the curve, what another threshold would do, and the history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from console.drawing.lines import ChartMark, LineChart, LineSeries
from console.web.form import FormFields
from console.web.remembered import Remembered
from scones.errors import SconesError
from scones.review import threshold
from scones.review.threshold import (
    Expected,
    LiveModel,
    NotAThresholdError,
    NotedPrediction,
    StageThresholds,
    ThresholdChange,
)
from scones.serving_versions import endpoint
from scones.stage.connection import Connection

if TYPE_CHECKING:
    from types_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef

PERCENTS = (1, 2, 3, 5, 7, 10, 15, 20, 25, 30, 40, 50, 60, 70, 75, 80, 85, 90, 93, 95, 97, 99)
_SHOWN_IMAGES = 24
_SHOWN_CHANGES = 15
_models: Remembered[LiveModel | None] = Remembered()


@dataclass(frozen=True)
class ChangedSide:
    """A test image that another threshold treats in another way."""

    prediction: NotedPrediction
    passes: bool
    version: int

    @property
    def right(self) -> bool:
        """Whether the model was right about it."""
        return self.prediction.true_label == self.prediction.predicted_label


@dataclass(frozen=True)
class EffectView:
    """What counts now, what was chosen, and what each does to the test images."""

    now: StageThresholds | None
    chosen: StageThresholds
    classes: list[str]
    before: Expected | None
    after: Expected | None
    sides: list[ChangedSide]
    more: int
    chart: LineChart | None
    version: int
    back: str

    @property
    def differs(self) -> bool:
        """Whether something else than now was chosen."""
        return self.now is None or self.now.of_all() != self.chosen.of_all()


@dataclass(frozen=True)
class TrafficShare:
    """What the traffic of the last 24 hours would have met; shares are read off the quantiles that CloudWatch keeps."""

    requests: int
    now: float | None
    chosen: float | None


@dataclass(frozen=True)
class HistoryView:
    """The changes, the newest first."""

    changes: list[ThresholdChange]


def live_model(connection: Connection) -> LiveModel:
    """The model that serves; its predictions are read once. SconesError when nothing serves."""
    found = endpoint.status(connection)
    if found is None or not found.model_package_arn:
        raise SconesError("nothing serves, so there is nothing to expect: approve a version in the registry")
    model = _models.get(found.model_package_arn, lambda: threshold.live_model(connection))
    if model is None:
        raise SconesError("nothing serves any more: load the page again")
    return model


def current(connection: Connection) -> StageThresholds | None:
    """What counts; None when the parameter holds something else."""
    try:
        return threshold.current(connection)
    except NotAThresholdError:
        return None


def chosen_of(query: FormFields, now: StageThresholds | None, classes: Sequence[str]) -> StageThresholds:
    """The thresholds in an address: ``threshold=0.9&of.bicycle=0.95``; what it leaves out is as now."""
    default = now.default if now else 0.93
    if not any(name == "threshold" for name, _ in query.items):
        return now or StageThresholds(default)
    own = {name: threshold.share(text, f"of {name}") for name in classes if (text := query.text(f"of.{name}"))}
    return StageThresholds(query.number("threshold", 0.0, 1.0, default), own)


def read_effect(connection: Connection, query: FormFields) -> EffectView:
    """Hold what was chosen against what counts now."""
    model, now = live_model(connection), current(connection)
    classes = model.version.classes
    chosen = chosen_of(query, now, classes)
    sides = changed_sides(model, now, chosen)
    return EffectView(
        now,
        chosen,
        classes,
        model.expected(now) if now else None,
        model.expected(chosen),
        sides[:_SHOWN_IMAGES],
        max(0, len(sides) - _SHOWN_IMAGES),
        curve(model, now, chosen),
        model.version.version,
        f"/threshold?{query.but('notice').encoded()}",
    )


def changed_sides(model: LiveModel, now: StageThresholds | None, chosen: StageThresholds) -> list[ChangedSide]:
    """The test images between the two, the wrong ones first."""
    if now is None:
        return []
    found = []
    for each in model.predictions:
        before = each.confidence >= now.of(each.predicted_label)
        after = each.confidence >= chosen.of(each.predicted_label)
        if before != after:
            found.append(ChangedSide(each, after, model.version.version))
    return sorted(found, key=lambda side: (side.right, side.prediction.confidence))


def curve(model: LiveModel, now: StageThresholds | None, chosen: StageThresholds) -> LineChart | None:
    """Coverage and accuracy for each threshold, with the two that matter marked."""
    if not model.table:
        return None
    marks = [ChartMark(chosen.default, f"chosen {chosen.default:g}")]
    if now and now.default != chosen.default:
        marks = [ChartMark(now.default, f"now {now.default:g}"), *marks]
    series = [
        LineSeries("share that passes", [(row.threshold, row.coverage) for row in model.table], 0),
        LineSeries("right among those", [(row.threshold, row.accuracy) for row in model.table], 2),
    ]
    start = min(model.table[0].threshold, chosen.default)
    return LineChart("Test images by threshold", series, start, 1.0, 0.0, 1.0, False, marks, height=230, width=560)


def read_traffic(connection: Connection, query: FormFields) -> TrafficShare:
    """Ask CloudWatch for the quantiles of the confidence of the last 24 hours."""
    now = current(connection)
    chosen = chosen_of(query, now, [])
    end = connection.now()
    answer = connection.client("cloudwatch").get_metric_data(
        MetricDataQueries=[_query(connection, f"p{p}", f"p{p}") for p in PERCENTS]
        + [_query(connection, "n", "SampleCount")],
        StartTime=end - timedelta(hours=24),
        EndTime=end,
    )
    values = {r["Id"]: list(r["Values"]) for r in answer["MetricDataResults"]}
    quantiles = [(p, values[f"p{p}"][0]) for p in PERCENTS if values.get(f"p{p}")]
    requests = int(sum(values.get("n", [])))
    return TrafficShare(requests, passing(quantiles, now.default) if now else None, passing(quantiles, chosen.default))


def passing(quantiles: Sequence[tuple[int, float]], at: float) -> float | None:
    """The share at or above a value, between the two quantiles that it lies between; None without quantiles."""
    if not quantiles:
        return None
    points = [(0.0, quantiles[0][1]), *((p / 100, value) for p, value in quantiles), (1.0, quantiles[-1][1])]
    if at <= points[0][1]:
        return 1.0
    for (low, below), (high, above) in pairwise(points):
        if below <= at <= above:
            between = (at - below) / (above - below) if above > below else 1.0
            return 1.0 - (low + between * (high - low))
    return 0.0


def _query(connection: Connection, name: str, statistic: str) -> MetricDataQueryTypeDef:
    return {
        "Id": name,
        "MetricStat": {
            "Metric": {
                "Namespace": "Scones",
                "MetricName": "Confidence",
                "Dimensions": [
                    {"Name": "service", "Value": "inference-workflow"},
                    {"Name": "stage", "Value": connection.names.stage},
                ],
            },
            "Period": 86400,
            "Stat": statistic,
        },
    }


def read_history(connection: Connection) -> HistoryView:
    """Read what Parameter Store keeps."""
    return HistoryView(threshold.history(connection)[:_SHOWN_CHANGES])
