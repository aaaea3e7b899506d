"""Decoding pictures of any kind, and reading the dataset folder."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imaging.dataset import DatasetError, format_rows, load_split, read_examples, read_manifest
from imaging.decode import ImageError, decode_image, encode_png
from imaging.labels import LabelsError, labels_document, read_labels

SAMPLES = Path(__file__).resolve().parent.parent / "samples"


def encoded(picture: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def random_pixels(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def test_a_png_of_the_right_size_comes_back_unchanged() -> None:
    pixels = random_pixels()
    assert np.array_equal(decode_image(encode_png(pixels)), pixels)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("size", [(32, 32), (7, 90), (640, 480)])
def test_every_mode_and_size_becomes_32_by_32_rgb(mode: str, size: tuple[int, int]) -> None:
    decoded = decode_image(encoded(Image.new(mode, size)))
    assert decoded.shape == (32, 32, 3)
    assert decoded.dtype == np.uint8


@pytest.mark.parametrize(
    ("kind", "mode"), [("JPEG", "RGB"), ("JPEG", "CMYK"), ("JPEG", "L"), ("WEBP", "RGB"), ("BMP", "RGB")]
)
def test_other_formats_are_read(kind: str, mode: str) -> None:
    assert decode_image(encoded(Image.new(mode, (100, 60)), kind)).shape == (32, 32, 3)


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    grey = Image.fromarray(np.full((32, 32), 0x8000, dtype=np.uint16))
    assert np.all(decode_image(encoded(grey)) == 0x80)


def test_transparent_parts_become_white() -> None:
    assert np.all(decode_image(encoded(Image.new("RGBA", (32, 32), (0, 0, 0, 0)))) == 255)


def test_exif_orientation_is_applied() -> None:
    picture = Image.new("RGB", (64, 64), "black")
    picture.paste("white", (0, 0, 64, 32))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise: the top becomes the right side
    turned = decode_image(encoded(picture, "JPEG", exif=exif.tobytes()))
    assert turned[16, 28].min() > 200
    assert turned[16, 3].max() < 50


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "empty"), (b"<html>no picture</html>", "not an image"), (encode_png(random_pixels())[:600], "truncated")],
)
def test_what_is_no_picture_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        decode_image(data)


def test_a_decompression_bomb_is_refused_before_decoding() -> None:
    bomb = encoded(Image.new("1", (9000, 9000)))
    assert len(bomb) < 50_000
    with pytest.raises(ImageError, match="9000 x 9000"):
        decode_image(bomb)


def test_a_declared_size_beyond_pillows_own_limit_is_refused() -> None:
    with pytest.raises(ImageError, match="declares more than"):
        decode_image(encoded(Image.new("1", (20_000, 5_000))))


@given(st.binary(max_size=300), st.integers(0, 2000))
def test_damaged_bytes_never_raise_anything_else(noise: bytes, position: int) -> None:
    whole = encode_png(random_pixels())
    for data in (noise, whole[:position] + noise + whole[position + len(noise) :]):
        try:
            assert decode_image(data).shape == (32, 32, 3)
        except ImageError as error:
            assert str(error)


def write_dataset(folder: Path, rows: str) -> Path:
    (folder / "test").mkdir()
    (folder / "test" / "a.png").write_bytes(encode_png(random_pixels()))
    (folder / "test.lst").write_text(rows)
    (folder / "dataset.json").write_text((SAMPLES / "dataset.json").read_text())
    return folder


def test_a_split_is_read_in_the_order_of_its_list(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path, format_rows([(1, "a.png"), (0, "a.png")]))
    images, labels = load_split(folder, "test")
    assert images.shape == (2, 32, 32, 3)
    assert labels.tolist() == [1, 0]
    assert np.array_equal(images[0], random_pixels())


@pytest.mark.parametrize(
    ("rows", "reason"),
    [("0\ta.png\n", "line 1"), ("0\t0\tgone.png\n", "does not exist"), ("", "empty"), ("0\t7\ta.png\n", "label 7")],
)
def test_a_contradictory_list_is_refused(tmp_path: Path, rows: str, reason: str) -> None:
    with pytest.raises(DatasetError, match=reason):
        load_split(write_dataset(tmp_path, rows), "test")


def test_a_folder_that_is_no_dataset_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"dataset\.json is missing"):
        read_manifest(tmp_path)
    with pytest.raises(DatasetError, match=r"train\.lst is missing"):
        read_examples(tmp_path, "train")


def test_labels_survive_writing_and_reading(tmp_path: Path) -> None:
    (tmp_path / "labels.json").write_text(labels_document(["bicycle", "motorcycle"]))
    assert read_labels(tmp_path) == read_labels(SAMPLES) == ["bicycle", "motorcycle"]


@pytest.mark.parametrize("document", [[], {}, {"classes": ["one"]}, {"classes": ["same", "same"]}])
def test_labels_must_be_distinct_names(tmp_path: Path, document: object) -> None:
    (tmp_path / "labels.json").write_text(json.dumps(document))
    with pytest.raises(LabelsError, match="class"):
        read_labels(tmp_path)
