"""The command line without an account: help, and what mistakes say."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def scones(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("scones")), *arguments]
    # No terminal width of the caller's and no colours: help is compared as text.
    settings = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", **environment}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=settings)


VERBS = [
    ("demo",),
    ("deploy",),
    ("destroy",),
    ("build",),
    ("classify",),
    ("test-cases",),
    *[("account", verb) for verb in ("start", "stop", "status", "env", "reset")],
    *[("data", verb) for verb in ("fetch", "show")],
    *[("pipeline", verb) for verb in ("definition", "run", "status", "logs")],
    *[("model", verb) for verb in ("list", "show", "approve", "reject")],
    *[("endpoint", verb) for verb in ("status", "delete")],
    ("monitor", "report"),
]


def test_every_verb_has_help_and_stands_in_the_docs() -> None:
    documented = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    for verb in VERBS:
        assert f"scones {' '.join(verb)}" in documented, verb
    for group in ((), ("account",), ("data",), ("pipeline",), ("model",), ("endpoint",), ("monitor",)):
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


def fails(*arguments: str, **environment: str) -> str:
    answer = scones(*arguments, **environment)
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


def test_data_show_counts_the_real_images_and_draws_a_contact_sheet(real_archive: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    answer = scones("data", "show", "--data", str(real_archive), "--sheet", str(sheet))
    assert answer.returncode == 0, answer.stderr
    assert [line.split() for line in answer.stdout.splitlines() if line.startswith("test")] == [["test", "100", "100"]]
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
