"""What a tuning job tries next: grid, random or Bayesian search over the ranges of its hyperparameters.

Runs in the server process. In a Bayesian search the expected improvement of a Gaussian process over random candidates
decides (Snoek, Larochelle, Adams: Practical Bayesian Optimization, 2012). Scales are those of the SageMaker API
Reference, HyperParameterScalingType.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types_boto3_sagemaker.type_defs import ParameterRangesOutputTypeDef, ParameterRangesTypeDef

Tried = Mapping[str, str]
"""The hyperparameters of one training job, as texts."""
FIRST_AT_RANDOM = 3  # before there is anything to learn from
CANDIDATES = 500


@dataclass(frozen=True)
class NumberRange:
    """Whole or real numbers between two bounds, on a scale."""

    name: str
    low: float
    high: float
    whole: bool
    scale: str = "Linear"

    def at(self, place: float) -> str:
        """The value at a place from 0 to 1."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        value = self._unscaled(low + place * (high - low))
        value = min(max(value, self.low), self.high)
        return str(round(value)) if self.whole else repr(value)

    def places(self, value: str) -> list[float]:
        """One place from 0 to 1."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        return [(self._scaled(float(value)) - low) / (high - low) if high > low else 0.0]

    def _scaled(self, value: float) -> float:
        if self.scale == "Logarithmic":
            return math.log(value)
        return -math.log(1 - value) if self.scale == "ReverseLogarithmic" else value

    def _unscaled(self, value: float) -> float:
        if self.scale == "Logarithmic":
            return math.exp(value)
        return 1 - math.exp(-value) if self.scale == "ReverseLogarithmic" else value


@dataclass(frozen=True)
class ChoiceRange:
    """Named values without an order."""

    name: str
    values: tuple[str, ...]

    def at(self, place: float) -> str:
        """The value at a place from 0 to 1."""
        return self.values[min(int(place * len(self.values)), len(self.values) - 1)]

    def places(self, value: str) -> list[float]:
        """One place for each value, 1 for this one."""
        return [float(value == one) for one in self.values]


Range = NumberRange | ChoiceRange
"""The values of one hyperparameter, seen as the numbers from 0 to 1."""


def ranges_of(given: ParameterRangesOutputTypeDef | ParameterRangesTypeDef) -> list[Range]:
    """The ranges of a request; raises ValueError for bounds that are none, or that their scale cannot take."""
    integers, reals = given.get("IntegerParameterRanges", []), given.get("ContinuousParameterRanges", [])
    found: list[Range] = []
    for whole, one in [*((True, one) for one in integers), *((False, one) for one in reals)]:
        scale = one.get("ScalingType", "Auto")
        found.append(_number_range(one["Name"], one["MinValue"], one["MaxValue"], scale, whole=whole))
    found += [ChoiceRange(one["Name"], tuple(one["Values"])) for one in given.get("CategoricalParameterRanges", [])]
    names = [one.name for one in found]
    if len(set(names)) < len(names):
        raise ValueError(f"the hyperparameter {next(n for n in names if names.count(n) > 1)!r} has two ranges")
    return found


def _number_range(name: str, low: str, high: str, scale: str, *, whole: bool) -> NumberRange:
    try:
        least, most = float(low), float(high)
    except ValueError as error:
        raise ValueError(f"the range of {name!r} needs numbers, got {low!r} and {high!r}") from error
    if not least <= most:
        raise ValueError(f"the range of {name!r} needs MinValue at most MaxValue, got {low} and {high}")
    if scale == "Logarithmic" and least <= 0:
        raise ValueError(f"the range of {name!r} begins at {low}, and ScalingType Logarithmic needs values above 0")
    if scale == "ReverseLogarithmic" and (whole or not 0 <= least <= most < 1):
        raise ValueError(f"the range of {name!r}: ScalingType ReverseLogarithmic needs real numbers from 0 to below 1")
    return NumberRange(name, least, most, whole, "Linear" if scale == "Auto" else scale)


def grid_of(ranges: Sequence[Range]) -> Iterator[dict[str, str]]:
    """Every combination of named values."""
    choices = sorted((one.name, one.values) for one in ranges if isinstance(one, ChoiceRange))
    names = [name for name, _ in choices]
    return (dict(zip(names, chosen, strict=True)) for chosen in itertools.product(*(values for _, values in choices)))


def at_random(ranges: Sequence[Range], chance: random.Random) -> dict[str, str]:
    """A combination that knows nothing of the others."""
    return {one.name: one.at(chance.random()) for one in ranges}


def most_promising(
    ranges: Sequence[Range], tried: Sequence[tuple[Tried, float]], chance: random.Random, *, maximize: bool
) -> dict[str, str]:
    """The combination from which the most improvement is to be expected, given what others came to."""
    if len(tried) < FIRST_AT_RANDOM:
        return at_random(ranges, chance)
    import numpy as np

    from local_account.sagemaker.tuning.gaussian import expected_gain, gaussian_process

    values = np.array([value if maximize else -value for _, value in tried])
    spread = float(values.std()) or 1.0
    scores = (values - values.mean()) / spread
    candidates = [at_random(ranges, chance) for _ in range(CANDIDATES)]
    known, asked = (
        np.array([_places(ranges, one) for one in each]) for each in ([one for one, _ in tried], candidates)
    )
    return candidates[int(expected_gain(*gaussian_process(known, scores, asked), float(scores.max())).argmax())]


def _places(ranges: Sequence[Range], tried: Tried) -> list[float]:
    return [place for one in ranges for place in one.places(tried[one.name])]
