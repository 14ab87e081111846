"""Training of shallow classifiers on backbone features: search on the folds, one model per fold, one calibration."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import ClassifierMixin
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import ParameterGrid
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from xgboost.core import XGBoostError

from inspection.calibration import fit_logistic
from inspection.errors import ConfigError, DataError
from inspection.labels import CLASS_NAMES
from inspection.voters.classifiers import check_classifiers, make_classifier
from inspection.voters.fold_ensemble import FoldEnsemble, raw_scores


@dataclass(frozen=True)
class TrainedShallow:
    """A scaler and a classifier that belong together.

    Attributes
    ----------
    scaler : StandardScaler
        Fitted on all training rows.
    classifier : FoldEnsemble
        Takes scaled features; its ``predict_proba`` is calibrated.
    out_of_fold : ndarray of float, shape (n_images,), in [0, 1]
        P(defective) of each training image by the one model of ``classifier`` that did not see its fold.
    hyperparameters : dict
        The values the search chose.
    """

    scaler: StandardScaler
    classifier: FoldEnsemble
    out_of_fold: np.ndarray
    hyperparameters: dict[str, object]


@dataclass(frozen=True)
class _Rows:
    """What classifiers are trained on.

    Attributes
    ----------
    features : ndarray of float, shape (n_images, n_features)
        Scaled.
    labels : ndarray of int, shape (n_images,)
    weights : ndarray of float, shape (n_images,)
    folds : ndarray of int, shape (n_images,)
    """

    features: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    folds: np.ndarray


@dataclass(frozen=True)
class _Candidate:
    """Hyper-parameters, the models fitted with them, one per fold, and each row's score by the one without its fold."""

    hyperparameters: dict[str, object]
    models: list[ClassifierMixin]
    scores: np.ndarray


def train_shallow(
    name: str,
    grid: dict[str, list],
    features: np.ndarray,
    labels: np.ndarray,
    weights: np.ndarray,
    folds: np.ndarray,
    seed: int,
    progress: Callable[[list], Iterable] = iter,
) -> TrainedShallow:
    """Search hyper-parameters by AUC on the folds; keep the models of the best as they are, and calibrate them.

    Every combination is fitted once per fold, without its rows, and the models of the best combination are the voter:
    the scores that carry a promise are theirs. One sigmoid (Platt 1999) is fitted on these scores of all folds. It has
    two parameters; that a row's own score is among thousands behind them does not show.

    One scaler is fitted on all training rows, those of the left-out fold among them. It sees no labels, and only means
    and deviations.

    Parameters
    ----------
    name : str
        A key of `inspection.voters.classifiers.CLASSIFIERS`.
    grid : dict of str to list
        Values to try per hyper-parameter, in the classifier's own names.
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

    Raises
    ------
    ConfigError
        If the classifier is unknown or refuses a value of the grid.
    DataError
        If some fold holds all images of a class, or none of them holds both.

    Notes
    -----
    The hyper-parameters are chosen on the same folds that give the out-of-fold scores, so those are a little
    optimistic (Cawley and Talbot 2010); test images are not involved.
    """
    check_classifiers({name: grid})
    _check_folds(labels, folds)
    scaler = StandardScaler().fit(features)
    rows = _Rows(scaler.transform(features), labels, weights, folds)
    # Sums of several BLAS threads differ in their last digits from those of one.
    with threadpool_limits(1):
        best = _search(name, grid, rows, seed, progress)
        slope, intercept = fit_logistic(best.scores.reshape(-1, 1), labels, weights)
    classifier = FoldEnsemble(best.models, float(slope[0]), intercept)
    return TrainedShallow(scaler, classifier, classifier.calibrate(best.scores), best.hyperparameters)


def _check_folds(labels: np.ndarray, folds: np.ndarray) -> None:
    for label, name in enumerate(CLASS_NAMES):
        of_class = set(folds[labels == label])
        if len(of_class) < 2:
            raise DataError(
                f"all training images labelled {name} lie in {len(of_class)} fold; nothing can be trained without it. "
                "Add photographs of other groups."
            )
    if not any(len(set(labels[folds == fold])) == len(CLASS_NAMES) for fold in np.unique(folds)):
        raise DataError("no fold holds images of both classes; lower data.folds, or add photographs.")


def _search(
    name: str, grid: dict[str, list], rows: _Rows, seed: int, progress: Callable[[list], Iterable]
) -> _Candidate:
    """Return the candidate with the best mean AUC over the folds, the first of equals."""
    combinations = list(ParameterGrid(grid))
    fitted = _fit_all(name, combinations, rows, seed)
    candidates = (next(fitted) for _ in progress(combinations))
    return max(candidates, key=lambda candidate: _mean_auc(candidate.scores, rows))


def _fit_all(name: str, combinations: list[dict], rows: _Rows, seed: int) -> Iterator[_Candidate]:
    """Yield the candidates in order; folds and candidates are fitted side by side.

    In threads, because the libraries leave Python's lock while they fit: models that come from other processes would
    be pickled to other bytes than those fitted here.
    """
    folds = np.unique(rows.folds)
    fits = iter(
        Parallel(n_jobs=-1, prefer="threads", return_as="generator")(
            delayed(_fit_without)(name, hyperparameters, rows, fold, seed)
            for hyperparameters in combinations
            for fold in folds
        )
    )
    for hyperparameters in combinations:
        models, scores = [], np.empty(len(rows.labels))
        for fold in folds:
            model, of_fold = next(fits)
            models.append(model)
            scores[rows.folds == fold] = of_fold
        yield _Candidate(hyperparameters, models, scores)


def _fit_without(
    name: str, hyperparameters: dict, rows: _Rows, fold: int, seed: int
) -> tuple[ClassifierMixin, np.ndarray]:
    """Return a classifier fitted without a fold, and its scores of that fold."""
    held_out = rows.folds == fold
    rest = ~held_out
    model = make_classifier(name, seed).set_params(**hyperparameters)
    try:
        model.fit(rows.features[rest], rows.labels[rest], sample_weight=rows.weights[rest])
    except (ValueError, TypeError, XGBoostError) as problem:
        raise ConfigError(f"search.{name}: {type(model).__name__} refuses {hyperparameters}: {problem}") from problem
    return model, raw_scores(model, rows.features[held_out])


def _mean_auc(scores: np.ndarray, rows: _Rows) -> float:
    """Mean over the folds that hold both classes."""
    areas = [
        roc_auc_score(rows.labels[held_out], scores[held_out])
        for held_out in (rows.folds == fold for fold in np.unique(rows.folds))
        if len(set(rows.labels[held_out])) == len(CLASS_NAMES)
    ]
    return float(np.mean(areas))
