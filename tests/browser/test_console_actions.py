"""The console in Chromium: every page's main action, by mouse and keys, to its effect in the account."""

from __future__ import annotations

import json
import re
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.chromium import DESK, PHONE, Looker
from tests.console_stage import DOUBTFUL, ENDPOINT, PREFIX, SURE, ConsoleStage, RunningConsole, until
from tests.unit.processing.test_evaluation_page import two_classes

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PAGES = ("now", "live", "runs", "registry?version=1", "threshold?threshold=0.8", "photos", "review", "reports")
TRAINING, MONITORING = f"{PREFIX}-training", f"{PREFIX}-monitoring"
WINDOW = ("Start", "End")
WAITS = "import time; print('waiting', flush=True); time.sleep(3600)"


def arn(version: int) -> str:
    return f"arn:aws:sagemaker:us-east-1:123456789012:model-package/{ENDPOINT}/{version}"


def test_approving_brings_a_version_to_the_endpoint_and_the_page_says_so_by_itself(
    stage: ConsoleStage, looker: Looker
) -> None:
    page = looker.go("registry?version=2")
    page.get_by_label("reason").first.fill("better in <b>every</b> way")
    page.get_by_role("button", name="approve version 2").click()
    looker.is_told("Version 2 is approved")
    stage.until_serves(arn(2))
    page.locator("#versions tr", has_text="version 2").get_by_text("serves").wait_for()
    page.locator("#deployment tr", has_text="better in <b>every</b> way").first.wait_for()


def test_going_back_has_the_version_before_serve(stage: ConsoleStage, looker: Looker) -> None:
    if stage.serves() != arn(2):  # when the test before did not run
        stage.approve(arn(2))
        stage.until_serves(arn(2))
    page = looker.go("registry?version=1")
    back = page.get_by_role("button", name="go back to version 1")
    until(lambda: page.reload() and back.count(), "the page knows what serves")
    page.get_by_label("reason").first.fill("worse after all")
    back.press("Enter")
    stage.until_serves(arn(1))
    page.locator("#versions tr", has_text="version 1").get_by_text("serves").wait_for()


def test_the_slider_shows_what_changes_and_the_next_answer_follows(stage: ConsoleStage, looker: Looker) -> None:
    assert stage.send(DOUBTFUL, "refused.png")["status"] == "FAILED"
    page = looker.go("threshold")
    slider = page.locator("input[type=range]")
    slider.fill("0.55")
    page.get_by_role("button", name="set it to 0.55").wait_for()
    assert "threshold=0.55" in page.url
    assert page.locator("#effect .thumbs img").count() > 3
    page.get_by_label("reason").fill("as tried")
    page.get_by_role("button", name="set it to 0.55").click()
    looker.is_told("The threshold is 0.55")
    until(lambda: stage.send(DOUBTFUL, "passes.png")["status"] == "SUCCEEDED", "the threshold counts")
    page.get_by_role("button", name="go back to change 1").click()
    looker.is_told("as change 1 had set it")
    assert stage.threshold()["default"] == 0.93


def test_a_photograph_is_answered_and_sent_to_review(stage: ConsoleStage, looker: Looker, tmp_path: Path) -> None:
    photograph = tmp_path / "<img src=x onerror=alert(1)>.png"
    photograph.write_bytes(SURE)
    page = looker.go("photos")
    page.set_input_files("#files", photograph)
    page.wait_for_url("**/photos?run=*")
    page.locator("#sent .badge", has_text="passed").wait_for()
    page.locator("#sent .steps .good", has_text="FilterInferences").wait_for()
    waiting = sum(stage.queued())
    page.get_by_role("button", name="send it to review").click()
    looker.is_told("waits for a review")
    assert sum(stage.queued()) == waiting + 1


def test_a_key_labels_an_image(stage: ConsoleStage, looker: Looker) -> None:
    stage.send(DOUBTFUL, "to-label.png")
    known = len(stage.ground_truth())
    page = looker.go("review")
    looker.press("Enter")
    page.get_by_role("button", name=re.compile("bright")).wait_for()
    looker.press("2")
    looker.is_told(": bright")
    written = [json.loads(line) for line in stage.ground_truth()]
    assert len(written) == known + 1
    looker.press("u")
    looker.is_told("Taken back: bright")
    assert len(stage.ground_truth()) == known
    page.get_by_role("button", name="leave the rest to others").click()
    page.get_by_role("button", name="start labelling").wait_for()


def test_news_of_an_invocation_reach_a_page_that_is_open(stage: ConsoleStage, looker: Looker) -> None:
    page = looker.go("now")
    queue = page.locator("#standing li", has_text="review queue")
    before = queue.inner_text()
    stage.send(DOUBTFUL, "news.png")
    page.wait_for_function(
        "before => [...document.querySelectorAll('#standing li')].map(e => e.innerText).every(t => t !== before)",
        arg=before,
    )


# Until the server has sent this page another panel: the page's own listener has heard it before.
NEWS = """() => new Promise((done) => {
  const news = new EventSource(document.querySelector("main").dataset.events);
  news.addEventListener("panel", () => { news.close(); done(); });
})"""


