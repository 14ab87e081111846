"""Scores of any scale into probabilities, by a sigmoid fitted on scores of images not trained on (Platt 1999)."""

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from inspection.labels import DEFECTIVE


def fit_logistic(
    scores: np.ndarray, labels: np.ndarray, weights: np.ndarray, shrinkage: float = 0.0
) -> tuple[np.ndarray, float]:
    """Fit a logistic regression without negative coefficients.

    The targets are Platt's: not 0 and 1 but what as many images of each class and one of either more would say, so
    that scores which separate the classes perfectly still give finite probabilities.

    Parameters
    ----------
    scores : ndarray of float, shape (n_images, n_scores)
        Larger means more likely defective.
    labels : ndarray of int, shape (n_images,)
    weights : ndarray of float, shape (n_images,)
    shrinkage : float
        Times the squared distance of the coefficients from their mean is added to the mean cross-entropy.

    Returns
    -------
    coefficients : ndarray of float, shape (n_scores,)
    intercept : float
    """
    is_defect, shares = labels == DEFECTIVE, weights / weights.sum()
    n_defects, n_good = np.sum(is_defect), np.sum(~is_defect)
    targets = np.where(is_defect, (n_defects + 1) / (n_defects + 2), 1 / (n_good + 2))
    scale = np.maximum(scores.std(), 1e-9)

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        coefficients, log_odds = values[:-1], scores / scale @ values[:-1] + values[-1]
        apart = coefficients - coefficients.mean()
        error = shares * (expit(log_odds) - targets)
        value = shares @ (np.logaddexp(0, log_odds) - targets * log_odds) + shrinkage * apart @ apart
        return value, np.append(error @ scores / scale + 2 * shrinkage * apart, error.sum())

    n_scores = scores.shape[1]
    start = np.append(np.full(n_scores, 1 / n_scores), 0.0)
    bounds = [(0, None)] * n_scores + [(None, None)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"ftol": 1e-12, "gtol": 1e-8})
    return found.x[:-1] / scale, float(found.x[-1])


def calibrate_across_folds(
    raw_scores: np.ndarray, labels: np.ndarray, weights: np.ndarray, folds: np.ndarray
) -> np.ndarray:
    """Turn out-of-fold scores into probabilities by a sigmoid fitted on the other folds.

    Parameters
    ----------
    raw_scores : ndarray of float, shape (n_images,)
        Larger means more likely defective.
    labels : ndarray of int, shape (n_images,)
    weights : ndarray of float, shape (n_images,)
    folds : ndarray of int, shape (n_images,)

    Returns
    -------
    ndarray of float, shape (n_images,), in [0, 1]
    """
    proba = np.empty(len(labels))
    column = raw_scores.reshape(-1, 1)
    for fold in np.unique(folds):
        rest = folds != fold
        slope, intercept = fit_logistic(column[rest], labels[rest], weights[rest])
        proba[~rest] = expit(column[~rest] @ slope + intercept)
    return proba
