"""One calibrated probability from all voters: a logistic regression on their log odds, no coefficient negative."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import expit, logit

from inspection.calibration import fit_logistic
from inspection.labels import DEFECTIVE

SHRINKAGE = 20.0
"""How strongly coefficients are drawn together, against the cross-entropy summed as if every defective part had one
photograph: voters of one backbone are too alike to be told apart, and so are any by a few defects."""
HALF_TRUST = 5
"""Defective parts from which a classifier has to learn to be trusted half as much as a detector before the fit."""
_LEAST = 1e-4
"""Probabilities are kept this far from 0 and 1: no voter alone may be infinitely sure."""


@dataclass(frozen=True)
class Combination:
    """How the voters' probabilities become the ensemble's.

    Attributes
    ----------
    coefficients : tuple of float, shape (n_voters,)
        Not negative: a voter that says "defective" never makes a part look better.
    intercept : float
    """

    coefficients: tuple[float, ...]
    intercept: float

    def defect_proba(self, proba: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the ensemble's P(defective).

        Parameters
        ----------
        proba : ndarray of float, shape (n_images, n_voters), in [0, 1]

        Returns
        -------
        ndarray of float, shape (n_images,), in (0, 1)
        """
        return np.asarray(expit(_log_odds(proba) @ np.array(self.coefficients) + self.intercept))


def mean_log_odds(n_voters: int) -> Combination:
    """Return the combination that trusts all voters equally, for votes that nothing was learned from.

    Parameters
    ----------
    n_voters : int, >= 1
    """
    return Combination((1 / n_voters,) * n_voters, 0.0)


def fit_combination(
    proba: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int_],
    weights: npt.NDArray[np.float64],
    groups: npt.NDArray[np.str_],
    is_detector: npt.NDArray[np.bool_],
) -> Combination:
    """Fit the combination on out-of-fold scores (stacking; Wolpert 1992, non-negative as Breiman 1996 advises).

    The result is calibrated as far as the scores are those of images not trained on; see
    `inspection.calibration.fit_logistic`.

    With few defects voters cannot be told apart, so their coefficients are drawn to fixed proportions by a penalty
    that does not grow with the images: a normal prior, as in ridge regression (Hoerl and Kennard 1970; le Cessie and
    van Houwelingen 1992), which every further defective part outweighs a little more. The proportions are 1 for a
    detector, which needs no defect, and n / (n + `HALF_TRUST`) for a voter that learned from n defective parts: it
    enters little by little.

    Parameters
    ----------
    proba : ndarray of float, shape (n_images, n_voters), in [0, 1]
        Out-of-fold P(defective) of every voter.
    labels : ndarray of int, shape (n_images,)
    weights : ndarray of float, shape (n_images,)
    groups : ndarray of str, shape (n_images,)
        Defective images of one group are photographs of one defective part.
    is_detector : ndarray of bool, shape (n_voters,)
        Of voters that learn from good parts alone.

    Returns
    -------
    Combination
        `mean_log_odds` where one class has no image.
    """
    is_defect = labels == DEFECTIVE
    if is_defect.all() or not is_defect.any():
        return mean_log_odds(proba.shape[1])
    n_parts = len(np.unique(groups[is_defect]))
    # To the mean over images from the sum over defective parts.
    per_image = weights[is_defect].sum() / weights.sum() / n_parts
    proportions = np.where(is_detector, 1.0, n_parts / (n_parts + HALF_TRUST))
    coefficients, intercept = fit_logistic(_log_odds(proba), labels, weights, SHRINKAGE * per_image, proportions)
    return Combination(tuple(coefficients.tolist()), intercept)


@dataclass(frozen=True)
class CrossFitted:
    """A combination, and what it says of the training images.

    Attributes
    ----------
    combination : Combination
        The mean of one combination per fold, each fitted on the other folds; on the log odds that is their average
        vote.
    out_of_fold : ndarray of float, shape (n_images,), in (0, 1)
        P(defective) of each image by the combination that was fitted on the other folds.
    """

    combination: Combination
    out_of_fold: npt.NDArray[np.float64]


def fit_across_folds(
    proba: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int_],
    weights: npt.NDArray[np.float64],
    folds: npt.NDArray[np.int_],
    groups: npt.NDArray[np.str_],
    is_detector: npt.NDArray[np.bool_],
) -> CrossFitted:
    """Combine each fold as the other folds advise, and serve the mean of these combinations.

    What is scored is what is served: the combination comes from the very ones whose scores thresholds are chosen on,
    not from a further fit that nothing was measured of.

    Parameters
    ----------
    proba, labels, weights
        As of `fit_combination`.
    folds : ndarray of int, shape (n_images,)
        At least two different ones.
    groups, is_detector
        As of `fit_combination`.

    Returns
    -------
    CrossFitted
    """
    out_of_fold = np.empty(len(labels))
    combinations = []
    for fold in np.unique(folds):
        rest = folds != fold
        combination = fit_combination(proba[rest], labels[rest], weights[rest], groups[rest], is_detector)
        out_of_fold[~rest] = combination.defect_proba(proba[~rest])
        combinations.append(combination)
    coefficients = np.mean([combination.coefficients for combination in combinations], axis=0)
    intercept = float(np.mean([combination.intercept for combination in combinations]))
    return CrossFitted(Combination(tuple(coefficients.tolist()), intercept), out_of_fold)


def combine_across_folds(
    proba: npt.NDArray[np.float64],
    labels: npt.NDArray[np.int_],
    weights: npt.NDArray[np.float64],
    folds: npt.NDArray[np.int_],
    groups: npt.NDArray[np.str_],
    is_detector: npt.NDArray[np.bool_],
) -> npt.NDArray[np.float64]:
    """Return the ensemble's out-of-fold P(defective); see `fit_across_folds`.

    Parameters
    ----------
    proba, labels, weights, folds, groups, is_detector
        As of `fit_across_folds`.

    Returns
    -------
    ndarray of float, shape (n_images,), in (0, 1)
    """
    return fit_across_folds(proba, labels, weights, folds, groups, is_detector).out_of_fold


def vote_weights(proba: npt.NDArray[np.float64], labels: npt.NDArray[np.int_], threshold: float) -> list[float]:
    """Weights of the voters under weighted voting: the log odds of their out-of-fold accuracies.

    Optimal for independent voters (Nitzan and Paroush 1982; Kuncheva 2004, section 4.3).

    Parameters
    ----------
    proba, labels
        As of `fit_combination`.
    threshold : float
        From which a voter votes defective.

    Returns
    -------
    list of float, shape (n_voters,)
        0 for a voter no better than chance. Half an error is added on both sides, so that a perfect voter keeps a
        finite weight.
    """
    n_right = np.sum((proba >= threshold) == (labels == DEFECTIVE)[:, None], axis=0)
    smoothed = (n_right + 0.5) / (len(labels) + 1)
    return [float(weight) for weight in np.maximum(0, logit(smoothed))]


def _log_odds(proba: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(logit(np.clip(proba, _LEAST, 1 - _LEAST)))
