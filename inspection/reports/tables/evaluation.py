"""Tables of the evaluation: metrics per model, and the points of every curve, ready for ``dvc plots``."""

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

from inspection.decision.outcomes import Outcomes
from inspection.decision.rules import Cause
from inspection.decision.verdict import Verdict
from inspection.files import DIGITS
from inspection.labels import CLASS_NAMES
from inspection.reports.tables.insight import rates_by_value, tradeoff
from inspection.reports.tables.metrics import calibration_curve, calibration_intervals, per_thousand, summarise
from inspection.reports.tables.predictions import ENSEMBLE, is_defective, voters_of
from inspection.voters.guard import Guard

SORTING_COLUMNS = ("stratum", "defect_type", "stated_group")
"""Of the manifest, for whose values there are rates."""


def summarise_verdicts(verdicts: pd.DataFrame, groups: np.ndarray) -> dict:
    """Return how an ensemble did, by its verdicts.

    Parameters
    ----------
    verdicts : DataFrame, shape (n_images, ...)
        ``actual`` (``defective`` or ``non_defective``), ``verdict`` (one of these or ``review``), ``defect_proba`` in
        [0, 1] and ``cause`` (see `inspection.decision.ensemble.Cause`).
    groups : ndarray of str, shape (n_images,)
        Of the manifest.

    Returns
    -------
    dict
        The metrics of `inspection.reports.tables.metrics.summarise`, ``unlike_rate`` (share of photographs sent to
        review because they are unlike those of the training) and ``per_1000``, see
        `inspection.reports.tables.metrics.per_thousand`.
    """
    is_defect, outcomes = is_defective(verdicts), Outcomes.of(verdicts["verdict"].to_numpy())
    metrics = summarise(is_defect, verdicts["defect_proba"].to_numpy(dtype=float), outcomes, groups)
    unlike_rate = round(float((verdicts["cause"] == Cause.UNLIKE).mean()), DIGITS)
    return metrics | {"unlike_rate": unlike_rate, "per_1000": per_thousand(is_defect, outcomes, groups)}


def score_voters(predictions: pd.DataFrame, threshold: float, groups: np.ndarray) -> dict[str, dict]:
    """Return the metrics of every voter, each judging alone.

    Parameters
    ----------
    predictions : DataFrame, shape (n_images, ...)
        From `predictions_table`.
    threshold : float in (0, 1)
        A voter says defective when its probability is ``>=`` this.
    groups : ndarray of str, shape (n_images,)
        Of the manifest.

    Returns
    -------
    dict of dict
        By voter; see `inspection.reports.tables.metrics.summarise`.
    """
    is_defect, voters = is_defective(predictions), voters_of(predictions)
    return {
        str(name): summarise(is_defect, proba.to_numpy(), Outcomes.at_threshold(proba.to_numpy(), threshold), groups)
        for name, proba in voters.items()
    }


def curves(is_defect: np.ndarray, proba: pd.DataFrame, groups: np.ndarray) -> dict[str, pd.DataFrame]:
    """Return the points of the ROC, precision-recall and calibration curves.

    Parameters
    ----------
    is_defect : ndarray of bool, shape (n_images,)
    proba : DataFrame, shape (n_images, n_models)
        P(defective), one column per model.
    groups : ndarray of str, shape (n_images,)
        Of the manifest.

    Returns
    -------
    dict of DataFrame
        ``roc`` (``false_positive_rate``, ``true_positive_rate``), ``precision_recall`` (``recall``, ``precision``)
        and ``calibration`` (``predicted``, ``observed`` with its bounds ``observed_low`` and ``observed_high``, and
        ``n_images``); each with ``voter``, and ``order`` along the curve. Without defects the first two have no
        points.
    """
    parts: dict[str, list[pd.DataFrame]] = {"roc": [], "precision_recall": [], "calibration": []}
    for voter in proba:
        of_voter = proba[voter].to_numpy()
        tables = {
            **_curves_of_defects(is_defect, of_voter),
            "calibration": calibration_curve(is_defect, of_voter) | calibration_intervals(is_defect, of_voter, groups),
        }
        for name, table in tables.items():
            points = pd.DataFrame(table).round(DIGITS)
            points.insert(0, "voter", str(voter))
            parts[name].append(points.assign(order=range(len(points))))
    return {name: pd.concat(tables, ignore_index=True) for name, tables in parts.items()}


