"""One probability from all voters: what each is worth is found, none counts against itself, no fold judges itself."""

import math

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.metrics import roc_auc_score

from inspection.decision.combination import (
    HALF_TRUST,
    Combination,
    combine_across_folds,
    fit_combination,
    mean_log_odds,
    vote_weights,
)


def votes_of(labels, strengths, noise=1.0, seed=0):
    """P(defective) of voters that see the label, each with its own strength and noise; shape (n_images, n_voters)."""
    random = np.random.default_rng(seed)
    return expit(np.outer(2 * labels - 1, strengths) + noise * random.normal(size=(len(labels), len(strengths))))


def fit(proba, labels, weights=None, groups=None, is_detector=None):
    """Fit a combination; without more, of images that weigh and count alike and of voters that learn from defects."""
    weights = np.ones(len(labels)) if weights is None else weights
    groups = np.arange(len(labels)).astype(str) if groups is None else groups
    is_detector = np.zeros(proba.shape[1], bool) if is_detector is None else is_detector
    return fit_combination(proba, labels, weights, groups, is_detector)


def combine(proba, labels, weights, folds):
    """`combine_across_folds` of such images and voters."""
    groups = np.arange(len(labels)).astype(str)
    return combine_across_folds(proba, labels, weights, folds, groups, np.zeros(proba.shape[1], bool))


def test_probability_by_hand():
    # Odds of 0.8 are 4, of 0.2 a quarter: 4**2 * (1/4)**0.5 * e**0.5 = 8 * e**0.5.
    odds = 8 * math.exp(0.5)
    proba = Combination((2.0, 0.5), 0.5).defect_proba(np.array([[0.8, 0.2], [0.5, 0.5]]))
    assert proba == pytest.approx([odds / (1 + odds), expit(0.5)])


def test_no_voter_is_infinitely_sure():
    combined = Combination((1.0, 1.0), 0.0).defect_proba(np.array([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0], [1.0, 0.2]]))
    # 0 counts as 0.0001 and 1 as 0.9999: odds of 9999.
    assert combined == pytest.approx([0.5, 1 / (1 + 9999**2), 1 - 1 / (1 + 9999**2), 1 - 1 / (1 + 9999 / 4)])
    assert ((combined > 0) & (combined < 1)).all()


@pytest.mark.parametrize("n_voters", [1, 2, 7])
def test_mean_log_odds_trusts_all_equally(n_voters):
    combination = mean_log_odds(n_voters)
    same = np.full((1, n_voters), 0.3)
    assert combination.defect_proba(same) == pytest.approx([0.3])
    random = np.random.default_rng(0).uniform(0.01, 0.99, (20, n_voters))
    assert logit(combination.defect_proba(random)) == pytest.approx(logit(random).mean(1))


def test_no_images():
    assert mean_log_odds(3).defect_proba(np.empty((0, 3))).shape == (0,)


def test_a_known_combination_is_found():
    random = np.random.default_rng(0)
    log_odds = random.normal(0, 1.5, (30_000, 3))
    labels = (random.uniform(size=30_000) < expit(log_odds @ [0.9, 0.6, 0.3] + 0.4)).astype(int)
    found = fit(expit(log_odds), labels, np.ones(30_000))
    # Drawn a little towards their mean, 0.6.
    assert found.coefficients == pytest.approx([0.9, 0.6, 0.3], abs=0.06)
    assert found.intercept == pytest.approx(0.4, abs=0.05)


def test_voters_that_repeat_one_another_share_its_weight():
    random = np.random.default_rng(0)
    one = random.normal(0, 1.5, (20_000, 1))
    labels = (random.uniform(size=20_000) < expit(one[:, 0])).astype(int)
    found = fit(expit(np.hstack([one, one, one])), labels, np.ones(20_000))
    assert found.coefficients == pytest.approx([1 / 3] * 3, abs=0.03)


def test_a_useless_voter_gets_about_nothing():
    labels = np.arange(4000) % 2
    found = fit(votes_of(labels, [1.0, 1.0, 0.0]), labels, np.ones(4000))
    assert found.coefficients[2] < 0.1 * min(found.coefficients[:2])


