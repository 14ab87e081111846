"""Rates against tables computed by hand, published examples and brute force."""

import json

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from inspection.reports.tables.metrics import (
    brier_score,
    calibration_curve,
    escape_rate,
    expected_calibration_error,
    overkill_rate,
    per_thousand,
    roc_auc_interval,
    share_interval,
    summarise,
)


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


@pytest.mark.parametrize(
    ("n_hits", "n_images", "low", "high"),
    [
        # Newcombe 1998, Statistics in Medicine 17, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        # With no hit the bounds are 0 and z**2 / (n + z**2) = 3.8415 / 13.8415.
        (0, 10, 0.0000, 0.2775),
        (10, 10, 0.7225, 1.0000),
        (5, 10, 0.2366, 0.7634),
        (0, 1, 0.0000, 0.7935),
        (1, 1, 0.2065, 1.0000),
    ],
)
def test_wilson_interval(n_hits, n_images, low, high):
    assert share_interval(n_hits, n_images) == pytest.approx((low, high), abs=5e-5)


def test_wilson_interval_of_another_confidence():
    # z = 1.6449: z**2 / (10 + z**2) = 2.7055 / 12.7055.
    assert share_interval(0, 10, confidence=0.9) == pytest.approx((0, 0.2129), abs=5e-5)


@pytest.mark.parametrize(
    ("n_hits", "n_images", "message"), [(0, 0, "not less than 1"), (3, 2, "greater than"), (-1, 2, "not less than 0")]
)
def test_wilson_interval_of_no_share(n_hits, n_images, message):
    with pytest.raises(ValueError, match=message):
        share_interval(n_hits, n_images)


def brute_force_auc(is_defect, scores):
    """Area and its variance by DeLong's definition, comparing every defect with every good part."""
    bad, good = scores[is_defect], scores[~is_defect]
    wins = np.array([[1.0 if b > g else 0.5 if b == g else 0.0 for g in good] for b in bad])
    area = wins.mean()
    of_bad, of_good = wins.mean(axis=1), wins.mean(axis=0)
    variance = sum((of_bad - area) ** 2) / (len(bad) - 1) / len(bad)
    variance += sum((of_good - area) ** 2) / (len(good) - 1) / len(good)
    return area, variance


def logit_bounds(area, variance, z):
    """The interval on the logit scale, mapped back: odds times and divided by exp(margin)."""
    factor = np.exp(z * np.sqrt(variance) / (area * (1 - area)))
    odds = area / (1 - area)
    return odds / factor / (1 + odds / factor), odds * factor / (1 + odds * factor)


def test_auc_interval_by_hand():
    # Defects score 3 and 2, good parts 1 and 2. Wins: 3 beats both, 2 beats 1 and ties with 2: (2 + 1.5) / 4 = 0.875.
    # Shares of the defects 1 and 0.75, of the good parts 1 and 0.75: variance 2 * (2 * 0.125**2 / 1) / 2 = 0.03125.
    area, low, high = roc_auc_interval(flags("1100"), np.array([3.0, 2.0, 1.0, 2.0]))
    assert area == 0.875
    assert (low, high) == pytest.approx(logit_bounds(0.875, 0.03125, 1.959964))
    assert (low, high) == pytest.approx((0.2276, 0.9940), abs=5e-5)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("decimals", [1, 2, 8])
@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_auc_interval_against_brute_force(seed, decimals, confidence):
    random = np.random.default_rng(seed)
    is_defect = random.uniform(size=60) < 0.3
    scores = np.round(random.normal(size=60) + is_defect, decimals)  # one decimal gives many ties
    area, low, high = roc_auc_interval(is_defect, scores, confidence)
    expected, variance = brute_force_auc(is_defect, scores)
    assert area == pytest.approx(expected)
    assert area == pytest.approx(roc_auc_score(is_defect, scores))
    assert (low, high) == pytest.approx(logit_bounds(expected, variance, norm.ppf((1 + confidence) / 2)))
    assert 0 < low < area < high < 1


