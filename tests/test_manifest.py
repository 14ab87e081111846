"""The manifest: labels, weights, splits and folds, counted by hand on small tables."""

import hashlib

import numpy as np
import pandas as pd
import pytest

from inspection.config import DataParams
from inspection.errors import DataError, ImageError
from inspection.files import sha256_file
from inspection.manifest import (
    COLUMNS,
    NO_FOLD,
    IndexedImages,
    build_manifest,
    check_unreadable,
    index_images,
    iterate_pixels,
    label_images,
    leave_out_copies,
    read_manifest,
    read_training_rows,
    write_manifest,
)
from inspection.sources import list_images
from tests.parts import draw_part, write_class_folders

ONE_THIRD, TWO_THIRDS = 0.3333333333333333, 0.6666666666666666


def data_params(**changes) -> DataParams:
    values = {
        "source": "data", "defect_threshold": 0.5, "uncertain_weight": 0.5, "test_share": 0.25, "folds": 5,
        "max_unreadable_share": 0.01,
    }  # fmt: skip
    return DataParams(**values | changes)


def readable(probabilities, contents=None, splits="", strata="") -> pd.DataFrame:
    """What index_images gives for files part_000.png, part_001.png, ...; equal contents are copies."""
    n_images = len(probabilities)
    contents = range(n_images) if contents is None else contents
    return pd.DataFrame(
        {
            "path": [f"data/part_{index:03d}.png" for index in range(n_images)],
            "defect_probability": np.asarray(probabilities, float),
            "split": splits,
            "stratum": strata,
            "sha256": [hashlib.sha256(str(content).encode()).hexdigest() for content in contents],
            "width": 64,
            "height": 48,
            "mode": "L",
        }
    )


def build(records: pd.DataFrame, params: DataParams, seed: int) -> pd.DataFrame:
    """The way of the records to the manifest, as the stage ``prepare`` goes it."""
    kept, _ = leave_out_copies(label_images(records, params))
    return build_manifest(kept, params, seed)


def counts(manifest: pd.DataFrame, *columns: str) -> dict:
    return manifest.groupby(list(columns)).size().to_dict()


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
    records = readable([0, ONE_THIRD, 0.5, TWO_THIRDS, 1] * 12)
    manifest = build(records, data_params(defect_threshold=threshold), 0)
    assert manifest["label"].tolist() == labels * 12


@pytest.mark.parametrize("uncertain_weight", [0.25, 1.0])
def test_weight_of_uncertain_images(uncertain_weight):
    records = readable([0, 1e-9, 0.5, 1 - 1e-9, 1] * 12)
    manifest = build(records, data_params(uncertain_weight=uncertain_weight), 0)
    assert manifest["weight"].tolist() == [1.0, uncertain_weight, uncertain_weight, uncertain_weight, 1.0] * 12


def test_split_and_folds_keep_the_share_of_defects():
    manifest = build(readable([0.0] * 40 + [1.0] * 20), data_params(), 0)
    # A quarter of 40 and 20; the 30 and 15 left make 5 folds of 6 and 3.
    assert counts(manifest, "split", "label") == {("test", 0): 10, ("test", 1): 5, ("train", 0): 30, ("train", 1): 15}
    train = manifest[manifest["split"] == "train"]
    assert counts(train, "fold", "label") == {(fold, label): 6 - 3 * label for fold in range(5) for label in (0, 1)}
    assert (manifest.loc[manifest["split"] == "test", "fold"] == NO_FOLD).all()


def test_split_and_folds_keep_the_share_of_every_probability_and_stratum():
    # 4 probabilities x 2 strata; mono has 16 images of each probability and poly 8.
    combinations = [(p, s) for p in (0.0, ONE_THIRD, TWO_THIRDS, 1.0) for s in ["mono"] * 16 + ["poly"] * 8]
    records = readable([p for p, _ in combinations], strata=[s for _, s in combinations])
    manifest = build(records, data_params(folds=3), 3)
    test = manifest[manifest["split"] == "test"]
    # A quarter of 16 and of 8; the 12 and 6 left make 3 folds of 4 and 2.
    assert set(counts(test, "defect_probability", "stratum").values()) == {4, 2}
    assert counts(test, "stratum") == {"mono": 16, "poly": 8}
    train = counts(manifest[manifest["split"] == "train"], "fold", "stratum", "defect_probability")
    assert len(train) == 3 * 2 * 4
    assert all(number == {"mono": 4, "poly": 2}[stratum] for (_, stratum, _), number in train.items())


