"""Fixtures of every test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.realdata import cifar_archive


@pytest.fixture(scope="session")
def real_archive() -> Path:
    """The real CIFAR-100 archive; the test is skipped, with the reason, where there is none."""
    return cifar_archive()
