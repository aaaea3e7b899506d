"""People's own pictures, laid out as they have them, at the sizes that models want."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from imaging.dataset import SPLITS, load_split, read_examples, read_manifest
from imaging.decode import decode_image, encode_png
from processing import describe_source
from processing.dataset.near_copies import look_hash, near_groups
from processing.evaluation.answers import served_probabilities
from processing.filter_cifar import main
from processing.finding.layouts import find_pictures
from serving.inference import input_fn, model_fn, predict_fn
from tests.realdata import cifar_archive
from training import train

FLOWERS = Path(__file__).resolve().parents[4] / "shared" / "photos" / "flowers"
# What the commit before images had a size of their own wrote of the real archive, with the seed 0.
CIFAR_DIGESTS = {
    "train": "b93223cac66c663c18938bb781f8e5e8d284f997a533808044db46fd8a58d060",
    "validation": "1fcaefc5aaedb605e858b22590e6795994373b44fefc62e59577f16fb120c4c9",
    "test": "35a7b978c1a024b3f2067b9d24e1449269c44189fce8392175fcc18b8e303ee9",
}
CIFAR_SHEET = "060228c295cacc376f635ca99e5b70f4512deae307d5ee6344e364839948328f"
DRAWN = "1578e8de761ee47c2454315d9c207cc0383b306a532768b1be919d36e026460b"


def run(source: Path, output: Path, *more: str) -> int:
    return main(
        ["--source", str(source), "--output", str(output), "--message-file", str(output.parent / "ml/message"), *more]
    )


def texture(seed: int, size: tuple[int, int] = (90, 70)) -> Image.Image:
    """A picture like no other: coarse noise, so that it still is itself when it is scaled or saved again."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def class_folders(folder: Path, names: tuple[str, ...] = ("daisy", "tulip"), count: int = 20) -> Path:
    for at, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            suffix = (".png", ".JPG", ".webp", ".jpeg")[number % 4]
            texture(1000 * at + number).save(folder / name / f"IMG {number}{suffix}")
    return folder


def test_names_are_relative_to_a_source_however_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class_folders(tmp_path / "own", count=2)
    monkeypatch.chdir(tmp_path / "own")
    for source in (Path(), Path("../own"), Path.cwd()):
        found = find_pictures(source)
        assert found is not None
        assert [picture.place for picture in found.pictures] == [
            "daisy/IMG 0.png", "daisy/IMG 1.JPG", "tulip/IMG 0.png", "tulip/IMG 1.JPG",
        ]  # fmt: skip


def digests(folder: Path, split: str) -> set[bytes]:
    return {hashlib.sha256(example.path.read_bytes()).digest() for example in read_examples(folder, split)}


def test_cifar_is_what_it_was_before_images_had_a_size(tmp_path: Path) -> None:
    assert run(cifar_archive(), tmp_path / "out") == 0
    manifest = read_manifest(tmp_path / "out")
    assert manifest.image_size == 32
    assert manifest.digests == CIFAR_DIGESTS
    sheet = np.asarray(Image.open(tmp_path / "out" / "contact_sheet.png"))
    assert hashlib.sha256(sheet.tobytes()).hexdigest() == CIFAR_SHEET


def test_pictures_of_any_shape_are_what_they_were_at_32_pixels() -> None:
    digest = hashlib.sha256()
    for number, size in enumerate([(32, 32), (90, 70), (31, 400), (400, 31), (17, 17), (640, 480)]):
        for mode in ("RGB", "L", "RGBA", "P"):
            digest.update(decode_image(encode_png(np.asarray(texture(number, size)))).tobytes())
            digest.update(decode_image(_saved(texture(number, size).convert(mode))).tobytes())
    assert digest.hexdigest() == DRAWN


