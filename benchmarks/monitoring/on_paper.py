"""What many captured records would take, from what a million takes: ``python -m benchmarks.monitoring.on_paper``.

Runs on a laptop; reads the list prices in ``scones/cost/prices.toml``. CPU seconds, bytes and files of a million
records are options, as `benchmarks.monitoring.capture_scale` measures them; bandwidth and bytes of a row are assumed.
Instances share the copying and the reading (`scones monitor collect`); the merge is one instance's.
"""

from __future__ import annotations

import argparse
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INSTANCE, CPUS = "ml.m5.large", 2
ROW_BYTES = 120
MILLION, GB, MB = 1_000_000, 1_000_000_000, 1_000_000
HOUR_S = 3600.0


@dataclass(frozen=True)
class UnitCosts:
    """Of a million records, and prices in USD."""

    cpu_s: float
    gigabytes: float
    files: float
    bytes_per_s: float
    hour_usd: float
    get_usd: float


def main() -> None:
    """Print a line for each number of instances."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=float, default=1e9, help="(default: a billion)")
    parser.add_argument("--instances", default="1,4,20", help=f"of {INSTANCE} (default: 1,4,20)")
    parser.add_argument("--cpu-s", type=float, default=2.6, help="CPU seconds of a million records (default: 2.6)")
    parser.add_argument("--gigabytes", type=float, default=4.1, help="of a million records (default: 4.1)")
    parser.add_argument("--files", type=float, default=2016.0, help="of a million records (default: 2,016)")
    parser.add_argument("--megabytes-per-s", type=float, default=100.0, help="that an instance copies (default: 100)")
    given = parser.parse_args()
    costs = UnitCosts(given.cpu_s, given.gigabytes, given.files, given.megabytes_per_s * MB, *_prices())
    for instances in map(int, given.instances.split(",")):
        print(line(given.records, instances, costs))


def line(records: float, instances: int, costs: UnitCosts) -> str:
    """Hours and dollars, in words."""
    millions = records / MILLION
    copying = millions * costs.gigabytes * GB / costs.bytes_per_s / HOUR_S
    reading = millions * costs.cpu_s / CPUS / HOUR_S
    merging = 2 * records * ROW_BYTES / costs.bytes_per_s / HOUR_S  # read and written
    shared = max(copying, reading) / instances
    usd = costs.hour_usd * (max(copying, reading) + merging) + millions * costs.files * costs.get_usd
    return (
        f"{records:,.0f} records, {instances:2d} instances: {shared:.1f} h to copy and read, {merging:.1f} h to merge, "
        f"{usd:.2f} USD"
    )


def _prices() -> tuple[float, float]:
    """USD of an hour of an instance, and of a GET."""
    found = tomllib.loads((ROOT / "scones" / "cost" / "prices.toml").read_text(encoding="utf-8"))
    get = found["prices"]["s3_get"]
    return float(found["instances"]["usd_per_hour"][INSTANCE]), get["usd"] / get["per"]


if __name__ == "__main__":
    main()
