"""Rates a factory asks for, with their uncertainty. A part is rejected when ``defect_proba >= threshold``."""

import numpy as np
from sklearn.metrics import average_precision_score, brier_score_loss, precision_recall_fscore_support

from inspection.decision.outcomes import Outcomes
from inspection.files import DIGITS
from inspection.reports.tables.intervals import check_pair, grouped_share_interval, roc_auc_interval

N_BINS = 10
"""Equal-width bins of the expected calibration error and of the calibration curve."""
MIN_DEFECTS = 2
"""With fewer nothing is said about them: an area under a curve has no interval."""


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
    check_pair(is_defect, is_rejected)
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
    check_pair(is_defect, is_rejected)
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
    check_pair(is_defect, defect_proba)
    curve = calibration_curve(is_defect, defect_proba, n_bins)
    return float(np.sum(curve["n_images"] * np.abs(curve["predicted"] - curve["observed"])) / len(is_defect))


def calibration_curve(is_defect: np.ndarray, defect_proba: np.ndarray, n_bins: int = N_BINS) -> dict[str, np.ndarray]:
    """Compare predicted and observed share of defects in the bins that hold images.

    Scikit-learn's closes its bins on the right and does not count images; here, as everywhere, a limit belongs to what
    lies above it.

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
    bins = bin_of(defect_proba, n_bins)
    counts = np.bincount(bins, minlength=n_bins)
    filled = counts > 0
    return {
        "predicted": np.bincount(bins, defect_proba, n_bins)[filled] / counts[filled],
        "observed": np.bincount(bins, is_defect, n_bins)[filled] / counts[filled],
        "n_images": counts[filled],
    }


def calibration_intervals(
    is_defect: np.ndarray, defect_proba: np.ndarray, groups: np.ndarray, n_bins: int = N_BINS
) -> dict[str, np.ndarray]:
    """Return how far the observed share of defects in each bin of `calibration_curve` may lie from its truth.

    Parameters
    ----------
    is_defect : ndarray of bool, shape (n_images,)
    defect_proba : ndarray of float, shape (n_images,), in [0, 1]
    groups : ndarray of str, shape (n_images,)
    n_bins : int

    Returns
    -------
    dict of ndarray, shape (n_filled_bins,)
        ``observed_low`` and ``observed_high``; see `inspection.reports.tables.intervals.grouped_share_interval`.
    """
    bins = bin_of(defect_proba, n_bins)
    bounds = [grouped_share_interval(is_defect[bins == place], groups[bins == place]) for place in np.unique(bins)]
    low, high = np.transpose(bounds)
    return {"observed_low": low, "observed_high": high}


def bin_of(defect_proba: np.ndarray, n_bins: int = N_BINS) -> np.ndarray:
    """Return the equal-width bin of each probability: bin i holds i/n_bins <= p < (i+1)/n_bins, the last one also 1.

    Parameters
    ----------
    defect_proba : ndarray of float, shape (n_images,), in [0, 1]
    n_bins : int

    Returns
    -------
    ndarray of int, shape (n_images,), in [0, n_bins)
    """
    return np.minimum((defect_proba * n_bins).astype(int), n_bins - 1)


def summarise(
    is_defect: np.ndarray, defect_proba: np.ndarray, outcomes: Outcomes, groups: np.ndarray
) -> dict[str, float | int | None]:
    """Return every metric of a voter or an ensemble on one set of images.

    A part that neither passes nor fails goes to review. It is not passed, and the decision that a factory pays for is
    whether a part passes: so for accuracy, precision and recall a review counts with the parts that fail (a defect
    under review is right, a good part under review is wrong), here and in every other table. For the overkill rate it
    does not count as failed, since a person may still pass it.

    Parameters
    ----------
    is_defect : ndarray of bool, shape (n_images,)
    defect_proba : ndarray of float, shape (n_images,), in [0, 1]
    outcomes : Outcomes
        Of the same parts.
    groups : ndarray of str, shape (n_images,)
        What names the group of each image: photographs of one group are no independent observations.

    Returns
    -------
    dict
        Flat, rounded to four decimals, the same keys for any model. Bounds are those of
        `inspection.reports.tables.intervals`. None for what needs defects where there are fewer than `MIN_DEFECTS`.

    Raises
    ------
    ValueError
        If no part is good.
    """
    passes = outcomes.passes
    is_right = ~passes == is_defect
    accuracy_low, accuracy_high = grouped_share_interval(is_right, groups)
    values = {
        "accuracy": np.mean(is_right),
        "accuracy_low": accuracy_low,
        "accuracy_high": accuracy_high,
        **_of_defects(is_defect, defect_proba, passes, groups),
        "overkill_rate": overkill_rate(is_defect, outcomes.fails),
        "review_rate": np.mean(outcomes.reviewed),
        "ece": expected_calibration_error(is_defect, defect_proba),
        "brier": brier_score_loss(is_defect, defect_proba, pos_label=True),
    }
    counts = {"n_images": len(is_defect), "n_groups": len(np.unique(groups))}
    return {name: None if value is None else round(float(value), DIGITS) for name, value in values.items()} | counts


def _of_defects(
    is_defect: np.ndarray, defect_proba: np.ndarray, passes: np.ndarray, groups: np.ndarray
) -> dict[str, float | None]:
    """Return the metrics that need defects, and of which nothing is known where there are fewer than two."""
    names = ("precision", "recall", "f1", "roc_auc", "roc_auc_low", "roc_auc_high", "average_precision", "escape_rate")
    if is_defect.sum() < MIN_DEFECTS:
        return dict.fromkeys(names)
    precision, recall, f1, _ = precision_recall_fscore_support(is_defect, ~passes, average="binary", zero_division=0)
    areas = roc_auc_interval(is_defect, defect_proba, groups)
    average_precision = average_precision_score(is_defect, defect_proba)
    values = (precision, recall, f1, *areas, average_precision, escape_rate(is_defect, ~passes))
    return dict(zip(names, values, strict=True))


def per_thousand(is_defect: np.ndarray, outcomes: Outcomes, groups: np.ndarray) -> dict[str, float]:
    """Return how many of 1,000 such parts escape, are scrapped though good, and are reviewed, with 95 % intervals.

    Parameters
    ----------
    is_defect : ndarray of bool, shape (n_images,)
    outcomes : Outcomes
        Of the same parts.
    groups : ndarray of str, shape (n_images,)
        See `summarise`.

    Returns
    -------
    dict
        ``escapes``, ``overkill`` and ``reviews``, each with ``_low`` and ``_high``, rounded to one decimal; see
        `inspection.reports.tables.intervals.grouped_share_interval`. They hold for the share of defects of these
        images.
    """
    events = {
        "escapes": is_defect & outcomes.passes,
        "overkill": ~is_defect & outcomes.fails,
        "reviews": outcomes.reviewed,
    }
    values: dict[str, float] = {}
    for name, happens in events.items():
        low, high = grouped_share_interval(happens, groups)
        values |= {name: float(np.mean(happens)), f"{name}_low": low, f"{name}_high": high}
    return {name: round(1000 * value, 1) for name, value in values.items()}
