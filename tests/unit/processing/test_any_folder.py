"""Folders, lists and names of every kind: each is read, skipped with a word, or refused in one clear line."""

from __future__ import annotations

import json
import os
import shutil
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imaging.dataset import read_manifest
from processing import describe_source
from tests.unit.processing.test_own_pictures import run, tar_of, texture

COUNT = 16
NFC, NFD = (unicodedata.normalize(form, "Müsli") for form in ("NFC", "NFD"))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small pictures, `0/0.png` to `3/15.png`, for tests to link into folders of their own."""
    folder = tmp_path_factory.mktemp("drawn")
    for group in range(4):
        (folder / str(group)).mkdir()
        for number in range(COUNT):
            texture(100 * group + number, (20, 16)).save(folder / str(group) / f"{number}.png")
    return folder


def classes(drawn: Path, folder: Path, *names: str) -> Path:
    for group, name in enumerate(names):
        shutil.copytree(drawn / str(group), folder / name, copy_function=os.link, dirs_exist_ok=True)
    return folder


def told(source: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, Any]:
    assert describe_source.main([str(source), "--for-upload", *more]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def refused(source: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert describe_source.main([str(source), "--for-upload"]) == 1
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


@pytest.mark.parametrize(
    ("names", "kept"),
    [
        (["rote Rosen", "日本 花"], ["rote Rosen", "日本 花"]),
        ([NFD, "tea"], [NFC, "tea"]),
        (["हिन्दी", "ไทยเดิม"], ["हिन्दी", "ไทยเดิม"]),
        ([" tea ", "milk"], ["milk", "tea"]),
        (["7", "3"], ["3", "7"]),
        (["tea", ".cache", "milk"], ["milk", "tea"]),
        (["x" * 200, "tea"], ["tea", "x" * 200]),
    ],
)
def test_names_of_any_language_become_classes(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], names: list[str], kept: list[str]
) -> None:
    source = classes(drawn, tmp_path / "in", *names)
    assert told(source, capsys)["classes"] == kept
    assert run(source, tmp_path / "out") == 0
    assert read_manifest(tmp_path / "out").classes == kept


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["Tea", "tea"], "class 'Tea' and 'tea' differ only in case"),
        (["tea", "\uff54\uff45\uff41"], "differ only in case, width"),
        (["green tea", "green  tea"], "differ only in case, width or spaces"),
        (["x" * 201, "tea"], "at most 200 bytes"),
        (["ü" * 101, "tea"], "at most 200 bytes"),
        (["a,b", "tea"], "class name 'a,b' does not suit file names"),
        (["a\nb", "tea"], "class name 'a\\nb' does not"),
        (["a\u202eb", "tea"], "class name 'a\\u202eb' does not"),
        (["-rf", "tea"], "class name '-rf' does not"),
        (["🌷", "tea"], "class name '\\U0001f337' does not"),
    ],
)
def test_names_that_suit_no_file_and_names_that_look_alike_are_one_line(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], names: list[str], says: str
) -> None:
    source = classes(drawn, tmp_path / "in", *names)
    assert says in told(source, capsys)["problem"]
    assert run(source, tmp_path / "out") == 1
    line = capsys.readouterr().err
    assert says in line
    assert line.count("\n") == 1
    assert line.rstrip("\n").isprintable()


def test_one_name_written_in_two_ways_is_one_class(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it is where the training pictures were unpacked on macOS, and the test's on Linux."""
    classes(drawn, tmp_path / "train", NFD, "tea")
    shutil.copytree(drawn / "2", tmp_path / "test" / NFC)
    shutil.copytree(drawn / "3", tmp_path / "test" / "tea")
    found = told(tmp_path, capsys)
    assert (found["classes"], found["problem"]) == ([NFC, "tea"], "")
    assert found["counts"] == {"train": {NFC: COUNT, "tea": COUNT}, "test": {NFC: COUNT, "tea": COUNT}}