def _curves_of_defects(is_defect: np.ndarray, proba: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    nothing = np.empty(0)
    false_positive_rate = true_positive_rate = precision = recall = nothing
    if is_defect.any():
        false_positive_rate, true_positive_rate, _ = roc_curve(is_defect, proba)
        precision, recall, _ = precision_recall_curve(is_defect, proba, drop_intermediate=True)
    return {
        "roc": {"false_positive_rate": false_positive_rate, "true_positive_rate": true_positive_rate},
        "precision_recall": {"recall": recall, "precision": precision},
    }


def leaderboard(scores: dict[str, dict]) -> pd.DataFrame:
    """Return one row per model, the best AUC first: ``voter`` and the metrics that all models have.

    Parameters
    ----------
    scores : dict of dict
        Metrics by model.
    """
    shared = [key for key in next(iter(scores.values())) if all(key in values for values in scores.values())]
    table = pd.DataFrame.from_dict(scores, orient="index")[shared].rename_axis("voter").reset_index()
    return table.sort_values(["roc_auc", "voter"], ascending=[False, True], ignore_index=True)


def tabulate(predictions: pd.DataFrame, rows: pd.DataFrame, scores: dict[str, dict]) -> dict[str, pd.DataFrame]:
    """Return every table of an evaluation by name.

    Parameters
    ----------
    predictions : DataFrame, shape (n_images, ...)
        From `predictions_table`.
    rows : DataFrame, shape (n_images, ...)
        The same images of the manifest.
    scores : dict of dict
        Metrics by model.

    Returns
    -------
    dict of DataFrame
        Those of `curves`, ``leaderboard``, ``predictions``, and ``tradeoff`` and ``rates_by_value`` of the ensemble;
        see `inspection.reports.tables.insight`.
    """
    is_defect, groups = is_defective(predictions), rows["group"].to_numpy()
    proba = voters_of(predictions).assign(**{ENSEMBLE: predictions["defect_proba"]})
    return curves(is_defect, proba, groups) | {
        "leaderboard": leaderboard(scores),
        "predictions": predictions,
        "rates_by_value": rates_by_value(predictions, rows, SORTING_COLUMNS),
        "tradeoff": tradeoff(is_defect, predictions["defect_proba"].to_numpy()),
    }


def predictions_table(rows: pd.DataFrame, proba: pd.DataFrame, verdicts: list[Verdict]) -> pd.DataFrame:
    """Return one row per test image: what it is, what the ensemble said, and every voter's P(defective).

    Parameters
    ----------
    rows : DataFrame, shape (n_images, ...)
        Of the manifest: ``path`` and ``label``.
    proba : DataFrame of float in [0, 1], shape (n_images, n_voters)
    verdicts : list of Verdict, shape (n_images,)

    Returns
    -------
    DataFrame, shape (n_images, n_columns)
        `VERDICT_COLUMNS` and the voters, rounded to six decimals.
    """
    table = pd.DataFrame(
        {
            "path": rows["path"].to_numpy(),
            "actual": [CLASS_NAMES[label] for label in rows["label"]],
            "verdict": [verdict.verdict for verdict in verdicts],
            "defect_proba": [verdict.defect_proba for verdict in verdicts],
            "confidence": [verdict.confidence for verdict in verdicts],
            "cause": [verdict.cause for verdict in verdicts],
            "unlikeness": [verdict.unlikeness for verdict in verdicts],
        }
    )
    return pd.concat([table, proba.reset_index(drop=True)], axis=1).round(6)


def neighbour_table(guard: Guard, mistakes: pd.DataFrame, features: np.ndarray, labels: pd.Series) -> pd.DataFrame:
    """Return the training images most like each mistake.

    Parameters
    ----------
    guard : Guard
    mistakes : DataFrame, shape (n_mistakes, ...)
        With ``path``.
    features : ndarray of float, shape (n_mistakes, n_features)
        Of the same photographs, by the guard's backbone.
    labels : Series of int
        Of the training images, indexed by path.

    Returns
    -------
    DataFrame
        ``mistake`` (path of the photograph), ``path``, ``label`` and ``distance`` of a training image, the nearest
        first; mistakes in their order.
    """
    tables = [pd.DataFrame({"mistake": [], "path": [], "label": np.empty(0, int), "distance": []})]
    for mistake, positions, distances in zip(mistakes["path"], *guard.neighbours(features), strict=True):
        paths = guard.paths[positions]
        nearest = {"path": paths, "label": labels[paths].to_numpy(), "distance": np.round(distances, DIGITS)}
        tables.append(pd.DataFrame({"mistake": mistake} | nearest))
    return pd.concat(tables[1:] or tables, ignore_index=True)
