"""Scores into probabilities: the sigmoid that fits best, finite when the classes lie apart, blind to its own fold."""

import numpy as np
import pytest
from scipy.optimize import OptimizeResult, minimize
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from inspection import calibration
from inspection.calibration import calibrate_across_folds, fit_logistic
from inspection.errors import DataError

N_FOLDS = 4
PROPORTIONS = np.array([2.0, 1.0, 1.0])


def scored_images(n_images, seed=0):
    random = np.random.default_rng(seed)
    labels = np.arange(n_images) % 2
    return random.normal(size=n_images) + labels, labels, np.arange(n_images) // 2 % N_FOLDS


def loss(values, scores, labels, weights, shrinkage):
    """What `fit_logistic` minimises, written out; the last value is the intercept."""
    n_defects, n_good = (labels == 1).sum(), (labels == 0).sum()
    targets = np.where(labels == 1, (n_defects + 1) / (n_defects + 2), 1 / (n_good + 2))
    proba = expit(scores @ values[:-1] + values[-1])
    entropy = -(targets * np.log(proba) + (1 - targets) * np.log(1 - proba))
    # Coefficients of the proportions 2 : 1 : 1 that are nearest, by least squares.
    nearest = np.sum(values[:-1] * PROPORTIONS) / np.sum(PROPORTIONS**2) * PROPORTIONS
    return np.average(entropy, weights=weights) + shrinkage * np.sum((values[:-1] - nearest) ** 2)


@pytest.mark.parametrize("shrinkage", [0.0, 0.002, 0.1])
@pytest.mark.parametrize(("seed", "scale"), [(0, 1.0), (1, 1.0), (2, 300.0), (3, 0.01)])
def test_no_step_from_the_result_lowers_the_loss(seed, scale, shrinkage):
    random = np.random.default_rng(seed)
    labels = (random.uniform(size=150) < 0.3).astype(int)
    scores = scale * (random.normal(size=(150, 3)) + labels[:, None] * [2.0, 1.0, -1.0])
    weights = random.uniform(0.2, 1, 150)
    # Larger scores have smaller coefficients, which the same distance draws less.
    shrinkage *= scale**2
    coefficients, intercept = fit_logistic(scores, labels, weights, shrinkage, PROPORTIONS)
    assert coefficients.shape == (3,)
    assert (coefficients >= 0).all()
    assert coefficients[2] == 0 or shrinkage >= 0.1 * scale**2, "the score that points the wrong way"
    found = np.append(coefficients, intercept)
    least = loss(found, scores, labels, weights, shrinkage)
    for position in range(4):
        unit = 1e-3 if position == 3 else 1e-3 / scale
        up, down = (found + step * unit * (np.arange(4) == position) for step in (1, -1))
        slope = (loss(up, scores, labels, weights, shrinkage) - loss(down, scores, labels, weights, shrinkage)) / 2e-3
        if found[position] == 0 and position < 3:
            assert slope > -1e-6, "only what is not allowed would lower the loss"
        else:
            assert slope == pytest.approx(0, abs=2e-5)
        assert least <= loss(up, scores, labels, weights, shrinkage)


def test_the_parameters_that_drew_the_labels_are_found():
    random = np.random.default_rng(0)
    scores = random.normal(size=(40_000, 2))
    labels = (random.uniform(size=40_000) < expit(scores @ [1.5, 0.5] - 1)).astype(int)
    coefficients, intercept = fit_logistic(scores, labels, np.ones(40_000))
    # Standard errors are about 0.015.
    assert coefficients == pytest.approx([1.5, 0.5], abs=0.06)
    assert intercept == pytest.approx(-1, abs=0.06)


@pytest.mark.parametrize(("n_good", "n_defects"), [(10, 10), (3, 30), (50, 2), (1, 1)])
def test_classes_apart_get_the_probabilities_of_platt(n_good, n_defects):
    labels = np.repeat([0, 1], [n_good, n_defects])
    slope, intercept = fit_logistic(np.where(labels == 1, 5.0, -5.0).reshape(-1, 1), labels, np.ones(len(labels)))
    proba = expit(np.array([-5.0, 5.0]) * slope[0] + intercept)
    assert proba == pytest.approx([1 / (n_good + 2), (n_defects + 1) / (n_defects + 2)], abs=1e-4)


def test_scores_that_point_the_wrong_way_say_nothing():
    scores, labels, _ = scored_images(100)
    slope, intercept = fit_logistic(-scores.reshape(-1, 1), labels, np.ones(100))
    assert slope.tolist() == [0.0]
    assert expit(intercept) == pytest.approx(0.5, abs=1e-3)


def test_equal_scores_give_the_share_of_defects():
    labels = np.arange(100) % 4 == 0
    slope, intercept = fit_logistic(np.full((100, 1), 3.0), labels.astype(int), np.ones(100))
    # Targets of Platt: 25 times 26/27 and 75 times 1/77, of 100.
    assert expit(3 * slope[0] + intercept) == pytest.approx((25 * 26 / 27 + 75 / 77) / 100, abs=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.1, -1 / 3, 1e9])
