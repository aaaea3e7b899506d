"""The filter job's checks of a dataset by name, and its readers of archives and pickles on malformed input."""

from __future__ import annotations

import hashlib
import io
import pickle
import pickletools
import random
import resource
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from imaging.dataset import SPLITS, read_examples, read_manifest
from imaging.decode import decode_image
from imaging.png import encode_pngs
from processing.dataset.archive import extract_archive, read_members
from processing.dataset.plain_pickle import PickleError, read_pickle
from processing.filter_cifar import main
from reporting.job import JobError
from tests.realdata import cifar_archive

MEMORY_KIB = 200 * 1024  # a hostile input that asks for gigabytes passes this at once


def run(source: Path, output: Path, *more: str) -> int:
    message = output.parent / "ml" / "message"
    return main(["--source", str(source), "--output", str(output), "--message-file", str(message), *more])


def failure(capsys: pytest.CaptureFixture[str], source: Path, output: Path, *more: str) -> str:
    """The one line with which the job ends; nothing is left in the output."""
    assert run(source, output, *more) == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert not output.exists() or not any(output.iterdir())
    return line


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder ``<split>/<class>/*.png`` of real images: 20 and 8 of each class."""
    assert run(cifar_archive(), tmp_path / "all") == 0
    for split, count in (("train", 20), ("test", 8)):
        for name in ("bicycle", "motorcycle"):
            (tmp_path / "in" / split / name).mkdir(parents=True)
            for path in sorted((tmp_path / "all" / split).glob(f"{name}_*"))[:count]:
                shutil.copy(path, tmp_path / "in" / split / name / path.name)
    return tmp_path / "in"


def first(folder: Path, number: int = 0) -> Path:
    return sorted(folder.iterdir())[number]


def test_digests_are_what_sha256sum_prints(tmp_path: Path) -> None:
    assert run(cifar_archive(), tmp_path / "dataset") == 0
    manifest = read_manifest(tmp_path / "dataset")
    for split in SPLITS:
        files = sorted((tmp_path / "dataset" / split).iterdir(), key=lambda path: path.name)
        printed = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files)
        assert manifest.digests[split] == hashlib.sha256(printed.encode()).hexdigest()
    assert manifest.checks.images == {"train": 900, "validation": 100, "test": 200}
    assert manifest.checks.copies_left_out == {split: [] for split in SPLITS}


def test_lists_have_the_built_in_algorithms_columns(tmp_path: Path) -> None:
    assert run(cifar_archive(), tmp_path / "dataset") == 0
    for split in SPLITS:
        rows = [line.split("\t") for line in (tmp_path / "dataset" / f"{split}.lst").read_text().splitlines()]
        assert [int(index) for index, _, _ in rows] == list(range(len(rows)))
        assert {label for _, label, _ in rows} == {"0", "1"}
        assert all((tmp_path / "dataset" / split / path).is_file() for _, _, path in rows)


def test_the_contact_sheet_has_a_row_for_each_class(photographs: Path, tmp_path: Path) -> None:
    assert run(photographs, tmp_path / "out") == 0
    with Image.open(tmp_path / "out" / "contact_sheet.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    for label in (0, 1):
        examples = [e for e in read_examples(tmp_path / "out", "train") if e.label == label]
        doubled = decode_image(examples[0].path.read_bytes()).repeat(2, axis=0).repeat(2, axis=1)
        windows = np.lib.stride_tricks.sliding_window_view(pixels[:, 190:254], (64, 64, 3))
        assert np.any(np.all(windows == doubled, axis=(1, 2, 3, 4, 5)))


def test_pngs_come_back_unchanged() -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)
    for image, file in zip(images, encode_pngs(images), strict=True):
        with Image.open(io.BytesIO(file.tobytes())) as picture:
            picture.verify()
        assert np.array_equal(decode_image(file.tobytes()), image)


def test_damaged_files_in_the_middle_are_named_all_at_once(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = [first(photographs / "train" / "bicycle", number) for number in range(9, 16)]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:200])
    line = failure(capsys, photographs, tmp_path / "out")
    assert "7 pictures cannot be used" in line
    assert all(path.name in line for path in damaged[:5])
    assert "and 2 more" in line


@pytest.mark.parametrize(
    ("picture", "reason"),
    [
        (Image.new("RGB", (8, 200), "red"), "it has 8 x 200 pixels, expected at least 16"),
        (Image.new("1", (40, 40)), "its mode is 1, expected 8 bits"),
        (Image.new("I;16", (40, 40)), "its mode is I;16, expected 8 bits"),
    ],
)
def test_a_picture_of_another_kind_is_named(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], picture: Image.Image, reason: str
) -> None:
    picture.save(photographs / "test" / "bicycle" / "odd.png")
    line = failure(capsys, photographs, tmp_path / "out")
    assert "test/bicycle/odd.png: " in line
    assert reason in line


@pytest.mark.parametrize("place", ["test/bicycle", "train/motorcycle"])
def test_a_picture_in_two_splits_or_two_classes_stops_a_folder(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    original = first(photographs / "train" / "bicycle")
    shutil.copy(original, photographs / place / "copied.png")
    line = failure(capsys, photographs, tmp_path / "out")
    assert "1 pictures stand in two splits or two classes" in line
    assert f"{place}/copied.png" in line
    assert f"train/bicycle/{original.name}" in line


def test_a_copy_within_a_class_never_stands_in_training_and_validation(photographs: Path, tmp_path: Path) -> None:
    for path in sorted((photographs / "train" / "bicycle").iterdir()):
        shutil.copy(path, path.with_name(f"again_{path.name}"))
    assert run(photographs, tmp_path / "out", "--validation-fraction", "0.3") == 0
    pixels = {
        split: {hashlib.sha256(e.path.read_bytes()).digest() for e in read_examples(tmp_path / "out", split)}
        for split in SPLITS
    }
    assert not pixels["train"] & pixels["validation"]
    checks = read_manifest(tmp_path / "out").checks
    assert checks.copies_left_out == {split: [] for split in SPLITS}
    assert checks.near_copies >= 20
    assert checks.images == {split: len(read_examples(tmp_path / "out", split)) for split in SPLITS}


@pytest.mark.parametrize(("split", "count"), [("train", 2), ("test", 1)])
def test_a_class_with_too_few_images_is_named(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], split: str, count: int
) -> None:
    for path in sorted((photographs / split / "motorcycle").iterdir())[count:]:
        path.unlink()
    line = failure(capsys, photographs, tmp_path / "out")
    assert f"the {split} split has {count} images of 'motorcycle'" in line


def archive_of(path: Path, train: dict[bytes, object], test: dict[bytes, object]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, document in (("train", train), ("test", test), ("meta", {b"fine_label_names": [b"cat", b"dog"]})):
            content = pickle.dumps(document)
            member = tarfile.TarInfo(f"cifar-100-python/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_a_test_image_in_an_archives_training_part_is_left_out_and_reported(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 3072), dtype=np.uint8)
    train, test = noise[:40].copy(), noise[40:]
    train[7] = test[3]
    labels = [number % 2 for number in range(40)]
    archive = archive_of(
        tmp_path / "a.tar.gz",
        {b"data": train, b"fine_labels": labels},
        {b"data": test, b"fine_labels": labels[:20]},
    )
    assert run(archive, tmp_path / "out", "--classes", "cat,dog") == 0
    manifest = read_manifest(tmp_path / "out")
    left_out = {**manifest.checks.copies_left_out}
    assert left_out.pop("train") + left_out.pop("validation") == ["row 7 of train = row 3 of test"]
    assert sum(map(sum, (split.values() for split in manifest.counts.values()))) == 59


def test_many_images_are_written_as_few_are(tmp_path: Path) -> None:
    """More than one process writes them."""
    noise = np.random.default_rng(0).integers(0, 256, (9100, 3072), dtype=np.uint8)
    labels = [number % 2 for number in range(9100)]
    batches = [{b"data": noise[part], b"fine_labels": labels[part]} for part in (slice(9080), slice(9080, None))]
    archive = archive_of(tmp_path / "a.tar.gz", *batches)
    assert run(archive, tmp_path / "out", "--classes", "cat,dog", "--validation-fraction", "0.01") == 0
    examples = read_examples(tmp_path / "out", "train")
    assert len(examples) == 8990
    for example in examples[:: len(examples) // 20]:
        row = int(example.path.stem.split("_")[1])
        expected = noise[row].reshape(3, 32, 32).transpose(1, 2, 0)
        assert np.array_equal(decode_image(example.path.read_bytes()), expected)


def within_memory(work: Callable[[], object]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY_KIB


def refused(data: bytes) -> None:
    """Read it, or raise the documented error only."""
    try:
        read_pickle(data)
    except PickleError as error:
        assert str(error)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_binary_protocol_is_read(protocol: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 3072), dtype=np.uint8)
    values = {b"data": pixels, b"fine_labels": [1, 300, -5, 70_000, 2**40, True, None], "text": ("a", (), [b"b"])}
    document = read_pickle(pickle.dumps(values, protocol=protocol))
    assert np.array_equal(document.pop(b"data").pixels, pixels)
    assert document == {name: value for name, value in values.items() if name != b"data"}


@pytest.mark.parametrize(
    "hostile",
    [
        b"\x80\x02cos\nsystem\n(X\x04\x00\x00\x00true\x85R.",
        b"\x80\x02cnumpy\nload\n.",
        b"\x80\x02cnumpy\ndtype\nX\x01\x00\x00\x00O\x85R.",
        b"\x80\x02]r\xff\xff\xff\x7f.",
        b"\x80\x04\x8e\x00\x00\x00\x00\x10\x00\x00\x00.",
        b"\x80\x02}" + b"}" * 3_000_000,
        b"\x80\x02X\x00\x00\x01\x00"
        + b"a" * 65536
        + b"q\x00"
        + b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86R" * 9999,
        b"\x80\x02)" + b"\x86q\x00h\x00h\x00" * 5000 + b"s.",
        b"\x80\x02}" + b"q\x00h\x00N\x86" * 10 + b"b.",
        b"",
        b"\x80\x02",
        b"cos\nsystem\n(S'true'\ntR.",
    ],
    ids=[
        "global",
        "numpy",
        "object-dtype",
        "memo",
        "length",
        "objects",
        "copies",
        "tuples",
        "build",
        "empty",
        "cut",
        "text",
    ],
)
def test_a_hostile_pickle_costs_nothing(hostile: bytes) -> None:
    within_memory(lambda: refused(hostile))


OPCODES = [opcode.code.encode("latin-1") for opcode in pickletools.opcodes]
PIECES = [*OPCODES, b"numpy\ndtype\n", b"numpy.core.multiarray\n_reconstruct\n", b"_codecs\nencode\n", b"os\nsystem\n"]


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=6)), max_size=40).map(b"".join))
def test_pickles_of_random_opcodes_raise_nothing_else(data: bytes) -> None:
    refused(b"\x80\x02" + data)


def test_damaged_batches_raise_nothing_else() -> None:
    whole = pickle.dumps({b"data": np.zeros((3, 3072), np.uint8), b"fine_labels": [0, 1, 2]}, protocol=2)
    chooser = random.Random(0)

    def damage() -> None:
        for _ in range(3000):
            data = bytearray(whole[: chooser.choice((chooser.randrange(1, len(whole)), len(whole)))])
            for _ in range(chooser.randrange(1, 6)):
                at = chooser.choice((chooser.randrange(400), len(data) - chooser.randrange(100)))
                data[at : at + 2] = chooser.randbytes(chooser.randrange(1, 4))
            refused(bytes(data))

    within_memory(damage)


def header(name: str, kind: bytes, size: int = 0, link: str = "") -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, size
    return member.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize(
    "content",
    [
        header("link", tarfile.SYMTYPE, link="/etc/passwd"),
        header("link", tarfile.LNKTYPE, link="train"),
        header("device", tarfile.CHRTYPE),
        header("fifo", tarfile.FIFOTYPE),
        header("sparse", tarfile.GNUTYPE_SPARSE, size=512) + bytes(512),
        header("long", tarfile.XHDTYPE, size=1 << 30),
        header("long", tarfile.GNUTYPE_LONGNAME, size=1 << 30),
        header("train", tarfile.REGTYPE, size=1 << 40),
        header("train", tarfile.REGTYPE, size=-512),
        header("../train", tarfile.REGTYPE),
        header("x", tarfile.XHDTYPE) * 2000,
        header("a", tarfile.DIRTYPE) * 10_001,
    ],
)
def test_an_archive_with_anything_but_plain_files_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content + bytes(1024))
    (tmp_path / "in").mkdir()

    def read() -> None:
        with pytest.raises(JobError, match=r"a\.tar"):
            read_members(tmp_path / "a.tar", {"train"})
        with pytest.raises(JobError, match=r"a\.tar"):
            extract_archive(tmp_path / "a.tar", tmp_path / "in")

    within_memory(read)
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_an_archive_that_inflates_beyond_the_cap_is_refused_in_little_memory(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bomb.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("other")
        member.size = 300 << 20
        with Path("/dev/zero").open("rb") as zeros:
            tar.addfile(member, zeros)

    def read() -> None:
        with pytest.raises(JobError, match="more than"):
            read_members(tmp_path / "bomb.tar.gz", {"train"}, max_bytes=250 << 20)

    within_memory(read)


def test_damaged_archives_raise_nothing_else(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("train", "a/" + "long" * 40, "ünï"):
            member = tarfile.TarInfo(name)
            member.size, member.mtime = 700, 1.5
            tar.addfile(member, io.BytesIO(bytes(700)))
    whole, chooser, path = buffer.getvalue(), random.Random(0), tmp_path / "a.tar"

    def damage() -> None:
        for number in range(1500):
            data = bytearray(whole)
            for _ in range(chooser.randrange(1, 5)):
                block = 512 * chooser.randrange(len(data) // 512)
                at = block + chooser.randrange(512)
                data[at : at + 3] = chooser.choice((chooser.randbytes(3), b"\x80\xff\xff", b"777"))
                checksum = 256 + sum(data[block : block + 148]) + sum(data[block + 156 : block + 512])
                data[block + 148 : block + 156] = b"%06o\0 " % checksum
            path.write_bytes(data)
            try:
                read_members(path, {"train"}, max_bytes=1 << 22)
                extract_archive(path, tmp_path / f"in{number % 3}", max_bytes=1 << 22)
            except JobError as error:
                assert "a.tar" in str(error)

    within_memory(damage)
    assert {item.name for item in tmp_path.iterdir()} <= {"a.tar", "in0", "in1", "in2"}