def test_auc_interval_does_not_depend_on_the_order_or_scale():
    random = np.random.default_rng(1)
    is_defect = np.arange(40) % 3 == 0
    scores = random.normal(size=40) + is_defect
    shuffled = random.permutation(40)
    assert roc_auc_interval(is_defect[shuffled], np.exp(scores[shuffled])) == pytest.approx(
        roc_auc_interval(is_defect, scores)
    )


def test_auc_interval_covers_the_truth():
    # Normal scores one standard deviation apart: the true area is Phi(1 / sqrt(2)) = 0.7602.
    random = np.random.default_rng(0)
    is_defect = np.arange(120) < 40
    n_covered = 0
    for _ in range(400):
        _, low, high = roc_auc_interval(is_defect, random.normal(size=120) + is_defect)
        n_covered += low <= norm.cdf(1 / np.sqrt(2)) <= high
    # 95 % of 400 are 380, with a standard deviation of 4.4.
    assert 366 <= n_covered <= 394


@pytest.mark.parametrize(
    ("n_bad", "n_good", "slack"),
    # Rule of three on the smaller class, and never more than the whole range.
    [(10, 5, 0.6), (5, 10, 0.6), (30, 60, 0.1), (3, 3, 1.0), (2, 2, 1.0)],
)
def test_auc_interval_of_separated_classes(n_bad, n_good, slack):
    is_defect = np.arange(n_bad + n_good) < n_bad
    assert roc_auc_interval(is_defect, is_defect.astype(float)) == pytest.approx((1.0, 1 - slack, 1.0))
    assert roc_auc_interval(is_defect, 1.0 - is_defect) == pytest.approx((0.0, 0.0, slack))


def test_auc_interval_of_one_score_for_all_claims_no_certainty():
    area, low, high = roc_auc_interval(flags("1100"), np.full(4, 0.3))
    assert area == 0.5
    assert low < 0.5 < high


@pytest.mark.parametrize(
    ("is_defect", "n_scores", "message"),
    [
        ("1000", 4, "two parts of each class, got 1 defective, 3 good"),
        ("1110", 4, "two parts of each class, got 3 defective, 1 good"),
        ("0000", 4, "got 0 defective, 4 good"),
        ("1", 1, "got 1 defective, 0 good"),
        ("", 0, "two non-empty arrays"),
        ("1100", 3, r"got \(4,\) and \(3,\)"),
    ],
)
def test_auc_interval_needs_two_of_each(is_defect, n_scores, message):
    with pytest.raises(ValueError, match=message):
        roc_auc_interval(flags(is_defect), np.linspace(0, 1, n_scores))


KEYS = [
    "accuracy", "accuracy_low", "accuracy_high", "precision", "recall", "f1", "roc_auc", "roc_auc_low", "roc_auc_high",
    "average_precision", "escape_rate", "overkill_rate", "review_rate", "ece", "brier", "n_images",
]  # fmt: skip


def test_summarise_by_hand():
    is_defect = flags("1110000")
    proba = np.array([0.95, 0.55, 0.25, 0.65, 0.15, 0.05, 0.05])
    values = summarise(is_defect, proba, proba < 0.5, proba >= 0.5)
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
    assert values["n_images"] == 7


def test_a_review_does_not_pass_and_does_not_fail():
    # Defects: fails, review, passes. Good parts: fails, review, review, passes, passes.
    is_defect = flags("11100000")
    passes, fails = flags("00100011"), flags("10010000")
    values = summarise(is_defect, np.array([0.9, 0.5, 0.1, 0.8, 0.6, 0.4, 0.2, 0.1]), passes, fails)
    assert values["escape_rate"] == 0.3333  # 1/3: the review does not escape
    assert values["overkill_rate"] == 0.2  # 1/5: a person may still pass the two
    assert values["review_rate"] == 0.375  # 3/8
    # Reviews count as called defective: 2 of 3 defects found, 2 of 5 good parts passed.
    assert values["accuracy"] == 0.5
    assert values["recall"] == 0.6667
    assert values["precision"] == 0.4  # 2 of 5 that do not pass


