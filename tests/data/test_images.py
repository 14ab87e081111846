"""The decoder: every format and pixel layout gives uint8 RGB, and every bad file gives one clear ImageError."""

import os
import re
import struct
import sys
import threading
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from bench.fuzz_decoder import raw_png, raw_tiff, saved, tiff_page
from inspection.data import image_checks, images
from inspection.data.image_checks import (
    MAX_ASPECT_RATIO,
    MAX_JPEG_SCANS,
    MAX_METADATA_BLOCKS,
    MAX_PIXELS,
    MAX_TIFF_PAGES,
)
from inspection.data.images import (
    EXTENSIONS,
    MAX_FILE_BYTES,
    Decoding,
    decode,
    decode_file,
    read_file,
    resize,
)
from inspection.errors import ImageError

ORIENTATION = 0x0112  # EXIF tag
ROWS, COLUMNS = 20, 32
TWELVE_BITS = Decoding(bit_depth=12)
UNIT_RANGE = Decoding(float_range=(0.0, 1.0))


def filled_grey(value: float, dtype: str = "uint16") -> Image.Image:
    return Image.fromarray(np.full((ROWS, COLUMNS), value, dtype))


def filled_tiff(bits: list[int], kind: int, pixel: bytes, changes: dict | None = None, order: str = "<") -> bytes:
    """A TIFF of 16 x 8 equal pixels; where one is no whole byte, the bytes given are repeated."""
    n_repeats = 128 * sum(bits) // (8 * len(pixel))
    return raw_tiff(tiff_page(16, 8, bits, kind, pixel * n_repeats, changes), order=order)


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """A smooth colour picture that lossy formats keep well: no two channels, rows or columns alike."""
    rows, columns = np.mgrid[:ROWS, :COLUMNS]
    pixels = np.stack([8 * columns, 10 * rows, 255 - 4 * (rows + columns)], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.mark.parametrize(
    ("format", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "tiff_deflate"}, 0),
        ("TIFF", {"compression": "packbits"}, 0),
        ("TIFF", {"compression": "jpeg", "quality": 95}, 24),
        ("TIFF", {"big_tiff": True}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 24),
        ("JPEG", {"quality": 95}, 24),
        ("JPEG", {"quality": 95, "progressive": True}, 24),
    ],
)
def test_every_format_gives_uint8_rgb(picture, format, options, tolerance):
    decoded = decode(saved(picture, format, **options))
    expected = np.asarray(picture)
    assert decoded.mode == "RGB"
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.shape == (ROWS, COLUMNS, 3)
    assert np.abs(decoded.pixels.astype(int) - expected).max() <= tolerance
    assert np.abs(decoded.pixels.astype(int) - expected).mean() <= tolerance / 8


@pytest.mark.parametrize(
    ("value", "scaled"),
    # value // 257, the depth of 16 bits over that of 8: 65535 = 255 * 257.
    [
        (0, 0),
        (256, 0),
        (257, 1),
        (513, 1),
        (514, 2),
        (32768, 127),
        (32896, 128),
        (65278, 254),
        (65534, 254),
        (65535, 255),
    ],
)
@pytest.mark.parametrize(
    ("format", "dtype", "mode"), [("PNG", "<u2", "I;16"), ("TIFF", "<u2", "I;16"), ("TIFF", ">u2", "I;16B")]
)
def test_sixteen_bit_grey_is_scaled_by_its_depth(value, scaled, format, dtype, mode):
    decoded = decode(saved(filled_grey(value, dtype), format))
    assert decoded.mode == mode
    assert decoded.pixels.shape == (ROWS, COLUMNS, 3)
    assert np.unique(decoded.pixels).tolist() == [scaled]


