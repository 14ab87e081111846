"""Rates against tables computed by hand, published examples and brute force."""

import json

import numpy as np
import pytest

from inspection.decision.outcomes import Outcomes
from inspection.reports.tables.intervals import grouped_share_interval, share_interval
from inspection.reports.tables.metrics import (
    calibration_curve,
    calibration_intervals,
    escape_rate,
    expected_calibration_error,
    overkill_rate,
    per_thousand,
    summarise,
)


def outcomes(passes: np.ndarray, fails: np.ndarray) -> Outcomes:
    return Outcomes(passes, fails, ~passes & ~fails)


def alone(n_images: int) -> np.ndarray:
    """Each image a group of its own."""
    return np.arange(n_images)


def flags(text: str) -> np.ndarray:
    """``"101"`` as an array of bool."""
    return np.array([character == "1" for character in text])


@pytest.mark.parametrize(
    ("is_defect", "is_rejected", "escape", "overkill"),
    [
        # escape = FN / (FN + TP), overkill = FP / (FP + TN)
        ("11110000", "11100001", 1 / 4, 1 / 4),
        ("11110000", "00000000", 4 / 4, 0 / 4),
        ("11110000", "11111111", 0 / 4, 4 / 4),
        ("11110000", "11110000", 0.0, 0.0),
        ("11110000", "00001111", 1.0, 1.0),
        ("100", "011", 1 / 1, 2 / 2),
        ("1110", "0010", 2 / 3, 0 / 1),
        ("10", "10", 0.0, 0.0),
    ],
)
def test_escape_and_overkill(is_defect, is_rejected, escape, overkill):
    assert escape_rate(flags(is_defect), flags(is_rejected)) == pytest.approx(escape)
    assert overkill_rate(flags(is_defect), flags(is_rejected)) == pytest.approx(overkill)


@pytest.mark.parametrize(
    ("is_defect", "threshold", "escape"),
    # Scores 0.2, 0.5, 0.8, all defective: those >= threshold are rejected.
    [("111", 0.5, 1 / 3), ("111", np.nextafter(0.5, 1), 2 / 3), ("111", 0.8, 2 / 3), ("111", 0.2, 0.0)],
)
def test_score_at_the_threshold_is_rejected(is_defect, threshold, escape):
    scores = np.array([0.2, 0.5, 0.8])
    assert escape_rate(flags(is_defect), scores >= threshold) == pytest.approx(escape)


@pytest.mark.parametrize(
    ("rate", "is_defect", "is_rejected", "message"),
    [
        (escape_rate, "000", "010", "escape_rate needs at least one defective part"),
        (escape_rate, "0", "0", "escape_rate needs at least one defective part"),
        (overkill_rate, "111", "010", "overkill_rate needs at least one good part"),
        (overkill_rate, "1", "1", "overkill_rate needs at least one good part"),
        (escape_rate, "", "", r"two non-empty arrays of one shape \(n_images,\)"),
        (overkill_rate, "", "", "two non-empty arrays"),
        (escape_rate, "10", "1", r"got \(2,\) and \(1,\)"),
        (overkill_rate, "10", "101", r"got \(2,\) and \(3,\)"),
    ],
)
def test_rate_that_does_not_exist(rate, is_defect, is_rejected, message):
    with pytest.raises(ValueError, match=message):
        rate(flags(is_defect), flags(is_rejected))


@pytest.mark.parametrize("rate", [escape_rate, overkill_rate])
def test_rate_refuses_columns(rate):
    with pytest.raises(ValueError, match="two non-empty arrays"):
        rate(np.array([[True], [False]]), np.array([[True], [False]]))


