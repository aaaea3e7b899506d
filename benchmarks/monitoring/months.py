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

import dataclasses
import multiprocessing
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.monitoring.trained import CLASSES, months_options, trained  # noqa: E402  # the path above comes first
from imaging.dataset import load_split  # noqa: E402  # likewise
from imaging.statistics import image_statistics  # noqa: E402  # likewise
from monitoring.drift import channels  # noqa: E402  # likewise
from monitoring.drift.channels import HOURS_OF_DAY, Predictions  # noqa: E402  # likewise
from monitoring.drift.detector import HOURS_PER_MONTH, threshold  # noqa: E402  # likewise
from monitoring.drift.findings import evidence_rate  # noqa: E402  # likewise
from monitoring.store.image_statistics import SAMPLE  # noqa: E402  # likewise
from monitoring.store.novelty import NOVELTY, ask  # noqa: E402  # likewise
from serving.inference import model_fn  # noqa: E402  # likewise

THRESHOLD = 0.93
RHYTHM_HOURS = 7 * HOURS_OF_DAY
SWING = 0.1
PART = 10  # months that are watched at once
Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


def main() -> None:
    """Count and print."""
    parser = months_options(__doc__, months=1000)
    parser.add_argument("--images", type=int, default=100, help="of each month's baseline (default: 100)")
    parser.add_argument("--seed", type=int, default=7, help="of the random numbers (default: 7)")
    parser.add_argument("--seconds", type=float, default=480.0, help="then no more months begin (default: 480)")
    arguments = parser.parse_args()
    with trained(arguments) as folders:
        pool, labels = load(folders.model, folders.dataset)
    begun = time.monotonic()
    kept = (pool, labels, arguments.images, arguments.seed)
    found = []
    with multiprocessing.get_context("fork").Pool(arguments.processes, _keep, kept) as workers:
        parts = [range(at, min(at + PART, arguments.months)) for at in range(0, arguments.months, PART)]
        for some in workers.imap(months, parts):
            found += some
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


_KEPT: list[tuple[Predictions, Integers, int, int]] = []


def _keep(pool: Predictions, labels: Integers, images: int, seed: int) -> None:
    _KEPT[:] = [(pool, labels, images, seed)]


def months(seeds: Sequence[int]) -> list[list[str]]:
    """The families that alarmed in each of some healthy months."""
    grown: dict[str, list[Floats]] = {"predictions": [], "images": []}
    widths: dict[str, list[int]] = {}
    for seed in seeds:
        for family, rows in _month(seed).items():
            grown[family].append(np.concatenate(list(rows.values()), axis=1))
            widths[family] = [each.shape[1] for each in rows.values()]
    alarmed = {family: _alarms(np.stack(rows), widths[family], family) for family, rows in grown.items()}
    return [[family for family in alarmed if alarmed[family][at]] for at in range(len(seeds))]


def _month(seed: int) -> dict[str, dict[str, Floats]]:
    """By family and channel what each hour contributes, float64 [hours, detectors]."""
    ((pool, labels, images, begun),) = _KEPT
    chance = np.random.default_rng([begun, seed])
    rhythm = _as_drawn(pool, _drawn(chance, labels, RHYTHM_HOURS))
    known = channels.reference(pool.at(chance.integers(0, len(labels), images)), CLASSES, rhythm=rhythm)
    drawn = _drawn(chance, labels, HOURS_PER_MONTH)
    # Pictures are the same at every hour of the day.
    plain = dataclasses.replace(pool, statistics={})
    of_images = {name: drawn @ rows for name, rows in _alone(pool, known).items() if name in known.statistics}
    of_predictions = {
        name: _summed(table, drawn) for name, table in _tables(plain, dataclasses.replace(known, statistics={})).items()
    }
    return {"predictions": of_predictions, "images": of_images}


def _alarms(grown: Floats, widths: Sequence[int], family: str) -> npt.NDArray[np.bool_]:
    """Which months reach the threshold: `monitoring.drift.detector.watch`, float64 [months, hours, detectors]."""
    starts = np.cumsum([0, *widths[:-1]])
    held = np.full((len(grown), grown.shape[2]), -np.inf)
    highest = np.full(len(grown), -np.inf)
    for hour in range(grown.shape[1]):
        held = grown[:, hour] + np.logaddexp(held, 0.0)
        by_channel = np.logaddexp.reduceat(held, starts, axis=1) - np.log(widths)
        together = np.logaddexp.reduce(by_channel, axis=1) - np.log(len(widths))
        highest = np.maximum(highest, together)
    return highest >= threshold(evidence_rate(family))


def _alone(pool: Predictions, known: channels.Reference) -> dict[str, Floats]:
    """What each record contributes, float64 [records, detectors], by channel."""
    count = len(pool)
    alone = Predictions(np.arange(count), pool.confidence, pool.predicted, pool.passes, pool.statistics)
    return channels.hourly_growths(alone, known, np.arange(count))


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
