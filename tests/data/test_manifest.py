"""The manifest: labels and weights by hand, a round trip through the file, and photographs that changed since."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from inspection.audit.indexing import index_images
from inspection.data.images import Decoding
from inspection.data.manifest import (
    COLUMNS,
    as_manifest,
    count_leaking,
    iterate_pixels,
    label_of,
    read_manifest,
    read_training_rows,
    weigh_images,
    write_manifest,
)
from inspection.data.sources import list_images
from inspection.errors import DataError, ImageError
from inspection.labels import DEFECTIVE, NON_DEFECTIVE, UNLABELLED
from tests.parts import draw_part, write_class_folders
from tests.project import data_params

ONE_THIRD, TWO_THIRDS = 0.3333333333333333, 0.6666666666666666


def divided(n_images: int = 4, **columns) -> pd.DataFrame:
    """Images as they come out of the division, in no order of columns."""
    numbers = range(n_images)
    return pd.DataFrame(
        {
            "photograph": numbers,
            "fold": [number % 3 - 1 for number in numbers],
            "path": [f"data/part_{number}.png" for number in numbers],
            "split": ["test" if number % 3 == 0 else "train" for number in numbers],
            "label": [number % 2 for number in numbers],
            "defect_probability": [float(number % 2) for number in numbers],
            "weight": 1.0,
            "sha256": [f"{number:064x}" for number in numbers],
            "pixels_sha256": [f"{number + 100:064x}" for number in numbers],
            "group": [f"{number:016x}" for number in numbers],
            "supplied_split": "",
            "stated_group": "",
            "stratum": "",
            "defect_type": "",
            "mask": "",
            "width": 64,
            "height": 48,
            "mode": "L",
            "brightness": 99.0,
        }
        | columns
    )


# Labels and weights


@pytest.mark.parametrize(
    ("threshold", "labels"),
    [
        (0.5, [0, 0, 1, 1, 1]),
        (0.51, [0, 0, 0, 1, 1]),
        (ONE_THIRD, [0, 1, 1, 1, 1]),  # exactly at the threshold is defective
        (0.3334, [0, 0, 1, 1, 1]),
        (TWO_THIRDS, [0, 0, 0, 1, 1]),
        (1.0, [0, 0, 0, 0, 1]),
        (1e-9, [0, 1, 1, 1, 1]),
    ],
)
def test_label_is_defective_from_the_threshold_on(threshold, labels):
    assert label_of(pd.Series([0, ONE_THIRD, 0.5, TWO_THIRDS, 1]), threshold).tolist() == labels


def test_label_at_one_half_by_default_and_unknown_without_a_probability():
    labels = label_of(pd.Series([np.nan, 0.49, 0.5, np.nan]))
    assert labels.tolist() == [UNLABELLED, NON_DEFECTIVE, DEFECTIVE, UNLABELLED]
    assert label_of(pd.Series([], dtype=float)).tolist() == []


@pytest.mark.parametrize("uncertain_weight", [0.25, 1.0])
def test_uncertain_images_weigh_less(uncertain_weight):
    images = pd.DataFrame({"defect_probability": [0, 1e-9, 0.5, 1 - 1e-9, 1, np.nan], "weight": np.nan})
    weights = weigh_images(images, data_params(uncertain_weight=uncertain_weight))
    assert weights.tolist() == [1.0, uncertain_weight, uncertain_weight, uncertain_weight, 1.0, 1.0]


def test_stated_weights_are_kept_and_multiplied():
    images = pd.DataFrame(
        {"defect_probability": [0, 0.5, 1, 0.5], "weight": [3.0, 3.0, np.nan, np.nan]}, index=[5, 2, 9, 1]
    )
    weights = weigh_images(images, data_params(uncertain_weight=0.5))
    assert weights.to_dict() == {5: 3.0, 2: 1.5, 9: 1.0, 1: 0.5}
    assert images["weight"].isna().sum() == 2, "the caller's table is left alone"


# Leaks


@pytest.mark.parametrize(
    ("groups", "splits", "n_leaking"),
    [
        ("abcd", ["train", "train", "test", "test"], 0),
        ("aabb", ["train", "train", "test", "test"], 0),
        ("aaab", ["train", "train", "test", "test"], 1),
        ("aabaa", ["train", "test", "test", "test", "train"], 2),
        ("abab", ["train", "train", "test", "test"], 2),
        ("aa", ["test", "test"], 0),
        ("", [], 0),
    ],
)
def test_test_images_whose_group_is_trained_on(groups, splits, n_leaking):
    assert count_leaking(pd.DataFrame({"group": list(groups), "split": splits}, dtype=str)) == n_leaking


# Order and types


def test_columns_their_types_and_order():
    images = divided(6).sample(frac=1, random_state=0)
    before = images.copy()
    manifest = as_manifest(images)
    assert list(manifest) == list(COLUMNS)
    assert manifest["path"].tolist() == [f"data/part_{number}.png" for number in range(6)]
    assert manifest.index.tolist() == list(range(6))
    assert [manifest[name].dtype.kind for name in ("label", "fold", "width", "height")] == ["i"] * 4
    assert [manifest[name].dtype.kind for name in ("defect_probability", "weight")] == ["f"] * 2
    pd.testing.assert_frame_equal(images, before)


def test_rows_stay_whole_when_sorted():
    manifest = as_manifest(divided(6).iloc[::-1])
    assert manifest["sha256"].tolist() == [f"{number:064x}" for number in range(6)]
    assert manifest["fold"].tolist() == [-1, 0, 1, -1, 0, 1]


# The file


def test_write_and_read_round_trip(tmp_path):
    manifest = as_manifest(
        divided(
            path=["data/a,b.png", 'data/"q" r.png', "data/部品 größe 1.png", "NA"],
            defect_probability=[0, ONE_THIRD, 0.1 + 0.2, 1],
            stratum=["", "NA", "a,b", '"quoted" größe'],
            stated_group=["007", "1e5", " space ", "nan"],
            defect_type=["", "Kratzer, tief", "line\nbreak", "None"],
            group=["0000000000000001", "12345678e1234567", "1234567890123456", "a"],
        )
    )
    path = tmp_path / "new" / "manifest.csv"
    write_manifest(path, manifest)
    pd.testing.assert_frame_equal(read_manifest(path), manifest, check_exact=True)
    first = path.read_bytes()
    write_manifest(path, read_manifest(path))
    assert path.read_bytes() == first
    assert b"\r" not in first
    assert [entry.name for entry in path.parent.iterdir()] == ["manifest.csv"]


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=12)


@given(st.lists(st.tuples(TEXTS, TEXTS, st.floats(0, 1), st.floats(1e-3, 1e3)), max_size=6))
def test_any_text_and_number_survives(tmp_path_factory, rows):
    texts, others, probabilities, weights = ([row[column] for row in rows] for column in range(4))
    manifest = as_manifest(
        divided(len(rows), path=texts, mask=others, defect_probability=probabilities, weight=weights)
    )
    path = tmp_path_factory.getbasetemp() / "round_trip.csv"
    write_manifest(path, manifest)
    pd.testing.assert_frame_equal(read_manifest(path), manifest, check_exact=True)


@pytest.mark.parametrize("name", ["a\nb.png", "\n.png"])
def test_a_line_feed_in_a_file_name_survives(tmp_path, name):
    manifest = as_manifest(divided(1, path=[name]))
    write_manifest(tmp_path / "manifest.csv", manifest)
    assert read_manifest(tmp_path / "manifest.csv")["path"].tolist() == [name]


def test_training_rows(tmp_path):
    manifest = as_manifest(divided(9))
    write_manifest(tmp_path / "manifest.csv", manifest)
    rows = read_training_rows(tmp_path / "manifest.csv")
    assert rows.index.tolist() == list(range(6))
    assert rows["path"].tolist() == [f"data/part_{number}.png" for number in (1, 2, 4, 5, 7, 8)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a manifest .* run `dvc repro prepare`"),
        (b"\xff\xfe\xff", "is not a manifest"),
        (b"a,b\n1,2,3\n1,2,3,4\n", "is not a manifest"),
        (b"path,label\na.png,0\n", "has other columns than this version writes; run `dvc repro prepare`"),
        (b"path,label\na.png,good\n", "is not a manifest"),
        (b"path,label\na.png,\n", "is not a manifest"),
    ],
)
def test_file_that_is_no_manifest(tmp_path, content, message):
    path = tmp_path / "manifest.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"manifest\.csv {message}"):
        read_manifest(path)


def test_columns_in_another_order_are_another_version(tmp_path):
    as_manifest(divided())[list(COLUMNS)[::-1]].to_csv(tmp_path / "manifest.csv", index=False)
    with pytest.raises(DataError, match="has other columns than this version writes"):
        read_manifest(tmp_path / "manifest.csv")


def test_missing_manifest(tmp_path):
    with pytest.raises(DataError, match=r"manifest\.csv is missing; run `dvc repro prepare`"):
        read_training_rows(tmp_path / "manifest.csv")


# The photographs


@pytest.fixture
def source(tmp_path):
    """Four images of each class, 24 pixels a side."""
    write_class_folders(tmp_path, 4, size=24)
    return tmp_path


@pytest.fixture
def rows(source):
    return index_images(list_images(source)).readable


def test_iterate_pixels_gives_the_indexed_images_in_order(rows):
    pixels = list(iterate_pixels(rows))
    assert len(pixels) == 8
    for index, image in enumerate(pixels):
        # The folder "defective" comes first.
        expected = draw_part(2 * (index % 4) + (index < 4), index < 4, 24).convert("RGB")
        assert np.array_equal(image, np.asarray(expected))


def test_iterate_pixels_refuses_a_changed_file(rows):
    draw_part(99, True, 24).save(rows["path"][2])
    images = iterate_pixels(rows)
    next(images)
    next(images)
    with pytest.raises(DataError, match=r"part_002\.png changed since the manifest was written; run `dvc repro`"):
        next(images)


def test_iterate_pixels_refuses_other_bytes_of_the_same_picture(rows):
    # Saved again without compression: nobody decodes a file that was not indexed.
    image = Image.open(rows["path"][0]).copy()
    image.save(rows["path"][0], compress_level=0)
    with pytest.raises(DataError, match=r"part_000\.png changed"):
        next(iterate_pixels(rows))


def test_iterate_pixels_names_a_file_that_is_gone(source, rows):
    (source / "defective" / "part_000.png").unlink()
    with pytest.raises(ImageError, match=r"part_000\.png: cannot be read"):
        next(iterate_pixels(rows))


def test_iterate_pixels_decodes_as_the_index_did(tmp_path):
    for name in ("ok", "ng"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.full((16, 16), 4095, np.uint16)).save(tmp_path / name / "part.png")
    twelve_bits = Decoding(bit_depth=12)
    rows = index_images(list_images(tmp_path), twelve_bits).readable
    assert [image.max() for image in iterate_pixels(rows, twelve_bits)] == [255, 255]
    assert [image.max() for image in iterate_pixels(rows)] == [15, 15]
