"""What a container sees: its own /opt/ml, its own Python environment, nothing of this repository."""

from __future__ import annotations

import sys
import threading
import time
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from local_account.account import Account
from local_account.containers import namespaces
from local_account.containers.namespaces import rewrite_paths
from local_account.containers.python import make_environment
from local_account.containers.run import RunningContainer, start_container


class RecordingAccount(Account):
    """An account whose CloudWatch Logs is a list."""

    lines: list[str]

    def put_log_lines(self, group: str, stream: str, lines: Iterable[str], role: str = "") -> None:
        assert (group, stream, role) == ("/jobs", "one", "")
        self.lines.extend(lines)


@pytest.fixture
def account(tmp_path: Path) -> RecordingAccount:
    account = RecordingAccount(tmp_path / "state", 1)
    account.lines = []
    return account


@pytest.fixture(params=["namespace", "rewrite"])
def opt_ml(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "rewrite":
        monkeypatch.setattr(namespaces, "namespace_command", lambda: None)
    elif namespaces.namespace_command() is None:
        pytest.skip("this system gives no private mount namespaces")
    return str(request.param)


def start(account: Account, tmp_path: Path, *command: str, **options: object) -> RunningContainer:
    settings = {"environment": {}, "log_group": "/jobs", "log_stream": "one", **options}
    return start_container(account, name="job-1", root=tmp_path / "root", command=list(command), **settings)  # type: ignore[arg-type]


def test_files_under_opt_ml_are_the_files_of_its_root(account: Account, tmp_path: Path, opt_ml: str) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "given").write_text("in")
    command = ("/bin/sh", "-ec", "cat /opt/ml/given; pwd; echo $WHERE; cd /opt/ml/code; echo out > /opt/ml/made")
    (tmp_path / "root" / "code").mkdir()
    container = start(account, tmp_path, *command, environment={"WHERE": "/opt/ml/x"}, cwd=Path("/opt/ml/code"))
    assert container.wait(300) == 0, container.tail()
    assert (tmp_path / "root" / "made").read_text() == "out\n"
    seen = "/opt/ml" if opt_ml == "namespace" else str(tmp_path / "root")
    assert container.tail() == [f"in{seen}/code", f"{seen}/x"]
    assert not Path("/opt/ml/made").exists()
    assert [p.name for p in (tmp_path / "state" / "containers").glob("*-*")] == []


def test_the_repository_cannot_be_imported_in_a_container(account: Account, tmp_path: Path, opt_ml: str) -> None:
    program = "import boto3, sys; print(sys.prefix); import scones"
    container = start(account, tmp_path, "python3", "-c", program)
    assert container.wait(300) == 1
    assert container.tail()[-1] == "ModuleNotFoundError: No module named 'scones'"
    assert container.tail()[0] != sys.prefix


