"""Every command that the README and docs/ name, run one after the other: three scripts, each with an account."""

from __future__ import annotations

import io
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from botocore.config import Config
from PIL import Image

from processing.dataset.cifar_source import read_archive
from tests.documented import without_stage
from tests.local.conftest import free_port, owners_client
from tests.local.stage.documented_script import ADDED, ELSEWHERE, SCRIPTS, SERVERS, script

pytestmark = pytest.mark.slow  # minutes: trainings, simulated traffic

BUCKET = "scones-local-data-123456789012-us-east-1"
PREFIX = "source/flowers"
FLOWERS = ("daisy", "tulip")
SCONES = str(Path(sys.executable).with_name("scones"))


def test_every_documented_command_is_run_here_or_said_to_be_elsewhere() -> None:
    assert without_stage() == ({command for _, command, _ in script()} | ELSEWHERE.keys())


@dataclass
class Reader:
    """Somebody who follows the pages: in a folder of theirs, with pictures of theirs."""

    folder: Path
    port: int
    archive: Path

    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "SCONES_"))}
        return {
            **kept,
            "HOME": str(self.folder),
            "BROWSER": "true",  # opens nothing
            "SCONES_HOME": str(self.folder / ".scones"),
            "SCONES_DATA": str(self.archive),
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "COLUMNS": "200",
        }

    def words(self, command: str) -> list[str]:
        line = f"{command} {ADDED.get(command, '')}".replace("s3://BUCKET/PREFIX", f"s3://{BUCKET}/{PREFIX}")
        return [SCONES, *shlex.split(line.replace("~", str(self.folder)))[1:]]

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.words(command),
            cwd=self.folder,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def serve(self, command: str) -> str:
        """What a server says first; then it is stopped as by Ctrl-C."""
        with subprocess.Popen(
            [*self.words(command), "--port", "0"],
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            assert process.stdout is not None
            said = process.stdout.readline()
            process.send_signal(signal.SIGINT)
        return said

    def client(self, service: str) -> Any:
        config = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
        return owners_client(service, self.folder / ".scones" / "account", self.port, config)

    def prepare(self) -> None:
        """The pictures that the pages speak of."""
        test = read_archive(self.archive, ["bicycle", "motorcycle"]).splits["test"]
        pixels = [Image.fromarray(np.asarray(image)) for image in test.pixels(test.rows[:6])]
        pixels[0].save(self.folder / "photo.png")
        pixels[0].save(self.folder / "photo.jpg")
        (self.folder / "photos").mkdir()
        for number, image in enumerate(pixels):
            image.save(self.folder / "photos" / f"{number}.png")
        for folder, classes in (("flowers", FLOWERS), ("vehicles", ("bicycle", "tank"))):
            for name, data in pictures(classes).items():
                (self.folder / folder / name).parent.mkdir(parents=True, exist_ok=True)
                (self.folder / folder / name).write_bytes(data)

    def upload(self) -> None:
        """The same flowers in the stage's bucket."""
        s3 = self.client("s3")
        for name, data in pictures(FLOWERS).items():
            s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}/{name}", Body=data)


def pictures(classes: tuple[str, str], count: int = 40) -> dict[str, bytes]:
    """Pictures of two kinds that are easily told apart, each different."""
    chance, found = np.random.default_rng(1), {}
    for name, level in zip(classes, (40, 200), strict=True):
        for number in range(count):
            buffer = io.BytesIO()
            Image.fromarray(chance.integers(level - 40, level + 40, (32, 32, 3), np.uint8)).save(buffer, "PNG")
            found[f"{name}/{number}.png"] = buffer.getvalue()
    return found


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory, real_archive: Path) -> Iterator[dict[str, Reader]]:
    """One for each script, whose account ends with it."""
    made = {name: Reader(tmp_path_factory.mktemp(name), free_port(), real_archive) for name in SCRIPTS}
    for reader in made.values():
        reader.prepare()
    yield made
    for reader in made.values():
        reader.run("scones account stop")


@pytest.mark.parametrize(("name", "command", "refusal"), script())
def test_a_documented_command_does_what_it_is_named_for(
    readers: dict[str, Reader], name: str, command: str, refusal: str
) -> None:
    reader = readers[name]
    if command.startswith(SERVERS):
        assert "http://127.0.0.1:" in reader.serve(command)
        return
    if "BUCKET" in command:
        reader.upload()
    done = reader.run(command)
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    assert re.search(refusal, said) if refusal else done.returncode == 0, said[-3000:]
    assert bool(done.returncode) == bool(refusal)
