"""Rates a factory asks for, with their uncertainty. A part is rejected when ``defect_proba >= threshold``."""

import numpy as np
from scipy.special import expit, logit
from scipy.stats import binomtest, norm, rankdata
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from inspection.files import DIGITS

CONFIDENCE_LEVEL = 0.95
N_BINS = 10
"""Equal-width bins of the expected calibration error and of the calibration curve."""


def escape_rate(is_defect: np.ndarray, is_rejected: np.ndarray) -> float:
    """Share of defective parts that would pass inspection, FN / (FN + TP).

    Parameters
    ----------
    is_defect, is_rejected : ndarray of bool, shape (n_images,)

    Returns
    -------
    float in [0, 1]; lower is better.

    Raises
    ------
    ValueError
        If shapes differ or no part is defective.
    """
    _check_pair(is_defect, is_rejected)
    if not is_defect.any():
        raise ValueError("escape_rate needs at least one defective part")
    return float(np.mean(~is_rejected[is_defect]))


def overkill_rate(is_defect: np.ndarray, is_rejected: np.ndarray) -> float:
    """Share of good parts that would be rejected, FP / (FP + TN).

    Parameters
    ----------
    is_defect, is_rejected : ndarray of bool, shape (n_images,)

    Returns
    -------
    float in [0, 1]; lower is better.

    Raises
    ------
    ValueError
        If shapes differ or no part is good.
    """
    _check_pair(is_defect, is_rejected)
    if is_defect.all():
        raise ValueError("overkill_rate needs at least one good part")
    return float(np.mean(is_rejected[~is_defect]))


def expected_calibration_error(is_defect: np.ndarray, defect_proba: np.ndarray, n_bins: int = N_BINS) -> float:
    """Mean distance between predicted and observed share of defects, over equal-width bins weighted by their images.

    Naeini et al. 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning", for the defective class.

    Parameters
    ----------
    is_defect : ndarray of bool, shape (n_images,)
    defect_proba : ndarray of float, shape (n_images,), in [0, 1]
    n_bins : int
        Bin i holds i/n_bins <= p < (i+1)/n_bins; the last one includes 1.

    Returns
    -------
    float in [0, 1]; 0 is perfect.
    """
    _check_pair(is_defect, defect_proba)
    curve = calibration_curve(is_defect, defect_proba, n_bins)
    return float(np.sum(curve["n_images"] * np.abs(curve["predicted"] - curve["observed"])) / len(is_defect))


def calibration_curve(is_defect: np.ndarray, defect_proba: np.ndarray, n_bins: int = N_BINS) -> dict[str, np.ndarray]:
    """Compare predicted and observed share of defects in the bins that hold images.

    Parameters
    ----------
    is_defect : ndarray of bool, shape (n_images,)
    defect_proba : ndarray of float, shape (n_images,), in [0, 1]
    n_bins : int

    Returns
    -------
    dict of ndarray, shape (n_filled_bins,)
        ``predicted`` (mean probability), ``observed`` (share of defects) and ``n_images``.
    """
    bins = np.minimum((defect_proba * n_bins).astype(int), n_bins - 1)
    counts = np.bincount(bins, minlength=n_bins)
    filled = counts > 0
    return {
        "predicted": np.bincount(bins, defect_proba, n_bins)[filled] / counts[filled],
        "observed": np.bincount(bins, is_defect, n_bins)[filled] / counts[filled],
        "n_images": counts[filled],
    }


def share_interval(n_hits: int, n_images: int, confidence: float = CONFIDENCE_LEVEL) -> tuple[float, float]:
    """Wilson score interval of a share (Wilson 1927).

    Parameters
    ----------
    n_hits, n_images : int
        ``0 <= n_hits <= n_images``, at least one image.
    confidence : float in (0, 1)

    Returns
    -------
    low, high : float in [0, 1]
    """
    interval = binomtest(n_hits, n_images).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def roc_auc_interval(
    is_defect: np.ndarray, defect_proba: np.ndarray, confidence: float = CONFIDENCE_LEVEL
) -> tuple[float, float, float]:
    """Area under the ROC curve with DeLong's variance, the interval taken on the logit scale.

    DeLong, DeLong and Clarke-Pearson 1988; the logit keeps the bounds inside [0, 1] (Pepe 2003, section 5.2).

    Parameters
    ----------
    is_defect : ndarray of bool, shape (n_images,)
        At least two defective and two good parts.
    defect_proba : ndarray of float, shape (n_images,)
    confidence : float in (0, 1)

    Returns
    -------
    area, low, high : float in [0, 1]
        When the variance is 0 it says nothing. For classes perfectly separated (or reversed) the bounds are then those
        of the rule of three, ``1 - 3 / n`` with n the smaller class (Hanley and Lippman-Hand 1983); for scores that
        are all equal they are 0 and 1.

    Raises
    ------
    ValueError
        If a class has fewer than two parts.
    """
    _check_pair(is_defect, defect_proba)
    bad, good = defect_proba[is_defect], defect_proba[~is_defect]
    if min(len(bad), len(good)) < 2:
        raise ValueError(f"roc_auc_interval needs two parts of each class, got {len(bad)} defective, {len(good)} good")
    ranks = rankdata(np.concatenate([bad, good]))
    # Share of good parts each defect outscores, and of defects that outscore each good part; ties count half.
    of_bad = (ranks[: len(bad)] - rankdata(bad)) / len(good)
    of_good = 1 - (ranks[len(bad) :] - rankdata(good)) / len(bad)
    area = float(of_bad.mean())
    slack = min(1.0, 3 / min(len(bad), len(good)))
    if area == 1:
        return area, 1 - slack, 1.0
    if area == 0:
        return area, 0.0, slack
    if np.ptp(defect_proba) == 0:
        return area, 0.0, 1.0
    error = np.sqrt(of_bad.var(ddof=1) / len(bad) + of_good.var(ddof=1) / len(good))
    margin = norm.ppf((1 + confidence) / 2) * error / (area * (1 - area))
    return area, float(expit(logit(area) - margin)), float(expit(logit(area) + margin))


