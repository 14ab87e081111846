"""Tables of the evaluation: metrics per model, and the points of every curve, ready for ``dvc plots``."""

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

from inspection.decision.verdict import Verdict
from inspection.files import DIGITS
from inspection.labels import CLASS_NAMES, DEFECTIVE, NON_DEFECTIVE
from inspection.reports.tables.metrics import calibration_curve, summarise
from inspection.voters.guard import Guard

ENSEMBLE = "ensemble"
VERDICT_COLUMNS = ("path", "actual", "verdict", "defect_proba", "confidence", "cause", "unlikeness")
"""Of the table of predictions; the others are the voters."""


def score_models(labels: np.ndarray, proba: pd.DataFrame, verdicts: list[Verdict], threshold: float) -> dict[str, dict]:
    """Return the metrics of the ensemble and of every voter.

    Parameters
    ----------
    labels : ndarray of int, shape (n_images,)
    proba : DataFrame, shape (n_images, n_voters)
        P(defective), one column per voter.
    verdicts : list of Verdict, shape (n_images,)
        Of the ensemble.
    threshold : float
        Of the voters.

    Returns
    -------
    dict of dict
        ``ensemble`` first, then the voters; see `inspection.reports.tables.metrics.summarise`.
    """
    is_defect = labels == DEFECTIVE
    ensemble_proba = np.array([verdict.defect_proba for verdict in verdicts])
    passes, fails = outcomes(verdicts)
    scores = {ENSEMBLE: summarise(is_defect, ensemble_proba, passes, fails)}
    for voter in proba:
        of_voter = proba[voter].to_numpy()
        scores[voter] = summarise(is_defect, of_voter, of_voter < threshold, of_voter >= threshold)
    return scores


def outcomes(verdicts: list[Verdict]) -> tuple[np.ndarray, np.ndarray]:
    """Return which parts pass and which fail, two ndarray of bool; those that do neither go to review."""
    words = np.array([verdict.verdict for verdict in verdicts])
    return words == CLASS_NAMES[NON_DEFECTIVE], words == CLASS_NAMES[DEFECTIVE]


def curves(labels: np.ndarray, proba: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the points of the ROC, precision-recall and calibration curves.

    Parameters
    ----------
    labels : ndarray of int, shape (n_images,)
    proba : DataFrame, shape (n_images, n_models)
        P(defective), one column per model.

    Returns
    -------
    dict of DataFrame
        ``roc`` (``false_positive_rate``, ``true_positive_rate``), ``precision_recall`` (``recall``, ``precision``)
        and ``calibration`` (``predicted``, ``observed``, ``n_images``); each with ``voter``, and ``order`` along the
        curve.
    """
    is_defect = labels == DEFECTIVE
    parts: dict[str, list[pd.DataFrame]] = {"roc": [], "precision_recall": [], "calibration": []}
    for voter in proba:
        of_voter = proba[voter].to_numpy()
        false_positive_rate, true_positive_rate, _ = roc_curve(is_defect, of_voter)
        precision, recall, _ = precision_recall_curve(is_defect, of_voter, drop_intermediate=True)
        tables = {
            "roc": {"false_positive_rate": false_positive_rate, "true_positive_rate": true_positive_rate},
            "precision_recall": {"recall": recall, "precision": precision},
            "calibration": calibration_curve(is_defect, of_voter),
        }
        for name, table in tables.items():
            points = pd.DataFrame(table).round(DIGITS)
            points.insert(0, "voter", voter)
            parts[name].append(points.assign(order=range(len(points))))
    return {name: pd.concat(tables, ignore_index=True) for name, tables in parts.items()}


def leaderboard(scores: dict[str, dict]) -> pd.DataFrame:
    """Return one row per model, the best AUC first: ``voter`` and its metrics."""
    table = pd.DataFrame.from_dict(scores, orient="index").rename_axis("voter").reset_index()
    return table.sort_values(["roc_auc", "voter"], ascending=[False, True], ignore_index=True)


def predictions_table(rows: pd.DataFrame, proba: pd.DataFrame, verdicts: list[Verdict]) -> pd.DataFrame:
    """Return one row per test image: what it is, what the ensemble said, and every voter's P(defective)."""
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


def tabulate(labels: np.ndarray, predictions: pd.DataFrame, scores: dict[str, dict]) -> dict[str, pd.DataFrame]:
    """Return the tables behind the curves: those of `curves`, ``leaderboard`` and ``predictions``.

    Parameters
    ----------
    labels : ndarray of int, shape (n_images,)
    predictions : DataFrame
        From `predictions_table`.
    scores : dict of dict
        From `score_models`.
    """
    proba = predictions.drop(columns=list(VERDICT_COLUMNS)).assign(**{ENSEMBLE: predictions["defect_proba"]})
    return curves(labels, proba) | {"leaderboard": leaderboard(scores), "predictions": predictions}


def neighbour_tables(guard: Guard, features: np.ndarray, labels: pd.Series) -> list[pd.DataFrame]:
    """Return the training images most like each photograph.

    Parameters
    ----------
    guard : Guard
    features : ndarray of float, shape (n_images, n_features)
        Of the photographs, by the guard's backbone.
    labels : Series of int
        Of the training images, indexed by path.

    Returns
    -------
    list of DataFrame, shape (n_images,)
        ``path``, ``label`` and ``distance``, the nearest first.
    """
    tables = []
    for positions, distances in zip(*guard.neighbours(features), strict=True):
        paths = guard.paths[positions]
        tables.append(pd.DataFrame({"path": paths, "label": labels[paths].to_numpy(), "distance": distances}))
    return tables
