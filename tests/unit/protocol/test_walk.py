"""Thousands of generated requests to every operation that the account answers: no fault, no foreign error.

Among them every member that takes an ARN, with ARNs of other accounts and regions: nothing of ours is touched.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(("seed", "number"), [(1, 2), pytest.param(2, 25, marks=pytest.mark.slow)])
def test_no_request_is_a_fault_of_the_account(seed: int, number: int) -> None:
    command = [sys.executable, "-m", "tests.unit.protocol.walks", str(seed), str(number)]
    walked = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert walked.returncode == 0, walked.stderr[-3000:]
    *wrong, end = (json.loads(line) for line in walked.stdout.splitlines())
    assert wrong == []
    assert end["requests"] > 2000 + 500 * number  # it walked
