"""Each locked file, resolved for platforms on which nothing of this repository was run. Asks the package registry."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scones.installation import Environment, index_options, pip_settings
from tests.places import ROOT

# onnxruntime and torch have files for macOS 14 on Apple's processors, and for no other macOS.
PLATFORMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin")


@pytest.mark.slow  # reads the registry's pages of two hundred packages
@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_locked_package_has_a_file_for_the_platform(platform: str, python: str, tmp_path: Path) -> None:
    options = ["--quiet", "--dry-run", "--no-deps", "--require-hashes", "--target", str(tmp_path)]
    settings = pip_settings(Environment(Path(sys.prefix), "build", locked=True))
    for name in ("run", "build", "torch"):
        done = subprocess.run(
            [
                *(sys.executable, "-m", "uv", "pip", "install", *options, *index_options(settings)),
                *("--python-platform", platform, "--python-version", python),
                *("--requirement", str(ROOT / "requirements" / f"{name}.txt")),
            ],
            env=os.environ | {"MACOSX_DEPLOYMENT_TARGET": "14.0"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
