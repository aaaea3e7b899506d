"""Captured traffic as the detectors take it, from the hours of the store.

Runs in the monitoring container. Reads the store and, for the images, the capture files.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa  # type: ignore[import-untyped]  # no types are published

from imaging.decode import IMAGE_SIZE
from imaging.statistics import STATISTICS
from monitoring.captures.quarantine import SMOKE_TEST
from monitoring.captures.times import HOUR_US, microseconds
from monitoring.drift.channels import Predictions
from monitoring.drift.detector import Floats, Integers
from monitoring.drift.findings import HourlyTraffic
from monitoring.store import arrays as store_arrays
from monitoring.store.aggregates import Thresholds
from monitoring.store.image_statistics import Bring, bring_nothing, hourly_image_statistics
from monitoring.store.novelty import NOVELTY, NoveltyModel
from monitoring.store.store import Store, Variant
from monitoring.store.window_table import Live, Window

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class TrafficSource:
    """The store's predictions of some variants, and how they pass."""

    store: Store
    variants: tuple[Variant, ...]
    thresholds: Thresholds
    captures: Path
    live: Live
    image_size: int = IMAGE_SIZE
    """Pixels of a side, as the model sees the images."""
    novelty: NoveltyModel | None = None
    bring: Bring = bring_nothing

    @property
    def statistics(self) -> tuple[str, ...]:
        """Names of the image statistics; the distance to the training images only where the model says it."""
        return STATISTICS if self.novelty is None else (*STATISTICS, NOVELTY)

    def first_hour(self, first: int, last: int) -> int | None:
        """The first hour of a span with captured lines."""
        return min(
            (hour for variant in self.variants for hour, _ in self.store.hours(variant, first, last)), default=None
        )

    def images(self, hours: tuple[int, int]) -> Iterator[tuple[list[str], dict[str, Floats]]]:
        """Of each hour's sampled images the events, and the statistics by name, float64 [images] each."""
        for variant in self.variants:
            for table in self._statistics(variant, hours).values():
                events: list[str] = table.column("event_id").to_pylist()
                yield events, {name: store_arrays.column(table, name, np.float64) for name in self.statistics}

    def _statistics(self, variant: Variant, hours: tuple[int, int]) -> dict[int, pa.Table]:
        return hourly_image_statistics(
            self.store,
            variant,
            hours,
            self.captures,
            image_size=self.image_size,
            novelty=self.novelty,
            bring=self.bring,
        )

    def traffic(self, span: Window, requests: Mapping[int, int] | None) -> HourlyTraffic:
        """All hours of a time span. ``requests`` by hour; an hour that is not in it had none.

        Nothing is missing yet of an hour that goes on after the span.
        """
        first, last = span.hours
        hours = np.arange(first, last + 1, dtype=np.int64)
        lines, malformed = np.zeros(len(hours), np.int64), np.zeros(len(hours), np.int64)
        parts: list[Predictions] = []
        passing = self.thresholds.by_index(self.store.classes.labels, self.store.classes.count)
        found_of = Counter(hour for variant in self.variants for hour, _ in self.store.hours(variant, first, last))
        met: dict[int, set[str]] = {hour: set() for hour, variants in found_of.items() if variants > 1}
        for variant in self.variants:
            images = self._statistics(variant, (first, last))
            for hour, found in self.store.aggregates(variant, first, last, self.thresholds).items():
                lines[hour - first] += found.records + found.duplicates + sum(found.malformed.values())
            for hour, path in self.store.hours(variant, first, last):
                rows = self.store.rows(path)
                chosen = self._is_counted(rows, span)
                if hour in met:
                    repeated = _repeated(rows, met[hour])
                    lines[hour - first] -= repeated.sum()
                    chosen &= ~repeated
                parts.append(_predictions(rows, chosen, self._looked_at(images[hour]), hour, passing))
                malformed[hour - first] += sum(
                    row.lines for row in self.store.quarantined(path) if not row.of_smoke_test and self.live.counts(row)
                )
        counts = None
        if requests is not None:
            ended = microseconds(span.end) // HOUR_US
            counts = np.array([requests.get(hour, 0) if hour < ended else 0 for hour in hours.tolist()], np.int64)
        return HourlyTraffic(hours, _joined(parts, self.statistics), lines, malformed, counts)

    def _looked_at(self, images: pa.Table) -> pa.Table:
        return images.select(["event_id", *self.statistics])

    def _is_counted(self, rows: pa.Table, span: Window) -> Flags:
        """Which rows are the version's answers to somebody, each once, within the time span."""
        times = store_arrays.column(rows, "time", np.int64)
        counted: Flags = (times >= microseconds(span.start)) & (times < microseconds(span.end))
        counted &= ~np.array(rows.column("duplicate").to_pylist(), bool)
        tested = [(each or "").startswith(SMOKE_TEST) for each in rows.column("inference_id").to_pylist()]
        answered = [self.live.answered(each) for each in rows.column("model_version").to_pylist()]
        counted &= ~np.array(tested, bool) & np.array(answered, bool)
        return counted


def _repeated(rows: pa.Table, met: set[str]) -> Flags:
    """Which rows are of events that another variant's have told of already: somebody copied its folder beside it."""
    events = rows.column("event_id").to_pylist()
    repeated = np.array([event in met for event in events], bool)
    met.update(events)
    return repeated


def _predictions(rows: pa.Table, unique: Flags, images: pa.Table, hour: int, passing: Floats) -> Predictions:
    predicted = store_arrays.column(rows, "predicted", np.int32).astype(np.int64)
    confidence = store_arrays.column(rows, "confidence", np.float64)
    row_of = {event: row for row, event in enumerate(rows.column("event_id").to_pylist()) if unique[row]}
    at = np.array([row_of[event] for event in images.column("event_id").to_pylist() if event in row_of], np.int64)
    known = [row for row, event in enumerate(images.column("event_id").to_pylist()) if event in row_of]
    statistics = {}
    for name in images.column_names[1:]:
        values = np.full(len(unique), np.nan)
        values[at] = store_arrays.column(images, name, np.float64)[known]
        statistics[name] = values
    found = Predictions(np.full(len(unique), hour), confidence, predicted, confidence >= passing[predicted], statistics)
    return found.at(unique)


def _joined(parts: list[Predictions], statistics: Sequence[str]) -> Predictions:
    none = np.empty(0)
    order = np.argsort(np.concatenate([none.astype(np.int64), *(part.hour for part in parts)]), kind="stable")

    def column(name: str, empty: Integers | Floats) -> Floats:
        return np.concatenate([empty, *(getattr(part, name) for part in parts)])[order]

    return Predictions(
        column("hour", none.astype(np.int64)).astype(np.int64),
        column("confidence", none),
        column("predicted", none.astype(np.int64)).astype(np.int64),
        column("passes", none.astype(bool)).astype(bool),
        {name: np.concatenate([none, *(part.statistics[name] for part in parts)])[order] for name in statistics},
    )