def test_sixteen_bits_of_every_value_are_divided_by_257():
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(decode(saved(Image.fromarray(values), "PNG")).pixels[..., 0], values // 257)


@pytest.mark.parametrize(
    ("bit_depth", "value", "scaled"),
    # value * 255 // (2**bit_depth - 1)
    [
        (8, 0, 0),
        (8, 100, 100),
        (8, 255, 255),
        (10, 512, 127),  # 127.6
        (10, 1023, 255),
        (12, 16, 0),  # 0.996
        (12, 17, 1),  # 1.06
        (12, 2048, 127),  # 127.53
        (12, 4094, 254),  # 254.94
        (12, 4095, 255),
        (14, 8192, 127),  # 127.51
        (14, 16383, 255),
        (16, 4095, 15),  # 15.93: what a camera of 12 bits gives when nobody says so
    ],
)
@pytest.mark.parametrize(
    ("format", "dtype", "options"),
    [
        ("PNG", "<u2", {}),
        ("TIFF", "<u2", {}),
        ("TIFF", ">u2", {}),
        ("TIFF", "<u2", {"compression": "tiff_deflate"}),
    ],
)
def test_sixteen_bit_grey_is_scaled_by_the_depth_of_the_camera(bit_depth, value, scaled, format, dtype, options):
    data = saved(filled_grey(value, dtype), format, **options)
    assert np.unique(decode(data, decoding=Decoding(bit_depth)).pixels).tolist() == [scaled]


@pytest.mark.parametrize(
    ("bit_depth", "value", "white"), [(8, 256, 255), (12, 4096, 4095), (12, 65535, 4095), (15, 32768, 32767)]
)
def test_value_that_does_not_fit_the_depth(bit_depth, value, white):
    values = np.zeros((ROWS, COLUMNS), np.uint16)
    values[3, 4] = value
    message = f"a.png: the pixel value {value} does not fit a camera of {bit_depth} bits (0 to {white}); correct "
    with pytest.raises(ImageError, match=re.escape(message + "data.decoding.bit_depth.")):
        decode(saved(Image.fromarray(values), "PNG"), "a.png", Decoding(bit_depth))


@pytest.mark.parametrize("bit_depth", [12, 14, 16])
@pytest.mark.parametrize("compression", [1, 8])
def test_tiff_that_packs_twelve_bits_is_read_as_twelve(bit_depth, compression):
    # Two values in three bytes: 0xABC = 2748 -> 171.1 and 0x123 = 291 -> 18.1.
    row = b"\xab\xc1\x23" * 8
    data = row * 8 if compression == 1 else zlib.compress(row * 8)
    file = raw_tiff(tiff_page(16, 8, [12], 1, data, {259: (3, [compression])}))
    assert decode(file, decoding=Decoding(bit_depth)).pixels[0, :2, 0].tolist() == [171, 18]


def test_tiff_that_packs_twelve_bits_of_a_shallower_camera():
    with pytest.raises(ImageError, match="the pixel value 2748 does not fit a camera of 10 bits"):
        decode(filled_tiff([12], 1, b"\xab\xc1\x23"), decoding=Decoding(bit_depth=10))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_depth_of_the_camera_does_not_touch_eight_bits(picture, mode):
    data = saved(picture.convert(mode), "PNG")
    assert np.array_equal(decode(data, decoding=TWELVE_BITS).pixels, decode(data).pixels)


@pytest.mark.parametrize(("value", "scaled"), [(0, 0), (257, 1), (514, 2), (65535, 255)])
def test_sixteen_bit_colour(value, scaled):
    scanline = b"\0" + struct.pack(">HHH", value, 0, 65535) * 8
    for data in (
        raw_png(8, 8, 16, 2, scanline * 8),
        filled_tiff([16] * 3, 2, struct.pack("<HHH", value, 0, 65535)),
        filled_tiff([16] * 3, 2, struct.pack(">HHH", value, 0, 65535), order=">"),
    ):
        assert np.unique(decode(data).pixels.reshape(-1, 3), axis=0).tolist() == [[scaled, 0, 255]]


@pytest.mark.parametrize(
    "data",
    [
        raw_png(8, 8, 16, 2, (b"\0" + bytes(48)) * 8),
        raw_png(8, 8, 16, 4, (b"\0" + bytes(32)) * 8),
        raw_png(8, 8, 16, 6, (b"\0" + bytes(64)) * 8),
        filled_tiff([16] * 3, 2, bytes(6)),
        filled_tiff([16] * 4, 5, bytes(8), order=">"),
    ],
    ids=["PNG-RGB", "PNG-LA", "PNG-RGBA", "TIFF-RGB", "TIFF-CMYK"],
)
def test_sixteen_bit_colour_of_a_shallower_camera_is_refused(data):
    decode(data)
    with pytest.raises(ImageError, match=r"of 16-bit colour only the upper 8 bits .* data\.decoding\.bit_depth = 12"):
        decode(data, decoding=TWELVE_BITS)


@pytest.mark.parametrize(
    ("limits", "value", "scaled"),
    # (value - black) / (white - black) * 255, to the nearest.
    [
        ((0.0, 1.0), 0.0, 0),
        ((0.0, 1.0), 1.0, 255),
        ((0.0, 1.0), 0.5, 128),  # 127.5: the even neighbour
        ((0.0, 1.0), 0.25, 64),  # 63.75
        ((0.0, 1.0), 1 / 255, 1),  # not 0: stored as 0.99999999 / 255 or so
        ((0.0, 1.0), -0.01, 0),
        ((0.0, 1.0), 1.02, 255),
        ((0.0, 1.0), 3e38, 255),
        ((100, 300), 200.0, 128),  # 127.5
        ((100, 300), 102.0, 3),  # 2.55
        ((-1.0, 1.0), -0.5, 64),  # 63.75
        ((0, 65535), 385.0, 1),  # 1.498
        ((0, 65535), 386.0, 2),  # 1.502
    ],
)
@pytest.mark.parametrize("options", [{}, {"compression": "tiff_deflate"}])
def test_floating_point_is_scaled_by_its_range(limits, value, scaled, options):
    data = saved(filled_grey(value, "float32"), "TIFF", **options)
    decoded = decode(data, decoding=Decoding(float_range=limits))
    assert decoded.mode == "F"
    assert decoded.pixels.shape == (ROWS, COLUMNS, 3)
    assert decoded.pixels.dtype == np.uint8
    assert np.unique(decoded.pixels).tolist() == [scaled]


def test_big_endian_floating_point():
    data = filled_tiff([32], 1, struct.pack(">f", 0.25), {339: (3, [3])}, ">")
    assert np.unique(decode(data, decoding=UNIT_RANGE).pixels).tolist() == [64]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_floating_point_that_is_no_number(value):
    values = np.zeros((ROWS, COLUMNS), np.float32)
    values[-1, -1] = value
    with pytest.raises(ImageError, match=r"a\.tif: some pixels are NaN or infinite"):
        decode(saved(Image.fromarray(values), "TIFF"), "a.tif", UNIT_RANGE)


@pytest.mark.parametrize(("low", "high", "limits"), [(2, 65535, (0.0, 1.0)), (0, 1, (0.0, 65535.0)), (-9, -1, (0, 1))])
def test_range_that_leaves_one_grey_is_refused(low, high, limits):
    values = np.full((ROWS, COLUMNS), low, np.float32)
    values[0] = high
    message = (
        f"data.decoding.float_range = [{limits[0]}, {limits[1]}] leaves one grey of the pixel values {low} to {high};"
    )
    with pytest.raises(ImageError, match=re.escape(message)):
        decode(saved(Image.fromarray(values), "TIFF"), decoding=Decoding(float_range=limits))


def test_range_may_be_the_list_that_json_gives():
    data = saved(filled_grey(0.25, "float32"), "TIFF")
    assert np.unique(decode(data, decoding=Decoding(float_range=[0, 1])).pixels).tolist() == [64]
    with pytest.raises(ImageError, match=r"no stated range; set data\.decoding\.float_range"):
        decode(data, decoding=Decoding(float_range=[]))


def palette_image(**info) -> tuple[bytes, str]:
    image = Image.new("P", (COLUMNS, ROWS), 1)
    image.putpalette([9, 9, 9, 10, 120, 230])
    return saved(image, "PNG", **info), "P"


def filled(mode: str, colour, format: str = "PNG") -> tuple[bytes, str]:
    return saved(Image.new(mode, (COLUMNS, ROWS), colour), format), mode


@pytest.mark.parametrize(
    ("file", "colour"),
    [
        (filled("1", 1), (255, 255, 255)),
        (filled("L", 77), (77, 77, 77)),
        (filled("L", 77, "TIFF"), (77, 77, 77)),
        (filled("RGB", (1, 2, 3)), (1, 2, 3)),
        (palette_image(), (10, 120, 230)),
        # Transparency is laid over black: colour * alpha / 255, so 200 * 128 / 255 = 100.4, 100 -> 50.2, 50 -> 25.1.
        (filled("RGBA", (200, 100, 50, 128)), (100, 50, 25)),
        (filled("RGBA", (200, 100, 50, 255)), (200, 100, 50)),
        (filled("RGBA", (200, 100, 50, 0)), (0, 0, 0)),
        (filled("LA", (200, 128)), (100, 100, 100)),
        (palette_image(transparency=1), (0, 0, 0)),
        (palette_image(transparency=0), (10, 120, 230)),
        ((saved(Image.new("RGB", (COLUMNS, ROWS), (4, 5, 6)), "PNG", transparency=(4, 5, 6)), "RGB"), (0, 0, 0)),
        # CMYK is ink: 255 * (1 - ink) * (1 - black).
        (filled("CMYK", (0, 0, 0, 0), "TIFF"), (255, 255, 255)),
        (filled("CMYK", (0, 255, 255, 0), "TIFF"), (255, 0, 0)),
        (filled("CMYK", (0, 0, 0, 255), "TIFF"), (0, 0, 0)),
        (filled("CMYK", (0, 255, 255, 0), "JPEG"), (255, 0, 0)),
    ],
    ids=lambda case: "-".join(map(str, case)) if isinstance(case[0], int) else case[1],
)
def test_every_pixel_layout_becomes_rgb(file, colour):
    data, mode = file
    decoded = decode(data)
    assert decoded.mode == mode
    assert np.abs(decoded.pixels.astype(int) - colour).max() <= 1


PALETTE = [0, 200 * 257, *[0] * 254, 0, 100 * 257, *[0] * 254, 0, 50 * 257, *[0] * 254]
"""Of TIFF: red, green and blue of 256 colours in 16 bits; colour 1 is (200, 100, 50)."""


@pytest.mark.parametrize(
    ("data", "mode", "colour"),
    [
        (filled_tiff([8], 0, b"\x40"), "L", (191, 191, 191)),  # white is zero
        (filled_tiff([1], 1, b"\xff"), "1", (255, 255, 255)),
        (filled_tiff([1], 0, b"\xff"), "1", (0, 0, 0)),
        (filled_tiff([4], 1, b"\x55"), "L", (85, 85, 85)),  # 5 of 15
        (filled_tiff([8, 8], 1, b"\x64\xc8", {338: (3, [2])}), "LA", (78, 78, 78)),  # 100 * 200 / 255
        (filled_tiff([8, 8], 1, b"\x64\xc8", {338: (3, [1])}), "La", (100, 100, 100)),  # multiplied already
        (filled_tiff([8, 8], 3, b"\x01\x80", {338: (3, [2]), 320: (3, PALETTE)}), "PA", (100, 50, 25)),
        (filled_tiff([8] * 4, 2, b"\x14\x28\x3c\x80", {338: (3, [1])}), "RGBA", (20, 40, 60)),  # likewise
        (filled_tiff([8] * 4, 2, b"\x14\x28\x3c\x80", {338: (3, [0])}), "RGB", (20, 40, 60)),  # no alpha at all
        (filled_tiff([8] * 3, 6, bytes([76, 85, 255]), {530: (3, [1, 1])}), "YCbCr", (254, 0, 0)),
        (filled_tiff([8] * 3, 8, bytes([255, 0, 0])), "LAB", (255, 255, 255)),
        (filled_tiff([8] * 3, 8, bytes([0, 0, 0])), "LAB", (0, 0, 0)),
        (filled_tiff([8] * 3, 8, bytes([137, 0, 0])), "LAB", (128, 128, 128)),  # L* = 53.7
        # L*a*b* of sRGB red and green at D50: 54.3, 80.8, 69.9 and 87.8, -79.3, 81.0.
        (filled_tiff([8] * 3, 8, bytes([138, 81, 70])), "LAB", (255, 0, 0)),
        (filled_tiff([8] * 3, 8, bytes([224, 256 - 79, 81])), "LAB", (0, 255, 0)),
        (raw_png(8, 8, 2, 0, (b"\0" + b"\xaa\xaa") * 8), "L", (170, 170, 170)),  # 2 of 3
        (raw_png(8, 8, 8, 0, (b"\0" + b"\x33" * 8) * 8, (b"tRNS", b"\0\x33")), "L", (0, 0, 0)),
        (raw_png(8, 8, 8, 0, (b"\0" + b"\x33" * 8) * 8, (b"tRNS", b"\0\x34")), "L", (51, 51, 51)),
        (raw_png(8, 8, 16, 4, (b"\0" + b"\xc8\x00\x80\x00" * 8) * 8), "RGBA", (100, 100, 100)),  # 200 * 128 / 255
    ],
    ids=lambda value: "" if isinstance(value, bytes) else None,
)
def test_layouts_that_pillow_does_not_write(data, mode, colour):
    decoded = decode(data)
    assert decoded.mode == mode
    assert np.abs(decoded.pixels.astype(int) - colour).max() <= (
        15 if mode == "LAB" else 1
    )  # a* and b* are whole numbers


def test_strips_tiles_and_planes_are_put_together(picture):
    pixels = np.asarray(picture)
    grey, (height, width) = pixels[..., 0], (ROWS, COLUMNS)
    padded = np.zeros((32, 32), np.uint8)
    padded[:height] = grey
    tiles = b"".join(padded[y : y + 16, x : x + 16].tobytes() for y in (0, 16) for x in (0, 16))
    no_strips = dict.fromkeys((273, 278, 279))
    strips = {278: (3, [9]), 273: (4, [0, 9 * width, 18 * width]), 279: (4, [9 * width, 9 * width, 2 * width])}
    squares = {322: (3, [16]), 323: (3, [16]), 324: (4, [0, 256, 512, 768]), 325: (4, [256] * 4)}
    planes = {284: (3, [2]), 273: (4, [0, grey.size, 2 * grey.size]), 279: (4, [grey.size] * 3)}
    for page, expected in [
        (tiff_page(width, height, [8], 1, grey.tobytes(), strips), grey[..., None]),
        (tiff_page(width, height, [8], 1, tiles, no_strips | squares), grey[..., None]),
        (tiff_page(width, height, [8] * 3, 2, np.moveaxis(pixels, 2, 0).tobytes(), planes), pixels),
    ]:
        assert (decode(raw_tiff(page)).pixels == expected).all()


DEFLATED_FLOATS = zlib.compress(struct.pack(">f", 0.5) * 128)


@pytest.mark.parametrize(
    ("data", "layout"),
    [
        (filled_tiff([16], 0, b"\1\2"), "white stored as zero in more than 8 bits"),
        (filled_tiff([32], 0, bytes(4), {339: (3, [3])}), "white stored as zero in more than 8 bits"),
        (filled_tiff([8], 1, b"\xfb", {339: (3, [2])}), "signed integers"),
        (filled_tiff([8] * 3, 6, bytes(3)), "subsampled colour without compression"),
        (filled_tiff([8] * 3, 6, bytes(3), {530: (3, [2, 1])}), "subsampled colour without compression"),
        (
            filled_tiff([16] * 3, 2, bytes(6), {284: (3, [2]), 273: (4, [0, 256, 512]), 279: (4, [256] * 3)}),
            "separate colour planes in this layout",
        ),
        (
            raw_tiff(tiff_page(16, 8, [32], 1, DEFLATED_FLOATS, {259: (3, [8]), 339: (3, [3])}), order=">"),
            "compressed big-endian floating point numbers",
        ),
    ],
    ids=["negative-16", "negative-float", "signed", "YCbCr-22", "YCbCr-21", "planes-16", "float-MM"],
)
def test_tiff_that_pillow_reads_wrongly_is_refused(data, layout):
    with pytest.raises(ImageError, match=f"^a.tif: TIFF with {layout} is not supported; save it as plain 8- or 16-bit"):
        decode(data, "a.tif", UNIT_RANGE)


@pytest.mark.parametrize(
    "data",
    [
        raw_png(8, 8, 4, 0, (b"\0" + b"\xff" * 4) * 8, (b"tRNS", b"\0\x0f")),
        raw_png(8, 8, 16, 2, (b"\0" + b"\x12\x34" * 24) * 8, (b"tRNS", b"\x12\x34" * 3)),
    ],
    ids=["4-bit", "16-bit"],
)
def test_transparent_colour_that_pillow_overlooks_is_refused(data):
    with pytest.raises(ImageError, match="a transparent colour is not supported in 2, 4 or 16 bits"):
        decode(data)


def cmyk_jpeg(stored: tuple[int, int, int, int], transform: int) -> bytes:
    """A JPEG of four equal channels as Adobe writes them: stored is 255 - ink, or the same turned to YCC."""
    data = saved(Image.new("CMYK", (COLUMNS, ROWS), tuple(255 - value for value in stored)), "JPEG", quality=100)
    position = data.index(b"Adobe") + 11
    return data[:position] + bytes([transform]) + data[position + 1 :]


@pytest.mark.parametrize(
    ("stored", "transform", "colour"),
    [
        ((255, 255, 255, 255), 0, (255, 255, 255)),
        ((255, 0, 0, 255), 0, (255, 0, 0)),
        ((255, 255, 255, 0), 0, (0, 0, 0)),
        # YCCK. Grey: Y 128 is 127 of each ink. Y, Cb, Cr of red, (76, 85, 255), is full cyan ink.
        ((128, 128, 128, 255), 2, (127, 127, 127)),
        ((76, 85, 255, 255), 2, (0, 255, 255)),
    ],
)
def test_cmyk_jpeg_is_inverted_as_adobe_does(stored, transform, colour):
    decoded = decode(cmyk_jpeg(stored, transform))
    assert decoded.mode == "CMYK"
    assert np.abs(decoded.pixels.astype(int) - colour).max() <= 3


def test_cmyk_jpeg_that_may_be_inverted_or_not_is_refused():
    data = cmyk_jpeg((255, 0, 0, 255), 0)
    start = data.index(b"\xff\xee")
    with pytest.raises(ImageError, match="CMYK JPEG without Adobe's marker may be a negative or not"):
        decode(data[:start] + data[start + 16 :])


def test_transparent_value_of_sixteen_bit_grey_is_laid_over_black():
    assert not decode(saved(filled_grey(51400), "PNG", transparency=51400)).pixels.any()


@pytest.mark.parametrize(
    ("orientation", "corner", "turned"),
    [
        # TIFF 6.0, tag 274: where the stored top-left corner belongs, and whether width and height change places.
        (1, (0, 0), False),
        (2, (0, -1), False),
        (3, (-1, -1), False),
        (4, (-1, 0), False),
        (5, (0, 0), True),
        (6, (0, -1), True),
        (7, (-1, -1), True),
        (8, (-1, 0), True),
    ],
)
def test_orientation_is_applied(orientation, corner, turned):
    pixels = np.zeros((ROWS, COLUMNS, 3), np.uint8)
    pixels[0, 0] = 255
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    decoded = decode(saved(Image.fromarray(pixels), "PNG", exif=exif)).pixels
    assert decoded.shape[:2] == ((COLUMNS, ROWS) if turned else (ROWS, COLUMNS))
    assert decoded[corner].tolist() == [255] * 3
    assert decoded.sum() == 3 * 255


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation_6_in_every_format_that_carries_it(picture, format):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    decoded = decode(saved(picture, format, exif=exif)).pixels.astype(int)
    # 6: the stored picture is turned clockwise by 90 degrees to be shown.
    clockwise = np.rot90(np.asarray(picture), k=-1).astype(int)
    assert decoded.shape == (COLUMNS, ROWS, 3)
    assert np.abs(decoded - clockwise).mean() < 8


def test_sixteen_bit_grey_is_turned_too():
    pixels = np.zeros((ROWS, COLUMNS), np.uint16)
    pixels[0, 0] = 65535
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    decoded = decode(saved(Image.fromarray(pixels), "PNG", exif=exif)).pixels
    assert decoded.shape == (COLUMNS, ROWS, 3)
    assert decoded[0, -1].tolist() == [255] * 3


def test_floating_point_is_turned_too():
    pixels = np.zeros((ROWS, COLUMNS), np.float32)
    pixels[0, 0] = 1
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    decoded = decode(saved(Image.fromarray(pixels), "TIFF", exif=exif), decoding=UNIT_RANGE).pixels
    assert decoded.shape == (COLUMNS, ROWS, 3)
    assert decoded[0, -1].tolist() == [255] * 3


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_orientation_in_xmp(picture, format):
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'
    if format == "PNG":
        data = saved(picture, "PNG")
        text = b"XML:com.adobe.xmp\0\0\0\0\0" + xmp
        sealed = b"iTXt" + text + struct.pack(">I", zlib.crc32(b"iTXt" + text))
        data = data[:33] + struct.pack(">I", len(text)) + sealed + data[33:]
    else:
        data = saved(picture, format, **{"tiffinfo": {700: xmp}} if format == "TIFF" else {"xmp": xmp})
    turned = np.rot90(np.asarray(picture)).astype(int)
    assert np.abs(decode(data).pixels.astype(int) - turned).mean() < 8


BROKEN_EXIF = {
    "empty": b"",
    "text": b"garbage12345",
    "header only": b"II*\0",
    "beyond the end": b"II*\0\xff\xff\0\0",
    "cut": b"II*\0\x08\0\0\0\x05\0\x12\x01\x03",
    "size of 4 GB": b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\xff\xff\xff\xff\0\0\0\x08\0\0\0\0",
    "rational of nothing": raw_tiff(({ORIENTATION: (5, [6, 0])}, b"")),
    "unknown orientation": raw_tiff(({ORIENTATION: (3, [9])}, b"")),
    "text as orientation": b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\x02\0\0\x006\0\0\0\0\0\0\0",
}


@pytest.mark.parametrize("exif", BROKEN_EXIF.values(), ids=BROKEN_EXIF.keys())
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_orientation_that_cannot_be_read_is_upright(picture, format, exif):
    expected = decode(saved(picture, format)).pixels
    assert np.array_equal(decode(saved(picture, format, exif=b"Exif\0\0" + exif)).pixels, expected)


@pytest.mark.parametrize(
    "changes",
    [
        {700: (3, [1, 2, 3])},  # XMP of numbers
        {34665: (4, [2**32 - 1])},  # EXIF beyond the end
        {34665: (4, [1])},  # EXIF amid the header
        {34853: (3, [0])},
        {ORIENTATION: (3, [9])},
    ],
)
def test_broken_metadata_of_a_tiff_costs_no_pixels(changes):
    assert np.unique(decode(filled_tiff([8], 1, b"\x21", changes)).pixels).tolist() == [33]


@pytest.mark.parametrize("keyword", [b"transparency", b"exif", b"xmp", b"dpi", b"Raw profile type exif"])
def test_text_of_a_png_is_only_text(keyword):
    data = raw_png(8, 8, 8, 2, (b"\0" + b"\x21" * 24) * 8, (b"tEXt", keyword + b"\0 5"))
    assert np.unique(decode(data).pixels).tolist() == [33]


def grey_page(grey: int, kind: int = 0) -> tuple[dict, bytes]:
    return tiff_page(16, 8, [8], 1, bytes([grey]) * 128, {254: (4, [kind])} if kind else None)


def linked_beyond_the_end() -> bytes:
    data = bytearray(raw_tiff(grey_page(10)))
    data[-4:] = struct.pack("<I", 2 * len(data))
    return bytes(data)


def frames(format: str, mode: str = "RGB", **options) -> bytes:
    first, second = (Image.new(mode, (COLUMNS, ROWS), grey) for grey in ("#0a0a0a", "#c8c8c8"))
    return saved(first, format, save_all=True, append_images=[second], **options)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (frames("TIFF"), "more than one page; save each page as its own file"),
        (frames("TIFF", big_tiff=True), "more than one page"),
        (frames("TIFF", compression="tiff_lzw"), "more than one page"),
        (raw_tiff(grey_page(10), grey_page(20), order=">"), "more than one page"),
        (raw_tiff(grey_page(10), grey_page(20, kind=1), grey_page(30)), "more than one page"),
        (raw_tiff(grey_page(10), grey_page(20, kind=4)), "more than one page"),  # a mask
        (raw_tiff(grey_page(10), grey_page(20), loop_to=0), "more than one page"),
        (raw_tiff(*[grey_page(10)] * 3000), "more than one page"),
        (raw_tiff(grey_page(10), *[grey_page(20, kind=1)] * MAX_TIFF_PAGES), "more than one page"),
        (linked_beyond_the_end(), "more than one page"),
        (raw_tiff(grey_page(10, kind=1)), "the first page is only a preview"),
        (raw_tiff(grey_page(10, kind=1), grey_page(20)), "the first page is only a preview"),
        (frames("WEBP"), "2 animated frames; save each frame as its own file"),
        (frames("WEBP", lossless=True), "2 animated frames"),
        (frames("PNG"), "2 animated frames"),
        (frames("PNG", default_image=True), "2 animated frames"),
    ],
)
def test_file_of_several_pages_is_refused(monkeypatch, data, message):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("pixels were decoded"))
    with pytest.raises(ImageError, match=f"^a.bin: {message}"):
        decode(data, "a.bin")


