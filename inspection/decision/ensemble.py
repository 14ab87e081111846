"""From the voters' probabilities to one verdict, and the file that names the voters."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

import numpy as np

from inspection.data.images import Decoding
from inspection.decision.combination import Combination
from inspection.decision.operating_point import OperatingPoint
from inspection.errors import ModelsError
from inspection.labels import CLASS_NAMES, DEFECTIVE, NON_DEFECTIVE, REVIEW

ENSEMBLE_FILE = "ensemble.json"
FORMAT = 3
"""Version of the layout of ensemble.json; a reader refuses any other."""
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
    voting : {"hard", "soft", "weighted"}
        hard: the majority of the voters; weighted: the majority of the voters' weights; soft: the ensemble's
        probability against ``threshold``.
    threshold : float in (0, 1)
        A voter, or under soft voting the ensemble, says defective when its probability is ``>=`` this.
    vote_weights : tuple of float, shape (n_voters,)
        Not negative, not all 0. Used by weighted voting only.
    combination : Combination
        Gives the ensemble's probability.
    operating_point : OperatingPoint or None
        With it the thresholds decide and the votes explain; without it the vote decides.
    """

    voting: str
    threshold: float
    vote_weights: tuple[float, ...]
    combination: Combination
    operating_point: OperatingPoint | None = None

    def share_of_vote(self, is_for: Sequence[bool]) -> float:
        """Return what the voters of one side weigh together, as a share of all votes.

        Parameters
        ----------
        is_for : sequence of bool, shape (n_voters,)

        Returns
        -------
        float in [0, 1]
            One half exactly when the votes are tied.
        """
        weights = self.vote_weights if self.voting == "weighted" else (1.0,) * len(self.vote_weights)
        share = sum(weight for weight, is_one in zip(weights, is_for, strict=True) if is_one) / sum(weights)
        return 0.5 if abs(share - 0.5) < _TIE else share


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

    verdicts: np.ndarray
    causes: np.ndarray
    defect_proba: np.ndarray
    confidence: np.ndarray


def majority(proba: np.ndarray, voting: str, threshold: float, weights: tuple[float, ...]) -> np.ndarray:
    """Return what the majority of the voters says.

    Parameters
    ----------
    proba : ndarray of float, shape (n_images, n_voters), in [0, 1]
    voting, threshold, weights
        As in `Rules`; the votes weigh equally unless voting is weighted.

    Returns
    -------
    ndarray of str, shape (n_images,)
        ``non_defective``, ``defective``, or ``review`` for a tie, which is never a silent pass.

    Raises
    ------
    ValueError
        If shapes disagree, a probability is NaN or the rule is unknown.
    """
    proba, weights = np.asarray(proba, dtype=float), np.asarray(weights, dtype=float)
    if proba.ndim != 2 or weights.shape != proba.shape[1:] or not len(weights):
        raise ValueError(f"probabilities {proba.shape} and weights {weights.shape} do not fit")
    if not ((proba >= 0) & (proba <= 1)).all():
        raise ValueError("a voter's probability is outside [0, 1]")
    if voting not in ("hard", "soft", "weighted"):
        raise ValueError(f"unknown voting rule {voting!r}")
    if voting == "weighted" and not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise ValueError(f"weights {weights.tolist()} cannot vote: none may be negative, and not all 0")
    shares = weights / weights.sum() if voting == "weighted" else np.full(len(weights), 1 / len(weights))
    defective_share = (proba >= threshold) @ shares
    is_tie = np.abs(defective_share - 0.5) < _TIE
    return np.where(is_tie, REVIEW, np.where(defective_share > 0.5, BAD, GOOD))


