"""One absolute scale for maps of defects: how rare a value is among patches of good parts.

A map stretched to its own maximum paints a defect onto every good part. Here a value means the same on every
photograph: 3 says "further than 99.9 % of the patches of good parts", measured on photographs that the memory or
network behind the map had not seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from inspection.array_files import vouched_arrays, write_arrays

RARITIES = np.linspace(0, 4, 41)
"""Of which the values are kept: decades of the share of patches of good parts that lie beyond."""
MOST = 10.0
"""Largest rarity: what lies far beyond every patch of a good part."""
LIT = 3.0
"""From here on a place is lit: one patch of good parts in a thousand is."""
FALSE_REGION_RATE = 0.05
"""Share of good photographs on which some place may be called a region; see `MapScale.peak`."""
_PER_DECADE = 10


@dataclass(frozen=True)
class MapScale:
    """Values of a map by their rarity among patches of good parts.

    Attributes
    ----------
    quantiles : ndarray of float32, shape (n_rarities,)
        Value that a share of ``10 ** -rarity`` of the patches of good parts exceeds, for each of `RARITIES`.
    peak : float in [LIT, MOST]
        Rarity that a place must reach to be called a region: on all but `FALSE_REGION_RATE` of the good photographs
        none does.
    """

    quantiles: np.ndarray
    peak: float

    @classmethod
    def fit(cls, maps: Sequence[np.ndarray]) -> Self:
        """Learn the scale from maps of good parts.

        Rarer values than so many patches hold are not known: n patches tell rarities up to ``log10(n)``. From there on
        the scale goes on as it does beyond its end, by the last decade that they do tell; see `rarity`.

        Parameters
        ----------
        maps : sequence of ndarray of float32, shape (n_images,), each of shape (rows, columns)
            Of at least one good part, none of which the memory or network behind the maps had seen. Their shapes may
            differ.

        Returns
        -------
        MapScale
        """
        values = np.concatenate([one.ravel() for one in maps])
        known = RARITIES[np.log10(values.size) >= RARITIES]
        of_known = np.quantile(values, 1 - 10**-known)
        decade = of_known[-1] - of_known[max(0, len(known) - 1 - _PER_DECADE)]
        beyond = of_known[-1] + decade * (RARITIES[len(known) :] - known[-1])
        quantiles = np.concatenate([of_known, beyond]).astype(np.float32)
        scale = cls(quantiles, LIT)
        highest = scale.rarity(np.array([one.max() for one in maps]))
        peak = np.quantile(highest, 1 - FALSE_REGION_RATE, method="higher")
        return cls(quantiles, float(np.clip(peak, LIT, MOST)))

    def rarity(self, values: np.ndarray) -> np.ndarray:
        """Return how rare values are.

        Beyond the rarest value that is kept, rarity grows with the value as it does over the last decade: an
        exponential tail, the middle case of extreme value theory (Pickands 1975).

        Parameters
        ----------
        values : ndarray of float, any shape

        Returns
        -------
        ndarray of float32, same shape, in [0, MOST]
            ``-log10`` of the share of patches of good parts that lie beyond.
        """
        last = float(self.quantiles[-1])
        # Where the last decade is a single value, all beyond it is unheard of.
        decade = max(last - float(self.quantiles[-1 - _PER_DECADE]), float(np.finfo(np.float32).tiny))
        rarity = np.interp(values, self.quantiles, RARITIES)
        beyond = RARITIES[-1] + (np.asarray(values, float) - last) / decade
        return np.where(values > last, np.minimum(beyond, MOST), rarity).astype(np.float32)

    def as_arrays(self) -> dict[str, np.ndarray]:
        """Return what `of_arrays` makes the scale of again."""
        return {"quantiles": self.quantiles, "peak": np.array(self.peak)}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Make a scale of the arrays of a file, among others perhaps.

        Parameters
        ----------
        arrays : mapping of str to ndarray

        Raises
        ------
        KeyError, TypeError, ValueError
            If they are not those of a scale.
        """
        quantiles = arrays["quantiles"].astype(np.float32)
        if quantiles.shape != RARITIES.shape or not np.all(np.diff(quantiles) >= 0):
            raise ValueError(f"need {len(RARITIES)} rising quantiles, got {quantiles.shape}")
        peak = float(arrays["peak"])
        if not LIT <= peak <= MOST:
            raise ValueError(f"need a peak from {LIT:g} to {MOST:g}, got {peak}")
        return cls(quantiles, peak)


def write_map_scale(path: str | Path, scale: MapScale) -> None:
    """Write the scale of a network's maps as ``.npz``, in one step; the same scale gives the same bytes.

    Parameters
    ----------
    path : str or Path
    scale : MapScale
    """
    write_arrays(path, scale.as_arrays())


def read_map_scale(data: bytes, name: str) -> MapScale:
    """Read a scale from the bytes of its file.

    Parameters
    ----------
    data : bytes
    name : str
        Of the file, for error messages.

    Returns
    -------
    MapScale

    Raises
    ------
    ModelsError
        If the content is not a scale.
    """
    with vouched_arrays(data, name, "scale of maps") as arrays:
        return MapScale.of_arrays(arrays)