@pytest.mark.parametrize(
    ("test_share", "n_test"),
    # The number is rounded up (scikit-learn's train_test_split): 0.21 * 100 = 21; 0.305 * 100 = 30.5 -> 31.
    [(0.1, 10), (0.21, 21), (0.305, 31), (0.5, 50), (0.8, 80)],
)
def test_share_of_the_test(test_share, n_test):
    manifest = build(readable([0.0, 1.0] * 50), data_params(test_share=test_share), 0)
    assert (manifest["split"] == "test").sum() == n_test


@pytest.mark.parametrize("seed", range(5))
def test_copies_of_a_file_stay_together(seed):
    # 30 different files of each class, the k-th in 1 + k % 4 copies, which lie far apart in the listing.
    contents = [content for copy in range(4) for content in range(60) if content // 2 % 4 >= copy]
    records = readable([content % 2 for content in contents], contents)
    manifest = build(records, data_params(), seed)
    groups = manifest.groupby("group")
    assert len(groups) == 60
    assert groups.size().value_counts().to_dict() == {1: 16, 2: 16, 3: 14, 4: 14}
    assert (groups["sha256"].nunique() == 1).all()
    assert (groups["split"].nunique() == 1).all()
    assert (groups["fold"].nunique() == 1).all()
    different = manifest.drop_duplicates("group")
    # Shares are of different files: a quarter of 60 for the test, a fifth of the other 45 in each fold.
    assert different["split"].value_counts().to_dict() == {"train": 45, "test": 15}
    assert counts(different, "fold") == {NO_FOLD: 15, 0: 9, 1: 9, 2: 9, 3: 9, 4: 9}


def test_same_bytes_with_both_labels_are_left_out():
    labelled = label_images(readable([0, 1] * 10, contents=[*range(18), 5, 5]), data_params())
    kept, messages = leave_out_copies(labelled)
    # Nobody knows which of the copies 5 and 19 (defective) and 18 (good) is right: all three go.
    assert messages == tuple(
        f"data/part_0{index}.png: the same file carries both labels" for index in ("05", "18", "19")
    )
    assert kept["path"].tolist() == [f"data/part_{index:03d}.png" for index in range(18) if index != 5]
    assert kept.index.tolist() == list(range(17))


def test_same_bytes_with_two_probabilities_on_one_side_of_the_threshold():
    records = readable([0, 1] * 30 + [0.8], contents=[*range(60), 1])
    manifest = build(records, data_params(), 0)
    assert manifest["group"].iloc[60] == manifest["group"].iloc[1]
    assert manifest["split"].iloc[60] == manifest["split"].iloc[1]


def test_supplied_split_is_kept():
    splits = ["train"] * 24 + ["test"] * 6
    manifest = build(readable([0, 1] * 15, splits=splits), data_params(folds=3, test_share=0.9), 0)
    assert manifest["split"].tolist() == splits
    # 12 training images of each class in 3 folds: 4 of each.
    train = counts(manifest[:24], "fold", "label")
    assert train == {(fold, label): 4 for fold in range(3) for label in (0, 1)}
    assert (manifest["fold"][24:] == NO_FOLD).all()


def test_training_images_that_are_test_images_too_are_left_out():
    # Part 2 and its copy 4 are training images, their copy 28 a test image; 29 is another test image's copy.
    contents = [*range(4), 2, *range(5, 28), 2, 27]
    records = readable([0, 1] * 15, contents=contents, splits=["train"] * 24 + ["test"] * 6)
    kept, messages = leave_out_copies(label_images(records, data_params()))
    assert messages == tuple(f"data/part_00{index}.png: the same file is a test image" for index in (2, 4))
    assert len(kept) == 28
    assert (kept["split"] == "test").sum() == 6, "the test part stays whole"
    manifest = build_manifest(kept, data_params(folds=3), 0)
    assert (manifest.groupby("group")["split"].nunique() == 1).all()


def test_a_file_with_both_labels_leaves_the_test_part_too():
    # The same bytes are a good training image and a defective test image.
    records = readable([0, 1] * 15, contents=[*range(29), 2], splits=["train"] * 24 + ["test"] * 6)
    kept, messages = leave_out_copies(label_images(records, data_params()))
    assert messages == tuple(f"data/part_0{index}.png: the same file carries both labels" for index in ("02", "29"))
    assert (kept["split"] == "test").sum() == 5


def test_without_copies_nothing_is_left_out():
    labelled = label_images(readable([0, 1] * 15, splits=["train"] * 24 + ["test"] * 6), data_params())
    kept, messages = leave_out_copies(labelled)
    assert messages == ()
    pd.testing.assert_frame_equal(kept, labelled)


@pytest.mark.parametrize("step", [label_images, build_manifest])
def test_the_callers_table_is_left_alone(step):
    records = readable([0, 1] * 20)
    before = label_images(records, data_params()) if step is build_manifest else records
    copy = before.copy()
    step(before, data_params(), *([0] if step is build_manifest else []))
    pd.testing.assert_frame_equal(before, copy)


def test_supplied_split_may_hold_copies_within_a_part():
    records = readable([0, 1] * 15, contents=[0, 1, 0, *range(3, 30)], splits=["train"] * 24 + ["test"] * 6)
    manifest = build(records, data_params(folds=3), 0)
    assert manifest["fold"][0] == manifest["fold"][2]


def test_same_seed_same_manifest_other_seed_another():
    records = readable([0.0, 1.0] * 40)
    first, again, other = (build(records, data_params(), seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, again)
    assert (first["split"] != other["split"]).any()
    train = (first["split"] == "train") & (other["split"] == "train")
    assert (first.loc[train, "fold"] != other.loc[train, "fold"]).any()


def test_seed_draws_the_folds_of_a_supplied_split_too():
    records = readable([0, 1] * 15, splits=["train"] * 24 + ["test"] * 6)
    first, again, other = (build(records, data_params(folds=3), seed)["fold"].tolist() for seed in (0, 0, 1))
    assert first == again
    assert first != other


def test_order_of_the_listing_does_not_matter():
    records = readable([0.0, 1.0] * 40)
    shuffled = records.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(build(records, data_params(), 0), build(shuffled, data_params(), 0))


def test_columns_and_types():
    manifest = build(readable([0, 1] * 20), data_params(), 0)
    assert list(manifest) == list(COLUMNS)
    assert [manifest[name].dtype.kind for name in ("label", "fold", "width", "height")] == ["i"] * 4
    assert [manifest[name].dtype.kind for name in ("defect_probability", "weight")] == ["f"] * 2
    assert manifest["path"].is_monotonic_increasing
    assert not manifest.isna().any().any()


@pytest.mark.parametrize(
    "strata",
    [
        ["rare"] + ["common"] * 59,
        ["rare"] * 3 + ["common"] * 57,
        [f"own {index}" for index in range(60)],
        ["rare", "rarer"] + ["common"] * 58,
    ],
    ids=["one image", "three images", "all different", "one of each class"],
)
def test_rare_strata_fall_back_to_the_label(strata):
    manifest = build(readable([0, 1] * 30, strata=strata), data_params(), 0)
    assert (manifest["split"] == "test").sum() == 15
    train = manifest[manifest["split"] == "train"]
    assert sorted(train["fold"].unique()) == [0, 1, 2, 3, 4]
    # 45 training images, 22 or 23 of each class: 4 or 5 of each class in every fold.
    assert set(counts(train, "fold", "label").values()) <= {4, 5}


@pytest.mark.parametrize(
    ("probabilities", "changes", "message"),
    [
        ([0] * 20, {}, r"^0 different defective images; at least 2 are needed"),
        ([1] * 20, {}, r"^0 different non_defective images; at least 2 are needed"),
        ([0] * 20 + [1], {}, r"^1 different defective images; at least 2 are needed"),
        # Half of 24 + 6 images is 12 + 3: the 3 defects left cannot fill 5 folds.
        ([0] * 24 + [1] * 6, {"test_share": 0.5}, r"^3 different defective images; at least 5 are .*lower data\.folds"),
        ([0] * 6 + [1] * 24, {"test_share": 0.5}, r"^3 different non_defective images; at least 5 are needed"),
        ([0] * 24 + [0.4] * 4, {}, r"^0 different defective images"),
        # 2 of 80 images are defective: a quarter of the test's 4 would be 0.1 of an image.
        ([0] * 78 + [1] * 2, {"test_share": 0.05}, r"^The test part has 0 defective images; at least 2"),
    ],
)
def test_too_few_images(probabilities, changes, message):
    with pytest.raises(DataError, match=message):
        build(readable(probabilities), data_params(**changes), 0)


def test_copies_do_not_make_up_for_too_few_images():
    records = readable([0] * 20 + [1] * 10, contents=[*range(20), *[99] * 10])
    with pytest.raises(DataError, match="^1 different defective images"):
        build(records, data_params(), 0)


def test_just_enough_images():
    # A quarter of 20 + 20 is 5 + 5, of which 15 + 15 are left; then folds of one image of each class.
    manifest = build(readable([0, 1] * 20), data_params(folds=15), 0)
    train = manifest[manifest["split"] == "train"]
    assert counts(train, "fold", "label") == {(fold, label): 1 for fold in range(15) for label in (0, 1)}


@pytest.mark.parametrize(
    ("probabilities", "strata", "changes"),
    [
        pytest.param([0, 1] * 2, "", {}, id="a quarter of four images is one, for two classes"),
        pytest.param([0, 1] * 10, "", {"test_share": 0.01}, id="a hundredth of twenty images is one"),
        pytest.param([0, 1] * 2, "", {"test_share": 0.75}, id="one image is left to train on"),
    ],
)
def test_share_too_small_for_both_classes(probabilities, strata, changes):
    with pytest.raises(DataError, match=r"data\.test_share"):
        build(readable(probabilities, strata=strata), data_params(folds=2, **changes), 0)


@pytest.mark.parametrize(("splits", "changes"), [("", {"test_share": 0.1}), (["train"] * 17 + ["test"], {})])
def test_a_test_part_too_small_to_evaluate(splits, changes):
    # A tenth of 12 + 6 images is 1 + 1; the supplied split tests a single, defective image.
    with pytest.raises(DataError, match="test"):
        build(readable([0] * 12 + [1] * 6, splits=splits), data_params(folds=3, **changes), 0)


def test_more_strata_than_test_images_fall_back_to_the_label():
    # 10 strata of 4 images (two of each class): 20 fine strata of 2 images, but a quarter of 40 is 10 test images.
    records = readable([0, 1] * 20, strata=[f"type {index // 4}" for index in range(40)])
    manifest = build(records, data_params(), 0)
    assert counts(manifest, "split", "label") == {("test", 0): 5, ("test", 1): 5, ("train", 0): 15, ("train", 1): 15}


def test_no_image_at_all(tmp_path):
    (tmp_path / "labels.csv").write_text("path,defect_probability\n", encoding="utf-8")
    with pytest.raises(DataError, match="^0 different non_defective images"):
        build(index_images(list_images(tmp_path)).readable, data_params(), 0)


def test_write_and_read_round_trip(tmp_path):
    manifest = build(
        readable([0, ONE_THIRD, 0.1 + 0.2, 1] * 15, strata=["", "NA", "a,b", '"quoted" größe'] * 15), data_params(), 0
    )
    manifest.loc[:3, "path"] = ["data/a,b.png", 'data/"q".png', "data/部品 1.png", "data/NA"]
    path = tmp_path / "new" / "manifest.csv"
    write_manifest(path, manifest)
    pd.testing.assert_frame_equal(read_manifest(path), manifest)
    first = path.read_bytes()
    write_manifest(path, read_manifest(path))
    assert path.read_bytes() == first
    assert b"\r" not in first


def test_training_rows(tmp_path):
    manifest = build(readable([0, 1] * 20), data_params(), 0)
    write_manifest(tmp_path / "manifest.csv", manifest)
    rows = read_training_rows(tmp_path / "manifest.csv")
    assert len(rows) == 30
    assert rows.index.tolist() == list(range(30))
    assert rows["path"].tolist() == manifest.loc[manifest["split"] == "train", "path"].tolist()
    assert (rows["fold"] >= 0).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a manifest .* run `dvc repro prepare`"),
        (b"\xff\xfe\xff", "is not a manifest"),
        (b"a,b\n1,2,3\n1,2,3,4\n", "is not a manifest"),
        (b"path,label\na.png,0\n", "has other columns than this version writes; run `dvc repro prepare`"),
        (b"path,label\na.png,good\n", "is not a manifest"),
    ],
)
def test_file_that_is_no_manifest(tmp_path, content, message):
    path = tmp_path / "manifest.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"manifest\.csv {message}"):
        read_manifest(path)


