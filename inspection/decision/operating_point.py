"""Where to draw the line: thresholds on the ensemble's probability, chosen on out-of-fold scores, with a guarantee.

Parts below the first threshold pass, parts from the second one on fail, a person looks at those between. How many
defects pass can be promised where defects are known; how many good parts fail, where good ones are.
"""

from dataclasses import dataclass
from math import ceil, log

import numpy as np
import numpy.typing as npt
from scipy.stats import beta

NEVER = float(np.nextafter(1, 2))
"""The threshold ``fail_from`` where no part fails unseen: above every probability."""


@dataclass(frozen=True)
class Costs:
    """What each outcome costs, in any one unit.

    Attributes
    ----------
    escape : float
        A defective part that passes.
    overkill : float
        A good part that fails.
    review : float
        A part that a person looks at.
    """

    escape: float
    overkill: float
    review: float


@dataclass(frozen=True)
class OperatingPoint:
    """Two thresholds on the ensemble's P(defective), and what is promised of them.

    Attributes
    ----------
    pass_below : float in [0, 1]
        A part passes when its probability is ``<`` this.
    fail_from : float in [0, 1], or `NEVER`
        A part fails when its probability is ``>=`` this; never below ``pass_below``.
    max_escape_rate : float in (0, 1), or None
        The promise: at most this share of all defective parts passes. None when the thresholds are merely the cheapest
        and nothing is promised.
    confidence : float in (0, 1), or None
        Probability that each promise holds, over the drawing of the training images. None without a promise.
    n_defects, n_escapes : int
        Defects among the training images, copies counted once, and how many of them pass by their out-of-fold
        probability. The promise rests on them.
    max_overkill_rate : float in (0, 1), or None
        The other promise: at most this share of all good parts fails unseen. None when nothing is promised of them.
    n_good, n_overkill : int
        Good parts among the training images, copies counted once, and how many of them fail by their out-of-fold
        probability. The other promise rests on them; 0 without it.
    """

    pass_below: float
    fail_from: float
    max_escape_rate: float | None
    confidence: float | None
    n_defects: int
    n_escapes: int
    max_overkill_rate: float | None = None
    n_good: int = 0
    n_overkill: int = 0


def rate_bound(n_hits: int, n_parts: int, confidence: float) -> float:
    """Upper bound of a rate: one-sided, exact for independent parts (Clopper and Pearson 1934).

    Parameters
    ----------
    n_hits, n_parts : int
        ``0 <= n_hits <= n_parts``, at least one part.
    confidence : float in (0, 1)

    Returns
    -------
    float in (0, 1]
    """
    if not 0 <= n_hits <= n_parts or n_parts < 1:
        raise ValueError(f"{n_hits} of {n_parts} parts is no rate")
    return 1.0 if n_hits == n_parts else float(beta.ppf(confidence, n_hits + 1, n_parts - n_hits))


def parts_needed(max_rate: float, confidence: float) -> int:
    """Return how many parts support a bound on a rate when none of them is a hit: (1 - max_rate)^n <= 1 - confidence.

    Parameters
    ----------
    max_rate, confidence : float in (0, 1)

    Returns
    -------
    int, >= 1
    """
    # Rounded: 1 - 0.95 is a little more than 0.05 in floating point.
    return ceil(round(log(1 - confidence) / log(1 - max_rate), 9))


def allowed_hits(n_parts: int, max_rate: float, confidence: float) -> int:
    """Return the most hits among parts whose bound stays within a rate.

    Parameters
    ----------
    n_parts : int, >= 0
    max_rate, confidence : float in (0, 1)

    Returns
    -------
    int
        -1 when not even no hit does; see `parts_needed`.
    """
    hits = -1
    while hits + 1 < n_parts and rate_bound(hits + 1, n_parts, confidence) <= max_rate:
        hits += 1
    return hits