@pytest.mark.parametrize(
    "data",
    [
        raw_tiff(grey_page(10), grey_page(20, kind=1)),
        raw_tiff(grey_page(10), *[grey_page(20, kind=1)] * (MAX_TIFF_PAGES - 1), order=">"),
        raw_tiff(grey_page(10), grey_page(20, kind=5)),  # the preview of a mask
        raw_tiff(grey_page(10), loop_to=0),
        raw_tiff(grey_page(10), grey_page(20, kind=1), loop_to=0),
        raw_tiff(grey_page(10), grey_page(20, kind=1), grey_page(30, kind=1), loop_to=1),
        frames("MPO", quality=95),
    ],
    ids=["preview", "many", "mask", "loop", "loop-to-first", "loop-to-preview", "MPO"],
)
def test_previews_are_no_pages(data):
    assert np.unique(decode(data).pixels).tolist() == [10]


def with_scans(data: bytes, n_scans: int) -> bytes:
    """Repeat the last scan of a progressive JPEG until there are this many."""
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * (n_scans - data.count(b"\xff\xda")) + b"\xff\xd9"


def test_jpeg_of_many_scans(picture):
    data = saved(picture, "JPEG", progressive=True)
    assert decode(with_scans(data, MAX_JPEG_SCANS)).pixels.shape == (ROWS, COLUMNS, 3)
    # Those of a preview behind the photograph do not count.
    behind = b"\0\0" + with_scans(data, 200)[2:]
    assert np.array_equal(decode(data + behind).pixels, decode(data).pixels)
    with pytest.raises(ImageError, match="a.jpg: JPEG of more than 100 scans"):
        decode(with_scans(data, MAX_JPEG_SCANS + 1), "a.jpg")


