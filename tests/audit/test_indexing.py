"""Indexing: every file is looked at once, and what is told of it is what was drawn."""

from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
from joblib import Parallel
from PIL import Image

from inspection.audit import indexing
from inspection.audit.indexing import BRIGHT, DARK, Facts, IndexedImages, Unreadable, check_unreadable, index_images
from inspection.audit.signatures import Signatures, make_signatures
from inspection.audit.squares import SIDE, central_square
from inspection.content_cache import ContentCache
from inspection.data.images import AS_STORED, Decoding, decode_file
from inspection.data.sources import list_any, list_images
from inspection.errors import DataError
from inspection.files import sha256_file
from tests.parts import draw_part, write_class_folders


def grey(height: int = SIDE, width: int = SIDE, value: int = 0) -> np.ndarray:
    return np.full((height, width), value, np.uint8)


def look(folder, pixels, name: str = "part.png", decoding: Decoding = AS_STORED) -> pd.Series:
    """Write one picture and return what indexing tells of it."""
    Image.fromarray(pixels).save(folder / name)
    indexed = index_images(list_any(folder).records, decoding)
    assert indexed.unreadable == ()
    return indexed.readable.iloc[0]


# Facts


def test_facts_of_a_picture_of_two_halves(tmp_path):
    pixels = grey(value=0)
    pixels[:, SIDE // 2 :] = 200
    facts = look(tmp_path, pixels)
    assert (facts["brightness"], facts["contrast"]) == (100, 100)
    assert (facts["dark_share"], facts["bright_share"]) == (0.5, 0)
    assert (facts["width"], facts["height"], facts["mode"]) == (SIDE, SIDE, "L")


@pytest.mark.parametrize(
    ("value", "dark_share", "bright_share"),
    [(0, 1, 0), (DARK, 1, 0), (DARK + 1, 0, 0), (BRIGHT - 1, 0, 0), (BRIGHT, 0, 1), (255, 0, 1)],
)
def test_pixels_that_show_nothing(tmp_path, value, dark_share, bright_share):
    facts = look(tmp_path, grey(value=value))
    assert (facts["dark_share"], facts["bright_share"]) == (dark_share, bright_share)
    assert (facts["brightness"], facts["contrast"], facts["sharpness"]) == (value, 0, 0)


def test_a_tenth_of_the_picture_burnt_out(tmp_path):
    pixels = grey(value=100)
    pixels[: SIDE // 10] = 255
    assert look(tmp_path, pixels)["bright_share"] == pytest.approx(0.1)


def test_sharpness_of_stripes(tmp_path):
    # Every column differs by 100 from both of its neighbours: the Laplacian is +200 and -200 in turn.
    pixels = grey()
    pixels[:, 1::2] = 100
    assert look(tmp_path, pixels)["sharpness"] == 200**2


@pytest.mark.parametrize(("height", "width"), [(SIDE, 3 * SIDE), (3 * SIDE, SIDE)])
def test_only_the_central_square_counts(tmp_path, height, width):
    pixels = grey(height, width, 255)
    pixels[height // 2 - SIDE // 2 :, width // 2 - SIDE // 2 :][:SIDE, :SIDE] = 10
    facts = look(tmp_path, pixels)
    assert (facts["width"], facts["height"]) == (width, height)
    assert (facts["brightness"], facts["bright_share"]) == (10, 0)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_mode_is_that_of_the_file(tmp_path, mode):
    Image.fromarray(grey(value=90)).convert(mode).save(tmp_path / "part.png")
    assert index_images(list_any(tmp_path).records).readable["mode"].tolist() == [mode]


def test_size_is_that_of_the_upright_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(grey(20, 30, 90)).save(tmp_path / "part.png", exif=exif)
    facts = index_images(list_any(tmp_path).records).readable.iloc[0]
    assert (facts["width"], facts["height"]) == (20, 30)


def test_equal_pixels_have_one_fingerprint_in_any_lossless_file(tmp_path):
    part = draw_part(0, True, 24)
    for name in ("a.png", "b.bmp", "c.tif"):
        part.save(tmp_path / name)
    part.convert("RGB").save(tmp_path / "d.png")
    readable = index_images(list_any(tmp_path).records).readable
    assert readable["pixels_sha256"].nunique() == 1
    assert readable["sha256"].tolist() == [sha256_file(path) for path in readable["path"]]
    assert readable["sha256"].nunique() == 4


def test_other_pixels_have_another_fingerprint(tmp_path):
    part = np.array(draw_part(0, True, 24))
    pictures = {"a": part, "b": part.T, "c": grey(8, 16), "d": grey(16, 8), "e": np.where(part == part[3, 3], 0, part)}
    for name, pixels in pictures.items():
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / f"{name}.png")
    readable = index_images(list_any(tmp_path).records).readable
    assert readable["pixels_sha256"].nunique() == 5, "c and d have the same bytes in another shape"


# The index


@pytest.fixture
def source(tmp_path):
    """Four readable images of each class, 24 pixels a side, and one that is no image."""
    write_class_folders(tmp_path, 4, size=24)
    (tmp_path / "defective" / "broken.png").write_bytes(b"not an image")
    return tmp_path


def test_readable_images_are_sorted_and_keep_their_records(source):
    records = list_images(source).sample(frac=1, random_state=1)
    indexed = index_images(records)
    readable = indexed.readable
    assert list(readable) == [*records, *Facts._fields]
    assert readable.index.tolist() == list(range(8))
    names = [path.removeprefix(f"{source.as_posix()}/") for path in readable["path"]]
    assert names == [f"{name}/part_00{index}.png" for name in ("defective", "non_defective") for index in range(4)]
    assert readable["defect_probability"].tolist() == [1.0] * 4 + [0.0] * 4


def test_signatures_belong_to_the_rows(source):
    indexed = index_images(list_images(source))
    squares = [central_square(decode_file(path).pixels) for path in indexed.readable["path"]]
    assert_same(indexed.signatures, make_signatures(squares))
    assert len(indexed.signatures) == 8
    assert indexed.signatures.squares.dtype == np.uint8


def assert_same(one: Signatures, other: Signatures) -> None:
    for field in fields(Signatures):
        np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))