def _saved(picture: Image.Image) -> bytes:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def test_class_folders_are_split_by_seed_and_leftovers_skipped_by_name(tmp_path: Path) -> None:
    source = class_folders(tmp_path / "in", ("daisy", "tulip", "rose büsche"))
    (source / "daisy" / ".DS_Store").write_bytes(b"x")
    (source / "daisy" / "Thumbs.db").write_bytes(b"x")
    (source / "tulip_$folder$").write_bytes(b"")
    (source / "tulip" / "notes.txt").write_text("yellow ones")
    assert run(source, tmp_path / "out", "--image-size", "48") == 0
    manifest = read_manifest(tmp_path / "out")
    assert manifest.classes == ["daisy", "rose büsche", "tulip"]
    assert {split: set(of.values()) for split, of in manifest.counts.items()} == {
        "train": {14},
        "validation": {2},
        "test": {4},
    }
    assert manifest.checks.skipped == {".DS_Store": 1, "Thumbs.db": 1, "*_$folder$": 1, "*.txt": 1}
    assert (manifest.image_size, manifest.checks.layout) == (48, "class folders")
    images, _ = load_split(tmp_path / "out", "test")
    assert images.shape == (12, 48, 48, 3)
    assert run(source, tmp_path / "again", "--image-size", "48") == 0
    assert read_manifest(tmp_path / "again").digests == manifest.digests
    assert run(source, tmp_path / "other", "--image-size", "48", "--seed", "1") == 0
    assert read_manifest(tmp_path / "other").digests["test"] != manifest.digests["test"]


def test_pictures_that_show_nearly_the_same_stay_on_one_side(tmp_path: Path) -> None:
    source = class_folders(tmp_path / "in")
    for path in sorted((source / "daisy").iterdir()):
        with Image.open(path) as picture:
            picture.convert("RGB").resize((77, 60)).save(source / "daisy" / f"{path.stem} small.jpg", quality=60)
    assert run(source, tmp_path / "out", "--image-size", "64") == 0
    manifest = read_manifest(tmp_path / "out")
    assert manifest.checks.near_copies == 20
    shown = {
        split: np.array([list(look_hash(image)) for image in load_split(tmp_path / "out", split)[0]], np.uint8)
        for split in SPLITS
    }
    for split, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
        groups = near_groups(np.concatenate([shown[split], shown[other]]))
        assert not set(groups[: len(shown[split])].tolist()) & set(groups[len(shown[split]) :].tolist())


@pytest.mark.parametrize(
    ("train", "validation", "test"), [("Training", "val", "TEST"), ("train", "valid", "test"), ("train", None, None)]
)
def test_split_folders_go_by_many_names(tmp_path: Path, train: str, validation: str | None, test: str | None) -> None:
    for number, name in enumerate(filter(None, (train, validation, test))):
        class_folders(tmp_path / "in" / "unpacked" / name, ("a", "b")).joinpath("a").touch()
        for path in (tmp_path / "in" / "unpacked" / name).rglob("IMG*"):
            texture(5000 * number + hash_of(path)).save(path.with_suffix(".png"))
            if path.suffix != ".png":
                path.unlink()
    assert run(tmp_path / "in", tmp_path / "out", "--image-size", "32") == 0
    manifest = read_manifest(tmp_path / "out")
    assert manifest.counts["test"] == ({"a": 20, "b": 20} if test else {"a": 4, "b": 4})
    assert manifest.counts["validation"] == ({"a": 20, "b": 20} if validation else {"a": 2, "b": 2})


def hash_of(path: Path) -> int:
    return 100 * ord(path.parent.name) + int(path.stem.split()[1])


@pytest.mark.parametrize("kind", ["csv", "manifest"])
def test_a_list_names_pictures_their_classes_and_splits(tmp_path: Path, kind: str) -> None:
    folder = class_folders(tmp_path / "in")
    rows = [(path.relative_to(folder).as_posix(), path.parent.name) for path in sorted(folder.rglob("IMG*"))]
    if kind == "csv":
        lines = [
            "File,CLASS,split",
            *(f"{name},{label},{'test' if n % 4 == 0 else ''}" for n, (name, label) in enumerate(rows)),
        ]
    else:
        lines = [
            json.dumps({"source-ref": name, "flower": 0, "flower-metadata": {"class-name": label, "confidence": 0.9}})
            for name, label in rows
        ]
    (folder / f"list.{kind}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert run(folder, tmp_path / "out", "--image-size", "32") == 0
    manifest = read_manifest(tmp_path / "out")
    assert manifest.classes == ["daisy", "tulip"]
    assert manifest.counts["test"] == ({"daisy": 5, "tulip": 5} if kind == "csv" else {"daisy": 4, "tulip": 4})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name,kind\na,b\n", "expected a first line with a column for the file"),
        ("path,label\n../../outside.png,daisy\n", "lies outside of its folder"),
        ("path,label,split\na.png,daisy,later\n", "line 2: expected one of train"),
        ("path,label\n,daisy\n", "line 2: expected a file and a class"),
    ],
)
def test_a_list_that_cannot_be_read_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, reason: str
) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "list.csv").write_text(text)
    assert run(tmp_path / "in", tmp_path / "out") == 1
    line = capsys.readouterr().err
    assert reason in line and line.count("\n") == 1


