"""Decoding pictures of any kind, and reading the dataset folder."""

from __future__ import annotations

import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from imaging.dataset import DatasetError, format_rows, load_split, read_examples, read_manifest
from imaging.decode import ImageError, decode_image, encode_png
from imaging.labels import LabelsError, labels_document, read_labels
from tests.places import SAMPLES


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


def raw_png(size: tuple[int, int], depth: int, colour: int, rows: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG put together by hand: Pillow does not write what these tests send."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(kind, data) for kind, data in chunks)


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    grey = Image.fromarray(np.full((32, 32), 0x8000, dtype=np.uint16))
    assert np.all(decode_image(encoded(grey)) == 0x80)


@pytest.mark.parametrize(
    ("colour", "pixel", "expected"),
    [
        (2, b"\x80\x01\x40\x02\xff\xff", (0x80, 0x40, 0xFF)),
        (4, b"\x80\x01\xff\xff", (0x80, 0x80, 0x80)),
        (6, b"\x80\x01\x40\x02\xff\xff\xff\xff", (0x80, 0x40, 0xFF)),
        (6, b"\x80\x01\x40\x02\xff\xff\x00\x00", (255, 255, 255)),
    ],
)
def test_sixteen_bits_a_channel_keep_the_high_byte(colour: int, pixel: bytes, expected: tuple[int, ...]) -> None:
    decoded = decode_image(raw_png((4, 4), 16, colour, (b"\0" + 4 * pixel) * 4))
    assert {tuple(p) for p in decoded.reshape(-1, 3).tolist()} == {expected}


def test_transparent_parts_become_white() -> None:
    assert np.all(decode_image(encoded(Image.new("RGBA", (32, 32), (0, 0, 0, 0)))) == 255)
    assert np.all(decode_image(encoded(Image.new("LA", (90, 40), (0, 0)))) == 255)
    assert np.all(decode_image(encoded(Image.new("RGBA", (50, 50), (0, 0, 0, 128)), "WEBP", lossless=True)) == 127)


def test_a_palette_s_transparent_colour_becomes_white_and_the_others_stay() -> None:
    picture = Image.new("P", (32, 32))
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.paste(1, (0, 0, 16, 32))
    assert decode_image(encoded(picture))[0, [0, 31]].tolist() == [[0, 0, 255], [255, 0, 0]]
    assert decode_image(encoded(picture, transparency=0))[0, [0, 31]].tolist() == [[0, 0, 255], [255, 255, 255]]
    assert decode_image(encoded(picture, transparency=b"\x00\xff"))[0, [0, 31]].tolist() == [[0, 0, 255], [255] * 3]


def test_colours_below_transparent_pixels_do_not_bleed_when_a_picture_is_scaled() -> None:
    picture = Image.new("RGBA", (256, 256), (255, 0, 0, 0))
    picture.paste((0, 0, 255, 255), (0, 0, 124, 256))
    decoded = decode_image(encoded(picture)).astype(int)
    assert np.all(decoded[..., 0] <= decoded[..., 2])


def test_bits_are_black_and_white() -> None:
    picture = Image.new("1", (32, 32))
    picture.paste(1, (0, 0, 16, 32))
    assert decode_image(encoded(picture))[5, [0, 31]].tolist() == [[255] * 3, [0] * 3]


def test_cmyk_is_converted() -> None:
    red = Image.new("CMYK", (64, 64), (0, 255, 255, 0))
    assert np.abs(decode_image(encoded(red, "JPEG")).astype(int) - [255, 0, 0]).max() < 4


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_orientation_is_applied(tag: int, kind: str) -> None:
    upright = Image.new("RGB", (96, 64), "black")
    upright.paste("white", (0, 0, 48, 32))
    # How a camera that writes this tag stored the picture: the inverse of what a viewer does with the tag.
    stored = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[tag]
    exif = Image.Exif()
    exif[0x0112] = tag
    picture = upright if stored is None else upright.transpose(stored)
    decoded = decode_image(encoded(picture, kind, exif=exif.tobytes())).astype(int)
    assert np.abs(decoded - decode_image(encoded(upright, kind))).max() < 12


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize(
    "exif", [b"garbage", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x04abc\0"]
)
def test_a_picture_with_broken_exif_is_read_as_it_lies(exif: bytes) -> None:
    picture = Image.new("RGB", (64, 64), "red")
    assert np.array_equal(
        decode_image(encoded(picture, "JPEG", exif=b"Exif\0\0" + exif)), decode_image(encoded(picture, "JPEG"))
    )


def test_half_of_what_a_wide_picture_has_too_much_is_cut_off() -> None:
    """A 4 to 1 picture is seen from one quarter to three quarters of its width, squeezed to half its width."""
    bands = Image.new("RGB", (256, 64), "black")
    bands.paste("white", (64, 0, 192, 64))
    assert decode_image(encoded(bands))[:, 2:30].min() > 200
    assert decode_image(encoded(bands.rotate(90, expand=True)))[2:30].min() > 200
    bands.paste("red", (96, 0, 160, 64))
    red = decode_image(encoded(bands))[16, :, 1] < 128
    assert red.nonzero()[0].tolist() == list(range(8, 24))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_an_animated_picture_is_refused_and_a_still_one_of_that_kind_read(kind: str) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "blue")]
    assert decode_image(encoded(frames[0], kind))[0, 0].tolist()[0] > 250
    with pytest.raises(ImageError, match=f"the {kind} is animated"):
        decode_image(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))


def test_a_phone_s_jpeg_with_a_second_picture_counts_as_its_first() -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    decoded = decode_image(encoded(frames[0], "MPO", save_all=True, append_images=frames[1:]))
    assert decoded[0, 0, 0] > 250


NOISE = Image.effect_noise((64, 64), 50).convert("RGB")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"<html>no picture</html>", "not an image"),
        (b"%PDF-1.4", "not an image"),
        (encode_png(random_pixels())[:600], "truncated"),
        (encoded(NOISE)[:-40], "truncated"),
        (encoded(NOISE, "JPEG")[:-400], "truncated"),
        (encoded(NOISE, "WEBP")[:-100], "not an image|truncated"),
        (raw_png((0, 0), 8, 2, b""), "any pixels"),
        (raw_png((0, 5), 8, 2, b"\0" * 5), "any pixels"),
        (encoded(Image.new("RGB", (8, 8)), "TIFF"), "not an image"),
    ],
)
def test_what_is_no_picture_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        decode_image(data)


def test_a_decompression_bomb_is_refused_before_decoding() -> None:
    bomb = encoded(Image.new("1", (9000, 9000)))
    assert len(bomb) < 50_000
    with pytest.raises(ImageError, match="9000 x 9000"):
        decode_image(bomb)


@pytest.mark.parametrize(
    ("size", "reason"),
    [
        ((60_000, 60_000), "declares more than"),
        ((2**31 - 1, 2**31 - 1), "declares more than"),
        ((1, 39_999_999), "side"),
    ],
)
def test_a_header_alone_cannot_make_the_decoder_allocate(size: tuple[int, int], reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        decode_image(raw_png(size, 1, 0, b"\0" * 100))


@pytest.mark.parametrize("kind", [b"iCCP", b"zTXt"])
def test_a_bomb_in_a_text_chunk_is_refused(kind: bytes) -> None:
    bomb = (kind, b"x\0\0" + zlib.compress(b"\0" * 20_000_000))
    with pytest.raises(ImageError, match="too large"):
        decode_image(raw_png((2, 2), 8, 2, (b"\0" + b"\1" * 6) * 2, bomb))


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
