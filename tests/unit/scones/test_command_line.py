"""The command line without an account: help, and what mistakes say."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest

from scones.errors import SconesError
from scones.runs.start_training import git_commit, parse_parameters, start_training
from scones.stage.connection import Connection
from scones.stage.settings import PROJECT_ROOT, Settings, home
from tests.places import ROOT


def scones(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("scones")), *arguments]
    # No terminal width of the caller's and no colours: help is compared as text.
    settings = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=settings, cwd=cwd)


VERBS = [
    ("demo",),
    ("status",),
    ("console",),
    ("cost",),
    ("deploy",),
    ("destroy",),
    ("build",),
    ("classify",),
    ("batch",),
    ("test-cases",),
    *[("account", verb) for verb in ("start", "stop", "status", "env", "reset")],
    *[("data", verb) for verb in ("fetch", "show")],
    *[("pipeline", verb) for verb in ("definition", "run", "status", "logs")],
    *[("model", verb) for verb in ("list", "show", "approve", "reject")],
    *[("endpoint", verb) for verb in ("status", "history", "rollback", "deploy", "shadow", "delete")],
    *[("threshold", verb) for verb in ("show", "set")],
    *[("review", verb) for verb in ("list", "label", "export")],
    *[("workflow", verb) for verb in ("definition", "show")],
    ("monitor", "report"),
]


def test_every_verb_has_help_and_stands_in_the_docs() -> None:
    documented = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    for verb in VERBS:
        assert f"scones {' '.join(verb)}" in documented, verb
    for group in dict.fromkeys(verb[:-1] for verb in VERBS):
        answer = scones(*group, "--help")
        assert answer.returncode == 0, answer.stderr
        for verb in VERBS:
            if verb[:-1] == group:
                line = next(ln for ln in answer.stdout.splitlines() if f" {verb[-1]} " in ln)
                assert len(line.split(verb[-1], 1)[1].strip(" │|")) > 10, f"{verb} has no help"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def fails(*arguments: str, cwd: Path | None = None, **environment: str) -> str:
    answer = scones(*arguments, cwd=cwd, **environment)
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1, answer.stderr
    return answer.stderr


def test_without_an_account_the_line_says_how_to_start_one() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    assert f"no stand-in account answers on {url}: start one with `scones account start`" in fails(
        "model", "list", AWS_ENDPOINT_URL=url
    )


def test_an_unknown_stage_is_one_line() -> None:
    assert "there is no stage 'prod'" in fails("deploy", "--stage", "prod")


def test_missing_images_are_one_line(tmp_path: Path) -> None:
    assert "no images at" in fails("data", "fetch", "--data", str(tmp_path))


def test_an_unknown_class_suggests_the_nearest(real_archive: Path) -> None:
    message = fails("data", "show", "--data", str(real_archive), "--classes", "bicycle,motorcicle")
    assert "motorcicle" in message
    assert "motorcycle" in message


def test_a_truncated_archive_is_one_line(real_archive: Path, tmp_path: Path) -> None:
    broken = tmp_path / "cifar-100-python.tar.gz"
    broken.write_bytes(real_archive.read_bytes()[:100_000])
    assert str(broken.name) in fails("data", "show", "--data", str(broken))


class DeployedAccount(BaseHTTPRequestHandler):
    """An account with a deployed stage, as far as starting a pipeline looks at it."""

    started: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        call = self.headers.get("X-Amz-Target", "GetCallerIdentity").rpartition(".")[2]
        arn = "arn:aws:sagemaker:us-east-1:123456789012:pipeline/p/execution/e"
        answer = json.dumps({"PipelineExecutionArn": arn})
        if call == "GetCallerIdentity":
            xml = "https://sts.amazonaws.com/doc/2011-06-15/"
            result = "<GetCallerIdentityResult><Account>123456789012</Account></GetCallerIdentityResult>"
            answer = f'<GetCallerIdentityResponse xmlns="{xml}">{result}</GetCallerIdentityResponse>'
        if call == "StartPipelineExecution":
            self.started.append(json.loads(body))
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, *_: object) -> None:
        pass


def test_images_that_are_in_s3_already_are_neither_looked_for_nor_uploaded() -> None:
    uri = "s3://a-bucket/sources/reviewed"
    with ThreadingHTTPServer(("127.0.0.1", 0), DeployedAccount) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        surroundings = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}", "SCONES_DATA": "/not/there"}
        answer = scones("pipeline", "run", "--no-wait", "-p", f"SourceUri={uri}", **surroundings)
        server.shutdown()
    assert answer.returncode == 0, answer.stderr
    (request,) = DeployedAccount.started
    given = {parameter["Name"]: parameter["Value"] for parameter in request["PipelineParameters"]}
    assert given.keys() == {"SourceUri", "GitCommit"}
    assert given["SourceUri"] == uri


def test_images_come_from_one_place(tmp_path: Path) -> None:
    message = fails("pipeline", "run", "-p", "SourceUri=s3://a-bucket/a", "--data", str(tmp_path))
    assert "leave --data and --sample out" in message
    assert "expected s3://BUCKET/KEY" in fails("pipeline", "run", "-p", f"SourceUri={tmp_path}")


def test_data_show_counts_the_real_images_and_draws_a_contact_sheet(real_archive: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    answer = scones("data", "show", "--data", str(real_archive), "--sheet", str(sheet))
    assert answer.returncode == 0, answer.stderr
    rows = [line.split() for line in answer.stdout.splitlines() if line.startswith(("class", "bicycle", "motorcycle"))]
    counts = ["450", "50", "100"]
    assert rows == [["class", "train", "validation", "test"], ["bicycle", *counts], ["motorcycle", *counts]]
    assert sheet.read_bytes().startswith(b"\x89PNG")


def test_a_parameter_without_a_value_is_one_line() -> None:
    assert "is not NAME=VALUE" in fails("pipeline", "run", "-p", "AccuracyGate")


@pytest.mark.parametrize("since", ["yesterday", "24", ""])
def test_a_wrong_time_range_is_one_line(since: str) -> None:
    assert "expected 30m, 24h, 7d or ISO 8601" in fails("monitor", "report", "--since", since)


def test_every_package_resolves_inside_the_repository() -> None:
    names = (ROOT / "setup.py").read_text(encoding="utf-8").split("PACKAGES = [")[1].split("]")[0]
    packages = [line.strip().strip('",') for line in names.splitlines() if line.strip()]
    assert len(packages) > 10
    check = "import importlib.util, sys; print(importlib.util.find_spec(sys.argv[1]).origin)"
    for package in packages:
        finished = subprocess.run(
            [sys.executable, "-c", check, package], capture_output=True, text=True, check=True, cwd="/"
        )
        assert Path(finished.stdout.strip()).is_relative_to(ROOT), package


def test_another_program_on_the_port_is_one_line(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        environment = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{other.server_port}", "SCONES_HOME": str(tmp_path)}
        message = fails("account", "start", **environment)
        assert f"port {other.server_port}" in message
        assert "AWS_ENDPOINT_URL" in message
        assert "another program has the port" in fails("model", "list", **environment)
        other.shutdown()


def test_every_command_in_the_readme_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = [line.split("#")[0].split() for line in text.splitlines() if line.startswith("scones ")]
    assert len(lines) > 5
    for words in lines:
        verb = [word for word in words[1:3] if word.replace("-", "").isalpha() and not word.startswith("-")]
        given = [word for word in words if word.startswith("--")]
        answer = scones(*verb, "--help")
        assert answer.returncode == 0, words
        assert all(option in answer.stdout for option in given), words


@pytest.mark.parametrize("url", ["http://127.0.0.1:abc", "http://127.0.0.1:99999", "nonsense", "127.0.0.1:5055"])
@pytest.mark.parametrize("verb", [("model", "list"), ("account", "start"), ("account", "env"), ("demo", "--sample")])
def test_a_wrong_endpoint_url_is_one_line(url: str, verb: tuple[str, ...], tmp_path: Path) -> None:
    message = fails(*verb, AWS_ENDPOINT_URL=url, SCONES_HOME=str(tmp_path / "home"))
    assert "AWS_ENDPOINT_URL" in message
    assert url in message
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("option", ["--json", "--report-dir"])
def test_a_demo_that_cannot_write_its_results_does_not_begin(option: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    place = tmp_path / "file" / "results"
    message = fails("demo", "--sample", option, str(place), SCONES_HOME=str(tmp_path / "home"))
    assert str(tmp_path / "file") in message
    assert not (tmp_path / "home").exists()


def test_a_summary_cannot_take_the_place_of_a_folder(tmp_path: Path) -> None:
    message = fails("demo", "--sample", "--json", str(tmp_path), SCONES_HOME=str(tmp_path / "home"))
    assert f"{tmp_path} is a folder" in message


def test_output_that_cannot_be_written_is_one_line(real_archive: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    sheet = tmp_path / "file" / "sheet.png"
    assert str(sheet.parent) in fails("data", "show", "--data", str(real_archive), "--sheet", str(sheet))
    assert str(tmp_path / "file") in fails("build", "--out", str(tmp_path / "file" / "build"))
    assert str(tmp_path / "file") in fails("account", "start", SCONES_HOME=str(tmp_path / "file"))


def test_relative_images_lie_where_the_user_is(real_archive: Path, tmp_path: Path) -> None:
    (tmp_path / "renamed.tgz").symlink_to(real_archive)
    answer = scones("data", "show", "--data", "renamed.tgz", "--sheet", "sheet.png", cwd=tmp_path)
    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "sheet.png").is_file()


def test_drawn_vehicles_are_called_drawn(tmp_path: Path) -> None:
    answer = scones("data", "show", "--sample", "--sheet", str(tmp_path / "sheet.png"))
    assert answer.returncode == 0, answer.stderr
    assert "not photographs" in answer.stdout
    assert "not photographs" in answer.stderr


def test_folders_without_images_are_one_line(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split / "cat").mkdir(parents=True)
    assert f"no images at {tmp_path}" in fails("data", "fetch", "--data", str(tmp_path))


@pytest.mark.parametrize("since", ["99999999999d", "999999d", "0001-01-01T00:00:00+14:00"])
def test_a_time_before_all_time_is_one_line(since: str) -> None:
    assert "is not a time" in fails("monitor", "report", "--since", since)


@pytest.mark.parametrize("parameter", ["AccuracyGate=2", "AccuracyGate=nan", "ConfidenceThreshold=-0.1"])
def test_a_share_outside_0_to_1_is_refused_before_anything_runs(parameter: str, tmp_path: Path) -> None:
    for verb in (("demo",), ("pipeline", "run")):
        message = fails(*verb, "--sample", "-p", parameter, SCONES_HOME=str(tmp_path / "home"))
        assert "from 0 to 1" in message
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("classes", ["bicycle", "bicycle,bicycle", "8,48", ""])
def test_classes_that_cannot_be_told_apart_are_refused_before_anything_runs(classes: str) -> None:
    assert "expected" in fails("pipeline", "run", "--sample", "-p", f"Classes={classes}")


def test_spaces_around_class_names_do_not_become_part_of_them() -> None:
    assert parse_parameters(["Classes= bicycle, maple_tree"]) == {"Classes": "bicycle,maple_tree"}


def test_a_home_that_is_set_to_nothing_is_not_the_working_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCONES_HOME", "")
    assert home() == PROJECT_ROOT / ".scones"


def test_without_git_the_commit_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert git_commit() == "unknown"


def test_gpus_are_not_given_to_a_container_without_cuda() -> None:
    connection = cast("Connection", SimpleNamespace(settings=Settings.load("local")))
    for instance_type in ("ml.g5.xlarge", "ml.p3.2xlarge"):
        with pytest.raises(SconesError, match="one of the two has a GPU; set training_instance_type in stages/local"):
            start_training(connection, None, {"TrainingInstanceType": instance_type})


def test_a_list_of_pictures_in_s3_is_read_from_the_stage_s_account_alone(tmp_path: Path) -> None:
    """The account is not there: nothing else is asked in its place, whatever this machine is configured to."""
    lines = [f'{{"source-ref": "s3://a-bucket/{n}.png", "class": "{"ab"[n % 2]}"}}' for n in range(40)]
    (tmp_path / "list.manifest").write_text("\n".join(lines))
    surroundings = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_PROFILE": "a-person",
        "AWS_ENDPOINT_URL_S3": "http://192.0.2.1",
    }
    answer = scones("data", "show", "--data", str(tmp_path), "--sheet", str(tmp_path / "sheet.png"), **surroundings)
    assert answer.returncode == 1
    assert 'Could not connect to the endpoint URL: "http://127.0.0.1:9/' in answer.stderr
