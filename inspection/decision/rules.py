"""From the voters' probabilities to one verdict."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from inspection.decision.combination import Combination
from inspection.decision.operating_point import OperatingPoint
from inspection.decision.outcomes import Outcomes
from inspection.decision.voting import VotingRule, voting_rule
from inspection.labels import CLASS_NAMES, DEFECTIVE, NON_DEFECTIVE, REVIEW

_TIE = 1e-9
"""Sums of shares carry rounding errors: closer to one half than this is equal."""
GOOD, BAD = CLASS_NAMES[NON_DEFECTIVE], CLASS_NAMES[DEFECTIVE]


class Cause(StrEnum):
    """Why a verdict is what it is."""

    VOTE = "vote"
    THRESHOLD = "threshold"
    TIE = "tie"
    DISAGREEMENT = "disagreement"
    BAND = "band"
    UNLIKE = "unlike"


@dataclass(frozen=True)
class Rules:
    """How an ensemble decides.

    Attributes
    ----------
    voting : str
        A key of `inspection.decision.voting.VOTING_RULES`. hard: the majority of the voters; weighted: the majority of
        the voters' weights; soft: the ensemble's probability against ``threshold``.
    threshold : float in (0, 1)
        A voter, or under soft voting the ensemble, says defective when its probability is ``>=`` this.
    vote_weights : tuple of float, shape (n_voters,)
        Not negative. Used by weighted voting only, and then not all 0.
    combination : Combination
        Gives the ensemble's probability.
    operating_point : OperatingPoint or None
        With it the thresholds decide and the votes explain; without it the vote decides.
    knows_defects : bool
        Whether the voters learned from defects. Without, a defect is nothing but a part unlike the good ones.
    """

    voting: str
    threshold: float
    vote_weights: tuple[float, ...]
    combination: Combination
    operating_point: OperatingPoint | None = None
    knows_defects: bool = True

    @property
    def voting_rule(self) -> VotingRule:
        """The rule that ``voting`` names."""
        return voting_rule(self.voting)

    def share_of_defective(self, proba: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return how much of the vote is for defective.

        Parameters
        ----------
        proba : ndarray of float, shape (n_images, n_voters), in [0, 1]

        Returns
        -------
        ndarray of float, shape (n_images,), in [0, 1]
            One half exactly when the votes are tied.
        """
        share = self.voting_rule.share(proba, self.threshold, np.array(self.vote_weights, dtype=float))
        return np.where(np.abs(share - 0.5) < _TIE, 0.5, share)

    def explain_votes(self, proba: npt.NDArray[np.float64]) -> str:
        """Say how the votes on one photograph were counted.

        Parameters
        ----------
        proba : ndarray of float, shape (n_voters,), in [0, 1]
        """
        return self.voting_rule.explain(proba, self.threshold, np.array(self.vote_weights, dtype=float))


@dataclass(frozen=True)
class Decisions:
    """Verdicts on several images.

    Attributes
    ----------
    verdicts : ndarray of str, shape (n_images,)
        ``non_defective``, ``defective`` or ``review``.
    causes : ndarray of str, shape (n_images,)
        Values of `Cause`.
    defect_proba : ndarray of float, shape (n_images,), in [0, 1]
        Of the ensemble, calibrated.
    confidence : ndarray of float, shape (n_images,), in [0, 1]
        Probability the ensemble gives to its own verdict: ``defect_proba`` when defective, ``1 - defect_proba`` when
        non-defective, the larger of the two for review. With an operating point it can lie below one half: parts that
        are more likely good fail where a promise or the costs set the threshold so low.
    """

    verdicts: npt.NDArray[np.str_]
    causes: npt.NDArray[np.str_]
    defect_proba: npt.NDArray[np.float64]
    confidence: npt.NDArray[np.float64]


