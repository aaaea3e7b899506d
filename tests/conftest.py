"""Fixtures of every test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.realdata import cifar_archive


@pytest.fixture(scope="session")
def real_archive() -> Path:
    """The real CIFAR-100 archive; the test is skipped, with the reason, where there is none."""
    return cifar_archive()


# The files that take longest, which begin first, so that no process is left with one of them alone at the end.
LONGEST = ("test_loop", "test_monitoring_cycle", "test_verbs_workflow", "test_deployment_faults", "test_fault_matrix")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files; pytest-xdist keeps that order (`--no-loadscope-reorder`, in pyproject.toml)."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))
