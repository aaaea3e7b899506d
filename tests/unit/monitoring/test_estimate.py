"""The estimated accuracy is said where it holds, with an interval of this model's own errors, and else withheld."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest

from monitoring.baseline import describe
from monitoring.captures.times import HOUR_US, moment
from monitoring.drift import channels
from monitoring.drift.channels import Predictions
from monitoring.drift.detector import Floats
from monitoring.drift.findings import HourlyTraffic
from monitoring.drift.watch import Period, WatchedTraffic, judge
from monitoring.quality.estimate import ExpectedAccuracy, expected_accuracy
from monitoring.store.window_table import Window
from reporting.documents.baseline import BaselineDocument, EstimateError

CLASSES = ("bicycle", "motorcycle")
HOURS, RATE = 6, 100


def seen(seed: int, *, brightness: float = 120.0, motorcycles: float = 0.5, hours: int = HOURS) -> Predictions:
    chance = np.random.default_rng(seed)
    count = hours * RATE
    confidence = np.where(chance.random(count) < 0.8, 1 - chance.beta(1, 30, count), chance.uniform(0.5, 0.93, count))
    return Predictions(
        np.repeat(np.arange(hours), RATE),
        confidence,
        (chance.random(count) < motorcycles).astype(np.int64),
        confidence >= 0.93,
        {"brightness": chance.normal(brightness, 20.0, count)},
    )


def error(kind: str, away: float, estimated: float, accuracy: float) -> EstimateError:
    return EstimateError(
        corruption=kind, severity=int(kind != "none"), images=300, estimated=estimated, accuracy=accuracy,
        distances={"confidence": 0.0, "brightness": away},
    )  # fmt: skip


CLEAN = error("none", 0.0, 0.92, 0.93)
BASELINE = msgspec.structs.replace(
    describe(seen(1), CLASSES, "validation split", 0.93),
    estimate_errors=[CLEAN, error("darkness", 0.07, 0.92, 0.88), error("glare", 0.9, 0.9, 0.5)],
)


def watched(traffic: Predictions, malformed: int = 0) -> WatchedTraffic:
    hours = np.arange(int(traffic.hour.max()) + 1)
    counts = np.bincount(traffic.hour)
    known = channels.reference(seen(1), CLASSES)
    period = Period(Window(moment(0), moment(len(hours) * HOUR_US)), True, datetime(1970, 1, 8, tzinfo=UTC))
    hourly = HourlyTraffic(hours, traffic, counts, np.full(len(hours), malformed), counts)
    return judge(hourly, known, (0, len(hours) - 1), period, BASELINE)


def expected(
    traffic: Predictions, baseline: BaselineDocument | None = BASELINE, malformed: int = 0
) -> ExpectedAccuracy:
    return expected_accuracy(probabilities(traffic), watched(traffic, malformed), baseline)


def probabilities(traffic: Predictions) -> Floats:
    return np.stack([traffic.confidence, 1 - traffic.confidence], axis=1)


def test_its_interval_holds_the_errors_of_every_state_that_the_pictures_may_be_in() -> None:
    traffic = seen(2)
    found = expected(traffic)
    assert found.because is None
    assert found.accuracy is not None
    assert found.accuracy.value == pytest.approx(traffic.confidence.mean())
    # Darkness may be there, unseen, and made the estimate 0.04 too high; glare would have been seen.
    assert (found.accuracy.too_high, found.accuracy.too_low) == (pytest.approx(0.04), pytest.approx(0.01))
    low, high = found.accuracy.interval
    assert low < found.accuracy.value - 0.04
    assert high > found.accuracy.value + 0.01
    assert "Of 3 states of 300 validation images" in found.accuracy.caveat
    assert "could be in 2" in found.accuracy.caveat


@pytest.mark.parametrize(
    ("traffic", "because"),
    [
        (seen(3, brightness=60.0), "the alarm of images is on"),
        (seen(3, motorcycles=0.95), "the alarm of predictions is on"),
        (seen(3, brightness=104.0, hours=1), "the pictures or the confidence look different (brightness)"),
        (seen(3, motorcycles=0.85, hours=1), "the share of bicycle, motorcycle is not what the baseline lets expect"),
        (seen(3).at(np.arange(20)), "of 50 pictures at least, 20 were captured and looked at"),
    ],
)
def test_it_is_withheld_while_anything_has_moved_or_cannot_be_known(traffic: Predictions, because: str) -> None:
    found = expected(traffic)
    assert (found.accuracy, found.because) == (None, because)


def test_an_alarm_of_the_capture_is_one_too() -> None:
    assert expected(seen(2), malformed=20).because == "the alarm of capture is on"


def test_it_is_withheld_where_the_pictures_might_be_ones_that_it_was_far_off_on() -> None:
    dangerous = msgspec.structs.replace(BASELINE, estimate_errors=[CLEAN, error("a turn", 0.05, 0.9, 0.7)])
    because = expected(seen(2), dangerous).because or ""
    assert (
        because
        == "600 pictures cannot tell whether there is a turn, with which this model's estimate was 0.20 too high"
    )


@pytest.mark.parametrize("errors", [msgspec.UNSET, []])
def test_a_baseline_of_an_older_version_gives_no_estimate(errors: list[EstimateError] | msgspec.UnsetType) -> None:
    older = msgspec.structs.replace(BASELINE, estimate_errors=errors)
    assert "its error was not measured with this baseline" in (expected(seen(2), older).because or "")


def test_without_predictions_or_a_baseline_there_is_none() -> None:
    assert expected_accuracy(np.empty((0, 2)), None, None).because == "nothing was captured"
    assert expected(seen(2), None).because == "there is nothing to hold the predictions against"
