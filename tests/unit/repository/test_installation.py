"""The set-up of an environment, as make starts it: what it installs, and the one line it says when it cannot."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scones.installation import Environment, cause, index_options, locked_version
from scones.stage.settings import PROJECT_ROOT

SILENT = "http://127.0.0.1:9"  # nothing listens at the port `discard`
INSTALLER = """#!{python}
import pathlib, sys
pathlib.Path("{log}").open("a").write(" ".join(sys.argv[1:]) + "\\n")
sys.exit({code!r} if "--torch-backend" in sys.argv or "--no-index" in sys.argv and "torch" in " ".join(sys.argv) else 0)
"""


def set_up(venv: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """What make runs, without this machine's configuration of pip."""
    cleared = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_"))}
    return subprocess.run(
        [sys.executable, "-m", "scones.installation", *words],
        cwd=PROJECT_ROOT,
        env={**cleared, "PIP_CONFIG_FILE": os.devnull, "VENV": str(venv), **environ},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment left by a set-up that had no network; before, there was one of another Python."""
    place = tmp_path_factory.mktemp("set-up") / ".venv"
    (place / "bin").mkdir(parents=True)
    (place / "pyvenv.cfg").write_text("version = 3.10.1\n")
    done = set_up(place, "run", PIP_INDEX_URL=SILENT)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "the package registry cannot be reached" in done.stderr
    assert "Replacing .venv, which is of Python none" in done.stdout
    return place


def pretend_uv(venv: Path, code: int) -> Path:
    """In place of uv and setuptools, as installed: what writes its words down, and cannot find torch for CPU."""
    log = venv / "words.txt"
    log.unlink(missing_ok=True)
    uv = Environment(venv, "run", locked=False).tool / "bin" / "uv"
    uv.parent.mkdir(parents=True, exist_ok=True)
    uv.write_text(INSTALLER.format(python=sys.executable, log=log, code=code))
    uv.chmod(0o755)
    (packages,) = venv.glob("lib/*/site-packages")
    for folder, name in ((uv.parents[1], "uv"), (packages, "setuptools")):
        record = folder / f"{name}-{locked_version(name)}.dist-info"
        record.mkdir(exist_ok=True)
        (record / "RECORD").touch()
    return log


@pytest.mark.parametrize("locked", ["", "1"])
def test_a_set_up_installs_what_is_locked_and_nothing_else(venv: Path, locked: str) -> None:
    log = pretend_uv(venv, 0)
    done = set_up(venv, "run", LOCKED=locked, PIP_FIND_LINKS="/wheels")
    assert done.returncode == 0, done.stderr
    assert "packages" in done.stdout and "MB to download" in done.stdout
    packages, torch, project = log.read_text().splitlines()
    assert "--no-deps --require-hashes --no-build-isolation" in packages and packages.endswith("requirements/run.txt")
    assert ("--require-hashes" in torch and torch.endswith("torch-cpu.txt")) == bool(locked)
    assert "--find-links /wheels --no-deps --no-index" in torch
    assert "--no-build-isolation --no-index --editable" in project


def test_without_a_build_for_cpu_torch_comes_from_the_registry_by_its_digest(venv: Path) -> None:
    log = pretend_uv(venv, 1)
    done = set_up(venv, "build")
    assert done.returncode == 0, done.stderr
    assert "torch from the package registry" in done.stdout
    assert (
        log.read_text()
        .splitlines()[-2]
        .endswith("--require-hashes --requirement " + str(PROJECT_ROOT / "requirements/torch.txt"))
    )


def test_pips_configuration_holds_for_uv_as_well() -> None:
    settings = {"index-url": "https://a/simple", "extra-index-url": "https://b https://c", "no-index": "true"}
    words = " ".join(index_options(settings))
    assert words.endswith("--default-index https://a/simple --index https://b --index https://c --no-index")


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("error: failed to write\n  Caused by: No space left on device (os error 28)", "the disk is full: "),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
            "the disk is full: ",
        ),
        ("error: Failed to fetch\n  Caused by: tunnel error: unsuccessful", "the proxy does not lead to the registry"),
        ("WARNING: Retrying after connection broken by 'ProxyError('Cannot connect to proxy.')'", "the proxy"),
        ("  cause: dns error", "the package registry cannot be reached"),
        ("ERROR: No matching distribution found for isal==1.7.2", "has no file of a package for Python"),
        (
            "error: No solution\n  cause: Because isal was not found in the package registry and you require isal==1",
            "has no file of a package for Python",
        ),
        ("error: No solution found\n  cause: Because isal==1.7.2 has no wheels with a matching tag", ": Because isal"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "a file is not the one that is locked"),
        ("The virtual environment was not created: ensurepip is not\navailable.", "install it (python3-venv"),
        ("something else", "the installer stopped with: something else"),
    ],
)
def test_a_set_up_that_fails_says_why_in_one_line(tmp_path: Path, printed: str, said: str) -> None:
    line = cause(printed, Environment(tmp_path / ".venv", "run", locked=False))
    assert said in line and "\n" not in line


FOREIGN = "<a href='annotated_doc-{version}-cp311-cp311-win_amd64.whl'>of another platform</a>"


@pytest.mark.parametrize(("installer", "page"), [("pip", ""), ("uv", ""), ("uv", FOREIGN)])
def test_a_registry_that_lacks_a_file_for_this_platform_is_told_by_the_packages_name(
    tmp_path: Path, venv: Path, installer: str, page: str
) -> None:
    pretend_uv(venv, 0)
    uv = Environment(venv, "run", locked=False).tool / "bin" / "uv"
    uv.unlink()
    uv.symlink_to(Path(sys.executable).with_name("uv"))
    if page:
        (tmp_path / "simple" / "annotated-doc").mkdir(parents=True)
        text = page.format(version=locked_version("annotated-doc"))
        (tmp_path / "simple" / "annotated-doc" / "index.html").write_text(text)
    (tmp_path / "simple").mkdir(exist_ok=True)
    done = set_up(
        venv, "run", INSTALLER=installer, PIP_INDEX_URL=(tmp_path / "simple").as_uri(), UV_CACHE_DIR=str(tmp_path)
    )
    uv.unlink()
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "annotated-doc" in done.stderr and "has no file of a package" in done.stderr


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"PIP_PROXY": SILENT}, "the proxy does not lead to the registry"),
        ({"PIP_INDEX_URL": SILENT}, "the package registry cannot be reached"),
    ],
)
def test_after_a_set_up_that_failed_the_next_goes_on(venv: Path, broken: dict[str, str], said: str) -> None:
    shutil.rmtree(Environment(venv, "run", locked=False).tool, ignore_errors=True)
    failed = set_up(venv, "run", **broken)
    assert (failed.returncode, failed.stderr.count("\n")) == (1, 1)
    assert said in failed.stderr
    pretend_uv(venv, 0)
    assert set_up(venv, "run").returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system that is too small for an environment."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("only root can mount a small file system, and not everywhere")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.slow  # makes an environment twice
def test_a_full_disk_is_named_and_with_room_the_next_try_goes_on(small_disk: Path) -> None:
    place = small_disk / ".venv"
    failed = set_up(place, "run", PIP_INDEX_URL=SILENT)
    assert (failed.returncode, failed.stderr.count("\n")) == (1, 1)
    assert "the disk is full: " in failed.stderr
    subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
    again = set_up(place, "run", PIP_INDEX_URL=SILENT)
    assert "the package registry cannot be reached" in again.stderr  # it came as far as it can without one
    pretend_uv(place, 0)
    assert set_up(place, "run").returncode == 0


def test_what_nothing_reads_is_taken_out_and_the_package_stays_whole_for_its_installer(venv: Path) -> None:
    (packages,) = venv.glob("lib/*/site-packages")
    files = ["pandas/__init__.py", "pandas/tests/__init__.py", "pandas/tests/io/test_csv.py", "pandas/testing.py"]
    for name in files:
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).touch()
    info = packages / "pandas-9.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pandas\nVersion: 9.0\n")
    cached = venv / "RECORD"  # as uv installs: the same file, linked
    cached.write_text(
        "".join(f"{name},,\n" for name in [*files, *(f"{info.name}/{n}" for n in ("METADATA", "RECORD"))])
    )
    (info / "RECORD").hardlink_to(cached)
    pretend_uv(venv, 0)
    for _ in range(2):
        assert set_up(venv, "run").returncode == 0
    assert not (packages / "pandas" / "tests").exists() and (packages / "pandas" / "testing.py").exists()
    assert "pandas/tests" in cached.read_text() and "pandas/tests" not in (info / "RECORD").read_text()
    pip = [venv / "bin" / "python", "-m", "pip", "uninstall", "--yes", "pandas"]
    assert "pandas" not in subprocess.run(pip, capture_output=True, text=True, check=True).stderr  # nothing lacked
    assert not (packages / "pandas").exists() and not info.exists()


def environment_of_another_python(venv: Path) -> None:
    """An old `.venv` that works, in place of the one there is."""
    named = [shutil.which(f"python3.{minor}") for minor in range(9, 16) if minor != sys.version_info.minor]
    kept = sorted(Path.home().glob(".pyenv/versions/3.1*/bin/python3"))
    for python in [*filter(None, named), *map(str, kept)]:
        done = subprocess.run([python, "-m", "venv", "--clear", str(venv)], capture_output=True, check=False)
        if done.returncode == 0 and not [*venv.glob(f"lib/python3.{sys.version_info.minor}")]:
            return
    pytest.skip("this machine has one Python alone")


@pytest.mark.slow  # makes two environments
def test_an_environment_of_another_python_is_replaced_and_said(tmp_path: Path) -> None:
    place = tmp_path / ".venv"
    environment_of_another_python(place)
    first = set_up(place, "run", PIP_INDEX_URL=SILENT)
    assert re.search(r"Replacing \.venv, which is of Python 3\.\d+\.\d+, by one of 3\.", first.stdout)
    assert (first.returncode, first.stderr.count("\n")) == (1, 1)
    pretend_uv(place, 0)
    again = set_up(place, "run")
    assert again.returncode == 0 and "Replacing" not in again.stdout


@pytest.mark.slow  # makes two environments
@pytest.mark.parametrize("moment", ["venv", "installer"])
def test_ctrl_c_is_one_line_and_the_next_try_goes_on(tmp_path: Path, moment: str) -> None:
    """As a terminal sends it: to make, to the set-up and to what it runs."""
    place = tmp_path / ".venv"
    if moment == "installer":
        set_up(place, "run", PIP_INDEX_URL=SILENT)
        waiting = pretend_uv(place, 0).with_name("waiting")
        uv = Environment(place, "run", locked=False).tool / "bin" / "uv"
        uv.write_text(f"#!/bin/sh\ntouch {waiting}\nexec sleep 1000\n")
    else:
        waiting = place / "bin" / "python"
    command = [sys.executable, "-m", "scones.installation", "run"]
    environ = {**os.environ, "VENV": str(place), "PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": SILENT}
    with subprocess.Popen(
        command, cwd=PROJECT_ROOT, env=environ, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as interrupted:
        while not waiting.exists():
            assert interrupted.poll() is None
            time.sleep(0.01)
        os.killpg(interrupted.pid, signal.SIGINT)
        _, said = interrupted.communicate()
    assert (interrupted.returncode, said.count("\n")) == (130, 1)
    assert said == "Set-up was interrupted. Run make again: it goes on from here.\n"
    assert (
        "the package registry cannot be reached" in set_up(place, "build", INSTALLER="pip", PIP_INDEX_URL=SILENT).stderr
    )
    pretend_uv(place, 0)
    assert set_up(place, "run").returncode == 0
