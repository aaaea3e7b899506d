"""Evaluate the model on the held-out test images, through the very functions that serve it.

Runs in a SageMaker processing container. Reads the dataset folder and ``model.tar.gz`` (or, with ``--predictions``,
a batch transform's outputs) and, with ``--champion-group``, the approved model from the registry. Writes
``evaluation.json`` (SageMaker's ``multiclass_classification_metrics`` and sections of our own), ``evaluation.html``,
the plots as PNG files, ``predictions.csv`` and ``smoke.json``, with which a deployment of the model is tested.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from imaging.dataset import DatasetError, read_examples, read_manifest
from imaging.labels import LabelsError
from processing.evaluation.answers import (
    MODEL_ARCHIVE,
    Evaluated,
    load_model,
    read_history,
    served_probabilities,
    stored_probabilities,
)
from processing.evaluation.champion import compare_with_champion
from processing.evaluation.page import Demands, EvaluationView, Mistake, render_page, verdict
from processing.evaluation.scores import (
    Labels,
    areas_under_curve,
    by_names,
    calibration_error,
    class_scores,
    confusion,
    coverage,
    reliability,
    summary_with_deviation,
    threshold_for_accuracy,
    top_answers,
    wilson_interval,
)
from processing.evaluation.smoke_images import smoke_document
from processing.evaluation.tracked import log_evaluation
from reporting.documents.evaluation import (
    EVALUATION_FILE,
    ChampionGate,
    ClassFigures,
    Comparison,
    Evaluation,
    Metric,
    MulticlassMetrics,
)
from reporting.documents.json import to_text
from reporting.documents.traffic import PHOTOGRAPHS
from reporting.job import MESSAGE_FILE, JobError, run_job
from serving.inference import ModelError

THRESHOLDS = (0.73, 0.93, 0.94)  # always reported, so that evaluations stay comparable when the threshold moves
MISTAKES_SHOWN = 12
FINE_THRESHOLDS = (*(round(percent / 100, 2) for percent in range(50, 100)), 0.995)


def main(argv: list[str] | None = None) -> int:
    """Run the job; the exit status."""
    arguments = _parse(argv)

    def work() -> None:
        try:
            document = evaluate(arguments)
        except (DatasetError, LabelsError, ModelError) as error:
            raise JobError(str(error)) from error
        print(verdict(document, _demands(arguments)), flush=True)
        log_evaluation(document, arguments.output, arguments.model / MODEL_ARCHIVE)

    return run_job("evaluate", work, arguments.message_file)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    root = Path("/opt/ml/processing")
    parser = argparse.ArgumentParser(prog="processing.evaluate", description="Evaluate a model on the test images.")
    parser.add_argument("--model", type=Path, default=root / "input/model", help=f"folder with {MODEL_ARCHIVE}")
    parser.add_argument("--predictions", type=Path, help="folder with a batch transform's outputs, instead of a model")
    parser.add_argument("--dataset", type=Path, default=root / "input/dataset")
    parser.add_argument("--output", type=Path, default=root / "output/evaluation")
    parser.add_argument("--threshold", type=float, default=0.93, help="confidence from which a prediction counts")
    parser.add_argument("--wished-accuracy", type=float, default=0.99, help="find the threshold that reaches this")
    parser.add_argument("--champion-group", default="", help="compare with this group's newest approved version")
    parser.add_argument(
        "--champion-significance", type=float, default=0.05, help="p-value below which it counts as worse; 0: no check"
    )
    parser.add_argument("--accuracy-gate", type=float, help="the accuracy the pipeline asks for, named in the page")
    parser.add_argument("--data-origin", default=PHOTOGRAPHS, help="what the images are, named in the page")
    parser.add_argument("--message-file", type=Path, default=MESSAGE_FILE)
    return parser.parse_args(argv)


def evaluate(arguments: argparse.Namespace) -> Evaluation:
    """Evaluate and write the files; the content of ``evaluation.json``. Raises what main() turns into a message."""
    _check(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        measured = _measure(arguments, Path(scratch))
    champion = None
    if arguments.champion_group and arguments.champion_significance > 0:
        champion = compare_with_champion(
            arguments.champion_group, measured.classes, measured.examples, measured.labels, measured.probabilities
        )
    document = describe(measured, arguments.threshold, arguments.wished_accuracy, champion)
    _write(arguments, measured, document)
    return document


def _write(arguments: argparse.Namespace, measured: Evaluated, document: Evaluation) -> None:
    # Imports matplotlib, which a refused input need not wait for.
    from processing.evaluation.plots import CHARTS, EvaluationData

    charts = CHARTS.draw(EvaluationData(measured, arguments.threshold, arguments.wished_accuracy))
    view = EvaluationView(document, *_worst_mistakes(measured, arguments.dataset / "test"))
    page = render_page(view, _demands(arguments), charts)
    output: Path = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    for name, chart in charts.items():
        if chart.png:
            (output / f"{name}.png").write_bytes(chart.png)
    (output / "evaluation.html").write_text(page, encoding="utf-8")
    _write_predictions(output / "predictions.csv", measured, arguments.dataset)
    smoke = smoke_document(measured, arguments.dataset)
    (output / "smoke.json").write_text(json.dumps(smoke, indent=2) + "\n", encoding="utf-8")
    # Last, and at once: whoever finds it finds the others too.
    partial = output / f"{EVALUATION_FILE}.partial"
    partial.write_text(to_text(document, indent=2), encoding="utf-8")
    partial.replace(output / EVALUATION_FILE)


def _demands(arguments: argparse.Namespace) -> Demands:
    return Demands(
        arguments.accuracy_gate, arguments.champion_group, arguments.champion_significance, arguments.data_origin
    )


def _check(arguments: argparse.Namespace) -> None:
    for name in ("threshold", "champion_significance", "accuracy_gate"):
        value = getattr(arguments, name)
        if value is not None and not 0.0 <= value <= 1.0:
            raise JobError(f"--{name.replace('_', '-')} must lie between 0 and 1, got {value}")
    if not 0.0 < arguments.wished_accuracy <= 1.0:
        raise JobError(f"--wished-accuracy must be above 0 and at most 1, got {arguments.wished_accuracy}")


def _measure(arguments: argparse.Namespace, scratch: Path) -> Evaluated:
    classes = read_manifest(arguments.dataset).classes
    examples = read_examples(arguments.dataset, "test")
    labels = np.array([example.label for example in examples], dtype=np.int64)
    if labels.max() >= len(classes):
        raise JobError(f"{arguments.dataset}/test.lst holds label {labels.max()}, but there are {len(classes)} classes")
    if arguments.predictions:
        folder, test = arguments.predictions, arguments.dataset / "test"
        return Evaluated(classes, examples, labels, stored_probabilities(folder, test, examples, len(classes)), [])
    model = load_model(arguments.model / MODEL_ARCHIVE, scratch)
    if model.classes != classes:
        raise JobError(f"the model knows {model.classes}, the dataset {classes}: they come from different runs")
    return Evaluated(classes, examples, labels, served_probabilities(model, examples), read_history(scratch))


def describe(measured: Evaluated, threshold: float, wished_accuracy: float, champion: Comparison | None) -> Evaluation:
    """The content of ``evaluation.json``."""
    classes, labels, probabilities = measured.classes, measured.labels, measured.probabilities
    matrix = confusion(labels, probabilities.argmax(axis=1), len(classes))
    areas = areas_under_curve(labels, probabilities)
    known = [area for area in areas if area is not None]
    bins = reliability(labels, probabilities)
    return Evaluation(
        multiclass_classification_metrics=MulticlassMetrics(
            confusion_matrix=by_names(matrix, classes), **summary_with_deviation(matrix)
        ),
        images=len(labels),
        accuracy_interval_95=list(wilson_interval(int(np.trace(matrix)), len(labels))),
        area_under_curve=float(np.mean(known)) if known else None,
        classes=_per_class(classes, matrix, areas),
        calibration_error=calibration_error(bins),
        reliability=bins,
        threshold=threshold,
        coverage=[coverage(labels, probabilities, value) for value in sorted({*THRESHOLDS, threshold})],
        threshold_for_accuracy=threshold_for_accuracy(labels, probabilities, wished_accuracy),
        threshold_table=[coverage(labels, probabilities, value) for value in FINE_THRESHOLDS],
        champion=champion,
        champion_gate=champion_gate(champion),
    )


def champion_gate(champion: Comparison | None) -> ChampionGate:
    """What the pipeline's condition reads: 1 where there is nothing to be worse than."""
    p_value = champion.p_value if champion else None
    return ChampionGate(Metric(1.0 if p_value is None else p_value))


