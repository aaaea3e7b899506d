"""The whole loop on photographs at 224 pixels, as somebody with a folder of their own runs it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.local.stage.test_loop import Shop, new_shop
from tests.unit.processing.test_own_pictures import FLOWERS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FLOWERS.is_dir(), reason="the flowers' photographs are not here"),
]
KINDS = ("daisy", "roses", "tulips")
TRAIN, TEST = 30, 10


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("flowers")
    for split, count in (("train", TRAIN), ("test", TEST)):
        for kind in KINDS:
            (made / split / kind).mkdir(parents=True)
            for path in sorted((FLOWERS / split / kind).iterdir())[:count]:
                (made / split / kind / path.name).symlink_to(path)
    (made / ".secrets").mkdir()
    (made / ".secrets" / "key.png").write_bytes(b"nobody's business")
    return made


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, folder: Path) -> Iterator[Shop]:
    made = new_shop(tmp_path_factory.mktemp("photographs"), folder)
    yield made
    made.scones("account", "stop")


@pytest.fixture(scope="module")
def demo(shop: Shop, folder: Path) -> dict[str, Any]:
    """The summary of `scones demo` with the folder."""
    place = shop.home.parent
    written = ("--json", str(place / "summary.json"), "--report-dir", str(place / "report"))
    shop.succeeds("demo", "--data", str(folder), "--images", "9", "-p", "AccuracyGate=0.6", *written)
    summary: dict[str, Any] = json.loads((place / "summary.json").read_text(encoding="utf-8"))
    return summary


def test_the_folder_is_shown_as_it_is_trained_on(shop: Shop, folder: Path, demo: dict[str, Any]) -> None:
    sheet = shop.home.parent / "sheet.png"
    shown = json.loads(shop.succeeds("data", "show", "--data", str(folder), "--sheet", str(sheet), "--json"))
    dataset = demo["dataset"]
    assert (dataset["image_size"], dataset["counts"]) == (224, shown["counts"])
    assert dataset["digests"] == shown["digests"]
    assert dataset["counts"]["test"] == dict.fromkeys(KINDS, TEST)


def test_nothing_but_the_photographs_was_uploaded(shop: Shop, demo: dict[str, Any]) -> None:
    s3 = shop.client("s3")
    bucket = demo["dataset"]["uri"].removeprefix("s3://").split("/")[0]
    found = s3.list_objects_v2(Bucket=bucket, Prefix="source/")["Contents"]
    assert len(found) == len(KINDS) * (TRAIN + TEST)
    assert {Path(item["Key"]).suffix for item in found} == {".jpg"}


def test_the_model_learned_serves_and_is_reported_on(demo: dict[str, Any]) -> None:
    assert demo["accuracy"] > 0.6  # of three kinds; guessing gives a third
    assert len(demo["executions"]) == demo["capture_count"] == 9
    assert {outcome["true_label"] for outcome in demo["executions"]} == set(KINDS)
    page = Path(demo["report"]).read_text(encoding="utf-8")
    assert all(kind in page for kind in KINDS)


def test_a_photograph_as_it_came_from_the_camera_goes_through_the_workflow(
    shop: Shop, folder: Path, demo: dict[str, Any]
) -> None:
    photographs = sorted((folder / "train" / "tulips").iterdir())[:3]
    answer = shop.scones("classify", "--json", "--on-low-confidence", "review", *map(str, photographs))
    outcomes = json.loads(answer.stdout)
    assert [outcome["status"] for outcome in outcomes] == ["SUCCEEDED"] * 3
    assert sum(outcome["predicted_label"] == "tulips" for outcome in outcomes) >= 2
