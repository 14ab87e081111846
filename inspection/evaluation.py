"""Tables of the evaluation: metrics per model, and the points of every curve, ready for ``dvc plots``."""

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve, roc_curve

from inspection.inspector import Verdict
from inspection.labels import CLASS_NAMES, DEFECTIVE, NON_DEFECTIVE
from inspection.metrics import DIGITS, calibration_curve, summarise

ENSEMBLE = "ensemble"


def score_models(labels: np.ndarray, proba: pd.DataFrame, verdicts: list[Verdict], threshold: float) -> dict[str, dict]:
    """Return the metrics of the ensemble and of every voter.

    Parameters
    ----------
    labels : ndarray of int, shape (n_images,)
    proba : DataFrame, shape (n_images, n_voters)
        P(defective), one column per voter.
    verdicts : list of Verdict, shape (n_images,)
        Of the ensemble. A part sent to review does not pass, so it counts as rejected.
    threshold : float
        Of the voters.

    Returns
    -------
    dict of dict
        ``ensemble`` first, then the voters; see `inspection.metrics.summarise`.
    """
    is_defect = labels == DEFECTIVE
    ensemble_proba = np.array([verdict.defect_proba for verdict in verdicts])
    is_rejected = np.array([verdict.verdict != CLASS_NAMES[NON_DEFECTIVE] for verdict in verdicts])
    scores = {ENSEMBLE: summarise(is_defect, ensemble_proba, is_rejected)}
    for voter in proba:
        of_voter = proba[voter].to_numpy()
        scores[voter] = summarise(is_defect, of_voter, of_voter >= threshold)
    return scores


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
        }
    )
    return pd.concat([table, proba.reset_index(drop=True)], axis=1).round(6)
