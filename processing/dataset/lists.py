"""Lists of labelled pictures: a CSV file, or an augmented manifest as SageMaker Ground Truth writes it.

Runs in the filter job. A CSV names its columns in the first line: one of ``path, file, filename, image, uri``, one of
``label, class, category`` and, where it is known, ``split``. A line of a manifest is a JSON object with ``source-ref``
and the label's attribute, whose ``-metadata`` has the class's name. Paths count from the list's folder; ``s3://``
addresses are read by the job, so its role must be allowed to.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from processing.dataset.bucket import SCHEME
from processing.dataset.pictures import SPLIT_NAMES, FoundPictures, Picture, file_reason
from reporting.job import JobError

LIST_SUFFIXES = {".csv", ".manifest", ".jsonl"}
PATH_COLUMNS = ("path", "file", "filename", "file_name", "image", "uri")
LABEL_COLUMNS = ("label", "class", "category", "class_name")
SPLIT_COLUMN = "split"
SOURCE_REF = "source-ref"
METADATA = "-metadata"
MAX_LIST_BYTES = 1 << 30


def read_list(path: Path, folder: Path) -> FoundPictures:
    """The pictures that a list names. Raises JobError with the line that is at fault."""
    if path.stat().st_size > MAX_LIST_BYTES:
        raise JobError(f"{path} has more than {MAX_LIST_BYTES:,} bytes: cut the list in parts")
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    is_csv = path.suffix.lower() == ".csv"
    found = FoundPictures("CSV" if is_csv else "augmented manifest")
    for name, label, split in _csv_rows(path, text) if is_csv else _manifest_rows(path, text):
        reason = file_reason(name.rsplit("/", 1)[-1])
        if reason is not None:
            found.skipped[reason] += 1
            continue
        found.pictures.append(Picture(label, split, _where(name, folder, path), name))
    return found


def _where(name: str, folder: Path, path: Path) -> Path | str:
    if name.startswith(SCHEME):
        return name
    file = (folder / name).resolve()
    if not file.is_relative_to(folder.resolve()):
        raise JobError(f"{path} names {name!r}, which lies outside of its folder")
    return file


def _csv_rows(path: Path, text: str) -> Iterator[tuple[str, str, str | None]]:
    reader = csv.DictReader(io.StringIO(text))
    columns = {name.strip().lower(): name for name in reader.fieldnames or [] if name}
    file = next((columns[name] for name in PATH_COLUMNS if name in columns), None)
    label = next((columns[name] for name in LABEL_COLUMNS if name in columns), None)
    if file is None or label is None:
        raise JobError(
            f"{path}: expected a first line with a column for the file ({', '.join(PATH_COLUMNS)}) and its class"
            f" ({', '.join(LABEL_COLUMNS)}), got {', '.join(columns) or 'nothing'}"
        )
    for row in reader:
        name, class_name = (row.get(file) or "").strip(), (row.get(label) or "").strip()
        if not name or not class_name:
            raise JobError(f"{path} line {reader.line_num}: expected a file and a class, got {row}")
        yield name, class_name, _split(row.get(columns.get(SPLIT_COLUMN, ""), ""), f"{path} line {reader.line_num}")


def _split(text: str | None, where: str) -> str | None:
    if not text or not text.strip():
        return None
    try:
        return SPLIT_NAMES[text.strip().lower()]
    except KeyError:
        raise JobError(f"{where}: expected one of {', '.join(SPLIT_NAMES)} as split, got {text!r}") from None


def _manifest_rows(path: Path, text: str) -> Iterator[tuple[str, str, None]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
            yield str(document[SOURCE_REF]), _label(document), None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise JobError(
                f'{path} line {number}: expected {{"{SOURCE_REF}": ..., "<attribute>": ..., "<attribute>{METADATA}":'
                f' {{"class-name": ...}}}}: {error!r}'
            ) from error


def _label(document: Mapping[str, object]) -> str:
    """The class's name in the metadata of the first attribute that has one; else what ``label`` or ``class`` says."""
    for name, value in document.items():
        if name.endswith(METADATA) and isinstance(value, dict) and "class-name" in value:
            return str(value["class-name"])
    named = [document[name] for name in LABEL_COLUMNS if name in document]
    if not named:
        raise KeyError(METADATA)
    return str(named[0])
