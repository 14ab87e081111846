"""Is this a photograph of the kind the models know? Its distance to the training images in feature space."""

from dataclasses import asdict, dataclass
from functools import cached_property
from math import ceil
from pathlib import Path

import numpy as np
from sklearn.utils import gen_batches

from inspection.array_files import vouched_arrays, write_arrays
from inspection.threads import single_threaded_libraries

N_NEIGHBOURS = 5
_N_SPARE = 5
"""Candidates beyond those wanted: the search subtracts large numbers, which may change the order of a few."""
_BATCH = 64
"""Photographs whose neighbours are searched at once, for bounded memory."""
_LEAST_DEVIATION = 1e-3
"""Of a feature over the training images; one that never varies would turn rounding into distance."""
_LARGEST = 60_000.0
"""Standardised feature that is kept: float16 ends at 65,504."""
_BEYOND_ANY_LIMIT = 1000.0
"""Multiple of a limit of 0 that any distance is: a number, since JSON knows no infinity."""


@dataclass(frozen=True)
class Guard:
    """Training images in feature space, and how far from them a photograph may lie.

    All features are kept, in half precision: fewer principal components find other neighbours (on ELPV the nearest one
    in 26 % of the cases with 64 of 1,152, and in 1 % with 768), half precision finds the same.

    Attributes
    ----------
    mean, deviation : ndarray of float32, shape (n_features,)
        Of the training images.
    bank : ndarray of float16, shape (n_images, n_features)
        Standardised features of every training image.
    paths : ndarray of str, shape (n_images,)
        Of the training images.
    limit : float, >= 0
        Distance beyond which a photograph is unlike the training images.
    """

    mean: np.ndarray
    deviation: np.ndarray
    bank: np.ndarray
    paths: np.ndarray
    limit: float

    def distances(self, features: np.ndarray) -> np.ndarray:
        """Return how far photographs lie from the training images.

        Parameters
        ----------
        features : ndarray of float, shape (n_images, n_features)

        Returns
        -------
        ndarray of float, shape (n_images,)
            Mean distance to the nearest ``N_NEIGHBOURS`` training images, in standard deviations per feature.
        """
        return self.neighbours(features)[1].mean(1)

    def unlikeness(self, features: np.ndarray) -> np.ndarray:
        """Return the distances in multiples of the limit.

        Parameters
        ----------
        features : ndarray of float, shape (n_images, n_features)

        Returns
        -------
        ndarray of float, shape (n_images,)
            Above 1 a photograph is unlike the training images. Where these are all the same, so that the limit is 0,
            every other photograph is.
        """
        distances = self.distances(features)
        return distances / self.limit if self.limit > 0 else np.where(distances > 0, _BEYOND_ANY_LIMIT, 0.0)

    def neighbours(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the nearest training images, by Euclidean distance in the standardised features.

        The search goes block by block: its memory does not grow with the product of photographs and training images.

        Parameters
        ----------
        features : ndarray of float, shape (n_images, n_features)
            Finite.

        Returns
        -------
        positions : ndarray of int, shape (n_images, N_NEIGHBOURS)
            In ``paths``; fewer columns when there are fewer training images.
        distances : ndarray of float, shape (n_images, N_NEIGHBOURS)
            In standard deviations per feature, nearest first.
        """
        n_neighbours = min(N_NEIGHBOURS, len(self.bank))
        if not len(features):
            return np.empty((0, n_neighbours), dtype=int), np.empty((0, n_neighbours))
        points = _standardise(features, self.mean, self.deviation).astype(np.float32)
        with single_threaded_libraries():
            found = [self._nearest(points[batch], n_neighbours) for batch in gen_batches(len(points), _BATCH)]
        positions, distances = zip(*found, strict=True)
        return np.concatenate(positions), np.concatenate(distances)

    def _nearest(self, points: np.ndarray, n_neighbours: int) -> tuple[np.ndarray, np.ndarray]:
        vectors, squares = self._search
        # Of the squared distance, what differs between the training images.
        differing = squares - 2 * points @ vectors.T
        n_candidates = min(n_neighbours + _N_SPARE, len(vectors))
        candidates = np.argpartition(differing, n_candidates - 1, axis=1)[:, :n_candidates]
        gaps = points[:, np.newaxis] - vectors[candidates]
        distances = np.sqrt(np.square(gaps).mean(axis=2, dtype=float))
        order = np.lexsort((candidates, distances), axis=1)[:, :n_neighbours]
        return np.take_along_axis(candidates, order, axis=1), np.take_along_axis(distances, order, axis=1)

    @cached_property
    def _search(self) -> tuple[np.ndarray, np.ndarray]:
        """Training images in single precision, and their squared lengths."""
        vectors = self.bank.astype(np.float32)
        return vectors, np.einsum("ij,ij->i", vectors, vectors)


def fit_guard(vectors: np.ndarray, paths: np.ndarray, folds: np.ndarray, false_alarm_rate: float) -> Guard:
    """Learn how far apart photographs of one kind lie.

    The limit is the conformal quantile of the distances of the training images from the images of the other folds
    (Vovk, Gammerman and Shafer 2005; Laxhammar and Falkman 2011 for distances to neighbours), so that about
    ``false_alarm_rate`` of further photographs of the same kind exceed it. No fold divides a group: a copy of a
    photograph is not among its neighbours.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n_images, n_features)
        Features of the training images by one backbone.
    paths : ndarray of str, shape (n_images,)
    folds : ndarray of int, shape (n_images,)
    false_alarm_rate : float in (0, 1)

    Returns
    -------
    Guard
        The same for any number of threads.
    """
    distances = np.empty(len(vectors))
    for fold in np.unique(folds):
        rest = folds != fold
        distances[~rest] = _fit(vectors[rest], paths[rest], np.inf).distances(vectors[~rest])
    rank = min(ceil((len(vectors) + 1) * (1 - false_alarm_rate)), len(vectors))
    return _fit(vectors, paths, float(np.sort(distances)[rank - 1]))


def write_guard(path: str | Path, guard: Guard) -> None:
    """Write a guard as ``.npz``, in one step; the same guard gives the same bytes.

    Parameters
    ----------
    path : str or Path
    guard : Guard
    """
    write_arrays(path, {name: np.asarray(value) for name, value in asdict(guard).items()})


def read_guard(data: bytes, name: str) -> Guard:
    """Read a guard from the bytes of its file.

    Parameters
    ----------
    data : bytes
    name : str
        Of the file, for error messages.

    Returns
    -------
    Guard

    Raises
    ------
    ModelsError
        If the content is not a guard.
    """
    with vouched_arrays(data, name, "guard") as arrays:
        guard = Guard(
            **{key: arrays[key] for key in Guard.__dataclass_fields__ if key != "limit"},
            limit=float(arrays["limit"]),
        )
        if guard.bank.shape != (len(guard.paths), guard.mean.size):
            raise ValueError(f"a bank of shape {guard.bank.shape}, as another version of this project wrote it")
        return guard


def _fit(vectors: np.ndarray, paths: np.ndarray, limit: float) -> Guard:
    mean = vectors.mean(0, dtype=float).astype(np.float32)
    deviation = np.maximum(vectors.std(0, dtype=float), _LEAST_DEVIATION).astype(np.float32)
    return Guard(mean, deviation, _standardise(vectors, mean, deviation), paths, limit)


def _standardise(vectors: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Return the features in standard deviations from their mean, rounded to half precision."""
    return np.clip((vectors - mean) / deviation, -_LARGEST, _LARGEST).astype(np.float16)
