"""The whole cycle for each kind of drift, in simulated time: health, drift, alarm, training, approval, health.

    python -m benchmarks.monitoring.cycle [--days 2] [--kind noisy --kind "new vehicle"]

Runs on a laptop. Deploys the local stage into a stand-in account of its own, with a clock that can be moved, below a
temporary folder, on the real images; one report a day. Prints a line per kind, then one JSON document; exits with 1
when health raised an alarm, when drift did not raise that of its kind, when it started more than one training, or when
an alarm stayed on.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.local.conftest import free_port
from tests.local.monitoring_cycle import DATA_BUCKET, Life
from tests.realdata import cifar_archive

PREDICTIONS, IMAGES = "predictions", "images"
# What is sent, and the alarm that it has to raise at least: darker images leave the confidence as it was, and so may
# images of something else, which a classifier of two classes has to call one of them, and turned ones, of which a
# model that was trained as briefly as this one is hardly less sure.
KINDS: dict[str, tuple[tuple[str, ...], str]] = {
    "noisy": (("--corrupt", "noisy"), PREDICTIONS),
    "blurred": (("--corrupt", "blurred"), PREDICTIONS),
    "darkened": (("--corrupt", "darkened"), IMAGES),
    "rotated": (("--corrupt", "rotated"), IMAGES),
    "new vehicle": (("--unknown", "0.5"), IMAGES),
    "class mix": (("--mix", "bicycle=0.95,motorcycle=0.05"), PREDICTIONS),
}
LEARNING_DAYS = 8  # class shares are held against those of a version's first week
HEALTHY_PER_HOUR, DRIFTING_PER_HOUR = 20, 40


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=2, help="of healthy traffic before each kind (2)")
    parser.add_argument("--kind", action="append", choices=KINDS, help="only this one; may repeat")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        life = Life(Path(folder) / "home", free_port(), cifar_archive())
        try:
            life.begin(every="24h")
            found = {}
            for kind in arguments.kind or KINDS:
                found[kind] = live_through(life, kind, arguments.days)
                print(f"{kind}: {json.dumps(found[kind])}", file=sys.stderr, flush=True)
        finally:
            life.end()
    print(json.dumps(found, indent=2))
    return 0 if all(row["as it should be"] for row in found.values()) else 1


def live_through(life: Life, kind: str, days: int) -> dict[str, Any]:
    options, expected = KINDS[kind]
    known, trainings = len(life.reports()), len(life.trainings())
    length = f"{max(days, LEARNING_DAYS) if kind == 'class mix' else days}d"
    life.pass_time(length, HEALTHY_PER_HOUR, "--daily", "--seed", str(known))
    healthy = [each["alarms"] for each in life.reports()[: len(life.reports()) - known]]
    sent = life.pass_time("1d", DRIFTING_PER_HOUR, *options, "--seed", str(known))
    newest = life.reports()[0]
    life.until(lambda: all(life.alarms()[family] == "ALARM" for family in newest["alarms"]), "alarm")
    life.until(lambda: _settled(life), "training")
    started = len(life.trainings()) - trainings
    version = life.renew()
    life.pass_time("1d", HEALTHY_PER_HOUR, "--seed", str(known + 1))
    life.until(lambda: set(life.alarms().values()) == {"OK"}, "quiet alarms")
    good = not any(healthy) and expected in newest["alarms"] and started <= 1
    return {
        "healthy reports": len(healthy),
        "alarms in health": sum(map(len, healthy)),
        "alarms": newest["alarms"],
        "hours until": hours_until(life, newest["name"], datetime.fromisoformat(sent["from"])),
        "trainings started": started,
        "version deployed": version,
        "as it should be": good,
    }


def _settled(life: Life) -> bool:
    return not any(each["PipelineExecutionStatus"] in {"Executing", "Stopping"} for each in life.trainings())


def hours_until(life: Life, name: str, begun: datetime) -> dict[str, float]:
    """From the first drifting image to the hour in which each alarm went on, of the report's detectors."""
    body = life.client("s3").get_object(Bucket=DATA_BUCKET, Key=f"reports/{name}/report.json")["Body"].read()
    return {
        family["family"]: (datetime.fromisoformat(family["alarms"][0]) - begun).total_seconds() // 3600 + 1
        for family in json.loads(body)["drift"]["families"]
        if family["alarms"]
    }


if __name__ == "__main__":
    sys.exit(main())