@pytest.mark.parametrize(
    ("is_defect", "defect_proba", "error"),
    [
        ("1", [1.0], 0.0),
        ("0", [1.0], 1.0),
        ("1", [0.0], 1.0),
        ("0", [0.3], 0.3),
        ("01", [0.5, 0.5], 0.0),
        # Bins 0, 1 (twice) and 9 (twice): |0.05 - 0| + 2 * |0.15 - 1/2| + 2 * |(0.95 + 1.0)/2 - 1| = 0.05 + 0.7 + 0.05,
        # of 5 images.
        ("00111", [0.05, 0.15, 0.15, 0.95, 1.0], 0.8 / 5),
        # 0.1 and 0.19 share bin 1, 0.0999 lies in bin 0: |0.0999 - 1| + 2 * |0.145 - 0.5|, of 3.
        ("101", [0.0999, 0.1, 0.19], (0.9001 + 0.71) / 3),
        # Errors of opposite sign cancel within a bin (0.9: 1 of 2) but not across bins.
        ("0101", [0.9, 0.9, 0.1, 0.1], (2 * 0.4 + 2 * 0.4) / 4),
    ],
)
def test_expected_calibration_error(is_defect, defect_proba, error):
    assert expected_calibration_error(flags(is_defect), np.array(defect_proba)) == pytest.approx(error)


def test_expected_calibration_error_with_other_bins():
    # Two bins [0, 0.5) and [0.5, 1]: |(0 + 0.4)/2 - 1/2| * 2 + |(0.5 + 1)/2 - 1| * 2 = 0.6 + 0.5, of 4.
    error = expected_calibration_error(flags("0111"), np.array([0.0, 0.4, 0.5, 1.0]), n_bins=2)
    assert error == pytest.approx(1.1 / 4)


def test_calibration_curve():
    curve = calibration_curve(flags("0010111"), np.array([0.0, 0.04, 0.05, 0.3, 0.35, 0.99, 1.0]))
    assert curve["n_images"].tolist() == [3, 2, 2]
    assert curve["predicted"] == pytest.approx([0.03, 0.325, 0.995])
    assert curve["observed"] == pytest.approx([1 / 3, 1 / 2, 1.0])


def test_every_bin_begins_with_its_lower_edge():
    edges = np.arange(10) / 10
    curve = calibration_curve(np.ones(10, bool), edges)
    assert curve["n_images"].tolist() == [1] * 10
    assert curve["predicted"] == pytest.approx(edges)


def test_expected_calibration_error_of_calibrated_scores_is_small():
    random = np.random.default_rng(0)
    proba = random.uniform(size=20_000)
    is_defect = random.uniform(size=20_000) < proba
    assert expected_calibration_error(is_defect, proba) < 0.015
    # Squares understate: the mean of p - p**2 is 1/2 - 1/3.
    assert expected_calibration_error(is_defect, proba**2) == pytest.approx(1 / 6, abs=0.015)


KEYS = [
    "accuracy", "accuracy_low", "accuracy_high", "precision", "recall", "f1", "roc_auc", "roc_auc_low", "roc_auc_high",
    "average_precision", "escape_rate", "overkill_rate", "review_rate", "ece", "brier", "n_images", "n_groups",
]  # fmt: skip


def test_summarise_by_hand():
    is_defect = flags("1110000")
    proba = np.array([0.95, 0.55, 0.25, 0.65, 0.15, 0.05, 0.05])
    values = summarise(is_defect, proba, Outcomes.at_threshold(proba, 0.5), alone(7))
    assert list(values) == KEYS
    # TP 2, FN 1, FP 1, TN 3.
    assert values["accuracy"] == 0.7143  # 5/7
    assert (values["accuracy_low"], values["accuracy_high"]) == (0.3589, 0.9178)  # Wilson of 5/7
    assert values["precision"] == 0.6667  # 2/3
    assert values["recall"] == 0.6667  # 2/3
    assert values["f1"] == 0.6667
    # Of 12 pairs, 0.95 wins 4, 0.55 wins 3, 0.25 wins 3.
    assert values["roc_auc"] == 0.8333  # 10/12
    # Precision at each defect: 1/1, 2/3, 3/4, each worth a third.
    assert values["average_precision"] == 0.8056
    assert values["escape_rate"] == 0.3333  # 1/3
    assert values["overkill_rate"] == 0.25  # 1/4
    # One image a bin, but for two at 0.05: |0.95-1| + |0.55-1| + |0.25-1| + 0.65 + 0.15 + 2 * 0.05 = 2.15, of 7.
    assert values["ece"] == 0.3071
    # Squares of 0.05, 0.45, 0.75, 0.65, 0.15, 0.05 and 0.05: 1.2175, of 7.
    assert values["brier"] == 0.1739
    assert values["review_rate"] == 0.0
    assert (values["n_images"], values["n_groups"]) == (7, 7)


