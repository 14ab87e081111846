"""Intervals of shares and of areas under ROC curves, where photographs of one group are no independent observations.

Photographs of one group (copies, a series, one part taken several times) tend to be judged alike, so that many of them
say little more than one. The groups are the sampling units here: variances are those between groups. Where every
photograph is a group of its own, all results are those for independent photographs.
"""

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm, rankdata, t

CONFIDENCE_LEVEL = 0.95


def share_interval(n_hits: float, n_images: float, confidence: float = CONFIDENCE_LEVEL) -> tuple[float, float]:
    """Wilson score interval of a share (Wilson 1927).

    SciPy's ``binomtest`` gives the same for whole numbers, and takes no others.

    Parameters
    ----------
    n_hits, n_images : float
        ``0 <= n_hits <= n_images``, with ``n_images > 0``; not whole when they are effective numbers.
    confidence : float in (0, 1)

    Returns
    -------
    low, high : float in [0, 1]

    Raises
    ------
    ValueError
        If the numbers make no share.
    """
    if not 0 <= n_hits <= n_images or n_images <= 0:
        raise ValueError(f"{n_hits:g} of {n_images:g} images is no share")
    share, squared = n_hits / n_images, norm.ppf((1 + confidence) / 2) ** 2
    centre = share + squared / (2 * n_images)
    margin = np.sqrt(squared * (share * (1 - share) + squared / (4 * n_images)) / n_images)
    scale = 1 + squared / n_images
    return max(0.0, float((centre - margin) / scale)), min(1.0, float((centre + margin) / scale))


def grouped_share_interval(
    is_hit: np.ndarray, groups: np.ndarray, confidence: float = CONFIDENCE_LEVEL
) -> tuple[float, float]:
    """Wilson interval of a share of photographs, on their effective number; see `effective_number`.

    Parameters
    ----------
    is_hit : ndarray of bool, shape (n_images,)
        At least one image. Or of float in [0, 1], where one may be a hit in part: its variance is at most that of a
        hit or a miss.
    groups : ndarray, shape (n_images,)
        What names the group of each image.
    confidence : float in (0, 1)

    Returns
    -------
    low, high : float in [0, 1]
    """
    n_images = effective_number(is_hit, groups, confidence)
    return share_interval(float(np.mean(is_hit)) * n_images, n_images, confidence)


def effective_number(is_hit: np.ndarray, groups: np.ndarray, confidence: float = CONFIDENCE_LEVEL) -> float:
    """Return how many independent photographs would tell as much about a share.

    The share is a ratio estimator (hits of the groups over their sizes) with its linearised variance (Cochran 1977,
    section 6.3); over that of as many independent photographs it is the design effect (Kish 1965), which divides the
    number of images. Few groups know their own variance badly: the number shrinks by the squared ratio of the
    quantiles of Student's distribution (Korn and Graubard 1998; best with Wilson's interval in Dean and Pagano 2015).

    Parameters
    ----------
    is_hit : ndarray of bool, shape (n_images,)
    groups : ndarray, shape (n_images,)
    confidence : float in (0, 1)

    Returns
    -------
    float in [1, n_images]
        The number of images when every group is a single one. A design effect below 1 is taken for chance and counts
        as 1. Where no image or every image is a hit there is no variance to go by: members of a group then count as
        the same observation (n^2 / sum of squared sizes).
    """
    check_pair(is_hit, groups)
    _, members = np.unique(groups, return_inverse=True)
    sizes, hits = np.bincount(members), np.bincount(members, is_hit)
    n_images, n_groups, share = len(is_hit), len(sizes), float(np.mean(is_hit))
    if n_groups == n_images:
        return float(n_images)
    if n_groups == 1:
        return 1.0
    if share in (0, 1):
        effective = n_images**2 / np.sum(sizes**2)
    else:
        variance = n_groups / (n_groups - 1) * np.sum((hits - share * sizes) ** 2) / n_images**2
        effective = n_images / max(1.0, variance / (share * (1 - share) / (n_images - 1)))
    return max(1.0, float(effective / _widening(n_images, n_groups, confidence) ** 2))


