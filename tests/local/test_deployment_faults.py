"""What can go wrong while versions are deployed: one approved version serves, nothing is left over, all is recorded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.local.conftest import start_account
from tests.local.deployment_stage import Stage
from tests.local.workflow_stage import Photos, deploy


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, photos: Photos) -> Iterator[Stage]:
    running = start_account(tmp_path_factory.mktemp("deployments") / "home" / "account")
    try:
        deploy(running)
        yield Stage(running, photos.passing[:2])
    finally:
        running.stop()


@pytest.fixture(scope="module")
def first(stage: Stage) -> str:
    """The version that serves before anything goes wrong."""
    package = stage.register("0.1")
    stage.approve(package, "the first one [by somebody]")
    stage.until_outcome(package, "deployed")
    return package


def test_an_approved_version_is_deployed_tested_and_recorded(stage: Stage, first: str) -> None:
    stage.check(first)
    record = stage.records()[0]
    assert (record["action"], record["outcome"], record["version"]) == ("approval", "deployed", 1)
    assert (record["by"], record["reason"]) == ("somebody", "the first one [by somebody]")
    assert record["smoke_after"] == "2 of 2 known images answered as in the evaluation"
