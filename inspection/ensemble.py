"""From the voters' probabilities to one verdict, and the file that names the voters."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from inspection.errors import ModelsError
from inspection.images import Decoding
from inspection.labels import CLASS_NAMES, DEFECTIVE, NON_DEFECTIVE, REVIEW

ENSEMBLE_FILE = "ensemble.json"
FORMAT = 2
"""Version of the layout of ensemble.json; a reader refuses any other."""
_TIE = 1e-9
"""Sums of shares carry rounding errors: closer to one half, or to the threshold, than this is equal."""


@dataclass(frozen=True)
class Decisions:
    """Verdicts on several images.

    Attributes
    ----------
    verdicts : ndarray of str, shape (n_images,)
        ``non_defective``, ``defective`` or ``review``.
    defect_proba : ndarray of float, shape (n_images,), in [0, 1]
        Mean of the voters' calibrated P(defective), weighted under weighted voting.
    confidence : ndarray of float, shape (n_images,), in [0, 1]
        Probability the ensemble gives to its own verdict: ``defect_proba`` when defective, ``1 - defect_proba`` when
        non-defective, the larger of the two for review. Under hard voting it can lie below one half, when a narrow
        majority is less sure than the minority.
    """

    verdicts: np.ndarray
    defect_proba: np.ndarray
    confidence: np.ndarray


def decide(defect_proba: np.ndarray, voting: str, threshold: float, weights: Sequence[float]) -> Decisions:
    """Turn probabilities into verdicts.

    Parameters
    ----------
    defect_proba : ndarray of float, shape (n_images, n_voters), in [0, 1]
    voting : {"hard", "soft", "weighted"}
        hard: the majority of the voters; soft: the mean probability; weighted: the majority of the voters' weights.
    threshold : float in (0, 1)
        A voter, or under soft voting the mean, says defective when its probability is ``>=`` this.
    weights : sequence of float, shape (n_voters,)
        Not negative, not all 0. Used by weighted voting only.

    Returns
    -------
    Decisions
        A tie of votes is ``review``, never a silent pass.

    Raises
    ------
    ValueError
        If shapes disagree, a probability is NaN or the rule is unknown.
    """
    defect_proba = np.asarray(defect_proba, dtype=float)
    weights = np.asarray(weights, dtype=float)
    if defect_proba.ndim != 2 or weights.shape != defect_proba.shape[1:] or not len(weights):
        raise ValueError(f"probabilities {defect_proba.shape} and weights {weights.shape} do not fit")
    if not ((defect_proba >= 0) & (defect_proba <= 1)).all():
        raise ValueError("a voter's probability is outside [0, 1]")
    if voting not in ("hard", "soft", "weighted"):
        raise ValueError(f"unknown voting rule {voting!r}")
    if voting == "weighted" and not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise ValueError(f"weights {weights.tolist()} cannot vote: none may be negative, and not all 0")
    shares = weights / weights.sum() if voting == "weighted" else np.full(len(weights), 1 / len(weights))
    mean_proba = np.clip(defect_proba @ shares, 0, 1)
    if voting == "soft":
        # Seven times 1/2 over seven is less than 1/2 in floating point, and would pass the part.
        says_defective, tie = mean_proba >= threshold - _TIE, np.zeros(len(mean_proba), dtype=bool)
    else:
        defective_share = (defect_proba >= threshold) @ shares
        says_defective, tie = defective_share > 0.5, np.abs(defective_share - 0.5) < _TIE
    verdicts = np.where(tie, REVIEW, np.where(says_defective, CLASS_NAMES[DEFECTIVE], CLASS_NAMES[NON_DEFECTIVE]))
    of_class = np.where(says_defective, mean_proba, 1 - mean_proba)
    confidence = np.where(tie, np.maximum(mean_proba, 1 - mean_proba), of_class)
    return Decisions(verdicts, mean_proba, confidence)


def vote_weight(accuracy: float, n_images: int) -> float:
    """Weight of a voter under weighted voting: the log odds of its out-of-fold accuracy.

    Optimal for independent voters (Nitzan and Paroush 1982; Kuncheva 2004, section 4.3).

    Parameters
    ----------
    accuracy : float in [0, 1]
        On out-of-fold scores of training images.
    n_images : int
        How many; half an error is added on both sides, so that a perfect voter keeps a finite weight.

    Returns
    -------
    float
        0 for a voter no better than chance.
    """
    smoothed = (accuracy * n_images + 0.5) / (n_images + 1)
    return max(0.0, float(np.log(smoothed / (1 - smoothed))))


def describe_ensemble(
    cards: list[dict], weights: Sequence[float], voting: str, threshold: float, data: dict, decoding: Decoding
) -> dict:
    """Return the content of ensemble.json.

    Parameters
    ----------
    cards : list of dict
        One per voter, as the training stages write them: ``name``, ``kind`` and ``files``.
    weights : sequence of float, shape (n_voters,)
    voting, threshold
        See `decide`.
    data : dict
        What the voters were trained on.
    decoding : Decoding
        How their images were read, and how every image to be judged will be.
    """
    if voting == "weighted" and not sum(weights) > 0:
        raise ModelsError(
            "ensemble.voting = weighted: no voter beats chance on its out-of-fold scores, so all weights are 0; "
            "use hard or soft voting, or better data."
        )
    voters = [
        {key: card[key] for key in ("name", "kind", "files")} | {"weight": round(weight, 6)}
        for card, weight in zip(cards, weights, strict=True)
    ]
    return {
        "format": FORMAT,
        "classes": list(CLASS_NAMES),
        "voting": voting,
        "threshold": threshold,
        "trained_on": data,
        "decoding": asdict(decoding),
        "voters": voters,
    }
