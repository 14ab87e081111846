"""How `bench.protocols` divides the photographs, and what it says that detectors add."""

import numpy as np
import pandas as pd
import pytest

from bench import protocols
from bench.patch_maps import PatchMaps, check_patch_maps
from bench.protocols import N_OUTER_FOLDS, WITH_DETECTORS, compare, draw_divisions, paired_differences, score
from inspection.config import load_params
from inspection.data.manifest import read_manifest
from inspection.errors import ConfigError
from inspection.labels import TEST, TRAIN
from inspection.reports.tables.predictions import ENSEMBLE
from tests.project import BACKBONE, own_params


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


def test_a_detector_says_what_that_of_the_pipeline_says(good_parts_project, monkeypatch, tmp_path):
    monkeypatch.chdir(good_parts_project)
    # Without the cache, which lies where the tests were started.
    monkeypatch.setattr(protocols, "patch_memory_scores", protocols.patch_memory_scores.func)
    params, rows, voter = load_params(), read_manifest("data/manifest.csv"), f"{BACKBONE}_patch_memory"
    maps = {BACKBONE: PatchMaps(BACKBONE, rows, params, tmp_path)}
    proba = protocols.train_detectors(rows, maps, params, params.seed)[voter]
    for part, table, column in (
        (TRAIN, f"models/out_of_fold/{voter}.csv", "defect_proba"),
        (TEST, "metrics/curves/predictions.csv", voter),
    ):
        of_pipeline = pd.read_csv(table).set_index("path")[column]
        paths = rows.loc[rows["split"] == part, "path"]
        assert len(paths) == len(of_pipeline)
        # Tables are rounded.
        np.testing.assert_allclose(proba[paths.index], of_pipeline[paths], atol=2e-5)


@pytest.fixture
def judged(images):
    """A division, what two voters say of it, and what a detector that is right throughout does."""
    (rows,) = draw_divisions("a", images, images["path"], own_params(), seed=0)
    random, labels = np.random.default_rng(0), rows["label"].to_numpy()
    noisy = [np.clip(0.4 + 0.2 * labels + random.normal(0, 0.25, len(rows)), 0.01, 0.99) for _ in range(2)]
    return rows, {"one": noisy[0], "other": noisy[1]}, {"detector": 0.1 + 0.8 * labels}


def test_ensembles_with_and_without_detectors_stand_side_by_side(judged):
    rows, of_voters, of_detectors = judged
    both, alone = compare(rows, of_voters, of_detectors, own_params()), score(rows, of_voters, own_params())
    pd.testing.assert_frame_equal(both.loc[alone.index], alone)
    assert set(both.index) - set(alone.index) == {WITH_DETECTORS, f"{WITH_DETECTORS}, majority", "detector"}
    assert both.loc["detector", "AUC"] == 1
    assert both.loc[WITH_DETECTORS, "AUC"] > both.loc[ENSEMBLE, "AUC"]
    pd.testing.assert_frame_equal(compare(rows, of_voters, {}, own_params()), alone)


def test_differences_are_paired_by_test_part_and_their_error_is_printed(capsys):
    names = [ENSEMBLE, f"{ENSEMBLE}, majority", WITH_DETECTORS, f"{WITH_DETECTORS}, majority", "one"]
    parts = [
        pd.DataFrame({"AUC": [0.80, 0.70, 0.81, 0.70, 0.5], "protocol": protocol}, index=names)
        + pd.DataFrame({"AUC": shift, "protocol": ""}, index=names)
        for protocol, shift in (("a", 0.0), ("a", [0.1, 0.1, 0.12, 0.1, 0.0]), ("b", [0, 0.02, 0, 0, 0]))
    ]
    differences = paired_differences(pd.concat(parts))
    of_ensemble = differences.loc[WITH_DETECTORS]
    assert of_ensemble["AUC"].tolist() == pytest.approx([0.01, 0.03, 0.01])
    assert of_ensemble["protocol"].tolist() == ["a", "a", "b"]
    assert differences.loc[f"{WITH_DETECTORS}, majority", "AUC"].tolist() == pytest.approx([0, 0, -0.02])
    # Two parts, 1 and 3 points apart: a standard deviation of sqrt(2), over sqrt(2).
    protocols.print_table(differences[differences["protocol"] == "a"], "sem", "+.2f")
    assert f"| {WITH_DETECTORS} | +2.00 ± 1.00 |" in capsys.readouterr().out


def test_backbones_without_patch_maps_are_refused():
    with pytest.raises(ConfigError, match=r"detectors = \[\]; set \[patch_memory\]"):
        check_patch_maps(own_params().model_copy(update={"detectors": []}))
