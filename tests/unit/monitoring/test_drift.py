"""Drift: the detectors against values computed by hand and against streams whose changes are known."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats
from scipy.spatial import distance

from monitoring.drift import bounds, channels, detector, distances
from monitoring.drift import findings as drift
from monitoring.drift.channels import Predictions, Reference
from monitoring.drift.detector import BETS, Bounds, Floats

RATE = 100
CLASSES = ("bicycle", "motorcycle")


def stream(
    seed: int, hours: int, *, sure: float = 0.9, motorcycles: Floats | float = 0.5, brightness: float = 120.0
) -> Predictions:
    """``RATE`` predictions an hour; a share ``sure`` of them with high confidence."""
    chance = np.random.default_rng(seed)
    count = hours * RATE
    hour = np.repeat(np.arange(hours), RATE)
    confidence = np.where(chance.random(count) < sure, 1 - chance.beta(1, 30, count), chance.uniform(0.5, 0.93, count))
    shares = np.broadcast_to(motorcycles, hours)[hour]
    return Predictions(
        hour=hour,
        confidence=confidence,
        predicted=(chance.random(count) < shares).astype(np.int64),
        passes=confidence >= 0.93,
        statistics={"brightness": chance.normal(brightness, 20.0, count)},
    )


def traffic(*parts: Predictions, malformed: int = 0, requests: int | None = None) -> drift.HourlyTraffic:
    """The parts one after another, an hour behind the last of the part before."""
    offsets = np.cumsum([0, *(len(part) // RATE for part in parts)])
    hours = np.arange(offsets[-1])
    joined = Predictions(
        hour=np.concatenate([p.hour + offset for p, offset in zip(parts, offsets[:-1], strict=True)]),
        confidence=np.concatenate([p.confidence for p in parts]),
        predicted=np.concatenate([p.predicted for p in parts]),
        passes=np.concatenate([p.passes for p in parts]),
        statistics={"brightness": np.concatenate([p.statistics["brightness"] for p in parts])},
    )
    return drift.HourlyTraffic(
        hours=hours,
        predictions=joined,
        lines=np.full(len(hours), RATE),
        malformed=np.full(len(hours), malformed),
        requests=None if requests is None else np.full(len(hours), requests),
    )


@pytest.fixture(scope="module")
def healthy() -> Reference:
    return channels.reference(stream(1, 20), CLASSES, rhythm=stream(2, 7 * 24))


def alarms(found: list[drift.Finding]) -> dict[str, set[str]]:
    return {f.family: {name for name, c in f.channels.items() if c.moved} for f in found if f.alarm}


def test_an_hour_grows_as_computed_by_hand() -> None:
    (row,) = detector.growths(np.array([1.0, 0.0, np.nan]), 0.2, 0.5, np.array([0, 3]))
    more = [math.log(1 + bet * 1.0) + math.log(1 - bet) for bet in BETS]
    less = [math.log(1 + bet * (1 - 1.0 - 0.8) / 0.8) + math.log(1 + bet * (1 - 0.8) / 0.8) for bet in BETS]
    assert row == pytest.approx(more + less)


def test_hours_without_values_change_no_stake() -> None:
    rows = detector.growths(np.array([1.0, 1.0]), 0.4, 0.6, np.array([0, 0, 2, 2]))
    assert (rows[[0, 2]] == 0.0).all()
    assert (rows[1, : len(BETS)] > 0.0).all()


def test_evidence_is_the_recursion_of_shiryaev_and_roberts() -> None:
    growth = np.log([[1.5, 0.5], [2.0, 0.8], [0.1, 1.2]])
    first, second = 0.0, 0.0
    expected = []
    for a, b in np.exp(growth):
        first, second = a * (first + 1), b * (second + 1)
        expected.append(math.log((first + second) / 2))
    watched = detector.watch({"confidence": growth}, needed=10.0)
    assert watched.channels["confidence"] == pytest.approx(expected)
    assert watched.together == pytest.approx(expected)
    assert watched.alarms == ()


def test_evidence_of_a_healthy_stream_is_at_most_the_number_of_hours_on_average() -> None:
    """All outcomes of two hours with two values each, weighed by their chances; the mean lies on the bound itself."""
    total = 0.0
    for outcome in itertools.product([0.0, 1.0], repeat=4):
        chance = math.prod(0.3 if value else 0.7 for value in outcome)
        rows = detector.growths(np.array(outcome), 0.3, 0.3, np.array([0, 2, 4]))
        total += chance * math.exp(detector.watch({"any": rows}, needed=100.0).together[-1])
    assert total == pytest.approx(2.0)


def test_an_alarm_spends_the_evidence_and_names_what_moved() -> None:
    still, moving = np.full((4, 1), -0.1), np.log([[0.9], [50.0], [3.0], [1.0]])
    watched = detector.watch({"still": still, "moving": moving}, needed=math.log(20.0))
    assert watched.alarms == (detector.Alarm(hour=1, since=1, moved=("moving",)),)
    assert watched.channels["moving"][2] == pytest.approx(math.log(3.0))


def test_the_threshold_states_the_rate() -> None:
    assert math.exp(detector.threshold(0.01)) == pytest.approx(72_000)


def test_the_onset_is_where_the_growth_began() -> None:
    assert detector.onset(np.array([[0.1], [-2.0], [-1.0], [0.5], [-0.1], [3.0]])) == 3
    assert detector.onset(np.array([[0.0], [0.0], [0.0], [0.5], [3.0]])) == 3  # three hours without a value


def test_a_month_of_healthy_traffic_with_a_daily_rhythm_raises_nothing() -> None:
    wave = 0.5 + 0.1 * np.sin(2 * np.pi * np.arange(7 * 24) / 24)
    known = channels.reference(stream(3, 20), CLASSES, rhythm=stream(4, 7 * 24, motorcycles=wave))
    month = stream(5, 30 * 24, motorcycles=0.5 + 0.1 * np.sin(2 * np.pi * np.arange(30 * 24) / 24))
    found = drift.look(traffic(month, requests=RATE), known)
    assert [f.family for f in found] == list(channels.FAMILIES)
    assert [f.alarms for f in found] == [[], [], []]
    assert set(found[0].channels) == {"confidence", "below threshold", "class share"}


@pytest.mark.parametrize(
    ("motorcycles", "moved"),
    [(0.5, {}), (0.68, {}), (0.83, {"predictions": {"class share"}}), (0.1, {"predictions": {"class share"}})],
)
def test_class_shares_are_held_against_the_baselines_from_the_first_hours(
    motorcycles: float, moved: dict[str, set[str]]
) -> None:
    known = channels.reference(stream(1, 20), CLASSES)
    found = drift.look(traffic(stream(6, 4, motorcycles=motorcycles)), known)
    assert alarms(found) == moved


def test_a_first_week_that_had_moved_already_is_not_learned_as_healthy() -> None:
    moved = stream(14, 7 * 24, motorcycles=0.9)
    known = channels.reference(stream(1, 20), CLASSES, rhythm=moved)
    assert alarms(drift.look(traffic(moved), known)) == {"predictions": {"class share"}}


def test_a_rare_class_of_many_may_not_become_common() -> None:
    healthy = stream(1, 100)
    healthy.predicted[:] = np.where(np.arange(len(healthy)) % 100 == 0, 2, np.arange(len(healthy)) % 2)
    (low, high) = (
        (b.lower, b.upper) for b in channels.reference(healthy, (*CLASSES, "lorry")).bounds["class share"][1:]
    )
    assert low[1] == pytest.approx(0.709, abs=0.01)
    assert high == (pytest.approx(0.004, abs=0.001), pytest.approx(0.0247, abs=0.001))


def test_too_few_predictions_are_not_judged(healthy: Reference) -> None:
    few = stream(6, 4)
    found = drift.look(traffic(few), healthy)
    assert all(channel.judged for channel in found[0].channels.values())
    rows = np.arange(8)
    counted = drift.HourlyTraffic(np.arange(1), few.at(rows), np.array([8]), np.zeros(1, np.int64))
    judged = {name: c.judged for f in drift.look(counted, healthy) for name, c in f.channels.items()}
    assert judged == {
        "confidence": False, "below threshold": False, "class share": False, "brightness": False, "parse errors": True,
    }  # fmt: skip


def test_with_as_many_values_as_are_needed_a_large_change_alarms() -> None:
    """The number that is called enough is enough: half of the way to the furthest, on average."""
    bounds, needed = (Bounds(0.0, 0.2),), detector.threshold(0.01)
    count = detector.fewest(bounds, needed, others=1)
    values = (np.arange(count) % 10 < 6).astype(np.float64)
    (row,) = detector.growths(values, 0.0, 0.2, np.array([0, count]))
    assert detector.watch({"any": row[None, :]}, needed).alarms
    assert count < 60


@pytest.mark.parametrize(
    ("changed", "moved"),
    [
        ({"sure": 0.75}, {"predictions": {"confidence"}}),
        ({"motorcycles": 0.8}, {"predictions": {"class share"}}),
        ({"brightness": 60.0}, {"images": {"brightness"}}),
    ],
)
def test_a_change_is_found_named_and_dated(
    healthy: Reference, changed: dict[str, float], moved: dict[str, set[str]]
) -> None:
    found = drift.look(traffic(stream(7, 48), stream(8, 12, **changed)), healthy)
    assert alarms(found) == moved
    (finding,) = [f for f in found if f.alarm]
    assert 48 <= finding.alarms[0] <= 56
    assert finding.since is not None
    assert abs(finding.since - 48) <= 1


def test_an_alarm_ends_with_its_reason(healthy: Reference) -> None:
    found = drift.look(traffic(stream(9, 24), stream(10, 6, brightness=60.0), stream(11, 40)), healthy)
    images = found[1]
    assert images.alarms
    assert max(images.alarms) <= 30
    assert not images.alarm


@pytest.mark.parametrize(
    ("counts", "moved"),
    [({"malformed": 5}, "parse errors"), ({"requests": 2 * RATE}, "capture gap"), ({"requests": RATE}, None)],
)
def test_lines_that_cannot_be_used_and_requests_that_were_not_captured(
    healthy: Reference, counts: dict[str, int], moved: str | None
) -> None:
    found = drift.look(traffic(stream(12, 24), **counts), healthy)
    assert alarms(found) == ({"capture": {moved}} if moved else {})


def test_images_that_were_not_captured_say_nothing(healthy: Reference) -> None:
    blind = traffic(stream(13, 24))
    blind.predictions.statistics["brightness"][:] = np.nan
    found = drift.look(blind, healthy)
    assert alarms(found) == {}
    assert found[1].channels["brightness"].distances == dict.fromkeys(("psi", "js", "ks", "wasserstein"))


@pytest.mark.parametrize(("share", "alarmed"), [(0.0, False), (0.005, False), (0.1, True)])
def test_a_few_images_that_are_further_than_any_before_are_found(share: float, alarmed: bool) -> None:
    chance = np.random.default_rng(7)
    known, month = stream(1, 3), stream(2, 24)
    known.statistics["novelty"] = chance.normal(1.0, 0.1, len(known))  # type: ignore[index]  # a dict
    month.statistics["novelty"] = np.where(  # type: ignore[index]  # a dict
        chance.random(len(month)) < share, 2.0, chance.normal(1.0, 0.1, len(month))
    )
    hourly = drift.HourlyTraffic(np.arange(24), month, np.full(24, RATE), np.zeros(24, np.int64))
    assert alarms(drift.look(hourly, channels.reference(known, CLASSES))) == (
        {"images": {"novelty"}} if alarmed else {}
    )


def test_ranks_of_ties_lie_in_the_middle() -> None:
    assert channels.ranks(np.array([1.0, 2.0, 9.0, np.nan]), np.array([1.0, 1.0, 2.0, 3.0])) == pytest.approx(
        [0.25, 0.625, 1.0, np.nan], nan_ok=True
    )


def test_bounds_lie_within_what_is_possible() -> None:
    assert Bounds.around(0.5, 0.06) == Bounds(pytest.approx(0.44), pytest.approx(0.56))
    assert Bounds.around(0.99, 0.02).upper == 1.0


@pytest.mark.parametrize(("error", "freedom"), [(0.0013, 1), (0.0013, 2), (0.00003, 99), (0.2, 7), (1e-6, 1999)])
def test_students_quantile_equals_that_of_scipy(error: float, freedom: int) -> None:
    assert bounds.student_quantile(error, freedom) == pytest.approx(stats.t.isf(error, freedom), rel=1e-3)


def test_distances_equal_those_of_scipy_and_those_by_hand() -> None:
    chance = np.random.default_rng(3)
    reference, values = np.sort(chance.normal(0, 1, 500)), chance.normal(0.4, 1.2, 300)
    found = drift.distances(values, reference)
    assert found["ks"] == pytest.approx(stats.ks_2samp(values, reference).statistic)
    assert found["wasserstein"] == pytest.approx(stats.wasserstein_distance(values, reference))
    edges = np.quantile(reference, np.linspace(0, 1, 11))
    edges[0], edges[-1] = -np.inf, np.inf
    shares = np.histogram(values, edges)[0] / 300
    assert found["psi"] == pytest.approx(sum((p - 0.1) * math.log(p / 0.1) for p in shares))
    assert found["js"] == pytest.approx(distance.jensenshannon(shares, np.full(10, 0.1), base=2))


@pytest.mark.parametrize("sizes", [(1, 1), (1, 40), (300, 7)])
def test_distances_of_samples_with_ties_equal_those_of_scipy(sizes: tuple[int, int]) -> None:
    chance = np.random.default_rng(sum(sizes))
    first, second = (chance.integers(0, 9, size).astype(float) for size in sizes)
    assert distances.kolmogorov_smirnov(first, second) == pytest.approx(stats.ks_2samp(first, second).statistic)
    assert distances.wasserstein(first, second) == pytest.approx(stats.wasserstein_distance(first, second))


def test_equal_samples_have_no_distance() -> None:
    values = np.linspace(0, 1, 101)
    assert drift.distances(values, values) == {"psi": 0.0, "js": 0.0, "ks": 0.0, "wasserstein": 0.0}


def test_a_reference_needs_predictions() -> None:
    with pytest.raises(ValueError, match="at least 2 healthy predictions as the reference, got 0"):
        channels.reference(stream(1, 0), CLASSES)


def test_hardly_any_baseline_of_a_hundred_images_is_wrong_about_any_of_nine_statistics() -> None:
    """With three standard errors for each bound 26 of 1,000 were, and such a version alarms sooner or later."""
    chance = np.random.default_rng(3)
    none, names = np.zeros(100, np.int64), [f"statistic {number}" for number in range(9)]
    wrong = 0
    for _ in range(400):
        values = dict(zip(names, chance.random((9, 100)), strict=True))
        known = channels.reference(Predictions(none, values[names[0]], none, none == 0, values), CLASSES)
        wrong += any(_is_wrong(known.bounds[name], known.statistics[name]) for name in names)
    assert wrong <= 6


def _is_wrong(bounds: Sequence[Bounds], uniform: Floats) -> bool:
    """Whether a bound excludes the truth of a population that is uniform from 0 to 1."""
    ranks = channels.ranks(uniform, uniform)
    lowest, highest = uniform[ranks >= channels.TAIL].min(), uniform[ranks <= 1.0 - channels.TAIL].max()
    truths = (1.0 - float(uniform.mean()), lowest, 1.0 - highest)
    return not all(each.lower <= truth <= each.upper for each, truth in zip(bounds, truths, strict=True))


@pytest.mark.parametrize(("hits", "count"), [(0, 1), (0, 100), (5, 100), (99, 100), (7, 7), (300, 6000)])
def test_the_largest_share_is_clopper_and_pearsons(hits: int, count: int) -> None:
    exact = stats.beta.ppf(1.0 - 0.0002, hits + 1, count - hits) if hits < count else 1.0
    assert bounds.largest_share(hits, count, 0.0002) == pytest.approx(exact, abs=1e-9)
