"""Traffic that is simulated, and windows that are filled in: what is chosen, and what is refused in one line."""

from __future__ import annotations

import io
import itertools
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from PIL import Image

from scones.durations import duration
from scones.errors import SconesError
from scones.traffic import backfill, simulate
from scones.traffic.captures import TimeRange
from scones.traffic.simulate import ImageSupply, TrafficPlan

BEGUN = datetime(2026, 11, 1, 7, 20, tzinfo=UTC)
DAY = timedelta(days=1)


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), colour).save(buffer, "PNG")
    return buffer.getvalue()


TRAFFIC = ImageSupply(
    {"bicycle": [png("red"), png("blue")], "motorcycle": [png("white")]},
    {"bicycle": 100, "motorcycle": 100},
    [png("green")],
)


class Runtime:
    """Answers what a model would, or fails."""

    def __init__(self, error: Exception | None = None) -> None:
        self.bodies: list[bytes] = []
        self._error = error

    def client(self, _service: str) -> Any:
        return self

    @property
    def names(self) -> Any:
        return type("Names", (), {"endpoint": "e"})

    def invoke_endpoint(self, **request: Any) -> dict[str, Any]:
        if self._error:
            raise self._error
        self.bodies.append(request["Body"])
        return {"Body": io.BytesIO(b"[0.5, 0.5]")}


class Stepped:
    """Time that passes at once."""

    step = timedelta(minutes=15)

    def __init__(self) -> None:
        self.at = BEGUN

    def now(self) -> datetime:
        return self.at

    def pass_until(self, moment: datetime) -> None:
        self.at = moment


def sent(plan: TrafficPlan, traffic: ImageSupply = TRAFFIC) -> tuple[simulate.Sent, Runtime, list[int]]:
    """What was sent, to whom, and how many by the end of each step."""
    runtime, numbers, last = Runtime(), [], None
    for last in simulate.send(runtime, plan, traffic, Stepped()):  # type: ignore[arg-type]  # what is used of a connection
        numbers.append(last.answered)
    assert last is not None
    return last, runtime, numbers


def test_as_many_are_sent_as_the_rate_says() -> None:
    found, runtime, numbers = sent(TrafficPlan(timedelta(hours=2), 10))
    assert (found.answered, found.failed, len(runtime.bodies)) == (20, 0, 20)
    assert numbers == [0, 2, 5, 7, 10, 12, 15, 17, 20]
    assert (found.begun, found.until) == (BEGUN, BEGUN + timedelta(hours=2))
    assert set(runtime.bodies) == {png("red"), png("blue"), png("white")}


def test_a_part_of_a_step_is_sent_too() -> None:
    found, _, numbers = sent(TrafficPlan(timedelta(minutes=20), 60))
    assert numbers == [0, 15, 20]
    assert found.until == BEGUN + timedelta(minutes=20)


def test_a_day_s_rhythm_keeps_the_day_s_sum() -> None:
    found, _, numbers = sent(TrafficPlan(DAY, 100, daily=True))
    assert found.answered == pytest.approx(2400, abs=2)
    steps = [after - before for before, after in itertools.pairwise(numbers)]
    assert max(steps) == pytest.approx(4 * min(steps), abs=4)


def test_the_same_seed_sends_the_same() -> None:
    plan = TrafficPlan(timedelta(hours=1), 30, corrupt={"noisy": 0.5})
    assert sorted(sent(plan)[1].bodies) == sorted(sent(plan)[1].bodies)
    assert sorted(sent(plan)[1].bodies) != sorted(sent(TrafficPlan(timedelta(hours=1), 30, seed=1))[1].bodies)


def test_shares_of_classes_corruptions_and_unknown_images() -> None:
    plan = TrafficPlan(DAY, 50, mix={"bicycle": 0.9, "motorcycle": 0.1}, corrupt={"darkened": 0.25}, unknown=0.5)
    found, runtime, _ = sent(plan, ImageSupply(TRAFFIC.known, plan.mix, TRAFFIC.unknown))
    assert found.answered == 1200
    assert found.true_labels["unknown"] == pytest.approx(600, abs=100)
    assert found.true_labels["bicycle"] == pytest.approx(540, abs=100)
    assert found.corrupted == Counter(darkened=pytest.approx(300, abs=80))
    assert sum(body in {png("red"), png("blue"), png("white"), png("green")} for body in runtime.bodies) == (
        1200 - found.corrupted["darkened"]
    )


def test_traffic_that_nobody_answers_ends_in_one_line() -> None:
    from botocore.exceptions import EndpointConnectionError

    broken: Any = Runtime(EndpointConnectionError(endpoint_url="http://127.0.0.1:9"))
    with pytest.raises(SconesError, match=r"none of 2 images was answered: .*127\.0\.0\.1:9"):
        list(simulate.send(broken, TrafficPlan(DAY, 10), TRAFFIC, Stepped()))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"corrupt": {"melted": 1.0}}, "--corrupt knows darkened.*not melted"),
        ({"corrupt": {"noisy": 1.5}}, "no share"),
        ({"corrupt": {"noisy": float("nan")}}, "no share"),
        ({"corrupt": {"noisy": 0.6, "blurred": 0.6}}, "add up to 1.2"),
        ({"mix": {"bicycle": -1.0}}, "--mix takes"),
        ({"mix": {"bicycle": 0.0}}, "--mix takes"),
        ({"mix": {"bicycle": float("inf")}}, "--mix takes"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SconesError, match=said):
        TrafficPlan(DAY, 10, **given)


@pytest.mark.parametrize("text", ["", "1", "0h", "-1h", "1y", "1.5h", "h", "9" * 20 + "d"])
def test_a_length_of_time_is_minutes_hours_or_days(text: str) -> None:
    assert duration("90m") == timedelta(minutes=90)
    with pytest.raises(SconesError, match="is not a length of time"):
        duration(text)


def test_only_whole_windows_are_filled_in() -> None:
    found = backfill.windows(TimeRange(BEGUN, BEGUN + timedelta(hours=3)), timedelta(hours=1))
    assert [window.start.hour for window in found] == [8, 9]
    assert all(window.end - window.start == timedelta(hours=1) for window in found)
    on_the_hour = BEGUN.replace(minute=0)
    (only,) = backfill.windows(TimeRange(on_the_hour, on_the_hour + timedelta(hours=1)), timedelta(hours=1))
    assert (only.start, only.end) == (on_the_hour, on_the_hour + timedelta(hours=1))


@pytest.mark.parametrize(
    ("length", "every", "said"),
    [
        (timedelta(minutes=59), timedelta(hours=1), "no whole window"),
        (timedelta(days=60), timedelta(hours=1), "more than the list"),
        (DAY, timedelta(minutes=30), "takes 1h and more"),
    ],
)
def test_windows_that_cannot_be_filled_in_are_refused(length: timedelta, every: timedelta, said: str) -> None:
    with pytest.raises(SconesError, match=said):
        backfill.windows(TimeRange(BEGUN, BEGUN + length), every)