@pytest.mark.parametrize("n_images", [0, 1, 40])
@pytest.mark.parametrize("label", [0, 1])
def test_without_one_class_all_voters_are_trusted_equally(label, n_images):
    proba = np.random.default_rng(0).uniform(0.1, 0.9, (n_images, 3))
    assert fit(proba, np.full(n_images, label), is_detector=np.array([True, False, True])) == mean_log_odds(3)


@pytest.mark.parametrize(("n_defects", "trust"), [(1, 1 / 6), (5, 1 / 2), (95, 19 / 20)])
def test_among_voters_that_say_the_same_a_classifier_counts_by_the_defects_it_learned_from(n_defects, trust):
    assert HALF_TRUST == 5
    labels = np.repeat([0, 1], [400, n_defects])
    # Nothing but the prior tells them apart.
    same = np.repeat(votes_of(labels, [0.5]), 3, axis=1)
    found = fit(same, labels, is_detector=np.array([True, False, False]))
    assert found.coefficients[1] == pytest.approx(trust * found.coefficients[0], rel=1e-3)
    assert found.coefficients[2] == pytest.approx(found.coefficients[1], rel=1e-3)


def lead(n_good, n_defects, strengths):
    """How far the first of two coefficients is above the second, as a share of both; mean over ten draws."""
    labels = np.repeat([0, 1], [n_good, n_defects])
    found = [fit(votes_of(labels, strengths, noise=1.2, seed=seed), labels).coefficients for seed in range(10)]
    return np.mean([(first - second) / (first + second) for first, second in found])


def test_coefficients_are_the_freer_the_more_defects_there_are():
    leads = [lead(2000, n_defects, [1.0, 0.1]) for n_defects in (2, 8, 32, 512)]
    assert leads == sorted(leads)
    assert leads[0] < 0.4
    assert leads[-1] > 0.6


def test_more_good_parts_alone_free_little():
    few, many = (lead(n_good, 5, [1.0, 0.0]) for n_good in (300, 6000))
    with_defects = lead(300, 100, [1.0, 0.0])
    assert many - few < 0.3 * (with_defects - few)


def test_photographs_of_one_defect_are_one_defect():
    labels = np.repeat([0, 1], [300, 60])
    proba, detectors = votes_of(labels, [1.0, 0.2, 0.6]), np.array([True, False, False])
    one_each = fit(proba, labels, is_detector=detectors)
    of_six = fit(
        proba, labels, groups=np.array([f"part {number // 6}" for number in range(360)]), is_detector=detectors
    )
    of_all = fit(proba, labels, groups=np.repeat(["good", "bad"], [300, 60]), is_detector=detectors)
    # The fewer parts, the nearer to the proportions before the fit: 60, 10 and 1 of them give 12/13, 2/3 and 1/6.
    distances = []
    for found, trust in ((one_each, 12 / 13), (of_six, 2 / 3), (of_all, 1 / 6)):
        direction, coefficients = np.array([1, trust, trust]), np.array(found.coefficients)
        cosine = coefficients @ direction / np.linalg.norm(coefficients) / np.linalg.norm(direction)
        distances.append(1 - cosine)
    assert distances == sorted(distances, reverse=True)


