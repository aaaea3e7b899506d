"""Versions that somebody deletes from the registry: what serves goes on, and all around it works or says why not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local.conftest import start_account
from tests.local.deployment_stage import CLASSES, PREFIX, Stage
from tests.local.workflow_stage import Photos, Shop, deploy

WORKFLOW = f"{PREFIX}-inference-workflow"
CERTAIN, MORE_CERTAIN = "0.97", "0.98"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, photos: Photos) -> Iterator[Stage]:
    running = start_account(tmp_path_factory.mktemp("registry-loss") / "home" / "account")
    try:
        deploy(running)
        yield Stage(running, photos.passing[:2])
    finally:
        running.stop()


@pytest.fixture(scope="module")
def older(stage: Stage) -> str:
    """An approved version that does not serve any more."""
    package = stage.register("0.1")
    stage.approve(package)
    stage.until_outcome(package, "deployed")
    return package


@pytest.fixture(scope="module")
def lost(stage: Stage, older: str) -> str:
    """The version that serves, deleted from the registry before anybody asked anything of it."""
    package = stage.register(CERTAIN)
    stage.approve(package)
    stage.until_outcome(package, "deployed")
    stage.remove(package)
    stage.look()
    return package


def version(package: str) -> int:
    return int(package.rpartition("/")[2])


def test_it_serves_on_and_the_history_says_so(stage: Stage, lost: str) -> None:
    assert stage.serves() == lost
    assert stage.ask() == float(CERTAIN)
    newest = stage.scones("endpoint", "history", "--json")[0]
    assert (newest["version"], newest["action"], newest["outcome"]) == (version(lost), "removal", "kept")
    status = stage.scones("endpoint", "status", "--json")
    assert (status["version"], status["status"]) == (version(lost), "InService")
    assert status["remark"].startswith("deleted from the registry; it serves on")
    assert stage.look() == [f"version {version(lost)} serves"]


def test_an_execution_and_a_batch_work(stage: Stage, lost: str, photos: Photos) -> None:
    shop = Shop(stage.account)
    image = shop.put("lost/photo.png", photos.passing[0])
    ended = shop.run(WORKFLOW, image)
    assert ended["status"] == "SUCCEEDED", ended
    assert f'"model_package_arn":"{lost}"' in ended["output"].replace(" ", "")
    batch = shop.batch(source="prefix", s3_prefix="lost/")
    assert batch["status"] == "SUCCEEDED", batch


def test_reports_the_threshold_and_the_rest_work(stage: Stage, lost: str, tmp_path: Path) -> None:
    given = stage.run_function(f"{PREFIX}-start-monitoring", {"until": "2030-01-01T00:00:00+00:00"})["parameters"]
    assert (given["ModelPackageArn"], given["Classes"]) == (lost, ",".join(CLASSES))
    report = stage.scones("monitor", "report", "--since", "1h", "--out", str(tmp_path / "report"), "--json")
    assert report["verdict"]
    assert (tmp_path / "report" / "report.html").exists()
    assert stage.scones("threshold", "show", "--json")["model"]["classes"] == CLASSES
    assert "0.9" in str(stage.scones("threshold", "set", "0.9", "--reason", "a test", "--json")["after"])
    assert "registered without a baseline" in stage.refused("monitor", "baseline")


def test_what_needs_the_entry_says_that_it_is_gone(stage: Stage, lost: str) -> None:
    for verb in (("endpoint", "rollback", "--to"), ("endpoint", "deploy"), ("model", "reject"), ("model", "approve")):
        assert stage.refused(*verb, str(version(lost))).startswith(f"error: there is no version {version(lost)}")


def test_a_rollback_goes_to_a_version_that_is_there(stage: Stage, lost: str, older: str) -> None:
    gone = stage.register("0.2")
    stage.approve(gone)
    stage.until_outcome(gone, "deployed")
    latest = stage.register("0.3")
    stage.approve(latest)
    stage.until_outcome(latest, "deployed")
    stage.remove(gone)  # nobody has looked since
    back = stage.scones("endpoint", "rollback", "--reason", "slow", "--json")
    assert back == {"version": version(older), "outcome": "deployed"}
    stage.check(older)


def test_a_new_approval_is_deployed(stage: Stage, lost: str) -> None:
    package = stage.register(MORE_CERTAIN)
    approved = stage.scones("model", "approve", str(version(package)), "--json")
    assert approved["outcome"] == "deployed"
    stage.check(package)


def test_a_version_deleted_during_its_own_update_serves(stage: Stage, lost: str, tmp_path: Path) -> None:
    slow = stage.register(f"0.5 loads after {tmp_path / 'go'}")
    stage.approve(slow)
    stage.until(lambda: (stage.endpoint() or {})["EndpointStatus"] == "Updating", "the update runs")
    stage.remove(slow)
    (tmp_path / "go").touch()
    stage.until_outcome(slow, "deployed")
    assert (stage.serves(), stage.ask()) == (slow, 0.5)


def test_the_endpoint_of_a_deleted_version_is_deleted_and_does_not_come_back_with_it(stage: Stage, lost: str) -> None:
    last = stage.register("0.6")
    stage.approve(last)
    stage.until_outcome(last, "deployed")
    stage.remove(last)
    assert stage.scones("endpoint", "delete", "--yes", "--json")["outcome"] == "deleted"
    assert stage.endpoint() is None
    assert stage.left_over() == (set(), set())
    assert stage.scones("endpoint", "deploy", "--json")["version"] != version(last)