def brier_score(is_defect: np.ndarray, defect_proba: np.ndarray) -> float:
    """Mean squared distance of the probability from what the part is (Brier 1950).

    Parameters
    ----------
    is_defect : ndarray of bool, shape (n_images,)
    defect_proba : ndarray of float, shape (n_images,), in [0, 1]

    Returns
    -------
    float in [0, 1]; 0 is perfect, and 0.25 what always saying one half gives.
    """
    _check_pair(is_defect, defect_proba)
    return float(np.mean((defect_proba - is_defect) ** 2))


def summarise(
    is_defect: np.ndarray, defect_proba: np.ndarray, passes: np.ndarray, fails: np.ndarray
) -> dict[str, float | int]:
    """Return every metric of a voter or an ensemble on one set of images.

    Parameters
    ----------
    is_defect : ndarray of bool, shape (n_images,)
    defect_proba : ndarray of float, shape (n_images,), in [0, 1]
    passes, fails : ndarray of bool, shape (n_images,)
        Verdicts; a part that does neither goes to review. It is not passed, so for accuracy, precision and recall it
        counts with the parts that fail; for the overkill rate it does not, since a person may still pass it.

    Returns
    -------
    dict
        Flat, rounded to four decimals, the same keys for any model.
    """
    n_images = len(is_defect)
    n_right = int(np.sum(~passes == is_defect))
    precision, recall, f1, _ = precision_recall_fscore_support(is_defect, ~passes, average="binary", zero_division=0)
    accuracy_low, accuracy_high = share_interval(n_right, n_images)
    area, area_low, area_high = roc_auc_interval(is_defect, defect_proba)
    values = {
        "accuracy": n_right / n_images,
        "accuracy_low": accuracy_low,
        "accuracy_high": accuracy_high,
        "precision": precision,
        "recall": recall,
        "f1": f1,
        "roc_auc": area,
        "roc_auc_low": area_low,
        "roc_auc_high": area_high,
        "average_precision": average_precision_score(is_defect, defect_proba),
        "escape_rate": escape_rate(is_defect, ~passes),
        "overkill_rate": overkill_rate(is_defect, fails),
        "review_rate": np.mean(~passes & ~fails),
        "ece": expected_calibration_error(is_defect, defect_proba),
        "brier": brier_score(is_defect, defect_proba),
    }
    return {name: round(float(value), DIGITS) for name, value in values.items()} | {"n_images": n_images}


def per_thousand(is_defect: np.ndarray, passes: np.ndarray, fails: np.ndarray) -> dict[str, float]:
    """Return how many of 1,000 such parts escape, are scrapped though good, and are reviewed, with 95 % intervals.

    Parameters
    ----------
    is_defect, passes, fails : ndarray of bool, shape (n_images,)
        See `summarise`.

    Returns
    -------
    dict
        ``escapes``, ``overkill`` and ``reviews``, each with ``_low`` and ``_high`` (Wilson), rounded to one decimal.
        They hold for the share of defects of these images.
    """
    outcomes = {"escapes": is_defect & passes, "overkill": ~is_defect & fails, "reviews": ~passes & ~fails}
    values = {}
    for name, happens in outcomes.items():
        n_hits = int(happens.sum())
        low, high = share_interval(n_hits, len(happens))
        values |= {name: n_hits / len(happens), f"{name}_low": low, f"{name}_high": high}
    return {name: round(1000 * value, 1) for name, value in values.items()}


def _check_pair(first: np.ndarray, second: np.ndarray) -> None:
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise ValueError(f"need two non-empty arrays of one shape (n_images,), got {first.shape} and {second.shape}")