def pass_threshold(proba: npt.NDArray[np.float64], max_rate: float, confidence: float) -> tuple[float, int] | None:
    """Return the largest threshold below which few enough defects lie.

    The threshold is an order statistic of the defects' probabilities, so the guarantee does not depend on their
    distribution (Wilks 1941). It is the threshold that learn-then-test (Angelopoulos et al. 2021) finds when it tests
    from 0 upwards: escapes only grow with the threshold, so the first failure ends the search.

    Parameters
    ----------
    proba : ndarray of float, shape (n_defects,)
        Out-of-fold P(defective) of independent defective parts.
    max_rate, confidence : float in (0, 1)

    Returns
    -------
    threshold : float
    n_escapes : int
        Of these defects, those strictly below it.
    None
        When there are too few defects; see `parts_needed`.
    """
    hits = allowed_hits(len(proba), max_rate, confidence)
    if hits < 0:
        return None
    threshold = float(np.sort(proba)[hits])
    return threshold, int(np.sum(proba < threshold))


def fail_threshold(proba: npt.NDArray[np.float64], max_rate: float, confidence: float) -> float | None:
    """Return the smallest threshold that few enough good parts reach; the mirror image of `pass_threshold`.

    Parameters
    ----------
    proba : ndarray of float, shape (n_good,)
    max_rate, confidence : float in (0, 1)

    Returns
    -------
    float or None
        Above the probability of the first good part that must not fail.
    """
    hits = allowed_hits(len(proba), max_rate, confidence)
    return None if hits < 0 else float(np.nextafter(-np.sort(-proba)[hits], np.inf))


def cheapest_thresholds(
    is_defect: npt.NDArray[np.bool_],
    proba: npt.NDArray[np.float64],
    costs: Costs,
    highest_pass: float = np.inf,
) -> tuple[float, float]:
    """Return the two thresholds with the lowest total cost on these parts; the lowest of equals.

    Parameters
    ----------
    is_defect : ndarray of bool, shape (n_parts,)
        At least one part.
    proba : ndarray of float, shape (n_parts,), in [0, 1]
        Out-of-fold P(defective).
    costs : Costs
    highest_pass : float
        ``pass_below`` may not lie above it; at least the lowest probability.

    Returns
    -------
    pass_below, fail_from : float
        Equal when reviewing never pays.
    """
    distinct = np.unique(proba)
    # Every way to divide the sorted parts: below the first, between two different ones, above the last.
    thresholds = np.append(distinct, np.nextafter(distinct[-1], np.inf))
    n_below = np.searchsorted(np.sort(proba), thresholds)
    n_defects_below = np.searchsorted(np.sort(proba[is_defect]), thresholds)
    n_from = len(proba) - n_below
    n_good_from = n_from - (np.sum(is_defect) - n_defects_below)
    # Both against reviewing every part: a threshold saves the reviews on its side of it and adds the mistakes there.
    cost_of_passing = costs.escape * n_defects_below - costs.review * n_below
    cost_of_failing = costs.overkill * n_good_from - costs.review * n_from
    cost_of_passing = np.where(thresholds <= highest_pass, cost_of_passing, np.inf)
    # No part may both pass and fail: each upper threshold goes with the best lower one that is not above it.
    best_cost_of_passing = np.minimum.accumulate(cost_of_passing)
    upper = int(np.argmin(best_cost_of_passing + cost_of_failing))
    lower = int(np.argmin(cost_of_passing[: upper + 1]))
    return float(thresholds[lower]), float(thresholds[upper])


def cheapest_operating_point(
    is_defect: npt.NDArray[np.bool_], proba: npt.NDArray[np.float64], groups: npt.NDArray[np.str_], costs: Costs
) -> OperatingPoint:
    """Choose the thresholds that cost least on these parts, and promise nothing.

    Parameters
    ----------
    is_defect, proba, groups, costs
        As of `choose_operating_point`.

    Returns
    -------
    OperatingPoint
        Without ``max_escape_rate`` and ``confidence``.
    """
    pass_below, fail_from = cheapest_thresholds(is_defect, proba, costs)
    of_defects = _one_per_group(proba[is_defect], groups[is_defect], np.minimum)
    return OperatingPoint(pass_below, fail_from, None, None, len(of_defects), int(np.sum(of_defects < pass_below)))


