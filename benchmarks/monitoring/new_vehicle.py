"""Hours until a new kind of vehicle is noticed: ``python -m benchmarks.monitoring.new_vehicle [--model DIR]``.

Runs on a laptop. Reads the archive and a folder with a training job's output (without one it trains the recipe
`pretrained`, frozen). Healthy traffic is drawn from the real test images; from some hour on a share of it shows
something that the model never saw: drawn lorries, or photographs of flowers. Of each hour 200 images are looked at, as
the monitoring job does. The baseline is that of the validation images. Each kind is watched with the distance to the
training images and without.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.monitoring.trained import CLASSES, model_options, trained  # noqa: E402  # the path above comes first
from imaging.dataset import load_split  # noqa: E402  # likewise
from imaging.decode import decode_image  # noqa: E402  # likewise
from imaging.statistics import image_statistics  # noqa: E402  # likewise
from monitoring.drift import channels  # noqa: E402  # likewise
from monitoring.drift.channels import Predictions, Reference  # noqa: E402  # likewise
from monitoring.drift.findings import HourlyTraffic, look  # noqa: E402  # likewise
from monitoring.store.image_statistics import SAMPLE  # noqa: E402  # likewise
from monitoring.store.novelty import NOVELTY, NoveltyModel  # noqa: E402  # likewise
from scones.traffic.corruptions import new_vehicle  # noqa: E402  # likewise
from serving.inference import MODEL_FILE, Model, model_fn, predict_fn  # noqa: E402  # likewise

NEW_IMAGES = 100
THRESHOLD = 0.93
BEFORE_HOURS, AFTER_HOURS = 6, 24
Pixels = npt.NDArray[np.uint8]


def main() -> None:
    """Print a line for each kind."""
    parser = model_options(__doc__)
    parser.add_argument("--photographs", type=Path, default=ROOT.parent / "shared" / "photos", help="of something else")
    parser.add_argument("--share", type=float, default=0.1, help="of the traffic (default: 0.1)")
    parser.add_argument("--per-hour", type=int, default=6000, help="requests (default: 6,000)")
    parser.add_argument("--streams", type=int, default=9, help="of each kind (default: 9)")
    arguments = parser.parse_args()
    with trained(arguments) as folders:
        print("\n".join(_lines(folders.model, folders.dataset, arguments)))


def _lines(folder: Path, dataset: Path, arguments: argparse.Namespace) -> list[str]:
    model, novelty = model_fn(str(folder)), NoveltyModel.of(folder / MODEL_FILE)
    if novelty is None:
        sys.exit(f"{folder} holds a model that does not say how far an image is: train it again")
    reference = channels.reference(_seen(load_split(dataset, "validation")[0], model, novelty), CLASSES)
    healthy = _seen(load_split(dataset, "test")[0], model, novelty)
    lines = []
    for kind, images in _new_kinds(arguments.photographs).items():
        pool = _seen(images, model, novelty)
        delays: dict[str, list[int]] = {"with": [], "without": []}
        for seed in range(arguments.streams):
            traffic = _stream(healthy, pool, np.random.default_rng(seed), arguments)
            delays["with"].append(_delay(traffic, reference))
            delays["without"].append(_delay(traffic, _without(reference)))
        found = {name: f"{statistics.median(hours):g} ({max(hours)})" for name, hours in delays.items()}
        lines.append(
            f"{kind}, {arguments.share:.0%} of {arguments.per_hour:,} an hour: median (longest) hours {found['with']}, "
            f"without the distance {found['without']}; over {AFTER_HOURS}: none"
        )
    return lines


def _new_kinds(photographs: Path) -> dict[str, Pixels]:
    chooser = random.Random(0)  # noqa: S311 - pictures, not secrets
    drawn = np.stack([np.asarray(new_vehicle(chooser)) for _ in range(NEW_IMAGES)])
    files = sorted(path for path in photographs.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    real = [decode_image(path.read_bytes()) for path in files[:: max(1, len(files) // NEW_IMAGES)]]
    return {"drawn lorries": drawn} | ({"flowers": np.stack(real)} if real else {})


def _seen(pixels: Pixels, model: Model, novelty: NoveltyModel) -> Predictions:
    probabilities = np.concatenate([predict_fn(pixels[at : at + 50], model) for at in range(0, len(pixels), 50)])
    confidence = probabilities.max(axis=1).astype(np.float64)
    return Predictions(
        np.zeros(len(pixels), np.int64),
        confidence,
        probabilities.argmax(axis=1),
        confidence >= THRESHOLD,
        {**image_statistics(pixels), NOVELTY: novelty(pixels)},
    )


def _stream(
    healthy: Predictions, new: Predictions, chance: np.random.Generator, arguments: argparse.Namespace
) -> HourlyTraffic:
    """Healthy hours, then hours with the new kind; of each, SAMPLE images are looked at."""
    hours, rate = BEFORE_HOURS + AFTER_HOURS, arguments.per_hour
    hour = np.repeat(np.arange(hours), rate)
    is_new = (chance.random(len(hour)) < arguments.share) & (hour >= BEFORE_HOURS)
    rows, new_rows = (chance.integers(0, len(pool), len(hour)) for pool in (healthy, new))
    looked = np.tile(np.arange(rate) < SAMPLE, hours)

    def mixed(mine: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.where(is_new, other[new_rows], mine[rows])

    def column(values: Mapping[str, npt.NDArray[np.float64]], others: Mapping[str, npt.NDArray[np.float64]], name: str):  # type: ignore[no-untyped-def]  # arrays
        return np.where(looked, mixed(values[name], others[name]), np.nan)

    traffic = Predictions(
        hour,
        mixed(healthy.confidence, new.confidence),
        np.where(is_new, new.predicted[new_rows], healthy.predicted[rows]),
        np.where(is_new, new.passes[new_rows], healthy.passes[rows]),
        {name: column(healthy.statistics, new.statistics, name) for name in healthy.statistics},
    )
    counts = np.full(hours, rate)
    return HourlyTraffic(np.arange(hours), traffic, counts, np.zeros(hours, np.int64), counts)


def _without(reference: Reference) -> Reference:
    return dataclasses.replace(
        reference,
        statistics={name: values for name, values in reference.statistics.items() if name != NOVELTY},
        bounds={name: bounds for name, bounds in reference.bounds.items() if name != NOVELTY},
    )


def _delay(traffic: HourlyTraffic, reference: Reference) -> int:
    """Hours until the first alarm of any family after the change."""
    alarms = [hour for finding in look(traffic, reference) for hour in finding.alarms if hour >= BEFORE_HOURS]
    return min(alarms, default=BEFORE_HOURS + AFTER_HOURS) - BEFORE_HOURS + 1


if __name__ == "__main__":
    main()