@pytest.mark.parametrize("seed", range(3))
def test_with_ten_defects_bad_voters_do_not_pull_the_ensemble_far_below_the_best(seed):
    labels = np.repeat([0, 1], [300, 10])
    strengths = [1.2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    new_labels = np.arange(2000) % 2
    new = votes_of(new_labels, strengths, seed=100 + seed)
    areas = []
    for draw in range(20):
        proba = votes_of(labels, strengths, seed=1000 * seed + draw)
        found = fit(proba, labels, is_detector=np.arange(7) == 0)
        areas.append(roc_auc_score(new_labels, found.defect_proba(new)))
    assert np.mean(areas) > roc_auc_score(new_labels, new[:, 0]) - 0.06


@pytest.mark.parametrize("seed", range(5))
def test_a_voter_that_is_wrong_is_ignored_and_never_turned_round(seed):
    labels = np.arange(600) % 2
    proba = votes_of(labels, [1.0, -1.0, 0.5, -3.0], seed=seed)
    found = fit(proba, labels, np.ones(600))
    assert min(found.coefficients) >= 0
    assert found.coefficients[3] == 0
    assert found.coefficients[0] > 0.5
    # More suspicion by any voter never makes a part look better.
    for voter in range(4):
        doubtful = proba.copy()
        doubtful[:, voter] = np.minimum(1, doubtful[:, voter] + 0.1)
        assert (found.defect_proba(doubtful) >= found.defect_proba(proba)).all()


def test_the_combination_is_calibrated_and_better_than_its_voters():
    labels = np.arange(4000) % 2
    proba = votes_of(labels, [0.6, 0.6, 0.6], noise=1.0)
    combined = combine(proba, labels, np.ones(4000), np.arange(4000) // 2 % 5)
    assert roc_auc_score(labels, combined) > max(roc_auc_score(labels, column) for column in proba.T) + 0.05
    for low in (0.0, 0.2, 0.4, 0.6, 0.8):
        chosen = (combined >= low) & (combined < low + 0.2)
        # Several hundred images each: the standard error is below 0.025.
        assert labels[chosen].mean() == pytest.approx(combined[chosen].mean(), abs=0.075)


def test_images_of_little_weight_count_little():
    labels = np.arange(400) % 2
    proba = votes_of(labels, [1.0, 0.8])
    swapped = np.arange(400) < 100
    weights = np.where(swapped, 1e-9, 1.0)
    found = fit(proba, np.where(swapped, 1 - labels, labels), weights)
    clean = fit(proba, labels, weights)
    misled = fit(proba, np.where(swapped, 1 - labels, labels), np.ones(400))
    assert found.coefficients == pytest.approx(clean.coefficients, rel=1e-3)
    assert misled.coefficients != pytest.approx(clean.coefficients, rel=0.2)


def test_a_fold_is_combined_as_the_others_advise():
    labels, folds = np.arange(300) % 2, np.arange(300) // 2 % 3
    proba, weights = votes_of(labels, [1.0, 0.3, 0.6]), np.linspace(0.5, 1, 300)
    combined = combine(proba, labels, weights, folds)
    for fold in range(3):
        rest = folds != fold
        advice = fit(proba[rest], labels[rest], weights[rest])
        assert np.array_equal(combined[~rest], advice.defect_proba(proba[~rest]))


def test_the_labels_of_a_fold_do_not_change_its_own_scores():
    labels, folds = np.arange(300) % 2, np.arange(300) // 2 % 3
    proba = votes_of(labels, [1.0, 0.3, 0.6])
    changed = np.where(folds == 1, 1 - labels, labels)
    before, after = (combine(proba, of, np.ones(300), folds) for of in (labels, changed))
    assert np.array_equal(before[folds == 1], after[folds == 1])
    assert (before[folds != 1] != after[folds != 1]).all()


@pytest.mark.parametrize(
    ("n_right", "n_images", "weight"),
    [
        # log odds of (n_right + 0.5) / (n_images + 1)
        (9, 9, math.log(9.5 / 0.5)),
        (90, 100, math.log(90.5 / 10.5)),
        (3, 4, math.log(3.5 / 1.5)),
        (51, 100, math.log(51.5 / 49.5)),
        (5, 10, 0.0),
        (4, 10, 0.0),
        (0, 10, 0.0),
    ],
)
def test_vote_weights(n_right, n_images, weight):
    labels = np.arange(n_images) % 2
    right = np.where(labels == 1, 0.9, 0.1)
    proba = np.where(np.arange(n_images) < n_right, right, 1 - right)
    assert vote_weights(proba[:, None], labels, 0.5) == pytest.approx([weight])
    assert vote_weights(np.column_stack([proba, right]), labels, 0.5)[0] == pytest.approx(weight), "each on its own"


def test_vote_weights_are_those_of_the_votes_at_the_threshold():
    labels = np.array([0, 0, 1, 1])
    proba = np.array([[0.1], [0.2], [0.3], [0.4]])
    right = {threshold: math.expm1(vote_weights(proba, labels, threshold)[0]) for threshold in (0.3, 0.31, 0.5)}
    # Exactly at 0.3 is a vote for defective: 4 of 4; then 3 of 4, then 2 of 4. Odds 4.5/0.5, 3.5/1.5 and 1.
    assert right == pytest.approx({0.3: 8.0, 0.31: 3.5 / 1.5 - 1, 0.5: 0.0})


def test_vote_weights_grow_with_evidence():
    sure = [vote_weights(np.tile([[0.1], [0.9]], (n, 1)), np.tile([0, 1], n), 0.5)[0] for n in (5, 50, 500)]
    assert sure == sorted(sure)
    assert math.isfinite(sure[-1])