def test_missing_manifest(tmp_path):
    with pytest.raises(DataError, match=r"manifest\.csv is missing; run `dvc repro prepare`"):
        read_manifest(tmp_path / "manifest.csv")


@pytest.fixture
def source(tmp_path):
    """Four readable images of each class, 24 pixels a side, and one that is no image."""
    write_class_folders(tmp_path, 4, size=24)
    (tmp_path / "defective" / "broken.png").write_bytes(b"not an image")
    return tmp_path


def test_index_images(source):
    draw_part(9, False, 24).resize((40, 16)).convert("RGB").save(source / "non_defective" / "part_001.png")
    seen = []
    indexed = index_images(list_images(source), lambda paths: (seen.append(path) or path for path in paths))
    assert len(seen) == 9
    assert len(indexed.readable) == 8
    assert indexed.readable.index.tolist() == list(range(8))
    assert indexed.readable["width"].tolist() == [24, 40] + [24] * 6
    assert indexed.readable["height"].tolist() == [24, 16] + [24] * 6
    assert indexed.readable["mode"].tolist() == ["L", "RGB"] + ["L"] * 6
    assert indexed.readable["sha256"].tolist() == [sha256_file(path) for path in indexed.readable["path"]]
    assert len(indexed.unreadable) == 1
    assert "defective/broken.png: not a PNG" in indexed.unreadable[0]


