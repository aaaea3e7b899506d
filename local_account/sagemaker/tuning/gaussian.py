"""A Gaussian process over what was tried, and what a further try is expected to gain.

Runs in the server process. Source: Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, algorithm
2.1, with the kernel of Matérn (5/2). A test compares with the answers of scikit-learn, which would be 150 MB here.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

LENGTH = 0.2  # over which results stay alike, of the unit cube
NOISE = 0.001  # of one result, in variances


def gaussian_process(known: Floats, scores: Floats, asked: Floats) -> tuple[Floats, Floats]:
    """Answers the mean and the standard deviation of each asked place's score, given the scores of known places.

    Places are [n, dimensions] in the unit cube; scores have mean 0 and variance 1.
    """
    covariance = _matern(known, known) + NOISE * np.eye(len(known))
    across = _matern(asked, known)
    explained = np.linalg.solve(covariance, across.T)
    variance = 1 + NOISE - np.einsum("ij,ji->i", across, explained)
    return scores @ explained, np.sqrt(np.maximum(variance, 0.0))


def expected_gain(mean: Floats, deviation: Floats, best: float) -> Floats:
    """Answers by how much each place is expected to surpass the best score, counting what falls short as nothing."""
    gain = mean - best
    z = gain / np.maximum(deviation, 1e-9)
    below = np.array([math.erfc(-each / math.sqrt(2)) / 2 for each in z])
    expected: Floats = gain * below + deviation * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    return expected


def _matern(first: Floats, second: Floats) -> Floats:
    """How alike scores at two places are, by their distance."""
    away = math.sqrt(5) / LENGTH * np.linalg.norm(first[:, np.newaxis] - second[np.newaxis], axis=2)
    alike: Floats = (1 + away + away**2 / 3) * np.exp(-away)
    return alike
