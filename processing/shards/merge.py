"""Make one dataset of what many instances filtered: ``python -m processing.shards.merge``.

Runs in a SageMaker processing container, on one instance. Reads their indexes and no picture: all parts must be there
and whole, every class have enough images, and no picture stand in two splits or two classes. Of pictures that show
nearly the same, those outside of the test are left out of the lists. Writes the lists and ``dataset.json``.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imaging.dataset import SPLITS, Labels, format_rows
from imaging.png import encode_picture
from processing.dataset.dataset_checks import KEPT_FIRST, LEAST
from processing.dataset.near_copies import look_hash, near_groups
from processing.dataset.picture_source import EVERY_CLASS
from processing.dataset.reviewed_images import NEVER, Reviewed, read_reviewed
from processing.filter_cifar import in_short, parse_classes
from processing.finding.names import check_class_names
from processing.finding.pictures import NAMED
from processing.shards.index import SUFFIX, End, ShardedPicture, read
from reporting.documents.dataset import MANIFEST_FILE, Checks, Manifest
from reporting.documents.json import to_text
from reporting.job import MESSAGE_FILE, JobError, run_job

DIGEST_BYTES = 32


@dataclass
class Merged:
    """All instances' pictures: a number for the class and the split of each, and its fingerprints; no names."""

    classes: list[str]
    labels: Labels
    splits: Labels
    pngs: npt.NDArray[np.uint8]
    """[N, 32], digests."""
    looks: npt.NDArray[np.uint8]
    ends: list[End] = field(default_factory=list)
    sizes: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    sha256: str = ""


def main(argv: list[str] | None = None) -> int:
    """Run the job; the exit status."""
    arguments = _parse(argv)
    return run_job("merge", lambda: _merge(arguments), arguments.message_file)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    root = Path("/opt/ml/processing")
    parser = argparse.ArgumentParser(prog="processing.shards.merge", description="Merge what many instances filtered.")
    parser.add_argument("--index", type=Path, default=root / "input/index", help="folder with <host>.jsonl of all")
    parser.add_argument("--output", type=Path, default=root / "output/dataset")
    parser.add_argument("--instances", type=int, required=True, help="how many filtered")
    parser.add_argument("--classes", default="", help="names, in the order of the labels; all there are without")
    parser.add_argument("--tolerated", type=float, default=0.01, help="share of the pictures that may be unreadable")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--validation-fraction", type=float, default=0.1)
    parser.add_argument("--reviewed", default="/opt/ml/processing/input/reviewed", help="folder or s3:// of reviews")
    parser.add_argument("--reviewed-until", default=NEVER, help="take the images labelled up to then (ISO 8601)")
    parser.add_argument("--message-file", type=Path, default=MESSAGE_FILE)
    return parser.parse_args(argv)


def _merge(arguments: argparse.Namespace) -> None:
    parts = sorted(arguments.index.glob(f"*{SUFFIX}"))
    if len(parts) != arguments.instances:
        names = ", ".join(path.stem for path in parts) or "none"
        raise JobError(f"expected the index of {arguments.instances} instances, found {names}: run the step again")
    wanted = [name for name in parse_classes(arguments.classes) if name != EVERY_CLASS]
    merged = _read_all(parts, wanted)
    check_class_names(merged.classes)
    _check_unreadable(merged.ends, len(merged.labels), arguments.tolerated)
    size = _image_size(merged.ends)
    _refuse_copies(merged, parts)
    reviewed = read_reviewed(arguments.reviewed, arguments.reviewed_until, merged.classes, size)
    reviews = _add_reviewed(merged, reviewed, arguments.output / "train")
    kept, again, near = _kept(merged)
    counts = _counts(merged, kept)
    manifest = Manifest(
        classes=merged.classes,
        counts=counts,
        source_sha256=merged.sha256,
        seed=arguments.seed,
        validation_fraction=arguments.validation_fraction,
        digests=_write_lists(merged, kept, arguments.output),
        checks=_checks(merged, counts, again, near, reviews),
        image_size=size,
    )
    (arguments.output / MANIFEST_FILE).write_text(to_text(manifest, indent=2), encoding="utf-8")
    total = sum(sum(split.values()) for split in counts.values())
    print(f"merged {total} images of {len(parts)} instances: {in_short(counts)}", flush=True)


