"""Tiles: they cover the whole photograph, and maps of them make one map of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspection.data.images import resize
from inspection.data.tiles import TileGrid

SIDES = st.integers(1, 300)


def gradient(height: int, width: int) -> np.ndarray:
    """A photograph in which rows and columns can be read off the pixels."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 255 // height, columns * 255 // width, 0 * rows], axis=2).astype(np.uint8)


@pytest.mark.parametrize(
    ("height", "width", "side", "tops", "lefts"),
    [
        (100, 100, 100, [0], [0]),
        # A tile of 40 moves by 30 at most: from 0 to 60 in two steps, and from 0 to 61 in three.
        (100, 101, 40, [0, 30, 60], [0, 20, 40, 61]),
        # What is larger than the shorter side becomes that side.
        (50, 100, 224, [0], [0, 25, 50]),
        (1, 1, 224, [0], [0]),
        (1, 3, 1, [0], [0, 1, 2]),
        (1024, 1024, 224, [0, 160, 320, 480, 640, 800], [0, 160, 320, 480, 640, 800]),
    ],
)
def test_where_tiles_lie(height, width, side, tops, lefts):
    grid = TileGrid.of(height, width, side)
    assert (grid.tops.tolist(), grid.lefts.tolist()) == (tops, lefts)
    assert grid.n_tiles == len(tops) * len(lefts)


@given(SIDES, SIDES, SIDES)
def test_tiles_cover_the_photograph_and_overlap(height, width, side):
    grid = TileGrid.of(height, width, side)
    own = min(side, height, width)
    assert (grid.tile_height, grid.tile_width) == (own, own)
    for starts, length in ((grid.tops, height), (grid.lefts, width)):
        assert starts[0] == 0
        assert starts[-1] + own == length
        assert np.all(np.diff(starts) > 0)
        assert np.all(np.diff(starts) <= max(1, own - own // 4))


@pytest.mark.parametrize(("height", "width"), [(400, 8000), (8000, 400), (8000, 8000), (3, 60)])
def test_extreme_photographs(height, width):
    grid = TileGrid.of(height, width, 224)
    shape = grid.sources(28, 28).shape
    shorter = min(height, width, 224)
    assert shape == (round(height / shorter * 28), round(width / shorter * 28))
    assert grid.tops[-1] + grid.tile_height == height
    assert grid.lefts[-1] + grid.tile_width == width


def test_without_tiles_the_whole_photograph_is_squeezed():
    pixels = gradient(40, 90)
    grid = TileGrid.of(40, 90, None)
    [tile] = grid.cut(pixels, 32)
    np.testing.assert_array_equal(tile, resize(pixels, 32))
    own_map = np.random.default_rng(0).random((1, 4, 4)).astype(np.float32)
    np.testing.assert_array_equal(grid.stitch(own_map), own_map[0])


@given(SIDES, SIDES, SIDES)
def test_tiles_show_their_part_of_the_photograph(height, width, side):
    pixels = gradient(height, width)
    grid = TileGrid.of(height, width, side)
    own = grid.tile_height
    tiles = list(grid.cut(pixels, own))
    assert len(tiles) == grid.n_tiles
    places = [(top, left) for top in grid.tops for left in grid.lefts]
    for tile, (top, left) in zip(tiles, places, strict=True):
        np.testing.assert_array_equal(tile, pixels[top : top + own, left : left + own])


@given(SIDES, SIDES, st.integers(8, 300))
def test_a_cut_photograph_is_stitched_together_again(height, width, side):
    """With a position for every pixel, the stitched map is the photograph."""
    pixels = gradient(height, width)
    grid = TileGrid.of(height, width, side)
    tiles = np.stack(list(grid.cut(pixels, grid.tile_height)))
    for channel in range(2):
        stitched = grid.stitch(tiles[..., channel].astype(np.float32))
        np.testing.assert_array_equal(stitched, pixels[..., channel])


@given(SIDES, SIDES, st.integers(16, 300), st.integers(1, 28))
def test_a_position_of_the_map_is_where_it_says(height, width, side, n_positions):
    """Maps whose values are where their positions lie, in pixels: each is off by no more than its own size."""
    grid = TileGrid.of(height, width, side)
    step = grid.tile_height / n_positions
    middles = (np.arange(n_positions) + 0.5) * step
    downs = np.stack([np.tile((top + middles)[:, None], n_positions) for top in grid.tops for _ in grid.lefts])
    stitched = grid.stitch(downs.astype(np.float32))
    expected = (np.arange(len(stitched)) + 0.5) * height / len(stitched)
    assert np.abs(stitched - expected[:, None]).max() <= step / 2 + 1e-3 * height


def test_a_position_comes_from_the_tile_in_which_it_lies_deepest():
    grid = TileGrid.of(10, 22, 10)
    assert grid.lefts.tolist() == [0, 6, 12]
    numbers = np.repeat(np.arange(3), 100).reshape(3, 10, 10).astype(np.float32)
    # The middles of the tiles lie at 5, 11 and 17.
    assert grid.stitch(numbers)[0].tolist() == [0] * 8 + [1] * 6 + [2] * 8
