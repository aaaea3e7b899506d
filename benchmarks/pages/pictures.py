"""The pictures in README.md and docs/console.md: two pages of the console and a monitoring report, light and dark.

    scones demo --stop && scones account start --clock now
    scones monitor simulate --for 24h --per-hour 50 --daily
    scones monitor simulate --for 8h --per-hour 50 --daily --corrupt darkened
    scones monitor report --since 32h --out reports/pictures
    python -m benchmarks.pages.pictures

A day of good traffic, then eight hours in the dark, in the account's own time. Needs Chromium (`--chromium PATH`).
Writes docs/pictures/*.webp, each at most 150 kB.
"""

from __future__ import annotations

import argparse
import io
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from PIL import Image

from benchmarks.pages.console import console
from scones.stage.settings import PROJECT_ROOT

FOLDER = PROJECT_ROOT / "docs" / "pictures"
MOST_BYTES = 150_000
SCALE = 1.5  # sharp on screens with small pixels
# What a page asks the browser by prefers-color-scheme (Blink: 0 is dark, 1 is light).
SCHEMES = {"light": 1, "dark": 0}


@dataclass(frozen=True)
class Shot:
    """A picture of the top of a page; width and height in CSS pixels."""

    name: str
    address: str
    width: int
    height: int


def main() -> None:
    """Take every picture in both schemes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chromium", default="chromium", help="the browser's program")
    parser.add_argument("--report", type=Path, default=PROJECT_ROOT / "reports" / "pictures" / "report.html")
    parser.add_argument("--only-report", action="store_true", help="leave the console's pictures, and its account")
    arguments = parser.parse_args()
    if not arguments.report.is_file():
        raise SystemExit(f"{arguments.report} is missing: the commands above write it")
    for scheme in SCHEMES:
        take(arguments.chromium, scheme, report_shot(arguments.report))
        if not arguments.only_report:
            with console() as (_, address):
                take(arguments.chromium, scheme, *console_shots(address))


def take(chromium: str, scheme: str, *shots: Shot) -> None:
    """Take pictures and say how large they are."""
    for shot in shots:
        path = FOLDER / f"{shot.name}-{scheme}.webp"
        write(taken(chromium, shot, scheme), path)
        print(f"{path.relative_to(PROJECT_ROOT)}: {path.stat().st_size} bytes")


def report_shot(report: Path) -> Shot:
    """The top of a report."""
    return Shot("report", report.as_uri(), 1100, 720)


def console_shots(address: str) -> list[Shot]:
    """What is shown: ``address`` opens the console's first page, and with another path another one."""
    opened = urlsplit(address)
    threshold = opened._replace(path="/threshold", query=f"threshold=0.8&{opened.query}")
    return [
        Shot("console", address, 1100, 720),
        Shot("threshold", threshold.geturl(), 1100, 505),  # above the test images, which are photographs of others
    ]


def taken(chromium: str, shot: Shot, scheme: str) -> Image.Image:
    """What a browser without a window shows of the page, five seconds after it began to load."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "shot.png")
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
        options += [f"--user-data-dir={folder}/profile", f"--window-size={shot.width},{shot.height}"]
        options += [f"--force-device-scale-factor={SCALE}", f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}"]
        command = [chromium, *options, "--timeout=5000", f"--screenshot={file}", shot.address]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        return Image.open(io.BytesIO(file.read_bytes())).convert("RGB")


def write(picture: Image.Image, path: Path) -> None:
    """As WebP, without loss where that is small enough."""
    path.parent.mkdir(exist_ok=True)
    picture.save(path, "WEBP", lossless=True, method=6)
    for quality in (90, 80, 70, 60):
        if path.stat().st_size <= MOST_BYTES:
            return
        picture.save(path, "WEBP", quality=quality, method=6)


if __name__ == "__main__":
    main()