def test_what_the_filter_would_refuse_for_its_numbers_is_said_before(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = classes(drawn, tmp_path, "tea", "milk")
    (source / "rum").mkdir()
    os.link(drawn / "2" / "0.png", source / "rum" / "only.png")
    assert "1 images of 'rum', expected at least 10" in told(source, capsys)["problem"]
    assert told(source, capsys, "--classes", "tea,milk")["problem"] == ""
    assert "did you mean 'milk'" in told(source, capsys, "--classes", "tea,mülk")["problem"]


def flat(drawn: Path, folder: Path) -> None:
    classes(drawn, folder, ".")


def one_class(drawn: Path, folder: Path) -> None:
    classes(drawn, folder, "tea")


def without_suffix(drawn: Path, folder: Path) -> None:
    for number in range(30):
        (folder / "tea").mkdir(exist_ok=True)
        (folder / "tea" / f"IMG_{number}").touch()


def of_a_telephone(drawn: Path, folder: Path) -> None:
    (folder / "tea").mkdir()
    (folder / "tea" / "IMG_1.HEIC").touch()


def zipped(drawn: Path, folder: Path) -> None:
    (folder / "photos.zip").touch()


def only_tests(drawn: Path, folder: Path) -> None:
    classes(drawn, folder, "test/tea", "validation/tea")


def two_lists(drawn: Path, folder: Path) -> None:
    for name in ("one.csv", "two.tsv"):
        (folder / name).write_text("path\tlabel\n")


def outside(drawn: Path, folder: Path) -> None:
    (folder / "list.csv").write_text("path,label\n/etc/passwd.png,tea\n")


def of_windows(drawn: Path, folder: Path) -> None:
    (folder / "list.csv").write_text("path,label\nC:\\photos\\1.png,tea\n")


def endless_field(drawn: Path, folder: Path) -> None:
    (folder / "list.csv").write_text(f"path,label\n{'x' * 200_000}.png,tea\n")


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (flat, "it holds 16 pictures, all in one folder: give each class a folder of its own"),
        (one_class, "it holds 16 pictures, all in one folder"),
        (without_suffix, "it holds 30 files without a suffix"),
        (of_a_telephone, "it holds 1 *.heic"),
        (zipped, "unpack photos.zip first"),
        (only_tests, "holds test, validation, expected train as well"),
        (two_lists, "holds 2 lists, expected one: one.csv, two.tsv"),
        (outside, "expected a path that counts from the list's folder"),
        (of_windows, "expected a path that counts from the list's folder"),
        (endless_field, "line 2 is no line of a table"),
    ],
)
def test_a_folder_that_holds_something_else_is_said_in_one_line(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], made: Callable[[Path, Path], None], says: str
) -> None:
    made(drawn, tmp_path)
    assert says in refused(tmp_path, capsys)


@pytest.mark.parametrize(
    ("between", "encoding"), [(",", "utf-8-sig"), (";", "cp1252"), ("\t", "utf-16"), (";", "utf-8")]
)
def test_a_table_is_read_as_spreadsheets_write_it(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], between: str, encoding: str
) -> None:
    source = classes(drawn, tmp_path, "Müsli", "tea")
    lines = [f"File Name{between}Label", *(f"Müsli\\{n}.png{between}Müsli" for n in range(COUNT))]
    lines += [f"tea/{number}.png{between}tea" for number in range(COUNT)]
    (source / "table.csv").write_bytes("\r\n".join(lines).encode(encoding))
    found = told(source, capsys)
    assert (found["layout"], found["problem"]) == ("CSV", "")
    assert found["counts"] == {"unsplit": {"Müsli": COUNT, "tea": COUNT}}
    assert len(found["files"]) == 2 * COUNT + 1


