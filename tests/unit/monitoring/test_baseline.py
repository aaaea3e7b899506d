"""The baseline job on the real validation images: what it writes, and what it refuses to read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import UNSET

from imaging.statistics import STATISTICS
from monitoring import baseline
from monitoring.drift import channels
from monitoring.drift.baseline import BaselineError, read_baseline
from monitoring.quality.corruptions import KINDS, Pixels
from monitoring.quality.measured_errors import FEWEST_OF_A_STATE, Validation, measure_errors, told_apart
from monitoring.store.novelty import Answered
from processing import filter_cifar
from tests.colour_models import write_archive

CLASSES = ("bicycle", "motorcycle")
# Bicycles stand before brighter backgrounds.
WEIGHTS = [[1.5, -1.5], [1.5, -1.5], [1.5, -1.5]]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, real_archive: Path) -> Path:
    root = tmp_path_factory.mktemp("baseline")
    assert filter_cifar.main(["--source", str(real_archive), "--output", str(root / "dataset")]) == 0
    (root / "model").mkdir()
    write_archive(root / "model" / "model.tar.gz", CLASSES, WEIGHTS)
    assert job(root, root / "output") == 0
    return root


def job(root: Path, output: Path, *more: str) -> int:
    folders = ["--model", str(root / "model"), "--dataset", str(root / "dataset"), "--output", str(output)]
    return baseline.main([*folders, "--message-file", str(root / "ml/output/message"), *more])


def test_it_describes_every_validation_image_as_served(run: Path) -> None:
    document = json.loads((run / "output/baseline.json").read_text())
    counts = json.loads((run / "dataset/dataset.json").read_text())["counts"]["validation"]
    found = read_baseline(run / "output/baseline.json", CLASSES)
    assert document["count"] == sum(counts.values()) == len(found.confidence)
    assert document["origin"] == "validation split"
    assert document["mean_confidence"] == pytest.approx(found.confidence.mean(), abs=1e-5)
    assert document["share_below_threshold"] == pytest.approx((found.confidence < 0.93).mean())
    assert document["accuracy"]["interval"][0] < document["accuracy"]["value"] < document["accuracy"]["interval"][1]
    assert sum(document["class_shares"].values()) == pytest.approx(1.0)
    assert sum(row["count"] for row in document["calibration"]["bins"]) == document["count"]
    assert tuple(found.statistics) == STATISTICS
    assert {"statistics.json", "constraints.json"} <= {path.name for path in (run / "output").iterdir()}


def test_it_is_a_reference_for_the_detectors(run: Path) -> None:
    found = read_baseline(run / "output/baseline.json")
    strict, lax = (found.predictions(thresholds) for thresholds in ([0.99, 0.99], [0.0, 0.99]))
    assert (lax.passes == (found.predicted == 0) | (found.confidence >= 0.99)).all()
    assert strict.passes.sum() < lax.passes.sum()
    bounds = channels.reference(strict, CLASSES).bounds
    assert set(bounds) == {"confidence", "below threshold", "class share", *STATISTICS}


def test_the_error_of_estimates_is_measured_on_worse_copies_of_the_same_images(run: Path) -> None:
    document = json.loads((run / "output/baseline.json").read_text())
    clean, *worse = document["estimate_errors"]
    assert (clean["corruption"], clean["images"]) == ("none", min(300, document["count"]))
    assert clean["accuracy"] == pytest.approx(document["accuracy"]["value"], abs=0.06)
    states = [(each["corruption"], each["severity"]) for each in worse]
    assert ("coarse pixels", 1) in states, "the pictures hardly look different"
    assert ("noise", 3) not in states, "the pictures give it away, so no estimate is shown beside them"
    assert all(
        kind in KINDS and shifted(each) <= told_apart(100) for each, (kind, _) in zip(worse, states, strict=True)
    )
    assert all(0.0 <= each["deviation"] < 0.1 for each in worse)
    assert set(clean["shifts"].values()) == {0.0}
    assert max(shifted(each) for each in worse) > 0.1


def shifted(error: dict[str, Any]) -> float:
    """The furthest of the pictures' own; a mean rank changes by no more than their distributions are apart."""
    return max(abs(shift) for name, shift in error["shifts"].items() if name in STATISTICS)


