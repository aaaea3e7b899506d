"""What can go wrong while versions are deployed: one approved version serves, nothing is left over, all is recorded."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.local.conftest import start_account
from tests.local.deployment_stage import PREFIX, Stage
from tests.local.workflow_stage import Photos, deploy


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, photos: Photos) -> Iterator[Stage]:
    running = start_account(tmp_path_factory.mktemp("deployments") / "home" / "account")
    try:
        deploy(running)
        made = Stage(running, photos.passing[:2])
        made.listen()
        yield made
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


def test_duplicate_and_old_events_change_nothing(stage: Stage, first: str) -> None:
    before = stage.records()
    never = stage.register("0.15")
    # Events that come twice, that come too late, and that say what is not so.
    for package, status in [(first, "Approved")] * 3 + [(first, "Rejected"), (never, "Approved")]:
        stage.look({"detail": {"ModelPackageArn": package, "ModelApprovalStatus": status}})
    stage.check(first)
    assert stage.records() == before


def test_of_two_approvals_at_once_the_last_one_serves(stage: Stage, first: str) -> None:
    packages = [stage.register("0.21"), stage.register("0.22")]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(stage.approve, packages))
    described = [stage.sagemaker.describe_model_package(ModelPackageName=p) for p in packages]
    last = max(described, key=lambda p: (p["LastModifiedTime"], p["ModelPackageVersion"]))["ModelPackageArn"]
    stage.until_outcome(last, "deployed")
    stage.check(last)


def test_an_approval_while_an_update_runs_comes_next(stage: Stage, first: str, tmp_path: Path) -> None:
    slow, next_one = stage.register(f"0.31 loads after {tmp_path / 'go'}"), stage.register("0.32")
    stage.approve(slow)
    stage.until(lambda: (stage.endpoint() or {})["EndpointStatus"] == "Updating", "the update runs")
    stage.approve(next_one)
    assert stage.outcomes(next_one) == []
    (tmp_path / "go").touch()
    stage.until_outcome(next_one, "deployed")
    stage.check(next_one)
    assert stage.outcomes(slow) == ["deployed"]


BROKEN = {
    "bad archive": (("0.4", None, b"this is no archive"), "SageMaker went back to"),
    "failed ping": (("unhealthy", None, None), "SageMaker went back to"),
    "other answers than in the evaluation": (("0.4", 0.9, None), "expected [0.9, 0.1] as in the evaluation, got [0.4"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_version_is_told_of_and_the_old_one_serves(stage: Stage, first: str, fault: str) -> None:
    made, detail = BROKEN[fault]
    served = stage.serves()
    broken = stage.register(*made)
    stage.approve(broken)
    stage.until_outcome(broken, "rolled back")
    stage.check(served)
    record = next(r for r in stage.records() if r["package_arn"] == broken)
    assert detail in record["detail"]
    told = stage.told(record["version"])
    assert told["MessageAttributes"]["outcome"]["Value"] == "rolled back"
    assert f"version {record['version']} (approval) rolled back" in told["Message"]


def test_an_alarm_during_the_canary_brings_the_old_version_back(stage: Stage, first: str) -> None:
    served = stage.serves()
    stage.set_endpoint(initial_instance_count=2)
    stage.look()
    stage.until(lambda: stage.settled() and stage.records()[-1]["action"] == "settings", "two instances serve")
    stage.set_endpoint(canary_wait_s=3600)  # only the alarm ends it
    faulty = stage.register("faulty")
    stage.approve(faulty)
    with stage.traffic() as answers:
        stage.until_outcome(faulty, "rolled back")
    stage.set_endpoint(initial_instance_count=1, canary_wait_s=1)
    stage.look()
    stage.until(lambda: stage.settled() and stage.records()[-1]["action"] == "settings", "one instance serves")
    stage.check(served)
    record = next(r for r in stage.records() if r["package_arn"] == faulty)
    assert f"{PREFIX}-endpoint-5xx" in record["detail"]
    failed = [answer for answer in answers if isinstance(answer, Exception)]
    assert 0 < len(failed) < len(answers) / 2  # the canary's alone


def test_a_function_killed_in_the_middle_is_made_good(stage: Stage, first: str, tmp_path: Path) -> None:
    package = stage.register(f"0.51 answers after {tmp_path / 'go'}")
    stage.approve(package)
    # Its smoke test waits for the file, so the function is certainly in the middle.
    stage.until(lambda: stage.serves() == package and stage.items("lease"), "the smoke test runs")
    stage.kill_function()
    assert stage.outcomes(package) == []
    (tmp_path / "go").touch()
    stage.until_outcome(package, "deployed")
    stage.check(package)
    assert stage.outcomes(package) == ["deployed"]


def test_rejecting_the_live_version_goes_back_to_the_one_before(stage: Stage, first: str) -> None:
    before, package = stage.serves(), stage.register("0.61")
    stage.approve(package)
    stage.until_outcome(package, "deployed")
    stage.reject(package, "it drifts [by tester]")
    stage.until(lambda: stage.settled() and stage.serves() == before, "the version before serves")
    stage.check(before)
    record = stage.records()[-1]
    assert (record["action"], record["outcome"], record["reason"]) == ("rejection", "deployed", "it drifts [by tester]")


def test_no_request_fails_while_versions_come_and_go(stage: Stage, first: str) -> None:
    with stage.traffic() as answers:
        for weights in ("0.71", "0.72"):
            package = stage.register(weights)
            stage.approve(package)
            stage.until_outcome(package, "deployed")
        stage.reject(package)
        stage.until(lambda: stage.settled() and stage.serves() not in ("", package), "the version before serves")
    assert [answer for answer in answers if isinstance(answer, Exception)] == []
    assert {0.71, 0.72} < set(answers)


def test_the_verbs_approve_show_and_go_back(stage: Stage, first: str) -> None:
    before, package = stage.serves(), stage.register("0.81")
    version = int(package.rpartition("/")[2])
    approved = stage.scones("model", "approve", str(version), "--reason", "better", "--json")
    assert approved == {"version": version, "model_package_arn": package, "outcome": "deployed"}
    assert stage.scones("endpoint", "status", "--json")["version"] == version
    again = ("model", "approve", str(version), "--reason", "better", "--timeout", "100", "--json")
    assert stage.scones(*again)["outcome"] == "deployed", "the same words once more are a new decision"
    newest = stage.scones("endpoint", "history", "--json")[0]
    assert (newest["version"], newest["outcome"]) == (version, "deployed")
    assert newest["reason"].startswith("better [by ")
    assert newest["by"] in newest["reason"]
    back = stage.scones("endpoint", "rollback", "--reason", "too slow", "--json")
    assert back["outcome"] == "deployed"
    stage.check(before)
    assert stage.scones("model", "reject", str(version), "--reason", "worse", "--json")["outcome"].endswith("serves")
    assert stage.refused("endpoint", "rollback", "--to", str(version)).startswith(
        f"error: version {version} is Rejected"
    )


def test_an_endpoint_goes_on_order_and_comes_back(stage: Stage, first: str) -> None:
    package = stage.serves()
    assert stage.scones("endpoint", "delete", "--yes", "--json")["outcome"] == "deleted"
    assert stage.endpoint() is None
    assert stage.left_over() == (set(), set())
    stage.look()
    assert stage.endpoint() is None
    assert stage.scones("endpoint", "deploy", "--json")["outcome"] == "deployed"
    stage.check(package)


def test_a_challenger_answers_copies_is_compared_and_promoted(stage: Stage, first: str, tmp_path: Path) -> None:
    challenger = stage.register("0.91")
    version = int(challenger.rpartition("/")[2])
    assert stage.scones("model", "approve", str(version), "--shadow", "--json")["outcome"] == "shadowing"
    assert stage.serves() != challenger
    for _ in range(3):
        assert stage.ask() != 0.91
    stage.until(lambda: stage.scones("endpoint", "shadow", "--json")["answered_by_both"], "both have answered")
    page = tmp_path / "pages" / "shadow.html"
    report = stage.scones("endpoint", "shadow", "--page", str(page), "--json")
    assert report["challenger_version"] == version
    assert report["challenger"]["mean_confidence"] == pytest.approx(0.91)
    assert f"<h1>Version {version} in the shadow of version" in page.read_text(encoding="utf-8")
    stage.scones("endpoint", "shadow", "--promote", "--json")
    stage.check(challenger)


@pytest.mark.slow
def test_an_endpoint_that_nobody_asks_is_ordered_away(stage: Stage, first: str) -> None:
    idle = f"{PREFIX}-delete-idle-endpoint"
    assert stage.run_function(idle) == "kept: idle endpoints stay"
    stage.until(lambda: stage.settled() and stage.endpoint(), "an endpoint serves")
    stage.set_endpoint(idle, idle_hours=1 / 3600)
    stage.until(lambda: str(stage.run_function(idle)).startswith("ordered its end"), "it is idle for a second")
    stage.until(lambda: stage.endpoint() is None and stage.settled(), "the endpoint is gone")
    assert (stage.records()[-1]["outcome"], stage.records()[-1]["by"]) == ("deleted", "delete_idle_endpoint")