def test_index_counts_a_listed_file_that_is_missing(tmp_path):
    (tmp_path / "labels.csv").write_text("path,defect_probability\ngone.png,1\n", encoding="utf-8")
    indexed = index_images(list_images(tmp_path))
    assert len(indexed.readable) == 0
    assert "gone.png: cannot be read (No such file" in indexed.unreadable[0]


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
        (0, 0, 0.0, False),
        (71, 29, 0.29, False),  # 0.29 * 100 is 28.999999999999996 in floating point
    ],
)  # fmt: skip
def test_tolerated_share_of_unreadable_images(n_readable, n_unreadable, max_share, stops):
    messages = tuple(f"part_{index}.png: damaged." for index in range(n_unreadable))
    indexed = IndexedImages(readable([0] * n_readable), messages)
    if not stops:
        check_unreadable(indexed, max_share)
        return
    n_images = n_readable + n_unreadable
    expected = rf"^{n_unreadable} of {n_images} images .*max_unreadable_share = {max_share}\. .*part_0\.png: damaged"
    with pytest.raises(DataError, match=expected):
        check_unreadable(indexed, max_share)


def test_iterate_pixels_gives_the_indexed_images_in_order(source):
    rows = index_images(list_images(source)).readable
    pixels = list(iterate_pixels(rows))
    assert len(pixels) == 8
    for index, image in enumerate(pixels):
        expected = draw_part(2 * (index % 4) + index // 4, index >= 4, 24).convert("RGB")
        assert np.array_equal(image, np.asarray(expected))


def test_iterate_pixels_refuses_a_changed_file(source):
    rows = index_images(list_images(source)).readable
    draw_part(99, True, 24).save(rows["path"][2])
    images = iterate_pixels(rows)
    next(images)
    next(images)
    with pytest.raises(DataError, match=r"part_002\.png changed since the manifest was written; run `dvc repro`"):
        next(images)


def test_iterate_pixels_names_a_file_that_is_gone(source):
    rows = index_images(list_images(source)).readable
    (source / "non_defective" / "part_000.png").unlink()
    with pytest.raises(ImageError, match=r"part_000\.png: cannot be read"):
        next(iterate_pixels(rows))
