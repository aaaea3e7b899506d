"""Where the tests find things."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The repository."""

SAMPLES = ROOT / "tests" / "samples"
"""One sample of each file contract."""
