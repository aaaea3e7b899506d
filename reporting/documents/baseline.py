"""``baseline.json``: healthy predictions of a model, which its traffic is held against.

The baseline job writes it beside Model Monitor's files, the monitoring job reads it. Shares lie between 0 and 1.
"""

from __future__ import annotations

import msgspec

from reporting.documents.evaluation import Bin, Interval

BASELINE_FILE = "baseline.json"
VERSION = 1


class BaselineRecords(msgspec.Struct, frozen=True, kw_only=True):
    """Columns of one length, an entry for each prediction.

    ``predicted`` are positions in the classes; ``statistics`` of the images by name, null where one is not known.
    """

    confidence: list[float]
    predicted: list[int]
    statistics: dict[str, list[float | None]]


class MeasuredShare(msgspec.Struct, frozen=True):
    """A share and its 95 % interval."""

    value: float
    interval: Interval


class Calibration(msgspec.Struct, frozen=True):
    """Expected calibration error, and the bins that it comes from."""

    error: float
    bins: list[Bin]


class EstimateError(msgspec.Struct, frozen=True, kw_only=True):
    """How well this model's mean confidence says its accuracy, on validation images made worse in one way.

    - ``corruption``: ``none`` for the images as they are; ``severity`` from 1, 0 for none; ``images``: how many.
    - ``estimated``: the mean confidence; ``accuracy``: what was right.
    - ``shifts``: by how much the mean rank among the healthy images changes, of the confidence and of each statistic;
      empty in baselines of before 2026-12-01, which tell no estimate.
    - ``deviation``: standard error of how much worse the estimate is than of the images as they are, 0 for these.
    """

    corruption: str
    severity: int
    images: int
    estimated: float
    accuracy: float
    shifts: dict[str, float] = msgspec.field(default_factory=dict)
    deviation: float = 0.0


class BaselineDocument(msgspec.Struct, frozen=True, kw_only=True):
    """``baseline.json``.

    - ``version``: of this layout, 1.
    - ``origin``: ``validation split``, ``test split`` or ``traffic from ... to ...``.
    - ``count``: predictions that the figures are of; ``records`` holds at most 5,000 of them.
    - ``image_size``: pixels of a side of the images that ``statistics`` are of.
    - ``threshold``: what passed when it was made; ``class_shares``: predictions by class.
    - ``accuracy``, ``calibration``: missing where the baseline was made of traffic, whose truth nobody knew.
    - ``estimate_errors``: how wrong an accuracy is that is estimated from confidence; missing where the model was not
      at hand, and in baselines that are older.
    """

    version: int
    classes: list[str]
    origin: str
    count: int
    threshold: float
    mean_confidence: float
    share_below_threshold: float
    class_shares: dict[str, float]
    records: BaselineRecords
    accuracy: MeasuredShare | msgspec.UnsetType = msgspec.UNSET
    calibration: Calibration | msgspec.UnsetType = msgspec.UNSET
    estimate_errors: list[EstimateError] | msgspec.UnsetType = msgspec.UNSET
    image_size: int = 32
