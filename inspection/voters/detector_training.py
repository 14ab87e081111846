"""Training of a detector: memories of good parts, and what their distances mean."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from inspection.calibration import fit_logistic
from inspection.errors import DataError
from inspection.labels import CLASS_NAMES, DEFECTIVE, NON_DEFECTIVE
from inspection.threads import single_threaded_libraries
from inspection.voters.map_scale import MapScale
from inspection.voters.patch_detector import PatchDetector, smooth, top_mean
from inspection.voters.patch_memory import PatchMemory, remember

TOP_SHARES = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1)
"""Of the positions of a photograph, the farthest of which are averaged: what is tried; 0 is the farthest alone."""
USUAL_SHARE = 0.02
"""Of the same, unless another is clearly better."""
_STANDARD_ERRORS = 2.0
"""By which another share must be better than the usual one."""
N_ENOUGH_DEFECTS = 10
"""Labelled defects from which on planted ones have no say in what a distance means."""
MAX_PLANTED = 500
"""Good photographs into which a defect is planted."""
_N_CANDIDATES = 50_000
"""Patches that a memory is chosen from, of as many good parts as there are."""

ReadPatchMaps = Callable[[np.ndarray], Iterable[np.ndarray]]
"""Called with positions of photographs, yields the patch map of each."""


@dataclass(frozen=True)
class TrainedDetector:
    """A detector, and what it says of the training images.

    Attributes
    ----------
    detector : PatchDetector
    out_of_fold : ndarray of float, shape (n_images,), in [0, 1]
        P(defective) of each training image by the memory that was made without its fold.
    planted_roc_auc : float in [0, 1], or None
        How well defects planted into good photographs are told from the good photographs, out of fold; None where
        enough real ones are known and none was planted.
    """

    detector: PatchDetector
    out_of_fold: np.ndarray
    planted_roc_auc: float | None


@dataclass(frozen=True)
class TrainingParts:
    """What is known of the training images.

    Attributes
    ----------
    labels : ndarray of int, shape (n_images,)
    weights : ndarray of float, shape (n_images,)
        Of the calibration.
    folds : ndarray of int, shape (n_images,)
    n_defects : int
        Labelled defects that are no copies of one another: groups.
    """

    labels: np.ndarray
    weights: np.ndarray
    folds: np.ndarray
    n_defects: int

    @classmethod
    def of(cls, rows: pd.DataFrame) -> Self:
        """Take them from training rows of a manifest.

        Parameters
        ----------
        rows : DataFrame
            Columns ``label``, ``weight``, ``fold`` and ``group``.
        """
        labels, weights, folds = (rows[column].to_numpy() for column in ("label", "weight", "fold"))
        return cls(labels, weights, folds, rows.loc[labels == DEFECTIVE, "group"].nunique())


def train_patch_detector(
    read_maps: ReadPatchMaps,
    read_planted_maps: ReadPatchMaps,
    parts: TrainingParts,
    n_components: int,
    n_patches: int,
    seed: int,
) -> TrainedDetector:
    """Make a memory of good parts without each fold, score that fold with it, and calibrate the scores.

    Every photograph is read twice if it is good, else once; patch maps are not kept. While fewer than
    `N_ENOUGH_DEFECTS` are labelled, defects planted into good photographs help to say what a distance means: they
    weigh as much as all good parts when none is labelled, and less with each that is.

    Parameters
    ----------
    read_maps : callable
        See `ReadPatchMaps`.
    read_planted_maps : callable
        The same of photographs with a planted defect; called while fewer than `N_ENOUGH_DEFECTS` are labelled.
    parts : TrainingParts
    n_components, n_patches : int
        See `remember`; of each memory.
    seed : int

    Returns
    -------
    TrainedDetector
        The same for any number of threads.

    Raises
    ------
    DataError
        If there are no good parts outside some fold.

    Notes
    -----
    Share and sigmoid are chosen on the same scores that are given back, so those are a little optimistic; test images
    are not involved.
    """
    folds, places = np.unique(parts.folds, return_inverse=True)
    good = np.flatnonzero(parts.labels == NON_DEFECTIVE)
    _check_folds(places[good])
    n_wanted = _N_CANDIDATES * len(folds) // (len(folds) - 1)
    samples = _sample(read_maps(good), -(-n_wanted // len(good)), np.random.default_rng(seed))
    sampled_folds = np.repeat(places[good], [len(sample) for sample in samples])
    candidates = np.concatenate(samples)
    order = np.random.default_rng(seed).permutation(len(candidates))
    candidates, sampled_folds = candidates[order], sampled_folds[order]
    with single_threaded_libraries():
        memories = Parallel(n_jobs=-1, prefer="threads")(
            delayed(remember)(candidates[sampled_folds != fold], n_components, n_patches) for fold in range(len(folds))
        )
        distances = _distances(memories, places, read_maps, np.arange(len(places)))
        planted = choose_planted(good, seed) if parts.n_defects < N_ENOUGH_DEFECTS else good[:0]
        of_planted = _distances(memories, places, read_planted_maps, planted) if len(planted) else distances[:0]
    return _calibrated(tuple(memories), distances, of_planted, parts)


def _check_folds(folds_of_good: np.ndarray) -> None:
    n_folds = len(set(folds_of_good))
    if n_folds < 2:
        raise DataError(
            f"all training images labelled {CLASS_NAMES[NON_DEFECTIVE]} lie in {n_folds} fold, so nothing can be "
            "remembered without it. Add photographs of other groups."
        )


def _sample(patch_maps: Iterable[np.ndarray], n_per_image: int, random: np.random.Generator) -> list[np.ndarray]:
    """Take so many patches of each photograph, or all, at random."""
    flat = (patch_map.reshape(-1, patch_map.shape[-1]) for patch_map in patch_maps)
    return [patches[random.permutation(len(patches))[:n_per_image]] for patches in flat]


def _distances(
    memories: list[PatchMemory], places: np.ndarray, read_maps: ReadPatchMaps, positions: np.ndarray
) -> np.ndarray:
    """Return how far the patches of photographs lie from the memory that was made without their fold."""
    pairs = zip(places[positions], read_maps(positions), strict=True)
    return np.stack([memories[place].distances(patch_map[np.newaxis])[0] for place, patch_map in pairs])


def choose_planted(good: np.ndarray, seed: int) -> np.ndarray:
    """Choose photographs of good parts that a defect is planted into, `MAX_PLANTED` at most.

    Parameters
    ----------
    good : ndarray of int, shape (n_good,)
        Their positions.
    seed : int

    Returns
    -------
    ndarray of int, shape (n_planted,), rising
    """
    return np.sort(np.random.default_rng(seed).permutation(good)[:MAX_PLANTED])


def _calibrated(
    memories: tuple[PatchMemory, ...], distances: np.ndarray, of_planted: np.ndarray, parts: TrainingParts
) -> TrainedDetector:
    scale = MapScale.fit(smooth(distances[parts.labels == NON_DEFECTIVE]))
    found = calibrate_detector(top_means(distances), top_means(of_planted), parts)
    detector = PatchDetector(memories, found.top_share, found.slope, found.intercept, scale)
    return TrainedDetector(detector, detector.calibrate(distances), found.planted_roc_auc)


def top_means(distances: np.ndarray) -> np.ndarray:
    """Return the scores of photographs by each of `TOP_SHARES`.

    Parameters
    ----------
    distances : ndarray of float32, shape (n_images, rows, columns)

    Returns
    -------
    ndarray of float, shape (n_images, n_shares)
    """
    return np.column_stack([top_mean(distances, share) for share in TOP_SHARES])


class Calibration(NamedTuple):
    """What the distances of a photograph mean; see `PatchDetector` and `TrainedDetector`."""

    top_share: float
    slope: float
    intercept: float
    planted_roc_auc: float | None


def calibrate_detector(scores: np.ndarray, of_planted: np.ndarray, parts: TrainingParts) -> Calibration:
    """Choose what makes the score of a photograph, and fit the sigmoid; all out of fold.

    The share is `USUAL_SHARE` unless another is better by more than two standard errors of the difference of the areas
    under both ROC curves (DeLong, DeLong and Clarke-Pearson 1988): ten defects tell little, and a share that is best
    for them alone costs more than it brings.

    Parameters
    ----------
    scores : ndarray of float, shape (n_images, n_shares)
        From `top_means`, each image by a memory made without it.
    of_planted : ndarray of float, shape (n_planted, n_shares)
        Of good photographs with a planted defect; used while fewer than `N_ENOUGH_DEFECTS` are labelled, and then at
        least one.
    parts : TrainingParts

    Returns
    -------
    Calibration
    """
    if parts.n_defects >= N_ENOUGH_DEFECTS:
        of_planted = of_planted[:0]
    is_good = parts.labels == NON_DEFECTIVE
    weight_of_planted = parts.weights[is_good].sum() * max(0, 1 - parts.n_defects / N_ENOUGH_DEFECTS)
    labels = np.concatenate([parts.labels, np.full(len(of_planted), DEFECTIVE)])
    weights = np.concatenate([parts.weights, np.full(len(of_planted), weight_of_planted / max(1, len(of_planted)))])
    everything = np.concatenate([scores, of_planted])
    place = _choose_share(everything, labels == DEFECTIVE)
    slope, intercept = fit_logistic(everything[:, [place]], labels, weights)
    planted_auc = None
    if len(of_planted):
        compared = np.append(is_good, np.ones(len(of_planted), bool))
        planted_auc = float(roc_auc_score(labels[compared], everything[compared, place]))
    return Calibration(TOP_SHARES[place], float(slope[0]), intercept, planted_auc)


def _choose_share(scores: np.ndarray, is_defect: np.ndarray) -> int:
    placements = [_placements(of_share[is_defect], of_share[~is_defect]) for of_share in scores.T]
    usual = TOP_SHARES.index(USUAL_SHARE)
    gains = []
    for of_share in placements:
        differences = [own - other for own, other in zip(of_share, placements[usual], strict=True)]
        error = np.sqrt(sum(difference.var() / len(difference) for difference in differences))
        gain = float(differences[0].mean())
        gains.append(gain if gain > _STANDARD_ERRORS * error else 0.0)
    best = int(np.argmax(gains))
    return best if gains[best] > 0 else usual


def _placements(bad: np.ndarray, good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of good parts that each defect outscores, and of defects that outscore each good part."""
    ranks = rankdata(np.concatenate([bad, good]))
    of_bad = (ranks[: len(bad)] - rankdata(bad)) / len(good)
    return of_bad, 1 - (ranks[len(bad) :] - rankdata(good)) / len(bad)