def test_scans_are_not_sought_inside_metadata(picture):
    data = saved(picture, "JPEG")
    comment = b"\xff\xda" * 1000 + b"\xff\xd9"
    commented = data[:2] + b"\xff\xfe" + struct.pack(">H", 2 + len(comment)) + comment + data[2:]
    assert np.array_equal(decode(commented).pixels, decode(data).pixels)


@pytest.mark.parametrize("name", [b"iCCP", b"zTXt", b"iTXt"])
def test_png_of_many_texts(name):
    chunk = (name, b"a\0\0" + zlib.compress(bytes(1000)))
    scanlines = (b"\0" + bytes(8)) * 8
    decode(raw_png(8, 8, 8, 0, scanlines, *[chunk] * MAX_METADATA_BLOCKS))
    with pytest.raises(ImageError, match="a.png: more than 500 blocks of metadata"):
        decode(raw_png(8, 8, 8, 0, scanlines, *[chunk] * (MAX_METADATA_BLOCKS + 1)), "a.png")


def test_jpeg_of_many_segments(picture):
    data = saved(picture, "JPEG")
    n_own = data.count(b"\xff\xe0") + data.count(b"\xff\xdb") + data.count(b"\xff\xc0") + data.count(b"\xff\xc4")
    segment = b"\xff\xe1\0\x0aExif\0\0II"
    decode(data[:2] + segment * (MAX_METADATA_BLOCKS - n_own) + data[2:])
    with pytest.raises(ImageError, match="more than 500 blocks of metadata"):
        decode(data[:2] + segment * (MAX_METADATA_BLOCKS - n_own + 1) + data[2:])