def test_a_review_does_not_pass_and_does_not_fail():
    # Defects: fails, review, passes. Good parts: fails, review, review, passes, passes.
    is_defect = flags("11100000")
    passes, fails = flags("00100011"), flags("10010000")
    values = summarise(is_defect, np.array([0.9, 0.5, 0.1, 0.8, 0.6, 0.4, 0.2, 0.1]), outcomes(passes, fails), alone(8))
    assert values["escape_rate"] == 0.3333  # 1/3: the review does not escape
    assert values["overkill_rate"] == 0.2  # 1/5: a person may still pass the two
    assert values["review_rate"] == 0.375  # 3/8
    # Reviews count as called defective: 2 of 3 defects found, 2 of 5 good parts passed.
    assert values["accuracy"] == 0.5
    assert values["recall"] == 0.6667
    assert values["precision"] == 0.4  # 2 of 5 that do not pass


@pytest.mark.parametrize(("passes", "fails"), [("0000", "0000"), ("0000", "1100"), ("0011", "0000")])
def test_who_reviews_everything_lets_nothing_escape_and_scraps_nothing(passes, fails):
    values = summarise(flags("1100"), np.array([0.9, 0.8, 0.2, 0.1]), outcomes(flags(passes), flags(fails)), alone(4))
    assert (values["escape_rate"], values["overkill_rate"]) == (0.0, 0.0)
    assert values["review_rate"] == 1 - (passes.count("1") + fails.count("1")) / 4


def test_per_thousand_by_hand():
    # Of 200 parts 20 are defective: 3 of them pass, 2 go to review. Of the 180 good ones 5 fail, 10 go to review.
    is_defect = np.arange(200) < 20
    passes = (np.arange(200) < 3) | (np.arange(200) >= 35)
    reviews = ((np.arange(200) >= 3) & (np.arange(200) < 5)) | ((np.arange(200) >= 20) & (np.arange(200) < 30))
    values = per_thousand(is_defect, outcomes(passes, ~passes & ~reviews), alone(200))
    assert {name: values[name] for name in ("escapes", "overkill", "reviews")} == {
        "escapes": 15.0,
        "overkill": 25.0,
        "reviews": 60.0,
    }
    for name, n_hits in (("escapes", 3), ("overkill", 5), ("reviews", 12)):
        expected = [round(1000 * bound, 1) for bound in share_interval(n_hits, 200)]
        assert [values[f"{name}_low"], values[f"{name}_high"]] == expected
    # Wilson's interval of 3 of 200, written out: 0.0051 to 0.0432.
    assert (values["escapes_low"], values["escapes_high"]) == (5.1, 43.2)
    assert len(values) == 9


def test_per_thousand_when_nothing_goes_wrong():
    values = per_thousand(flags("1100"), outcomes(flags("0011"), flags("1100")), alone(4))
    assert [values[name] for name in ("escapes", "overkill", "reviews")] == [0.0, 0.0, 0.0]
    # Wilson with no hit: z**2 / (n + z**2) = 3.8415 / 7.8415.
    assert values["escapes_high"] == values["reviews_high"] == 489.9
    assert json.loads(json.dumps(values)) == values


