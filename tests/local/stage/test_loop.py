"""The whole loop on real images through the command line, then what a user does next on the account it left."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.config import Config
from PIL import Image

from tests.local.conftest import free_port, owners_client
from tests.places import ROOT

STAGE_PREFIX = "scones-local"
ENDPOINT = f"{STAGE_PREFIX}-vehicle-classifier"
TRAINING = f"{STAGE_PREFIX}-training"
LOW_CONFIDENCE = "THRESHOLD_CONFIDENCE_NOT_MET"
FLOWERS = ROOT.parent / "shared" / "photos" / "flowers"


@dataclass
class Shop:
    """A home of its own for the command line: an account on a free port, reports in a temporary folder."""

    home: Path
    port: int
    archive: Path

    def scones(self, *arguments: str, timeout_s: float = 900) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def command(self, *arguments: str) -> list[str]:
        return [str(Path(sys.executable).with_name("scones")), *arguments]

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SCONES_"))}
        return {
            **kept,
            "SCONES_HOME": str(self.home),
            "SCONES_DATA": str(self.archive),
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "COLUMNS": "200",
        }

    def client(self, service: str) -> Any:
        config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
        return owners_client(service, self.home / "account", self.port, config)

    def succeeds(self, *arguments: str) -> str:
        answer = self.scones(*arguments)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return answer.stdout

    def fails(self, *arguments: str) -> str:
        answer = self.scones(*arguments)
        assert answer.returncode == 1, answer.stdout + answer.stderr
        return answer.stderr.strip().splitlines()[-1]

    def versions(self) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = json.loads(self.succeeds("model", "list", "--json"))
        return answer


def new_shop(folder: Path, archive: Path) -> Shop:
    return Shop(folder / "home", free_port(), archive)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, real_archive: Path) -> Iterator[Shop]:
    made = new_shop(tmp_path_factory.mktemp("loop"), real_archive)
    yield made
    made.scones("account", "stop")


@pytest.fixture(scope="module")
def demo(shop: Shop) -> dict[str, Any]:
    """The summary of one `scones demo` on a fresh account."""
    folder = shop.home.parent
    arguments = ("demo", "--json", str(folder / "summary.json"), "--report-dir", str(folder / "report"))
    shop.succeeds(*arguments)
    summary: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return summary


def test_the_dataset_is_the_real_one(demo: dict[str, Any]) -> None:
    counts = demo["dataset"]["counts"]
    assert counts["test"] == {"bicycle": 100, "motorcycle": 100}
    assert {c: counts["train"][c] + counts["validation"][c] for c in ("bicycle", "motorcycle")} == {
        "bicycle": 500,
        "motorcycle": 500,
    }


def test_the_model_learned(demo: dict[str, Any]) -> None:
    # Ten standard errors above guessing and well below what is measured (see docs/benchmarks.md).
    assert demo["accuracy"] > 0.85


def test_every_execution_ended_and_agrees_with_its_confidence(demo: dict[str, Any]) -> None:
    outcomes = demo["executions"]
    assert len(outcomes) == 20
    assert {o["true_label"] for o in outcomes} == {"bicycle", "motorcycle"}
    for outcome in outcomes:
        expected = "SUCCEEDED" if outcome["confidence"] >= 0.93 else "LOW_CONFIDENCE"
        assert outcome["status"] == expected, outcome
    passed = [o for o in outcomes if o["status"] == "SUCCEEDED"]
    assert len(passed) >= 5
    assert sum(o["predicted_label"] == o["true_label"] for o in passed) >= 0.8 * len(passed)


def test_what_was_captured_is_what_was_reported(demo: dict[str, Any]) -> None:
    assert demo["capture_count"] == 20
    report = json.loads((Path(demo["report"]).parent / "report.json").read_text(encoding="utf-8"))
    assert report["counts"]["records"] == 20
    below = sum(o["confidence"] < 0.93 for o in demo["executions"])
    assert report["share_below_threshold"] == pytest.approx(below / 20)
    page = Path(demo["report"]).read_text(encoding="utf-8")
    assert "<html" in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    plots = sorted(p.name for p in Path(demo["report"]).parent.glob("*.png"))
    assert plots == [
        "class_distribution.png",
        "confidence_histogram.png",
        "confidence_over_time.png",
        "coverage.png",
        "image_statistics_compared.png",
    ]


def test_the_endpoint_serves_exactly_the_approved_version(shop: Shop, demo: dict[str, Any]) -> None:
    status = json.loads(shop.succeeds("endpoint", "status", "--json"))
    assert status["status"] == "InService"
    assert status["model_package_arn"] == demo["model_package_arn"]


def test_captured_lines_tie_to_their_executions(shop: Shop, demo: dict[str, Any]) -> None:
    s3 = shop.client("s3")
    bucket = f"{STAGE_PREFIX}-data-123456789012-us-east-1"
    keys = [o["Key"] for o in s3.list_objects_v2(Bucket=bucket, Prefix=f"captures/{ENDPOINT}/")["Contents"]]
    lines = [json.loads(ln) for k in keys for ln in s3.get_object(Bucket=bucket, Key=k)["Body"].read().splitlines()]
    wanted = {round(o["confidence"], 6) for o in demo["executions"]}
    found = {round(max(json.loads(ln["captureData"]["endpointOutput"]["data"])), 6) for ln in lines}
    assert wanted <= found
    # The deployment's smoke test names its requests, too.
    named = [ln for ln in lines if not ln["eventMetadata"].get("inferenceId", "smoke-test").startswith("smoke-test")]
    first = named[0]
    assert base64.b64decode(first["captureData"]["endpointInput"]["data"]).startswith(b"\x89PNG")
    executions = shop.client("stepfunctions").list_executions(
        stateMachineArn=f"arn:aws:states:us-east-1:123456789012:stateMachine:{STAGE_PREFIX}-inference-workflow"
    )["executions"]
    assert first["eventMetadata"]["inferenceId"] in {e["name"] for e in executions}


def test_a_gate_that_is_missed_fails_the_run_with_the_figures_and_registers_nothing(
    shop: Shop, demo: dict[str, Any]
) -> None:
    before = shop.versions()
    line = shop.fails("pipeline", "run", "-p", "AccuracyGate=1.0")
    assert f"{demo['accuracy']}" in line
    assert "1.0" in line
    assert shop.versions() == before
    steps = json.loads(shop.scones("pipeline", "status", "--json").stdout)
    assert steps["status"] == "Failed"
    cached = {s["name"] for s in steps["steps"] if s["cached"]}
    assert {"FilterClasses", "TrainModel"} <= cached


def test_a_class_that_does_not_exist_reaches_the_user(shop: Shop, demo: dict[str, Any]) -> None:
    line = shop.fails("pipeline", "run", "-p", "Classes=bicycle,motorcicle")
    assert "motorcicle" in line
    assert "motorcycle" in line


def test_a_training_script_that_raises_reaches_the_user(shop: Shop, demo: dict[str, Any]) -> None:
    line = shop.fails("pipeline", "run", "-p", "Epochs=-1")
    assert "TrainModel" in line
    assert "epochs" in line
    logs = shop.succeeds("pipeline", "logs", "TrainModel")
    assert "epochs" in logs


def test_low_confidence_is_an_error_with_its_name_and_figures(shop: Shop, demo: dict[str, Any]) -> None:
    low = [o for o in demo["executions"] if o["status"] == "LOW_CONFIDENCE"]
    states = shop.client("stepfunctions")
    machine = f"arn:aws:states:us-east-1:123456789012:stateMachine:{STAGE_PREFIX}-inference-workflow"
    failed = states.list_executions(stateMachineArn=machine, statusFilter="FAILED")["executions"]
    errors = [states.describe_execution(executionArn=e["executionArn"])["error"] for e in failed]
    assert errors.count(LOW_CONFIDENCE) >= len(low)


@pytest.mark.slow
def test_a_second_demo_goes_on_with_what_the_first_one_left(shop: Shop, demo: dict[str, Any], tmp_path: Path) -> None:
    before = shop.versions()
    target = tmp_path / "summary.json"
    shop.succeeds("demo", "--keep", "-n", "2", "--json", str(target), "--report-dir", str(tmp_path / "report"))
    summary = json.loads(target.read_text(encoding="utf-8"))
    assert summary["capture_count"] == 2
    assert json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))["counts"]["records"] == 2
    (added,) = [v for v in shop.versions() if v["arn"] not in {old["arn"] for old in before}]
    assert added["arn"] == summary["model_package_arn"]
    assert json.loads(shop.succeeds("endpoint", "status", "--json"))["model_package_arn"] == added["arn"]
    steps = json.loads(shop.succeeds("pipeline", "status", "--json"))["steps"]
    assert {"FilterClasses", "TrainModel", "BuildBaseline"} == {s["name"] for s in steps if s["cached"]}


def test_a_text_file_ends_in_an_error_of_its_own(shop: Shop, demo: dict[str, Any], tmp_path: Path) -> None:
    text = tmp_path / "note.png"
    text.write_text("this is no image", encoding="utf-8")
    answer = shop.scones("classify", str(text), "--json")
    assert answer.returncode == 1
    (outcome,) = json.loads(answer.stdout)
    assert outcome["status"] == "FAILED"
    assert "InvalidImage" in outcome["error"]


def test_a_broken_function_fails_the_workflow(shop: Shop, demo: dict[str, Any]) -> None:
    functions = shop.client("lambda")
    name = f"{STAGE_PREFIX}-classify-image"
    location = functions.get_function(FunctionName=name)["Configuration"]["CodeSha256"]
    broken = io.BytesIO()
    with zipfile.ZipFile(broken, "w") as archive:
        archive.writestr("classify_image.py", "raise ImportError('broken on purpose')\n")
    functions.update_function_code(FunctionName=name, ZipFile=broken.getvalue())
    try:
        answer = shop.scones("test-cases", "-n", "2", "--json")
    finally:
        shop.succeeds("deploy")
    assert answer.returncode == 1
    assert {o["status"] for o in json.loads(answer.stdout)} == {"FAILED"}
    if functions.get_function(FunctionName=name)["Configuration"]["CodeSha256"] != location:
        restore_function(shop, name)


def restore_function(shop: Shop, name: str) -> None:
    """CloudFormation does not see what was changed behind its back, so the artefact is put back by hand."""
    s3, bucket = shop.client("s3"), f"{STAGE_PREFIX}-artifacts-123456789012-us-east-1"
    keys = [o["Key"] for o in s3.list_objects_v2(Bucket=bucket, Prefix="lambdas/classify_image-")["Contents"]]
    shop.client("lambda").update_function_code(FunctionName=name, S3Bucket=bucket, S3Key=keys[0])


def test_deploying_again_changes_nothing(shop: Shop, demo: dict[str, Any]) -> None:
    stacks = shop.client("cloudformation")
    before = stacks.describe_stack_events(StackName=STAGE_PREFIX)["StackEvents"]
    shop.succeeds("deploy")
    assert stacks.describe_stack_events(StackName=STAGE_PREFIX)["StackEvents"] == before


def test_an_empty_time_range_is_one_line_and_leaves_no_report(shop: Shop, demo: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "empty"
    until = datetime.now(UTC).replace(year=2020)
    line = shop.fails(
        "monitor", "report", "--since", "2020-01-01T00:00:00Z", "--until", until.isoformat(), "--out", str(out)
    )
    assert "2020-01-01" in line
    assert not out.exists()


@pytest.mark.slow
def test_a_third_class_goes_through_the_loop_and_into_the_report(
    shop: Shop, demo: dict[str, Any], tmp_path: Path
) -> None:
    write_three_classes(shop, tmp_path / "images")
    since = datetime.now(UTC).isoformat()
    parameters = (
        "--recipe",
        "scratch",
        "-p",
        "Classes=sign, bicycle,motorcycle",
        "-p",
        "Epochs=1",
        "-p",
        "AccuracyGate=0",
    )
    shop.succeeds("pipeline", "run", "--data", str(tmp_path / "images"), *parameters)
    shop.succeeds("model", "approve")
    outcomes = json.loads(shop.succeeds("test-cases", "-n", "6", "--json"))
    assert {o["true_label"] for o in outcomes} == {"sign", "bicycle", "motorcycle"}
    assert {o["predicted_label"] for o in outcomes} <= {"sign", "bicycle", "motorcycle"}
    out = tmp_path / "report"
    wait_until(lambda: shop.scones("monitor", "report", "--since", since, "--out", str(out)).returncode == 0)
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["classes"] == ["sign", "bicycle", "motorcycle"]
    assert report["counts"]["malformed"] == 0


@pytest.mark.slow
@pytest.mark.skipif(not FLOWERS.is_dir(), reason="the photographs of flowers are not beside this checkout")
def test_photographs_go_through_the_loop_at_their_own_size_and_in_eight_bits(
    shop: Shop, demo: dict[str, Any], tmp_path: Path
) -> None:
    source = tmp_path / "photos"
    for split, count in (("train", 24), ("test", 8)):
        for name in ("daisy", "roses"):
            (source / split / name).mkdir(parents=True)
            for path in sorted((FLOWERS / split / name).iterdir())[:count]:
                shutil.copyfile(path, source / split / name / path.name)
    parameters = ("-p", "Precision=int8", "-p", "AccuracyGate=0", "-p", "ChampionSignificance=0")
    shop.succeeds("pipeline", "run", "--data", str(source), *parameters)
    newest = json.loads(shop.succeeds("model", "show", "--json"))
    assert newest["classes"] == ["daisy", "roses"]
    assert newest["evaluation"]["images"] == 16
    assert newest["evaluation"]["multiclass_classification_metrics"]["accuracy"]["value"] > 0.7
    logs = shop.succeeds("pipeline", "logs", "TrainModel")
    assert "precision=int8: " in logs or "int8 is refused and the model stays float32: " in logs
    shop.succeeds("model", "approve")
    outcomes = json.loads(shop.succeeds("test-cases", "-n", "6", "--json"))
    assert {o["true_label"] for o in outcomes} == {"daisy", "roses"}
    assert sum(o["true_label"] == o["predicted_label"] for o in outcomes) >= 4


@pytest.mark.slow
def test_the_built_in_algorithms_pipeline_registers_a_model_that_its_own_image_serves(
    shop: Shop, demo: dict[str, Any], tmp_path: Path
) -> None:
    write_three_classes(shop, tmp_path / "images")
    parameters = ("-p", "Classes=sign,bicycle,motorcycle", "-p", "Epochs=1", "-p", "AccuracyGate=0")
    shop.succeeds("pipeline", "run", "--algorithm", "built-in", "--data", str(tmp_path / "images"), *parameters)
    logs = shop.succeeds("pipeline", "logs", "TrainModel", "--algorithm", "built-in")
    assert "stands in for SageMaker's image-classification" in logs
    newest = json.loads(shop.succeeds("model", "show", "--json"))
    assert newest["metadata"]["algorithm"] == "image-classification"
    assert newest["classes"] == ["sign", "bicycle", "motorcycle"]
    package = shop.client("sagemaker").describe_model_package(ModelPackageName=newest["arn"])
    (container,) = package["InferenceSpecification"]["Containers"]
    assert container["Image"].endswith("/image-classification:1")
    # Every test image went through the container of that image, and the evaluation counts what it answered.
    bucket, s3 = f"{STAGE_PREFIX}-data-123456789012-us-east-1", shop.client("s3")
    run = newest["evaluation_uri"].split("/pipeline-runs/")[1].split("/")[0]
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=f"pipeline-runs/{run}/predictions/")["Contents"]
    assert len(listed) == newest["evaluation"]["images"] == 60
    answer = json.loads(s3.get_object(Bucket=bucket, Key=listed[0]["Key"])["Body"].read())
    assert sum(answer) == pytest.approx(1.0, abs=1e-3)


def write_three_classes(shop: Shop, folder: Path) -> None:
    """A folder of pictures: some of the run's own photographs, and plain red squares as the third class."""
    s3, bucket = shop.client("s3"), f"{STAGE_PREFIX}-data-123456789012-us-east-1"
    keys = [o["Key"] for o in s3.list_objects_v2(Bucket=bucket, Prefix="pipeline-runs/")["Contents"]]
    for split in ("train", "test"):
        for name in ("bicycle", "motorcycle", "sign"):
            (folder / split / name).mkdir(parents=True)
        for name in ("bicycle", "motorcycle"):
            for key in [k for k in keys if f"/{split}/{name}_" in k][:20]:
                s3.download_file(bucket, key, str(folder / split / name / Path(key).name))
        for number in range(20):
            colour = (200 + number, 0 if split == "train" else 40, number)  # no picture stands in two splits
            Image.new("RGB", (32, 32), colour).save(folder / split / "sign" / f"{number}.png")


