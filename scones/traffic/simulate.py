"""Traffic for the endpoint: test images, sent hour after hour, and made worse, rarer or stranger where that is asked.

Runs on a laptop. Images of the live version's held-out test split go to the endpoint through the real runtime, or
through the inference workflow; nothing else is made up, so captures, metrics, reports and alarms are those of any other
traffic. Where the stand-in account has a clock of its own an hour passes as fast as its images are answered; anywhere
else an hour is an hour.
"""

from __future__ import annotations

import io
import itertools
import math
import random
import uuid
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from PIL import Image, UnidentifiedImageError

from scones.errors import SconesError
from scones.runs import executions
from scones.runs.executions import StoredImage
from scones.serving_versions import registry
from scones.serving_versions.endpoint import live
from scones.stage.connection import Connection
from scones.traffic.corruptions import CORRUPTIONS, new_vehicle
from scones.traffic.pace import Pace

UNKNOWN = "unknown"
DRAWN = "drawn"
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg"}
SENDERS = 8
# The busiest hour of a day has four times the traffic of the quietest, the mean is 1; most of it in the afternoon.
_SWING, _PEAK_HOUR = 0.6, 15


@dataclass(frozen=True)
class TrafficPlan:
    """What to send: ``mix`` by class (empty: as in the test split), ``corrupt`` and ``unknown`` as shares of it."""

    length: timedelta
    per_hour: float
    daily: bool = False
    mix: Mapping[str, float] = field(default_factory=dict)
    corrupt: Mapping[str, float] = field(default_factory=dict)
    unknown: float = 0.0
    unknown_images: Path | None = None
    """None: drawn lorries."""
    seed: int = 0
    through_workflow: bool = False

    def __post_init__(self) -> None:
        strange = sorted(set(self.corrupt) - set(CORRUPTIONS))
        if strange:
            raise SconesError(f"--corrupt knows {', '.join(CORRUPTIONS)}, not {', '.join(strange)}")
        for what, shares in (("--corrupt", self.corrupt), ("--unknown", {UNKNOWN: self.unknown})):
            for name, share in shares.items():
                if not 0 <= share <= 1:
                    raise SconesError(f"{what} {name}={share:g} is no share: expected a number from 0 to 1")
        if sum(self.corrupt.values()) > 1 + 1e-9:
            raise SconesError(f"the shares of --corrupt add up to {sum(self.corrupt.values()):g}, more than 1")
        if any(not 0 <= share < math.inf for share in self.mix.values()) or (self.mix and not any(self.mix.values())):
            raise SconesError("--mix takes shares of 0 and more, one of them more than 0")


@dataclass
class Sent:
    """What became of it."""

    begun: datetime
    until: datetime
    answered: int = 0
    failed: int = 0
    first_failure: str = ""
    true_labels: Counter[str] = field(default_factory=Counter)
    corrupted: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, object]:
        """Return the counts as a document; times are ISO 8601 in UTC."""
        return {
            "from": f"{self.begun:%Y-%m-%dT%H:%M:%SZ}",
            "until": f"{self.until:%Y-%m-%dT%H:%M:%SZ}",
            "answered": self.answered,
            "failed": self.failed,
            "first_failure": self.first_failure or None,
            "true_labels": dict(sorted(self.true_labels.items())),
            "corrupted": dict(sorted(self.corrupted.items())),
        }


@dataclass(frozen=True)
class ImageSupply:
    """Images to choose from: known ones by class, and unknown ones; PNG or JPEG files."""

    known: Mapping[str, Sequence[bytes]]
    shares: Mapping[str, float]
    unknown: Sequence[bytes]


def load(connection: Connection, plan: TrafficPlan) -> ImageSupply:
    """Fetch the test images of the version that serves. SconesError when there is none, or an option does not fit."""
    version = registry.deployed(connection, live(connection).model_package_arn)
    stored: dict[str, list[StoredImage]] = {}
    for image in executions.test_images(connection, version.metadata["dataset_s3_uri"]):
        stored.setdefault(str(image.true_label), []).append(image)
    if strange := sorted(set(plan.mix) - set(stored)):
        raise SconesError(f"--mix names {', '.join(strange)}; the test images are of {', '.join(sorted(stored))}")
    shares = plan.mix or {name: len(images) for name, images in stored.items()}
    s3 = connection.client("s3")

    def fetch(image: StoredImage) -> bytes:
        content: bytes = s3.get_object(Bucket=image.bucket, Key=image.key)["Body"].read()
        return content

    with ThreadPoolExecutor(SENDERS) as pool:
        known = {name: list(pool.map(fetch, stored[name])) for name in stored if shares.get(name)}
    return ImageSupply(known, shares, _unknown(plan))