def _per_class(classes: list[str], matrix: Labels, areas: list[float | None]) -> dict[str, ClassFigures]:
    precision, recall, f1 = class_scores(matrix)
    support, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    return {
        name: ClassFigures(
            images=int(support[i]),
            precision=float(precision[i]),
            precision_interval_95=list(wilson_interval(int(matrix[i, i]), int(predicted[i]))),
            recall=float(recall[i]),
            recall_interval_95=list(wilson_interval(int(matrix[i, i]), int(support[i]))),
            f1=float(f1[i]),
            area_under_curve=areas[i],
        )
        for i, name in enumerate(classes)
    }


def _write_predictions(path: Path, measured: Evaluated, dataset: Path) -> None:
    classes = measured.classes
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(["path", "true", "predicted", "confidence", *(f"probability_{name}" for name in classes)])
        for example, row in zip(measured.examples, measured.probabilities, strict=True):
            name = example.path.relative_to(dataset).as_posix()
            predicted = classes[int(row.argmax())]
            writer.writerow([name, classes[example.label], predicted, float(row.max()), *row.tolist()])


def _worst_mistakes(measured: Evaluated, test_folder: Path) -> tuple[list[Mistake], int]:
    """The wrong answers given with the most confidence, worst first, and how many are wrong in all."""
    confidence, right = top_answers(measured.labels, measured.probabilities)
    wrong = np.flatnonzero(~right)
    worst = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES_SHOWN]
    mistakes = [
        Mistake(
            measured.examples[at].path.relative_to(test_folder).as_posix(),
            measured.examples[at].path.read_bytes(),
            measured.classes[measured.labels[at]],
            measured.classes[int(measured.probabilities[at].argmax())],
            float(confidence[at]),
        )
        for at in worst
    ]
    return mistakes, len(wrong)


if __name__ == "__main__":
    sys.exit(main())
