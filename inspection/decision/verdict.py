"""What is said about one photograph: the verdict, the votes behind it, and the reason in plain sentences."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from inspection.decision.defect_map import DefectMap, Region
from inspection.decision.operating_point import OperatingPoint
from inspection.decision.rules import BAD, GOOD, Cause, Rules, decide
from inspection.decision.wording import percent, percent_distinct, setting, threshold_words

_MOST_PLACES = 3
"""Places that a sentence names."""


@dataclass(frozen=True)
class Vote:
    """What one voter says.

    Attributes
    ----------
    voter : str
    defect_proba : float in [0, 1]
    label : str
        ``defective`` when ``defect_proba >= threshold``.
    confidence : float in [0, 1]
        Probability the voter gives to its own label.
    """

    voter: str
    defect_proba: float
    label: str
    confidence: float


@dataclass(frozen=True)
class Verdict:
    """What the ensemble says about one photograph.

    Attributes
    ----------
    name : str
        Of the file.
    sha256 : str
        Of its bytes.
    verdict : str
        ``non_defective``, ``defective`` or ``review``.
    confidence, defect_proba : float in [0, 1]
        See `inspection.decision.rules.Decisions`.
    cause : str
        Value of `inspection.decision.rules.Cause`.
    reason : str
        Plain sentences; see `explain`.
    votes : tuple of Vote
    unlikeness : float
        Distance from the training images in multiples of what is allowed; above 1 the verdict is ``review``.
    simulated : bool
        True only in the viewer's Demo Mode.
    defect_map : DefectMap or None
        Where the photograph is unlike good parts; None when no voter gives a map.
    """

    name: str
    sha256: str
    verdict: str
    confidence: float
    defect_proba: float
    cause: str
    reason: str
    votes: tuple[Vote, ...]
    unlikeness: float = 0.0
    simulated: bool = False
    defect_map: DefectMap | None = field(default=None, repr=False, compare=False)

    @property
    def regions(self) -> tuple[Region, ...]:
        """What stands out on the map, the rarest first; nothing where there is no map."""
        return () if self.defect_map is None else self.defect_map.regions

    @property
    def whereabouts(self) -> str:
        """Where the photograph is unlike good parts, as a sentence; empty where there is no map."""
        if self.defect_map is None:
            return ""
        if not self.regions:
            return "On the map no place stands out from good parts."
        named = [f"{region.place} ({percent(region.share)} of the picture)" for region in self.regions[:_MOST_PLACES]]
        further = len(self.regions) - len(named)
        return f"Unlike good parts: {', '.join(named)}{f', and {further} more' if further else ''}."

    @property
    def vote_proba(self) -> npt.NDArray[np.float64]:
        """P(defective) of every voter, shape (n_voters,), in [0, 1]."""
        return np.array([vote.defect_proba for vote in self.votes])

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as plain types, ready for JSON: of the map its regions, or None where there is none."""
        content = asdict(replace(self, defect_map=None))
        del content["defect_map"]
        regions = None if self.defect_map is None else [asdict(region) for region in self.regions]
        return content | {"regions": regions}


NOT_INSPECTED = "not inspected"


@dataclass(frozen=True)
class NotInspected:
    """A file about which nothing can be said. It is never good.

    Attributes
    ----------
    name : str
        Of the file.
    reason : str
        Why it could not be inspected.
    verdict : str
        `NOT_INSPECTED`.
    """

    name: str
    reason: str
    verdict: str = NOT_INSPECTED

    def as_dict(self) -> dict[str, Any]:
        """Return name, verdict and reason, ready for JSON."""
        return {"name": self.name, "verdict": self.verdict, "reason": self.reason}


