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
from monitoring.quality.resemblance import SeenAmongHealthy, shifts
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
        shifts={"confidence": 0.0, "brightness": away},
    )  # fmt: skip


CLEAN = error("none", 0.0, 0.92, 0.93)
BASELINE = msgspec.structs.replace(
    describe(seen(1), CLASSES, "validation split", 0.93),
    estimate_errors=[CLEAN, error("darkness", 0.01, 0.92, 0.88), error("glare", 0.45, 0.9, 0.5)],
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


def test_its_interval_holds_the_error_of_as_much_of_a_state_as_the_pictures_may_have() -> None:
    traffic = seen(2)
    found = expected(traffic)
    assert found.because is None
    assert found.accuracy is not None
    assert found.accuracy.value == pytest.approx(traffic.confidence.mean())
    # Darkness may be all there, unseen, and made the estimate 0.04 too high; a sixth of it glare would have been seen.
    assert found.accuracy.too_high == pytest.approx(0.04, abs=0.02)
    assert found.accuracy.too_low == pytest.approx(0.01)
    low, high = found.accuracy.interval
    assert low < found.accuracy.value - found.accuracy.too_high
    assert high > found.accuracy.value + found.accuracy.too_low
    assert "It was measured in 3 states of 300 validation images" in found.accuracy.caveat


def test_more_pictures_rule_out_more() -> None:
    few, many = (expected(seen(2, hours=hours)).accuracy for hours in (1, 12))
    assert few is not None
    assert many is not None
    assert few.too_high > many.too_high


def test_half_of_a_state_is_half_as_far_away() -> None:
    healthy = {"brightness": seen(1).statistics["brightness"], "confidence": seen(1).confidence}
    dark = healthy["brightness"] - 15.0
    shifted = shifts({"brightness": dark}, healthy)
    for share in (0.0, 0.5, 1.0):
        rows = np.random.default_rng(4).random(len(dark)) < share
        mixed = {"brightness": np.where(rows, dark, healthy["brightness"]), "confidence": healthy["confidence"]}
        most = SeenAmongHealthy.of(mixed, healthy).most_of(shifted)
        assert share <= most <= share + 0.2
    assert SeenAmongHealthy.of(healthy, healthy).most_of({"brightness": 0.0}) == 1.0, "nothing tells it"
    assert SeenAmongHealthy.of(healthy, healthy).most_of({"unknown": 0.3}) == 1.0


def test_pictures_that_were_not_captured_are_no_pictures() -> None:
    healthy = {"brightness": seen(1).statistics["brightness"].copy(), "noise": seen(3).statistics["brightness"].copy()}
    healthy["brightness"][::2], healthy["noise"][1::2] = np.nan, np.nan  # no row has both
    window = {name: values[:200] for name, values in healthy.items()}
    assert 0.0 <= SeenAmongHealthy.of(window, healthy).most_of({"brightness": 0.4}) < 0.3


def test_a_state_shifts_only_what_both_know_and_what_was_captured() -> None:
    healthy = {"noise": np.array([1.0, 2.0, 3.0, np.nan]), "warmth": np.full(4, np.nan)}
    worse = {"noise": np.array([2.0, 3.0, np.nan, 4.0]), "warmth": np.zeros(4), "novelty": np.ones(4)}
    assert shifts(worse, healthy) == {"noise": pytest.approx(1 / 3, abs=1e-4)}


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
    dangerous = msgspec.structs.replace(BASELINE, estimate_errors=[CLEAN, error("a turn", 0.01, 0.9, 0.7)])
    because = expected(seen(2), dangerous).because or ""
    assert (
        because
        == "600 pictures cannot rule out that 100% of them have a turn, with which this model's estimate was 0.20 "
        "too high"
    )


OLDER = msgspec.json.decode(
    b'{"corruption": "none", "severity": 0, "images": 9, "estimated": 0.9, "accuracy": 0.9, "distances": {"noise": 0}}',
    type=EstimateError,
)


@pytest.mark.parametrize("errors", [msgspec.UNSET, [], [OLDER]])
def test_a_baseline_of_an_older_version_gives_no_estimate(errors: list[EstimateError] | msgspec.UnsetType) -> None:
    older = msgspec.structs.replace(BASELINE, estimate_errors=errors)
    assert "its error was not measured with this baseline" in (expected(seen(2), older).because or "")


def test_without_predictions_or_a_baseline_there_is_none() -> None:
    assert expected_accuracy(np.empty((0, 2)), None, None).because == "nothing was captured"
    assert expected(seen(2), None).because == "there is nothing to hold the predictions against"
