"""Tables of the evaluation, small enough to be filled in by hand."""

import numpy as np
import pandas as pd
import pytest

from inspection.decision.verdict import Verdict
from inspection.reports.tables.evaluation import (
    curves,
    leaderboard,
    neighbour_table,
    predictions_table,
    score_voters,
    summarise_verdicts,
    tabulate,
)
from inspection.reports.tables.insight import tradeoff
from inspection.reports.tables.predictions import ENSEMBLE, VERDICT_COLUMNS, is_defective, mistakes_of, voters_of
from inspection.voters.guard import fit_guard

LABELS = np.array([1, 1, 1, 0, 0, 0])
PROBA = pd.DataFrame({"b_svm": [0.9, 0.5, 0.2, 0.6, 0.3, 0.1], "a_cnn": [0.9, 0.8, 0.7, 0.3, 0.2, 0.1]})


def verdicts_of(words, probas):
    return [
        Verdict(f"part_{index}.png", "0" * 64, word, max(p, 1 - p), p, "vote", "because", (), index / 3)
        for index, (word, p) in enumerate(zip(words, probas, strict=True))
    ]


VERDICTS = verdicts_of(
    ["defective", "review", "non_defective", "review", "non_defective", "non_defective"],
    [0.9, 0.65, 0.45, 0.5, 0.25, 0.1],
)


ROWS = pd.DataFrame(
    {
        "path": [f"data/{index}.png" for index in range(6)],
        "label": LABELS,
        "group": [f"{index}" for index in range(6)],
        "defect_probability": LABELS.astype(float),
        "stratum": ["mono", "poly"] * 3,
        "defect_type": "",
        "stated_group": "",
    }
)
PREDICTIONS = predictions_table(ROWS, PROBA, VERDICTS)


def score_models(threshold: float) -> dict[str, dict]:
    """Metrics of the ensemble, by its verdicts, and of the voters."""
    groups = ROWS["group"].to_numpy()
    return {ENSEMBLE: summarise_verdicts(PREDICTIONS, groups)} | score_voters(PREDICTIONS, threshold, groups)


def test_score_models_by_hand():
    scores = score_models(0.5)
    assert list(scores) == ["ensemble", "b_svm", "a_cnn"]
    # Review does not pass, nor does it fail: of the defects one of three escapes, of the good parts none is scrapped.
    ensemble = scores["ensemble"]
    assert (ensemble["escape_rate"], ensemble["overkill_rate"], ensemble["accuracy"]) == (0.3333, 0.0, 0.6667)
    assert (ensemble["review_rate"], scores["b_svm"]["review_rate"]) == (0.3333, 0.0)
    # 0.9 and 0.65 win 3 pairs each, 0.45 wins 2 of 3: 8/9.
    assert ensemble["roc_auc"] == 0.8889
    # 0.5 is exactly at the threshold, so rejected: only 0.2 escapes, only 0.6 is overkill. 0.9 wins 3, 0.5 2, 0.2 1.
    svm = scores["b_svm"]
    assert (svm["escape_rate"], svm["overkill_rate"], svm["accuracy"], svm["roc_auc"]) == (
        0.3333,
        0.3333,
        0.6667,
        0.6667,
    )
    cnn = scores["a_cnn"]
    assert (cnn["escape_rate"], cnn["overkill_rate"], cnn["accuracy"], cnn["roc_auc"]) == (0.0, 0.0, 1.0, 1.0)
    assert {key for key in ensemble if key not in svm} == {"unlike_rate", "per_1000"}
    assert list(svm) == list(cnn) == [key for key in ensemble if key in svm]


def test_an_ensembles_summary_by_hand():
    ensemble = summarise_verdicts(
        PREDICTIONS.assign(cause=["unlike", "vote", "vote", "unlike", "unlike", "vote"]), LABELS
    )
    assert (ensemble["unlike_rate"], ensemble["n_images"], ensemble["n_groups"]) == (0.5, 6, 2)
    # One of six escapes, none is scrapped though good, two are reviewed.
    thousand = ensemble["per_1000"]
    assert (thousand["escapes"], thousand["overkill"], thousand["reviews"]) == (166.7, 0.0, 333.3)


