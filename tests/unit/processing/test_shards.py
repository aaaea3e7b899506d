"""Filtering on many instances and merging gives a whole dataset, or says which part or picture is at fault."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from imaging.dataset import SPLITS, load_split, read_examples, read_manifest
from processing.shards import merge, part
from tests.unit.processing.test_own_pictures import class_folders, shard_files, tar_of, texture


def divided(source: Path, folder: Path, instances: int) -> list[Path]:
    """What each instance gets of a prefix: every n-th object, in the order of the keys."""
    parts = [folder / f"part-{number}" for number in range(instances)]
    for number, path in enumerate(sorted(p for p in source.rglob("*") if p.is_file())):
        target = parts[number % instances] / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(path, target)
    for path in parts:
        path.mkdir(exist_ok=True)
    return parts


def filter_parts(parts: list[Path], folder: Path, *more: str) -> Path:
    """Run an instance for each part; they all write below one prefix."""
    for number, source in enumerate(parts, start=1):
        places = ["--source", str(source), "--output", str(folder / "dataset"), "--index", str(folder / "index")]
        message = ["--message-file", str(folder / "ml/message")]
        assert part.main([*places, "--host", f"algo-{number}", *message, *more]) == 0
    return folder / "dataset"


def merged(folder: Path, instances: int, *more: str) -> int:
    places = ["--index", str(folder / "index"), "--output", str(folder / "dataset")]
    return merge.main([*places, "--instances", str(instances), "--message-file", str(folder / "ml/message"), *more])


def content(dataset: Path) -> dict[str, set[bytes]]:
    return {split: {example.path.read_bytes() for example in read_examples(dataset, split)} for split in SPLITS}


@pytest.mark.parametrize("kind", ["folders", "tars"])
def test_many_instances_make_the_dataset_that_one_makes(tmp_path: Path, kind: str) -> None:
    source = class_folders(tmp_path / "in", ("daisy", "tulip"), 60)
    if kind == "tars":
        files = list(shard_files(source, "cls").items())
        source = tmp_path / "tars"
        for number in range(4):
            tar_of(source / f"{number}.tar", dict(files[number * 60 : (number + 1) * 60]))
    made = {}
    for instances in (1, 3):
        folder = tmp_path / str(instances)
        made[instances] = filter_parts(divided(source, folder, instances), folder, "--image-size", "40")
        assert merged(folder, instances) == 0
    one, three = (read_manifest(made[instances]) for instances in (1, 3))
    assert content(made[1]) == content(made[3])
    assert one.counts == three.counts
    assert one.digests == three.digests
    assert three.classes == ["daisy", "tulip"]
    assert sum(sum(split.values()) for split in three.counts.values()) == 120
    assert 0 < sum(three.counts["validation"].values()) < sum(three.counts["test"].values()) < 60
    images, labels = load_split(made[3], "train")
    assert images.shape[1:] == (40, 40, 3)
    assert set(labels.tolist()) == {0, 1}


def test_splits_and_chosen_classes_are_kept(tmp_path: Path) -> None:
    for split in ("train", "test"):
        class_folders(tmp_path / "in" / split, ("a b", "rosé", "zinnia"), 24)
    for number, path in enumerate(sorted((tmp_path / "in" / "test").rglob("IMG*"))):
        texture(10**6 + number).save(path)
    filter_parts(divided(tmp_path / "in", tmp_path, 2), tmp_path, "--classes", "zinnia,a b")
    assert merged(tmp_path, 2, "--classes", "zinnia,a b") == 0
    manifest = read_manifest(tmp_path / "dataset")
    assert manifest.classes == ["zinnia", "a b"]
    assert manifest.counts["test"] == {"zinnia": 24, "a b": 24}
    assert manifest.checks.classes_left_out == ["rosé"]


def test_a_picture_in_two_classes_is_named_though_no_instance_saw_both(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = class_folders(tmp_path / "in")
    texture(0).save(source / "tulip" / "IMG 7 copy.png")
    filter_parts(divided(source, tmp_path, 4), tmp_path)
    assert merged(tmp_path, 4) == 1
    line = capsys.readouterr().err
    assert "1 pictures stand in two splits or two classes" in line
    assert "daisy/IMG 0.png" in line
    assert "tulip/IMG 7 copy.png" in line


def test_copies_of_one_class_count_once_and_near_ones_stay_on_one_side(tmp_path: Path) -> None:
    source = class_folders(tmp_path / "in", count=30)
    for number in range(0, 30, 4):
        texture(number).save(source / "daisy" / f"again {number}.png")
        texture(number).save(source / "daisy" / f"smaller {number}.jpg", quality=50)
    filter_parts(divided(source, tmp_path, 3), tmp_path, "--image-size", "64")
    assert merged(tmp_path, 3) == 0
    manifest = read_manifest(tmp_path / "dataset")
    assert manifest.checks.copies_within_splits == {"all": 8}
    listed = sum(sum(split.values()) for split in manifest.counts.values())
    assert listed == 60 + 8 - manifest.checks.near_copies
    assert manifest.checks.near_copies > 0


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda index: (index / "algo-2.jsonl").unlink(), "expected the index of 2 instances, found algo-1"),
        (lambda index: cut(index / "algo-2.jsonl"), "algo-2.jsonl has no end: its instance was stopped"),
        (lambda index: (index / "algo-1.jsonl").write_bytes(b'["picture"'), "algo-1.jsonl line 1 is not what"),
    ],
)
def test_a_part_that_is_not_whole_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: object, says: str
) -> None:
    filter_parts(divided(class_folders(tmp_path / "in"), tmp_path, 2), tmp_path, "--image-size", "32")
    assert callable(spoil)
    spoil(tmp_path / "index")
    assert merged(tmp_path, 2) == 1
    assert says in capsys.readouterr().err


def cut(path: Path) -> None:
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def test_unreadable_pictures_are_counted_over_all_instances(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = class_folders(tmp_path / "in", count=30)
    (source / "daisy" / "broken.jpg").write_bytes(b"\xff\xd8 no picture")
    filter_parts(divided(source, tmp_path, 2), tmp_path, "--image-size", "32")
    assert merged(tmp_path, 2, "--tolerated", "0.01") == 1
    assert "daisy/broken.jpg" in capsys.readouterr().err
    assert merged(tmp_path, 2, "--tolerated", "0.05") == 0
    assert read_manifest(tmp_path / "dataset").checks.unreadable[0].startswith("daisy/broken.jpg")


def test_reviewed_images_are_added_once(tmp_path: Path) -> None:
    filter_parts(divided(class_folders(tmp_path / "in", count=40), tmp_path, 2), tmp_path, "--image-size", "32")
    for number, seed in enumerate((5000, 5001)):
        review = tmp_path / "reviews" / str(number)
        review.mkdir(parents=True)
        texture(seed).save(review / "image.png")
        document = {"label": "tulip", "at": "2026-01-01T00:00:00Z", "image": f"{number}/image.png"}
        (review / "label.json").write_text(json.dumps(document), encoding="utf-8")
    options = ("--reviewed", str(tmp_path / "reviews"), "--reviewed-until", "2026-02-01T00:00:00Z")
    assert merged(tmp_path, 2) == 0
    before = read_manifest(tmp_path / "dataset").counts["train"]["tulip"]
    assert merged(tmp_path, 2, *options) == 0
    manifest = read_manifest(tmp_path / "dataset")
    assert manifest.checks.reviews == {"added": 2}
    assert manifest.counts["train"]["tulip"] == before + 2
    load_split(tmp_path / "dataset", "train")
