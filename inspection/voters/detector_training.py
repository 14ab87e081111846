"""Training of a detector: memories of good parts, and what their distances mean."""

from collections.abc import Callable, Iterable, Sequence
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
from inspection.voters.patch_maps import TiledMaps
from inspection.voters.patch_memory import PatchMemory, remember

TOP_SHARES = (0.0, 0.005, 0.01, 0.02, 0.05, 0.1)
"""Of the positions of a tile, so many of which, the farthest of the photograph, are averaged: what is tried; 0 is the
farthest alone. A photograph that is not cut is one tile; of one that is, tiles are there to find what is small."""
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

ReadPatchMaps = Callable[[np.ndarray], Iterable[TiledMaps]]
"""Called with positions of photographs, yields the patch maps of each."""


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
    top_share : float in [0, 1]
        Which of `TOP_SHARES` the detector averages.
    """

    detector: PatchDetector
    out_of_fold: np.ndarray
    planted_roc_auc: float | None
    top_share: float


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
    random = np.random.default_rng(seed)
    samples = [seen.sample(-(-n_wanted // len(good)), random) for seen in read_maps(good)]
    sampled_folds = np.repeat(places[good], [len(sample) for sample in samples])
    candidates = np.concatenate(samples)
    order = np.random.default_rng(seed).permutation(len(candidates))
    candidates, sampled_folds = candidates[order], sampled_folds[order]
    with single_threaded_libraries():
        memories = Parallel(n_jobs=-1, prefer="threads")(
            delayed(remember)(candidates[sampled_folds != fold], n_components, n_patches) for fold in range(len(folds))
        )
        distances, n_positions = _distances(memories, places, read_maps, np.arange(len(places)))
        planted = choose_planted(good, seed) if parts.n_defects < N_ENOUGH_DEFECTS else good[:0]
        of_planted, _ = _distances(memories, places, read_planted_maps, planted)
    return _calibrated(tuple(memories), distances, of_planted, n_positions, parts)


def _check_folds(folds_of_good: np.ndarray) -> None:
    n_folds = len(set(folds_of_good))
    if n_folds < 2:
        raise DataError(
            f"all training images labelled {CLASS_NAMES[NON_DEFECTIVE]} lie in {n_folds} fold, so nothing can be "
            "remembered without it. Add photographs of other groups."
        )


def _distances(
    memories: list[PatchMemory], places: np.ndarray, read_maps: ReadPatchMaps, positions: np.ndarray
) -> tuple[list[np.ndarray], int]:
    """Return how far the patches of photographs lie from the memory made without their fold; positions of a tile."""
    distances, n_positions = [], 0
    # Nothing is read, not even the network, for no photograph.
    seen_maps = read_maps(positions) if len(positions) else ()
    for place, seen in zip(places[positions], seen_maps, strict=True):
        distances.append(seen.distances(memories[place]))
        n_positions = int(np.prod(seen.shape))
    return distances, n_positions


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
    memories: tuple[PatchMemory, ...],
    distances: list[np.ndarray],
    of_planted: list[np.ndarray],
    n_positions: int,
    parts: TrainingParts,
) -> TrainedDetector:
    is_good = parts.labels == NON_DEFECTIVE
    scale = MapScale.fit([smooth(one) for one, good in zip(distances, is_good, strict=True) if good])
    found = calibrate_detector(top_means(distances, n_positions), top_means(of_planted, n_positions), parts)
    n_farthest = count_farthest(found.top_share, n_positions)
    detector = PatchDetector(memories, n_farthest, found.slope, found.intercept, scale)
    out_of_fold = np.concatenate([detector.calibrate(one[np.newaxis]) for one in distances])
    return TrainedDetector(detector, out_of_fold, found.planted_roc_auc, found.top_share)


def count_farthest(share: float, n_positions: int) -> int:
    """Return how many positions are averaged.

    Parameters
    ----------
    share : float in [0, 1]
        One of `TOP_SHARES`.
    n_positions : int, >= 1
        Of the map of a tile.

    Returns
    -------
    int, >= 1
    """
    return max(1, round(share * n_positions))


def top_means(distances: Sequence[np.ndarray], n_positions: int) -> np.ndarray:
    """Return the scores of photographs by each of `TOP_SHARES`.

    Parameters
    ----------
    distances : sequence of ndarray of float32, shape (n_images,), each of shape (rows, columns)
        Their shapes may differ.
    n_positions : int
        Of the map of a tile, at most as many as each photograph has.

    Returns
    -------
    ndarray of float, shape (n_images, n_shares)
    """
    counts = [count_farthest(share, n_positions) for share in TOP_SHARES]
    means = [[top_mean(one[np.newaxis], n_farthest)[0] for n_farthest in counts] for one in distances]
    return np.array(means).reshape(len(distances), len(counts))


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