def test_a_restart_keeps_the_registry_the_objects_and_the_endpoint(shop: Shop, demo: dict[str, Any]) -> None:
    before = shop.versions()
    shop.succeeds("account", "stop")
    shop.succeeds("account", "start")
    assert shop.versions() == before
    wait_until(lambda: json.loads(shop.succeeds("endpoint", "status", "--json"))["status"] == "InService")
    answer = shop.scones("test-cases", "-n", "4", "--json")
    assert answer.returncode == 0, answer.stderr
    assert {o["status"] for o in json.loads(answer.stdout)} <= {"SUCCEEDED", "LOW_CONFIDENCE"}


def test_a_second_account_on_the_same_port_is_refused(shop: Shop, demo: dict[str, Any], tmp_path: Path) -> None:
    other = Shop(tmp_path / "other", shop.port, shop.archive)
    line = other.fails("account", "start")
    assert str(shop.port) in line
    assert not [p for p in (tmp_path / "other").rglob("*") if p.name.endswith(".sock")]


def test_destroy_leaves_nothing_even_in_the_middle_of_a_run_and_an_update(shop: Shop, demo: dict[str, Any]) -> None:
    shop.succeeds("pipeline", "run", "-p", "Seed=7", "--no-wait")
    sagemaker = shop.client("sagemaker")
    live = sagemaker.describe_endpoint_config(
        EndpointConfigName=sagemaker.describe_endpoint(EndpointName=ENDPOINT)["EndpointConfigName"]
    )
    again = f"{live['EndpointConfigName']}-again"
    sagemaker.create_endpoint_config(EndpointConfigName=again, ProductionVariants=live["ProductionVariants"])
    # Not by an approval: an update takes a second, as long as a command on a busy machine.
    sagemaker.update_endpoint(EndpointName=ENDPOINT, EndpointConfigName=again)
    assert sagemaker.describe_endpoint(EndpointName=ENDPOINT)["EndpointStatus"] == "Updating"
    shop.succeeds("destroy", "--yes")
    assert shop.client("s3").list_buckets()["Buckets"] == []
    assert sagemaker.list_endpoints()["Endpoints"] == []
    assert sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"] == []
    assert shop.client("lambda").list_functions()["Functions"] == []
    for verb in ("pipeline run", "pipeline status", "model list", "model approve", "test-cases", "monitor report"):
        assert "is not deployed: run `scones deploy` first" in shop.fails(*verb.split())


