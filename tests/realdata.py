"""Find the real images for the tests: CIFAR-100, photographs. Where there are none, a test is skipped and says why."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.places import ROOT

ARCHIVE = "cifar-100-python.tar.gz"


def cifar_archive() -> Path:
    """The archive named by SCONES_DATA (file or folder), or in data/, or in ../shared/cifar100/."""
    places = [ROOT / "data", ROOT.parent / "shared" / "cifar100"]
    if os.environ.get("SCONES_DATA"):
        places.insert(0, Path(os.environ["SCONES_DATA"]))
    for place in places:
        for path in (place, place / ARCHIVE):
            if path.is_file():
                return path
    pytest.skip(f"no real images: {ARCHIVE} is in none of {', '.join(map(str, places))}; set SCONES_DATA")


def photographs() -> Path:
    """A folder of photographs by split and class: SCONES_PHOTOS, or ../shared/photos/flowers."""
    place = Path(os.environ.get("SCONES_PHOTOS") or ROOT.parent / "shared" / "photos" / "flowers")
    return place if place.is_dir() else pytest.skip(f"no photographs: {place} is no folder; set SCONES_PHOTOS")