def test_corrupt_files_among_many_are_named_and_tolerated_up_to_a_share(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = class_folders(tmp_path / "in", count=30)
    for number in (4, 8):
        (source / "daisy" / f"IMG {number}.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    assert run(source, tmp_path / "out") == 1
    assert "2 pictures cannot be used" in (line := capsys.readouterr().err)
    assert "daisy/IMG 4.png" in line and "tolerate a share of 0.033" in line
    assert run(source, tmp_path / "out", "--tolerated", "0.04") == 0
    checks = read_manifest(tmp_path / "out").checks
    assert [entry.split(":")[0] for entry in checks.unreadable] == ["daisy/IMG 4.png", "daisy/IMG 8.png"]


def test_a_class_with_few_pictures_and_one_in_two_classes_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = class_folders(tmp_path / "in")
    (source / "rose").mkdir()
    texture(7).save(source / "rose" / "only.png")
    assert run(source, tmp_path / "out") == 1
    assert "the train split has 1 images of 'rose'" in capsys.readouterr().err
    assert run(source, tmp_path / "out", "--classes", "daisy,tulip") == 0
    assert read_manifest(tmp_path / "out").checks.classes_left_out == ["rose"]
    (source / "tulip" / "IMG 0 again.png").write_bytes((source / "daisy" / "IMG 0.png").read_bytes())
    assert run(source, tmp_path / "other", "--classes", "daisy,tulip") == 1
    assert "two splits or two classes: tulip/IMG 0 again.png" in capsys.readouterr().err


def test_pictures_of_one_pixel_and_of_a_hundred_megapixels_are_refused_before_they_are_decoded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = class_folders(tmp_path / "in")
    Image.new("RGB", (1, 1)).save(source / "daisy" / "dot.png")
    Image.new("1", (10_001, 10_000)).save(source / "tulip" / "huge.png")
    assert run(source, tmp_path / "out") == 1
    line = capsys.readouterr().err
    assert "daisy/dot.png: it has 1 x 1 pixels" in line
    assert "tulip/huge.png: the image declares more than 40,000,000 pixels" in line


def test_what_a_source_holds_is_told_before_anything_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = class_folders(tmp_path / "in")
    (source / "daisy" / "desktop.ini").write_text("")
    assert describe_source.main([str(source)]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "layout": "class folders",
        "image_size": 224,
        "classes": ["daisy", "tulip"],
        "counts": {"unsplit": {"daisy": 20, "tulip": 20}},
        "skipped": {"desktop.ini": 1},
    }


@pytest.mark.skipif(not FLOWERS.is_dir(), reason="the flowers' photographs are not here")
def test_photographs_become_a_dataset_of_their_own_size(tmp_path: Path) -> None:
    for split, count in (("train", 20), ("test", 5)):
        for name in ("daisy", "tulips"):
            folder = tmp_path / "in" / split / name
            folder.mkdir(parents=True)
            for path in sorted((FLOWERS / split / name).iterdir())[:count]:
                (folder / path.name).symlink_to(path)
    assert run(tmp_path / "in", tmp_path / "out") == 0
    manifest = read_manifest(tmp_path / "out")
    assert manifest.image_size == 224
    images, labels = load_split(tmp_path / "out", "test")
    assert images.shape == (10, 224, 224, 3)
    first = sorted((FLOWERS / "test" / "daisy").iterdir())[0]
    assert any(np.array_equal(image, decode_image(first.read_bytes(), 224)) for image in images[labels == 0])


@pytest.mark.slow
@pytest.mark.skipif(not FLOWERS.is_dir(), reason="the flowers' photographs are not here")
@pytest.mark.parametrize("mode", ["frozen", "fine-tuned"])
def test_training_evaluation_and_server_agree_at_a_size_of_the_dataset_s_own(tmp_path: Path, mode: str) -> None:
    """A photograph gets the same answer as a request, as it gets as an image of the dataset."""
    for name in ("daisy", "tulips"):
        folder = tmp_path / "in" / name
        folder.mkdir(parents=True)
        for path in sorted((FLOWERS / "train" / name).iterdir())[:20]:
            (folder / path.name).symlink_to(path)
    dataset, folder = tmp_path / "dataset", tmp_path / "model"
    assert run(tmp_path / "in", dataset, "--image-size", "96") == 0
    places = ["--dataset", str(dataset), "--model-dir", str(folder), "--output-dir", str(tmp_path / "output")]
    options = ["--recipe", "pretrained", "--pretrained-mode", mode, "--network-side", "96", "--epochs", "1"]
    assert train.main([*places, *options]) == 0
    model = model_fn(str(folder))
    assert model.image_size == 96
    examples = read_examples(dataset, "test")
    evaluated = served_probabilities(model, examples)
    context = SimpleNamespace(system_properties={"model_dir": str(folder)})
    photographs = {decode_image(p.read_bytes(), 96).tobytes(): p for p in (tmp_path / "in").rglob("*.jpg")}
    for example, expected in zip(examples, evaluated, strict=True):
        photograph = photographs[decode_image(example.path.read_bytes(), 96).tobytes()]
        answer = predict_fn(input_fn(photograph.read_bytes(), "image/jpeg", context), model)[0]
        assert np.abs(answer - expected).max() < 1e-6


def tar_of(path: Path, files: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def shard_files(source: Path, style: str) -> dict[str, bytes]:
    """The pictures of class folders as samples of a tar file, with the class beside each or around it."""
    files: dict[str, bytes] = {}
    for path in sorted(source.rglob("IMG*")):
        name, label = path.parent.name, path.parent.name.encode()
        if style == "folder":
            files[f"{name}/{path.name}"] = path.read_bytes()
            continue
        key = f"{name}-{path.stem}"
        files[f"{key}.{style}"] = json.dumps({"label": name}).encode() if style == "json" else label + b"\n"
        files[f"{key}{path.suffix}"] = path.read_bytes()
    return files


@pytest.mark.parametrize("style", ["cls", "txt", "json", "folder"])
def test_tar_shards_become_the_same_images_as_the_folders_that_they_were_made_of(tmp_path: Path, style: str) -> None:
    source = class_folders(tmp_path / "in")
    files = list(shard_files(source, style).items())
    tar_of(tmp_path / "tars" / "0001.tar", dict(files[: len(files) // 2]))
    tar_of(tmp_path / "tars" / "0002.tar", {**dict(files[len(files) // 2 :]), ".DS_Store": b"x"})
    assert run(source, tmp_path / "folders", "--image-size", "40") == 0
    assert run(tmp_path / "tars", tmp_path / "shards", "--image-size", "40") == 0
    folders, shards = (read_manifest(tmp_path / name) for name in ("folders", "shards"))
    assert shards.checks.layout == "tar shards"
    assert shards.checks.skipped == {".DS_Store": 1}
    assert shards.counts == folders.counts
    all_of = [set().union(*(digests(tmp_path / name, split) for split in SPLITS)) for name in ("folders", "shards")]
    assert all_of[0] == all_of[1]


@pytest.mark.parametrize("names", [("train-1.tar", "test-1.tar"), ("train/1.tar", "test/1.tar")])
def test_tar_shards_say_their_split_by_folder_or_name(tmp_path: Path, names: tuple[str, str]) -> None:
    files = list(shard_files(class_folders(tmp_path / "in"), "folder").items())
    for name, part in zip(names, (files[::4], files[1::2] + files[2::4]), strict=True):
        tar_of(tmp_path / "tars" / name, dict(part))
    tar_of(tmp_path / "tars" / names[0], dict(files[1::2] + files[2::4]))
    tar_of(tmp_path / "tars" / names[1], dict(files[::4]))
    assert run(tmp_path / "tars", tmp_path / "out") == 0
    assert sum(read_manifest(tmp_path / "out").counts["test"].values()) == 10


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"a.jpg": b"x"}, "has no class: expected .cls, .txt, .json of the same name"),
        ({"a.json": b"{", "a.jpg": b"x"}, "a.json is not JSON"),
        ({"a.cls": b"", "a.jpg": b"x"}, "expected the class in one line"),
    ],
)
def test_a_tar_shard_without_classes_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], files: dict[str, bytes], says: str
) -> None:
    tar_of(tmp_path / "in" / "1.tar", files)
    assert run(tmp_path / "in", tmp_path / "out") == 1
    assert says in capsys.readouterr().err


def test_a_tar_shard_that_was_cut_off_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tar_of(tmp_path / "in" / "1.tar", shard_files(class_folders(tmp_path / "of", count=2), "cls"))
    whole = (tmp_path / "in" / "1.tar").read_bytes()
    (tmp_path / "in" / "1.tar").write_bytes(whole[: len(whole) // 2 // 512 * 512 + 100])
    assert run(tmp_path / "in", tmp_path / "out") == 1
    assert "1.tar is no whole tar file" in capsys.readouterr().err
