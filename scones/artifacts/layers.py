"""The Lambda layer that holds Pillow, with which images beyond the endpoint's limit are scaled down.

Runs on a laptop or in CodeBuild. Public layers with Pillow belong to strangers, so the layer is our own: Pillow's
wheel for Lambda's Python, which pip downloads once into ``build/layers`` and checks against the digest in
``lambdas/image_layer.txt``; or, for an account that runs functions with this machine's Python, the installed Pillow.
"""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from scones.artifacts.build import Artifact, ArtifactError, packed
from scones.stage.settings import PROJECT_ROOT, WORKING_FOLDER

REQUIREMENTS = PROJECT_ROOT / "lambdas" / "image_layer.txt"
DOWNLOADS = WORKING_FOLDER / "build" / "layers"
INSTALLED = "installed"
# Lambda's python3.12 runs on Amazon Linux 2023 with glibc 2.34.
PLATFORM = "manylinux_2_28_x86_64"
_FOLDERS = ("PIL", "pillow.libs")


def image_layer(python: str, downloads: Path = DOWNLOADS) -> Artifact:
    """The layer's zip for ``python``: Lambda's runtime, such as python3.12, or ``installed``."""
    files = _installed() if python == INSTALLED else _unpacked(_wheel(python, downloads))
    return packed(f"layers/pillow-{python}-{{}}.zip", {f"python/{name}": data for name, data in files.items()})


def _installed() -> dict[str, bytes]:
    distribution = importlib.metadata.distribution("pillow")
    wanted = [file for file in distribution.files or [] if file.parts[0] in _FOLDERS and file.suffix != ".pyc"]
    return {file.as_posix(): Path(str(distribution.locate_file(file))).read_bytes() for file in wanted}


def _unpacked(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        wanted = [name for name in archive.namelist() if PurePosixPath(name).parts[0] in _FOLDERS]
        return {name: archive.read(name) for name in wanted}


def _wheel(python: str, downloads: Path) -> Path:
    """The wheel that ``lambdas/image_layer.txt`` names, downloaded if it is not there yet."""
    version = python.removeprefix("python")
    tag = f"cp{version.replace('.', '')}"
    release = REQUIREMENTS.read_text(encoding="utf-8").split("pillow==")[1].split()[0]
    known = sorted(downloads.glob(f"pillow-{release}-{tag}-*.whl"))
    if known:
        return known[0]
    downloads.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=downloads) as folder:
        options = ["--require-hashes", "--no-deps", "--only-binary=:all:", "--platform", PLATFORM]
        options += ["--python-version", version, "--implementation", "cp", "--dest", folder, "-r", str(REQUIREMENTS)]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", *options]
        finished = subprocess.run(command, capture_output=True, text=True, check=False)
        found = next(Path(folder).glob("*.whl"), None)
        if finished.returncode or found is None:
            reason = " ".join((finished.stderr.strip() or "no output").splitlines()[-1:])
            raise ArtifactError(f"pip could not download Pillow {release} for {python}, for the image layer: {reason}")
        return found.rename(downloads / found.name)
