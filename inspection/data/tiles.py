"""Tiles: a large photograph seen piece by piece, so that what is small in it is not squeezed away.

Every tile is a square of the photograph, at the size that the network sees. Tiles overlap, for what lies at a border is
seen worse: a network pads what it cannot see.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from inspection.data.images import resize

MAX_TILES = 1024
"""Of one photograph: what more of them would take belongs scaled down, or into larger tiles."""
_OVERLAP = 0.25
"""Share of a tile that the next one shows too, at least."""


@dataclass(frozen=True)
class TileGrid:
    """Where the tiles of a photograph lie: in rows and columns, evenly from border to border.

    Attributes
    ----------
    height, width : int
        Of the photograph, in pixels.
    tile_height, tile_width : int
        The same number, unless one tile is the whole photograph.
    """

    height: int
    width: int
    tile_height: int
    tile_width: int

    @classmethod
    def of(cls, height: int, width: int, side: int | None) -> Self:
        """Lay out the tiles of a photograph.

        Parameters
        ----------
        height, width : int, >= 1
            In pixels.
        side : int, >= 1, or None
            Of a tile, in pixels of the photograph. One larger than the shorter side of the photograph becomes that
            side. None is one tile, the whole photograph, which is then squeezed to a square.

        Returns
        -------
        TileGrid
        """
        if side is None:
            return cls(height, width, height, width)
        side = min(side, height, width)
        return cls(height, width, side, side)

    @cached_property
    def tops(self) -> npt.NDArray[np.int_]:
        """First row of each row of tiles, in pixels, rising; the last row of tiles ends at the border."""
        return _starts(self.height, self.tile_height)

    @cached_property
    def lefts(self) -> npt.NDArray[np.int_]:
        """First column of each column of tiles."""
        return _starts(self.width, self.tile_width)

    @property
    def n_tiles(self) -> int:
        """How many there are."""
        return len(self.tops) * len(self.lefts)

    def cut(self, pixels: npt.NDArray[np.uint8], size: int) -> Iterator[npt.NDArray[np.uint8]]:
        """Yield the tiles, row by row and in each from left to right.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (height, width, 3)
        size : int
            Side of the result, in pixels.

        Yields
        ------
        ndarray of uint8, shape (size, size, 3)
            See `inspection.data.images.resize`.
        """
        for top in self.tops:
            for left in self.lefts:
                tile = pixels[top : top + self.tile_height, left : left + self.tile_width]
                yield resize(tile if tile.shape == pixels.shape else np.ascontiguousarray(tile), size)

    def sources(self, rows: int, columns: int) -> npt.NDArray[np.int_]:
        """Say which position of which tile stands for each position of the whole photograph.

        It is the nearest one of the tile in whose interior the position lies deepest. A weighted mean of all tiles that
        show it would make seams smooth, and the peaks lower by which a small defect is known.

        Parameters
        ----------
        rows, columns : int
            Of the map of one tile.

        Returns
        -------
        ndarray of int, shape (all_rows, all_columns)
            In the maps of all tiles, one after the other and flat. As fine as a tile's map, and that map itself where
            there is one tile.
        """
        tile_row, row = _nearest(self.tops, self.height, self.tile_height, rows)
        tile_column, column = _nearest(self.lefts, self.width, self.tile_width, columns)
        tile = tile_row[:, np.newaxis] * len(self.lefts) + tile_column
        sources: npt.NDArray[np.int_] = (tile * rows + row[:, np.newaxis]) * columns + column
        return sources

    def stitch(self, tile_maps: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Make one map of the whole photograph of those of its tiles.

        Parameters
        ----------
        tile_maps : ndarray of float32, shape (n_tiles, rows, columns)

        Returns
        -------
        ndarray of float32, shape (all_rows, all_columns)
            See `sources`.
        """
        stitched: npt.NDArray[np.float32] = tile_maps.reshape(-1)[self.sources(*tile_maps.shape[1:])]
        return stitched


class Tile(NamedTuple):
    """A tile as a network sees it, and the photograph that it is cut from.

    Attributes
    ----------
    photograph : int
        Counted from 0.
    grid : TileGrid
    pixels : ndarray of uint8, shape (size, size, 3)
    """

    photograph: int
    grid: TileGrid
    pixels: npt.NDArray[np.uint8]


def iterate_tiles(images: Iterable[npt.NDArray[np.uint8]], side: int | None, size: int) -> Iterator[Tile]:
    """Yield the tiles of photographs, all those of one after all those of the one before.

    Parameters
    ----------
    images : iterable of ndarray of uint8, shape (height, width, 3)
        Of any sizes.
    side : int or None
        See `TileGrid.of`.
    size : int
        Side of what the network sees, in pixels.

    Yields
    ------
    Tile
    """
    for photograph, image in enumerate(images):
        grid = TileGrid.of(image.shape[0], image.shape[1], side)
        for pixels in grid.cut(image, size):
            yield Tile(photograph, grid, pixels)


def _starts(length: int, side: int) -> npt.NDArray[np.int_]:
    n_tiles = 1 + ceil((length - side) / max(1, int(side * (1 - _OVERLAP))))
    # Rounded down throughout: the first is 0 and the last ends at the border.
    return np.arange(n_tiles) * (length - side) // max(1, n_tiles - 1)


def _nearest(
    starts: npt.NDArray[np.int_], length: int, side: int, n_positions: int
) -> tuple[npt.NDArray[np.int_], npt.NDArray[np.int_]]:
    """Return the tile and the position in it that is nearest to each position along one axis."""
    n_all = max(n_positions, round(length / side * n_positions))
    middles = (np.arange(n_all) + 0.5) * length / n_all
    # Of tiles of one size, the one with the nearest middle; of two as near the first.
    tile = np.abs(middles[:, np.newaxis] - (starts + side / 2)).argmin(axis=1)
    position = ((middles - starts[tile]) * n_positions / side).astype(int)
    return tile, np.clip(position, 0, n_positions - 1)
