"""Is the live version's traffic what its baseline expects: the section ``drift`` of a report.

Runs in the monitoring container. Values in, values out, besides the hours of the store that it looks at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from monitoring.captures.times import HOUR_US, moment
from monitoring.drift.baseline import Baseline
from monitoring.drift.channels import RATE_PER_MONTH, Predictions, Reference, reference
from monitoring.drift.detector import HOURS_PER_MONTH, Bounds, Integers
from monitoring.drift.findings import ChannelFinding, Finding, HourlyTraffic, look
from monitoring.drift.findings import describe as distances_of
from monitoring.drift.traffic import TrafficSource
from monitoring.store.window_table import Window
from monitoring.summary import iso
from reporting.documents.baseline import BaselineDocument
from reporting.documents.report import Channel, ClassShare, Drift, Family, HeldAgainst

LEARNING = timedelta(days=7)
# A wave through fewer predictions than this says nothing about the hours of the day.
ENOUGH_PREDICTIONS = 100
LONGEST = timedelta(hours=HOURS_PER_MONTH)


@dataclass(frozen=True)
class WatchedTraffic:
    """What was looked at, and what the detectors say."""

    drift: Drift
    """As the report has it."""
    findings: list[Finding]
    predictions: Predictions
    """Those of the window's hours."""
    reference: Reference


def spans(window: Window, deployed_at: datetime | None) -> tuple[Window | None, Window | None]:
    """The hours that drift is looked for in, and those from which the class shares are learned.

    None where the version was deployed after the window. Without the time of its deployment both begin a month ago,
    or where the captures begin.
    """
    start = window.end - LONGEST if deployed_at is None else deployed_at
    if start >= window.end:
        return None, None
    return Window(max(start, window.end - LONGEST), window.end), Window(start, min(start + LEARNING, window.end))


def watch(
    source: TrafficSource,
    window: Window,
    deployed_at: datetime | None,
    baseline: Baseline,
    requests: Mapping[int, int] | None,
) -> WatchedTraffic | None:
    """Look for drift up to the end of a window; None where the version was deployed later."""
    whole, learning = spans(window, deployed_at)
    if whole is None or learning is None:
        return None
    if deployed_at is None:
        begun = source.first_hour(*whole.hours)
        start = whole.start if begun is None else max(whole.start, moment(begun * HOUR_US))
        whole, learning = Window(start, whole.end), Window(start, min(start + LEARNING, whole.end))
    classes = source.store.classes
    thresholds = source.thresholds.by_index(classes.labels, classes.count).tolist()
    traffic = source.traffic(whole, requests)
    rhythm = None
    if learning.end - learning.start >= LEARNING:
        rhythm = source.traffic(learning, None).predictions
    learned = rhythm is not None and len(rhythm) >= ENOUGH_PREDICTIONS
    known = reference(baseline.predictions(thresholds), baseline.classes, rhythm=rhythm if learned else None)
    period = Period(whole, deployed_at is not None, learning.start + LEARNING)
    return judge(traffic, known, window.hours, period, baseline.document)


@dataclass(frozen=True)
class Period:
    """The time that drift is looked for in, and until when the daily rhythm of the classes is learned."""

    whole: Window
    since_deployment: bool
    learned_until: datetime


def judge(
    traffic: HourlyTraffic, known: Reference, hours: tuple[int, int], period: Period, baseline: BaselineDocument
) -> WatchedTraffic:
    """What the detectors say of traffic; ``hours`` are the first and the last of the report's window."""
    findings = look(traffic, known)
    first, last = hours
    predictions = traffic.predictions
    seen = predictions.at((predictions.hour >= first) & (predictions.hour <= last))
    drift = Drift(
        rate_per_month=RATE_PER_MONTH,
        hours=[_hour(hour) for hour in traffic.hours.tolist()],
        families=families(findings, _Looked(traffic.hours, hours), distances_of(seen, known)),
        start=iso(period.whole.start),
        end=iso(period.whole.end),
        since_deployment=period.since_deployment,
        predictions=len(traffic.predictions),
        class_shares=_class_shares(known, seen, baseline),
        class_shares_learned=known.class_bounds is not None,
        learned_until=iso(period.learned_until),
        baseline=held_against(baseline),
    )
    return WatchedTraffic(drift, findings, seen, known)


