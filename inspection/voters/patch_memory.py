"""Patches of good parts that are remembered, and how far others lie from them.

After Roth et al., "Towards total recall in industrial anomaly detection" (PatchCore, CVPR 2022).
"""

from dataclasses import dataclass

import numpy as np
from sklearn.utils import gen_batches

_SEARCHED = 1024
"""Patches that are compared with a memory at once: their distances to it stay in the cache."""


_LEAST_DEVIATION = 0.01
"""Of the largest standard deviation of a channel: that of one which hardly changes."""


@dataclass(frozen=True)
class PatchMemory:
    """Patches of good parts.

    Attributes
    ----------
    mean : ndarray of float32, shape (n_channels,)
        Of the patches.
    components : ndarray of float32, shape (n_channels, n_components)
        Onto which they are projected: the directions in which they differ most, orthonormal where each channel is
        measured in its own standard deviations.
    patches : ndarray of float16, shape (n_patches, n_components)
    """

    mean: np.ndarray
    components: np.ndarray
    patches: np.ndarray

    def distances(self, patch_maps: np.ndarray) -> np.ndarray:
        """Return how far patches lie from the nearest one of a good part.

        Parameters
        ----------
        patch_maps : ndarray of float32, shape (n_images, rows, columns, n_channels)

        Returns
        -------
        ndarray of float32, shape (n_images, rows, columns), >= 0
            In standard deviations of a channel, but for what the projection loses.
        """
        points = project(patch_maps.reshape(-1, patch_maps.shape[-1]), self.mean, self.components)
        patches = self.patches.astype(np.float32)
        squares = np.einsum("ij,ij->i", patches, patches)
        nearest = np.empty(len(points), np.float32)
        for batch in gen_batches(len(points), _SEARCHED) if len(points) else ():
            # Of the squared distance, what differs between the patches of the memory.
            differing = points[batch] @ (-2 * patches.T)
            differing += squares
            nearest[batch] = differing.min(axis=1)
        nearest += np.einsum("ij,ij->i", points, points)
        return np.sqrt(np.maximum(nearest, 0)).reshape(patch_maps.shape[:-1])


def project(patches: np.ndarray, mean: np.ndarray, components: np.ndarray) -> np.ndarray:
    """Return the coordinates of patches along the components.

    Parameters
    ----------
    patches : ndarray of float32, shape (n_patches, n_channels)
    mean : ndarray of float32, shape (n_channels,)
    components : ndarray of float32, shape (n_channels, n_components)

    Returns
    -------
    ndarray of float32, shape (n_patches, n_components)
    """
    return (patches - mean) @ components


def remember(patches: np.ndarray, n_components: int, n_patches: int) -> PatchMemory:
    """Make a memory of the patches of good parts.

    Channels count alike: each is measured in its own standard deviations, so that none is lost beside those that vary
    most, which tell good parts from one another rather than defects from them.

    Parameters
    ----------
    patches : ndarray of float32, shape (n_candidates, n_channels)
        A sample of them, in random order.
    n_components : int, >= 1
        More than there are channels or patches keep all.
    n_patches : int, >= 1
        Kept; more than there are keep all.

    Returns
    -------
    PatchMemory
    """
    mean = patches.mean(axis=0, dtype=float).astype(np.float32)
    centred = patches - mean
    deviations = centred.std(axis=0)
    # What never changes must not be divided by 0, nor make a distance of its rounding.
    deviations = np.maximum(deviations, _LEAST_DEVIATION * deviations.max() or 1)
    centred /= deviations
    variances, directions = np.linalg.eigh(centred.T @ centred / len(patches))
    # eigh sorts by rising variance.
    components = np.ascontiguousarray(directions[:, ::-1][:, :n_components], np.float32)
    projected = centred @ components
    kept = projected[spread(projected, n_patches)].astype(np.float16)
    return PatchMemory(mean, components / deviations[:, np.newaxis], kept)


def spread(points: np.ndarray, n_points: int) -> np.ndarray:
    """Choose points so that the one farthest from all of them is as near as greed makes it.

    The greedy k-centre of Gonzalez (Theoretical Computer Science 38, 1985), which is at most twice as wide as the best:
    each time, the point that is farthest from those chosen.

    Parameters
    ----------
    points : ndarray of float32, shape (n_all, n_components)
        The first one is chosen first.
    n_points : int
        More than there are different points choose those that are different.

    Returns
    -------
    ndarray of int, shape (at most n_points,)
        Positions in ``points``, in the order of the choice.
    """
    squares = np.einsum("ij,ij->i", points, points)
    chosen = [0]
    gaps = np.full(len(points), np.inf, np.float32)
    while len(chosen) < n_points:
        last = chosen[-1]
        np.minimum(gaps, squares + squares[last] - 2 * (points @ points[last]), out=gaps)
        gaps[last] = 0
        farthest = int(gaps.argmax())
        # Rounding leaves copies of one point a little apart.
        if gaps[farthest] <= 1e-6 * squares.max():
            break
        chosen.append(farthest)
    return np.array(chosen)
