"""How the ensemble does on training images it did not see."""

from dataclasses import asdict

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from inspection.decision.combination import combine_across_folds
from inspection.decision.rule_fitting import FittedRules
from inspection.files import DIGITS
from inspection.labels import DEFECTIVE
from inspection.reports.tables.metrics import summarise


def summarise_out_of_fold(
    fitted: FittedRules, proba: np.ndarray, rows: pd.DataFrame, voters: list[str]
) -> dict[str, float | int | list]:
    """Return how the ensemble does on training images it did not see, and which voters earn their place in it.

    These are the numbers to choose params by: no test image is involved.

    Parameters
    ----------
    fitted : FittedRules
    proba, rows
        As of `inspection.decision.rule_fitting.fit_rules`.
    voters : list of str, shape (n_voters,)

    Returns
    -------
    dict
        Metrics of `summarise` with the ensemble's probability against the threshold; the operating
        point, if any; and per voter its coefficient, its own AUC, and the AUC of the ensemble without it.
    """
    labels, weights, folds = (rows[column].to_numpy() for column in ("label", "weight", "fold"))
    is_defect, fails = labels == DEFECTIVE, fitted.out_of_fold >= fitted.rules.threshold
    lines = []
    for position, voter in enumerate(voters):
        others = np.delete(proba, position, axis=1)
        without = combine_across_folds(others, labels, weights, folds) if len(voters) > 1 else np.zeros(len(labels))
        lines.append(
            {
                "voter": voter,
                "coefficient": round(fitted.rules.combination.coefficients[position], DIGITS),
                "roc_auc": round(float(roc_auc_score(is_defect, proba[:, position])), DIGITS),
                "roc_auc_of_others": round(float(roc_auc_score(is_defect, without)), DIGITS),
            }
        )
    point = fitted.rules.operating_point
    return summarise(is_defect, fitted.out_of_fold, ~fails, fails) | {
        "operating_point": [asdict(point)] if point else [],
        "voters": lines,
    }
