"""What a Bayesian search of a tuning job tries next, against scikit-learn's Gaussian process."""

from __future__ import annotations

import random

import numpy as np
import pytest
from scipy import stats
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import Matern, WhiteKernel
from sklearn.model_selection import ParameterGrid

from local_account.sagemaker.tuning.gaussian import LENGTH, NOISE, expected_gain, gaussian_process
from local_account.sagemaker.tuning.search import grid_of, most_promising, ranges_of


@pytest.mark.parametrize(("known", "dimensions"), [(3, 1), (25, 4)])
def test_it_expects_what_scikit_learn_expects(known: int, dimensions: int) -> None:
    chance = np.random.default_rng(known)
    places, asked, scores = (
        chance.random((known, dimensions)),
        chance.random((50, dimensions)),
        chance.normal(size=known),
    )
    process = GaussianProcessRegressor(Matern(length_scale=LENGTH, nu=2.5) + WhiteKernel(NOISE), optimizer=None)
    mean, deviation = process.fit(places, scores).predict(asked, return_std=True)
    ours = gaussian_process(places, scores, asked)
    assert ours[0] == pytest.approx(mean, abs=1e-6)
    assert ours[1] == pytest.approx(deviation, abs=1e-6)
    z = (mean - scores.max()) / deviation
    expected = (mean - scores.max()) * stats.norm.cdf(z) + deviation * stats.norm.pdf(z)
    assert expected_gain(*ours, scores.max()) == pytest.approx(expected, abs=1e-6)


def test_the_same_place_tried_twice_is_no_trouble() -> None:
    ranges = ranges_of({"ContinuousParameterRanges": [{"Name": "rate", "MinValue": "0", "MaxValue": "1"}]})
    tried = [({"rate": "0.5"}, 1.0), ({"rate": "0.5"}, 1.0), ({"rate": "0.9"}, 0.0)]
    found = most_promising(ranges, tried, random.Random(1), maximize=True)
    assert 0 <= float(found["rate"]) < 0.9


def test_a_grid_is_every_combination_in_scikit_learns_order() -> None:
    choices = {"b": ["1", "2"], "a": ["x", "y", "z"]}
    named = [{"Name": name, "Values": values} for name, values in choices.items()]
    assert [*grid_of(ranges_of({"CategoricalParameterRanges": named}))] == [*ParameterGrid(choices)]