def test_unreadable_image_is_left_out_with_its_reason(source):
    indexed = index_images(list_images(source))
    [unreadable] = indexed.unreadable
    assert unreadable.path == f"{source.as_posix()}/defective/broken.png"
    assert unreadable.reason.startswith(f"{unreadable.path}: not a PNG")
    assert unreadable.path not in set(indexed.readable["path"])


def test_listed_file_that_is_missing(tmp_path):
    (tmp_path / "labels.csv").write_text("path,defect_probability\ngone.png,1\n", encoding="utf-8")
    indexed = index_images(list_images(tmp_path))
    assert len(indexed.readable) == 0
    assert list(indexed.readable)[-len(Facts._fields) :] == list(Facts._fields)
    assert len(indexed.signatures) == 0
    assert "gone.png: cannot be read (No such file" in indexed.unreadable[0].reason


def test_progress_sees_every_image(source):
    calls = []

    def progress(items, total, what):
        calls.append((total, what))
        for item in items:
            calls.append(item)
            yield item

    index_images(list_images(source), progress=progress)
    assert calls[0] == (9, "reading images")
    assert len(calls) == 10


def test_decoding_is_passed_on(tmp_path):
    pixels = np.full((20, 20), 4095, np.uint16)
    assert look(tmp_path, pixels, decoding=Decoding(bit_depth=12))["brightness"] == 255
    # 4095 of 65535 is 15.9 of 255, rounded down.
    facts = look(tmp_path, pixels)
    assert (facts["brightness"], facts["mode"]) == (15, "I;16")
    indexed = index_images(list_any(tmp_path).records, Decoding(bit_depth=11))
    assert "the pixel value 4095 does not fit a camera of 11 bits" in indexed.unreadable[0].reason


def test_processes_give_the_same(source, monkeypatch):
    records = list_images(source)
    alone = index_images(records, Decoding(bit_depth=12))
    started = []

    def recording(n_jobs, **options):
        started.append(n_jobs)
        return Parallel(n_jobs=2 if n_jobs == -1 else n_jobs, **options)

    monkeypatch.setattr(indexing, "Parallel", recording)
    for smallest in (len(records) + 1, len(records)):
        monkeypatch.setattr(indexing, "MIN_PARALLEL", smallest)
        together = index_images(records, Decoding(bit_depth=12))
        pd.testing.assert_frame_equal(together.readable, alone.readable, check_exact=True)
        assert_same(together.signatures, alone.signatures)
        assert together.unreadable == alone.unreadable
    assert started == [1, -1]


def test_a_few_at_once_give_the_same(source, monkeypatch, tmp_path):
    records, cache = list_images(source), ContentCache(tmp_path / "cache.sqlite", 10**8)
    together = index_images(records)
    monkeypatch.setattr(indexing, "_AT_ONCE", 2)
    for _ in ("looked at", "looked up"):
        in_turns = index_images(records, cache=cache)
        pd.testing.assert_frame_equal(in_turns.readable, together.readable, check_exact=True)
        assert_same(in_turns.signatures, together.signatures)
        assert in_turns.unreadable == together.unreadable


# Too many unreadable


@pytest.mark.parametrize(
    ("n_readable", "n_unreadable", "max_share", "stops"),
    [
        (99, 1, 0.01, False),  # exactly the share is tolerated
        (98, 2, 0.01, True),
        (98, 1, 0.01, True),  # 1 of 99 is 0.0101
        (100, 0, 0.0, False),
        (99, 1, 0.0, True),
        (3, 1, 0.25, False),
        (2, 1, 0.25, True),
        (0, 1, 0.999, True),
        (0, 3, 1.0, True),  # whatever is tolerated
        (0, 0, 0.0, False),
        (71, 29, 0.29, False),  # 0.29 * 100 is 28.999999999999996 in floating point
    ],
)  # fmt: skip
def test_tolerated_share_of_unreadable_images(n_readable, n_unreadable, max_share, stops):
    unreadable = tuple(Unreadable(f"part_{index}.png", f"part_{index}.png: damaged.") for index in range(n_unreadable))
    indexed = IndexedImages(pd.DataFrame({"path": ["good.png"] * n_readable}), unreadable, make_signatures([]))
    if not stops:
        check_unreadable(indexed, max_share)
        return
    n_images = n_readable + n_unreadable
    expected = rf"^{n_unreadable} of {n_images} images .*max_unreadable_share = {max_share}\. .*part_0\.png: damaged"
    with pytest.raises(DataError, match=expected):
        check_unreadable(indexed, max_share)