def test_editable_installs_beside_the_accounts_packages_stay_out(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages, repository = tmp_path / "packages", tmp_path / "repository"
    packages.mkdir()
    repository.mkdir()
    (repository / "editable_project.py").touch()
    (packages / "installed_package.py").touch()
    (packages / "__editable__.editable_project-1.pth").write_text(f"{repository}\n")
    monkeypatch.setattr("site.getsitepackages", lambda: [str(packages)])
    container = start(
        account, tmp_path, "python3", "-c", "import installed_package; print('ok'); import editable_project"
    )
    assert container.wait(300) == 1
    assert container.tail()[0] == "ok"
    assert container.tail()[-1] == "ModuleNotFoundError: No module named 'editable_project'"


def test_pip_sees_what_is_installed_and_installs_into_the_container_only(account: Account, tmp_path: Path) -> None:
    package = tmp_path / "shipped"
    package.mkdir()
    (package / "shipped_module.py").write_text("VALUE = 7\n")
    (package / "setup.py").write_text(
        "from setuptools import setup\nsetup(name='shipped', py_modules=['shipped_module'])"
    )
    script = (
        "python3 -m pip install --no-index numpy; "
        f"pip install --quiet --no-index --no-build-isolation {package}; "
        "python -c 'import shipped_module; print(shipped_module.VALUE, shipped_module.__file__)'"
    )
    container = start(account, tmp_path, "/bin/sh", "-ec", script)
    assert container.wait(300) == 0, container.tail()
    assert any("already satisfied: numpy" in line for line in container.tail(40))
    value, _, path = container.tail()[-1].partition(" ")
    assert value == "7"
    assert path.startswith(str(tmp_path / "state"))


def test_a_package_that_is_here_stands_for_the_locked_one(account: Account, tmp_path: Path) -> None:
    """As the image's packages would on AWS; the log says so, and what is not here is still pip's to check."""
    lock = f"# locked\nnumpy==0.0.1 \\\n    --hash=sha256:{'0' * 64}\n"
    install = "python3 -m pip install --quiet --require-hashes --requirement locked.txt"
    container = start(account, tmp_path, "/bin/sh", "-ec", f"printf '%s' \"$0\" > locked.txt; {install}", lock)
    assert container.wait(300) == 0, container.tail()
    assert container.tail()[0].endswith("stands for the locked 0.0.1: this machine's packages are the image's")

    package = tmp_path / "wheels"
    package.mkdir()
    with zipfile.ZipFile(package / "absent_here-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("absent_here-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: absent-here\nVersion: 1.0\n")
        wheel.writestr(
            "absent_here-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("absent_here-1.0.dist-info/RECORD", "")
    lock += f"absent-here==1.0 --hash=sha256:{'1' * 64}\n"
    offline = f"{install} --no-index --find-links {package}"
    container = start(account, tmp_path, "/bin/sh", "-ec", f"printf '%s' \"$0\" > locked.txt; {offline}", lock)
    assert container.wait(300) != 0
    assert any("THESE PACKAGES DO NOT MATCH THE HASHES" in line for line in container.tail(60))


def test_an_environment_takes_less_than_150_ms(tmp_path: Path) -> None:
    started = time.perf_counter()
    make_environment(tmp_path / "python")
    assert time.perf_counter() - started < 0.15


def test_lines_reach_the_log_while_the_container_runs(account: RecordingAccount, tmp_path: Path) -> None:
    container = start(account, tmp_path, "/bin/sh", "-c", "echo first; echo oops >&2; sleep 30")
    deadline = time.monotonic() + 300
    while len(account.lines) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert account.lines == ["first", "oops"]
    assert container.poll() is None
    container.stop(5)
    assert container.wait(300) == -15


def test_stopping_kills_what_ignores_the_signal_and_all_its_children(account: Account, tmp_path: Path) -> None:
    script = "trap '' TERM; (trap '' TERM; sleep 30; echo survived > /opt/ml/survived) & echo ready; wait; wait"
    container = start(account, tmp_path, "/bin/bash", "-c", script)
    while not container.tail():
        time.sleep(0.02)
    started = time.monotonic()
    container.stop(0.3)
    assert container.wait(300) == -9
    assert time.monotonic() - started < 5


def test_a_container_ends_with_its_first_process(account: Account, tmp_path: Path) -> None:
    container = start(account, tmp_path, "/bin/sh", "-c", "sleep 60 & echo started")
    assert container.wait(300) == 0
    assert container.tail() == ["started"]


def test_on_line_sees_every_line_and_binary_output_does_no_harm(account: Account, tmp_path: Path) -> None:
    lines: list[str] = []
    done = threading.Event()
    command = ("python3", "-c", r"import os; os.write(1, b'\xff\xfe\n'); print('x\n' * 5000, end='unfinished')")
    container = start(account, tmp_path, *command, on_line=lambda line: (lines.append(line), done.set()))
    assert container.wait(300) == 0
    assert lines.count("x") == 5000
    assert lines[-1] == "unfinished"


def test_a_container_does_not_inherit_the_users_environment(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "production")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PIP_RETRIES", "3")
    container = start(account, tmp_path, "/usr/bin/env", environment={"GIVEN": "yes"})
    assert container.wait(300) == 0
    seen = dict(line.partition("=")[::2] for line in container.tail(100))
    assert "AWS_PROFILE" not in seen
    assert "PYTHONPATH" not in seen
    assert seen["GIVEN"] == "yes"
    assert seen["PIP_RETRIES"] == "3"
    assert seen["AWS_ENDPOINT_URL"] == account.endpoint_url


def test_a_missing_program_is_reported_with_exit_code_127(account: Account, tmp_path: Path) -> None:
    container = start(account, tmp_path, "no-such-program")
    assert container.wait(300) == 127
    assert "no-such-program" in container.tail()[-1]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/opt/ml", "/r"),
        ("--model=/opt/ml/model:/opt/ml", "--model=/r/model:/r"),
        ("cd '/opt/ml'", "cd '/r'"),
        ("s3://bucket/opt/ml/x", "s3://bucket/opt/ml/x"),
        ("/opt/mlflow /opt/ml-x", "/opt/mlflow /opt/ml-x"),
    ],
)
def test_only_the_container_path_is_rewritten(text: str, expected: str) -> None:
    assert rewrite_paths(text, Path("/r")) == expected