def test_strips_that_overlap_are_refused():
    # Alternately 7 rows and 1 row: each pair is a whole image, and there are twenty.
    changes = {278: (3, [7]), 273: (4, [0, 1] * 20), 279: (4, [112] * 40)}
    with pytest.raises(ImageError, match="its strips or tiles overlap"):
        decode(filled_tiff([8], 1, b"\x21", changes))


def test_threads_leave_the_warning_filters_alone(picture):
    data = saved(picture, "PNG")
    before, interval = list(warnings.filters), sys.getswitchinterval()
    threads = [threading.Thread(target=lambda: [decode(data) for _ in range(50)]) for _ in range(8)]
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert list(warnings.filters) == before


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "BMP", "TIFF", "WEBP"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_truncated(format, share):
    data = saved(NOISE, format)
    decode(data)
    with pytest.raises(ImageError, match=r"^cut\.bin: (damaged or incomplete image file|not a .* image)"):
        decode(data[: int(share * len(data))], "cut.bin")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a PNG, JPEG, BMP, TIFF, WebP image"),
        (b"path,label\na.png,0\n", "not a PNG, JPEG, BMP, TIFF, WebP image"),
        (b"\x89PNG\r\n\x1a\n", "not a PNG, JPEG, BMP, TIFF, WebP image, or its header is damaged"),
        (saved(Image.new("L", (16, 16)), "GIF"), "not a PNG, JPEG, BMP, TIFF, WebP image"),
        (saved(Image.new("RGB", (16, 16)), "PPM"), "not a PNG, JPEG, BMP, TIFF, WebP image"),
        (saved(Image.new("RGB", (16, 16)), "ICO"), "not a PNG, JPEG, BMP, TIFF, WebP image"),
        (
            filled_tiff([64], 1, bytes(8), {339: (3, [3])}),
            "not a PNG, .* damaged. Not every layout of TIFF is supported",
        ),
        (
            saved(Image.new("F", (16, 16), 0.5), "TIFF"),
            r"pixels of mode F have no stated range; set data\.decoding\.float_range to \[black, white\], or save",
        ),
        (saved(Image.new("I", (16, 16), 5), "TIFF"), "pixels of mode I have no stated range; save .* as 8- or 16-bit"),
        (filled_tiff([32], 1, bytes(4)), "pixels of mode I have no stated range"),
        (filled_tiff([16], 1, bytes(2), {339: (3, [2])}), "pixels of mode I have no stated range"),
        (saved(Image.new("L", (7, 100)), "PNG"), "7x100 pixels; at least 8 a side are needed"),
        (saved(Image.new("L", (100, 7)), "BMP"), "100x7 pixels; at least 8 a side are needed"),
    ],
    ids=[
        *["empty", "text", "signature", "gif", "ppm", "ico"],
        *["double", "float", "int32", "uint32", "int16", "narrow", "low"],
    ],
)
def test_refused_with_its_name(data, message):
    with pytest.raises(ImageError, match=rf"^line 3/teil ü\.png: {message}"):
        decode(data, "line 3/teil ü.png")


