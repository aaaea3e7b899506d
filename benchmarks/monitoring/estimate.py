"""Does an estimated accuracy cover the truth, and is it withheld where it would not:
``python -m benchmarks.monitoring.estimate [--models DIR,DIR --dataset DIR]``.

Runs on a laptop. Reads folders with a training job's output (without any it trains two: the recipes `scratch`, and
`pretrained` frozen) and the dataset that they were trained on. Builds each model's baseline with the baseline job's own
functions, from its validation images; windows are drawn from the test images, which neither training nor baseline saw,
and are made worse in ways that are none of the baseline job's (`benchmarks.monitoring.other_corruptions`). What a
report would say of a window is what the monitoring job's functions say.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.monitoring.other_corruptions import OTHER_KINDS  # noqa: E402  # likewise
from benchmarks.monitoring.trained import FROZEN, archive_options, dataset_of, train  # noqa: E402  # the path above
from imaging.dataset import load_split  # noqa: E402  # likewise
from imaging.statistics import image_statistics  # noqa: E402  # likewise
from monitoring.baseline import describe  # noqa: E402  # likewise
from monitoring.captures.times import HOUR_US, moment  # noqa: E402  # likewise
from monitoring.drift import channels  # noqa: E402  # likewise
from monitoring.drift.channels import Predictions  # noqa: E402  # likewise
from monitoring.drift.findings import HourlyTraffic  # noqa: E402  # likewise
from monitoring.drift.watch import Period, judge  # noqa: E402  # likewise
from monitoring.quality.estimate import ExpectedAccuracy, expected_accuracy  # noqa: E402  # likewise
from monitoring.quality.measured_errors import Validation, measure_errors  # noqa: E402  # likewise
from monitoring.store.novelty import NOVELTY, Answered, ask  # noqa: E402  # likewise
from monitoring.store.window_table import Window  # noqa: E402  # likewise
from reporting.documents.baseline import BaselineDocument  # noqa: E402  # likewise
from serving.inference import Model, model_fn  # noqa: E402  # likewise

CLASSES = ("bicycle", "motorcycle")
THRESHOLD = 0.93
HEALTHY = "healthy"
RATES, LENGTHS = (20, 60, 200), (2, 6, 24)  # requests an hour, hours
SHARES = (0.1, 0.3, 0.6)  # of a partly damaged window's requests
Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """The test images in one state, as one model sees them."""

    labels: npt.NDArray[np.int64]
    probabilities: Floats
    statistics: Mapping[str, Floats]


@dataclass(frozen=True)
class JudgedModel:
    """A model's baseline, and the states of the test images."""

    name: str
    document: BaselineDocument
    states: Mapping[str, State]


@dataclass(frozen=True)
class SimulatedWindow:
    """What would be said of a window, and the truth."""

    model: str
    kind: str
    share: float
    """Of the requests that are damaged."""
    expected: ExpectedAccuracy
    accuracy: float