@pytest.mark.parametrize(
    ("threshold", "escape", "overkill"),
    # b_svm: defects 0.9, 0.5, 0.2 and good parts 0.6, 0.3, 0.1.
    [(0.1, 0.0, 1.0), (0.3, 0.3333, 0.6667), (0.31, 0.3333, 0.3333), (0.51, 0.6667, 0.3333), (0.95, 1.0, 0.0)],
)
def test_voters_are_judged_at_the_threshold(threshold, escape, overkill):
    svm = score_models(threshold)["b_svm"]
    assert (svm["escape_rate"], svm["overkill_rate"]) == (escape, overkill)


def test_the_ensemble_is_judged_by_its_verdicts_alone():
    low, high = (score_models(threshold)["ensemble"] for threshold in (0.1, 0.9))
    assert low == high


def test_mistakes_are_parts_that_end_on_the_wrong_side():
    table = PREDICTIONS.assign(verdict=["defective", "review", "non_defective", "review", "defective", "non_defective"])
    wrong = mistakes_of(table)
    assert wrong.index.tolist() == [2, 4]
    assert wrong["label"].tolist() == [1, 0]
    assert is_defective(wrong).tolist() == [True, False]
    assert len(mistakes_of(table[[False] * 6])) == 0


def test_voters_of():
    pd.testing.assert_frame_equal(voters_of(PREDICTIONS), PROBA)


def test_curves_by_hand():
    is_defect = np.array([True, False, True, False])
    tables = curves(is_defect, pd.DataFrame({"v": [0.9, 0.7, 0.7, 0.1]}), np.arange(4))
    assert list(tables) == ["roc", "precision_recall", "calibration"]
    # Falling threshold: nothing; 0.9 (one defect); 0.7 (the other defect and a good part); 0.1 (everything).
    roc = tables["roc"]
    assert list(roc) == ["voter", "false_positive_rate", "true_positive_rate", "order"]
    assert roc["false_positive_rate"].tolist() == [0.0, 0.0, 0.5, 1.0]
    assert roc["true_positive_rate"].tolist() == [0.0, 0.5, 1.0, 1.0]
    assert roc["order"].tolist() == [0, 1, 2, 3]
    # Rising threshold: all (2 of 4), 0.7 (2 of 3), 0.9 (1 of 1), and the end that scikit-learn adds.
    points = tables["precision_recall"]
    assert points["recall"].tolist() == [1.0, 1.0, 0.5, 0.0]
    assert points["precision"].tolist() == [0.5, 0.6667, 1.0, 1.0]
    calibration = tables["calibration"]
    assert calibration["predicted"].tolist() == [0.1, 0.7, 0.9]
    assert calibration["observed"].tolist() == [0.0, 0.5, 1.0]
    assert calibration["n_images"].tolist() == [1, 2, 1]
    # Wilson's interval of 0 of 1, 1 of 2 and 1 of 1.
    assert calibration["observed_low"].tolist() == pytest.approx([0, 0.0945, 0.2065], abs=1e-4)
    assert calibration["observed_high"].tolist() == pytest.approx([0.7935, 0.9055, 1], abs=1e-4)


def test_curves_name_every_voter_and_count_along_each():
    for table in curves(LABELS == 1, PROBA, np.arange(6)).values():
        assert list(table)[0] == "voter"
        assert table["voter"].drop_duplicates().tolist() == ["b_svm", "a_cnn"]
        assert table.index.tolist() == list(range(len(table)))
        for _, points in table.groupby("voter"):
            assert points["order"].tolist() == list(range(len(points)))
            assert points.select_dtypes("float").max(axis=None) <= 1


def test_curves_of_noise_stay_small():
    random = np.random.default_rng(0)
    labels = np.arange(2000) % 2
    tables = curves(labels == 1, pd.DataFrame({"v": np.round(random.uniform(size=2000), 6)}), np.arange(2000))
    assert len(tables["calibration"]) == 10
    for name in ("roc", "precision_recall"):
        assert len(tables[name]) < 1600  # points within a straight stretch are dropped
        assert (tables[name].select_dtypes("float").round(4) == tables[name].select_dtypes("float")).all(axis=None)


def test_leaderboard_is_ordered_by_area_then_name():
    scores = {
        "ensemble": {"roc_auc": 0.9, "f1": 0.1},
        "z": {"roc_auc": 0.95, "f1": 0.2},
        "b": {"roc_auc": 0.9, "f1": 0.3},
        "a": {"roc_auc": 0.9, "f1": 0.4},
        "worst": {"roc_auc": 0.5, "f1": 0.9},
    }
    table = leaderboard(scores)
    assert list(table) == ["voter", "roc_auc", "f1"]
    assert table["voter"].tolist() == ["z", "a", "b", "ensemble", "worst"]
    assert table["f1"].tolist() == [0.2, 0.4, 0.3, 0.1, 0.9]
    assert table.index.tolist() == [0, 1, 2, 3, 4]


