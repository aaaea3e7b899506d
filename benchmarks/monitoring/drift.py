"""False alarms in healthy months, hours to a true one: ``python -m benchmarks.monitoring.drift [--model DIR]``.

Runs on a laptop. Reads the 200 real test images and a folder with a training job's output; without one it trains the
recipe `pretrained`, mode `frozen`. Traffic is drawn from those images and from damaged copies of them, 100 requests an
hour, with a daily rhythm of ten points in the class mix; each month has a reference of its own, 2,000 healthy requests
and a week of healthy traffic. The detectors are those of the monitoring job, whole.
"""

from __future__ import annotations

import json
import multiprocessing
import random
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.monitoring.trained import CLASSES, TrainedFolders, months_options, trained  # noqa: E402  # the path above
from imaging.dataset import load_split  # noqa: E402  # the path above comes first
from imaging.statistics import image_statistics  # noqa: E402  # likewise
from monitoring.drift import channels  # noqa: E402  # likewise
from monitoring.drift import findings as drift  # noqa: E402  # likewise
from monitoring.drift.channels import HOURS_OF_DAY, Predictions, Reference  # noqa: E402  # likewise
from scones.traffic.corruptions import CORRUPTIONS  # noqa: E402  # likewise
from serving.inference import model_fn, predict_fn  # noqa: E402  # likewise

RATE = 100
REFERENCE_HOURS = 20
RHYTHM_HOURS = 7 * HOURS_OF_DAY
MONTH_HOURS = 30 * HOURS_OF_DAY
SWING = 0.1
THRESHOLD = 0.93
BEFORE_HOURS = 48
AFTER_HOURS = 120


@dataclass(frozen=True)
class RecordPool:
    """What the model says of the test images in one state, `[n]`, and how they look."""

    labels: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float64]
    predicted: npt.NDArray[np.int64]
    statistics: dict[str, npt.NDArray[np.float64]]


Pools = dict[str, RecordPool]


def main() -> None:
    """Measure and print."""
    parser = months_options(__doc__, months=100)
    parser.add_argument("--streams", type=int, default=20, help="of damaged traffic, of each kind (default: 20)")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of text")
    arguments = parser.parse_args()
    with trained(arguments) as folders:
        pools = load(folders)
    kinds = [kind for kind in pools if kind != "healthy"]
    tasks = [(share, kind, seed) for share in (1.0, 0.25) for kind in kinds for seed in range(arguments.streams)]
    with multiprocessing.get_context("spawn").Pool(arguments.processes, _keep, (pools,)) as workers:
        alarms = workers.map(month, range(arguments.months), chunksize=1)
        delays = workers.map(delay, tasks, chunksize=1)
    report = {
        "months": arguments.months,
        "false_alarms": {family: sum(found[family] for found in alarms) for family in channels.FAMILIES},
        "months_with_a_false_alarm": sum(any(found.values()) for found in alarms),
        "delays": summary(tasks, delays),
        "accuracy": {kind: float((pool.predicted == pool.labels).mean()) for kind, pool in pools.items()},
    }
    print(json.dumps(report, indent=2) if arguments.json else text(report))


def load(folders: TrainedFolders) -> Pools:
    """The test images in every state, seen by the model."""
    model = model_fn(str(folders.model))
    images, labels = load_split(folders.dataset, "test")
    chooser = random.Random(0)  # noqa: S311 - pictures, not secrets
    states = {"healthy": images}
    for kind, damage in CORRUPTIONS.items():
        states[kind] = np.stack([np.asarray(damage(Image.fromarray(image), chooser)) for image in images])
    pools = {}
    for kind, pixels in states.items():
        probabilities = predict_fn(pixels, model)
        pools[kind] = RecordPool(
            labels=labels,
            confidence=probabilities.max(axis=1).astype(np.float64),
            predicted=probabilities.argmax(axis=1),
            statistics=image_statistics(pixels),
        )
    return pools


_pools: Pools = {}


def _keep(pools: Pools) -> None:
    _pools.update(pools)