def decide(
    proba: np.ndarray, rules: Rules, is_unlike: np.ndarray | None = None, defect_proba: np.ndarray | None = None
) -> Decisions:
    """Turn probabilities into verdicts.

    Without an operating point the vote decides. A tie is ``review``, and so is a majority that the ensemble's
    probability contradicts. With one the thresholds decide; a part passes only when the majority agrees, and a tie is
    ``review``. A photograph unlike the training images is ``review`` under every rule.

    Parameters
    ----------
    proba : ndarray of float, shape (n_images, n_voters), in [0, 1]
    rules : Rules
    is_unlike : ndarray of bool, shape (n_images,), optional
    defect_proba : ndarray of float, shape (n_images,), optional
        Of the ensemble, where it is known otherwise than by the rules' combination (out of fold).

    Raises
    ------
    ValueError
        See `majority`.
    """
    votes = majority(proba, rules.voting, rules.threshold, rules.vote_weights)
    if defect_proba is None:
        defect_proba = rules.combination.defect_proba(np.asarray(proba, dtype=float))
    if rules.operating_point is None:
        verdicts, causes = _by_vote(votes, defect_proba, rules)
    else:
        verdicts, causes = _by_thresholds(votes, defect_proba, rules.operating_point)
    if is_unlike is not None:
        verdicts, causes = np.where(is_unlike, REVIEW, verdicts), np.where(is_unlike, Cause.UNLIKE, causes)
    of_verdict = [defect_proba, 1 - defect_proba]
    confidence = np.select([verdicts == BAD, verdicts == GOOD], of_verdict, np.maximum(*of_verdict))
    return Decisions(verdicts, causes, defect_proba, confidence)


def _by_vote(votes: np.ndarray, defect_proba: np.ndarray, rules: Rules) -> tuple[np.ndarray, np.ndarray]:
    by_probability = np.where(defect_proba >= rules.threshold, BAD, GOOD)
    if rules.voting == "soft":
        return by_probability, np.full(len(votes), Cause.VOTE)
    causes = np.select([votes == REVIEW, votes != by_probability], [Cause.TIE, Cause.DISAGREEMENT], Cause.VOTE)
    return np.where(votes == by_probability, votes, REVIEW), causes


def _by_thresholds(votes: np.ndarray, defect_proba: np.ndarray, point: OperatingPoint) -> tuple[np.ndarray, np.ndarray]:
    passes, fails = defect_proba < point.pass_below, defect_proba >= point.fail_from
    cases = [~passes & ~fails, votes == REVIEW, passes & (votes == BAD), passes]
    verdicts = np.select(cases, [REVIEW, REVIEW, REVIEW, GOOD], BAD)
    causes = np.select(cases[:3], [Cause.BAND, Cause.TIE, Cause.DISAGREEMENT], Cause.THRESHOLD)
    return verdicts, causes


def describe_ensemble(cards: list[dict], rules: Rules, data: dict, decoding: Decoding, guard: dict) -> dict:
    """Return the content of ensemble.json.

    Parameters
    ----------
    cards : list of dict
        One per voter, as the training stages write them: ``name``, ``kind`` and ``files``.
    rules : Rules
    data : dict
        What the voters were trained on.
    decoding : Decoding
        How their images were read, and how every image to be judged will be.
    guard : dict
        Entries ``file`` and ``network``; see `inspection.voters.stored.read_vouched`.

    Raises
    ------
    ModelsError
        If the votes are to be weighted and no voter beats chance.
    """
    if rules.voting == "weighted" and not sum(rules.vote_weights) > 0:
        raise ModelsError(
            "ensemble.voting = weighted: no voter beats chance on its out-of-fold scores, so all weights are 0; "
            "use hard or soft voting, or better data."
        )
    voters = [
        {key: card[key] for key in ("name", "kind", "files")}
        | {"weight": round(weight, 6), "coefficient": round(coefficient, 6)}
        for card, weight, coefficient in zip(cards, rules.vote_weights, rules.combination.coefficients, strict=True)
    ]
    return {
        "format": FORMAT,
        "classes": list(CLASS_NAMES),
        "voting": rules.voting,
        "threshold": rules.threshold,
        "intercept": round(rules.combination.intercept, 6),
        "operating_point": rules.operating_point and asdict(rules.operating_point),
        "guard": guard,
        "trained_on": data,
        "decoding": asdict(decoding),
        "voters": voters,
    }


def read_rules(description: dict) -> Rules:
    """Return the rules of an ensemble.json.

    Raises
    ------
    KeyError, TypeError
        If it was not written by `describe_ensemble`.
    """
    voters, point = description["voters"], description["operating_point"]
    return Rules(
        description["voting"],
        description["threshold"],
        tuple(voter["weight"] for voter in voters),
        Combination(tuple(voter["coefficient"] for voter in voters), description["intercept"]),
        point and OperatingPoint(**point),
    )