def test_summarise_is_plain_and_rounded():
    random = np.random.default_rng(0)
    is_defect = np.arange(30) % 2 == 0
    proba = random.uniform(size=30)
    values = summarise(is_defect, proba, outcomes(proba < 0.4, proba >= 0.6), np.arange(30) // 2)
    assert json.loads(json.dumps(values)) == values
    assert type(values.pop("n_images")) is type(values.pop("n_groups")) is int
    assert all(type(value) is float and round(value, 4) == value for value in values.values())


@pytest.mark.parametrize(
    ("is_rejected", "precision", "recall", "f1", "escape", "overkill"),
    [("0000", 0.0, 0.0, 0.0, 1.0, 0.0), ("1111", 0.5, 1.0, 0.6667, 0.0, 1.0), ("1100", 1.0, 1.0, 1.0, 0.0, 0.0)],
)
def test_summarise_when_all_or_none_are_rejected(is_rejected, precision, recall, f1, escape, overkill):
    values = summarise(
        flags("1100"),
        np.array([0.9, 0.8, 0.2, 0.1]),
        outcomes(~flags(is_rejected), flags(is_rejected)),
        alone(4),
    )
    assert [values[name] for name in ("precision", "recall", "f1")] == [precision, recall, f1]
    assert [values[name] for name in ("escape_rate", "overkill_rate")] == [escape, overkill]


@pytest.mark.parametrize("is_defect", ["1111", "1110"])
def test_summarise_needs_good_parts(is_defect):
    with pytest.raises(ValueError, match="needs two parts of each class"):
        summarise(flags(is_defect), np.array([0.9, 0.8, 0.2, 0.1]), outcomes(flags("0011"), flags("1100")), alone(4))


@pytest.mark.parametrize("is_defect", ["0000", "1000"])
def test_of_fewer_than_two_defects_nothing_is_said(is_defect):
    proba, verdicts = np.array([0.9, 0.8, 0.2, 0.1]), outcomes(flags("0011"), flags("1100"))
    values = summarise(flags(is_defect), proba, verdicts, alone(4))
    unknown = {name for name, value in values.items() if value is None}
    assert unknown == {
        "precision", "recall", "f1", "roc_auc", "roc_auc_low", "roc_auc_high", "average_precision", "escape_rate",
    }  # fmt: skip
    assert list(values) == list(summarise(flags("1100"), proba, verdicts, alone(4))), "the same keys for any model"
    assert values["overkill_rate"] == pytest.approx(2 / 4 if is_defect == "0000" else 1 / 3, abs=1e-4)


def test_groups_widen_every_interval():
    # 40 parts taken five times each, the pictures of a part alike; and as many parts taken once.
    random = np.random.default_rng(0)
    is_defect, noise = np.arange(40) % 3 == 0, random.normal(size=40)
    proba = 1 / (1 + np.exp(-noise - 1.5 * is_defect))
    groups = np.repeat(np.arange(40), 5)
    taken = [np.repeat(values, 5) for values in (is_defect, proba)]
    once = summarise(is_defect, proba, outcomes(proba < 0.4, proba >= 0.7), alone(40))
    five_times = summarise(*taken, outcomes(taken[1] < 0.4, taken[1] >= 0.7), groups)
    as_if_alone = summarise(*taken, outcomes(taken[1] < 0.4, taken[1] >= 0.7), alone(200))
    assert (five_times["n_images"], five_times["n_groups"]) == (200, 40)
    for name in ("accuracy", "roc_auc"):
        width, width_once, width_alone = (
            values[f"{name}_high"] - values[f"{name}_low"] for values in (five_times, once, as_if_alone)
        )
        assert five_times[name] == once[name]
        assert width == pytest.approx(width_once, rel=0.06), "five pictures of a part say what one says"
        assert width > 1.9 * width_alone
    thousand = per_thousand(taken[0], outcomes(taken[1] < 0.4, taken[1] >= 0.7), groups)
    low, high = grouped_share_interval(taken[0] & (taken[1] < 0.4), groups)
    assert (thousand["escapes_low"], thousand["escapes_high"]) == (round(1000 * low, 1), round(1000 * high, 1))


def test_calibration_intervals_follow_the_bins():
    # Two bins: four images of 0.25, one of them defective, and one image of 0.9, defective.
    proba, is_defect = np.array([0.25, 0.9, 0.25, 0.25, 0.25]), flags("11000")
    bounds = calibration_intervals(is_defect, proba, alone(5))
    assert bounds["observed_low"] == pytest.approx([0.0456, 0.2065], abs=1e-4)
    assert bounds["observed_high"] == pytest.approx([0.6994, 1], abs=1e-4)
    # Two parts taken twice: no more than two observations, and hardly known.
    twice = calibration_intervals(is_defect, proba, np.array([0, 9, 0, 1, 1]))
    assert twice["observed_low"][0] < 0.03
    assert twice["observed_high"][0] > 0.8