def test_a_table_of_something_else_lies_beside_the_pictures(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = classes(drawn, tmp_path, "tea", "milk")
    (source / "prices.csv").write_text("drink,price\ntea,2\n")
    (source / "._list.csv").write_bytes(b"\0\x05\x16\x07")
    found = told(source, capsys)
    assert (found["layout"], found["classes"]) == ("class folders", ["milk", "tea"])
    assert found["skipped"] == {"files beside the folders": 1, ".*": 1}


def test_lines_that_nobody_could_label_are_skipped(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = classes(drawn, tmp_path, "tea", "milk")
    lines = [{"source-ref": f"{name}/{n}.png", "class": name} for name in ("tea", "milk") for n in range(COUNT)]
    lines.append({"source-ref": "tea/0.png", "drink-metadata": {"failure-reason": "nobody agreed"}})  # type: ignore[dict-item]
    (source / "output.manifest").write_text("\n".join(map(json.dumps, lines)))
    assert told(source, capsys)["skipped"] == {"lines without a label": 1}


def test_what_desktops_and_disks_leave_is_skipped_and_said_in_few_words(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = classes(drawn, tmp_path, "train/tea", "train/milk")
    for name in ("train/@eaDir", "train/tea/@eaDir", "__MACOSX", "$RECYCLE.BIN", ".git"):
        (source / name).mkdir()
        os.link(drawn / "2" / "0.png", source / name / "small.png")
    for number in range(40):
        (source / "train" / f"{number}.jpg").touch()
        (source / "train" / "tea" / f"notes {number}").touch()
    found = told(source, capsys)
    assert found["classes"] == ["milk", "tea"]
    assert found["skipped"]["files beside the folders"] == found["skipped"]["files without a suffix"] == 40
    assert len(found["skipped"]) <= 6
    assert len(found["files"]) == 2 * COUNT


def test_links_lead_to_classes_and_pipes_hold_nobody_up(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = classes(drawn, tmp_path / "in", "tea")
    (source / "milk").symlink_to(drawn / "1")
    (source / "tea" / "round").symlink_to(source)
    assert len(told(source, capsys)["files"]) == 2 * COUNT
    os.mkfifo(source / "tea" / "pipe.png")
    (source / "tea" / "gone.png").symlink_to("nowhere.png")
    assert run(source, tmp_path / "out") == 1
    line = capsys.readouterr().err
    assert "tea/pipe.png: is no file that could be read, but a pipe" in line
    assert "tea/gone.png: cannot be read: No such file" in line


def test_names_that_are_no_text_are_skipped_and_a_class_of_one_is_refused(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = classes(drawn, tmp_path, "tea", "milk")
    os.link(drawn / "2" / "0.png", os.fsencode(source) + b"/tea/caf\xe9.png")
    assert told(source, capsys)["skipped"] == {"names that are not UTF-8": 1}
    (source / "tea").rename(os.fsdecode(os.fsencode(source) + b"/caf\xe9"))
    assert "caf\\udce9 has a name that is not UTF-8: give it another" in refused(source, capsys)


def test_a_tar_file_of_odd_names_is_read_where_it_lies(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {f"../../{name}/{n}.png": group for group, name in enumerate(("tea", "milk")) for n in range(COUNT)}
    files = {name: (drawn / str(group) / name.rsplit("/", 1)[-1]).read_bytes() for name, group in names.items()}
    tar_of(tmp_path / "in" / "1.tar", files)
    assert told(tmp_path / "in", capsys)["classes"] == ["milk", "tea"]
    assert run(tmp_path / "in", tmp_path / "out") == 0
    capsys.readouterr()
    tar_of(tmp_path / "in" / "1.tar", {"1.cls": b"../tea", "1.png": b"x", "2.cls": b"milk", "2.png": b"x"})
    assert "class name '../tea' does not suit" in told(tmp_path / "in", capsys)["problem"]


def test_a_picture_that_a_list_names_for_two_classes_is_listed_twice(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = classes(drawn, tmp_path / "in", "tea", "milk")
    rows = [f"{name}/{number}.png,{name}\n" for name in ("tea", "milk") for number in range(COUNT)]
    (source / "list.csv").write_text("path,label\n" + "".join(rows) + "tea/0.png,milk\n")
    assert run(source, tmp_path / "out") == 1
    assert "two splits or two classes: tea/0.png is listed twice" in capsys.readouterr().err


@pytest.mark.parametrize(("near", "seed"), [(10, "1"), (10, "2"), (10, "3"), (COUNT, "0")])
def test_a_class_like_another_one_is_tested_with_what_is_its_own(
    drawn: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], near: int, seed: str
) -> None:
    source = classes(drawn, tmp_path / "in", "tea", "milk")
    for number in range(near):
        with Image.open(drawn / "0" / f"{number}.png") as picture:
            picture.resize((40, 32)).save(source / "milk" / f"as tea {number}.png")
    if near == COUNT:
        assert run(source, tmp_path / "out", "--seed", seed) == 1
        assert "'tea' that could be in the test split shows nearly what one of another" in capsys.readouterr().err
        return
    assert run(source, tmp_path / "out", "--seed", seed) == 0
    counts = read_manifest(tmp_path / "out").counts
    assert all(count for split in counts.values() for count in split.values()), counts
    assert counts["test"]["tea"] == 3