def test_rounding_of_equal_scores_is_no_information(value):
    labels = np.arange(100) % 4 == 0
    slope, intercept = fit_logistic(np.full((100, 1), value), labels.astype(int), np.ones(100))
    assert slope.tolist() == [0.0]
    assert expit(intercept) == pytest.approx((25 * 26 / 27 + 75 / 77) / 100, abs=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_no_numbers(bad):
    scores, labels, _ = scored_images(40)
    scores[[3, 7]] = bad
    with pytest.raises(DataError, match="^2 scores of training images are NaN or infinite.*lower its learning rate"):
        fit_logistic(scores.reshape(-1, 1), labels, np.ones(40))


def ending(success, move):
    """An optimiser that says whether it succeeded, and stops so far from where it should."""

    def run(loss, start, **options):
        result = minimize(loss, start, **options)
        return OptimizeResult(x=result.x + move, success=success, message="ABNORMAL")

    return run


def test_an_optimiser_that_fails_is_not_believed(monkeypatch):
    scores, labels, _ = scored_images(60)
    monkeypatch.setattr(calibration, "minimize", ending(False, 0.1))
    with pytest.raises(DataError, match=r"the calibration of 60 scores does not converge \(ABNORMAL\)"):
        fit_logistic(scores.reshape(-1, 1), labels, np.ones(60))


def test_an_optimiser_that_only_says_it_fails_is(monkeypatch):
    scores, labels, _ = scored_images(60)
    expected = fit_logistic(scores.reshape(-1, 1), labels, np.ones(60))
    monkeypatch.setattr(calibration, "minimize", ending(False, 0.0))
    assert fit_logistic(scores.reshape(-1, 1), labels, np.ones(60)) == expected


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_scale_of_the_scores_does_not_matter(scale):
    scores, labels, _ = scored_images(200)
    slope, intercept = fit_logistic(scores.reshape(-1, 1), labels, np.ones(200))
    scaled = fit_logistic(scale * scores.reshape(-1, 1), labels, np.ones(200))
    assert scaled[0] * scale == pytest.approx(slope, rel=1e-4)
    assert scaled[1] == pytest.approx(intercept, abs=1e-4)


def test_shrinkage_draws_coefficients_to_their_mean():
    random = np.random.default_rng(0)
    labels = np.arange(300) % 2
    scores = random.normal(size=(300, 2)) + labels[:, None] * [2.0, 0.5]
    apart = [np.ptp(fit_logistic(scores, labels, np.ones(300), shrinkage)[0]) for shrinkage in (0, 0.01, 1, 1000)]
    assert apart == sorted(apart, reverse=True)
    assert apart[0] > 0.8
    assert apart[-1] < 0.01


def test_calibration_of_a_fold_is_fitted_on_the_others():
    scores, labels, folds = scored_images(400)
    proba = calibrate_across_folds(scores, labels, np.ones(400), folds)
    for fold in range(N_FOLDS):
        rest = folds != fold
        sigmoid = LogisticRegression(C=1e9, tol=1e-9, max_iter=1000).fit(scores[rest, None], labels[rest])
        expected = sigmoid.predict_proba(scores[~rest, None])[:, 1]
        # Platt's targets are a little less sure than the labels.
        np.testing.assert_allclose(proba[~rest], expected, atol=0.01)
        slope, intercept = fit_logistic(scores[rest, None], labels[rest], np.ones(rest.sum()))
        assert logit(proba[~rest]) == pytest.approx(scores[~rest] * slope[0] + intercept)


def test_calibration_of_a_fold_does_not_see_its_labels():
    scores, labels, folds = scored_images(80)
    changed = np.where(folds == 2, 1 - labels, labels)
    before, after = (calibrate_across_folds(scores, of, np.ones(80), folds) for of in (labels, changed))
    assert np.array_equal(before[folds == 2], after[folds == 2])
    assert (before[folds != 2] != after[folds != 2]).all()


def test_a_weight_of_two_counts_as_two_images():
    scores, labels, folds = scored_images(400)
    twice = np.arange(400) % 3 == 0
    weighted = calibrate_across_folds(scores, labels, np.where(twice, 2.0, 1.0), folds)
    repeated = np.concatenate([np.arange(400), np.flatnonzero(twice)])
    copied = calibrate_across_folds(scores[repeated], labels[repeated], np.ones(len(repeated)), folds[repeated])
    np.testing.assert_allclose(weighted, copied[:400], atol=5e-3)
    unweighted = calibrate_across_folds(scores, labels, np.ones(400), folds)
    assert np.abs(weighted - unweighted).max() > 0.02


def test_calibration_is_of_the_defective_class_and_near_the_truth():
    # Scores drawn so that P(defective) = 1 / (1 + exp(-score)): the sigmoid to find is the identity.
    random = np.random.default_rng(0)
    scores = random.normal(scale=2, size=4000)
    truth = expit(scores)
    labels = (random.uniform(size=4000) < truth).astype(int)
    proba = calibrate_across_folds(scores, labels, np.ones(4000), np.arange(4000) % 5)
    assert np.abs(proba - truth).max() < 0.04
