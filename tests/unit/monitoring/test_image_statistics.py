"""Image statistics: known pictures have known numbers, and each kind of damage moves the one that is meant for it."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from imaging.statistics import STATISTICS, image_statistics
from processing.dataset.cifar_source import read_archive
from scones.traffic.corruptions import CORRUPTIONS


@pytest.fixture(scope="module")
def real_images(real_archive: Path) -> npt.NDArray[np.uint8]:
    """The 200 test images."""
    test = read_archive(real_archive, ["bicycle", "motorcycle"]).splits["test"]
    return test.pixels(test.rows)


def plain(colour: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    return np.broadcast_to(np.array(colour, np.uint8), (1, 32, 32, 3))


def test_a_plain_colour_has_only_its_light_and_its_colour() -> None:
    found = {name: values[0] for name, values in image_statistics(plain((200, 100, 50))).items()}
    assert tuple(found) == STATISTICS
    assert found["brightness"] == pytest.approx(0.299 * 200 + 0.587 * 100 + 0.114 * 50, rel=1e-5)
    assert (found["saturation"], found["warmth"]) == (150.0, 150.0)
    assert [found[name] for name in ("dark_pixels", "sharpness", "noise", "upright_edges")] == pytest.approx(
        [0.0] * 4, abs=1e-4
    )


def test_stripes_are_all_upright_or_not_at_all() -> None:
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = 255
    upright, lying = image_statistics(np.stack([stripes, stripes.transpose(1, 0, 2)]))["upright_edges"]
    assert (upright, lying) == (pytest.approx(1.0), pytest.approx(0.0))


def test_noise_is_measured_in_its_own_unit() -> None:
    chance = np.random.default_rng(0)
    grey = np.clip(chance.normal(128, 20, (50, 32, 32, 1)), 0, 255).astype(np.uint8).repeat(3, axis=3)
    assert image_statistics(grey)["noise"].mean() == pytest.approx(20, rel=0.05)


@pytest.mark.parametrize(
    ("kind", "name", "factor"),
    [
        ("darkened", "brightness", 0.5),
        ("blurred", "sharpness", 0.5),
        ("noisy", "noise", 1.5),
        ("rotated", "dark_pixels", 1.5),
    ],
)
def test_damage_shows_where_it_should(real_images: npt.NDArray[np.uint8], kind: str, name: str, factor: float) -> None:
    chooser = random.Random(0)
    damaged = np.stack([np.asarray(CORRUPTIONS[kind](Image.fromarray(image), chooser)) for image in real_images])
    before, after = image_statistics(real_images)[name].mean(), image_statistics(damaged)[name].mean()
    assert (after < before * factor * 1.1) if factor < 1 else (after > before * factor)