def majority(proba: npt.NDArray[np.float64], rules: Rules) -> npt.NDArray[np.str_]:
    """Return what the majority of the voters says.

    Parameters
    ----------
    proba : ndarray of float, shape (n_images, n_voters), in [0, 1]
    rules : Rules

    Returns
    -------
    ndarray of str, shape (n_images,)
        ``non_defective``, ``defective``, or ``review`` for a tie, which is never a silent pass.

    Raises
    ------
    ConfigError
        If the voting rule is unknown.
    ValueError
        If shapes disagree, a probability is NaN, or weights that count cannot.
    """
    weights = np.array(rules.vote_weights, dtype=float)
    if proba.ndim != 2 or weights.shape != proba.shape[1:] or not len(weights):
        raise ValueError(f"probabilities {proba.shape} and weights {weights.shape} do not fit")
    if not ((proba >= 0) & (proba <= 1)).all():
        raise ValueError("a voter's probability is outside [0, 1]")
    can_weigh = np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0
    if rules.voting_rule.is_weighted and not can_weigh:
        raise ValueError(f"weights {weights.tolist()} cannot vote: none may be negative, and not all 0")
    share = rules.share_of_defective(proba)
    # Whatever is neither above nor below one half, NaN of a plugin's rule included, goes to a person.
    return np.select([share > 0.5, share < 0.5], [BAD, GOOD], REVIEW)


def decide(
    proba: npt.NDArray[np.float64],
    rules: Rules,
    is_unlike: npt.NDArray[np.bool_] | None = None,
    defect_proba: npt.NDArray[np.float64] | None = None,
) -> Decisions:
    """Turn probabilities into verdicts.

    Without an operating point the vote decides. A tie is ``review``, and so is a majority that the ensemble's
    probability contradicts. With one the thresholds decide; a part passes only when the majority agrees, and a tie is
    ``review``. A photograph unlike the training images is ``review`` under every rule, but for one that fails where no
    defect was trained on: being unlike the training images is then what a defect is.

    Parameters
    ----------
    proba : ndarray of float, shape (n_images, n_voters), in [0, 1]
    rules : Rules
    is_unlike : ndarray of bool, shape (n_images,), optional
        Without it, no image is.
    defect_proba : ndarray of float, shape (n_images,), in [0, 1], optional
        The ensemble's P(defective), where it is not what ``rules.combination`` makes of ``proba``: the out-of-fold one
        of training images.

    Raises
    ------
    ConfigError, ValueError
        See `majority`.
    """
    proba = np.asarray(proba, dtype=float)
    votes = majority(proba, rules)
    if defect_proba is None:
        defect_proba = rules.combination.defect_proba(proba)
    if rules.operating_point is None:
        verdicts, causes = _by_vote(votes, defect_proba, rules)
    else:
        verdicts, causes = _by_thresholds(votes, defect_proba, rules.operating_point)
    if is_unlike is not None:
        if not rules.knows_defects:
            is_unlike = is_unlike & (verdicts != BAD)
        verdicts, causes = np.where(is_unlike, REVIEW, verdicts), np.where(is_unlike, Cause.UNLIKE, causes)
    outcomes = Outcomes.of(verdicts)
    likelier = np.maximum(defect_proba, 1 - defect_proba)
    confidence = np.select([outcomes.fails, outcomes.passes], [defect_proba, 1 - defect_proba], likelier)
    return Decisions(verdicts, causes, defect_proba, confidence)


def _by_vote(
    votes: npt.NDArray[np.str_], defect_proba: npt.NDArray[np.float64], rules: Rules
) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.str_]]:
    by_probability = np.where(Outcomes.at_threshold(defect_proba, rules.threshold).fails, BAD, GOOD)
    if rules.voting_rule.follows_probability:
        return by_probability, np.full(len(votes), Cause.VOTE)
    causes = np.select([votes == REVIEW, votes != by_probability], [Cause.TIE, Cause.DISAGREEMENT], Cause.VOTE)
    return np.where(votes == by_probability, votes, REVIEW), causes


def _by_thresholds(
    votes: npt.NDArray[np.str_], defect_proba: npt.NDArray[np.float64], point: OperatingPoint
) -> tuple[npt.NDArray[np.str_], npt.NDArray[np.str_]]:
    may_pass, fails = defect_proba < point.pass_below, defect_proba >= point.fail_from
    cases = [~may_pass & ~fails, votes == REVIEW, may_pass & (votes == BAD), may_pass]
    verdicts = np.select(cases, [REVIEW, REVIEW, REVIEW, GOOD], BAD)
    causes = np.select(cases[:3], [Cause.BAND, Cause.TIE, Cause.DISAGREEMENT], Cause.THRESHOLD)
    return verdicts, causes
