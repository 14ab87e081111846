"""Patch maps of photographs, tile by tile: those of a large photograph would fill the memory."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, groupby
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pandas as pd

from inspection.data.images import AS_STORED, Decoding
from inspection.data.manifest import iterate_pixels
from inspection.data.tiles import Tile, TileGrid, iterate_tiles
from inspection.networks.onnx_models import BATCH_SIZE, OnnxModel, batches, one_ahead
from inspection.voters.patch_memory import PatchMemory


class TiledMaps(NamedTuple):
    """What a network sees of a photograph.

    Attributes
    ----------
    grid : TileGrid
    shape : (int, int)
        Rows and columns of the map of one tile.
    maps : iterable of ndarray of float32, shape (rows, columns, n_channels)
        Of each tile in its order; read once.
    """

    grid: TileGrid
    shape: tuple[int, ...]
    maps: Iterable[np.ndarray]

    @classmethod
    def of_whole(cls, patch_map: np.ndarray) -> Self:
        """Take the patch map of a photograph that was seen as a whole.

        Parameters
        ----------
        patch_map : ndarray of float32, shape (rows, columns, n_channels)
        """
        return cls(TileGrid.of(1, 1, None), patch_map.shape[:2], [patch_map])

    def distances(self, memory: PatchMemory) -> np.ndarray:
        """Return how far the patches of the photograph lie from a memory.

        Parameters
        ----------
        memory : PatchMemory

        Returns
        -------
        ndarray of float32, shape (all_rows, all_columns)
            See `inspection.data.tiles.TileGrid.stitch`.
        """
        return self.grid.stitch(np.concatenate([memory.distances(patch_map[np.newaxis]) for patch_map in self.maps]))

    def sample(self, n_patches: int, random: np.random.Generator) -> np.ndarray:
        """Take so many patches of the photograph, or all, at random.

        Only those that stand for some place of it: no border of a tile that another tile sees better.

        Parameters
        ----------
        n_patches : int
        random : numpy.random.Generator

        Returns
        -------
        ndarray of float32, shape (at most n_patches, n_channels)
        """
        sources = self.grid.sources(*self.shape).ravel()
        tiles, places = np.divmod(sources[random.permutation(len(sources))[:n_patches]], np.prod(self.shape))
        taken: np.ndarray | None = None
        for tile, patch_map in enumerate(self.maps):
            if taken is None:
                taken = np.empty((len(tiles), patch_map.shape[-1]), patch_map.dtype)
            is_here = tiles == tile
            taken[is_here] = patch_map.reshape(-1, patch_map.shape[-1])[places[is_here]]
        assert taken is not None, "a photograph has a tile"
        return taken


def iterate_patch_maps(
    network_path: str | Path,
    rows: pd.DataFrame,
    decoding: Decoding = AS_STORED,
    alter: Callable[[np.ndarray], np.ndarray] = lambda pixels: pixels,
    tile_side: int | None = None,
) -> Iterator[TiledMaps]:
    """Yield the patch maps of every image of a manifest, computing no more than a batch ahead.

    Parameters
    ----------
    network_path : str or Path
        ONNX file of a network with the output ``patch_map``.
    rows : DataFrame
        Rows of a manifest.
    decoding : Decoding
        The one ``prepare`` used.
    alter : callable, optional
        Makes of the pixels of a photograph, uint8 of shape (height, width, 3), those that the network sees.
    tile_side : int, optional
        See `inspection.data.tiles.TileGrid.of`.

    Yields
    ------
    TiledMaps
        To be used before the next one is asked for.
    """
    model = OnnxModel(Path(network_path).read_bytes(), str(network_path))
    tiles = iterate_tiles(map(alter, iterate_pixels(rows, decoding)), tile_side, model.image_size)
    of_batches = (
        zip(batch, model.run(np.stack([tile.pixels for tile in batch]), "patch_map"), strict=True)
        for batch in one_ahead(batches(tiles, BATCH_SIZE))
    )
    for _, of_photograph in groupby(chain.from_iterable(of_batches), key=lambda seen: seen[0].photograph):
        yield _together(of_photograph)


def _together(seen: Iterator[tuple[Tile, np.ndarray]]) -> TiledMaps:
    first, patch_map = next(seen)
    return TiledMaps(first.grid, patch_map.shape[:2], chain([patch_map], (later for _, later in seen)))