@pytest.mark.parametrize(("passes", "fails"), [("0000", "0000"), ("0000", "1100"), ("0011", "0000")])
def test_who_reviews_everything_lets_nothing_escape_and_scraps_nothing(passes, fails):
    values = summarise(flags("1100"), np.array([0.9, 0.8, 0.2, 0.1]), flags(passes), flags(fails))
    assert (values["escape_rate"], values["overkill_rate"]) == (0.0, 0.0)
    assert values["review_rate"] == 1 - (passes.count("1") + fails.count("1")) / 4


@pytest.mark.parametrize(
    ("is_defect", "proba", "score"),
    [
        ("1", [1.0], 0.0),
        ("1", [0.0], 1.0),
        ("10", [0.5, 0.5], 0.25),
        ("101", [0.9, 0.2, 0.6], (0.01 + 0.04 + 0.16) / 3),
    ],
)
def test_brier_score(is_defect, proba, score):
    assert brier_score(flags(is_defect), np.array(proba)) == pytest.approx(score)


def test_brier_score_needs_one_probability_a_part():
    with pytest.raises(ValueError, match=r"got \(2,\) and \(1,\)"):
        brier_score(flags("10"), np.array([0.5]))


def test_per_thousand_by_hand():
    # Of 200 parts 20 are defective: 3 of them pass, 2 go to review. Of the 180 good ones 5 fail, 10 go to review.
    is_defect = np.arange(200) < 20
    passes = (np.arange(200) < 3) | (np.arange(200) >= 35)
    reviews = ((np.arange(200) >= 3) & (np.arange(200) < 5)) | ((np.arange(200) >= 20) & (np.arange(200) < 30))
    values = per_thousand(is_defect, passes, ~passes & ~reviews)
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
    values = per_thousand(flags("1100"), flags("0011"), flags("1100"))
    assert [values[name] for name in ("escapes", "overkill", "reviews")] == [0.0, 0.0, 0.0]
    # Wilson with no hit: z**2 / (n + z**2) = 3.8415 / 7.8415.
    assert values["escapes_high"] == values["reviews_high"] == 489.9
    assert json.loads(json.dumps(values)) == values


def test_summarise_is_plain_and_rounded():
    random = np.random.default_rng(0)
    is_defect = np.arange(30) % 2 == 0
    proba = random.uniform(size=30)
    values = summarise(is_defect, proba, proba < 0.4, proba >= 0.6)
    assert json.loads(json.dumps(values)) == values
    assert type(values.pop("n_images")) is int
    assert all(type(value) is float and round(value, 4) == value for value in values.values())


@pytest.mark.parametrize(
    ("is_rejected", "precision", "recall", "f1", "escape", "overkill"),
    [("0000", 0.0, 0.0, 0.0, 1.0, 0.0), ("1111", 0.5, 1.0, 0.6667, 0.0, 1.0), ("1100", 1.0, 1.0, 1.0, 0.0, 0.0)],
)
def test_summarise_when_all_or_none_are_rejected(is_rejected, precision, recall, f1, escape, overkill):
    values = summarise(flags("1100"), np.array([0.9, 0.8, 0.2, 0.1]), ~flags(is_rejected), flags(is_rejected))
    assert [values[name] for name in ("precision", "recall", "f1")] == [precision, recall, f1]
    assert [values[name] for name in ("escape_rate", "overkill_rate")] == [escape, overkill]


@pytest.mark.parametrize("is_defect", ["1111", "0000", "1110", "1000"])
def test_summarise_needs_two_of_each_class(is_defect):
    with pytest.raises(ValueError, match="needs two parts of each class"):
        summarise(flags(is_defect), np.array([0.9, 0.8, 0.2, 0.1]), flags("0011"), flags("1100"))
