"""The rules of an ensemble, learned from the out-of-fold scores of its voters."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from inspection.config import DecisionParams, EnsembleParams
from inspection.decision.combination import combine_across_folds, fit_combination, vote_weights
from inspection.decision.operating_point import Costs, OperatingPoint, choose_operating_point, parts_needed
from inspection.decision.rules import Rules
from inspection.labels import DEFECTIVE


@dataclass(frozen=True)
class FittedRules:
    """Rules, and what they rest on.

    Attributes
    ----------
    rules : Rules
    out_of_fold : ndarray of float, shape (n_images,), in (0, 1)
        The ensemble's P(defective) of each training image by voters and a combination that did not see its fold.
    notice : str
        Why a promise that was asked for cannot be made; empty when it can, or when none was asked for.
    """

    rules: Rules
    out_of_fold: np.ndarray
    notice: str


def fit_rules(proba: np.ndarray, rows: pd.DataFrame, ensemble: EnsembleParams, decision: DecisionParams) -> FittedRules:
    """Weigh the voters, combine them, and choose the operating point.

    Parameters
    ----------
    proba : ndarray of float, shape (n_images, n_voters), in [0, 1]
        Out-of-fold P(defective) of every voter.
    rows : DataFrame
        Training rows of the manifest: ``label``, ``weight``, ``fold`` and ``group``.
    ensemble : EnsembleParams
    decision : DecisionParams
    """
    labels, weights, folds = (rows[column].to_numpy() for column in ("label", "weight", "fold"))
    out_of_fold = combine_across_folds(proba, labels, weights, folds)
    point, notice = _keep_promise(labels == DEFECTIVE, out_of_fold, rows["group"].to_numpy(), decision)
    rules = Rules(
        ensemble.voting,
        ensemble.threshold,
        tuple(vote_weights(proba, labels, ensemble.threshold)),
        fit_combination(proba, labels, weights),
        point,
    )
    return FittedRules(rules, out_of_fold, notice)


def _keep_promise(
    is_defect: np.ndarray, proba: np.ndarray, groups: np.ndarray, decision: DecisionParams
) -> tuple[OperatingPoint | None, str]:
    if not decision.max_escape_rate:
        return None, ""
    point = choose_operating_point(
        is_defect,
        proba,
        groups,
        decision.max_escape_rate,
        decision.max_overkill_rate,
        decision.confidence,
        decision.cost and Costs(**decision.cost.model_dump()),
    )
    if point is not None:
        return point, ""
    n_defects = len(set(groups[is_defect]))
    needed = parts_needed(decision.max_escape_rate, decision.confidence)
    return None, (
        f"decision.max_escape_rate = {decision.max_escape_rate:g} with confidence {decision.confidence:g} needs at "
        f"least {needed} defective training parts that are no copies of one another, and there are {n_defects}. "
        "Nothing is promised: the vote decides. Add photographs of defects, or promise less."
    )
