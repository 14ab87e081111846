"""Is this a photograph of the kind the models know? Its distance to the training images in feature space."""

import io
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from sklearn.decomposition import PCA

from inspection.errors import ModelsError
from inspection.files import replacing

N_COMPONENTS = 64
N_NEIGHBOURS = 5
_LEAST_DEVIATION = 1e-3
"""Of a feature over the training images; one that never varies would turn rounding into distance."""
_FAR = 1000.0
"""Multiple of a limit of 0 that any distance is: a number, since JSON knows no infinity."""


@dataclass(frozen=True)
class Guard:
    """Training images in feature space, and how far from them a photograph may lie.

    Attributes
    ----------
    mean, deviation : ndarray of float32, shape (n_features,)
        Of the training images.
    components : ndarray of float32, shape (n_components, n_features)
        Principal components of the standardised features.
    bank : ndarray of float32, shape (n_images, n_components + 1)
        Coordinates of every training image, and its distance from the span of the components.
    paths : ndarray of str, shape (n_images,)
        Of the training images.
    limit : float
        Distance beyond which a photograph is unlike the training images.
    """

    mean: np.ndarray
    deviation: np.ndarray
    components: np.ndarray
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
        return distances / self.limit if self.limit > 0 else np.where(distances > 0, _FAR, 0.0)

    def neighbours(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the nearest training images.

        Returns
        -------
        positions : ndarray of int, shape (n_images, N_NEIGHBOURS)
            In ``paths``; fewer columns when there are fewer training images.
        distances : ndarray of float, shape (n_images, N_NEIGHBOURS)
            Nearest first.
        """
        return _nearest(self.bank, self._project(features), self.mean.size)

    def _project(self, features: np.ndarray) -> np.ndarray:
        return _project(features, self.mean, self.deviation, self.components)


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
    """
    distances = np.empty(len(vectors))
    for fold in np.unique(folds):
        rest = folds != fold
        distances[~rest] = _fit(vectors[rest], paths[rest], np.inf).distances(vectors[~rest])
    rank = min(ceil((len(vectors) + 1) * (1 - false_alarm_rate)), len(vectors))
    return _fit(vectors, paths, float(np.sort(distances)[rank - 1]))


def write_guard(path: str | Path, guard: Guard) -> None:
    """Write a guard as ``.npz``, in one step; the same guard gives the same bytes."""
    with replacing(path) as temporary:
        np.savez(temporary, **asdict(guard))


def read_guard(data: bytes, name: str) -> Guard:
    """Read a guard from the bytes of its file.

    Raises
    ------
    ModelsError
        If the content is not a guard.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return Guard(
                **{key: arrays[key] for key in Guard.__dataclass_fields__ if key != "limit"},
                limit=float(arrays["limit"]),
            )
    except (OSError, ValueError, KeyError, EOFError, TypeError, RuntimeError, BadZipFile) as problem:
        raise ModelsError(f"{name} is not a guard ({problem}); delete it and run `dvc repro`.") from problem


def _fit(vectors: np.ndarray, paths: np.ndarray, limit: float) -> Guard:
    mean = vectors.mean(0, dtype=float).astype(np.float32)
    deviation = np.maximum(vectors.std(0, dtype=float), _LEAST_DEVIATION).astype(np.float32)
    n_components = min(N_COMPONENTS, *(side - 1 for side in vectors.shape))
    pca = PCA(n_components, svd_solver="covariance_eigh").fit((vectors - mean) / deviation)
    components = pca.components_.astype(np.float32)
    return Guard(mean, deviation, components, _project(vectors, mean, deviation, components), paths, limit)


def _project(vectors: np.ndarray, mean: np.ndarray, deviation: np.ndarray, components: np.ndarray) -> np.ndarray:
    standardised = (vectors - mean) / deviation
    coordinates = standardised @ components.T
    beside = np.square(standardised).sum(1) - np.square(coordinates).sum(1)
    return np.column_stack([coordinates, np.sqrt(np.maximum(beside, 0))]).astype(np.float32)


def _nearest(bank: np.ndarray, points: np.ndarray, n_features: int) -> tuple[np.ndarray, np.ndarray]:
    """What lies beside the components of two images points in unrelated directions: its squares add up."""
    squares = np.square(points).sum(1)[:, None] + np.square(bank).sum(1) - 2 * points[:, :-1] @ bank[:, :-1].T
    distances = np.sqrt(np.maximum(squares, 0) / n_features)
    positions = np.argsort(distances, axis=1, kind="stable")[:, :N_NEIGHBOURS]
    return positions, np.take_along_axis(distances, positions, axis=1)
