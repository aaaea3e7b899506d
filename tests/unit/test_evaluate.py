"""The evaluation job: its figures against hand-computed ones, and the whole chain on the real images."""

from __future__ import annotations

import csv
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from imaging.dataset import read_examples
from processing import evaluate, filter_cifar
from processing.scores import (
    calibration_error,
    class_scores,
    confusion,
    coverage,
    summary_with_deviation,
    wilson_interval,
)
from serving.inference import input_fn, model_fn, output_fn, predict_fn
from tests.realdata import cifar_archive
from training import train

SAMPLES = Path(__file__).resolve().parent.parent / "samples"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ``dataset`` and ``model`` as the two earlier steps leave them: real archive, one epoch, one member."""
    root = tmp_path_factory.mktemp("chain")
    assert filter_cifar.main(["--source", str(cifar_archive()), "--output", str(root / "dataset")]) == 0
    places = [
        "--dataset",
        str(root / "dataset"),
        "--model-dir",
        str(root / "artifact"),
        "--output-dir",
        str(root / "o"),
    ]
    assert train.main([*places, "--epochs", "1", "--members", "1"]) == 0
    (root / "model").mkdir()
    with tarfile.open(root / "model" / "model.tar.gz", "w:gz") as tar:
        tar.add(root / "artifact", arcname=".")
    return root


def run(chain: Path, output: Path, *more: str, model: Path | None = None) -> int:
    folders = ["--model", str(model or chain / "model"), "--dataset", str(chain / "dataset"), "--output", str(output)]
    return evaluate.main([*folders, "--message-file", str(output.parent / "ml" / "message"), *more])


def shape(document: object) -> object:
    """The keys of a JSON document and the kinds of its values."""
    if isinstance(document, dict):
        return {key: shape(value) for key, value in document.items()}
    if isinstance(document, list):
        return [shape(document[0])] if document else []
    return "number" if isinstance(document, int | float) else type(document).__name__


def test_the_evaluation_is_of_what_is_served(chain: Path, tmp_path: Path) -> None:
    assert run(chain, tmp_path / "evaluation", "--threshold", "0.5") == 0
    document = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    with (tmp_path / "evaluation" / "predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    model = model_fn(str(chain / "artifact"))
    example = read_examples(chain / "dataset", "test")[17]
    served = json.loads(
        output_fn(predict_fn(input_fn(example.path.read_bytes(), "image/png"), model), "application/json")
    )
    assert rows[17]["path"] == f"test/{example.path.name}"
    assert float(rows[17]["confidence"]) == max(served)
    assert rows[17]["true"] == model.classes[example.label]
    accuracy = document["multiclass_classification_metrics"]["accuracy"]["value"]
    assert accuracy == np.mean([row["true"] == row["predicted"] for row in rows])
    assert document["images"] == len(rows) == 200
    assert [entry["threshold"] for entry in document["coverage"]] == [0.5, 0.73, 0.93, 0.94]
    assert document["coverage"][0]["coverage"] == 1.0


def test_the_evaluation_has_the_layout_of_the_sample(chain: Path, tmp_path: Path) -> None:
    assert run(chain, tmp_path / "evaluation") == 0
    document = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    sample = json.loads((SAMPLES / "evaluation.json").read_text())
    document["coverage"] = [entry for entry in document["coverage"] if entry["accuracy"] is not None] or sample[
        "coverage"
    ]
    assert shape(document) == shape(sample)


def test_a_missing_or_damaged_model_is_one_line(
    chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(chain, tmp_path / "out", model=tmp_path) == 1
    assert "model.tar.gz is missing" in capsys.readouterr().err
    (tmp_path / "model.tar.gz").write_bytes((chain / "model" / "model.tar.gz").read_bytes()[:5000])
    assert run(chain, tmp_path / "out", model=tmp_path) == 1
    assert "truncated" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert "truncated" in (tmp_path / "ml" / "message").read_text()


def test_a_model_of_other_classes_is_refused(chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "labels.json").write_text('{"classes": ["tank", "bus"]}')
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as tar:
        tar.add(chain / "artifact" / "model.onnx", arcname="model.onnx")
        tar.add(tmp_path / "labels.json", arcname="labels.json")
    assert run(chain, tmp_path / "out", model=tmp_path) == 1
    assert "different runs" in capsys.readouterr().err


def test_a_threshold_outside_0_to_1_is_refused(chain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(chain, tmp_path / "out", "--threshold", "93") == 1
    assert "between 0 and 1" in capsys.readouterr().err


def test_the_confusion_matrix_has_a_row_per_true_class() -> None:
    matrix = confusion(np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1]), 2)
    assert matrix.tolist() == [[1, 2], [0, 1]]
    precision, recall, f1 = class_scores(matrix)
    assert precision == pytest.approx([1.0, 1 / 3])
    assert recall == pytest.approx([1 / 3, 1.0])
    assert f1 == pytest.approx([0.5, 0.5])


def test_weighted_metrics_and_their_deviation() -> None:
    metrics = summary_with_deviation(np.array([[90, 10], [20, 80]]))
    assert metrics["accuracy"]["value"] == pytest.approx(0.85)
    assert metrics["accuracy"]["standard_deviation"] == pytest.approx((0.85 * 0.15 / 200) ** 0.5, rel=0.1)
    assert metrics["weighted_recall"]["value"] == pytest.approx(0.85)
    assert metrics["weighted_precision"]["value"] == pytest.approx((90 / 110 + 80 / 90) / 2)
    assert metrics["accuracy_best_constant_classifier"]["value"] == pytest.approx(0.5)


def test_wilson_interval_of_a_known_case() -> None:
    """Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662."""
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 0) == (0.0, 1.0)
    assert wilson_interval(200, 200)[1] == pytest.approx(1.0)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    probabilities = np.array([[0.8, 0.2]] * 10)
    assert calibration_error(np.array([0] * 8 + [1] * 2), probabilities) == pytest.approx(0.0)
    assert calibration_error(np.array([0] * 5 + [1] * 5), probabilities) == pytest.approx(0.3)


def test_coverage_counts_the_threshold_itself_as_reached() -> None:
    probabilities = np.array([[0.93, 0.07], [0.92, 0.08], [0.01, 0.99]])
    entry = coverage(np.array([0, 0, 0]), probabilities, 0.93)
    assert (entry["count"], entry["coverage"], entry["accuracy"]) == (2, pytest.approx(2 / 3), 0.5)
    assert coverage(np.array([0, 0, 0]), probabilities, 1.0)["accuracy"] is None