def held_against(document: BaselineDocument) -> HeldAgainst:
    """What a report says of the baseline."""
    return HeldAgainst(
        origin=document.origin,
        count=document.count,
        mean_confidence=document.mean_confidence,
        share_below_threshold=document.share_below_threshold,
        class_shares=document.class_shares,
        accuracy=document.accuracy or None,
    )


@dataclass(frozen=True)
class _Looked:
    """The hours of the evidence, and the first and the last of the window."""

    hours: Integers
    window: tuple[int, int]

    def highest(self, levels: list[float], since: int | None) -> tuple[float, str | None]:
        """The highest level of the window and of what an alarm is about, and its hour; None where there was none."""
        first = min(self.window[0], self.window[1] if since is None else since)
        rows = np.flatnonzero((self.hours >= first) & (self.hours <= self.window[1]))
        if not len(rows):
            return 0.0, None
        best = max(rows.tolist(), key=lambda row: levels[row])
        return levels[best], _hour(int(self.hours[best]))

    def judged_from(self, found: ChannelFinding) -> str | None:
        """When enough will have come, at the pace so far."""
        if found.judged or not found.values:
            return None
        return _hour(int(self.hours[0]) + int(np.ceil(found.needed * len(self.hours) / found.values)))


def families(
    findings: list[Finding], looked: _Looked, distances: Mapping[str, dict[str, float | None]]
) -> list[Family]:
    """Findings with their times in words and their evidence as levels: evidence / threshold, both as powers of ten.

    ``distances`` by channel are those of the window's predictions. A level of 1 is an alarm.
    """
    return [_family(finding, looked, distances) for finding in findings]


def _family(finding: Finding, looked: _Looked, distances: Mapping[str, dict[str, float | None]]) -> Family:
    levels = _levels(finding.evidence, finding.threshold)
    highest, highest_at = looked.highest(levels, finding.since)
    return Family(
        family=finding.family,
        alarm=finding.alarm,
        since=None if finding.since is None else _hour(finding.since),
        alarms=[_hour(hour) for hour in finding.alarms],
        threshold=finding.threshold,
        level=_last(levels),
        levels=levels,
        highest=highest,
        highest_at=highest_at,
        channels={
            name: _channel(found, finding, looked, distances.get(name, {})) for name, found in finding.channels.items()
        },
    )


def _channel(found: ChannelFinding, finding: Finding, looked: _Looked, distances: dict[str, float | None]) -> Channel:
    levels = _levels(found.evidence, finding.threshold)
    highest, highest_at = looked.highest(levels, finding.since if found.moved else None)
    return Channel(
        moved=found.moved,
        level=_last(levels),
        levels=levels,
        highest=highest,
        highest_at=highest_at,
        judged=found.judged,
        judged_from=looked.judged_from(found),
        values=found.values,
        needed=found.needed,
        distances=distances,
    )


def _class_shares(known: Reference, seen: Predictions, baseline: BaselineDocument) -> dict[str, ClassShare]:
    """Of each class; of two classes, the bounds of one are those of the other."""
    bounds = list(known.bounds["class share"])
    if len(known.classes) > len(bounds):
        bounds.append(Bounds(1.0 - bounds[0].upper, 1.0 - bounds[0].lower))
    return {
        name: ClassShare(
            baseline=baseline.class_shares.get(name, 0.0),
            lower=each.lower,
            upper=each.upper,
            window=float((seen.predicted == index).mean()) if len(seen) else None,
        )
        for index, (name, each) in enumerate(zip(known.classes, bounds, strict=True))
    }


def _levels(evidence: list[float], threshold: float) -> list[float]:
    return [round(max(0.0, value) / threshold, 3) for value in evidence]


def _last(levels: list[float]) -> float:
    return levels[-1] if levels else 0.0


def _hour(hour: int) -> str:
    return iso(moment(hour * HOUR_US))
