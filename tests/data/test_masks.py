"""Defect masks: every kind of file marks the same pixels, and every mask that cannot be used is one clear error."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from inspection.data.masks import COLUMNS, check_masks, read_mask
from inspection.errors import DataError
from inspection.files import sha256_file
from inspection.labels import DEFECTIVE, NON_DEFECTIVE

ORIENTATION = 0x0112  # EXIF tag
HEIGHT, WIDTH = 10, 16
IS_DEFECT = np.zeros((HEIGHT, WIDTH), bool)
IS_DEFECT[2:5, 3:9] = True
IS_DEFECT[8, 15] = True


def grey(defect: int, background: int = 0, dtype: str = "uint8") -> Image.Image:
    return Image.fromarray(np.where(IS_DEFECT, defect, background).astype(dtype))


def palette(background: tuple[int, int, int], defect: tuple[int, int, int]) -> Image.Image:
    image = grey(1)
    image.putpalette([*background, *defect])
    return image


def colour(defect: tuple[int, ...], mode: str) -> Image.Image:
    return Image.fromarray(np.where(IS_DEFECT[..., None], defect, 0).astype("uint8"), mode)


def numbered_regions() -> Image.Image:
    numbers = np.zeros((HEIGHT, WIDTH), np.uint8)
    numbers[2:5, 3:9], numbers[8, 15] = 1, 2
    return Image.fromarray(numbers)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        pytest.param(grey(255), "mask.png", id="white"),
        pytest.param(grey(1), "mask.png", id="ones"),
        pytest.param(grey(127), "mask.bmp", id="grey"),
        pytest.param(numbered_regions(), "mask.png", id="numbered regions"),
        pytest.param(grey(255).convert("1"), "mask.png", id="one bit"),
        pytest.param(grey(255).convert("1"), "mask.tif", id="one bit TIFF"),
        pytest.param(grey(255, background=127), "mask.png", id="noise below half of white"),
        pytest.param(grey(128, background=1), "mask.png", id="just half of white"),
        pytest.param(palette((0, 0, 0), (128, 0, 0)), "mask.png", id="palette"),
        pytest.param(palette((0, 0, 0), (0, 0, 3)), "mask.png", id="dark palette"),
        pytest.param(colour((0, 0, 255), "RGB"), "mask.webp", id="blue"),
        pytest.param(colour((255, 255, 255, 255), "RGBA"), "mask.png", id="transparent background"),
        pytest.param(grey(1, dtype="uint16"), "mask.png", id="ones in 16 bits"),
        pytest.param(grey(255, dtype="uint16"), "mask.png", id="8 bits in 16"),
        pytest.param(grey(65535, dtype="uint16"), "mask.tif", id="16 bits"),
        pytest.param(grey(1, dtype="float32"), "mask.tif", id="floating point"),
    ],
)
def test_every_kind_of_file_marks_the_same_pixels(image, name, tmp_path):
    path = tmp_path / name
    image.save(path, **({"lossless": True} if path.suffix == ".webp" else {}))
    mask = read_mask(str(path), HEIGHT, WIDTH)
    assert mask.dtype == bool
    assert np.array_equal(mask, IS_DEFECT)


def test_the_noise_of_a_jpeg_marks_nothing(tmp_path):
    is_defect = np.zeros((64, 64), bool)
    is_defect[13:45, 21:38] = True
    path = tmp_path / "mask.jpg"
    Image.fromarray(np.where(is_defect, 255, 0).astype(np.uint8)).save(path, quality=60)
    assert np.count_nonzero(np.asarray(Image.open(path)) > 0) > np.count_nonzero(is_defect)
    assert np.array_equal(read_mask(str(path), 64, 64), is_defect)


def test_a_mask_may_mark_nothing_or_everything(tmp_path):
    for value in (0, 255):
        path = tmp_path / f"{value}.png"
        grey(value, background=value).save(path)
        assert set(read_mask(str(path), HEIGHT, WIDTH).flat) == {value == 255}


def test_a_mask_is_turned_upright_as_its_photograph_is(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # shown after a quarter turn clockwise
    path = tmp_path / "mask.png"
    grey(255).save(path, exif=exif)
    assert np.array_equal(read_mask(str(path), WIDTH, HEIGHT), np.rot90(IS_DEFECT, -1))


def test_a_mask_that_changed_is_noticed(tmp_path):
    path = tmp_path / "mask.png"
    grey(255).save(path)
    fingerprint = sha256_file(path)
    assert np.array_equal(read_mask(str(path), HEIGHT, WIDTH, fingerprint), IS_DEFECT)
    grey(254).save(path)
    with pytest.raises(DataError, match=re.escape(f"{path} changed since it was checked; run `dvc repro`")):
        read_mask(str(path), HEIGHT, WIDTH, fingerprint)


@pytest.mark.parametrize(
    ("height", "width", "message"),
    [
        (20, 32, "has 16x10 pixels and its photograph 32x20. Save it in the size of the photograph, or take the mask"),
        (16, 10, "has 16x10 pixels and its photograph 10x16. Draw it on the photograph as it is shown, upright, or"),
    ],
)
def test_a_mask_of_another_size(tmp_path, height, width, message):
    path = tmp_path / "mask.png"
    grey(255).save(path)
    with pytest.raises(DataError, match=re.escape(f"The mask {path} {message}")):
        read_mask(str(path), height, width)


def test_a_mask_that_cannot_be_read(tmp_path):
    missing, damaged = tmp_path / "missing.png", tmp_path / "damaged.png"
    damaged.write_bytes(b"\x89PNG and no more")
    with pytest.raises(DataError, match=rf"{missing}: cannot be read .*Mend the file, or take the mask out"):
        read_mask(str(missing), HEIGHT, WIDTH)
    with pytest.raises(DataError, match=rf"{damaged}: not a PNG, .*Mend the file, or take the mask out"):
        read_mask(str(damaged), HEIGHT, WIDTH)


def manifest_of(*rows: tuple[int, Path | str]) -> pd.DataFrame:
    """Rows of a manifest of photographs 0.png, 1.png... from their labels and masks."""
    labels, masks = zip(*rows, strict=True)
    paths = [f"{number}.png" for number in range(len(rows))]
    return pd.DataFrame({"path": paths, "label": labels, "mask": map(str, masks), "width": WIDTH, "height": HEIGHT})


def test_masks_of_a_manifest(tmp_path):
    marked, empty = tmp_path / "marked.png", tmp_path / "empty.png"
    grey(255).save(marked)
    grey(0).save(empty)
    manifest = manifest_of(
        (DEFECTIVE, marked), (NON_DEFECTIVE, ""), (NON_DEFECTIVE, empty), (DEFECTIVE, ""), (DEFECTIVE, empty)
    )
    table = check_masks(manifest)
    assert tuple(table) == COLUMNS
    assert table.to_records(index=False).tolist() == [
        ("0.png", str(marked), sha256_file(marked), 19),
        ("2.png", str(empty), sha256_file(empty), 0),
        ("4.png", str(empty), sha256_file(empty), 0),
    ]


def test_a_manifest_without_masks_gives_an_empty_table():
    table = check_masks(manifest_of((DEFECTIVE, ""), (NON_DEFECTIVE, "")))
    assert tuple(table) == COLUMNS
    assert table.empty


def test_a_mask_that_marks_a_good_part_is_refused(tmp_path):
    path = tmp_path / "mask.png"
    grey(255).save(path)
    message = f"1 of 1 masks cannot be used. The mask {path} marks 19 pixels of 0.png, which is labelled non_defective;"
    with pytest.raises(DataError, match=re.escape(message)):
        check_masks(manifest_of((NON_DEFECTIVE, path)))


def test_the_first_few_masks_that_cannot_be_used_are_named_in_one_error(tmp_path):
    good, small = tmp_path / "good.png", tmp_path / "small.png"
    grey(255).save(good)
    grey(255).resize((8, 8)).save(small)
    missing = [tmp_path / f"missing {number}.png" for number in range(4)]
    rows = [(DEFECTIVE, path) for path in (good, small, *missing, "")]
    with pytest.raises(DataError) as raised:
        check_masks(manifest_of(*rows))
    message = str(raised.value)
    assert message.startswith("5 of 6 masks cannot be used.")
    assert message.endswith("And 2 more.")
    named = [path for path in (good, small, *missing) if str(path) in message]
    assert named == [small, *missing[:2]]
