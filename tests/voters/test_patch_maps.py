"""Patch maps of a photograph, tile by tile: what is made of them is what one map of the whole would give."""

import numpy as np
import pytest

from inspection.data.tiles import TileGrid
from inspection.voters.patch_maps import TiledMaps
from inspection.voters.patch_memory import PatchMemory

GRID = TileGrid.of(40, 64, 32)
"""Two rows of tiles, which start at 0 and 8, and three columns, at 0, 16 and 32."""
ROWS, COLUMNS, N_CHANNELS = 4, 4, 3


def tiled() -> tuple[TiledMaps, np.ndarray]:
    """Maps of random patches, and all of them in the order of the tiles, flat."""
    maps = np.random.default_rng(0).random((GRID.n_tiles, ROWS, COLUMNS, N_CHANNELS)).astype(np.float32)
    return TiledMaps(GRID, (ROWS, COLUMNS), iter(maps)), maps.reshape(-1, N_CHANNELS)


@pytest.fixture
def memory() -> PatchMemory:
    patches = np.random.default_rng(1).random((5, N_CHANNELS)).astype(np.float16)
    return PatchMemory(np.zeros(N_CHANNELS, np.float32), np.eye(N_CHANNELS, dtype=np.float32), patches)


def test_distances_are_those_of_the_patches_that_stand_for_each_place(memory):
    seen, patches = tiled()
    expected = patches[GRID.sources(ROWS, COLUMNS)]
    distances = seen.distances(memory)
    assert distances.shape == (5, 8)
    np.testing.assert_allclose(distances, memory.distances(expected[np.newaxis])[0], rtol=1e-6)


def test_a_sample_is_of_the_patches_that_stand_for_some_place():
    seen, patches = tiled()
    everything = seen.sample(1000, np.random.default_rng(0))
    shown = patches[np.unique(GRID.sources(ROWS, COLUMNS))]
    assert len(everything) == GRID.sources(ROWS, COLUMNS).size < len(patches)
    assert {tuple(patch) for patch in everything} == {tuple(patch) for patch in shown}
    some = tiled()[0].sample(7, np.random.default_rng(0))
    np.testing.assert_array_equal(some, everything[:7], "the same draw, cut short")


def test_a_whole_photograph_is_one_tile(memory):
    patch_map = np.random.default_rng(0).random((ROWS, COLUMNS, N_CHANNELS)).astype(np.float32)
    np.testing.assert_array_equal(
        TiledMaps.of_whole(patch_map).distances(memory), memory.distances(patch_map[np.newaxis])[0]
    )
    order = np.random.default_rng(3).permutation(ROWS * COLUMNS)[:6]
    sample = TiledMaps.of_whole(patch_map).sample(6, np.random.default_rng(3))
    np.testing.assert_array_equal(sample, patch_map.reshape(-1, N_CHANNELS)[order])
