"""What `bench.overkill_promise` counts: true rates of thresholds drawn anew, the other half, and a test part."""

import numpy as np
import pandas as pd
import pytest

from bench.overkill_promise import judge_test, print_resplits, read_good_parts, resplit
from bench.promise import expected_excess

RATE, CONFIDENCE = 0.1, 0.95


def good_parts(scores, photographs_each: int = 1) -> pd.DataFrame:
    """Photographs of good parts; of each part the first has the score, the others less."""
    scores = np.asarray(scores, float)
    all_scores = scores[:, np.newaxis] - 0.001 * np.arange(photographs_each)
    groups = np.repeat([f"part {number:04d}" for number in range(len(scores))], photographs_each)
    return pd.DataFrame({"group": groups, "defect_proba": all_scores.ravel()})


def test_chance_by_hand():
    # Of one part learned from, none beyond: whether the one other lies above is heads or tails.
    assert expected_excess(0, 1, 1, 0.5) == pytest.approx(1 / 2)
    # The largest of two is exceeded by both others in 2! 2! / 4! of the orders.
    assert expected_excess(0, 2, 2, 0.5) == pytest.approx(1 / 6)
    # Not above 29 of 100, though 0.29 * 100 is a little less than 29.
    assert expected_excess(0, 1, 100, 0.29) == pytest.approx(71 / 101)


def test_promises_are_kept_as_often_as_they_say():
    line = resplit(good_parts(np.random.default_rng(0).random(200)), RATE, CONFIDENCE, 2000, seed=0)
    assert (line["n_learned"], line["n_others"], line["n_resplits"]) == (100, 100, 2000)
    # Three standard errors of a share of 5 % of 2000 drawings.
    assert line["anew"] / 2000 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2000)
    error = np.sqrt(line["by_chance"] * (1 - line["by_chance"]) / 2000)
    assert abs(line["exceeds"] / 2000 - line["by_chance"]) < 3 * error
    assert line["overkill"] < RATE


def test_a_part_counts_once_however_often_it_was_photographed():
    scores = np.random.default_rng(1).random(120)
    once, often = (resplit(good_parts(scores, each), RATE, CONFIDENCE, 50, seed=0) for each in (1, 5))
    same = ("n_learned", "n_others", "n_resplits", "anew", "exceeds", "by_chance", "overkill")
    assert [once[name] for name in same] == [often[name] for name in same]


def test_copies_that_no_group_joins_break_the_promise():
    scores = np.random.default_rng(2).random(100)
    apart = good_parts(np.repeat(scores, 10))
    together = good_parts(scores)
    n_apart, n_together = (resplit(parts, RATE, CONFIDENCE, 300, seed=0)["overkill"] for parts in (apart, together))
    assert n_apart > n_together, "ten copies of a part pass for ten parts, which seem to support a lower threshold"


def test_too_few_parts_for_a_promise(capsys):
    line = resplit(good_parts(np.arange(40) / 100), RATE, CONFIDENCE, 10, seed=0)
    assert line == {"promised": RATE, "n_learned": 20, "n_others": 20, "n_resplits": 0}
    print_resplits(pd.DataFrame([line]), CONFIDENCE)
    assert "| 10% | 20 good groups of 29 that it takes |" in capsys.readouterr().out
    assert "n_overkill" not in judge_test(good_parts(np.zeros(20)), good_parts([0.5]), RATE, CONFIDENCE)


def test_a_test_part_that_scores_higher_throughout_is_not_chance():
    scores = np.random.default_rng(3).random(100)
    train = good_parts(scores)
    served_higher = judge_test(train, good_parts(scores[:50] + 0.5), RATE, CONFIDENCE)
    assert served_higher["n_overkill"] == np.sum(scores[:50] + 0.5 > np.sort(scores)[-5])
    assert served_higher["by_chance"] < 1e-6
    alike = judge_test(train, good_parts(np.random.default_rng(4).random(50), 2), RATE, CONFIDENCE)
    assert alike["n_others"] == 50
    assert alike["by_chance"] > 0.01


def test_scores_of_a_run_are_those_of_its_good_parts(good_parts_project):
    train, test = read_good_parts(good_parts_project)
    assert (len(train), len(test)) == (40, 12)
    assert ((train["defect_proba"] > 0) & (train["defect_proba"] < 1)).all()
    predictions = pd.read_csv(good_parts_project / "metrics" / "curves" / "predictions.csv")
    of_good = predictions.loc[predictions["actual"] == "non_defective", "defect_proba"]
    assert sorted(test["defect_proba"]) == sorted(of_good)