def test_smallest_image_accepted():
    assert decode(saved(Image.new("L", (8, 8)), "PNG")).pixels.shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("width", "height"),
    # Up to, between and beyond Pillow's own two limits of 89 and 179 million pixels.
    [(8001, 8000), (9500, 9500), (13_000, 13_000), (20_000, 20_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)],
)
def test_decompression_bomb_is_refused_before_it_is_decoded(monkeypatch, width, height):
    def load(image):
        pytest.fail("pixels were decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with pytest.raises(ImageError, match=r"^bomb\.png: .*more than 64,000,000 pixels; .*scale the photograph down"):
            decode(raw_png(width, height, 1, 0, b"\0" * 100), "bomb.png")
    assert not warned


def test_a_real_bomb_is_refused():
    data = saved(Image.new("1", (8001, 8000)), "PNG")
    assert len(data) < 100_000
    with pytest.raises(ImageError, match="8001x8000 is more than 64,000,000 pixels"):
        decode(data)


def test_largest_image_accepted(monkeypatch):
    assert MAX_PIXELS == 64_000_000
    monkeypatch.setattr(image_checks, "MAX_PIXELS", 200)
    assert decode(saved(Image.new("L", (20, 10)), "PNG")).pixels.shape == (10, 20, 3)
    with pytest.raises(ImageError, match="20x11 is more than 200 pixels"):
        decode(saved(Image.new("L", (20, 11)), "PNG"))


@pytest.mark.parametrize("longer_first", [True, False])
def test_longest_strip_accepted(monkeypatch, longer_first):
    assert MAX_ASPECT_RATIO == 20
    size = (160, 8) if longer_first else (8, 160)
    assert decode(saved(Image.new("L", size), "PNG")).pixels.shape == (size[1], size[0], 3)
    size = (161, 8) if longer_first else (8, 161)
    data = saved(Image.new("L", size), "PNG")
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("pixels were decoded"))
    with pytest.raises(
        ImageError, match=rf"^a.png: {size[0]}x{size[1]} pixels; one side is more than 20 times the other"
    ):
        decode(data, "a.png")