def test_predictions_table():
    rows = pd.DataFrame({"path": [f"data/{index}.png" for index in range(6)], "label": LABELS}, index=range(10, 16))
    proba = PROBA.assign(b_svm=[1 / 3, *PROBA["b_svm"][1:]])
    table = predictions_table(rows, proba, VERDICTS)
    assert list(table) == [*VERDICT_COLUMNS, "b_svm", "a_cnn"]
    assert list(VERDICT_COLUMNS) == [
        "path", "actual", "verdict", "defect_proba", "confidence", "cause", "unlikeness"
    ]  # fmt: skip
    assert table["cause"].tolist() == ["vote"] * 6
    assert table["unlikeness"].tolist() == [0.0, 0.333333, 0.666667, 1.0, 1.333333, 1.666667]
    assert table["path"].tolist() == rows["path"].tolist()
    assert table["actual"].tolist() == ["defective"] * 3 + ["non_defective"] * 3
    assert table["verdict"].tolist() == [verdict.verdict for verdict in VERDICTS]
    assert table["defect_proba"].tolist() == [0.9, 0.65, 0.45, 0.5, 0.25, 0.1]
    assert table["confidence"].tolist() == [0.9, 0.65, 0.55, 0.5, 0.75, 0.9]
    assert table["b_svm"].tolist() == [0.333333, 0.5, 0.2, 0.6, 0.3, 0.1]
    assert table["a_cnn"].tolist() == PROBA["a_cnn"].tolist()
    assert not table.isna().any(axis=None)


def test_tables_behind_the_curves():
    tables = tabulate(PREDICTIONS, ROWS, score_models(0.5))
    assert list(tables) == [
        "roc", "precision_recall", "calibration", "leaderboard", "predictions", "rates_by_value", "tradeoff"
    ]  # fmt: skip
    for name in ("roc", "precision_recall", "calibration"):
        assert tables[name]["voter"].drop_duplicates().tolist() == ["b_svm", "a_cnn", "ensemble"]
    ensemble = tables["roc"][tables["roc"]["voter"] == "ensemble"].drop(columns="voter").reset_index(drop=True)
    of_verdicts = curves(LABELS == 1, PREDICTIONS[["defect_proba"]], np.arange(6))["roc"].drop(columns="voter")
    pd.testing.assert_frame_equal(ensemble, of_verdicts)
    assert sorted(tables["leaderboard"]["voter"]) == ["a_cnn", "b_svm", "ensemble"]
    assert tables["leaderboard"].notna().all(axis=None)
    assert tables["predictions"] is PREDICTIONS
    assert tables["rates_by_value"]["value"].tolist() == ["mono", "poly"]
    pd.testing.assert_frame_equal(tables["tradeoff"], tradeoff(LABELS == 1, PREDICTIONS["defect_proba"].to_numpy()))


def test_neighbours_are_training_images_with_their_labels():
    vectors = np.random.default_rng(0).normal(size=(24, 8)).astype(np.float32)
    paths = np.array([f"data/{index}.png" for index in range(24)])
    guard = fit_guard(vectors, paths, np.arange(24) % 3, 0.1)
    # As a manifest has them: more images, in another order.
    labels = pd.Series(np.append(np.arange(24)[::-1] % 2, [1, 1]), index=[*paths[::-1], "test/a.png", "test/b.png"])
    mistakes = pd.DataFrame({"path": ["test/b.png", "test/a.png"]})
    table = neighbour_table(guard, mistakes, vectors[[5, 20]], labels)
    assert list(table) == ["mistake", "path", "label", "distance"]
    assert table["mistake"].tolist() == ["test/b.png"] * 5 + ["test/a.png"] * 5
    for nearest, index in ((table.head(5), 5), (table.tail(5), 20)):
        assert nearest["path"].iloc[0] == f"data/{index}.png"
        assert nearest["distance"].is_monotonic_increasing
        assert nearest["label"].tolist() == [int(path[5:-4]) % 2 for path in nearest["path"]]
    nothing = neighbour_table(guard, mistakes.head(0), vectors[:0], labels)
    assert list(nothing) == list(table)
    assert len(nothing) == 0
