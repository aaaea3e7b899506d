"""Documents are read as they are written, by every version's reader, and their schemas are those in docs/."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from reporting.documents.__main__ import DOCUMENTS, SCHEMAS_FOLDER, schemas
from reporting.documents.evaluation import Evaluation, Metric
from reporting.documents.json import DocumentError, from_bytes, to_text
from reporting.documents.training import TrainingRecord
from tests.places import SAMPLES


def test_the_schemas_in_docs_are_current() -> None:
    assert {path.name for path in SCHEMAS_FOLDER.iterdir()} == set(schemas())
    for name, text in schemas().items():
        assert (SCHEMAS_FOLDER / name).read_text(encoding="utf-8") == text, "run python -m reporting.documents"


@pytest.mark.parametrize("name", ["baseline", "dataset", "evaluation", "report", "training"])
def test_todays_samples_are_read_and_written_again_unchanged(name: str) -> None:
    data = (SAMPLES / f"{name}.json").read_bytes()
    assert json.loads(to_text(from_bytes(data, DOCUMENTS[name]), indent=1)) == json.loads(data)


@pytest.mark.parametrize("name", ["baseline", "dataset", "evaluation", "report", "training"])
def test_fields_are_written_in_the_order_of_the_samples(name: str) -> None:
    data = (SAMPLES / f"{name}.json").read_bytes()
    assert list(paths(json.loads(to_text(from_bytes(data, DOCUMENTS[name]), indent=1)))) == list(
        paths(json.loads(data))
    )


def paths(value: Any, at: str = "") -> Iterator[str]:
    """The place of every value in a JSON document, in order."""
    yield at
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, f"{at}/{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from paths(inner, f"{at}/{number}")


def test_captured_lines_are_read() -> None:
    for line in (SAMPLES / "capture.jsonl").read_bytes().splitlines():
        written = json.loads(line)
        read = msgspec.to_builtins(from_bytes(line, DOCUMENTS["capture_line"]))
        assert read["eventMetadata"]["eventId"] == written["eventMetadata"]["eventId"]
        assert read["captureData"]["endpointOutput"] == written["captureData"]["endpointOutput"]
        assert read["captureData"]["endpointInput"] == written["captureData"].get("endpointInput")


def test_an_evaluation_of_an_early_version_is_read() -> None:
    found = from_bytes(b'{"multiclass_classification_metrics": {"accuracy": {"value": 0.5}}}', Evaluation)
    assert (found.accuracy, found.comparison, found.coverage) == (0.5, None, [])


def test_a_field_of_a_later_version_is_passed_over() -> None:
    document = json.loads((SAMPLES / "training.json").read_text()) | {"wattage": 1}
    assert from_bytes(json.dumps(document).encode(), TrainingRecord).recipe == "scratch"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"value": "much"}', "Expected `float`, got `str` - at `$.value`"),
        ("{}", "missing required field `value`"),
        ("{", "Input data was truncated"),
    ],
)
def test_what_is_no_document_is_named_in_one_line(text: str, message: str) -> None:
    with pytest.raises(DocumentError, match=r"^[^\n]*$") as raised:
        from_bytes(text.encode(), Metric)
    assert message in str(raised.value)


def test_text_is_written_as_python_writes_it() -> None:
    assert (
        to_text({"a": [1e-07, "Äpfel", None]}, indent=1) == json.dumps({"a": [1e-07, "Äpfel", None]}, indent=1) + "\n"
    )
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_text(Metric(math.nan), indent=1)


def test_the_command_writes_the_schemas(capsys: pytest.CaptureFixture[str]) -> None:
    from reporting.documents.__main__ import main

    before = {path: path.read_bytes() for path in SCHEMAS_FOLDER.iterdir()}
    assert main() == 0
    assert {Path(line).name for line in capsys.readouterr().out.splitlines()} == set(schemas())
    assert {path: path.read_bytes() for path in SCHEMAS_FOLDER.iterdir()} == before