def _read_all(parts: list[Path], wanted: list[str]) -> Merged:
    numbers: dict[str, int] = {name: number for number, name in enumerate(wanted)}
    labels, splits, digests = bytearray(), bytearray(), hashlib.sha256()
    pngs, looks = bytearray(), bytearray()
    ends, sizes, modes = list[End](), Counter[str](), Counter[str]()
    for part in parts:
        for entry in read(part):
            if isinstance(entry, End):
                ends.append(entry)
                continue
            labels += numbers.setdefault(entry.label, len(numbers)).to_bytes(4, "little")
            splits.append(SPLITS.index(entry.split))
            pngs += bytes.fromhex(entry.png_sha256)
            looks += bytes.fromhex(entry.look)
            sizes[entry.size] += 1
            modes[entry.mode] += 1
            digests.update(f"{entry.place} {entry.file_sha256}\n".encode())
    names = wanted or sorted(numbers)
    order = np.array([names.index(name) for name in numbers], np.int64)
    found = np.frombuffer(labels, "<u4").astype(np.int64)
    return Merged(
        names,
        order[found] if len(found) else found,
        np.frombuffer(splits, np.uint8).astype(np.int64),
        _rows(pngs),
        _rows(looks),
        ends,
        sizes,
        modes,
        digests.hexdigest(),
    )


def _rows(digests: bytes | bytearray) -> npt.NDArray[np.uint8]:
    return np.frombuffer(digests, np.uint8).reshape(-1, DIGEST_BYTES)


def _check_unreadable(ends: list[End], pictures: int, tolerated: float) -> None:
    unreadable, named = sum(end.unreadable for end in ends), [name for end in ends for name in end.named]
    if unreadable > tolerated * (pictures + unreadable):
        raise JobError(
            f"{unreadable} pictures cannot be used, remove or replace them, or tolerate a share of"
            f" {unreadable / (pictures + unreadable):.3f}: {'; '.join(named[:NAMED])}"
        )


def _image_size(ends: list[End]) -> int:
    sizes = sorted({end.image_size for end in ends if end.pictures})
    if len(sizes) != 1:
        raise JobError(f"the instances chose {sizes or 'no'} pixels a side: say which with ImageSize")
    return sizes[0]


