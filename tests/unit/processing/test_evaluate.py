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
from serving.inference import input_fn, model_fn, output_fn, predict_fn
from tests.places import SAMPLES
from tests.realdata import cifar_archive
from training import train


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
    assert rows[17]["path"] == example.path.relative_to(chain / "dataset").as_posix()
    assert [float(rows[17][f"probability_{name}"]) for name in model.classes] == served
    assert float(rows[17]["confidence"]) == max(served)
    assert rows[17]["true"] == model.classes[example.label]
    accuracy = document["multiclass_classification_metrics"]["accuracy"]["value"]
    assert accuracy == np.mean([row["true"] == row["predicted"] for row in rows])
    assert document["images"] == len(rows) == 200
    assert [entry["threshold"] for entry in document["coverage"]] == [0.5, 0.73, 0.93, 0.94]
    assert document["coverage"][0]["coverage"] == 1.0


def test_stored_answers_are_scored_like_served_ones(chain: Path, tmp_path: Path) -> None:
    assert run(chain, tmp_path / "served") == 0
    with (tmp_path / "served" / "predictions.csv").open() as stream:
        for row in csv.DictReader(stream):
            stored = tmp_path / "transform" / f"{Path(row['path']).relative_to('test')}.out"
            stored.parent.mkdir(parents=True, exist_ok=True)
            stored.write_text(json.dumps([float(row["probability_bicycle"]), float(row["probability_motorcycle"])]))
    options = ["--predictions", str(tmp_path / "transform")]
    assert run(chain, tmp_path / "stored", *options, model=tmp_path / "none") == 0
    for name in ("evaluation.json", "predictions.csv", "confidence.png"):
        assert (tmp_path / "stored" / name).read_bytes() == (tmp_path / "served" / name).read_bytes()


def test_the_evaluation_has_the_layout_of_the_sample(chain: Path, tmp_path: Path) -> None:
    assert run(chain, tmp_path / "evaluation") == 0
    document = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    sample = json.loads((SAMPLES / "evaluation.json").read_text())
    assert set(document) == set(sample)
    for unreached in ("champion", "coverage", "threshold_for_accuracy"):  # null, depending on the model
        document[unreached] = sample[unreached]
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
