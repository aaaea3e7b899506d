"""False alarms in a thousand healthy months, all channels together: ``python -m benchmarks.monitoring.months``.

Runs on a laptop. Reads the archive and a folder with a training job's output (without one it trains the recipe
`pretrained`, frozen). Healthy traffic is drawn from the 300 images that the model never learned from, 200 an hour
with a daily rhythm of ten points in the class mix; each month has a baseline of its own, a sample of as many images as
the baseline job has (100), and a week that its rhythm is learned from. Every channel of the monitoring job is watched:
the images' with the distance to the training images, the predictions' with the class shares.

What a record of the pool contributes is computed once a month for each hour of the day, by the monitoring job's own
functions; an hour is then the sum over how often each was drawn. That is the same arithmetic in another order.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.model.accuracy import filtered, run  # noqa: E402  # the path above comes first
from imaging.dataset import load_split  # noqa: E402  # likewise
from imaging.statistics import image_statistics  # noqa: E402  # likewise
from monitoring.drift import channels  # noqa: E402  # likewise
from monitoring.drift.channels import HOURS_OF_DAY, Predictions  # noqa: E402  # likewise
from monitoring.drift.detector import HOURS_PER_MONTH, threshold, watch  # noqa: E402  # likewise
from monitoring.drift.findings import RATE_PER_MONTH, SHARES  # noqa: E402  # likewise
from monitoring.store.image_statistics import SAMPLE  # noqa: E402  # likewise
from monitoring.store.novelty import NOVELTY, ask  # noqa: E402  # likewise
from serving.inference import model_fn  # noqa: E402  # likewise

CLASSES = ("bicycle", "motorcycle")
THRESHOLD = 0.93
RHYTHM_HOURS = 7 * HOURS_OF_DAY
SWING = 0.1
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="folder with model.onnx (default: train one)")
    parser.add_argument("--dataset", type=Path, help="the dataset folder that it was trained on")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "cifar100", help="folder of the archive")
    parser.add_argument("--classes", default=",".join(CLASSES), help=argparse.SUPPRESS)
    parser.add_argument("--months", type=int, default=1000, help="of healthy traffic (default: 1,000)")
    parser.add_argument("--images", type=int, default=100, help="of each month's baseline (default: 100)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=480.0, help="then no more months begin (default: 480)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scones-months-") as name:
        dataset = arguments.dataset or filtered(0, arguments, Path(name))
        folder = arguments.model or Path(name) / "model"
        if arguments.model is None:
            words = ("--recipe", "pretrained", "--pretrained-mode", "frozen")
            run("training/train.py", "--dataset", dataset, "--model-dir", folder, *words)
        pool, labels = load(folder, dataset)
    begun = time.monotonic()
    kept = (pool, labels, arguments.images)
    found = []
    with multiprocessing.get_context("fork").Pool(arguments.processes, _keep, kept) as workers:
        for families in workers.imap(month, range(arguments.months), chunksize=5):
            found.append(families)
            if time.monotonic() - begun > arguments.seconds:
                break
    print(text(found, time.monotonic() - begun))


def load(folder: Path, dataset: Path) -> tuple[Predictions, Integers]:
    """All validation and test images as the model sees them, and their labels."""
    model = model_fn(str(folder))
    splits = [load_split(dataset, split) for split in ("validation", "test")]
    pixels, labels = np.concatenate([p for p, _ in splits]), np.concatenate([y for _, y in splits])
    answered = ask(model, pixels)
    if answered.novelty is None:
        sys.exit(f"{folder} holds a model that does not say how far an image is: train it again")
    confidence = answered.probabilities.max(axis=1)
    return Predictions(
        np.zeros(len(labels), np.int64),
        confidence,
        answered.probabilities.argmax(axis=1),
        confidence >= THRESHOLD,
        {**image_statistics(pixels), NOVELTY: answered.novelty},
    ), labels


_KEPT: list[tuple[Predictions, Integers, int]] = []


def _keep(pool: Predictions, labels: Integers, images: int) -> None:
    _KEPT[:] = [(pool, labels, images)]


def month(seed: int) -> list[str]:
    """The families that alarmed in a healthy month."""
    ((pool, labels, images),) = _KEPT
    chance = np.random.default_rng([7, seed])
    rhythm = _as_drawn(pool, _drawn(chance, labels, RHYTHM_HOURS))
    known = channels.reference(pool.at(chance.integers(0, len(labels), images)), CLASSES, rhythm=rhythm)
    drawn = _drawn(chance, labels, HOURS_PER_MONTH)
    growths = {name: _summed(table, drawn) for name, table in _tables(pool, known).items()}
    of_images = {name: growths.pop(name) for name in sorted(known.statistics)}
    families = {"predictions": growths, "images": of_images}
    return [
        family for family, rows in families.items() if watch(rows, threshold(RATE_PER_MONTH * SHARES[family])).alarms
    ]


def _drawn(chance: np.random.Generator, labels: Integers, hours: int) -> Integers:
    """How often each record of the pool is asked about in each hour, int64 [hours, records]."""
    share = 0.5 + SWING * np.sin(2.0 * np.pi * np.arange(hours) / HOURS_OF_DAY)
    wanted = np.where(labels[None, :] == 1, share[:, None], 1.0 - share[:, None])
    counts: Integers = chance.multinomial(SAMPLE, wanted / wanted.sum(axis=1, keepdims=True))
    return counts


def _as_drawn(pool: Predictions, drawn: Integers) -> Predictions:
    hour, row = (np.repeat(each, drawn[drawn > 0]) for each in np.nonzero(drawn))
    found = pool.at(row)
    return Predictions(hour, found.confidence, found.predicted, found.passes, found.statistics)


def _tables(pool: Predictions, known: channels.Reference) -> dict[str, Floats]:
    """What each record contributes in each hour of the day, float64 [24, records, detectors], by channel."""
    count = len(pool)
    spread = pool.at(np.tile(np.arange(count), HOURS_OF_DAY))
    # Each record in an hour of its own, whose hour of day is that of its row.
    hour = np.arange(count * HOURS_OF_DAY) // count + HOURS_OF_DAY * (np.arange(count * HOURS_OF_DAY) % count)
    order = np.argsort(hour, kind="stable")
    alone = spread.at(order)
    alone = Predictions(hour[order], alone.confidence, alone.predicted, alone.passes, alone.statistics)
    found = channels.hourly_growths(alone, known, np.arange(count * HOURS_OF_DAY))
    # Hour h + 24 r is of record r.
    return {name: rows.reshape(count, HOURS_OF_DAY, -1).transpose(1, 0, 2) for name, rows in found.items()}


def _summed(table: Floats, drawn: Integers) -> Floats:
    """Of each hour, float64 [hours, detectors]."""
    found = np.empty((len(drawn), table.shape[2]))
    for hour in range(HOURS_OF_DAY):
        found[hour::HOURS_OF_DAY] = drawn[hour::HOURS_OF_DAY].astype(np.float64) @ table[hour]
    return found


def text(found: list[list[str]], seconds: float) -> str:
    """The figures."""
    alarmed = sum(bool(families) for families in found)
    lines = [
        f"{alarmed} of {len(found)} healthy months with a false alarm ({alarmed / len(found):.1%}); {seconds:.0f} s"
    ]
    lines += [f"  {family}: {sum(family in each for each in found)}" for family in ("predictions", "images")]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
