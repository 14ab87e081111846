"""One calibrated probability from all voters: a logistic regression on their log odds, no coefficient negative."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from inspection.calibration import fit_logistic
from inspection.labels import DEFECTIVE

SHRINKAGE = 0.002
"""How strongly coefficients are drawn towards their mean: voters of one backbone are too alike to be told apart."""
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

    def defect_proba(self, proba: np.ndarray) -> np.ndarray:
        """Return the ensemble's P(defective).

        Parameters
        ----------
        proba : ndarray of float, shape (n_images, n_voters), in [0, 1]

        Returns
        -------
        ndarray of float, shape (n_images,), in (0, 1)
        """
        return expit(_log_odds(proba) @ np.array(self.coefficients) + self.intercept)


def mean_log_odds(n_voters: int) -> Combination:
    """Return the combination that trusts all voters equally, for votes that nothing was learned from."""
    return Combination((1 / n_voters,) * n_voters, 0.0)


def fit_combination(proba: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> Combination:
    """Fit the combination on out-of-fold scores (stacking; Wolpert 1992, non-negative as Breiman 1996 advises).

    The result is calibrated as far as the scores are those of images not trained on; see
    `inspection.calibration.fit_logistic`.

    Parameters
    ----------
    proba : ndarray of float, shape (n_images, n_voters), in [0, 1]
        Out-of-fold P(defective) of every voter.
    labels : ndarray of int, shape (n_images,)
    weights : ndarray of float, shape (n_images,)
    """
    coefficients, intercept = fit_logistic(_log_odds(proba), labels, weights, SHRINKAGE)
    return Combination(tuple(coefficients.tolist()), intercept)


def combine_across_folds(proba: np.ndarray, labels: np.ndarray, weights: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Return the ensemble's out-of-fold P(defective): each fold is combined as the other folds advise.

    Parameters
    ----------
    proba, labels, weights
        As of `fit_combination`.
    folds : ndarray of int, shape (n_images,)

    Returns
    -------
    ndarray of float, shape (n_images,), in (0, 1)
    """
    combined = np.empty(len(labels))
    for fold in np.unique(folds):
        rest = folds != fold
        combination = fit_combination(proba[rest], labels[rest], weights[rest])
        combined[~rest] = combination.defect_proba(proba[~rest])
    return combined


def vote_weights(proba: np.ndarray, labels: np.ndarray, threshold: float) -> Sequence[float]:
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
    return np.maximum(0, logit(smoothed)).tolist()


def _log_odds(proba: np.ndarray) -> np.ndarray:
    return logit(np.clip(proba, _LEAST, 1 - _LEAST))