def main() -> None:
    """Print the figures."""
    parser = archive_options(__doc__)
    parser.add_argument("--models", default="", help="folders of trained models, a,b (default: train two)")
    parser.add_argument(
        "--windows", type=int, default=200, help="healthy; as many damaged, and as many partly so (default: 200)"
    )
    parser.add_argument("--list", action="store_true", help="a line for each kind of damage as well")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scones-estimate-") as name:
        dataset, folders = _models(arguments, Path(name))
        judged = [_judged(folder, dataset) for folder in folders]
    damaged = [kind for kind in judged[0].states if kind != HEALTHY]
    windows = [_window(judged[seed % len(judged)], HEALTHY, seed) for seed in range(arguments.windows)]
    for number, shares in enumerate(((1.0,), SHARES), 1):
        for at in range(arguments.windows):
            kind, share = damaged[at // len(judged) % len(damaged)], shares[at % len(shares)]
            windows.append(_window(judged[at % len(judged)], kind, number * arguments.windows + at, share))
    print("\n".join(_summary(windows)))
    if arguments.list:
        print("\n".join(_lines(windows)))


def _models(arguments: argparse.Namespace, scratch: Path) -> tuple[Path, list[Path]]:
    dataset = dataset_of(arguments, scratch)
    if arguments.models:
        return dataset, [Path(each) for each in arguments.models.split(",")]
    recipes = {"scratch": ("scratch",), "frozen": FROZEN}
    return dataset, [train(dataset, scratch / name, *recipe) for name, recipe in recipes.items()]


def _judged(folder: Path, dataset: Path) -> JudgedModel:
    model = model_fn(str(folder))
    pixels, labels = load_split(dataset, "validation")
    answered = ask(model, pixels)
    seen = _predictions(_state(labels, pixels, answered), np.zeros(len(labels), np.int64))
    document = msgspec.structs.replace(
        describe(seen, CLASSES, "validation split", THRESHOLD),
        estimate_errors=measure_errors(Validation(pixels, labels, answered), functools.partial(ask, model)),
    )
    return JudgedModel(folder.name, document, _states(model, dataset))


def _states(model: Model, dataset: Path) -> dict[str, State]:
    images, labels = load_split(dataset, "test")
    chance = np.random.default_rng(0)
    states = {HEALTHY: images}
    for kind, (damage, strengths) in OTHER_KINDS.items():
        for severity, strength in enumerate(strengths, 1):
            worse = [np.asarray(damage(Image.fromarray(each), strength, chance), np.uint8) for each in images]
            states[f"{kind} {severity}"] = np.stack(worse)
    return {kind: _state(labels, each, ask(model, each)) for kind, each in states.items()}


def _state(labels: npt.NDArray[np.int64], pixels: Pixels, answered: Answered) -> State:
    further = {} if answered.novelty is None else {NOVELTY: answered.novelty}
    return State(labels, answered.probabilities, {**image_statistics(pixels), **further})


def _predictions(state: State, hour: npt.NDArray[np.int64]) -> Predictions:
    confidence = state.probabilities.max(axis=1)
    predicted = state.probabilities.argmax(axis=1)
    return Predictions(hour, confidence, predicted, confidence >= THRESHOLD, state.statistics)


def _mixed(healthy: State, worse: State, damaged: npt.NDArray[np.bool_], rows: npt.NDArray[np.int64]) -> State:
    """Images of two states, a row each."""

    def column(of_healthy: Floats, of_worse: Floats) -> Floats:
        at = damaged if of_healthy.ndim == 1 else damaged[:, None]
        return np.where(at, of_worse[rows], of_healthy[rows])

    statistics = {name: column(values, worse.statistics[name]) for name, values in healthy.statistics.items()}
    return State(healthy.labels[rows], column(healthy.probabilities, worse.probabilities), statistics)


def _window(model: JudgedModel, kind: str, seed: int, share: float = 1.0) -> SimulatedWindow:
    """The first hours of a version, a share of whose requests is in one state and the others healthy."""
    chance = np.random.default_rng(seed)
    rate, length = int(chance.choice(RATES)), int(chance.choice(LENGTHS))
    count = rate * length
    rows = chance.integers(0, len(model.states[HEALTHY].labels), count)
    damaged = chance.permutation(count) < round(share * count)
    state = _mixed(model.states[HEALTHY], model.states[kind], damaged, rows)
    seen = _predictions(state, np.repeat(np.arange(length), rate))
    counts = np.full(length, rate)
    traffic = HourlyTraffic(np.arange(length), seen, counts, np.zeros(length, np.int64), counts)
    whole = Window(moment(0), moment(length * HOUR_US))
    period = Period(whole, since_deployment=True, learned_until=datetime(1970, 1, 8, tzinfo=UTC))
    known = channels.reference(_recorded(model.document), CLASSES)
    watched = judge(traffic, known, (0, length - 1), period, model.document)
    expected = expected_accuracy(state.probabilities, watched, model.document)
    right = state.probabilities.argmax(axis=1) == state.labels
    return SimulatedWindow(model.name, kind, share, expected, float(right.mean()))


def _recorded(document: BaselineDocument) -> Predictions:
    confidence = np.array(document.records.confidence)
    return Predictions(
        np.zeros(len(confidence), np.int64),
        confidence,
        np.array(document.records.predicted),
        confidence >= THRESHOLD,
        {name: np.array(values, np.float64) for name, values in document.records.statistics.items()},
    )


def _summary(windows: Sequence[SimulatedWindow]) -> list[str]:
    healthy = [each for each in windows if each.kind == HEALTHY]
    damaged = [each for each in windows if each.kind != HEALTHY and each.share == 1.0]
    partly = [each for each in windows if each.share < 1.0]
    lines = []
    for name, some in (("healthy", healthy), ("damaged", damaged), ("partly damaged", partly)):
        shown = [each for each in some if each.expected.accuracy is not None]
        covered = sum(_covers(each) for each in shown)
        lines.append(f"{name}: shown in {len(shown)} of {len(some)} windows, the truth covered in {covered} of these")
    far = [each for each in windows if _too_high(each) > 0.1]
    lines.append(f"shown though the truth was more than 10 points below: {len(far)}")
    worst = max(windows, key=_too_high)
    lines.append(f"largest overestimate that was shown: {_too_high(worst):.3f} ({worst.model}, {worst.kind})")
    return lines


def _lines(windows: Sequence[SimulatedWindow]) -> list[str]:
    lines = []
    for model, kind, part in dict.fromkeys((each.model, each.kind, each.share) for each in windows):
        some = [each for each in windows if (each.model, each.kind, each.share) == (model, kind, part)]
        shown = [each for each in some if each.expected.accuracy is not None]
        reasons = {each.expected.because for each in some if each.expected.because}
        truth = np.mean([each.accuracy for each in some])
        said = ", ".join(f"{e.expected.accuracy.value:.3f} {e.expected.accuracy.interval}" for e in shown[:1])  # type: ignore[union-attr]  # shown
        state = f"  {model} {kind} {part:.0%}: accuracy {truth:.3f}"
        lines.append(f"{state}, shown {len(shown)}/{len(some)} {said} {sorted(reasons)[:2]}")
    return lines


def _covers(window: SimulatedWindow) -> bool:
    found = window.expected.accuracy
    return found is not None and found.interval[0] <= window.accuracy <= found.interval[1]


def _too_high(window: SimulatedWindow) -> float:
    return window.expected.accuracy.value - window.accuracy if window.expected.accuracy else -1.0


if __name__ == "__main__":
    main()
