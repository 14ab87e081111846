"""Intervals against published examples, brute force and simulation, with and without groups."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm, t
from sklearn.metrics import roc_auc_score

from inspection.reports.tables.intervals import (
    bootstrap_interval,
    effective_number,
    grouped_share_interval,
    roc_auc_interval,
    share_interval,
)


def flags(text: str) -> np.ndarray:
    """``"101"`` as an array of bool."""
    return np.array([character == "1" for character in text])


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
    ("n_hits", "n_images", "message"), [(0, 0, "0 of 0 images"), (3, 2, "3 of 2 images"), (-1, 2, "-1 of 2 images")]
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
    area, low, high = roc_auc_interval(is_defect, scores, confidence=confidence)
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


@pytest.mark.parametrize("n_images", [1, 7, 100])
def test_wilson_interval_is_scipys_for_whole_numbers(n_images):
    for n_hits in range(n_images + 1):
        expected = binomtest(n_hits, n_images).proportion_ci(0.9, method="wilson")
        assert share_interval(n_hits, n_images, 0.9) == pytest.approx((expected.low, expected.high), abs=1e-12)


# Groups


def widened(n_images: int, n_groups: int) -> float:
    return (t.ppf(0.975, n_groups - 1) / t.ppf(0.975, n_images - 1)) ** 2


@pytest.mark.parametrize(
    ("hits", "groups", "n_effective"),
    [
        # Every image alone: all of them count.
        ("1100", "abcd", 4),
        ("0000", "abcd", 4),
        # Pairs alike: between groups 3 / 2 * (2 * 2/3)^2 + 2 * (2 * 1/3)^2 = 3 / 2 * 24 / 9 / 36 = 1/9, and of six
        # independent ones 2/9 / 5 = 2/45: a design effect of 2.5.
        ("110000", "aabbcc", 6 / 2.5 / widened(6, 3)),
        # Pairs that differ: a design effect below 1 is chance.
        ("101010", "aabbcc", 6 / widened(6, 3)),
        # No hit: members of a group are one observation, 6^2 / (3^2 + 2^2 + 1).
        ("000000", "aaabbc", 36 / 14 / widened(6, 3)),
        ("111111", "aaabbc", 36 / 14 / widened(6, 3)),
        # Groups too few to know their variance, and one alone, say no less than one image.
        ("1100", "aabb", 1),
        ("1100", "aaaa", 1),
    ],
)  # fmt: skip
def test_effective_number_by_hand(hits, groups, n_effective):
    assert effective_number(flags(hits), np.array(list(groups))) == pytest.approx(max(1, n_effective))


def test_single_photographs_are_independent():
    random = np.random.default_rng(0)
    is_hit, scores = random.uniform(size=50) < 0.3, random.normal(size=50)
    names = random.permutation(50).astype(str)
    assert grouped_share_interval(is_hit, names) == share_interval(int(is_hit.sum()), 50)
    assert roc_auc_interval(is_hit, scores, names) == pytest.approx(roc_auc_interval(is_hit, scores), abs=1e-12)


@pytest.mark.parametrize("confidence", [0.95, 0.8])
def test_shares_of_groups_cover_the_truth(confidence):
    # 60 groups of five photographs with one outcome each, which happens in 20 % of the groups.
    random, groups = np.random.default_rng(0), np.repeat(np.arange(60), 5)
    n_covered, n_as_if_alone = 0, 0
    for _ in range(400):
        is_hit = (random.uniform(size=60) < 0.2)[groups]
        low, high = grouped_share_interval(is_hit, groups, confidence)
        n_covered += low <= 0.2 <= high
        low, high = share_interval(int(is_hit.sum()), 300, confidence)
        n_as_if_alone += low <= 0.2 <= high
    spread = np.sqrt(400 * confidence * (1 - confidence))
    assert abs(n_covered - 400 * confidence) < 4 * spread
    assert n_as_if_alone < 400 * confidence - 10 * spread, "photographs are no parts"


@pytest.mark.parametrize("is_mixed", [False, True])
def test_areas_of_groups_cover_the_truth(is_mixed):
    # Scores of a group share most of their deviation. The true area is Phi(1 / sqrt(2)).
    random, groups = np.random.default_rng(1), np.repeat(np.arange(45), 5)
    n_covered, n_as_if_alone = 0, 0
    for _ in range(300):
        is_defect = random.uniform(size=225) < 1 / 3 if is_mixed else groups % 3 == 0
        shared = random.normal(size=45)[groups]
        scores = np.sqrt(0.8) * shared + np.sqrt(0.2) * random.normal(size=225) + is_defect
        _, low, high = roc_auc_interval(is_defect, scores, groups)
        n_covered += low <= norm.cdf(1 / np.sqrt(2)) <= high
        _, low, high = roc_auc_interval(is_defect, scores)
        n_as_if_alone += low <= norm.cdf(1 / np.sqrt(2)) <= high
    # 95 % of 300 are 285, with a standard deviation of 3.8.
    assert 270 <= n_covered <= 298
    assert n_as_if_alone < n_covered
    assert is_mixed or n_as_if_alone < 240


def test_area_of_groups_by_brute_force():
    # Obuchowski's variance written out over groups of several sizes, some of one class and some of both.
    random = np.random.default_rng(2)
    groups = np.repeat(np.arange(12), random.integers(1, 6, 12))
    is_defect = random.uniform(size=len(groups)) < np.where(groups % 3 == 0, 0.8, 0.15)
    scores = random.normal(size=12)[groups] + random.normal(size=len(groups)) + is_defect
    bad, good = np.flatnonzero(is_defect), np.flatnonzero(~is_defect)
    wins = np.array([[scores[b] > scores[g] for g in good] for b in bad], float)
    area, of_bad, of_good = wins.mean(), wins.mean(axis=1), wins.mean(axis=0)
    with_bad, with_good = set(groups[bad]), set(groups[good])
    sums = {
        group: (sum((of_bad - area)[groups[bad] == group]), sum((of_good - area)[groups[good] == group]))
        for group in range(12)
    }
    bads = len(with_bad) / (len(with_bad) - 1) * sum(value[0] ** 2 for value in sums.values()) / len(bad) ** 2
    goods = len(with_good) / (len(with_good) - 1) * sum(value[1] ** 2 for value in sums.values()) / len(good) ** 2
    both = 12 / 11 * sum(value[0] * value[1] for value in sums.values()) / (len(bad) * len(good))
    variance = bads + goods + 2 * both
    assert variance > brute_force_auc(is_defect, scores)[1], "or the larger one would be taken"
    z = 1.959964 * np.sqrt(widened(len(groups), 12))
    found, low, high = roc_auc_interval(is_defect, scores, groups)
    assert found == pytest.approx(area)
    assert (low, high) == pytest.approx(logit_bounds(area, variance, z), rel=1e-6)


@pytest.mark.parametrize(
    ("groups", "scores", "expected"),
    [
        # Separated classes of three and two groups: the rule of three says nothing about two.
        ("aabbccddee", "9999991111", (1.0, 0.0, 1.0)),
        # All defects are one part.
        ("aaaaabcdef", "9182736450", (0.0, 1.0)),
    ],
)
def test_areas_of_few_groups_claim_little(groups, scores, expected):
    is_defect = np.arange(10) < (6 if len(expected) == 3 else 5)
    found = roc_auc_interval(is_defect, np.array(list(scores), float), np.array(list(groups)))
    assert found[-len(expected) :] == expected


def test_a_part_of_a_hit_counts_in_part():
    # Four of eight independent photographs hit by half: the share is 1/4, and its variance less than that of misses.
    is_hit = np.array([0.5, 0] * 4)
    assert grouped_share_interval(is_hit, np.arange(8)) == pytest.approx(share_interval(2, 8))


@pytest.mark.parametrize(
    ("n_groups", "tail"),
    # Phi(-sqrt(n / (n - 1)) * t): Student's quantiles are 4.3027, 2.2622 and 1.9842, so z is 5.2697, 2.3845 and 1.9942.
    [(3, 0.0000), (10, 0.0086), (100, 0.0231)],
)
def test_bootstrap_interval_by_hand(n_groups, tail):
    # Of the numbers from 0 to 1 in order, a quantile is its own probability.
    low, high = bootstrap_interval(0.5, np.linspace(0, 1, 10_001), n_groups)
    assert (low, high) == pytest.approx((tail, 1 - tail), abs=5e-5)


def test_bootstrap_interval_contains_the_value():
    assert bootstrap_interval(0.9, np.linspace(0.2, 0.4, 100), 50)[1] == 0.9
    assert bootstrap_interval(0.1, np.linspace(0.2, 0.4, 100), 50)[0] == 0.1


@pytest.mark.parametrize(
    ("value", "n_groups", "bounds"),
    [(1.0, 10, (0.7, 1.0)), (0.0, 10, (0.0, 0.3)), (1.0, 2, (0.0, 1.0)), (0.6, 10, (0.0, 1.0)), (1.0, 1, (0.0, 1.0))],
)
def test_bootstrap_interval_of_draws_that_are_all_equal(value, n_groups, bounds):
    assert bootstrap_interval(value, np.full(20, value), n_groups) == pytest.approx(bounds)


def test_bootstrap_interval_of_one_group_claims_nothing():
    assert bootstrap_interval(0.4, np.linspace(0.3, 0.5, 20), 1) == (0, 1)


def test_bootstrap_interval_covers_the_truth_with_few_groups():
    random = np.random.default_rng(0)
    n_covered = 0
    for _ in range(400):
        sample = random.normal(0.5, 0.1, 8)
        drawn = sample[random.integers(0, 8, (1000, 8))].mean(axis=1)
        low, high = bootstrap_interval(sample.mean(), drawn, 8)
        n_covered += low <= 0.5 <= high
    # Plain percentiles reach 89 %. 95 % of 400 are 380, with a standard deviation of 4.4.
    assert 366 <= n_covered <= 394