def draw(chance: np.random.Generator, hours: int, kind: str = "healthy", share: float = 1.0) -> Predictions:
    """Requests of some hours from midnight; a share of them shows damage of a kind."""
    hour = np.repeat(np.arange(hours), RATE)
    motorcycles = 0.5 + SWING * np.sin(2 * np.pi * hour / HOURS_OF_DAY)
    wanted = (chance.random(len(hour)) < motorcycles).astype(np.int64)
    pools = [_pools["healthy"], _pools[kind]]
    damaged = (chance.random(len(hour)) < share).astype(np.int64)
    places = [np.flatnonzero(pools[0].labels == label) for label in range(len(CLASSES))]
    row = np.choose(wanted, [chance.choice(place, len(hour)) for place in places])
    confidence = np.choose(damaged, [pool.confidence[row] for pool in pools])
    return Predictions(
        hour=hour,
        confidence=confidence,
        predicted=np.choose(damaged, [pool.predicted[row] for pool in pools]),
        passes=confidence >= THRESHOLD,
        statistics={
            name: np.choose(damaged, [pool.statistics[name][row] for pool in pools]) for name in pools[0].statistics
        },
    )


def known(chance: np.random.Generator) -> Reference:
    """A reference of its own for each stream."""
    return channels.reference(draw(chance, REFERENCE_HOURS), CLASSES, rhythm=draw(chance, RHYTHM_HOURS))


def traffic(predictions: Predictions, hours: int) -> drift.HourlyTraffic:
    """Every request captured, none malformed."""
    counts = np.full(hours, RATE)
    return drift.HourlyTraffic(np.arange(hours), predictions, counts, np.zeros(hours, np.int64), counts)


def month(seed: int) -> dict[str, bool]:
    """Whether each family alarmed in a month of healthy traffic."""
    chance = np.random.default_rng([1, seed])
    found = drift.look(traffic(draw(chance, MONTH_HOURS), MONTH_HOURS), known(chance))
    return {finding.family: bool(finding.alarms) for finding in found}


def delay(task: tuple[float, str, int]) -> dict[str, int | None]:
    """Hours of damaged traffic until each family alarmed, and any of them; None when it did not within five days."""
    share, kind, seed = task
    chance = np.random.default_rng([2, seed])
    reference = known(chance)
    parts = [draw(chance, BEFORE_HOURS), draw(chance, AFTER_HOURS, kind, share)]
    joined = Predictions(
        hour=np.concatenate([parts[0].hour, parts[1].hour + BEFORE_HOURS]),
        confidence=np.concatenate([part.confidence for part in parts]),
        predicted=np.concatenate([part.predicted for part in parts]),
        passes=np.concatenate([part.passes for part in parts]),
        statistics={name: np.concatenate([part.statistics[name] for part in parts]) for name in parts[0].statistics},
    )
    found: dict[str, int | None] = {}
    for finding in drift.look(traffic(joined, BEFORE_HOURS + AFTER_HOURS), reference):
        after = [alarm - BEFORE_HOURS + 1 for alarm in finding.alarms if alarm >= BEFORE_HOURS]
        found[finding.family] = after[0] if after else None
    first = [hours for hours in found.values() if hours is not None]
    return {**found, "any": min(first, default=None)}


def summary(tasks: list[tuple[float, str, int]], delays: list[dict[str, int | None]]) -> list[dict[str, Any]]:
    """Median and longest delay for each share and kind; a stream without an alarm counts as infinite."""
    rows = []
    for share, kind in dict.fromkeys((share, kind) for share, kind, _ in tasks):
        mine = [found for task, found in zip(tasks, delays, strict=True) if task[:2] == (share, kind)]
        row: dict[str, Any] = {"share": share, "kind": kind}
        for family in ("predictions", "images", "any"):
            hours = [AFTER_HOURS + 1 if (after := found[family]) is None else after for found in mine]
            row[family] = {"median_h": statistics.median(hours), "longest_h": max(hours)}
        rows.append(row)
    return rows


def text(report: dict[str, Any]) -> str:
    """A table."""
    share = report["months_with_a_false_alarm"] / max(1, report["months"])
    lines = [
        f"healthy: {report['months_with_a_false_alarm']} of {report['months']} months with a false alarm ({share:.1%})"
    ]
    lines += [f"  {family}: {count}" for family, count in report["false_alarms"].items()]
    lines.append(f"hours until an alarm, median (longest); over {AFTER_HOURS}: none")
    for row in report["delays"]:
        cells = ", ".join(
            f"{name} {row[name]['median_h']:g} ({row[name]['longest_h']})"
            for name in row
            if name not in ("share", "kind")
        )
        accuracy = report["accuracy"][row["kind"]]
        lines.append(f"  {row['share']:.0%} {row['kind']} (accuracy {accuracy:.1%}): {cells}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
