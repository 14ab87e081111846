"""The numbers of the data: counts that add up, and what memory alone scores on a split."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from inspection.audit.data_metrics import describe_data, score_memory
from inspection.audit.findings import Audit, audit_images
from inspection.audit.indexing import index_images
from inspection.audit.leakage_probe import nearest_neighbour_accuracy
from inspection.config import DataParams
from inspection.data.groups import join_groups
from inspection.data.ledger import UNDRAWN
from inspection.data.manifest import label_of
from inspection.data.sources import list_images
from inspection.data.splits import Division, divide
from tests.parts import draw_part, write_class_folders
from tests.project import data_params


def prepared(folder, params: DataParams) -> tuple[Audit, Division]:
    """The way of the photographs to their division, as the stage ``prepare`` goes it."""
    indexed = index_images(list_images(folder))
    audit = audit_images(indexed, label_of(indexed.readable["defect_probability"]))
    return audit, divide(audit.images.assign(group=join_groups(audit.images, params.series)), params, 0)


def described(folder, params: DataParams) -> dict:
    audit, division = prepared(folder, params)
    return describe_data(audit, division, params, 0)


def write_parts(folder, parts: dict[str, int]) -> None:
    """Write the part of each seed under the name; equal seeds are copies."""
    for name, seed in parts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        draw_part(seed, False, 32).save(folder / name)


# Counts


@pytest.fixture
def source(tmp_path):
    """Ten training and four test images of each class; a leak, a contradiction and two files that are no images."""
    train = {f"train/{name}/{seed:02d}.png": seed + 20 * (name == "ng") for name in ("ok", "ng") for seed in range(10)}
    test = {f"test/{name}/{seed}.png": 10 + seed + 20 * (name == "ng") for name in ("ok", "ng") for seed in range(4)}
    # A test image is a copy of the training image 0, and the good training images 5 and 6 are called defective too.
    copies = {"test/ok/copy.bmp": 0, "train/ng/5.bmp": 5, "train/ng/6.bmp": 6}
    write_parts(tmp_path, train | test | copies)
    for name in ("train/ok/broken.png", "test/ng/broken.png"):
        (tmp_path / name).write_bytes(b"no image")
    return tmp_path


COUNTS = {
    "regroup": {"n_images": 27, "n_left_out": 6, "n_groups": 26, "split": "redrawn", "n_leaking_test_images": 0},
    "keep": {
        "n_images": 27, "n_train": 18, "n_train_defective": 10, "n_test": 9, "n_test_defective": 4, "n_left_out": 6,
        "n_groups": 26, "split": "supplied", "n_leaking_test_images": 1,
    },
    "drop": {
        "n_images": 26, "n_train": 17, "n_train_defective": 10, "n_test": 9, "n_test_defective": 4, "n_left_out": 7,
        "n_groups": 26, "split": "supplied", "n_leaking_test_images": 0,
    },
}  # fmt: skip


@pytest.mark.parametrize("leaks", COUNTS)
def test_counts(source, leaks):
    content = described(source, data_params(leaks=leaks, folds=3))
    # 20 training images, 8 test images and 3 copies; the contradictions are two photographs in two copies each.
    of_the_folder = {
        "n_unreadable": 2, "n_photographs": 28, "n_photographs_with_copies": 3, "n_series": 0, "n_leaks": 1,
        "n_conflicts": 2, "n_unlike_the_others": 0, "n_kept_in_test": 0, "n_groups_kept_in_test": 0,
    }  # fmt: skip
    for name, number in (COUNTS[leaks] | of_the_folder).items():
        assert content[name] == number, name
    assert content["n_train"] + content["n_test"] == content["n_images"]
    # 14 defective images and 2 defective copies, of which the 2 contradictions are left out.
    assert content["n_train_defective"] + content["n_test_defective"] == 14
    assert content["n_images"] + content["n_left_out"] == 33
    assert json.loads(json.dumps(content, allow_nan=False)) == content


def test_what_is_left_out_is_listed_with_the_reason(source):
    content = described(source, data_params(leaks="drop", folds=3))
    left_out = {entry["path"].removeprefix(f"{source.as_posix()}/"): entry["reason"] for entry in content["left_out"]}
    assert len(content["left_out"]) == len(left_out) == content["n_left_out"]
    both_labels = "copies of this photograph carry both labels"
    assert {name: reason for name, reason in left_out.items() if "broken" not in name} == {
        "train/ok/05.png": both_labels,
        "train/ok/06.png": both_labels,
        "train/ng/5.bmp": both_labels,
        "train/ng/6.bmp": both_labels,
        "train/ok/00.png": "a test image is a copy of this photograph or in its group",
    }
    assert "not a PNG" in left_out["train/ok/broken.png"]


def test_series_and_unlike_images_are_counted(tmp_path):
    write_class_folders(tmp_path, 20, size=32)
    draw_part(999, False, 48).save(tmp_path / "defective" / "large.png")
    audit, division = prepared(tmp_path, data_params(folds=2))
    # Two series, of three and of two images.
    series = audit.images["series"].to_numpy().copy()
    series[[1, 2]], series[11] = 0, 10
    audit = Audit(audit.images.assign(series=series), audit.unreadable, audit.pairs, audit.signatures)
    content = describe_data(audit, division, data_params(folds=2), 0)
    assert content["n_series"] == 2
    assert content["n_unlike_the_others"] == 1
    assert content["split"] == "drawn"


# Memory


@pytest.fixture
def copied(tmp_path):
    """Photographs whose label says nothing of their looks, each in the training and in the test part."""
    random = np.random.default_rng(5)
    for seed, label in enumerate(random.permutation([0, 1] * 24)):
        for part, suffix in (("train", "png"), ("test", "bmp")):
            write_parts(tmp_path, {f"{part}/{('ok', 'ng')[label]}/{seed:02d}.{suffix}": seed})
    return tmp_path


@pytest.mark.parametrize("leaks", ["regroup", "drop", "keep"])
def test_memory_falls_where_test_images_are_copies(copied, leaks):
    # Whatever is done about the leaks; with drop no training image would be left.
    params = data_params(leaks="keep", folds=3)
    audit, division = prepared(copied, params)
    memory = score_memory(audit, division, data_params(leaks=leaks, folds=3), 0)
    assert memory["supplied"] == 1.0
    assert 0.3 < memory["honest"] < 0.7, "labels of other photographs are drawn by lot"


def test_supplied_split_is_scored_with_the_copies_that_are_left_out(copied):
    # Some photographs without a copy in the test part, so that there is something left to train on.
    for part, seeds in (("train", range(100, 112)), ("test", range(200, 212))):
        write_parts(copied, {f"{part}/{('ok', 'ng')[seed % 2]}/{seed}.png": seed for seed in seeds})
    params = data_params(leaks="drop", folds=2)
    audit, division = prepared(copied, params)
    assert len(division.left_out) == 48
    memory = score_memory(audit, division, params, 0)
    # All 48 copies are known by heart; of the 12 others some.
    assert 0.8 <= memory["supplied"] <= 1.0
    assert memory["honest"] < 0.7
    assert describe_data(audit, division, params, 0)["n_leaking_test_images"] == 0


def test_memory_of_a_drawn_split_is_that_of_a_random_one(tmp_path, monkeypatch):
    # A random split is drawn by the paths, and that of a temporary folder is another each time.
    monkeypatch.chdir(tmp_path)
    # Three copies of each of 40 photographs in class folders: a random split puts copies on both sides.
    random = np.random.default_rng(5)
    for seed, label in enumerate(random.permutation([0, 1] * 20)):
        write_parts(Path(), {f"{('ok', 'ng')[label]}/{seed:02d}.{suffix}": seed for suffix in ("png", "bmp", "tif")})
    params = data_params(folds=3)
    audit, division = prepared(Path(), params)
    memory = score_memory(audit, division, params, 0)
    assert list(memory) == ["random", "honest"]
    assert memory["random"] > 0.9
    assert memory["honest"] < 0.75
    assert score_memory(audit, division, params, 0) == memory


def test_memory_is_unknown_where_no_honest_split_can_be_drawn(tmp_path):
    # One defective photograph, in four copies: a supplied split holds it on both sides, no honest one can.
    parts = {f"train/ok/{seed}.png": seed for seed in range(8)} | {f"test/ok/{seed}.png": seed for seed in range(8, 12)}
    parts |= {f"{part}/ng/copy.{suffix}": 50 for part in ("train", "test") for suffix in ("png", "bmp")}
    write_parts(tmp_path, parts)
    audit = audit_images(*indexed_and_labelled(tmp_path))
    images = audit.images.assign(group=join_groups(audit.images, "together"))
    division = Division(images, pd.DataFrame(), "supplied", (), UNDRAWN)
    assert score_memory(audit, division, data_params(folds=2), 0) == {"supplied": 1.0, "honest": None}


def test_memory_is_unknown_without_both_classes_in_the_training_part(tmp_path):
    parts = {f"train/ok/{seed}.png": seed for seed in range(12)}
    parts |= {f"test/{('ok', 'ng')[seed % 2]}/{seed}.png": seed for seed in range(12, 36)}
    write_parts(tmp_path, parts)
    params = data_params(folds=2)
    audit, division = prepared(tmp_path, params)
    memory = score_memory(audit, division, params, 0)
    assert memory["supplied"] is None
    assert 0 <= memory["honest"] <= 1


def indexed_and_labelled(folder):
    indexed = index_images(list_images(folder))
    return indexed, label_of(indexed.readable["defect_probability"])


# The nearest neighbour


def vectors_at(*degrees: float) -> np.ndarray:
    """Points on the unit circle; with opposite ones among them they keep their angles when standardised."""
    angles = np.radians(degrees)
    return np.column_stack([np.cos(angles), np.sin(angles)])


@pytest.mark.parametrize(
    ("test_labels", "accuracy"),
    [
        # Neighbours of 10, 100, 170 and 280 degrees are 0, 90, 180 and 270: good, defective, good, defective.
        ([0, 1, 0, 1], 1.0),
        ([1, 0, 1, 0], 0.0),
        ([0, 1, 1, 1], 5 / 6),  # both classes count alike: 1 of 1 good, 2 of 3 defective
        ([0, 0, 0, 1], 5 / 6),
        ([1, 1, 0, 0], 0.5),
    ],
)
def test_accuracy_of_the_nearest_neighbour(test_labels, accuracy):
    vectors = vectors_at(0, 90, 180, 270, 10, 100, 170, 280)
    labels, split = np.array([0, 1, 0, 1, *test_labels]), np.array(["train"] * 4 + ["test"] * 4)
    assert nearest_neighbour_accuracy(vectors, labels, split) == pytest.approx(accuracy)
    order = [4, 0, 5, 1, 7, 2, 3, 6]
    assert nearest_neighbour_accuracy(vectors[order], labels[order], split[order]) == pytest.approx(accuracy)


def test_features_of_any_scale_count_alike():
    # The first feature is a thousand times larger and tells nothing.
    vectors = vectors_at(0, 90, 180, 270, 10, 100, 170, 280) * [1000, 1]
    labels, split = np.array([0, 1, 0, 1] * 2), np.array(["train"] * 4 + ["test"] * 4)
    assert nearest_neighbour_accuracy(vectors, labels, split) == 1.0


def test_length_of_the_vectors_does_not_count():
    vectors = vectors_at(0, 90, 180, 270, 10, 100, 170, 280)
    vectors[4:] *= [[0.01], [50], [0.3], [7]]
    labels, split = np.array([0, 1, 0, 1] * 2), np.array(["train"] * 4 + ["test"] * 4)
    assert nearest_neighbour_accuracy(vectors, labels, split) == 1.0


@pytest.mark.parametrize(
    ("labels", "split"),
    [
        ([0, 0, 0, 1], ["train", "train", "test", "test"]),
        ([0, 1, 1, 1], ["train", "train", "test", "test"]),
        ([0, 1, 0, 1], ["train"] * 4),
        ([0, 1, 0, 1], ["test"] * 4),
        ([], []),
    ],
)
def test_part_that_lacks_a_class_has_no_accuracy(labels, split):
    vectors = vectors_at(0, 90, 180, 270)[: len(labels)]
    assert nearest_neighbour_accuracy(vectors, np.array(labels), np.array(split)) is None
