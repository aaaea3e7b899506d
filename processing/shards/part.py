"""Filter one instance's part of the pictures: ``python -m processing.shards.part``, on as many instances as there are.

Runs in a SageMaker processing container that gets its part of the objects (ShardedByS3Key). Writes PNG files into
``train/ validation/ test/`` and the index that `processing.shards.merge` reads. No instance knows what the others have:
where the source says no split, the digest of the pixels and the seed choose it, so that equal pictures stay together.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from imaging.dataset import SPLITS
from processing.dataset.picture_source import EVERY_CLASS, Look, look_at_all, natural_size
from processing.dataset.splitting import TEST_SHARE
from processing.filter_cifar import PARTIAL, check_arguments, parse_classes
from processing.finding.layouts import find_class_paths
from processing.finding.names import check_class_names
from processing.finding.pictures import NAMED, FoundPictures, Picture
from processing.finding.tar_files import find_tar_shards
from processing.shards.index import SUFFIX, End, ShardedPicture, line
from reporting.job import MESSAGE_FILE, JobError, run_job

AT_ONCE = 4096  # pictures between two writings of the index: what is known of them is in memory
RESOURCES = Path("/opt/ml/config/resourceconfig.json")


def main(argv: list[str] | None = None) -> int:
    """Run the job; the exit status."""
    arguments = _parse(argv)
    return run_job("filter", lambda: _filter(arguments), arguments.message_file)


def _parse(argv: list[str] | None) -> argparse.Namespace:
    root = Path("/opt/ml/processing")
    parser = argparse.ArgumentParser(prog="processing.shards.part", description="Filter one part of the pictures.")
    parser.add_argument("--source", type=Path, default=root / "input/source")
    parser.add_argument("--output", type=Path, default=root / "output/dataset")
    parser.add_argument("--index", type=Path, default=root / "output/index")
    parser.add_argument("--host", default="", help="what this instance is called; else what its configuration says")
    parser.add_argument("--classes", default="", help="names; all there are without")
    parser.add_argument("--image-size", type=int, default=0, help="pixels a side; 0: 32 for thumbnails, else 224")
    parser.add_argument("--tolerated", type=float, default=0.01, help="share of the pictures that may be unreadable")
    parser.add_argument("--seed", type=int, default=0, help="chooses the splits")
    parser.add_argument("--validation-fraction", type=float, default=0.1, help="share of the training images")
    parser.add_argument("--message-file", type=Path, default=MESSAGE_FILE)
    return parser.parse_args(argv)


def _filter(arguments: argparse.Namespace) -> None:
    check_arguments(arguments)
    wanted = [name for name in parse_classes(arguments.classes) if name != EVERY_CLASS]
    found = find_tar_shards(arguments.source) or find_class_paths(arguments.source)
    chosen = [picture for picture in found.pictures if not wanted or picture.label in wanted]
    check_class_names(sorted({picture.label for picture in chosen}))
    for folder in (arguments.index, *(arguments.output / split for split in SPLITS)):
        folder.mkdir(parents=True, exist_ok=True)
    end = _write_part(chosen, found, arguments)
    print(f"wrote {end.pictures} images to {arguments.output}, {end.unreadable} cannot be read", flush=True)


def _write_part(chosen: list[Picture], found: FoundPictures, arguments: argparse.Namespace) -> End:
    """The pictures and the index, its end last."""
    size = arguments.image_size or (natural_size(chosen) if chosen else 0)
    shares = _shares(chosen, arguments.validation_fraction)
    unreadable: list[str] = []
    written = 0
    index_file = arguments.index / f"{_host(arguments)}{SUFFIX}"
    with index_file.open("wb") as index, tempfile.TemporaryDirectory(prefix=PARTIAL, dir=arguments.output) as scratch:
        for start in range(0, len(chosen), AT_ONCE):
            pictures = chosen[start : start + AT_ONCE]
            for number, look in enumerate(look_at_all(pictures, size, Path(scratch))):
                if isinstance(look, str):
                    unreadable.append(f"{pictures[number].place}: {look}")
                    continue
                entry = _entry(pictures[number], look, arguments.seed, shares)
                Path(scratch, f"{number}.png").replace(arguments.output / entry.split / entry.name)
                index.write(line(entry))
                written += 1
        left_out = sorted(set(found.classes) - {picture.label for picture in chosen})
        end = End(written, found.layout, size, len(unreadable), unreadable[:NAMED], dict(found.skipped), left_out)
        index.write(line(end))
    return end


def _entry(picture: Picture, look: Look, seed: int, shares: Mapping[str, float]) -> ShardedPicture:
    held_out = picture.split if picture.split != "train" else None
    split = held_out or chosen_split(look.png_sha256, seed, shares)
    return ShardedPicture(
        picture.label,
        split,
        picture.place,
        look.file_sha256,
        look.png_sha256,
        look.look.hex(),
        look.size,
        look.mode,
    )


def chosen_split(digest: str, seed: int, shares: Mapping[str, float]) -> str:
    """A split by the picture itself; ``shares`` of the pictures go to these splits, the others are trained on."""
    drawn = int.from_bytes(hashlib.sha256(f"{seed} {digest}".encode()).digest()[:8], "big") / 2**64
    for split, share in shares.items():
        if drawn < share:
            return split
        drawn -= share
    return "train"


def _shares(pictures: list[Picture], validation_fraction: float) -> dict[str, float]:
    """Of the training pictures, for the splits that the source lacks."""
    given = {picture.split for picture in pictures}
    test = 0.0 if "test" in given else TEST_SHARE
    shares = {"test": test, "validation": 0.0 if "validation" in given else (1 - test) * validation_fraction}
    return {split: share for split, share in shares.items() if share}


def _host(arguments: argparse.Namespace) -> str:
    if arguments.host:
        return str(arguments.host)
    try:
        return str(json.loads(RESOURCES.read_text(encoding="utf-8"))["current_host"])
    except (OSError, ValueError, KeyError) as error:
        raise JobError(f"{RESOURCES} does not say which instance this is ({error!r}): name it with --host") from error


if __name__ == "__main__":
    sys.exit(main())