def _add_reviewed(merged: Merged, reviewed: Reviewed, folder: Path) -> dict[str, int]:
    """Write what people labelled as further training images; how many were added, and why others were not."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {row.tobytes() for row in merged.pngs} if reviewed.labels else set()
    added, pngs, looks = list[int](), list[bytes](), list[bytes]()
    for label, pixels in zip(reviewed.labels, reviewed.pixels, strict=True):
        png = encode_picture(pixels)
        digest = hashlib.sha256(png).digest()
        if digest in known:
            reviewed.left_out["in the dataset already"] += 1
            continue
        known.add(digest)
        (folder / f"{merged.classes[label]}_{digest.hex()[:16]}.png").write_bytes(png)
        added.append(label)
        pngs.append(digest)
        looks.append(look_hash(pixels))
    if added:
        merged.labels = np.append(merged.labels, added)
        merged.splits = np.append(merged.splits, [SPLITS.index("train")] * len(added))
        merged.pngs = np.append(merged.pngs, np.frombuffer(b"".join(pngs), np.uint8).reshape(-1, DIGEST_BYTES), axis=0)
        merged.looks = np.append(
            merged.looks, np.frombuffer(b"".join(looks), np.uint8).reshape(-1, DIGEST_BYTES), axis=0
        )
    return {"added": len(added), **dict(sorted(reviewed.left_out.items()))}


def _groups(keys: npt.NDArray[np.uint8]) -> Labels:
    """The same number for equal rows."""
    _, group = np.unique(np.ascontiguousarray(keys).view(f"V{keys.shape[1]}").ravel(), return_inverse=True)
    return group.astype(np.int64)


def _refuse_copies(merged: Merged, parts: list[Path]) -> None:
    """Raises JobError that names some of the pictures that stand in two splits or two classes."""
    group = _groups(merged.pngs)
    first = np.full(group.max(initial=-1) + 1, -1, np.int64)
    first[group[::-1]] = np.arange(len(group))[::-1]
    original = first[group]
    across = (merged.labels != merged.labels[original]) | (merged.splits != merged.splits[original])
    if not across.any():
        return
    some = np.flatnonzero(across)[:NAMED]
    numbers = {int(number) for number in (*some, *original[some])}
    places = _places(parts, numbers)
    pairs = ", ".join(f"{places[int(n)]} = {places[int(original[n])]}" for n in some)
    raise JobError(
        f"{int(across.sum())} pictures stand in two splits or two classes: {pairs};"
        " remove one of each pair, or the test's figures mean nothing"
    )


def _places(parts: list[Path], numbers: set[int]) -> dict[int, str]:
    """Where some pictures were, by their numbers; the indexes are read once more."""
    entries = (entry for part in parts for entry in read(part) if isinstance(entry, ShardedPicture))
    return {number: entry.place for number, entry in enumerate(entries) if number in numbers}


def _kept(merged: Merged) -> tuple[npt.NDArray[np.bool_], int, int]:
    """Which pictures the lists name; how many copies, and how many near ones of another split, they do not."""
    rank = np.array([KEPT_FIRST.index(split) for split in SPLITS])[merged.splits]
    order = np.argsort(rank, kind="stable")
    kept = np.zeros(len(order), dtype=bool)
    kept[order[np.unique(_groups(merged.pngs)[order], return_index=True)[1]]] = True
    copies = int((~kept).sum())
    group = near_groups(merged.looks)
    best = np.full(group.max(initial=-1) + 1, len(KEPT_FIRST))
    np.minimum.at(best, group, rank)
    apart = kept & (rank > best[group])
    return kept & ~apart, copies, int(apart.sum())


def _counts(merged: Merged, kept: npt.NDArray[np.bool_]) -> dict[str, dict[str, int]]:
    """Images by split and class. Raises JobError where a class has too few."""
    counts, few = {}, []
    for number, split in enumerate(SPLITS):
        of_split = merged.labels[kept & (merged.splits == number)]
        numbers = np.bincount(of_split, minlength=len(merged.classes)).tolist()
        counts[split] = dict(zip(merged.classes, numbers, strict=True))
        few += [
            f"the {split} split has {count} images of {name!r}, expected at least {LEAST[split]}"
            for name, count in counts[split].items()
            if count < LEAST[split]
        ]
    if few or len(merged.classes) < 2:
        more = f"; and {len(few) - NAMED} more" if len(few) > NAMED else ""
        raise JobError(
            f"{'; '.join(few[:NAMED]) or 'expected at least two classes'}{more}: add images or leave the class out"
        )
    return counts


def _write_lists(merged: Merged, kept: npt.NDArray[np.bool_], output: Path) -> dict[str, str]:
    """A list for each split, in the order of the classes and files; the digests of what the splits hold."""
    digests = {}
    for number, split in enumerate(SPLITS):
        rows = np.flatnonzero(kept & (merged.splits == number))
        names = [
            (int(label), f"{merged.classes[label]}_{digest[:16]}.png", digest)
            for label, digest in zip(
                merged.labels[rows], (merged.pngs[row].tobytes().hex() for row in rows), strict=True
            )
        ]
        names.sort()
        (output / f"{split}.lst").write_text(format_rows((label, name) for label, name, _ in names), encoding="utf-8")
        lines = sorted((name, digest) for _, name, digest in names)
        digests[split] = hashlib.sha256("".join(f"{d}  {name}\n" for name, d in lines).encode()).hexdigest()
    return digests


def _checks(
    merged: Merged, counts: dict[str, dict[str, int]], copies: int, near: int, reviews: dict[str, int]
) -> Checks:
    skipped, left_out = Counter[str](), set[str]()
    for end in merged.ends:
        skipped.update(end.skipped)
        left_out |= set(end.classes_left_out) - set(merged.classes)
    return Checks(
        images={split: sum(of_split.values()) for split, of_split in counts.items()},
        sizes=dict(merged.sizes.most_common(NAMED)),
        modes=dict(merged.modes),
        copies_within_splits={"all": copies},
        layout=next(end.layout for end in merged.ends if end.pictures),
        skipped=dict(skipped),
        classes_left_out=sorted(left_out),
        unreadable=[name for end in merged.ends for name in end.named],
        near_copies=near,
        reviews=reviews,
    )


if __name__ == "__main__":
    sys.exit(main())
