"""Has the traffic moved away from its reference: what, since when, and how sure is that.

Runs in the monitoring container. Values in, values out; it touches no files. Only the sequential detectors of
`monitoring.drift.detector` decide; the distances between two distributions, which grow large on small samples of
healthy traffic too, are shown as a description.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from monitoring.drift.channels import (
    CAPTURE_GAP,
    FAMILIES,
    PARSE_ERRORS,
    RATE_PER_MONTH,
    SHARES,
    WRONG_BOUNDS,
    Predictions,
    Reference,
    counted_growths,
    hourly_growths,
)
from monitoring.drift.detector import Alarm, Bounds, Floats, Integers, fewest, threshold, watch
from monitoring.drift.distances import jensen_shannon, kolmogorov_smirnov, wasserstein

# A change that lasts alarms again and again, since the detectors begin anew; one that ended is forgotten after a day.
HOLD_HOURS = 24
_NATS_PER_DECADE = float(np.log(10.0))
_BINS = 10
# Added to empty bins, as is usual for the population stability index.
_EMPTY_BIN = 1e-4


@dataclass(frozen=True)
class HourlyTraffic:
    """What an endpoint answered and what was captured of it, by consecutive hours."""

    hours: Integers
    """Whole hours since 1970, in UTC, without a gap."""
    predictions: Predictions
    lines: Integers
    """Captured lines of each hour, `[hours]`."""
    malformed: Integers
    """Those of them that could not be used."""
    requests: Integers | None = None
    """What the endpoint counted itself, times the share that is captured; None where nobody knows."""


@dataclass(frozen=True)
class ChannelFinding:
    """One channel of a finding; evidence as a power of ten."""

    evidence: list[float]
    moved: bool
    distances: dict[str, float | None]
    values: int = 0
    """How many there were."""
    needed: int = 0
    """With fewer of them nothing could be judged."""

    @property
    def judged(self) -> bool:
        """Whether there was enough to say that it has not moved."""
        return self.moved or 0 < self.needed <= self.values


@dataclass(frozen=True)
class Finding:
    """What the detectors of a family say after the last hour; hours are whole hours since 1970, in UTC."""

    family: str
    alarm: bool
    """Whether they alarmed within the last HOLD_HOURS."""
    since: int | None
    """When the change most likely began that the alarm, and others without a day's rest before it, is about."""
    alarms: list[int]
    evidence: list[float]
    threshold: float
    channels: dict[str, ChannelFinding]


def look(traffic: HourlyTraffic, reference: Reference, rate_per_month: float = RATE_PER_MONTH) -> list[Finding]:
    """A finding for each family, in the order of FAMILIES. Together they raise a false alarm at most at the rate."""
    growths = hourly_growths(traffic.predictions, reference, traffic.hours)
    amounts = _amounts(traffic, reference)
    counted = {"parse errors": counted_growths(traffic.malformed, traffic.lines, PARSE_ERRORS)}
    if traffic.requests is not None:
        missing = np.maximum(traffic.requests - traffic.lines, 0)
        counted["capture gap"] = counted_growths(missing, traffic.requests, CAPTURE_GAP)
    images = {name: growths[name] for name in sorted(reference.statistics)}
    predictions = {name: growth for name, growth in growths.items() if name not in images}
    described = _Described(describe(traffic.predictions, reference), amounts)
    families = zip(FAMILIES, (predictions, images, counted), strict=True)
    return [
        _finding(family, channels, traffic.hours, evidence_rate(family, rate_per_month), described)
        for family, channels in families
    ]


def evidence_rate(family: str, rate_per_month: float = RATE_PER_MONTH) -> float:
    """The chance that chance alone brings a family's evidence together in a month, however right its bounds are."""
    return rate_per_month * SHARES[family] * (1.0 - WRONG_BOUNDS[family])


@dataclass(frozen=True)
class _Described:
    """By channel: the distances from the reference; how many values there are, and the bounds of its views."""

    distances: Mapping[str, dict[str, float | None]]
    amounts: Mapping[str, tuple[int, tuple[Bounds, ...]]]


def _amounts(traffic: HourlyTraffic, reference: Reference) -> dict[str, tuple[int, tuple[Bounds, ...]]]:
    predictions = traffic.predictions
    known = {
        name: int(np.isfinite(predictions.statistics[name]).sum()) if name in predictions.statistics else 0
        for name in reference.statistics
    }
    found = {name: (known.get(name, len(predictions)), bounds) for name, bounds in reference.bounds.items()}
    requests = 0 if traffic.requests is None else int(traffic.requests.sum())
    return found | {
        "parse errors": (int(traffic.lines.sum()), (PARSE_ERRORS,)),
        "capture gap": (requests, (CAPTURE_GAP,)),
    }


def _finding(
    family: str, growths: Mapping[str, Floats], hours: Integers, rate: float, described: _Described
) -> Finding:
    needed = threshold(rate)
    watched = watch(growths, needed)
    lasting = _lasting(watched.alarms, len(hours))
    moved = {name for alarm in lasting for name in alarm.moved}
    return Finding(
        family=family,
        alarm=bool(lasting),
        since=int(hours[lasting[0].since]) if lasting else None,
        alarms=[int(hours[alarm.hour]) for alarm in watched.alarms],
        evidence=_decades(watched.together),
        threshold=round(needed / _NATS_PER_DECADE, 3),
        channels={
            name: ChannelFinding(
                _decades(values),
                name in moved,
                described.distances.get(name, {}),
                values=described.amounts[name][0],
                needed=fewest(described.amounts[name][1], needed, len(growths)),
            )
            for name, values in watched.channels.items()
        },
    )


def _lasting(alarms: Sequence[Alarm], hours: int) -> list[Alarm]:
    """The alarms that lead, each within HOLD_HOURS of the next, to the last hour."""
    found: list[Alarm] = []
    next_hour = hours - 1
    for alarm in reversed(alarms):
        if next_hour - alarm.hour >= HOLD_HOURS:
            break
        found.insert(0, alarm)
        next_hour = alarm.hour
    return found


def _decades(logarithms: Floats) -> list[float]:
    return [round(float(value), 3) for value in logarithms / _NATS_PER_DECADE]


def describe(predictions: Predictions, reference: Reference) -> dict[str, dict[str, float | None]]:
    """Distances of the confidence and of each image statistic from the reference, by name."""
    return {"confidence": distances(predictions.confidence, reference.confidence)} | {
        name: distances(predictions.statistics[name], values)
        for name, values in reference.statistics.items()
        if name in predictions.statistics
    }


def distances(values: Floats, reference: Floats) -> dict[str, float | None]:
    """``psi``, ``js`` (Jensen-Shannon distance, base 2), ``ks`` and ``wasserstein``; None where nothing was captured.

    PSI and JS compare shares within the reference's deciles, Wasserstein is in the values' own unit.
    """
    known = values[np.isfinite(values)]
    if not len(known) or not len(reference):
        return dict.fromkeys(("psi", "js", "ks", "wasserstein"))
    edges = np.unique(np.quantile(reference, np.linspace(0.0, 1.0, _BINS + 1)[1:-1]))
    expected = _shares(reference, edges)
    found = _shares(known, edges)
    return {
        "psi": float(((found - expected) * np.log(found / expected)).sum()),
        "js": jensen_shannon(found, expected),
        "ks": kolmogorov_smirnov(known, reference),
        "wasserstein": wasserstein(known, reference),
    }


def _shares(values: Floats, edges: Floats) -> Floats:
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    shares = np.maximum(counts / len(values), _EMPTY_BIN)
    result: Floats = shares / shares.sum()
    return result
