"""A detector that remembers patches of good parts: a photograph whose patches lie far from all of them is defective.

After PatchCore (Roth et al., CVPR 2022), with three differences: patches are compared without what exposure and
contrast do to the photograph, and with what is smaller than they are; there is one memory per fold, made without its
photographs, and all of them serve; and what a distance means is learned from photographs that the memory does not hold.

A patch map is an ndarray of float32, shape (rows, columns, n_channels): what a network sees at every position of a
photograph, see `inspection.networks.feature_maps.make_patch_map`.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.special import expit

from inspection.array_files import vouched_arrays, write_arrays
from inspection.voters.map_scale import MapScale
from inspection.voters.patch_memory import PatchMemory

_SMOOTHING = 1.0
"""Standard deviation, in positions of the map, of the Gaussian by which maps are smoothed."""
_KEYS = ("mean", "components", "patches")
"""Arrays of a `PatchMemory`."""
_SETTINGS = ("n_farthest", "slope", "intercept")
"""Numbers of a `PatchDetector`."""


def top_mean(distances: np.ndarray, n_farthest: int) -> np.ndarray:
    """Return the mean of the largest distances of every photograph.

    Parameters
    ----------
    distances : ndarray of float32, shape (n_images, rows, columns)
    n_farthest : int, >= 1
        Positions that are averaged, at most as many as there are.

    Returns
    -------
    ndarray of float, shape (n_images,)
    """
    flat = distances.reshape(len(distances), np.prod(distances.shape[1:]))
    return np.partition(flat, -n_farthest, axis=1)[:, -n_farthest:].mean(axis=1, dtype=float)


def smooth(distances: np.ndarray) -> np.ndarray:
    """Return maps of distances in which neighbours lend each other weight: one patch alone is more often noise.

    The score of a photograph is made of the distances as they are; smoothed ones find fewer small defects.

    Parameters
    ----------
    distances : ndarray of float32, shape (..., rows, columns)

    Returns
    -------
    ndarray of float32, shape (..., rows, columns)
    """
    return gaussian_filter(distances, _SMOOTHING, axes=(-2, -1))


@dataclass(frozen=True)
class PatchDetector:
    """Memories of good parts, one per fold and made without it, and what their distances mean.

    Attributes
    ----------
    memories : tuple of PatchMemory
    n_farthest : int, >= 1
        Positions whose distances make the score of a photograph, see `top_mean`.
    slope : float, >= 0
        Of the sigmoid: P(defective) by one memory is ``1 / (1 + exp(-(slope * score + intercept)))``.
    intercept : float
    scale : MapScale
        Of the smoothed distances, by good parts out of fold.
    """

    memories: tuple[PatchMemory, ...]
    n_farthest: int
    slope: float
    intercept: float
    scale: MapScale

    def look(self, patch_maps: np.ndarray) -> "Sighting":
        """Say how likely photographs show a defect, and where.

        Parameters
        ----------
        patch_maps : ndarray of float32, shape (n_images, rows, columns, n_channels)

        Returns
        -------
        Sighting
        """
        return self.judge(self.distances(patch_maps))

    def distances(self, patch_maps: np.ndarray) -> list[np.ndarray]:
        """Return how far patches lie from each memory.

        Parameters
        ----------
        patch_maps : ndarray of float32, shape (n_images, rows, columns, n_channels)
            Of photographs, or of tiles.

        Returns
        -------
        list of ndarray of float32, shape (n_images, rows, columns)
            One of each memory.
        """
        return [memory.distances(patch_maps) for memory in self.memories]

    def judge(self, distances: list[np.ndarray]) -> "Sighting":
        """Say what the distances of photographs mean.

        Parameters
        ----------
        distances : list of ndarray of float32, shape (n_images, rows, columns)
            One of each memory; of tiles after `inspection.data.tiles.TileGrid.stitch`.

        Returns
        -------
        Sighting
        """
        proba = np.mean([self.calibrate(of_memory) for of_memory in distances], axis=0)
        return Sighting(proba, self.scale.rarity(smooth(np.mean(distances, axis=0))))

    def calibrate(self, distances: np.ndarray) -> np.ndarray:
        """Return the P(defective) that the distances to one memory stand for.

        Parameters
        ----------
        distances : ndarray of float32, shape (n_images, rows, columns)

        Returns
        -------
        ndarray of float, shape (n_images,), in [0, 1]
        """
        return expit(self.slope * top_mean(distances, self.n_farthest) + self.intercept)


class Sighting(NamedTuple):
    """What a detector sees.

    Attributes
    ----------
    proba : ndarray of float, shape (n_images,), in [0, 1]
        P(defective).
    rarity : ndarray of float32, shape (n_images, rows, columns)
        How rare every place would be on a good part; see `inspection.voters.map_scale`.
    """

    proba: np.ndarray
    rarity: np.ndarray


def write_patch_detector(path: str | Path, detector: PatchDetector) -> None:
    """Write a detector as ``.npz``, in one step; the same detector gives the same bytes.

    Parameters
    ----------
    path : str or Path
    detector : PatchDetector
    """
    arrays = {key: np.array(getattr(detector, key)) for key in _SETTINGS}
    arrays |= detector.scale.as_arrays()
    arrays["n_memories"] = np.array(len(detector.memories))
    for number, memory in enumerate(detector.memories):
        arrays |= {f"{key}_{number}": getattr(memory, key) for key in _KEYS}
    write_arrays(path, arrays)


def read_patch_detector(data: bytes, name: str) -> PatchDetector:
    """Read a detector from the bytes of its file.

    Parameters
    ----------
    data : bytes
    name : str
        Of the file, for error messages.

    Returns
    -------
    PatchDetector

    Raises
    ------
    ModelsError
        If the content is not a detector.
    """
    with vouched_arrays(data, name, "patch memory") as arrays:
        n_memories = int(arrays["n_memories"])
        memories = (PatchMemory(*(arrays[f"{key}_{number}"] for key in _KEYS)) for number in range(n_memories))
        slope, intercept = float(arrays["slope"]), float(arrays["intercept"])
        scale = MapScale.of_arrays(arrays)
        return PatchDetector(tuple(memories), int(arrays["n_farthest"]), slope, intercept, scale)