def test_what_somebody_enters_stays_while_news_come(stage: ConsoleStage, looker: Looker) -> None:
    page = looker.go("live")
    span = page.locator("select[name=range]")
    kept, charts = span.input_value(), page.locator("#charts")
    span.select_option("7d")
    page.locator("h1").click()  # the field has the focus no longer
    before = charts.inner_text()
    stage.send(SURE, "meanwhile.png")
    page.evaluate(NEWS)
    assert (span.input_value(), charts.inner_text()) == ("7d", before)
    span.select_option(kept)
    page.locator("h1").click()
    page.wait_for_function("before => document.querySelector('#charts').innerText !== before", arg=before)


def waiting_pipeline(stage: ConsoleStage) -> None:
    """The training pipeline with one job, which waits until it is stopped."""
    sagemaker = stage.client("sagemaker")
    definition = json.loads(sagemaker.describe_pipeline(PipelineName=TRAINING)["PipelineDefinition"])
    first: dict[str, Any] = definition["Steps"][0]["Arguments"]
    first["AppSpecification"]["ContainerEntrypoint"] = ["python3", "-c", WAITS]
    first["AppSpecification"].pop("ContainerArguments", None)
    arguments = {name: first[name] for name in ("RoleArn", "AppSpecification", "ProcessingResources")}
    definition["Steps"] = [{"Name": "Waits", "Type": "Processing", "Arguments": arguments}]
    sagemaker.update_pipeline(PipelineName=TRAINING, PipelineDefinition=json.dumps(definition))


def test_a_run_is_started_followed_and_stopped(stage: ConsoleStage, looker: Looker) -> None:
    waiting_pipeline(stage)
    page = looker.go("runs")
    page.get_by_label("images in S3").fill(stage.put_unreadable_images())
    page.get_by_label("Epochs").fill("3")
    page.get_by_role("button", name="start a run").click()
    looker.is_told("has begun with Epochs=3")
    page.locator("#log pre", has_text="waiting").wait_for()
    page.get_by_role("button", name="stop this run").click()
    page.locator("#run .badge", has_text="Stopped").wait_for()
    (run, *_) = stage.client("sagemaker").list_pipeline_executions(PipelineName=TRAINING)["PipelineExecutionSummaries"]
    assert run["PipelineExecutionStatus"] == "Stopped"


def simulate(looker: Looker) -> None:
    """Three images, made worse, to the endpoint."""
    page = looker.go("reports")
    page.get_by_label("images").fill("3")
    page.get_by_label("made worse").select_option("noisy")
    page.get_by_role("button", name="send them").click()
    looker.is_told("3 images were answered, 3 noisy")


def order_report(looker: Looker) -> None:
    page = looker.go("reports")
    page.get_by_label("about").select_option("1h")
    page.get_by_role("button", name="report now").click()
    looker.is_told("is being written")


def test_traffic_is_simulated_and_a_report_ordered(stage: ConsoleStage, looker: Looker) -> None:
    simulate(looker)
    order_report(looker)
    sagemaker = stage.client("sagemaker")
    listed = sagemaker.list_pipeline_executions(PipelineName=MONITORING, SortOrder="Descending")
    run = listed["PipelineExecutionSummaries"][0]
    asked = sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=run["PipelineExecutionArn"])
    given = {p["Name"]: datetime.fromisoformat(p["Value"]) for p in asked["PipelineParameters"] if p["Name"] in WINDOW}
    assert given["End"] - given["Start"] == timedelta(hours=1)
    sagemaker.stop_pipeline_execution(PipelineExecutionArn=run["PipelineExecutionArn"])


@pytest.fixture(scope="module")
def report(stage: ConsoleStage, browser: Browser, console: RunningConsole) -> str:
    """The name of a report that was ordered in the browser, once its page is there."""
    looker = Looker(browser, console.address)
    simulate(looker)
    order_report(looker)
    page = looker.page
    page.locator("#list .listed li").wait_for()
    until(lambda: page.reload() and page.locator("#report iframe").count(), "the report's page is there")
    looker.close()
    return stage.reports()[0]


@pytest.mark.slow
def test_a_report_is_shown_inside_the_page(looker: Looker, report: str) -> None:
    page = looker.go(f"reports?report={report}")
    assert "Captured predictions" in page.frame_locator("iframe").locator("h1").inner_text()


@pytest.mark.parametrize(("width", "scheme", "places"), [(DESK, "light", PAGES[::2]), (PHONE, "dark", PAGES[1::2])])
def test_pages_are_accessible(looker: Looker, axe: str, width: int, scheme: str, places: tuple[str, ...]) -> None:
    """Half of the pages on a desk, half on a phone; the slow test has all of all."""
    person = Looker(looker.browser, looker.address, width, scheme)
    assert person.faults(axe, places) == {}
    person.close()
    assert person.troubles == []


@pytest.fixture(scope="module")
def documents(stage: ConsoleStage, report: str) -> tuple[str, str]:
    """Where the console shows a real evaluation and a real report alone."""
    with tempfile.TemporaryDirectory() as folder:
        job = two_classes(Path(folder))
        assert job.run("--accuracy-gate", "0.89", "--threshold", "0.93") == 0
        stage.put("pipeline-runs/first/evaluation/evaluation.html", job.page.encode())
    return "registry/evaluation/1", f"reports/page/{report}"


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [DESK, PHONE])
def test_every_page_is_accessible(
    looker: Looker, axe: str, documents: tuple[str, str], width: int, scheme: str
) -> None:
    person = Looker(looker.browser, looker.address, width, scheme, lenient=True)
    assert person.faults(axe, (*PAGES, *documents)) == {}
    person.close()
