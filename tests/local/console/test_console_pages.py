"""The console on a deployed stage, asked in process: pages show what the account holds, changes land there."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from console.account import ConsoleAccount
from console.application import application
from console.safety.secrets import ConsoleSecrets
from scones.stage.settings import Settings
from tests.asgi_client import Client
from tests.console_stage import BUCKET, DOUBTFUL, ENDPOINT, SURE, ConsoleStage, console_stage, until

PORT = 8765
REPORTS = f"arn:aws:s3:::{BUCKET}/reports/*"
PAGES = ("now", "live", "runs", "registry", "threshold", "photos", "review", "reports")


@dataclass
class Visitor:
    """A browser without JavaScript."""

    client: Client
    csrf: str

    def get(self, place: str) -> str:
        answer = self.client.get(f"/{place}")
        assert answer.status_code == 200, answer.text
        return answer.text

    def post(self, place: str, **fields: str) -> str:
        answer = self.client.post(f"/{place}", data={"csrf": self.csrf, **fields})
        assert answer.status_code == 200, answer.text
        return answer.text

    def send(self, content: bytes, name: str) -> Any:
        return self.client.post(
            "/photos/send", params={"name": name}, content=content, headers={"x-csrf-token": self.csrf}
        )


def visitor(*, read_only: bool = False, on_aws: bool = False) -> Visitor:
    """``on_aws``: of a console that takes the stage for one on AWS."""
    secrets, settings = ConsoleSecrets(), Settings.load("local")
    settings = dataclasses.replace(settings, endpoint_url=None) if on_aws else settings
    app = application(ConsoleAccount(settings, read_only), secrets, PORT)
    client = Client(app, f"127.0.0.1:{PORT}")
    client.get("/now", params={"key": secrets.key})
    return Visitor(client, secrets.csrf)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleStage]:
    with console_stage(tmp_path_factory.mktemp("console")) as made, pytest.MonkeyPatch.context() as patch:
        for name, value in made.environment.items():
            patch.setenv(name, value)
        yield made


@pytest.fixture(scope="module")
def guest(stage: ConsoleStage) -> Visitor:
    return visitor()


def failures(text: str) -> list[str]:
    return re.findall(r'class="failure"[^>]*>(.*?)</p>', text, flags=re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_is_read(guest: Visitor, page: str) -> None:
    text = guest.get(page)
    unread = failures(text)
    # No training ran in this stage, and its version has no baseline.
    assert [line for line in unread if "never ran" not in line and "without a baseline" not in line] == []


def test_the_first_page_says_who_has_to_act(guest: Visitor) -> None:
    text = guest.get("now")
    assert "version 1 serves, InService" in text
    assert "Somebody has to act" in text
    assert "decide on version 2" in text


def test_the_slider_shows_what_changes_sides(guest: Visitor) -> None:
    text = guest.get("threshold?threshold=0.8&of.dark=0.99")
    assert "set it to 0.8, dark 0.99" in text
    assert 'src="/threshold/image/test/bright_' in text
    picture = re.findall(r'src="(/threshold/image/[^"]+)"', text)[0]
    answer = guest.client.get(picture)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert guest.client.get("/threshold/image/test/../dataset.json").status_code == 404


def test_a_threshold_counts_for_the_next_answer_and_can_go_back(stage: ConsoleStage, guest: Visitor) -> None:
    assert stage.send(DOUBTFUL, "before.png")["status"] == "FAILED"
    text = guest.post("threshold/do/set", threshold="0.5", reason="a <b>test</b>", back="/threshold?threshold=0.5")
    assert "The threshold is 0.5 (it was 0.93)" in text
    assert "a &lt;b&gt;test&lt;/b&gt;" in text
    assert stage.threshold()["default"] == 0.5
    until(lambda: stage.send(DOUBTFUL, "after.png")["status"] == "SUCCEEDED", "the threshold counts")
    change = re.findall(r'name="change" value="(\d+)"', text)[0]
    assert "as change" in guest.post("threshold/do/back", change=change)
    assert stage.threshold()["default"] == 0.93
    until(lambda: stage.send(DOUBTFUL, "again.png")["status"] == "FAILED", "the old threshold counts")


@pytest.mark.parametrize("value", ["1.5", "nan", "-1", "x", ""])
def test_a_threshold_that_is_none_is_refused(stage: ConsoleStage, guest: Visitor, value: str) -> None:
    before = stage.threshold()
    assert 'class="verdict alarm"' in guest.post("threshold/do/set", threshold=value, reason="x")
    assert stage.threshold() == before


def test_a_change_needs_a_reason(stage: ConsoleStage, guest: Visitor) -> None:
    text = guest.post("registry/do/approve", version="2", reason="  ")
    assert "needs a value for &#39;reason&#39;" in text
    assert stage.client("sagemaker").list_model_packages(
        ModelPackageGroupName=ENDPOINT, ModelApprovalStatus="PendingManualApproval"
    )["ModelPackageSummaryList"]


def test_a_photograph_passes_and_goes_to_review(stage: ConsoleStage, guest: Visitor) -> None:
    run = guest.send(SURE, "../../<script>bright.png").json()["run"]
    until(lambda: "passed" in guest.get(f"photos?run={run}"), "the answer is shown")
    text = guest.get(f"photos?run={run}")
    assert "bright" in text
    assert "FilterInferences" in text
    assert "<script>bright" not in text
    assert guest.client.get(f"/photos/image/{run}").content == SURE
    waiting, _ = stage.queued()
    assert "waits for a review" in guest.post("photos/do/review", run=run)
    assert stage.queued()[0] == waiting + 1


def form_with(csrf: str, **files: bytes) -> tuple[bytes, dict[str, str]]:
    """A form as browsers send it where there is no JavaScript."""
    head = '--edge\r\nContent-Disposition: form-data; name="{}"\r\n\r\n'
    body = head.format("csrf").encode() + csrf.encode()
    for name, content in files.items():
        body += b"\r\n" + head.format(f'photo"; filename="{name}.png').encode() + content
    return body + b"\r\n--edge--\r\n", {"content-type": "multipart/form-data; boundary=edge"}


def test_photographs_are_sent_without_javascript(guest: Visitor) -> None:
    body, headers = form_with(guest.csrf, plain=SURE, käfer=DOUBTFUL, empty=b"")
    answer = guest.client.post("/photos/send", content=body, headers=headers)
    assert "empty.png is empty" in answer.text
    assert answer.text.count('class="photo"') == 2
    body, headers = form_with("another token", plain=SURE)
    assert guest.client.post("/photos/send", content=body, headers=headers).status_code == 403
    body, headers = form_with(guest.csrf)
    assert "choose photographs first" in guest.client.post("/photos/send", content=body, headers=headers).text


def test_the_registry_says_what_reports_found_about_a_version(stage: ConsoleStage, guest: Visitor) -> None:
    entry = {"name": "20260301T000000Z", "verdict": "-", "alarms": [], "start": "2026-03-01", "end": "2026-03-02"}
    drift = {"families": [{"family": "predictions", "alarm": True}, {"family": "images", "alarm": False}]}
    report = {"about": {"version": f"{ENDPOINT}/1"}, "drift": drift}
    stage.put(f"reports/{entry['name']}/report.json", json.dumps(report).encode())
    stage.put("reports/index.json", json.dumps([entry, {**entry, "name": "missing"}]).encode())
    try:
        text = guest.get("registry")
    finally:
        stage.client("s3").delete_object(Bucket=BUCKET, Key="reports/index.json")
    assert f'<a href="/reports?report={entry["name"]}">predictions</a> <span class="badge bad">alarm</span>' in text


def test_a_broken_or_empty_photograph_says_why(guest: Visitor) -> None:
    assert "is empty" in guest.send(b"", "empty.png").json()["error"]
    run = guest.send(b"not a picture", "broken.png").json()["run"]
    until(lambda: "FAILED" in guest.get(f"photos?run={run}"), "the reason is shown")
    assert failures(guest.get(f"photos?run={run}"))
    assert guest.client.get(f"/photos/image/{run}").status_code == 415


def test_a_huge_photograph_is_refused_before_it_is_sent(guest: Visitor) -> None:
    assert guest.send(b"\0" * (26 << 20), "huge.png").status_code == 413


def test_a_label_becomes_ground_truth_and_can_be_taken_back(stage: ConsoleStage, guest: Visitor) -> None:
    for number in (1, 2):
        stage.send(DOUBTFUL, f"doubtful-{number}.png")
    until(lambda: stage.queued()[0] >= 2, "two images wait")
    waiting = stage.queued()[0]
    assert f"{waiting} images wait for a label" in guest.get("review")
    assert stage.queued()[0] == waiting, "looking takes nothing"
    guest.post("review/do/take")
    (image,) = set(re.findall(r'name="image" value="([^"]+)"', guest.get("review")))
    other = visitor()
    assert f'value="{image}"' not in other.post("review/do/take")
    truths = len(stage.ground_truth())
    assert ": dark" in guest.post("review/do/label", image=image, label="dark")
    written = [json.loads(line) for line in stage.ground_truth()]
    mine = [line for line in written if line["eventMetadata"]["eventId"] == image]
    assert [line["groundTruthData"]["data"] for line in mine] == ["0"]
    assert "no longer yours" in guest.post("review/do/label", image=image, label="bright")
    assert "Taken back: dark" in guest.post("review/do/undo")
    assert len(stage.ground_truth()) == truths
    assert f'value="{image}"' in guest.get("review")
    assert "there is no class" in guest.post("review/do/label", image=image, label="unicorn")
    for each in (guest, other):
        each.post("review/do/release")


def test_two_people_who_label_at_once_get_each_image_once(stage: ConsoleStage) -> None:
    people = [visitor() for _ in range(2)]
    while stage.queued()[0] < 12:
        stage.send(DOUBTFUL, f"shared-{stage.queued()[0]}.png")
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(person.post, "review/do/take") for person in people]:
            done.result()
    labelled: list[str] = []
    for person in people:
        while found := re.findall(r'name="image" value="([^"]+)"', person.get("review")):
            person.post("review/do/label", image=found[0], label="bright")
            labelled.append(found[0])
    assert len(labelled) == len(set(labelled)) >= 12


def test_approving_says_what_it_does_and_the_endpoint_follows(stage: ConsoleStage, guest: Visitor) -> None:
    text = guest.get("registry?version=2")
    assert "Approving version 2 puts it in place of version 1" in text
    assert "evaluation of second" in guest.get("registry/evaluation/2")
    assert "sandbox" in guest.client.get("/registry/evaluation/2").headers["content-security-policy"]
    assert "Version 2 is approved" in guest.post("registry/do/approve", version="2", reason="better", back="/registry")
    until(lambda: stage.serves().endswith("/2"), "version 2 serves")
    until(lambda: re.search(r"version 2 serves(?s:.*)none under way", guest.get("now")), "the page says so")
    takes_place = "Version 1 takes the place of version 2"
    until(lambda: takes_place in guest.get("registry?version=1"), "the registry says so")
    assert "Version 1 is ordered" in guest.post("registry/do/rollback", version="1", reason="worse after all")
    until(lambda: stage.serves().endswith("/1"), "version 1 serves again")


def test_one_refused_call_leaves_the_other_panels(stage: ConsoleStage) -> None:
    stage.client("s3").put_bucket_policy(
        Bucket=BUCKET,
        Policy=json.dumps({
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": REPORTS}],
        }),
    )  # fmt: skip
    try:
        text = visitor().get("now")
    finally:
        stage.client("s3").delete_bucket_policy(Bucket=BUCKET)
    assert "could not be read" in text
    assert "AccessDenied" in text
    assert re.search(r"version \d+ serves", text)


def test_on_aws_a_change_is_asked_for_again_with_the_account(stage: ConsoleStage) -> None:
    careful, before = visitor(on_aws=True), stage.threshold()
    assert "account 123456789012 on AWS" in careful.get("threshold?threshold=0.6")
    for sure in ({}, {"sure": "999999999999"}):
        asked = careful.post("threshold/do/set", threshold="0.6", reason="<i>x</i>", **sure)
        assert "This changes account 123456789012 on AWS" in asked
        assert "Set the threshold to 0.6 for the whole stage." in asked
        assert 'value="&lt;i&gt;x&lt;/i&gt;"' in asked
        assert stage.threshold() == before
    assert careful.send(SURE, "x.png").status_code == 409
    body, headers = form_with(careful.csrf, plain=SURE)
    assert "say that you want that first" in careful.client.post("/photos/send", content=body, headers=headers).text
    sent = careful.post("threshold/do/set", threshold=str(before["default"]), reason="as it was", sure="123456789012")
    assert f"The threshold is {before['default']}" in sent


def test_what_only_reads_takes_nothing_out_of_the_queue(stage: ConsoleStage) -> None:
    reader = visitor(read_only=True)
    before = stage.queued()
    text = reader.get("review")
    assert "This console only reads" in text
    assert stage.queued() == before
    assert '<form method="post"' not in "".join(reader.get(page) for page in PAGES)


def test_two_runs_stand_side_by_side(stage: ConsoleStage, guest: Visitor) -> None:
    source, runs = stage.put_unreadable_images(), []
    for epochs in ("3", "5"):
        fields = {"source": source, "p.Epochs": epochs}
        (run,) = re.findall(rf"Run (\w+) has begun with Epochs={epochs}", guest.post("runs/do/start", **fields))
        runs.append(run)
    text = guest.get(f"runs?run={runs[0]}&with={runs[1]}")
    assert "<td><b>3</b></td><td><b>5</b></td>" in text
    assert "what came of it" in text
    assert f"Learning curves of {runs[1]}" in text
