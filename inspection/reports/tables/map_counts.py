"""What a defect map says of one photograph, in numbers that are enough to judge it by and no pixel of it.

The values of a map are float16, of which 31,744 are finite and not negative: counts per value lose nothing that a
threshold could tell, and their size does not grow with that of the photograph.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

_TOUCHING = np.ones((3, 3))
"""Pixels of a region touch at a side or a corner."""


@dataclass(frozen=True)
class LocalisationCounts:
    """All that is to be known of the defect map of one photograph.

    Attributes
    ----------
    background_values, defect_values : ndarray of float16, shape (n_values,), rising
        Those that occur outside of the marked defects, and on them.
    background_counts, defect_counts : ndarray of int, shape (n_values,)
        Pixels of each value.
    overlaps : ndarray of float, shape (n_defect_values,)
        The share of each defect region that has a value, summed over the regions of the photograph.
    n_regions : int
        0 for a good part, and where a mask marks nothing.
    hit : float in [0, 1]
        Share of the pixels of the largest value that lie on a defect; NaN without a region.
    """

    background_values: np.ndarray
    background_counts: np.ndarray
    defect_values: np.ndarray
    defect_counts: np.ndarray
    overlaps: np.ndarray
    n_regions: int
    hit: float

    @classmethod
    def of(cls, defect_map: np.ndarray, mask: np.ndarray | None = None) -> "LocalisationCounts":
        """Count the values of a map.

        Parameters
        ----------
        defect_map : ndarray of float16, shape (height, width), finite and >= 0
            On one scale for all photographs.
        mask : ndarray of bool, shape (height, width), optional
            From `inspection.data.masks.read_mask`. None is no mark.

        Returns
        -------
        LocalisationCounts

        Raises
        ------
        ValueError
            If the map has other values, or the mask another shape.
        """
        is_defect = np.zeros(defect_map.shape, bool) if mask is None else mask
        _check_map(defect_map, is_defect)
        # As integers, the numbers of a float16 that are not negative keep their order and are sorted faster.
        bits = np.abs(defect_map).view(np.uint16)
        background, background_counts = np.unique(bits[~is_defect], return_counts=True)
        defects, places = np.unique(bits[is_defect], return_inverse=True)
        numbers, n_regions = ndimage.label(is_defect, _TOUCHING)
        region = numbers[is_defect]
        return cls(
            background_values=background.view(np.float16),
            background_counts=background_counts,
            defect_values=defects.view(np.float16),
            defect_counts=np.bincount(places, minlength=len(defects)),
            overlaps=np.bincount(places, 1 / np.bincount(region)[region] if n_regions else None, len(defects)),
            n_regions=int(n_regions),
            hit=float(is_defect[bits == bits.max()].mean()) if n_regions else np.nan,
        )


def _check_map(defect_map: np.ndarray, is_defect: np.ndarray) -> None:
    if defect_map.dtype != np.float16 or defect_map.ndim != 2 or not defect_map.size:
        raise ValueError(f"a defect map is float16 (height, width), got {defect_map.dtype} {defect_map.shape}")
    if is_defect.shape != defect_map.shape or is_defect.dtype != bool:
        raise ValueError(f"a mask is bool {defect_map.shape} as its map is, got {is_defect.dtype} {is_defect.shape}")
    wrong = defect_map[~(np.isfinite(defect_map) & (defect_map >= 0))]
    if wrong.size:
        raise ValueError(f"{wrong.size} values of a defect map are not finite or below 0, such as {wrong[0]}")
