"""What the viewer says of the ensemble: its rules, what is promised, and what it was trained on."""

from inspection.decision.ensemble import DataEntry
from inspection.decision.operating_point import OperatingPoint
from inspection.decision.rules import Rules
from inspection.decision.wording import setting, threshold_words


def rule_facts(rules: Rules) -> dict[str, str]:
    """Return what the sidebar says of the rules, by term.

    Parameters
    ----------
    rules : Rules
    """
    point = rules.operating_point
    voting = f"{rules.voting_rule.summary} ({rules.voting})"
    threshold = f"defective at {rules.threshold:g} or more"
    if point is None:
        return {"Voting rule": voting, "Threshold": threshold, "Promise": "none: the vote decides"}
    pass_below, fail_from, _ = threshold_words(point)
    fails = f"fail from {fail_from}" if fail_from else "none fails unseen"
    return {
        "Promise": promise_words(point),
        "Probability of a defect": f"parts pass below {pass_below}, {fails}",
        "Threshold of a vote": threshold,
        "Voting rule": f"{voting}; a part passes only when the vote agrees",
    }


def promise_words(point: OperatingPoint) -> str:
    """Say what is promised of the parts that pass or fail, and on how many parts that rests.

    Parameters
    ----------
    point : OperatingPoint
    """
    passing = f"{counted(point.n_defects, 'defect')}, {point.n_escapes} of which "
    passing += "passes" if point.n_escapes == 1 else "pass"
    if point.confidence is None:
        return f"none: the thresholds are the cheapest on the training images, with {passing}"
    confidence, promises = setting(point.confidence), []
    if point.max_escape_rate is not None:
        most = setting(point.max_escape_rate)
        promises.append(f"at most {most} of the defects pass, with confidence {confidence}; rests on {passing}")
    if point.max_overkill_rate is not None:
        failing = f"{counted(point.n_good, 'good part')}, {point.n_overkill} of which "
        failing += "fails" if point.n_overkill == 1 else "fail"
        most = setting(point.max_overkill_rate)
        promises.append(f"at most {most} of the good parts fail, with confidence {confidence}; rests on {failing}")
    if point.max_escape_rate is None:
        promises.append("nothing is promised of defects")
    return ". ".join(promises)


def trained_on_words(data: DataEntry) -> str:
    """Say what the models were trained on, and what their probabilities are worth when no defect was among it.

    Parameters
    ----------
    data : DataEntry
    """
    if data.n_defects:
        return f"{data.n_images:,} photographs of {data.source}, {data.n_defects:,} of them defective"
    return (
        f"{counted(data.n_images, 'photograph')} of {data.source}, none of them defective: probabilities are measured "
        "by defects planted in photographs of good parts"
    )


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    Parameters
    ----------
    number : int
    noun : str
        In the singular; its plural takes an s.
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
