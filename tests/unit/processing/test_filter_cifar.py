"""The filter job on the real archive, on other kinds of source, and on bad input."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imaging.dataset import SPLITS, load_split, read_manifest
from processing.dataset.archive import extract_archive
from processing.filter_cifar import main
from reporting.job import JobError
from tests.places import SAMPLES
from tests.realdata import cifar_archive


def run(source: Path, output: Path, *more: str) -> int:
    message = output.parent / "ml" / "message"
    return main(["--source", str(source), "--output", str(output), "--message-file", str(message), *more])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def assert_fails(capsys: pytest.CaptureFixture[str], output: Path, source: Path, reason: str, *more: str) -> None:
    """Exit code 1, one line with the reason on stderr and in the message file, nothing left in the output."""
    assert run(source, output, *more) == 1
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1
    assert reason in errors
    assert (output.parent / "ml" / "message").read_text() == errors.strip()
    assert not output.exists() or not any(output.iterdir())


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def fake_archive(path: Path, batch: object, names: list[bytes]) -> Path:
    """An archive in CIFAR-100's layout with this batch as both train and test."""
    with tarfile.open(path, "w:gz") as tar:
        add(tar, "cifar-100-python/meta", pickle.dumps({b"fine_label_names": names}))
        for split in ("train", "test"):
            add(tar, f"cifar-100-python/{split}", batch if isinstance(batch, bytes) else pickle.dumps(batch))
    return path


def test_the_real_archive_becomes_a_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "dataset"
    assert run(cifar_archive().parent, output) == 0
    manifest = read_manifest(output)
    assert (
        json.loads((output / "dataset.json").read_text()).keys()
        == json.loads((SAMPLES / "dataset.json").read_text()).keys()
    )
    assert manifest.classes == ["bicycle", "motorcycle"]
    assert manifest.source_sha256 == hashlib.sha256(cifar_archive().read_bytes()).hexdigest()
    assert manifest.counts["test"] == {"bicycle": 100, "motorcycle": 100}
    assert manifest.counts["validation"] == {"bicycle": 50, "motorcycle": 50}
    extra = ("contact_sheet.png", "dataset.json")
    assert sorted(p.name for p in output.iterdir()) == sorted([*SPLITS, *(f"{s}.lst" for s in SPLITS), *extra])
    for split in SPLITS:
        images, labels = load_split(output, split)
        assert np.bincount(labels).tolist() == list(manifest.counts[split].values())
        assert len(images) == len(list((output / split).iterdir()))
    assert "wrote 1200 images" in capsys.readouterr().out


def test_pixels_and_labels_are_the_archives(tmp_path: Path) -> None:
    """Read again row by row, by another way than the job's."""
    assert run(cifar_archive(), tmp_path / "dataset") == 0
    extract_archive(cifar_archive(), tmp_path / "raw")
    batch = pickle.loads((tmp_path / "raw/cifar-100-python/test").read_bytes(), encoding="bytes")  # noqa: S301  # ours
    images, labels = load_split(tmp_path / "dataset", "test")
    wanted = [row for row, label in enumerate(batch[b"fine_labels"]) if label in (8, 48)]
    for position, row in enumerate(wanted):
        planar = batch[b"data"][row].reshape(3, 32, 32)
        assert np.array_equal(images[position], np.dstack(planar))
        assert labels[position] == {8: 0, 48: 1}[batch[b"fine_labels"][row]]


def test_the_same_seed_gives_the_same_files_and_another_seed_another_split(tmp_path: Path) -> None:
    for name, seed in (("one", "3"), ("two", "3"), ("three", "4")):
        assert run(cifar_archive(), tmp_path / name, "--seed", seed) == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert contents(tmp_path / "one")["validation.lst"] != contents(tmp_path / "three")["validation.lst"]


def test_training_and_validation_images_do_not_overlap(tmp_path: Path) -> None:
    assert run(cifar_archive(), tmp_path / "dataset", "--validation-fraction", "0.25") == 0
    names = [{p.name for p in (tmp_path / "dataset" / split).iterdir()} for split in ("train", "validation")]
    assert not names[0] & names[1]
    assert [len(n) for n in names] == [750, 250]


def test_classes_may_be_numbers_and_their_order_is_kept(tmp_path: Path) -> None:
    assert run(cifar_archive(), tmp_path / "dataset", "--classes", "48, bicycle") == 0
    assert read_manifest(tmp_path / "dataset").classes == ["motorcycle", "bicycle"]