def test_ctrl_c_ends_every_child_and_the_next_start_works(tmp_path: Path, real_archive: Path) -> None:
    shop = new_shop(tmp_path, real_archive)
    demo = subprocess.Popen(
        shop.command("demo"),
        env=shop.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until(lambda: any("training/train.py" in line for line in processes_of(shop)), timeout_s=300)
        os.killpg(demo.pid, 2)
        assert demo.wait(60) != 0
    finally:
        demo.kill()
        demo.wait()
    wait_until(lambda: not processes_of(shop), timeout_s=300)
    shop.succeeds("account", "start")
    executions = shop.client("sagemaker").list_pipeline_executions(PipelineName=TRAINING)["PipelineExecutionSummaries"]
    assert [e["PipelineExecutionStatus"] for e in executions] != ["Executing"]
    shop.succeeds("account", "stop")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_while_the_account_starts_leaves_no_server(
    tmp_path: Path, real_archive: Path, number: signal.Signals
) -> None:
    shop = new_shop(tmp_path, real_archive)
    demo = subprocess.Popen(
        shop.command("demo"), env=shop.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: any("local_account" in line for line in processes_of(shop)))
        demo.send_signal(number)
        _, said = demo.communicate(timeout=300)
    finally:
        demo.kill()
        demo.wait()
    assert demo.returncode != 0
    assert "interrupted" in said
    assert "Traceback" not in said
    wait_until(lambda: not processes_of(shop), timeout_s=300)
    shop.succeeds("account", "start")
    shop.succeeds("account", "stop")


@pytest.mark.slow
def test_a_second_demo_in_the_same_home_leaves_the_first_alone(tmp_path: Path, real_archive: Path) -> None:
    shop = new_shop(tmp_path, real_archive)
    demo = subprocess.Popen(
        shop.command("demo"), env=shop.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: shop.scones("account", "status").returncode == 0)
        assert "another `scones demo` runs" in shop.fails("demo")
        assert demo.poll() is None
        assert shop.scones("account", "status").returncode == 0
    finally:
        demo.send_signal(signal.SIGINT)
        demo.wait(60)


@pytest.mark.slow
def test_a_demo_that_fails_stops_the_account_when_asked_to(tmp_path: Path, real_archive: Path) -> None:
    shop = new_shop(tmp_path, real_archive)
    line = shop.fails("demo", "--stop", "-p", "Bogus=1")
    assert "Bogus" in line
    assert not processes_of(shop)


def processes_of(shop: Shop) -> list[str]:
    """The command line of every process of the account whose state lies in this home."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        if process.pid != os.getpid() and process.info["environ"] and process.info["cmdline"]:
            text = " ".join(process.info["cmdline"]) + process.info["environ"].get("AWS_ENDPOINT_URL", "")
            if str(shop.home) in text or f"127.0.0.1:{shop.port}" in text:
                found.append(text)
    return found


def wait_until(condition: Callable[[], bool], timeout_s: float = 300) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)
