"""The scale of maps: what a value means is the same on every photograph."""

import numpy as np
import pytest

from inspection.voters.map_scale import LIT, MOST, MapScale


@pytest.fixture(scope="module")
def scale() -> MapScale:
    """Of 500 good parts whose patches lie at 0 to 1, evenly."""
    return MapScale.fit(np.random.default_rng(0).random((500, 20, 20)).astype(np.float32))


@pytest.mark.parametrize(("value", "rarity"), [(0.0, 0), (0.9, 1), (0.99, 2), (0.999, 3), (0.5, np.log10(2))])
def test_rarity_counts_the_patches_beyond(scale, value, rarity):
    assert scale.rarity(np.array([value])) == pytest.approx([rarity], abs=0.05)


def test_beyond_all_good_parts_rarity_grows_on_and_ends(scale):
    # Over the last decade, from 0.999 to 0.9999, it grew by one.
    rarity = scale.rarity(np.array([1.0, 1.0009, 1.0018, 2.0, 1e6]))
    assert rarity[1] - rarity[0] == pytest.approx(1, abs=0.1)
    assert rarity[2] - rarity[1] == pytest.approx(1, abs=0.1)
    assert rarity[3:].tolist() == [MOST, MOST]


def test_a_larger_value_is_never_less_rare(scale):
    values = np.sort(np.random.default_rng(1).normal(0.5, 1, 10_000))
    assert np.all(np.diff(scale.rarity(values)) >= 0)


def test_one_good_photograph_in_twenty_may_show_a_region():
    maps = np.random.default_rng(0).normal(size=(400, 10, 10)).astype(np.float32)
    scale = MapScale.fit(maps)
    highest = scale.rarity(maps.max(axis=(1, 2)))
    assert np.mean(highest >= scale.peak) == pytest.approx(0.05, abs=0.005)
    assert scale.peak > LIT


@pytest.mark.parametrize("shape", [(1, 2, 2), (3, 1, 1)])
def test_parts_that_are_all_the_same(shape):
    scale = MapScale.fit(np.full(shape, 0.25, np.float32))
    assert scale.rarity(np.array([0.2])) == [0]
    assert scale.rarity(np.array([0.26])) == [MOST]
    assert LIT <= scale.peak <= MOST
