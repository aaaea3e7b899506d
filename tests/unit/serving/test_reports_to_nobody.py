"""ONNX Runtime reports every process to its maker unless it is told before it is loaded: here it always is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

WATCHED = """
import os, sys
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "onnxruntime":
            print("loaded with", os.environ.get("ORT_DISABLE_TELEMETRY"))
sys.meta_path.insert(0, Watch())
{}
"""
OPENS = """
from pathlib import Path
import serving.inference, monitoring.store.novelty
try:
    serving.inference.open_session(Path("none"))
except serving.inference.ModelError:
    pass
"""


@pytest.mark.parametrize("code", [OPENS, "import training.train"])
def test_the_runtime_is_told_before_it_is_loaded(code: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", WATCHED.format(code)], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split("\n")[0] == "loaded with 1"