@pytest.mark.parametrize(("seconds", "images"), [(0.0, FEWEST_OF_A_STATE), (1e9, 100)])
def test_a_dear_model_is_asked_about_fewer_worse_images(seconds: float, images: int) -> None:
    chance = np.random.default_rng(1)
    pixels = chance.integers(0, 256, (100, 32, 32, 3)).astype(np.uint8)
    labels = np.arange(100) % 2
    asked: list[int] = []

    def answer(worse: Pixels) -> Answered:
        asked.append(len(worse))
        bright = worse.mean(axis=(1, 2, 3)) / 255
        return Answered(np.stack([bright, 1 - bright], axis=1), novelty=bright)

    validation = Validation(pixels, labels, answer(pixels))
    clean, *worse = measure_errors(validation, answer, seconds)
    assert worse
    assert (clean.images, {each.images for each in worse}) == (100, {images})
    assert asked[3:] == [images] * len(worse)
    # Of the same images: what the whole split says, and by how much these differ from themselves.
    same = {each.corruption: each for each in measure_errors(validation, answer, 1e9)}
    assert all(abs(each.accuracy - same[each.corruption].accuracy) < 0.3 for each in worse)


def test_many_records_are_thinned_out_evenly() -> None:
    count = 3 * baseline.MOST_RECORDS
    confidence = np.linspace(0.5, 1.0, count)
    seen = channels.Predictions(
        np.zeros(count, np.int64), confidence, np.zeros(count, np.int64), confidence > 0.9, {"noise": confidence}
    )
    document = baseline.describe(seen, CLASSES, "traffic", 0.9)
    kept = document.records.confidence
    assert (document.count, len(kept), kept[0], kept[-1]) == (count, baseline.MOST_RECORDS, 0.5, 1.0)


def test_answers_of_a_batch_transform_take_the_place_of_a_model(run: Path, tmp_path: Path) -> None:
    for image in (run / "dataset/test").rglob("*.png"):
        answer = tmp_path / "answers" / image.relative_to(run / "dataset/test").with_suffix(".png.out")
        answer.parent.mkdir(parents=True, exist_ok=True)
        answer.write_text("[0.75, 0.25]")
    assert job(run, tmp_path / "output", "--predictions", str(tmp_path / "answers")) == 0
    found = read_baseline(tmp_path / "output/baseline.json")
    assert (found.origin, set(found.confidence), len(found.confidence)) == ("test split", {0.75}, 200)
    assert found.document.estimate_errors is UNSET, "there was no model to ask"


def test_a_model_of_other_classes_is_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model").mkdir()
    write_archive(tmp_path / "model" / "model.tar.gz", ["bicycle", "lorry"], WEIGHTS)
    assert job(run, tmp_path / "output", "--model", str(tmp_path / "model")) == 1
    assert "the model knows ['bicycle', 'lorry'], the dataset ['bicycle', 'motorcycle']" in capsys.readouterr().err
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"records": {}}, "is no baseline"),
        ({"version": 9}, "no baseline of version 1"),
        ({"classes": ["bicycle"]}, "a model with the classes bicycle, but the traffic"),
        ({"classes": ["bicycle", "lorry"]}, "a model with the classes bicycle, lorry, but the traffic is of one"),
    ],
)
def test_what_is_no_baseline_of_this_model_is_refused(
    run: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    document = json.loads((run / "output/baseline.json").read_text()) | change
    (tmp_path / "baseline.json").write_text(json.dumps(document))
    with pytest.raises(BaselineError, match=message):
        read_baseline(tmp_path / "baseline.json", CLASSES)


def test_a_truncated_file_is_refused(run: Path, tmp_path: Path) -> None:
    (tmp_path / "baseline.json").write_text((run / "output/baseline.json").read_text()[:-100])
    with pytest.raises(BaselineError, match=r"is no baseline .* expected what `python -m monitoring.baseline` writes"):
        read_baseline(tmp_path / "baseline.json")