def test_the_unpacked_layout_gives_the_same_images(tmp_path: Path) -> None:
    extract_archive(cifar_archive(), tmp_path / "raw")
    assert run(tmp_path / "raw", tmp_path / "a") == run(cifar_archive(), tmp_path / "b") == 0
    first, second = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert first.pop("dataset.json") != second.pop("dataset.json")  # another source, another digest
    assert first == second


def picture_folder(folder: Path, colours: dict[str, tuple[int, int, int]], count: int = 10) -> Path:
    """``<split>/<class>/*.png``: plain pictures, each of its own colour near its class's."""
    for number, split in enumerate(("train", "test")):
        for name, (red, green, blue) in colours.items():
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                picture = Image.new("RGB", (50, 40), (red, green + i, blue + 40 * number))
                picture.save(folder / split / name / f"{i}.png")
    return folder


def test_a_folder_of_pictures_is_a_source(tmp_path: Path) -> None:
    picture_folder(tmp_path / "in", {"bus": (0, 0, 0), "tank": (120, 0, 0)})
    assert run(tmp_path / "in", tmp_path / "out", "--classes", "tank,bus") == 0
    images, labels = load_split(tmp_path / "out", "test")
    assert labels.tolist() == [0] * 10 + [1] * 10
    assert images[0, 0, 0, 0] > 90 > images[-1, 0, 0, 0]
    manifest = read_manifest(tmp_path / "out")
    assert manifest.counts["validation"] == {"tank": 1, "bus": 1}
    assert manifest.checks.sizes == {"50x40": 40}
    assert manifest.checks.modes == {"RGB": 40}


def test_a_second_run_replaces_the_first_and_clears_its_leftovers(tmp_path: Path) -> None:
    output = tmp_path / "dataset"
    (output / ".partial-killed" / "train").mkdir(parents=True)
    assert run(cifar_archive(), output, "--seed", "1") == 0
    assert run(cifar_archive(), output, "--seed", "2") == 0
    assert read_manifest(output).seed == 2
    assert not list(output.glob(".partial-*"))


def test_an_unknown_class_suggests_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert_fails(
        capsys, tmp_path / "out", cifar_archive(), "did you mean 'bicycle'?", "--classes", "bycicle,motorcycle"
    )
    assert_fails(capsys, tmp_path / "out", cifar_archive(), "0 to 99", "--classes", "8,100")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--classes", "bicycle"), "at least two classes"),
        (("--classes", "bicycle,8"), "named twice"),
        (("--validation-fraction", "1"), "between 0 and 1"),
    ],
)
def test_arguments_that_make_no_sense(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: tuple[str, ...], reason: str
) -> None:
    assert_fails(capsys, tmp_path / "out", cifar_archive(), reason, *options)


def test_a_missing_archive_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert_fails(capsys, tmp_path / "out", tmp_path / "nowhere", "cifar-100-python.tar.gz")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_archive_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], share: float) -> None:
    whole = cifar_archive().read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(whole[: int(share * len(whole))])
    assert_fails(capsys, tmp_path / "out", tmp_path / "cut.tar.gz", "truncated or not a tar archive")


def test_another_archive_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tarfile.open(tmp_path / "other.tar.gz", "w:gz") as tar:
        add(tar, "readme.txt", b"hello")
    assert_fails(capsys, tmp_path / "out", tmp_path / "other.tar.gz", "is not CIFAR-100")


