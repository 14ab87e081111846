"""How the ensemble does on training images it did not see, by its actual rule: the numbers to choose params by."""

from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from inspection.data.manifest import count_leaking
from inspection.decision.combination import combine_across_folds
from inspection.decision.rules import Rules
from inspection.errors import ModelsError
from inspection.files import DIGITS
from inspection.labels import CLASS_NAMES, REVIEW, TEST, TRAIN
from inspection.reports.tables.evaluation import summarise_verdicts
from inspection.reports.tables.metrics import MIN_DEFECTS
from inspection.reports.tables.predictions import is_defective
from inspection.reports.tables.reading import read_table

VERDICT_COLUMNS = ("path", "actual", "verdict", "defect_proba", "confidence", "cause")
"""Of models/out_of_fold.csv; the others are the voters."""


def read_out_of_fold(path: str | Path, rows: pd.DataFrame) -> pd.DataFrame:
    """Read the verdicts on training images by models that did not see them, as ``fit-ensemble`` writes them.

    Parameters
    ----------
    path : str or Path
        CSV.
    rows : DataFrame, shape (n_images, ...)
        Training rows of the manifest: ``path`` and ``label``.

    Returns
    -------
    DataFrame, shape (n_images, n_columns)
        `VERDICT_COLUMNS`, then one column per voter with its P(defective).

    Raises
    ------
    ModelsError
        If the file is missing or damaged, or holds other images than the rows, or in another order.
    """
    table = read_table(path, "fit-ensemble", ("path", "actual", "verdict", "cause"))
    problem = _find_problem(table, rows)
    if problem:
        raise ModelsError(f"{path} {problem}; run `dvc repro fit-ensemble`.")
    return table


def _find_problem(table: pd.DataFrame, rows: pd.DataFrame) -> str:
    missing = [column for column in VERDICT_COLUMNS if column not in table]
    if missing:
        return f"has no column {', '.join(missing)}"
    if table["path"].tolist() != rows["path"].tolist():
        return "holds other images than the training part of the manifest"
    labels = [CLASS_NAMES[label] for label in rows["label"]]
    if table["actual"].tolist() != labels:
        return "holds other labels than the manifest"
    unknown = sorted(set(table["verdict"]) - {*CLASS_NAMES, REVIEW})
    if unknown:
        return f"holds the unknown verdict {unknown[0]!r}"
    numbers = table.drop(columns=["path", "actual", "verdict", "cause"])
    outside = [column for column in numbers if not pd.to_numeric(numbers[column], "coerce").between(0, 1).all()]
    return f"holds something else than probabilities in the column {outside[0]}" if outside else ""


def summarise_out_of_fold(
    verdicts: pd.DataFrame, rows: pd.DataFrame, rules: Rules, detectors: Collection[str] = ()
) -> dict:
    """Return how the ensemble does on training images it did not see, and which voters earn their place in it.

    No test image is involved.

    Parameters
    ----------
    verdicts : DataFrame, shape (n_images, ...)
        From `read_out_of_fold`.
    rows : DataFrame, shape (n_images, ...)
        The same rows of the manifest: ``label``, ``weight``, ``fold`` and ``group``.
    rules : Rules
        Of the ensemble.
    detectors : collection of str
        Names of the voters that learn from good parts alone.

    Returns
    -------
    dict
        The keys of metrics/ensemble.json, computed alike: see
        `inspection.reports.tables.evaluation.summarise_verdicts`. ``n_leaking_test_images`` counts images with copies
        in another fold, each fold being the test part in turn. Besides, ``operating_point`` (a list of one, or of
        none) and ``voters``: of each its coefficient, its own AUC, and the AUC of the ensemble without it (None where
        there are too few defects).
    """
    proba = verdicts.drop(columns=list(VERDICT_COLUMNS))
    point = rules.operating_point
    return summarise_verdicts(verdicts, rows["group"].to_numpy()) | {
        "n_leaking_test_images": _count_leaking(rows),
        "operating_point": [asdict(point)] if point else [],
        "voters": _describe_voters(proba, is_defective(verdicts), rows, rules.combination.coefficients, detectors),
    }


def _count_leaking(rows: pd.DataFrame) -> int:
    folds = rows["fold"].to_numpy()
    return sum(count_leaking(rows.assign(split=np.where(folds == fold, TEST, TRAIN))) for fold in np.unique(folds))


def _describe_voters(
    proba: pd.DataFrame,
    is_defect: np.ndarray,
    rows: pd.DataFrame,
    coefficients: tuple[float, ...],
    detectors: Collection[str],
) -> list[dict]:
    labels, weights, folds, groups = (rows[column].to_numpy() for column in ("label", "weight", "fold", "group"))
    lines = []
    for voter, coefficient in zip(proba, coefficients, strict=True):
        others = proba.drop(columns=voter)
        without = np.zeros(len(proba))
        if others.shape[1]:
            is_detector = others.columns.isin(list(detectors))
            without = combine_across_folds(others.to_numpy(), labels, weights, folds, groups, is_detector)
        lines.append(
            {
                "voter": voter,
                "coefficient": round(coefficient, DIGITS),
                "roc_auc": _area(is_defect, proba[voter].to_numpy()),
                "roc_auc_of_others": _area(is_defect, without),
            }
        )
    return lines


def _area(is_defect: np.ndarray, proba: np.ndarray) -> float | None:
    return round(float(roc_auc_score(is_defect, proba)), DIGITS) if is_defect.sum() >= MIN_DEFECTS else None
