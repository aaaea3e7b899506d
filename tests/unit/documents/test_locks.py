"""What runs is what passed: the locked requirements against their ranges, their digests and who installs them."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from pipelines.container_jobs import CONTAINER_PYTHON as IMAGE_PYTHON
from pipelines.container_jobs import entrypoint
from scones.installation import Environment, block
from scones.locks import (
    BROWSER_FILE,
    BUILD_FILE,
    BUILD_PYTHON,
    CONTAINER_PYTHON,
    CONTAINERS,
    CPU_FILE,
    RUN_FILE,
    TORCH_FILE,
    locked,
    ranges,
)
from scones.stage.settings import PROJECT_ROOT

CONTAINER_FILES = [f"{container}/requirements.txt" for container in CONTAINERS]
FILES = [*CONTAINER_FILES, RUN_FILE, BUILD_FILE, BROWSER_FILE, TORCH_FILE]
PIN = re.compile(r"[a-z0-9][a-z0-9._-]*(\[[a-z0-9,-]+\])?==\S+( ; .+?)?( --hash=sha256:[0-9a-f]{64})+")


def requirements(name: str) -> list[str]:
    text = (PROJECT_ROOT / name).read_text(encoding="utf-8")
    lines = re.sub(r"\s*\\\n\s*", " ", text).splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def versions(name: str) -> dict[str, str]:
    return {canonicalize_name(package): version for package, version in locked(PROJECT_ROOT / name).items()}


@pytest.mark.parametrize("name", FILES)
def test_every_line_is_one_version_with_digests_and_names_no_host(name: str) -> None:
    found = requirements(name)
    assert [line for line in found if not PIN.fullmatch(line)] == []
    assert len(found) == len(versions(name)) >= 3
    assert not re.search(r"://|--(extra-)?index-url|--find-links|@ ", (PROJECT_ROOT / name).read_text(encoding="utf-8"))


def test_what_is_locked_is_within_the_ranges_of_setup_py() -> None:
    required, every = ranges().required, ranges().every
    wanted = {name: [every[package] for package in packages] for name, packages in CONTAINERS.items()}
    by_file = {f"{name}/requirements.txt": each for name, each in wanted.items()}
    runs = [*required.values()]
    own = {RUN_FILE: runs, BUILD_FILE: [*every.values()], BROWSER_FILE: [*ranges().browser.values()]}
    for file, needed in {**by_file, **own}.items():
        have = versions(file) | (versions(TORCH_FILE) if file in {RUN_FILE, BUILD_FILE} else {})
        for requirement in map(Requirement, needed):
            version = have.get(canonicalize_name(requirement.name), "none")
            assert version in requirement.specifier, f"{file}: {requirement} has {version}: run `make lock`"


def test_containers_run_the_versions_that_the_tests_run_with() -> None:
    tested = versions(BUILD_FILE)
    for name in [*CONTAINER_FILES, RUN_FILE]:
        have = versions(name)
        assert {package: tested.get(package) for package in have} == have, name


def test_cuda_is_in_a_file_of_its_own() -> None:
    """torch of the index is for NVIDIA's GPUs, and comes with gigabytes of their libraries."""
    for name in [*CONTAINER_FILES, RUN_FILE, BUILD_FILE]:
        own = "torch" if name in CONTAINER_FILES else "torch$"  # an image brings torchvision as well
        brought = [package for package in versions(name) if re.match(rf"({own}|nvidia-|cuda-|triton)", package)]
        assert not brought, name


def test_the_locks_are_for_the_python_that_installs_them() -> None:
    assert f"py{CONTAINER_PYTHON.replace('.', '')}" == IMAGE_PYTHON
    for buildspec in ("buildspec.yml", "buildspec-deploy.yml"):
        assert f'python: "{BUILD_PYTHON}"' in (PROJECT_ROOT / buildspec).read_text(encoding="utf-8")
    for name in CONTAINER_FILES:
        assert f"for Python {CONTAINER_PYTHON} on" in (PROJECT_ROOT / name).read_text(encoding="utf-8")


def test_the_packages_of_a_container_are_those_that_its_code_imports() -> None:
    """Without the standard library and what one container's code takes from another's folder."""
    for container, packages in CONTAINERS.items():
        named = {name.lower().replace("-", "_") for name in packages} | {"pil" if "pillow" in packages else ""}
        own = {path.name for path in PROJECT_ROOT.iterdir() if path.is_dir()}
        for path in (PROJECT_ROOT / container).glob("*.py"):
            foreign = {module.lower() for module in imported(path) - own - set(sys.stdlib_module_names)}
            assert foreign <= named | {"torch", "botocore"}, path


def imported(path: Path) -> set[str]:
    """The packages that a module imports at its top, where nothing is optional."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).partition(".")[0])
    return found


def test_jobs_install_with_digests() -> None:
    for module in ("processing.filter_cifar", "monitoring.report"):
        (script,) = [word for word in entrypoint(module) if "pip install" in word]
        assert "--require-hashes" in script
        assert len(script) <= 256  # of a word of ContainerEntrypoint (SageMaker API reference)


def test_the_build_of_torch_for_cpu_has_the_version_of_the_registrys() -> None:
    (line,) = requirements(CPU_FILE)
    assert line.split()[0] == f"torch=={versions(TORCH_FILE)['torch']}+cpu"
    assert re.fullmatch(r"\S+( --hash=sha256:[0-9a-f]{64})+", line)


@pytest.mark.parametrize("name", ["uv", "setuptools", "torch"])
def test_the_set_up_finds_what_it_needs_first_among_what_is_locked(name: str) -> None:
    assert PIN.fullmatch(re.sub(r"\s*\\\n\s*", " ", block(name)).strip())


def test_each_kind_of_environment_has_its_file() -> None:
    for kind, file in {"run": RUN_FILE, "build": BUILD_FILE, "browser": BROWSER_FILE}.items():
        assert Environment(PROJECT_ROOT / ".venv", kind, locked=False).file == PROJECT_ROOT / file