def test_two_archives_are_ambiguous(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.tar.gz", "b.tar.gz"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / name).write_bytes(b"")
    assert_fails(capsys, tmp_path / "out", tmp_path / "in", "expected one")


class Bomb:
    """Unpickled without an allow-list, this would create a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = fake_archive(tmp_path / "evil.tar.gz", {b"data": Bomb(tmp_path / "harm")}, [b"cat", b"dog"])
    assert_fails(capsys, tmp_path / "out", archive, "not allowed", "--classes", "cat,dog")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("batch", "reason"),
    [
        ({b"labels": [0]}, "expected data as uint8"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"fine_labels": [0]}, "expected 2 fine_labels"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"fine_labels": [0, 9]}, "from 0 to 1"),
        ({b"data": np.zeros((2, 3072), np.uint8), b"fine_labels": [0, 0]}, "0 images of 'dog', expected at least 10"),
        (b"no pickle", "not a CIFAR-100 file"),
    ],
)
def test_a_wrong_batch_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], batch: object, reason: str
) -> None:
    archive = fake_archive(tmp_path / "wrong.tar.gz", batch, [b"cat", b"dog"])
    assert_fails(capsys, tmp_path / "out", archive, reason, "--classes", "cat,dog")


@pytest.mark.parametrize("name", ["../outside", "/absolute", "a/../../outside"])
def test_an_archive_never_writes_outside(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        add(tar, name, b"x")
    with pytest.raises(JobError, match="refused"):
        extract_archive(tmp_path / "a.tar", tmp_path / "in")
    assert not (tmp_path / "outside").exists()


def test_an_archive_with_a_link_or_too_much_content_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "link.tar", "w") as tar:
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with tarfile.open(tmp_path / "large.tar", "w") as tar:
        add(tar, "zeros", bytes(2000))
    for name in ("link.tar", "large.tar"):
        with pytest.raises(JobError, match="refused"):
            extract_archive(tmp_path / name, tmp_path / "in", max_bytes=1000)


def test_a_message_longer_than_sagemaker_shows_is_cut_on_a_character(tmp_path: Path) -> None:
    assert run(cifar_archive(), tmp_path / "out", "--classes", "é" * 3000 + ",bicycle") == 1
    assert len((tmp_path / "ml" / "message").read_bytes()) <= 1024


def review(folder: Path, name: str, label: str, image: np.ndarray | bytes | None, at: str) -> None:
    """What `scones review label` keeps."""
    (folder / name).mkdir(parents=True)
    document = {"label": label, "at": at, "image": None if image is None else f"reviews/{name}/image.png"}
    (folder / name / "label.json").write_text(json.dumps(document))
    if isinstance(image, bytes):
        (folder / name / "image.png").write_bytes(image)
    elif image is not None:
        Image.fromarray(image).save(folder / name / "image.png")


def test_reviewed_images_join_the_training_images_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(cifar_archive(), tmp_path / "plain") == 0
    before = contents(tmp_path / "plain")
    tests, _ = load_split(tmp_path / "plain", "test")
    new = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    early, late = "2026-11-20T10:00:00+00:00", "2026-11-21T10:00:00+00:00"
    reviews = tmp_path / "reviews"
    review(reviews, "new", "motorcycle", new, early)
    review(reviews, "test-image", "bicycle", tests[0], early)
    review(reviews, "again", "motorcycle", new, early)
    review(reviews, "other", "tank", new, early)
    review(reviews, "none", "none", new, early)
    review(reviews, "gone", "bicycle", None, early)
    review(reviews, "damaged", "bicycle", b"no picture", early)
    review(reviews, "late", "bicycle", 255 - new, late)
    more = ("--reviewed", str(reviews), "--reviewed-until", "2026-11-20T12:00:00Z")
    assert run(cifar_archive(), tmp_path / "more", *more) == 0
    manifest = read_manifest(tmp_path / "more")
    assert manifest.checks.reviews == {
        "added": 1,
        "in the dataset already": 2,
        "of none of the classes": 2,
        "that cannot be read": 1,
        "without a copy of the image": 1,
    }
    after = contents(tmp_path / "more")
    added = {name for name in after if name not in before}
    assert len(added) == 1 and added.pop().startswith("train/motorcycle_")
    assert {n: d for n, d in after.items() if n.startswith(("test", "validation"))} == {
        n: d for n, d in before.items() if n.startswith(("test", "validation"))
    }
    images, labels = load_split(tmp_path / "more", "train")
    (at,) = [i for i, image in enumerate(images) if np.array_equal(image, new)]
    assert labels[at] == 1
    assert 'reviewed images: {"added": 1' in capsys.readouterr().out


def test_a_review_that_is_none_and_a_time_that_is_none_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "reviews" / "odd").mkdir(parents=True)
    (tmp_path / "reviews" / "odd" / "label.json").write_text("{}")
    where = ("--reviewed", str(tmp_path / "reviews"), "--reviewed-until")
    output = tmp_path / "dataset"
    assert_fails(
        capsys, output, cifar_archive(), "is not what `scones review label` writes", *where, "2026-11-20T12:00Z"
    )
    assert_fails(capsys, output, cifar_archive(), "expected a time such as", *where, "tomorrow")
    assert_fails(capsys, output, cifar_archive(), "expected a time with its zone", *where, "2026-11-20T12:00")
