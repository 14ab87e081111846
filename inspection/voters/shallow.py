"""Shallow classifiers on backbone features: scaling, hyper-parameter search, calibration, out-of-fold scores."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.base import ClassifierMixin, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import ParameterGrid, PredefinedSplit, cross_val_predict
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from xgboost import XGBClassifier
from xgboost.core import XGBoostError

from inspection.calibration import calibrate_across_folds
from inspection.errors import ConfigError
from inspection.labels import DEFECTIVE


@dataclass(frozen=True)
class TrainedShallow:
    """A scaler and a classifier that belong together.

    Attributes
    ----------
    scaler : StandardScaler
        Fitted on all training rows.
    classifier : CalibratedClassifierCV
        Takes scaled features; its ``predict_proba`` is calibrated.
    out_of_fold : ndarray of float, shape (n_images,), in [0, 1]
        P(defective) of each training image by a scaler and classifier that did not see its fold, calibrated by a
        sigmoid fitted on the out-of-fold scores of the other folds.
    hyperparameters : dict
        The values the search chose.
    """

    scaler: StandardScaler
    classifier: CalibratedClassifierCV
    out_of_fold: np.ndarray
    hyperparameters: dict


def train_shallow(
    name: str,
    grid: dict[str, list],
    features: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    folds: np.ndarray,
    seed: int,
    progress: Callable = iter,
) -> TrainedShallow:
    """Search hyper-parameters by AUC on the folds, calibrate by Platt scaling on the folds, and fit on all rows.

    Parameters
    ----------
    name : {"svm", "random_forest", "xgboost"}
    grid : dict of str to list
        Values to try per hyper-parameter, in the names of SVC, RandomForestClassifier or XGBClassifier.
    features : ndarray of float, shape (n_images, n_features)
    labels : ndarray of int, shape (n_images,)
    weights : ndarray of float, shape (n_images,)
        Sample weights of the fits; AUC counts every image once.
    folds : ndarray of int, shape (n_images,)
    seed : int
    progress : callable, optional
        Wraps the list of combinations tried, for example ``tqdm``.

    Returns
    -------
    TrainedShallow

    Notes
    -----
    The hyper-parameters are chosen on the same folds that give the out-of-fold scores, so those are a little
    optimistic (Cawley and Talbot 2010); test images are not involved.
    """
    pipeline = Pipeline([("scaler", StandardScaler()), ("classifier", make_classifier(name, seed))])
    check_grid(name, grid)
    hyperparameters, raw_scores = _search(pipeline, grid, features, labels, weights, folds, progress)
    scaler = StandardScaler().fit(features)
    # ensemble=False: one classifier on all rows, calibrated by the scores of rows left out in turn.
    classifier = CalibratedClassifierCV(
        clone(pipeline["classifier"]).set_params(**hyperparameters),
        method="sigmoid", cv=PredefinedSplit(folds), ensemble=False, n_jobs=-1,
    )  # fmt: skip
    classifier.fit(scaler.transform(features), labels, sample_weight=weights)
    out_of_fold = calibrate_across_folds(raw_scores, labels, weights, folds)
    return TrainedShallow(scaler, classifier, out_of_fold, hyperparameters)


def check_grid(name: str, grid: dict[str, list]) -> None:
    """Check that a classifier has the hyper-parameters to be searched.

    Raises
    ------
    ConfigError
        If it has no parameter of such a name, or no classifier is called ``name``.
    """
    classifier = make_classifier(name, seed=0)
    unknown = sorted(set(grid) - set(classifier.get_params()))
    if unknown:
        raise ConfigError(f"search.{name}: {type(classifier).__name__} has no parameter {unknown[0]!r}.")


def make_classifier(name: str, seed: int) -> ClassifierMixin:
    """Return an unfitted classifier; one thread each, since folds run side by side."""
    if name == "svm":
        return SVC(kernel="rbf", random_state=seed)
    if name == "random_forest":
        return RandomForestClassifier(random_state=seed, n_jobs=1)
    if name == "xgboost":
        return XGBClassifier(random_state=seed, n_jobs=1, tree_method="hist")
    raise ConfigError(f"classifiers: unknown classifier {name!r}; known: svm, random_forest, xgboost.")


def _search(pipeline, grid, features, labels, weights, folds, progress) -> tuple[dict, np.ndarray]:
    """Return the values with the best mean AUC over the folds, the first of equals, and their out-of-fold scores."""
    best_auc, best = -np.inf, ({}, np.empty(0))
    for hyperparameters in progress(list(ParameterGrid(grid))):
        candidate = clone(pipeline)
        candidate["classifier"].set_params(**hyperparameters)
        try:
            scores = _out_of_fold_scores(candidate, features, labels, weights, folds)
        except (ValueError, TypeError, XGBoostError) as problem:
            raise ConfigError(f"search: {pipeline['classifier']} refuses {hyperparameters}: {problem}") from problem
        auc = np.mean([roc_auc_score(labels[folds == fold], scores[folds == fold]) for fold in np.unique(folds)])
        if auc > best_auc:
            best_auc, best = auc, (hyperparameters, scores)
    return best


def _out_of_fold_scores(pipeline, features, labels, weights, folds) -> np.ndarray:
    method = "decision_function" if hasattr(pipeline["classifier"], "decision_function") else "predict_proba"
    scores = cross_val_predict(
        pipeline, features, labels, cv=PredefinedSplit(folds), method=method, n_jobs=-1,
        params={"classifier__sample_weight": weights},
    )  # fmt: skip
    return scores if scores.ndim == 1 else scores[:, DEFECTIVE]
