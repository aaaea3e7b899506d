"""The whole cycle in simulated time: health raises nothing; drift raises an alarm, a training, and a new version."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.local.conftest import free_port
from tests.local.monitoring_cycle import Life

pytestmark = pytest.mark.slow  # minutes, with a stage of its own

QUIET = {"predictions": "OK", "images": "OK", "capture": "OK"}


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory, real_archive: Any) -> Iterator[Life]:
    made = Life(tmp_path_factory.mktemp("cycle") / "home", free_port(), real_archive)
    try:
        made.begin(every="24h")
        yield made
    finally:
        made.end()


@pytest.fixture(scope="module")
def healthy(life: Life) -> dict[str, Any]:
    """What was sent in two days of healthy traffic."""
    return life.pass_time("2d", 20, "--daily")


@pytest.fixture(scope="module")
def degraded(life: Life, healthy: dict[str, Any]) -> dict[str, Any]:
    """What was sent after that, until the training which it started has ended."""
    sent = life.pass_time("1d", 30, "--corrupt", "noisy", "--seed", "1")
    life.until(lambda: life.alarms()["predictions"] == "ALARM", "alarm")
    life.until(lambda: [t["PipelineExecutionStatus"] for t in life.trainings()] == ["Succeeded"], "training")
    return sent


def test_days_of_healthy_traffic_raise_nothing(life: Life, healthy: dict[str, Any]) -> None:
    assert 700 < healthy["answered"] < 1200
    reports = life.reports()
    assert len(reports) == 2
    assert [each["alarms"] for each in reports] == [[] for _ in reports]
    assert life.alarms() == QUIET
    assert life.trainings() == []
    assert life.versions() == {1: "Approved"}


def test_noise_raises_the_alarms_of_predictions_and_images(life: Life, degraded: dict[str, Any]) -> None:
    assert degraded["corrupted"] == {"noisy": degraded["answered"]}
    assert life.alarms() == {"predictions": "ALARM", "images": "ALARM", "capture": "OK"}
    newest = life.reports()[0]
    assert set(newest["alarms"]) == {"predictions", "images"}
    assert life.since("predictions") >= datetime.fromisoformat(degraded["from"])


def test_exactly_one_training_is_started_and_its_version_waits(life: Life, degraded: dict[str, Any]) -> None:
    (training,) = life.trainings()
    assert training["StartTime"] >= datetime.fromisoformat(degraded["from"])
    assert life.versions() == {2: "PendingManualApproval", 1: "Approved"}
    assert life.live() == 1


def test_the_approved_version_is_deployed_and_the_alarms_clear(life: Life, degraded: dict[str, Any]) -> None:
    life.scones("model", "approve", "2")
    life.pass_time("1d", 20, "--seed", "2")
    life.until(lambda: life.alarms() == QUIET, "quiet alarms")
    assert life.reports()[0]["alarms"] == []
    assert life.live() == 2
    assert len(life.trainings()) == 1


@pytest.mark.slow
def test_a_new_kind_of_vehicle_looks_different(life: Life, degraded: dict[str, Any]) -> None:
    life.renew()  # what serves anew is watched anew
    sent = life.pass_time("1d", 30, "--unknown", "0.5", "--seed", "3")
    assert sent["true_labels"]["unknown"] > 300
    assert "images" in life.reports()[0]["alarms"]
    life.until(lambda: life.alarms()["images"] == "ALARM", "alarm")


@pytest.mark.slow
def test_backfill_writes_what_is_missing_and_nothing_else(life: Life, healthy: dict[str, Any]) -> None:
    begun = datetime.fromisoformat(healthy["from"]).replace(minute=0, second=0)
    until = begun + timedelta(hours=13)
    arguments = ("monitor", "backfill", "--since", begun.isoformat(), "--until", until.isoformat(), "--every", "6h")
    before = len(life.reports())
    told = json.loads(life.scones(*arguments, "--json"))
    assert len(told["written"]) == told["windows"] >= 1
    assert len(life.reports()) == before + told["windows"]
    assert json.loads(life.scones(*arguments, "--json"))["written"] == []
