"""Where a photograph is unlike good parts: one map made of those of the voters, and the regions that stand out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage

from inspection.voters.map_scale import LIT

_FINENESS = 8
"""Points per cell of a map, between which it is interpolated before regions are outlined."""
_FINEST = 2048
"""Points along a side: a map that has more cells than an eighth of it, of many tiles, is interpolated less."""
_ROWS, _COLUMNS = ("upper", "", "lower"), ("left", "", "right")
_ALONE = {"": "centre", "upper": "top", "lower": "bottom"}


@dataclass(frozen=True)
class Region:
    """A connected part of a photograph that is unlike good parts.

    Attributes
    ----------
    left, top, width, height : int
        Box around it, in pixels of the photograph.
    area : int
        In pixels.
    share : float in (0, 1]
        Of the photograph.
    place : str
        In words, such as ``upper left``.
    rarity : float
        The largest in it; see `inspection.voters.map_scale`.
    """

    left: int
    top: int
    width: int
    height: int
    area: int
    share: float
    place: str
    rarity: float


@dataclass(frozen=True, eq=False)
class DefectMap:
    """How rare every place of a photograph would be on a good part.

    Attributes
    ----------
    by_voter : mapping of str to ndarray of float32, shape (rows, columns), >= 0
        Of each voter that gives a map, over the whole photograph; see `inspection.voters.map_scale`.
    averaged : tuple of str
        The voters whose mean is the map of the photograph.
    peak : float
        Rarity that a place must reach to be called a region.
    height, width : int
        Of the photograph as it is shown, in pixels.
    """

    by_voter: Mapping[str, npt.NDArray[np.float32]] = field(repr=False)
    averaged: tuple[str, ...]
    peak: float
    height: int
    width: int

    @cached_property
    def rarity(self) -> npt.NDArray[np.float32]:
        """The mean of the voters that count, shape (rows, columns) of the finest of their maps."""
        maps = [self.by_voter[voter] for voter in self.averaged]
        finest = max((of_voter.shape for of_voter in maps), key=np.prod)
        return np.asarray(np.mean([_interpolate(of_voter, *finest) for of_voter in maps], axis=0), np.float32)

    def resized(self, height: int, width: int, voter: str | None = None) -> npt.NDArray[np.float32]:
        """Return the map, interpolated to a size.

        Parameters
        ----------
        height, width : int
            In pixels.
        voter : str, optional
            The map of one voter in place of the mean.

        Returns
        -------
        ndarray of float32, shape (height, width), >= 0
        """
        return _interpolate(self.rarity if voter is None else self.by_voter[voter], height, width)

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        """The connected areas at `LIT` or above that somewhere reach ``peak``, the rarest first.

        Two levels as in hysteresis thresholding (Canny 1986): the higher says that there is something, the lower how
        far it reaches.
        """
        fineness = int(np.clip(_FINEST // max(self.rarity.shape), 1, _FINENESS))
        rows, columns = (fineness * side for side in self.rarity.shape)
        fine = self.resized(rows, columns)
        # Areas that touch at a corner are one.
        labelled, n_areas = ndimage.label(fine >= LIT, structure=np.ones((3, 3)))
        numbers = np.arange(1, n_areas + 1)
        highest = ndimage.maximum(fine, labelled, numbers)
        boxes = ndimage.find_objects(labelled)
        found = [
            self._describe(
                boxes[number - 1], int((labelled[boxes[number - 1]] == number).sum()), labelled.shape, rarity
            )
            for number, rarity in zip(numbers, highest, strict=True)
            if rarity >= self.peak
        ]
        return tuple(sorted(found, key=lambda region: (-region.rarity, region.top, region.left)))

    def _describe(self, box: tuple[slice, ...], n_points: int, shape: tuple[int, ...], rarity: float) -> Region:
        rows, columns = shape
        share = n_points / (rows * columns)
        top, bottom = (round(end * self.height / rows) for end in (box[0].start, box[0].stop))
        left, right = (round(end * self.width / columns) for end in (box[1].start, box[1].stop))
        centre = ((box[0].start + box[0].stop) / (2 * rows), (box[1].start + box[1].stop) / (2 * columns))
        area = max(1, round(share * self.height * self.width))
        width, height = max(1, right - left), max(1, bottom - top)
        return Region(left, top, width, height, area, round(share, 6), _place(*centre), round(float(rarity), 2))


def _place(down: float, across: float) -> str:
    """Return in words where a point lies, given as shares of height and width: the nearest of nine places."""
    row, column = _ROWS[min(2, int(3 * down))], _COLUMNS[min(2, int(3 * across))]
    return f"{row} {column}".strip() if column else _ALONE[row]


def _interpolate(values: npt.NDArray[np.float32], height: int, width: int) -> npt.NDArray[np.float32]:
    """Return a map at another size, bilinearly; Pillow knows no float16."""
    if values.shape == (height, width):
        return values
    resized = Image.fromarray(values.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized)
