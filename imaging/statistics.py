"""Eight numbers that say how a picture looks, whatever it shows: what a lens, a lamp or a wire may change.

Runs in containers: over the reference images of a model and over captured requests, both as the model sees them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

STATISTICS = ("brightness", "contrast", "saturation", "warmth", "dark_pixels", "sharpness", "noise", "upright_edges")
# ITU-R BT.601, as Pillow's conversion to grey.
_LUMA = np.array([0.299, 0.587, 0.114])
_DARK = 32.0
MOST_PIXELS = 8_000_000  # at once: as floats, a dozen times over, 0.4 GB


def image_statistics(pixels: npt.NDArray[np.uint8]) -> dict[str, Floats]:
    """Statistics of each image, `[N]` each, by name; ``pixels`` uint8 [N, H, W, 3], RGB.

    - ``brightness``, ``contrast``: mean and standard deviation of the luma, 0 to 255.
    - ``saturation``: mean difference of the strongest and the weakest channel, 0 to 255.
    - ``warmth``: mean of red less blue, -255 to 255.
    - ``dark_pixels``: share of the pixels with a luma below 32.
    - ``sharpness``: mean size of the Laplacian of the luma.
    - ``noise``: standard deviation of the noise (Immerkaer, Computer Vision and Image Understanding, 1996).
    - ``upright_edges``: share of the squared gradient that is horizontal, as upright edges have it.
    """
    most = max(1, MOST_PIXELS // max(1, pixels.shape[1] * pixels.shape[2]))
    parts = [_statistics(pixels[at : at + most]) for at in range(0, max(1, len(pixels)), most)]
    return {name: np.concatenate([part[name] for part in parts]) for name in STATISTICS}


def _statistics(pixels: npt.NDArray[np.uint8]) -> dict[str, Floats]:
    colours = pixels.astype(np.float32)
    luma = (colours @ _LUMA.astype(np.float32)).astype(np.float32)
    across, down = np.diff(luma, axis=2)[:, :-1], np.diff(luma, axis=1)[:, :, :-1]
    across_energy, down_energy = (across**2).mean(axis=(1, 2)), (down**2).mean(axis=(1, 2))
    laplacian = (
        luma[:, :-2, 1:-1] + luma[:, 2:, 1:-1] + luma[:, 1:-1, :-2] + luma[:, 1:-1, 2:] - 4.0 * luma[:, 1:-1, 1:-1]
    )
    found = {
        "brightness": luma.mean(axis=(1, 2)),
        "contrast": luma.std(axis=(1, 2)),
        "saturation": (colours.max(axis=3) - colours.min(axis=3)).mean(axis=(1, 2)),
        "warmth": (colours[..., 0] - colours[..., 2]).mean(axis=(1, 2)),
        "dark_pixels": (luma < _DARK).mean(axis=(1, 2)),
        "sharpness": np.abs(laplacian).mean(axis=(1, 2)),
        "noise": np.abs(_second_differences(luma)).mean(axis=(1, 2)) * np.sqrt(np.pi / 2.0) / 6.0,
        "upright_edges": across_energy / np.maximum(across_energy + down_energy, np.finfo(np.float32).tiny),
    }
    return {name: values.astype(np.float64) for name, values in found.items()}


def _second_differences(luma: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The second difference down of the second difference across, which edges hardly leave a trace in."""
    return np.diff(np.diff(luma, n=2, axis=1), n=2, axis=2)
