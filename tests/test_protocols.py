"""How `bench.protocols` divides the photographs: every certain image is tested exactly once."""

import numpy as np
import pandas as pd
import pytest

from bench.protocols import N_OUTER_FOLDS, draw_divisions
from inspection.labels import TEST, TRAIN
from tests.project import own_params


@pytest.fixture
def images():
    """60 certain photographs of two kinds, and 20 of uncertain label."""
    probability = np.r_[np.zeros(30), np.ones(30), np.full(20, 1 / 3)]
    sha256 = [f"{position:064x}" for position in range(80)]
    return pd.DataFrame(
        {
            "path": [f"{position}.png" for position in range(80)],
            "sha256": sha256,
            "pixels_sha256": sha256,
            "defect_probability": probability,
            "label": (probability >= 0.5).astype(int),
            "weight": 1.0,
            "stratum": ["mono", "poly"] * 40,
            "defect_type": "",
            "photograph": np.arange(80),
        }
    )


def test_five_fold_tests_every_certain_image_once_and_no_other(images):
    divisions = draw_divisions("c", images, images["path"], own_params(), seed=0)
    tested = pd.concat([rows[rows["split"] == TEST] for rows in divisions])
    assert len(divisions) == N_OUTER_FOLDS
    assert sorted(tested["path"]) == sorted(images["path"][:60])


def test_five_fold_is_stratified_by_label_and_kind(images):
    for rows in draw_divisions("c", images, images["path"], own_params(), seed=0):
        test, train = rows[rows["split"] == TEST], rows[rows["split"] == TRAIN]
        assert test.groupby(["label", "stratum"]).size().tolist() == [3, 3, 3, 3]
        assert sorted(set(train["fold"])) == [0, 1, 2, 3, 4], "with folds of its own inside the training part"


def test_blocks_stay_on_one_side(images):
    blocks = pd.Series([f"block {position // 4}" for position in range(80)])
    (rows,) = draw_divisions("b", images, blocks, own_params(), seed=0)
    assert len(rows) == 80
    assert rows.groupby("group")["split"].nunique().max() == 1