def roc_auc_interval(
    is_defect: np.ndarray, defect_proba: np.ndarray, groups: np.ndarray | None = None,
    confidence: float = CONFIDENCE_LEVEL,
) -> tuple[float, float, float]:  # fmt: skip
    """Area under the ROC curve with a variance that knows groups, the interval taken on the logit scale.

    The variance is that of Obuchowski 1997, "Nonparametric analysis of clustered ROC curve data" (Biometrics 53):
    placement values are summed within groups, whose defects and good parts may go together. It is DeLong's (DeLong,
    DeLong and Clarke-Pearson 1988) when every group is a single image, and never taken for smaller than that. Few
    groups widen the interval as in `effective_number`. The logit keeps the bounds inside [0, 1] (Pepe 2003, section
    5.2).

    Parameters
    ----------
    is_defect : ndarray of bool, shape (n_images,)
        At least two defective and two good parts.
    defect_proba : ndarray of float, shape (n_images,)
    groups : ndarray, shape (n_images,), optional
        Without it every image is a group of its own.
    confidence : float in (0, 1)

    Returns
    -------
    area, low, high : float in [0, 1]
        When the variance is 0 it says nothing. For classes perfectly separated (or reversed) the bounds are then those
        of the rule of three, ``1 - 3 / n`` with n the groups of the class that has fewer (Hanley and Lippman-Hand
        1983); for scores that are all equal, or a class that is one group, they are 0 and 1.

    Raises
    ------
    ValueError
        If a class has fewer than two parts.
    """
    check_pair(is_defect, defect_proba)
    bad, good = defect_proba[is_defect], defect_proba[~is_defect]
    if min(len(bad), len(good)) < 2:
        raise ValueError(f"roc_auc_interval needs two parts of each class, got {len(bad)} defective, {len(good)} good")
    _, members = np.unique(np.arange(len(is_defect)) if groups is None else groups, return_inverse=True)
    ranks = rankdata(np.concatenate([bad, good]))
    # Share of good parts each defect outscores, and of defects that outscore each good part; ties count half.
    of_bad = (ranks[: len(bad)] - rankdata(bad)) / len(good)
    of_good = 1 - (ranks[len(bad) :] - rankdata(good)) / len(bad)
    area = float(of_bad.mean())
    n_groups = min(len(set(members[is_defect])), len(set(members[~is_defect])))
    if area in (0, 1):
        return area, *_rule_of_three(area, n_groups)
    if np.ptp(defect_proba) == 0 or n_groups == 1:
        return area, 0.0, 1.0
    variance = max(
        of_bad.var(ddof=1) / len(bad) + of_good.var(ddof=1) / len(good),
        _clustered_variance(of_bad - area, of_good - area, members[is_defect], members[~is_defect]),
    )
    widening = _widening(len(members), members.max() + 1, confidence)
    margin = widening * norm.ppf((1 + confidence) / 2) * np.sqrt(variance) / (area * (1 - area))
    return area, float(expit(logit(area) - margin)), float(expit(logit(area) + margin))


def bootstrap_interval(
    value: float, resampled: np.ndarray, n_groups: int, confidence: float = CONFIDENCE_LEVEL
) -> tuple[float, float]:
    """Percentile interval of a share or an area, from draws of groups with replacement.

    A bootstrap of few groups is too narrow; the expanded percentiles of Hesterberg 2015, "What Teachers Should Know
    About the Bootstrap" (The American Statistician 69) make up for it, at ``Phi(-sqrt(n / (n - 1)) * t)`` with t the
    quantile of Student's distribution with n - 1 degrees of freedom.

    Parameters
    ----------
    value : float in [0, 1]
        Of all groups.
    resampled : ndarray of float, shape (n_draws,), in [0, 1]
    n_groups : int
        Of the class that has fewer.
    confidence : float in (0, 1)

    Returns
    -------
    low, high : float in [0, 1]
        They enclose ``value``. One group says nothing, and neither do draws that are all equal: see `roc_auc_interval`
        for what the bounds are then.
    """
    if n_groups > 1 and np.ptp(resampled) > 0:
        quantile = t.ppf((1 + confidence) / 2, n_groups - 1)
        tail = norm.cdf(-np.sqrt(n_groups / (n_groups - 1)) * quantile)
        low, high = np.quantile(resampled, [tail, 1 - tail])
        return min(value, float(low)), max(value, float(high))
    if value in (0, 1):
        return _rule_of_three(value, n_groups)
    return 0.0, 1.0


def _rule_of_three(area: float, n_groups: int) -> tuple[float, float]:
    """Bounds of an area of 0 or 1, whose variance says nothing."""
    slack = min(1.0, 3 / n_groups)
    return area * (1 - slack), min(1.0, area + slack)


def _clustered_variance(of_bad: np.ndarray, of_good: np.ndarray, bad: np.ndarray, good: np.ndarray) -> float:
    """Return Obuchowski's variance of placement values (their mean subtracted) of members of numbered groups."""
    n_groups = max(bad.max(), good.max()) + 1
    sums = np.bincount(bad, of_bad, n_groups), np.bincount(good, of_good, n_groups)
    # Per class: groups / (groups - 1) / images^2, where variance = sum of squares / images.
    factors = [count / (count - 1) for count in (len(set(bad)), len(set(good)), n_groups)]
    own = factors[0] * np.sum(sums[0] ** 2) / len(bad) ** 2 + factors[1] * np.sum(sums[1] ** 2) / len(good) ** 2
    return float(own + 2 * factors[2] * np.sum(sums[0] * sums[1]) / (len(bad) * len(good)))


def _widening(n_images: int, n_groups: int, confidence: float) -> float:
    """Return by how much an interval grows since the variance comes from groups; 1 when each is a single image."""
    quantile = (1 + confidence) / 2
    return 1.0 if n_groups == n_images else float(t.ppf(quantile, n_groups - 1) / t.ppf(quantile, n_images - 1))


def check_pair(first: np.ndarray, second: np.ndarray) -> None:
    """Raise ValueError unless both arrays have one value for each of at least one image.

    Parameters
    ----------
    first, second : ndarray, shape (n_images,)
    """
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(f"need two non-empty arrays of one shape (n_images,), got {first.shape} and {second.shape}")
