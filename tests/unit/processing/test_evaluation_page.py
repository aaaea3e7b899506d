"""The evaluation job on stored answers: its page and plots, and the inputs that are easily got wrong."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from processing import evaluate
from processing.evaluation.champion import compare
from processing.evaluation.page import Demands, outcome, verdict
from reporting.documents.evaluation import Evaluation
from reporting.documents.json import from_bytes
from tests.colour_models import write_archive, write_test_images
from tests.places import ROOT

VEHICLES = ["bicycle", "motorcycle"]


def png(shade: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (32, 32), (shade % 256, 120, 80)).save(out, "PNG")
    return out.getvalue()


class Job:
    """An evaluation of stored answers; ``answers`` are a true label and the probabilities for each image."""

    def __init__(self, folder: Path, classes: Sequence[str], answers: Sequence[tuple[int, Sequence[float]]]) -> None:
        images = [(label, png(number)) for number, (label, _) in enumerate(answers)]
        self.dataset = write_test_images(folder / "dataset", classes, images)
        self.predictions = folder / "predictions"
        for path, (_, row) in zip(sorted(self.dataset.rglob("*.png"), key=lambda p: p.name), answers, strict=True):
            stored = self.predictions / f"{path.relative_to(self.dataset / 'test')}.out"
            stored.parent.mkdir(parents=True, exist_ok=True)
            stored.write_text(json.dumps(list(row)))
        self.output = folder / "evaluation"

    def run(self, *more: str) -> int:
        places = ["--dataset", self.dataset, "--predictions", self.predictions, "--output", self.output]
        return evaluate.main([*map(str, places), "--message-file", str(self.output.parent / "no" / "message"), *more])

    @property
    def document(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads((self.output / "evaluation.json").read_text())
        return document

    @property
    def page(self) -> str:
        return (self.output / "evaluation.html").read_text(encoding="utf-8")

    def verdict(self) -> str:
        found = re.search(r'<p class="verdict \w+">(.*?)</p>', self.page)
        assert found
        return found[1].replace("\N{NO-BREAK SPACE}", " ")


def two_classes(folder: Path) -> Job:
    """40 images: 38 right with confidence 0.95 or 0.85, one of each class wrong with 0.9."""
    right = [(n % 2, [0.95, 0.05] if n % 2 == 0 else [0.15, 0.85]) for n in range(38)]
    return Job(folder, VEHICLES, [*right, (0, [0.1, 0.9]), (1, [0.9, 0.1])])


def colours_of(path: Path) -> set[tuple[int, int, int]]:
    with Image.open(path) as image:
        return {tuple(colour) for colour in np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)}


def test_the_page_is_one_file_with_the_verdict_the_plots_and_the_mistakes(tmp_path: Path) -> None:
    job = two_classes(tmp_path)
    assert job.run("--accuracy-gate", "0.89", "--threshold", "0.93") == 0
    assert job.verdict() == (
        "Fit to register: accuracy 95 % (83.5 to 98.6 %) on 40 test images reaches the gate of 89 %; "
        "47.5 % of the images pass the threshold 0.93, and of those 100 % are right (83.2 to 100 %)."
    )
    assert job.page.count("<svg") == 4 and "no history of its training" in job.page
    assert job.page.count('<li><img src="data:image/png;base64,') == 2
    assert "said <strong>motorcycle</strong><br>is <strong>bicycle</strong><br>0.900" in job.page
    outside = re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?(?!data:|#)([^"\')>]+)', job.page)
    assert outside == [] and "<script" not in job.page
    ids = re.findall(r'\bid="([^"]+)"', job.page)
    assert len(ids) == len(set(ids))


def test_the_scatter_has_the_prescribed_colours(tmp_path: Path) -> None:
    job = two_classes(tmp_path)
    assert job.run() == 0
    assert {(0x3A, 0x7E, 0xC2), (0xD8, 0x49, 0x3D), (0x2F, 0x9E, 0x44)} <= colours_of(job.output / "confidence.png")


@pytest.mark.parametrize("epochs", [1, 3])
def test_the_learning_curves_come_from_the_model_archive(tmp_path: Path, epochs: int) -> None:
    """Of a single epoch they would be dots: its figures are said."""
    job = two_classes(tmp_path)
    archive = tmp_path / "model" / "model.tar.gz"
    archive.parent.mkdir()
    history = [
        {"member": member, "epoch": epoch, "train_loss": 1 / epoch, "validation_loss": 1.0, "validation_accuracy": 0.8}
        for member in (0, 1)
        for epoch in range(1, epochs + 1)
    ]
    record = {"history": history}
    write_archive(archive, VEHICLES, [[1, 0], [0, 1], [0, 0]], record)
    places = ["--dataset", str(job.dataset), "--model", str(archive.parent), "--output", str(job.output)]
    assert evaluate.main(places) == 0
    drawn = epochs > 1
    assert ((job.output / "learning_curves.png").is_file(), job.page.count("<svg")) == (drawn, 4 + drawn)
    assert ("One epoch, so no curves: training loss 1, validation loss 1, validation accuracy 0.8" in job.page) != drawn
    assert "no history of its training" not in job.page


@pytest.mark.parametrize("threshold", ["0", "1"])
@pytest.mark.parametrize("right", [True, False])
@pytest.mark.parametrize(("classes", "images"), [(2, 1), (10, 60)])
def test_extreme_answers_are_scored_and_drawn(
    tmp_path: Path, threshold: str, right: bool, classes: int, images: int
) -> None:
    """One class in the test set, all answers right or all wrong, every image or none at the threshold."""
    row = [0.04 / (classes - 1)] * classes
    row[0 if right else 1] = 0.96
    job = Job(tmp_path, [f"class {number} of $x$ <b>" for number in range(classes)], [(0, row)] * images)
    assert job.run("--threshold", threshold, "--accuracy-gate", "0.5") == 0
    document = job.document
    assert document["multiclass_classification_metrics"]["accuracy"] == {"value": float(right), "standard_deviation": 0}
    assert document["area_under_curve"] is None
    entry = next(entry for entry in document["coverage"] if entry["threshold"] == float(threshold))
    assert (entry["count"], entry["accuracy"]) == ((images, float(right)) if threshold == "0" else (0, None))
    assert len(document["threshold_table"]) == 51
    assert job.verdict().startswith("Fit to register: " if right else "Not fit to register: ")
    assert "<b>" not in job.page
    assert {path.stem for path in job.output.glob("*.png")} == {"confidence", "coverage", "reliability", "confusion"}


def test_the_answers_missing_superfluous_or_malformed_are_named_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = two_classes(tmp_path)
    stored = sorted(job.predictions.rglob("*.out"), key=lambda path: path.name)
    stored[0].unlink()
    stored[1].write_text("[NaN, NaN]")
    stored[2].write_text("[0.5]")
    stored[3].write_text("[0.5, 0.9]")
    stored[4].write_text("<html>")
    (job.predictions / "cat.png.out").write_text("[0.5, 0.5]")
    assert job.run() == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    for part in (
        "missing: class0/0000.png.out;",
        "of no test image: cat.png.out;",
        "class1/0001.png.out (expected numbers from 0 to 1, got [NaN, NaN])",
        "class0/0002.png.out (expected 2 numbers, got [0.5])",
        "class1/0003.png.out (expected a sum of 1, got 1.400)",
        "class0/0004.png.out (",
    ):
        assert part in error
    assert not job.output.exists()


def test_a_folder_without_answers_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = two_classes(tmp_path)
    job.predictions = tmp_path / "elsewhere"
    assert job.run() == 1
    assert "elsewhere is missing: expected the output of a batch transform" in capsys.readouterr().err


def test_a_model_that_answers_nan_is_refused_by_the_image(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = two_classes(tmp_path)
    nan = float("nan")
    write_archive(tmp_path / "model.tar.gz", VEHICLES, [[nan, 0], [0, 1], [0, 0]])
    places = ["--dataset", str(job.dataset), "--model", str(tmp_path), "--output", str(job.output)]
    assert evaluate.main(places) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "class0/0000.png" in error
    assert not job.output.exists()


def test_the_csv_holds_every_probability(tmp_path: Path) -> None:
    job = two_classes(tmp_path)
    assert job.run() == 0
    with (job.output / "predictions.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows[1] == {
        "path": "test/class1/0001.png",
        "true": "motorcycle",
        "predicted": "motorcycle",
        "confidence": "0.85",
        "probability_bicycle": "0.15",
        "probability_motorcycle": "0.85",
    }


@pytest.mark.parametrize("option", ["--wished-accuracy", "--champion-significance", "--accuracy-gate"])
def test_an_option_out_of_range_is_one_line(tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert two_classes(tmp_path).run(option, "93") == 1
    assert option in capsys.readouterr().err


def test_the_verdict_speaks_of_the_champion(tmp_path: Path) -> None:
    job = two_classes(tmp_path)
    assert job.run("--champion-group", "vehicles", "--champion-significance", "0") == 0
    assert "; the comparison with the champion is switched off; " in job.verdict()
    labels = np.array([0] * 40)
    challenger = np.array([[0.4, 0.6]] * 6 + [[0.9, 0.1]] * 34)
    champion = np.array([[0.9, 0.1]] * 40)
    worse = compare("arn:aws:sagemaker:us-east-1:123456789012:model-package/vehicles/7", labels, champion, challenger)
    demands = Demands(None, "vehicles", 0.05, "photographs")
    document = msgspec.structs.replace(
        from_bytes((job.output / "evaluation.json").read_bytes(), Evaluation),
        champion=worse,
        champion_gate=evaluate.champion_gate(worse),
    )
    assert msgspec.to_builtins(document.champion_gate) == {"p_value_worse": {"value": 1 / 64}}
    assert outcome(document, demands) == "unfit"
    assert "worse than the champion (version 7), 100 % on the same images, p = 0.016;" in verdict(document, demands)
    better = compare(worse.model_package_arn, labels, challenger, champion)
    document = msgspec.structs.replace(document, champion=better, champion_gate=evaluate.champion_gate(better))
    assert outcome(document, demands) == "fit"
    assert "not shown to be worse than the champion" in verdict(document, demands)


def test_drawn_images_are_called_drawn(tmp_path: Path) -> None:
    job = two_classes(tmp_path)
    assert job.run("--data-origin", "drawn vehicles") == 0
    assert job.verdict().endswith("; all images are drawn vehicles.")


def test_a_refused_input_does_not_wait_for_the_plots() -> None:
    program = "import sys, processing.evaluate; sys.exit('matplotlib' in sys.modules or 'boto3' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False).returncode == 0
