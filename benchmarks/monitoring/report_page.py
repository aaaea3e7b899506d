"""Size of the report's page and how long the job takes: ``python -m benchmarks.monitoring.report_page``.

Runs on a laptop. Writes captures of a few days (small pictures, 2,000 labels, a deployment, latency by hour, a damaged
half of the last day), a baseline, and lets the monitoring job report on all of it: first with an empty store, then once
more with the store that it left. ``--keep FOLDER`` leaves captures and report there, to look at.
"""

from __future__ import annotations

import argparse
import base64
import io
import itertools
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from imaging.statistics import image_statistics  # noqa: E402  # the path above comes first
from monitoring import baseline  # noqa: E402  # likewise
from monitoring.drift.channels import Predictions  # noqa: E402  # likewise
from reporting.documents.json import to_text  # noqa: E402  # likewise

CLASSES = ("bicycle", "motorcycle")
THRESHOLD = 0.93
FIRST = datetime(2026, 3, 1, tzinfo=UTC)
LIMIT = 1_500_000
PICTURES = 200
DAMAGED_HOURS = 12
REFERENCE = 2_000
LABELS = 2_000
ENDPOINT = "vehicles"
LINE = (
    '{"captureData":{"endpointInput":{"observedContentType":"image/png","mode":"INPUT","data":"%s","encoding":"BASE64"}'
    ',"endpointOutput":{"observedContentType":"application/json","mode":"OUTPUT","data":"[%r, %r]","encoding":"JSON"}},'
    '"eventMetadata":{"eventId":"%s","inferenceTime":"%s"},"eventVersion":"0"}\n'
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=100_000, help="captured predictions (default: 100,000)")
    parser.add_argument("--days", type=int, default=4, help="over so many days (default: 4)")
    parser.add_argument("--keep", type=Path, help="an empty folder to work in")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="scones-report-") as scratch:
        folder = arguments.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        write(folder, arguments.records, 24 * arguments.days)
        first, again = (report(folder, arguments.days) for _ in range(2))
        size = (folder / "report" / "report.html").stat().st_size
    print(f"{arguments.records:,} predictions over {arguments.days} days")
    print(f"page: {size / 1e6:.2f} MB, at most {LIMIT / 1e6:.1f}")
    print(f"report: {first:.1f} s with an empty store, {again:.1f} s with what it left")
    sys.exit(size > LIMIT)


def report(folder: Path, days: int) -> float:
    """Run the job as its container does; seconds."""
    told = {
        "captures": folder / "captures", "output": folder / "report", "state": folder / "state",
        "start": FIRST.isoformat(), "end": (FIRST + timedelta(days=days)).isoformat(), "endpoint": ENDPOINT,
        "baseline": folder / "baseline.json", "deployed-at": FIRST.isoformat(), "ground-truth": folder / "labels",
        "context": folder / "context", "message-file": folder / "message",
    }  # fmt: skip
    options = [part for name, value in told.items() for part in (f"--{name}", str(value))]
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "monitoring.report", *options], cwd=ROOT, check=True)
    return time.perf_counter() - started


def write(folder: Path, records: int, hours: int) -> None:
    """Everything that the job is told of."""
    random = np.random.default_rng(7)
    healthy = pictures(random)
    damaged = (healthy // 3).astype(np.uint8)
    texts = [encoded(healthy), encoded(damaged)]
    labels = []
    edges = np.linspace(0, records, hours + 1).astype(int)
    for hour, (low, high) in enumerate(itertools.pairwise(edges)):
        bad = hour >= hours - DAMAGED_HOURS
        number = int(high - low)
        confidence = confidences(random, number, bad)
        bicycle = random.random(number) < 0.5
        shares = np.where(bicycle, confidence, 1.0 - confidence)
        seconds = np.sort(random.random(number) * 3600)
        start = FIRST + timedelta(hours=hour)
        lines = []
        for at in range(number):
            event = f"{low + at:08d}-benchmark"
            picture = texts[int(bad)][int(random.integers(PICTURES))]
            when = (start + timedelta(seconds=float(seconds[at]))).isoformat(timespec="milliseconds")
            lines.append(LINE % (picture, round(float(shares[at]), 6), round(1 - float(shares[at]), 6), event, when))
            if (low + at) % max(1, records // LABELS) == 0:
                right = random.random() < confidence[at]
                labels.append(label(event, int(bicycle[at]) ^ int(right)))
        captures = folder / "captures" / ENDPOINT / "AllTraffic" / f"{start:%Y/%m/%d/%H}"
        captures.mkdir(parents=True)
        (captures / "00-00-000-a.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "labels").mkdir()
    (folder / "labels" / "a.jsonl").write_text("".join(labels), encoding="utf-8")
    write_context(folder / "context", np.diff(edges).tolist())
    write_baseline(folder / "baseline.json", healthy, random)


def pictures(random: np.random.Generator) -> np.ndarray:
    """Smooth ones, as photographs are."""
    coarse = random.integers(0, 256, (PICTURES, 4, 4, 3), np.uint8)
    return np.stack([np.asarray(Image.fromarray(each).resize((32, 32), Image.Resampling.BICUBIC)) for each in coarse])


def encoded(images: np.ndarray) -> list[str]:
    texts = []
    for image in images:
        out = io.BytesIO()
        Image.fromarray(image).save(out, "PNG")
        texts.append(base64.b64encode(out.getvalue()).decode())
    return texts


def confidences(random: np.random.Generator, number: int, bad: bool) -> np.ndarray:
    return 0.5 + 0.5 * random.beta(2.0, 1.0 if bad else 0.35, number)


def label(event: str, index: int) -> str:
    document = {
        "groundTruthData": {"data": str(index), "encoding": "CSV"},
        "eventMetadata": {"eventId": event},
        "eventVersion": "0",
    }
    return json.dumps(document) + "\n"


def write_context(folder: Path, requests: list[int]) -> None:
    folder.mkdir()
    times = [(FIRST + timedelta(hours=hour)).isoformat() for hour in range(len(requests))]
    deployments = [{"at": times[0], "version": "version 3", "outcome": "deployed"}]
    if len(times) > 48:
        deployments.append({"at": times[40], "version": "version 4", "outcome": "rolled back"})
    traffic = [
        {"hour": at, "requests": number, "latency_ms": 18 + hour % 5, "latency_p99_ms": 60 + hour % 11}
        for hour, (at, number) in enumerate(zip(times, requests, strict=True))
    ]
    (folder / "deployments.json").write_text(json.dumps(deployments))
    (folder / "traffic.json").write_text(json.dumps(traffic))


def write_baseline(path: Path, images: np.ndarray, random: np.random.Generator) -> None:
    confidence = confidences(random, REFERENCE, bad=False)
    seen = Predictions(
        hour=np.zeros(REFERENCE, np.int64),
        confidence=confidence,
        predicted=(random.random(REFERENCE) < 0.5).astype(np.int64),
        passes=confidence >= THRESHOLD,
        statistics=image_statistics(images[random.integers(0, PICTURES, REFERENCE)]),
    )
    document = baseline.describe(seen, CLASSES, "validation split", THRESHOLD)
    path.write_text(to_text(document, indent=1))


if __name__ == "__main__":
    main()