def choose_operating_point(
    is_defect: npt.NDArray[np.bool_],
    proba: npt.NDArray[np.float64],
    groups: npt.NDArray[np.str_],
    max_escape_rate: float,
    max_overkill_rate: float,
    confidence: float,
    costs: Costs | None,
) -> OperatingPoint | None:
    """Choose the thresholds that keep the promise, and the review band between them.

    Photographs of one group are not independent, so each group counts once in the promise: with its lowest
    probability among the defects, its highest among the good parts.

    Parameters
    ----------
    is_defect : ndarray of bool, shape (n_images,)
    proba : ndarray of float, shape (n_images,)
        Out-of-fold P(defective) of the ensemble.
    groups : ndarray of str, shape (n_images,)
    max_escape_rate : float in (0, 1)
    max_overkill_rate : float in [0, 1)
        Share of good parts that may fail without review, used without ``costs``; 0 leaves no review band.
    confidence : float in (0, 1)
    costs : Costs or None
        The band is then the cheapest that keeps the promise, and ``max_overkill_rate`` must be 0.

    Returns
    -------
    OperatingPoint or None
        None when there are too few groups of defects for the promise.
    """
    of_defects = _one_per_group(proba[is_defect], groups[is_defect], np.minimum)
    promised = pass_threshold(of_defects, max_escape_rate, confidence)
    if promised is None:
        return None
    pass_below, n_escapes = promised
    if costs is not None:
        pass_below, fail_from = cheapest_thresholds(is_defect, proba, costs, highest_pass=pass_below)
        n_escapes = int(np.sum(of_defects < pass_below))
        return OperatingPoint(pass_below, fail_from, max_escape_rate, confidence, len(of_defects), n_escapes)
    if not max_overkill_rate:
        return OperatingPoint(pass_below, pass_below, max_escape_rate, confidence, len(of_defects), n_escapes)
    of_good = _one_per_group(proba[~is_defect], groups[~is_defect], np.maximum)
    limit = fail_threshold(of_good, max_overkill_rate, confidence)
    # Too few good parts for a bound: none may fail without a look at it.
    fail_from = max(pass_below, NEVER if limit is None else limit)
    n_overkill = int(np.sum(of_good >= fail_from))
    return OperatingPoint(
        pass_below, fail_from, max_escape_rate, confidence, len(of_defects), n_escapes, max_overkill_rate, len(of_good),
        n_overkill,
    )  # fmt: skip


def overkill_operating_point(
    is_defect: npt.NDArray[np.bool_],
    proba: npt.NDArray[np.float64],
    groups: npt.NDArray[np.str_],
    max_overkill_rate: float,
    confidence: float,
) -> OperatingPoint | None:
    """Choose the one threshold that few enough good parts reach: what is below it may pass, and no defect is needed.

    The threshold is a conformal quantile of the good parts' probabilities (Vovk, Gammerman and Shafer 2005), taken so
    high that the rate holds with ``confidence`` over the drawing of the training images, and not on average alone.

    Parameters
    ----------
    is_defect, proba, groups
        As of `choose_operating_point`; of defects there may be none.
    max_overkill_rate, confidence : float in (0, 1)

    Returns
    -------
    OperatingPoint or None
        None when there are too few groups of good parts for the promise; see `parts_needed`.
    """
    of_good = _one_per_group(proba[~is_defect], groups[~is_defect], np.maximum)
    threshold = fail_threshold(of_good, max_overkill_rate, confidence)
    if threshold is None:
        return None
    of_defects = _one_per_group(proba[is_defect], groups[is_defect], np.minimum)
    n_escapes, n_overkill = int(np.sum(of_defects < threshold)), int(np.sum(of_good >= threshold))
    return OperatingPoint(
        threshold, threshold, None, confidence, len(of_defects), n_escapes, max_overkill_rate, len(of_good), n_overkill
    )


def _one_per_group(
    proba: npt.NDArray[np.float64], groups: npt.NDArray[np.str_], of_group: np.ufunc
) -> npt.NDArray[np.float64]:
    names, members = np.unique(groups, return_inverse=True)
    start = -np.inf if of_group is np.maximum else np.inf
    chosen = np.full(len(names), start)
    of_group.at(chosen, members, proba)
    return chosen
