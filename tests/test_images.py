"""The decoder: every format and pixel layout gives uint8 RGB, and every bad file gives one clear ImageError."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from inspection import images
from inspection.errors import ImageError
from inspection.images import EXTENSIONS, MAX_PIXELS, decode, decode_file, resize
from tests.parts import draw_part

ORIENTATION = 0x0112  # EXIF tag
ROWS, COLUMNS = 20, 32


def saved(image: Image.Image, format: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def grey16(value: int, dtype: str = "uint16") -> Image.Image:
    return Image.fromarray(np.full((ROWS, COLUMNS), value, dtype))


def raw_png(width: int, height: int, depth: int, colour: int, scanlines: bytes) -> bytes:
    """Assemble a PNG by hand: Pillow writes neither 16-bit colour nor headers that lie."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(scanlines)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


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
    decoded = decode(saved(grey16(value, dtype), format))
    assert decoded.mode == mode
    assert decoded.pixels.shape == (ROWS, COLUMNS, 3)
    assert np.unique(decoded.pixels).tolist() == [scaled]


@pytest.mark.parametrize(("value", "scaled"), [(0, 0), (257, 1), (514, 2), (65535, 255)])
def test_sixteen_bit_colour_png(value, scaled):
    scanline = b"\0" + struct.pack(">HHH", value, 0, 65535) * 8
    decoded = decode(raw_png(8, 8, 16, 2, scanline * 8))
    assert decoded.pixels.reshape(-1, 3).tolist() == [[scaled, 0, 255]] * 64


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


def test_transparent_value_of_sixteen_bit_grey_is_laid_over_black():
    assert not decode(saved(grey16(51400), "PNG", transparency=51400)).pixels.any()


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


def test_only_the_first_page_is_read():
    pages = [Image.new("L", (COLUMNS, ROWS), grey) for grey in (10, 200)]
    assert np.unique(decode(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])).pixels).tolist() == [10]


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
        (saved(Image.new("F", (16, 16), 0.5), "TIFF"), "pixels of mode F have no stated range; save .* 8- or 16-bit"),
        (saved(Image.new("I", (16, 16), 5), "TIFF"), "pixels of mode I have no stated range"),
        (saved(Image.new("L", (7, 100)), "PNG"), "7x100 pixels; at least 8 a side are needed"),
        (saved(Image.new("L", (100, 7)), "BMP"), "100x7 pixels; at least 8 a side are needed"),
    ],
    ids=["empty", "text", "signature", "gif", "ppm", "ico", "float", "int32", "narrow", "low"],
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
    monkeypatch.setattr(images, "MAX_PIXELS", 200)
    assert decode(saved(Image.new("L", (20, 10)), "PNG")).pixels.shape == (10, 20, 3)
    with pytest.raises(ImageError, match="20x11 is more than 200 pixels"):
        decode(saved(Image.new("L", (20, 11)), "PNG"))


def test_decode_file(tmp_path, picture):
    path = tmp_path / "a part.png"
    picture.save(path)
    assert np.array_equal(decode_file(path).pixels, np.asarray(picture))
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


def fuzz_seeds() -> list[bytes]:
    part = draw_part(1, True, 24)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return [
        saved(part.convert("RGB"), "PNG", exif=exif),
        saved(part.convert("P"), "PNG", transparency=3),
        saved(part.convert("RGB"), "JPEG", exif=exif),
        saved(part.convert("CMYK"), "JPEG"),
        saved(part.convert("RGB"), "TIFF"),
        saved(grey16(40_000), "TIFF"),
        saved(part.convert("RGB"), "TIFF", compression="tiff_lzw"),
        saved(part, "BMP"),
        saved(part.convert("RGB"), "WEBP"),
    ]


FUZZ_SEEDS = fuzz_seeds()


@st.composite
def damaged_files(draw):
    data = bytearray(draw(st.sampled_from(FUZZ_SEEDS)))
    # Headers are where parsers break, so half of the damage goes there.
    position = st.integers(0, min(len(data), 160) - 1) | st.integers(0, len(data) - 1)
    for index, value in draw(st.lists(st.tuples(position, st.integers(0, 255)), max_size=6)):
        data[index] = value
    return bytes(data[: draw(st.just(len(data)) | st.integers(0, len(data)))])


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(damaged_files() | st.binary(max_size=200))
@example(b"II*\0\x08\0\0\0\xff\xff")
@example(b"RIFF\0\0\0\0WEBPVP8 ")
@example(saved(NOISE, "PNG", exif=b"Exif\0\0garbage12345"))
def test_a_damaged_file_gives_an_image_or_an_image_error(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata
        try:
            pixels = decode(data, "fuzz.bin").pixels
        except ImageError as problem:
            assert str(problem).startswith("fuzz.bin: ")
            return
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    assert pixels.shape[2] == 3
