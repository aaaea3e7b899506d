"""Labelled pictures in tar files, as WebDataset lays them out: files of one name belong together.

Runs in the filter job. A sample is a picture and, beside it,
``<name>.cls``, ``.txt`` or ``.json`` with its class; where
there is neither, the folder inside the tar file is its class. The split is that of the folder around the tar files, or
of their names (``train-0001.tar``). Nothing is unpacked: a picture is a slice of its tar file, so that many threads
read at once and memory does not grow with the files.
"""

from __future__ import annotations

import itertools
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from processing.finding.names import class_name, shown
from processing.finding.pictures import SPLIT_NAMES, FoundPictures, Picture, Slice, file_reason
from reporting.job import JobError

TAR_SUFFIX = ".tar"
LABEL_SUFFIXES = (".cls", ".txt", ".json")
JSON_KEYS = ("label", "class", "category", "class_name", "cls")
MAX_LABEL_BYTES = 1 << 16


def find_tar_shards(folder: Path) -> FoundPictures | None:
    """The pictures in all tar files below a folder; None where there is no such file. Raises JobError."""
    shards = sorted(path for path in folder.rglob("*") if path.suffix.lower() == TAR_SUFFIX and path.is_file())
    if not shards:
        return None
    found = FoundPictures("tar shards")
    for shard in shards:
        found.pictures += _pictures(shard, shard.relative_to(folder), found)
    return found


def _split(shard: PurePosixPath) -> str | None:
    """The split that a folder or the beginning of the name says."""
    names = [*shard.parts[:-1], shard.stem.replace("_", "-").split("-")[0]]
    said = [SPLIT_NAMES[name.lower()] for name in names if name.lower() in SPLIT_NAMES]
    return said[0] if said else None


def _pictures(shard: Path, name: Path, found: FoundPictures) -> Iterator[Picture]:
    split = _split(PurePosixPath(name.as_posix()))
    try:
        with tarfile.open(shard, "r:") as tar:
            yield from _samples(tar, shard, name.as_posix(), split, found)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise JobError(f"{name} is no whole tar file ({error}): make it again, or take it away") from error


def _samples(
    tar: tarfile.TarFile, shard: Path, name: str, split: str | None, found: FoundPictures
) -> Iterator[Picture]:
    """The files of a sample follow each other; their names are alike up to the first dot of the last part."""
    key, label, pictures = "", "", list[tarfile.TarInfo]()
    for member in itertools.chain(tar, [None]):
        if member is None or _key(member.name) != key:
            for one in pictures:
                place = shown(f"{name}/{one.name}")
                yield Picture(
                    class_name(label or _folder(one, name)), split, Slice(shard, one.offset_data, one.size), place
                )
            if member is None:
                return
            key, label, pictures = _key(member.name), "", []
        tar.members.clear()  # type: ignore[attr-defined]  # not in the stubs; it would keep every file it has seen
        if not member.isfile():
            continue
        suffix = PurePosixPath(member.name).suffix.lower()
        if suffix in LABEL_SUFFIXES:
            label = _label(tar, member, f"{name}/{member.name}") or label
        elif (reason := file_reason(PurePosixPath(member.name).name)) is None:
            pictures.append(member)
        else:
            found.skipped[reason] += 1


def _key(name: str) -> str:
    path = PurePosixPath(name)
    return str(path.with_name(path.name.split(".")[0])) if path.name.split(".")[0] else name


def _folder(member: tarfile.TarInfo, shard: str) -> str:
    parent = PurePosixPath(member.name).parent.name
    if not parent:
        raise JobError(
            f"{shard}/{member.name} has no class: expected {', '.join(LABEL_SUFFIXES)} of the same name beside it, or a"
            " folder of the class's name around it"
        )
    return parent


def _label(tar: tarfile.TarFile, member: tarfile.TarInfo, place: str) -> str:
    """The class that a file of a sample names; empty where a JSON file says nothing of it. Raises JobError."""
    file = tar.extractfile(member)
    text = (file.read(MAX_LABEL_BYTES) if file else b"").decode("utf-8", "replace").strip()
    if not member.name.lower().endswith(".json"):
        if not text or "\n" in text:
            raise JobError(f"{place}: expected the class in one line, got {text[:40]!r}")
        return text
    try:
        document = json.loads(text)
    except ValueError as error:
        raise JobError(f"{place} is not JSON: {error}") from error
    named = [document[key] for key in JSON_KEYS if key in document] if isinstance(document, dict) else []
    return str(named[0]) if named else ""
