"""Lists of labelled pictures: a CSV file, or an augmented manifest as SageMaker Ground Truth writes it.

Runs in the filter job. A CSV names its columns in the first line: one of `PATH_COLUMNS`, one of `LABEL_COLUMNS` and,
where it is known, ``split``; between them commas, semicolons or tabs; in UTF-8, or what Excel writes. A line of a
manifest is a JSON object with ``source-ref`` and the label's attribute, whose ``-metadata`` has the class's name. Paths
count from the list's folder; ``s3://`` addresses are read by the job, so its role must be allowed to.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PureWindowsPath

from processing.dataset.bucket import SCHEME
from processing.finding.names import class_name, shown
from processing.finding.pictures import SPLIT_NAMES, FoundPictures, Picture, file_reason, skip_reason
from reporting.job import JobError

CSV_SUFFIXES = {".csv", ".tsv"}
LIST_SUFFIXES = {*CSV_SUFFIXES, ".manifest", ".jsonl"}
PATH_COLUMNS = (
    *("path", "file", "filename", "file_name", "filepath", "file_path"),
    *("image", "image_path", "image_file", "img", "uri"),
)
LABEL_COLUMNS = ("label", "labels", "class", "class_name", "classname", "category", "label_name")
SPLIT_COLUMN = "split"
SOURCE_REF = "source-ref"
METADATA = "-metadata"
MAX_LIST_BYTES = 1 << 30
HEAD_BYTES = 1 << 16
NO_LABEL = "lines without a label"
FAILED = "failure-reason"
"""What Ground Truth writes beside a picture that nobody could label."""
BETWEEN = ",;\t"


def is_list(path: Path) -> bool:
    """Whether a file is a list by its name."""
    return path.suffix.lower() in LIST_SUFFIXES and skip_reason(path.name) is None and path.is_file()


def names_pictures(path: Path) -> bool:
    """Whether a list's first line is one of a list of pictures; other tables lie beside pictures, too."""
    if path.suffix.lower() not in CSV_SUFFIXES:
        return True
    with path.open("rb") as file:
        first = _text(file.read(HEAD_BYTES)).partition("\n")[0]
    return all(_columns(next(csv.reader([first], delimiter=_between(first)), [])))


def read_list(path: Path, folder: Path) -> FoundPictures:
    """The pictures that a list names. Raises JobError with the line that is at fault."""
    if path.stat().st_size > MAX_LIST_BYTES:
        raise JobError(f"{path} has more than {MAX_LIST_BYTES:,} bytes: cut the list in parts")
    text = _text(path.read_bytes())
    is_csv = path.suffix.lower() in CSV_SUFFIXES
    found = FoundPictures("CSV" if is_csv else "augmented manifest", listed=path)
    for name, label, split in _csv_rows(path, text) if is_csv else _manifest_rows(path, text):
        reason = file_reason(name.replace("\\", "/").rsplit("/", 1)[-1]) if label else NO_LABEL
        if reason is not None:
            found.skipped[reason] += 1
            continue
        found.pictures.append(Picture(class_name(label), split, _where(name, folder, path), shown(name)))
    return found


def _text(content: bytes) -> str:
    """UTF-8, the UTF-16 that Excel calls Unicode, or the one byte a letter of older Windows."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The end of a head may stand inside a letter.
        cut = error.end == len(content) and error.reason == "unexpected end of data"
        return content[: error.start].decode("utf-8-sig") if cut else content.decode("cp1252", "replace")


def _where(name: str, folder: Path, path: Path) -> Path | str:
    if name.startswith(SCHEME):
        return name
    if "\0" in name or Path(name).is_absolute() or PureWindowsPath(name).drive:
        raise JobError(f"{path} names {shown(name)!r}: expected a path that counts from the list's folder, or s3://")
    file = (folder / (name if "/" in name else name.replace("\\", "/"))).resolve()
    if not file.is_relative_to(folder.resolve()):
        raise JobError(f"{path} names {shown(name)!r}, which lies outside of its folder")
    return file


def _between(first: str) -> str:
    return max(BETWEEN, key=first.count)


def _columns(names: list[str]) -> tuple[str, str]:
    """The columns of the file and of its class, as the list calls them; empty for one that is not there."""
    known = {"_".join(name.strip().lower().replace("-", " ").split()): name for name in names}
    file = next((known[name] for name in PATH_COLUMNS if name in known), "")
    return file, next((known[name] for name in LABEL_COLUMNS if name in known), "")


def _csv_rows(path: Path, text: str) -> Iterator[tuple[str, str, str | None]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=_between(text.partition("\n")[0]))
    try:
        names = [str(name) for name in reader.fieldnames or []]
        file, label = _columns(names)
        if not file or not label:
            raise JobError(
                f"{path}: expected a first line with a column for the file ({', '.join(PATH_COLUMNS)}) and its class"
                f" ({', '.join(LABEL_COLUMNS)}), got {shown(', '.join(names)[:200]) or 'nothing'}"
            )
        split = next((name for name in names if name.strip().lower() == SPLIT_COLUMN), "")
        for row in reader:
            name, label_text = (row.get(file) or "").strip(), (row.get(label) or "").strip()
            if not name or not label_text:
                raise JobError(f"{path} line {reader.line_num}: expected a file and a class, got {row}")
            yield name, label_text, _split(row.get(split), f"{path} line {reader.line_num}")
    except csv.Error as error:
        raise JobError(f"{path} line {reader.line_num + 1} is no line of a table: {error}") from error


def _split(text: str | None, where: str) -> str | None:
    if not text or not text.strip():
        return None
    try:
        return SPLIT_NAMES[text.strip().lower()]
    except KeyError:
        raise JobError(f"{where}: expected one of {', '.join(SPLIT_NAMES)} as split, got {text!r}") from None


def _manifest_rows(path: Path, text: str) -> Iterator[tuple[str, str, None]]:
    for number, line in enumerate(text.split("\n"), start=1):
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
    """The class's name in the metadata of the first attribute that has one; else what ``label`` or ``class`` says.

    Empty where nobody could label the picture.
    """
    told = [value for name, value in document.items() if name.endswith(METADATA) and isinstance(value, dict)]
    for value in told:
        if "class-name" in value:
            return str(value["class-name"])
    if any(FAILED in value for value in told):
        return ""
    named = [document[name] for name in LABEL_COLUMNS if name in document]
    if not named:
        raise KeyError(METADATA)
    return str(named[0])
