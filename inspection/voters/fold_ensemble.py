"""The classifier that serves: one model per fold, trained without it, and the mean of what they say."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin

from inspection.labels import CLASS_NAMES, DEFECTIVE
from inspection.voters.joint_models import JointModels, join


class FoldEnsemble(ClassifierMixin, BaseEstimator):
    """The mean of calibrated classifiers that were each trained without one fold (Breiman 1996, bagging).

    Every training image has a score by the one model that did not see it, and exactly these models serve: nothing is
    trained again on all images. All share one sigmoid, fitted on the scores of images not trained on, so that their
    probabilities mean the same.

    Parameters
    ----------
    models : sequence of ClassifierMixin
        Fitted, one per fold.
    slope : float, >= 0
        Of the sigmoid: P(defective) by one model is ``1 / (1 + exp(-(slope * score + intercept)))``.
    intercept : float
    """

    def __init__(self, models: Sequence[ClassifierMixin], slope: float, intercept: float):
        self.models = models
        self.slope = slope
        self.intercept = intercept

    @property
    def classes_(self) -> np.ndarray:
        """The labels, in the order of the columns of `predict_proba`."""
        return np.arange(len(CLASS_NAMES))

    def calibrate(self, scores: np.ndarray) -> np.ndarray:
        """Return the P(defective) that scores of `raw_scores` stand for.

        Parameters
        ----------
        scores : ndarray of float, shape (n_images,)

        Returns
        -------
        ndarray of float, shape (n_images,), in [0, 1]
        """
        return expit(self.slope * scores + self.intercept)

    def predict_proba(self, features: np.ndarray) -> np.ndarray:
        """Return the mean probability of each class.

        Parameters
        ----------
        features : ndarray of float, shape (n_images, n_features)
            Scaled as the models were trained on.

        Returns
        -------
        ndarray of float, shape (n_images, 2), in [0, 1]
        """
        proba = np.mean([self.calibrate(scores) for scores in self._scores(features)], axis=0)
        return np.column_stack([1 - proba, proba])

    def _scores(self, features: np.ndarray) -> Iterable[np.ndarray]:
        """Return `raw_scores` of every model."""
        if self._joint is not None:
            return self._joint.raw_scores(features)
        return (raw_scores(model, features) for model in self.models)

    @cached_property
    def _joint(self) -> JointModels | None:
        return join(self.models)

    def __getstate__(self) -> dict[str, Any]:
        # Made of the models, again where they are loaded.
        return {name: value for name, value in super().__getstate__().items() if name != "_joint"}

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Return the likelier label, at equal probabilities defective.

        Parameters
        ----------
        features : ndarray of float, shape (n_images, n_features)

        Returns
        -------
        ndarray of int, shape (n_images,)
        """
        return (self.predict_proba(features)[:, DEFECTIVE] >= 0.5).astype(int)


def raw_scores(model: ClassifierMixin, features: np.ndarray) -> np.ndarray:
    """Return what a classifier says before calibration.

    Parameters
    ----------
    model : ClassifierMixin
        Fitted on the labels of `inspection.labels`.
    features : ndarray of float, shape (n_images, n_features)

    Returns
    -------
    ndarray of float, shape (n_images,)
        Larger means more likely defective: the decision function where there is one, else P(defective).
    """
    if hasattr(model, "decision_function"):
        return np.asarray(model.decision_function(features), dtype=float)
    return np.asarray(model.predict_proba(features), dtype=float)[:, DEFECTIVE]
