"""The distance to the training images: a channel like the others where the model says it, and absent where not."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from monitoring.store.novelty import NoveltyModel
from tests.served_model import write_model
from tests.unit.monitoring.test_report_drift import START, capture, line, make_baseline, numbers, picture, run

HOURS, A_HOUR = 3, 30


def write_novel_model(path: Path) -> None:
    """Says how far the mean brightness of an image is from 160, in steps of 40."""
    nodes = [
        helper.make_node("Cast", ["images"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["real"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Sub", ["mean", "usual"], ["away"]),
        helper.make_node("Abs", ["away"], ["far"]),
        helper.make_node("Div", ["far", "step"], ["novelty"]),
    ]
    constants = [numpy_helper.from_array(np.array([v], np.float32), n) for n, v in (("usual", 160.0), ("step", 40.0))]
    graph = helper.make_graph(
        nodes,
        "distance",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["N", 32, 32, 3])],
        [helper.make_tensor_value_info("novelty", TensorProto.FLOAT, ["N"])],
        constants,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Captures of which one image is unlike the others, and a baseline with the model that tells."""
    folder = tmp_path_factory.mktemp("novelty")
    for hour in range(HOURS):
        for number in range(A_HOUR):
            at = START + timedelta(hours=hour, minutes=2 * number)
            value = 20 if (hour, number) == (2, 7) else 140
            image = picture(value, 1000 + A_HOUR * hour + number)
            share = 0.97 if number % 2 else 0.03
            capture(folder / "captures", at, line(f"{hour}-{number}", at, [share, round(1 - share, 2)], image))
    write_novel_model(folder / "model.onnx")
    novelty = NoveltyModel.of(folder / "model.onnx")
    assert novelty is not None
    make_baseline(folder / "baseline.json")
    document: dict[str, Any] = json.loads((folder / "baseline.json").read_text())
    pixels = np.stack([np.random.default_rng(at).integers(140, 180, (32, 32, 3), np.uint8) for at in range(400)])
    document["records"]["statistics"]["novelty"] = novelty(pixels).tolist()
    (folder / "baseline.json").write_text(json.dumps(document))
    return folder


def test_it_is_a_channel_of_the_images_and_shows_what_is_furthest(watched: Path, tmp_path: Path) -> None:
    assert run(watched / "captures", tmp_path, "--baseline", str(watched / "baseline.json"), hours=HOURS) == 0
    report = numbers(tmp_path)
    images = {family["family"]: family for family in report["drift"]["families"]}["images"]
    assert images["channels"]["novelty"]["values"] == HOURS * A_HOUR
    assert report["farthest"][0]["event_id"] == "2-7"
    assert report["farthest"][0]["statistic"] == "novelty"
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "Farthest from the training images" in page
    assert report["notes"] == []


def test_what_was_found_is_kept_by_model(watched: Path, tmp_path: Path) -> None:
    more = ("--baseline", str(watched / "baseline.json"), "--state", str(tmp_path / "state"))
    assert run(watched / "captures", tmp_path, *more, hours=HOURS) == 0
    (kept,) = {path.name for path in (tmp_path / "state").rglob("_00.images*.parquet")}
    novelty = NoveltyModel.of(watched / "model.onnx")
    assert novelty is not None
    assert kept == f"_00.images-{novelty.digest}.parquet"
    assert run(watched / "captures", tmp_path, *more, hours=HOURS) == 0


@pytest.mark.parametrize("beside", [None, b"no model", "older"])
def test_a_model_that_is_missing_or_says_nothing_is_noted_and_the_rest_goes_on(
    watched: Path, tmp_path: Path, beside: bytes | str | None
) -> None:
    (tmp_path / "baseline.json").write_bytes((watched / "baseline.json").read_bytes())
    if beside == "older":
        write_model(tmp_path)  # answers probabilities alone
    elif isinstance(beside, bytes):
        (tmp_path / "model.onnx").write_bytes(beside)
    assert run(watched / "captures", tmp_path, "--baseline", str(tmp_path / "baseline.json"), hours=HOURS) == 0
    report = numbers(tmp_path)
    assert report["notes"] == [
        "How far images are from the training images is not judged: no model.onnx beside the baseline"
    ]
    assert report["farthest"] == []
    images = {family["family"]: family for family in report["drift"]["families"]}["images"]
    assert not images["channels"]["novelty"]["judged"]
    assert images["channels"]["brightness"]["judged"]


def test_a_baseline_of_an_older_version_has_no_such_channel(watched: Path, tmp_path: Path) -> None:
    make_baseline(tmp_path / "baseline.json")
    assert run(watched / "captures", tmp_path, "--baseline", str(tmp_path / "baseline.json"), hours=HOURS) == 0
    report = numbers(tmp_path)
    assert report["notes"] == []
    assert "novelty" not in {name for f in report["drift"]["families"] for name in f["channels"]}
