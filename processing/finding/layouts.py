"""Find labelled pictures in a folder, however it is laid out; nothing is opened but a list.

Runs in the filter job.

| layout | what stands in the folder |
| --- | --- |
| class folders | ``<class>/**``, at least two; test and validation images are chosen by the seed |
| split folders | ``train`` or ``training``, perhaps ``test``, and ``val``, ``valid`` or ``validation`` |
| tar shards | ``.tar`` files anywhere below, see `processing.finding.tar_files` |
| list | one ``.csv``, ``.manifest`` or ``.jsonl`` file, see `processing.finding.lists` |

A folder that holds nothing but one other folder is looked through. Names count in any case.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from processing.finding.lists import LIST_SUFFIXES, is_list, names_pictures, read_list
from processing.finding.names import class_name, shown
from processing.finding.pictures import NO_TEXT, SPLIT_NAMES, FoundPictures, Picture, file_reason, skip_reason
from processing.finding.tar_files import find_tar_shards
from reporting.job import JobError

LAYOUTS = (
    "<class>/* folders, train/ and test/ with <class>/* in each, .tar files as WebDataset writes them, or a .csv,"
    " .manifest or .jsonl file that lists the pictures"
)
DEPTH = 6  # folders around the one that counts, such as what a zip unpacks to
PACKED = (".zip", ".tar.gz", ".tgz", ".7z", ".rar", ".tar.bz2", ".tar.xz", ".tar.zst")
BESIDE = "files beside the folders"
SHOWN = 5


def find_pictures(source: Path) -> FoundPictures | None:
    """What the folder, or the list, holds; None where there is nothing of the kind. Raises JobError."""
    if source.is_file():
        return read_list(source, source.parent) if source.suffix.lower() in LIST_SUFFIXES else None
    if not source.is_dir():
        return None
    for folder in _inwards(source):
        lists = sorted(filter(is_list, folder.iterdir()))
        naming = [path for path in lists if names_pictures(path)]
        if len(naming) > 1:
            names = ", ".join(shown(path.name) for path in naming)
            raise JobError(f"{shown(folder)} holds {len(naming)} lists, expected one: {names}")
        found = read_list(naming[0], folder) if naming else _folders(folder)
        if found is None and lists:
            read_list(lists[0], folder)  # says what is wrong with it
        if found is not None:
            return found
    return find_tar_shards(source)


def find_class_paths(source: Path) -> FoundPictures:
    """The pictures of one instance's part, in which most folders and even splits may be missing: paths say it all.

    ``<class>/...`` or ``<split>/<class>/...``. Raises JobError for a list, which one instance alone would have.
    """
    found = FoundPictures("class folders")
    for path in _files(source, found.skipped):
        place = path.relative_to(source)
        split = SPLIT_NAMES.get(place.parts[0].lower())
        inner = place.parts[1:] if split else place.parts
        if len(inner) > 1:
            found.pictures.append(Picture(class_name(inner[0]), split, path, shown(place)))
        else:
            found.skipped[BESIDE] += 1
    return found


def _inwards(source: Path) -> Iterator[Path]:
    """The folder, and the one in it where nothing else is."""
    for _ in range(DEPTH):
        yield source
        inner = [path for path in source.iterdir() if skip_reason(path.name) is None]
        if len(inner) != 1 or not inner[0].is_dir():
            return
        source = inner[0]


def _folders(source: Path) -> FoundPictures | None:
    skipped: Counter[str] = Counter()
    folders = _subfolders(source, skipped)
    splits = [path for path in folders if path.name.lower() in SPLIT_NAMES]
    if len(folders) > 1 and splits == folders and not _trains(splits):
        raise JobError(f"{shown(source)} holds {', '.join(path.name for path in splits)}, expected train as well")
    if _trains(splits):
        found = _split_folders(splits, [path for path in folders if path not in splits])
    elif len(folders) > 1:
        found = _class_folders("class folders", folders, None, source)
    else:
        return None
    found.skipped.update(skipped)
    return found if found.pictures else None


def _trains(splits: list[Path]) -> bool:
    return any(SPLIT_NAMES[path.name.lower()] == "train" for path in splits)


def _split_folders(splits: list[Path], others: list[Path]) -> FoundPictures:
    found = FoundPictures("split folders")
    named: dict[str, Path] = {}
    for path in splits:
        split = SPLIT_NAMES[path.name.lower()]
        if split in named:
            raise JobError(f"{path.parent} holds {named[split].name} and {path.name}, expected one of them for {split}")
        named[split] = path
        of_split = _class_folders(found.layout, _subfolders(path, found.skipped), split, path.parent)
        found.pictures += of_split.pictures
        found.skipped.update(of_split.skipped)
    found.skipped.update(f"{path.name}/ beside the splits" for path in others)
    return found


def _class_folders(layout: str, folders: list[Path], split: str | None, source: Path) -> FoundPictures:
    found, start = FoundPictures(layout), f"{source.as_posix()}/"
    for folder in folders:
        name = class_name(folder.name)
        for path in _files(folder, found.skipped):
            found.pictures.append(Picture(name, split, path, shown(path.as_posix().removeprefix(start))))
    return found


def _subfolders(folder: Path, skipped: Counter[str]) -> list[Path]:
    inner = []
    for path in sorted(folder.iterdir()):
        reason = skip_reason(path.name)
        if reason == NO_TEXT and path.is_dir():
            raise JobError(f"the folder {shown(path)} has a name that is not UTF-8: give it another")
        if reason is None and path.is_dir():
            inner.append(path)
        else:
            skipped[reason or BESIDE] += 1
    return inner


def _files(folder: Path, skipped: Counter[str]) -> Iterator[Path]:
    """The pictures below a class's folder, in the order of their names; links to folders in it are not followed."""
    for place, names, files in os.walk(folder, onerror=_cannot_look):
        names[:] = sorted(name for name in names if skip_reason(name) is None)
        for name in sorted(files):
            reason = file_reason(name)
            if reason is None:
                yield Path(place, name)
            else:
                skipped[reason] += 1


def _cannot_look(error: OSError) -> NoReturn:
    """A folder that is passed over would be a class, or half of one, less."""
    raise JobError(f"{shown(str(error.filename))} cannot be looked into: {error.strerror}") from error


def what_is_there(source: Path) -> str:
    """Of a folder without labelled pictures, what it holds instead, and what to do; empty where it holds nothing."""
    counted: Counter[str] = Counter()
    places: set[str] = set()
    packed = ""
    for place, names, files in os.walk(source):
        names[:] = [name for name in names if skip_reason(name) is None]
        for name in files:
            reason = file_reason(name)
            counted[reason or "pictures"] += 1
            places |= {shown(Path(place).relative_to(source))} if reason is None else set()
            packed = packed or (shown(name) if name.lower().endswith(PACKED) else "")
    held = ", ".join(f"{count:,} {what}" for what, count in counted.most_common(SHOWN))
    if packed:
        return f"it holds {held}: unpack {packed} first"
    if places and len(places) <= 1:
        return f"it holds {held}, all in one folder: give each class a folder of its own"
    return f"it holds {held}" if held else ""
