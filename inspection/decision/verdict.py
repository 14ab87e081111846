"""What is said about one photograph: the verdict, the votes behind it, and the reason in plain sentences."""

from dataclasses import asdict, dataclass, replace

import numpy as np

from inspection.decision.rules import Cause, Rules, decide
from inspection.decision.wording import percent_beside, setting, threshold_words
from inspection.labels import CLASS_NAMES, DEFECTIVE, NON_DEFECTIVE


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

    def as_dict(self) -> dict:
        """Return the verdict as plain types, ready for JSON."""
        return asdict(self)


def make_verdicts(
    voters: tuple[str, ...],
    proba: np.ndarray,
    names: list[str],
    fingerprints: list[str],
    rules: Rules,
    unlikeness: np.ndarray,
    simulated: bool = False,
) -> list[Verdict]:
    """Return one verdict per row of ``proba``; see `inspection.decision.rules.decide` for the rules."""
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
    """
    if verdict.cause == Cause.UNLIKE:
        return "This photograph is unlike those the models were trained on: a person must look at this part."
    votes = _count_votes(verdict, rules)
    if verdict.cause == Cause.TIE:
        return f"The votes are tied: {votes}. A person must look at this part."
    explain_rest = _explain_vote if rules.operating_point is None else _explain_thresholds
    return explain_rest(verdict, rules, votes)


def _explain_vote(verdict: Verdict, rules: Rules, votes: str) -> str:
    if verdict.cause == Cause.VOTE and rules.voting != "soft":
        return f"{votes}."
    fails = verdict.defect_proba >= rules.threshold
    proba, compared = percent_beside(verdict.defect_proba, rules.threshold), "reaches" if fails else "is below"
    subject = f"The probability of a defect, {proba}, {compared} {setting(rules.threshold)}"
    if verdict.cause == Cause.DISAGREEMENT:
        return f"{subject}, but the vote contradicts it: {votes}. A person must look at this part."
    is_backed = _backs(verdict, rules, fails)
    return f"{subject}. {votes}{'' if is_backed else '; the probability decides, not the majority (soft voting)'}."


def _explain_thresholds(verdict: Verdict, rules: Rules, votes: str) -> str:
    pass_below, fail_from, proba = threshold_words(rules.operating_point, verdict.defect_proba)
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
    if verdict.verdict != CLASS_NAMES[DEFECTIVE]:
        return f"{subject} is below {pass_below}: the part passes. {votes}."
    sentence = f"{subject} reaches {fail_from}, from where parts fail. {votes}"
    is_backed = _backs(verdict, rules, True)
    return sentence + ("." if is_backed else "; the part fails all the same: the threshold decides, not the vote.")


def _count_votes(verdict: Verdict, rules: Rules) -> str:
    n_votes, n_defective = len(verdict.votes), sum(_says_defective(verdict))
    words = f"{n_defective} of {n_votes} models say defective, {n_votes - n_defective} non-defective"
    # Unsaid, a smaller group that wins would look like a mistake.
    return words + (" (weighted by how often each model was right)" if rules.voting == "weighted" else "")


def _backs(verdict: Verdict, rules: Rules, fails: bool) -> bool:
    """Whether the vote says what the probability says."""
    share = rules.share_of_vote(_says_defective(verdict))
    return share > 0.5 if fails else share < 0.5


def _says_defective(verdict: Verdict) -> list[bool]:
    return [vote.label == CLASS_NAMES[DEFECTIVE] for vote in verdict.votes]


def _make_vote(voter: str, proba: float, threshold: float) -> Vote:
    is_defective = proba >= threshold
    return Vote(
        voter,
        proba,
        CLASS_NAMES[DEFECTIVE if is_defective else NON_DEFECTIVE],
        proba if is_defective else 1 - proba,
    )
