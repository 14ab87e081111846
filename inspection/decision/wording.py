"""Shares and probabilities as text: never rounded to certainty, nor onto a limit that they do not equal."""

from collections.abc import Sequence
from decimal import Decimal

from inspection.decision.operating_point import OperatingPoint

_MOST_DIGITS = 22
"""Decimals of a percentage: so many tell any two doubles apart that are above a millionth."""


def percent(probability: float, digits: int = 1) -> str:
    """Return a probability as text that never claims certainty by rounding.

    Parameters
    ----------
    probability : float in [0, 1]
    digits : int, >= 0
        Decimals of the percentage.
    """
    step = 10 ** -(digits + 2)
    if 1 - step / 2 <= probability < 1:
        return f">{1 - step:.{digits}%}"
    if 0 < probability < step / 2:
        return f"<{step:.{digits}%}"
    # Exact: a hundred times a double is rounded, and may be the hundredfold of its neighbour.
    return f"{Decimal(probability):.{digits}%}"


def percent_distinct(probability: float, limit: float) -> str:
    """Return a probability as text with as many decimals as tell it from a limit, unless both are equal.

    Parameters
    ----------
    probability, limit : float in [0, 1]
    """
    if probability == limit:
        return percent(probability)
    texts = ((percent(probability, digits), percent(limit, digits)) for digits in range(1, _MOST_DIGITS))
    return next((text for text, of_limit in texts if text != of_limit), percent(probability, _MOST_DIGITS))


def setting(share: float) -> str:
    """Return a share that somebody chose as text, to the last digit.

    Parameters
    ----------
    share : float in [0, 1]
    """
    return f"{100 * share:.6g}%"


def averaged_words(voters: Sequence[str]) -> str:
    """Say whose map a map is.

    Parameters
    ----------
    voters : sequence of str, not empty
        Whose mean it is.
    """
    if len(voters) == 1:
        return f"that of {voters[0]}"
    return f"the mean of those of {', '.join(voters[:-1])} and {voters[-1]}"


def threshold_words(point: OperatingPoint, defect_proba: float | None = None) -> tuple[str, str, str]:
    """Return both thresholds and a probability as text, with as many decimals as keep different ones different.

    Parameters
    ----------
    point : OperatingPoint
    defect_proba : float in [0, 1], optional

    Returns
    -------
    pass_below, fail_from, defect_proba : str
        ``fail_from`` is empty when no part fails, ``defect_proba`` when none is given.
    """
    limits = {limit for limit in (point.pass_below, point.fail_from) if limit <= 1}
    values = limits if defect_proba is None else limits | {defect_proba}
    for digits in range(1, _MOST_DIGITS + 1):
        texts = {value: percent(value, digits) for value in values}
        if len(set(texts.values())) == len(values) and not any(texts[limit][0] in "<>" for limit in limits):
            break
    text = "" if defect_proba is None else texts[defect_proba]
    return texts[point.pass_below], texts.get(point.fail_from, ""), text