def test_decode_file(tmp_path, picture):
    path = tmp_path / "a part.png"
    picture.save(path)
    assert np.array_equal(decode_file(path).pixels, np.asarray(picture))
    filled_grey(4095).save(path)
    assert np.unique(decode_file(path, TWELVE_BITS).pixels).tolist() == [255]
    path.write_bytes(b"not an image")
    with pytest.raises(ImageError, match=r"a part\.png: not a PNG"):
        decode_file(str(path))


@pytest.mark.parametrize(("name", "reason"), [("absent.png", "No such file"), ("", "Is a directory")])
def test_file_that_cannot_be_read(tmp_path, name, reason):
    with pytest.raises(ImageError, match=f"{name}: cannot be read \\({reason}"):
        decode_file(tmp_path / name)


def test_every_extension_is_one_the_decoder_reads(tmp_path, picture):
    for extension in EXTENSIONS:
        path = tmp_path / f"part{extension}"
        picture.save(path)
        assert decode_file(path).pixels.shape == (ROWS, COLUMNS, 3)


@pytest.mark.parametrize("shape", [(8, 8), (64, 16), (15, 77), (300, 200)])
def test_resize_stretches_to_a_square(shape):
    resized = resize(np.full((*shape, 3), (10, 20, 30), np.uint8), 16)
    assert resized.dtype == np.uint8
    assert resized.shape == (16, 16, 3)
    assert np.unique(resized.reshape(-1, 3), axis=0).tolist() == [[10, 20, 30]]


