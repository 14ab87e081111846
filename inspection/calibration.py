"""Scores of any scale into probabilities, by a sigmoid fitted on scores of images not trained on (Platt 1999)."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from inspection.errors import DataError
from inspection.labels import DEFECTIVE

_LARGEST_SLOPE = 1e-4
"""Of the loss where it is taken to be least, per standard deviation of the scores: what it costs shows in no metric."""

_LEAST_SPREAD = 1e-12
"""Of scores, in multiples of the largest: less is the rounding of scores that are all the same."""


def fit_logistic(
    scores: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    shrinkage: float = 0.0,
    proportions: np.ndarray | None = None,
) -> tuple[np.ndarray, float]:
    """Fit a logistic regression without negative coefficients.

    The targets are Platt's: not 0 and 1 but what as many images of each class and one of either more would say, so
    that scores which separate the classes perfectly still give finite probabilities. The result does not depend on the
    number of threads.

    Parameters
    ----------
    scores : ndarray of float, shape (n_images, n_scores)
        Larger means more likely defective.
    labels : ndarray of int, shape (n_images,)
    weights : ndarray of float, shape (n_images,), > 0
    shrinkage : float, >= 0
        Times the squared distance of the coefficients from the nearest ones of these proportions is added to the mean
        cross-entropy.
    proportions : ndarray of float, shape (n_scores,), >= 0, optional
        To which coefficients are drawn, whatever their size; without, they are drawn to their mean.

    Returns
    -------
    coefficients : ndarray of float, shape (n_scores,), >= 0
    intercept : float

    Raises
    ------
    DataError
        If a score is not finite, or the fit does not converge.
    """
    if not np.isfinite(scores).all():
        raise DataError(
            f"{np.sum(~np.isfinite(scores))} scores of training images are NaN or infinite, so no probabilities can be "
            "made of them: their model has not learned; lower its learning rate, or leave it out."
        )
    centre, scale = scores.mean(axis=0), scores.std()
    if scale <= _LEAST_SPREAD * np.abs(scores).max():
        scale = 1.0
    direction = np.ones(scores.shape[1]) if proportions is None else proportions
    loss = _Loss(
        (scores - centre) / scale,
        _platt_targets(labels),
        weights / weights.sum(),
        shrinkage / scale**2,
        direction / np.sqrt(np.sum(direction**2)),
    )
    coefficients, intercept = _minimise(loss)
    coefficients /= scale
    return coefficients, float(intercept - np.sum(coefficients * centre))


def _platt_targets(labels: np.ndarray) -> np.ndarray:
    is_defect = labels == DEFECTIVE
    n_defects, n_good = np.sum(is_defect), np.sum(~is_defect)
    return np.where(is_defect, (n_defects + 1) / (n_defects + 2), 1 / (n_good + 2))


@dataclass(frozen=True)
class _Loss:
    """Mean cross-entropy of a logistic regression with shrinkage, and its gradient: convex in its coefficients.

    Coefficients are drawn to the line along ``direction``, a unit vector. Sums are written without ``@``, whose last
    digits depend on the number of BLAS threads.
    """

    scores: np.ndarray
    targets: np.ndarray
    shares: np.ndarray
    shrinkage: float
    direction: np.ndarray

    def __call__(self, values: np.ndarray) -> tuple[float, np.ndarray]:
        """Return the loss and its gradient at the coefficients and, last, the intercept."""
        coefficients, intercept = values[:-1], values[-1]
        log_odds = np.sum(self.scores * coefficients, axis=1) + intercept
        entropy = np.logaddexp(0, log_odds) - self.targets * log_odds
        errors = self.shares * (expit(log_odds) - self.targets)
        aside = coefficients - self.direction * np.sum(self.direction * coefficients)
        value = np.sum(self.shares * entropy) + self.shrinkage * np.sum(aside**2)
        slopes = np.sum(errors[:, None] * self.scores, axis=0) + 2 * self.shrinkage * aside
        return float(value), np.append(slopes, np.sum(errors))


def _minimise(loss: _Loss) -> tuple[np.ndarray, float]:
    """Return the coefficients, none negative, and the intercept of the least loss."""
    n_scores = loss.scores.shape[1]
    bounds = [(0.0, None)] * n_scores + [(None, None)]
    result = minimize(
        loss, np.zeros(n_scores + 1), jac=True, method="L-BFGS-B", bounds=bounds,
        options={"ftol": 1e-14, "gtol": 1e-9, "maxiter": 10_000, "maxfun": 100_000},
    )  # fmt: skip
    # Near the least loss rounding can end the line search, which the optimiser calls a failure; the slope tells.
    slopes = loss(result.x)[1]
    is_held = np.append(result.x[:-1] <= 0, False) & (slopes > 0)
    if not result.success and np.abs(slopes[~is_held]).max(initial=0) > _LARGEST_SLOPE:
        raise DataError(f"the calibration of {len(loss.targets)} scores does not converge ({result.message}).")
    return result.x[:-1].copy(), float(result.x[-1])


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