def make_verdicts(
    voters: tuple[str, ...],
    proba: npt.NDArray[np.float64],
    names: Sequence[str],
    fingerprints: Sequence[str],
    rules: Rules,
    unlikeness: npt.NDArray[np.float64],
    simulated: bool = False,
) -> list[Verdict]:
    """Return one verdict per photograph; see `inspection.decision.rules.decide` for the rules.

    Parameters
    ----------
    voters : tuple of str, shape (n_voters,)
    proba : ndarray of float, shape (n_images, n_voters), in [0, 1]
        Every voter's P(defective).
    names, fingerprints : sequence of str, shape (n_images,)
        File names, and SHA-256 of the files.
    rules : Rules
    unlikeness : ndarray of float, shape (n_images,), >= 0
        Distance from the training images in multiples of what is allowed.
    simulated : bool
        True only in the viewer's Demo Mode.

    Returns
    -------
    list of Verdict, shape (n_images,)

    Raises
    ------
    ConfigError, ValueError
        See `inspection.decision.rules.majority`.
    """
    decisions = decide(proba, rules, unlikeness > 1)
    verdicts = []
    for row, (name, sha256) in enumerate(zip(names, fingerprints, strict=True)):
        verdict = Verdict(
            name,
            sha256,
            str(decisions.verdicts[row]),
            float(decisions.confidence[row]),
            float(decisions.defect_proba[row]),
            str(decisions.causes[row]),
            "",
            tuple(_make_vote(voter, float(p), rules.threshold) for voter, p in zip(voters, proba[row], strict=True)),
            float(unlikeness[row]),
            simulated,
        )
        verdicts.append(replace(verdict, reason=explain(verdict, rules)))
    return verdicts


def explain(verdict: Verdict, rules: Rules) -> str:
    """Give the reason of a verdict in plain sentences.

    Where the verdict is not what most models say, they name what outweighs them.

    Parameters
    ----------
    verdict : Verdict
        Its ``reason`` is not looked at.
    rules : Rules
        By which it came about.

    Returns
    -------
    str
    """
    if verdict.cause == Cause.UNLIKE:
        return "This photograph is unlike those the models were trained on: a person must look at this part."
    votes = rules.explain_votes(verdict.vote_proba)
    if verdict.cause == Cause.TIE:
        return f"The votes are tied: {votes}. A person must look at this part."
    if rules.operating_point is None:
        return _explain_vote(verdict, rules, votes)
    return _explain_thresholds(verdict, rules, rules.operating_point, votes)


def _explain_vote(verdict: Verdict, rules: Rules, votes: str) -> str:
    if verdict.cause == Cause.VOTE and not rules.voting_rule.follows_probability:
        return f"{votes}."
    fails = verdict.defect_proba >= rules.threshold
    proba, compared = percent_distinct(verdict.defect_proba, rules.threshold), "reaches" if fails else "is below"
    subject = f"The probability of a defect, {proba}, {compared} {setting(rules.threshold)}"
    if verdict.cause == Cause.DISAGREEMENT:
        return f"{subject}, but the vote contradicts it: {votes}. A person must look at this part."
    is_backed = _is_backed(verdict, rules, fails)
    outweighed = "" if is_backed else f"; the probability decides, not the majority ({rules.voting} voting)"
    return f"{subject}. {votes}{outweighed}."


def _explain_thresholds(verdict: Verdict, rules: Rules, point: OperatingPoint, votes: str) -> str:
    pass_below, fail_from, proba = threshold_words(point, verdict.defect_proba)
    subject = f"The probability of a defect, {proba},"
    if verdict.cause == Cause.DISAGREEMENT:
        return (
            f"{subject} is low enough to pass (below {pass_below}), but the vote contradicts it: {votes}. A person "
            "must look at this part."
        )
    if verdict.cause == Cause.BAND:
        too_low = f"too low to fail (below {fail_from})" if fail_from else "no part fails unseen"
        look = "a person must look at this part"
        return f"{subject} is too high to pass (from {pass_below}) and {too_low}: {look}. {votes}."
    if verdict.verdict != BAD:
        return f"{subject} is below {pass_below}: the part passes. {votes}."
    sentence = f"{subject} reaches {fail_from}, from where parts fail. {votes}"
    is_backed = _is_backed(verdict, rules, True)
    return sentence + ("." if is_backed else "; the part fails all the same: the threshold decides, not the vote.")


def _is_backed(verdict: Verdict, rules: Rules, fails: bool) -> bool:
    """Whether the vote says what the probability says."""
    share = rules.share_of_defective(verdict.vote_proba[None])[0]
    return bool(share > 0.5 if fails else share < 0.5)


def _make_vote(voter: str, proba: float, threshold: float) -> Vote:
    is_defective = proba >= threshold
    return Vote(voter, proba, BAD if is_defective else GOOD, proba if is_defective else 1 - proba)