def test_resize_leaves_the_right_size_alone():
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert np.array_equal(resize(pixels, 16), pixels)


def test_resize_keeps_the_borders():
    pixels = np.zeros((64, 32, 3), np.uint8)
    pixels[:, 16:] = 255
    resized = resize(pixels, 8)
    assert (resized[:, :3] == 0).all()
    assert (resized[:, 5:] == 255).all()


def test_resize_is_antialiased():
    # A chequerboard of single pixels is mid-grey from afar; without antialiasing it would be all black or white.
    chequers = np.indices((64, 64)).sum(axis=0) % 2 * 255
    resized = resize(np.repeat(chequers[..., None], 3, axis=2).astype(np.uint8), 8)
    assert np.abs(resized.astype(int) - 128).max() <= 8


# Files


def test_a_file_beyond_the_bound_is_refused_unread(tmp_path):
    # A sparse file: it takes no room on the disk, and reading it would fill the memory.
    with (tmp_path / "a.png").open("wb") as stream:
        stream.truncate(MAX_FILE_BYTES + 1)
    message = "a.png: 768,000,001 bytes, more than the 768,000,000 that any photograph needs; crop"
    for read in (read_file, decode_file):
        with pytest.raises(ImageError, match=message):
            read(tmp_path / "a.png")


@pytest.mark.parametrize("number", [0, 1, 99, 100])
def test_a_file_within_the_bound_is_read_whole(tmp_path, monkeypatch, number):
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 100)
    data = bytes(range(number))
    (tmp_path / "a.png").write_bytes(data)
    assert read_file(tmp_path / "a.png") == data
    (tmp_path / "a.png").write_bytes(bytes(101))
    with pytest.raises(ImageError, match="a.png: 101 bytes, more than the 100 that"):
        read_file(tmp_path / "a.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name on this system")
@pytest.mark.parametrize(("number", "is_read"), [(100, True), (101, False), (10_000, False)])
def test_what_states_no_size_is_read_up_to_the_bound(tmp_path, monkeypatch, number, is_read):
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 100)
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[bytes(number)])
    writer.start()
    if is_read:
        assert read_file(tmp_path / "pipe") == bytes(number)
    else:
        with pytest.raises(ImageError, match="pipe: at least 101 bytes, more than the 100 that"):
            read_file(tmp_path / "pipe")
    writer.join()


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no endless device on this system")
def test_an_endless_device_is_read_up_to_the_bound(monkeypatch):
    monkeypatch.setattr(images, "MAX_FILE_BYTES", 100_000)
    with pytest.raises(ImageError, match="^/dev/zero: at least 100,001 bytes, more than the 100,000"):
        read_file("/dev/zero")