def _unknown(plan: TrafficPlan) -> list[bytes]:
    if not plan.unknown:
        return []
    if plan.unknown_images is None:
        chooser = random.Random(plan.seed)  # noqa: S311 (pictures, not secrets)
        return [_encoded(new_vehicle(chooser)) for _ in range(100)]
    found = sorted(p for p in plan.unknown_images.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise SconesError(f"no images below {plan.unknown_images}: expected PNG or JPEG files")
    return [path.read_bytes() for path in found]


def send(connection: Connection, plan: TrafficPlan, traffic: ImageSupply, pace: Pace) -> Generator[Sent, None, None]:
    """Send it step by step; each answers what was sent so far, always in the same object.

    SconesError when a whole step fails.
    """
    chooser = random.Random(plan.seed)  # noqa: S311 (a choice of images, not secrets)
    begun = pace.now()
    sent = Sent(begun, begun)
    yield sent
    submit = _through_workflow if plan.through_workflow else _through_endpoint
    owed = 0.0
    for number in itertools.count():
        start = begun + number * pace.step
        end = min(start + pace.step, begun + plan.length)
        if start >= begun + plan.length:
            return
        owed += plan.per_hour * _rate(start, daily=plan.daily) * ((end - start) / timedelta(hours=1))
        count, owed = int(owed), owed % 1.0
        before = sent.answered
        submit(connection, [_choose(plan, traffic, chooser, sent) for _ in range(count)], sent)
        if count and sent.answered == before:
            raise SconesError(f"none of {count} images was answered: {sent.first_failure}")
        pace.pass_until(end)
        sent.until = end
        yield sent


def _rate(at: datetime, *, daily: bool) -> float:
    if not daily:
        return 1.0
    return 1.0 + _SWING * math.cos((at.hour + at.minute / 60 - _PEAK_HOUR) * math.tau / 24)


def _choose(plan: TrafficPlan, traffic: ImageSupply, chooser: random.Random, sent: Sent) -> bytes:
    if traffic.unknown and chooser.random() < plan.unknown:
        label, content = UNKNOWN, chooser.choice(traffic.unknown)
    else:
        (label,) = chooser.choices(list(traffic.shares), list(traffic.shares.values()))
        content = chooser.choice(traffic.known[label])
    sent.true_labels[label] += 1
    drawn, passed = chooser.random(), 0.0
    for name, share in plan.corrupt.items():
        passed += share
        if drawn < passed:
            sent.corrupted[name] += 1
            return _corrupted(content, name, chooser)
    return content


def _corrupted(content: bytes, name: str, chooser: random.Random) -> bytes:
    try:
        with Image.open(io.BytesIO(content)) as image:
            return _encoded(CORRUPTIONS[name](image.convert("RGB"), chooser))
    except UnidentifiedImageError as error:
        raise SconesError(f"an image cannot be {name}, because it cannot be read: {error}") from error


def _encoded(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _through_endpoint(connection: Connection, images: Sequence[bytes], sent: Sent) -> None:
    runtime = connection.client("sagemaker-runtime")

    def ask(content: bytes) -> str:
        kind = "image/jpeg" if content[:2] == b"\xff\xd8" else "image/png"
        try:
            runtime.invoke_endpoint(
                EndpointName=connection.names.endpoint,
                Body=content,
                ContentType=kind,
                Accept="application/json",
                InferenceId=f"simulated-{uuid.uuid4().hex}",
            )["Body"].read()
        except (ClientError, BotoCoreError) as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(SENDERS) as pool:
        for failure in pool.map(ask, images):
            _count(sent, failure)


def _through_workflow(connection: Connection, images: Sequence[bytes], sent: Sent) -> None:
    names, s3 = connection.names, connection.client("s3")
    stored = []
    for content in images:
        suffix = "jpg" if content[:2] == b"\xff\xd8" else "png"
        key = f"{names.incoming_prefix}/simulated-{uuid.uuid4().hex[:12]}.{suffix}"
        s3.put_object(Bucket=names.data_bucket, Key=key, Body=content)
        stored.append(StoredImage(names.data_bucket, key))
    for outcome in executions.run(connection, stored):
        _count(sent, outcome.error if outcome.status == "FAILED" else "")


def _count(sent: Sent, failure: str) -> None:
    if failure:
        sent.failed += 1
        sent.first_failure = sent.first_failure or failure
    else:
        sent.answered += 1
