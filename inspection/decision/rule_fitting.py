"""The rules of an ensemble, learned from the out-of-fold scores of its voters."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from inspection.config import DecisionParams, EnsembleParams
from inspection.decision.combination import fit_across_folds, vote_weights
from inspection.decision.operating_point import (
    Costs,
    OperatingPoint,
    cheapest_operating_point,
    choose_operating_point,
    overkill_operating_point,
    parts_needed,
)
from inspection.decision.rules import Rules, decide
from inspection.decision.voting import voting_rule
from inspection.labels import CLASS_NAMES, DEFECTIVE

DIGITS = 6
"""Decimals kept of probabilities in tables."""


@dataclass(frozen=True)
class FittedRules:
    """Rules, and what they rest on.

    Attributes
    ----------
    rules : Rules
    out_of_fold : ndarray of float, shape (n_images,), in (0, 1)
        The ensemble's P(defective) of each training image: by voters that did not see its fold, and by a combination
        fitted on the scores of the other folds. Those scores come from voters some of which did see this fold, so the
        combination, a handful of numbers, is not wholly blind to it.
    notice : str
        Why a promise or thresholds that were asked for cannot be had; empty when they can, or none were asked for.
    """

    rules: Rules
    out_of_fold: npt.NDArray[np.float64]
    notice: str


def fit_rules(
    proba: npt.NDArray[np.float64],
    rows: pd.DataFrame,
    ensemble: EnsembleParams,
    decision: DecisionParams,
    is_detector: npt.NDArray[np.bool_] | None = None,
) -> FittedRules:
    """Weigh the voters, combine them, and choose the operating point.

    A promise rests on one quantity: of each group of defective training images the lowest out-of-fold probability.
    The thresholds are order statistics of these numbers, as if they were probabilities that the served models give to
    new defects. The served voters and their combination are means of those that gave them; a mean scatters less than
    its parts, so that fewer defects, not more, lie far below the others.

    Parameters
    ----------
    proba : ndarray of float, shape (n_images, n_voters), in [0, 1]
        Out-of-fold P(defective) of every voter.
    rows : DataFrame
        Training rows of the manifest: ``label``, ``weight``, ``fold`` and ``group``.
    ensemble : EnsembleParams
    decision : DecisionParams
    is_detector : ndarray of bool, shape (n_voters,), optional
        Of voters that learn from good parts alone; without, none does.

    Returns
    -------
    FittedRules

    Raises
    ------
    ConfigError
        If the voting rule is unknown.
    """
    voting_rule(ensemble.voting)
    labels, weights, folds = (rows[column].to_numpy() for column in ("label", "weight", "fold"))
    groups = rows["group"].to_numpy()
    if is_detector is None:
        is_detector = np.zeros(proba.shape[1], bool)
    fitted = fit_across_folds(proba, labels, weights, folds, groups, is_detector)
    point, notice = _choose_point(labels == DEFECTIVE, fitted.out_of_fold, groups, decision)
    vote = tuple(vote_weights(proba, labels, ensemble.threshold))
    rules = Rules(ensemble.voting, ensemble.threshold, vote, fitted.combination, point)
    return FittedRules(rules, fitted.out_of_fold, notice)


def _choose_point(
    is_defect: npt.NDArray[np.bool_],
    proba: npt.NDArray[np.float64],
    groups: npt.NDArray[np.str_],
    decision: DecisionParams,
) -> tuple[OperatingPoint | None, str]:
    costs = None if decision.cost is None else Costs(**decision.cost.model_dump())
    if costs is not None and not is_defect.any():
        return None, "decision.cost weighs escapes, and no training part is defective. The vote decides."
    if not decision.max_escape_rate:
        if costs is not None:
            return cheapest_operating_point(is_defect, proba, groups, costs), ""
        return _promise_overkill(is_defect, proba, groups, decision) if decision.max_overkill_rate else (None, "")
    point = choose_operating_point(
        is_defect,
        proba,
        groups,
        decision.max_escape_rate,
        decision.max_overkill_rate,
        decision.confidence,
        costs,
    )
    if point is not None:
        return point, ""
    n_defects = len(set(groups[is_defect]))
    needed = parts_needed(decision.max_escape_rate, decision.confidence)
    why = (
        f"decision.max_escape_rate = {decision.max_escape_rate:g} with confidence {decision.confidence:g} needs at "
        f"least {needed} defective training parts that are no copies of one another, and there are {n_defects}. "
    )
    if decision.max_overkill_rate:
        point, lack = _promise_overkill(is_defect, proba, groups, decision)
        return point, f"{why}Nothing is promised of defects. {lack}".rstrip()
    return None, f"{why}Nothing is promised: the vote decides. Add photographs of defects, or promise less."


def _promise_overkill(
    is_defect: npt.NDArray[np.bool_],
    proba: npt.NDArray[np.float64],
    groups: npt.NDArray[np.str_],
    decision: DecisionParams,
) -> tuple[OperatingPoint | None, str]:
    rate, confidence = decision.max_overkill_rate, decision.confidence
    point = overkill_operating_point(is_defect, proba, groups, rate, confidence)
    if point is not None:
        return point, ""
    return None, (
        f"decision.max_overkill_rate = {rate:g} with confidence {confidence:g} needs at least "
        f"{parts_needed(rate, confidence)} good training parts that are no copies of one another, and there are "
        f"{len(set(groups[~is_defect]))}. Nothing is promised: the vote decides. Add photographs of good parts, or "
        "promise less."
    )


def out_of_fold_table(
    fitted: FittedRules, proba: npt.NDArray[np.float64], rows: pd.DataFrame, voters: Sequence[str]
) -> pd.DataFrame:
    """Return what the rules say of training images that the voters did not see.

    These are the verdicts to choose params by: no test image is involved. Weights and thresholds were chosen on the
    same scores, a handful of numbers for all images.

    Parameters
    ----------
    fitted : FittedRules
    proba, rows
        As of `fit_rules`; ``rows`` with ``path``.
    voters : sequence of str, shape (n_voters,)

    Returns
    -------
    DataFrame, shape (n_images, 6 + n_voters)
        ``path``; ``actual`` and ``verdict`` as words; ``defect_proba``, ``confidence`` and ``cause`` of the ensemble;
        and each voter's out-of-fold P(defective), to six decimals. No photograph is unlike the others here: the guard
        learned from all of them.
    """
    decisions = decide(proba, fitted.rules, defect_proba=fitted.out_of_fold)
    table = pd.DataFrame(
        {
            "path": rows["path"].to_numpy(),
            "actual": [CLASS_NAMES[label] for label in rows["label"]],
            "verdict": decisions.verdicts,
            "defect_proba": decisions.defect_proba,
            "confidence": decisions.confidence,
            "cause": decisions.causes,
        }
    )
    return pd.concat([table, pd.DataFrame(proba, columns=list(voters))], axis=1).round(DIGITS)
