"""The captured images that look least like those of the baseline, by the statistics of each hour's sample.

Runs in the monitoring container. Values in, values out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from monitoring.drift.detector import Floats
from monitoring.drift.traffic import TrafficSource
from monitoring.store.novelty import NOVELTY

# Of a normal distribution, half of the values lie within this many standard deviations.
_QUARTILE_RANGE = 1.349


@dataclass(frozen=True)
class Unusual:
    """Position of a prediction in the table, and which statistic of its image is furthest from the median."""

    row: int
    statistic: str
    value: float
    usual: float
    """The median."""
    deviations: float
    """Distance from the median, in robust standard deviations."""


def most_unusual(
    frame: pd.DataFrame, tables: Mapping[str, Floats], reference: Mapping[str, Floats], count: int
) -> list[Unusual]:
    """The oddest first. ``tables`` are the statistics of ``frame``'s rows, NaN where unknown.

    ``reference`` are the baseline's; without any, the images of the window itself are what is usual.
    """
    names = list(tables)
    if not len(frame) or not names:
        return []
    usual, distances = {}, []
    for name in names:
        known = reference.get(name, tables[name])
        known = known[np.isfinite(known)]
        if len(known) < 2:
            distances.append(np.full(len(frame), np.nan))
            continue
        low, usual[name], high = (float(value) for value in np.percentile(known, [25, 50, 75]))
        spread = (high - low) / _QUARTILE_RANGE or float(known.std()) or 1.0
        distances.append(np.abs(tables[name] - usual[name]) / spread)
    table = np.nan_to_num(np.stack(distances, axis=1), nan=-1.0)
    furthest, by = table.max(axis=1), table.argmax(axis=1)
    order = [int(row) for row in np.argsort(-furthest, kind="stable")[:count] if furthest[row] >= 0.0]
    return [
        Unusual(row, names[by[row]], float(tables[names[by[row]]][row]), usual[names[by[row]]], float(furthest[row]))
        for row in order
    ]


def furthest(
    frame: pd.DataFrame, tables: Mapping[str, Floats], reference: Mapping[str, Floats], count: int
) -> list[Unusual]:
    """The images furthest from the training images, the furthest first; none where the model does not say it."""
    if NOVELTY not in tables or NOVELTY not in reference:
        return []
    usual = float(np.nanmedian(reference[NOVELTY]))
    return most_unusual(frame, {NOVELTY: np.maximum(tables[NOVELTY], usual)}, reference, count)


def statistics_of(frame: pd.DataFrame, source: TrafficSource, hours: tuple[int, int]) -> dict[str, Floats]:
    """The image statistics of the predictions in ``frame``, NaN where they were not sampled."""
    found = {name: np.full(len(frame), np.nan) for name in source.statistics}
    row_of = {event: row for row, event in enumerate(frame["event_id"])}
    for events, statistics in source.images(hours):
        known = [number for number, event in enumerate(events) if event in row_of]
        rows = [row_of[events[number]] for number in known]
        for name, values in statistics.items():
            found[name][rows] = values[known]
    return found
