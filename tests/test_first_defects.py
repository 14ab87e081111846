"""How `bench.first_defects` divides the photographs and labels defects, and what its table compares."""

import numpy as np
import pandas as pd
import pytest

from bench.first_defects import draw_division, label_defects, summarise
from inspection.labels import DEFECTIVE, NON_DEFECTIVE, TEST, TRAIN
from tests.project import own_params


@pytest.fixture
def images():
    """A source that trains on 40 good parts, and tests 20 good ones and 24 defects of two photographs each."""
    n_good, n_defective = 60, 48
    numbers = np.arange(n_good + n_defective)
    labels = np.repeat([NON_DEFECTIVE, DEFECTIVE], [n_good, n_defective])
    sha256 = [f"{number:064x}" for number in numbers]
    return pd.DataFrame(
        {
            "path": [f"{number}.png" for number in numbers],
            "sha256": sha256,
            "pixels_sha256": sha256,
            "defect_probability": labels.astype(float),
            "label": labels,
            "split": np.where(numbers < 40, TRAIN, TEST),
            "stratum": "",
            "defect_type": "",
            "photograph": numbers,
            "group": np.where(labels == DEFECTIVE, [f"d{number // 2}" for number in numbers], sha256),
        }
    )


def test_good_photographs_stay_and_half_of_the_defects_are_tested(images):
    rows = draw_division(images, own_params().data, seed=0)
    good = rows["label"] == NON_DEFECTIVE
    assert (rows.loc[good, "split"] == images.loc[good, "split"]).all()
    assert rows[~good].groupby("split")["group"].nunique().to_dict() == {TEST: 12, TRAIN: 12}
    assert rows.groupby("group")["split"].nunique().max() == 1
    other = draw_division(images, own_params().data, seed=1)
    assert (other["split"] != rows["split"]).any()


def test_ever_more_defects_are_known_group_by_group_and_fold_by_fold(images):
    rows = draw_division(images, own_params().data, seed=0)
    is_defect, train = (rows["label"] == DEFECTIVE).to_numpy(), (rows["split"] == TRAIN).to_numpy()
    n_folds = rows.loc[train & is_defect, "fold"].nunique()
    steps = list(label_defects(rows, [0, 1, n_folds, 100], seed=0))
    labelled = [known & is_defect & train for known in steps]
    assert [rows[some]["group"].nunique() for some in labelled] == [0, 1, n_folds, 12]
    assert [some.sum() for some in labelled] == [0, 2, 2 * n_folds, 24], "both photographs of a part"
    assert rows[labelled[2]]["fold"].nunique() == n_folds
    for before, after in zip(steps, steps[1:], strict=False):
        assert not (before & ~after).any(), "what is known stays known"
    assert all(known[~(is_defect & train)].all() for known in steps), "good and test parts are always there"


def test_the_ensemble_is_compared_with_what_is_best_on_average():
    lines = pd.DataFrame(
        {
            "step": 0, "n_defects": 10, "a": [0.9, 0.7], "b": [0.7, 0.8], "detectors": [0.5, 0.6],
            "supervised": [0.7, 0.6], "plain mean": [0.6, 0.6], "ensemble": [0.8, 0.9],
        }
    )  # fmt: skip
    [line] = summarise(lines).to_dict("records")
    assert (line["n_defects"], line["which"], line["best voter"]) == (10, "a", pytest.approx(80))
    # The supervised voters have 65 against 55; differences of 10 and 30, and of -10 and 20 to the voter.
    assert (line["over better kind"], line["over better kind_se"]) == pytest.approx((20, 10))
    assert (line["over best voter"], line["over best voter_se"]) == pytest.approx((5, 15))


def test_voters_that_abstain_leave_their_columns_empty():
    lines = pd.DataFrame({"step": 0, "n_defects": 0, "a": [0.9], "detectors": 0.9, "plain mean": 0.9, "ensemble": 0.9})
    [line] = summarise(lines).to_dict("records")
    assert np.isnan(line["supervised"])
    assert line["over better kind"] == 0
