"""The scale of maps: what a value means is the same on every photograph."""

import numpy as np
import pytest

from inspection.errors import ModelsError
from inspection.files import sha256_file
from inspection.voters.map_scale import LIT, MOST, RARITIES, MapScale, read_map_scale, write_map_scale


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


def test_rarities_that_few_patches_cannot_tell_follow_their_last_decade():
    """Of 100 patches, exponential with a decade of 2: rarity 2 is the rarest they tell, and 4 lies two decades on."""
    values = -2 * np.log10(1 - np.linspace(0, 1, 101)[:-1]).astype(np.float32)
    scale = MapScale.fit(values.reshape(4, 5, 5))
    told = RARITIES <= 2
    np.testing.assert_allclose(scale.quantiles[told], np.quantile(values, 1 - 10 ** -RARITIES[told]), rtol=1e-5)
    of_one, of_two, of_three, of_four = scale.quantiles[[10, 20, 30, 40]]
    assert of_three - of_two == pytest.approx(of_two - of_one, rel=1e-4)
    assert of_four - of_three == pytest.approx(of_two - of_one, rel=1e-4)
    # The same on from there.
    assert scale.rarity(np.array([of_four + 0.5 * (of_two - of_one)])) == pytest.approx([4.5], abs=1e-3)


def test_few_good_photographs_light_no_more_of_others():
    """Small maps of few photographs: of others, hardly more than one place in a thousand is lit, whatever was drawn."""
    random, lit = np.random.default_rng(0), []
    others = random.exponential(size=100_000)
    for _ in range(200):
        scale = MapScale.fit(random.exponential(size=(20, 3, 3)).astype(np.float32))
        lit.append(np.mean(scale.rarity(others) >= LIT))
    assert np.median(lit) < 0.004


def test_a_file_says_what_was_written(scale, tmp_path):
    write_map_scale(tmp_path / "a.npz", scale)
    read = read_map_scale((tmp_path / "a.npz").read_bytes(), "a.npz")
    np.testing.assert_array_equal(read.quantiles, scale.quantiles)
    assert read.peak == scale.peak
    write_map_scale(tmp_path / "b.npz", MapScale(read.quantiles, read.peak))
    assert sha256_file(tmp_path / "a.npz") == sha256_file(tmp_path / "b.npz")


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: content.replace(b"quantiles", b"quantitys"),
    ],
    ids=["empty", "cut short", "other arrays"],
)
def test_a_damaged_file_is_named(scale, tmp_path, damage):
    write_map_scale(tmp_path / "a.npz", scale)
    content = damage((tmp_path / "a.npz").read_bytes())
    with pytest.raises(ModelsError, match=r"^a\.npz is not a scale of maps \(.*\); delete it and run `dvc repro`\.$"):
        read_map_scale(content, "a.npz")


@pytest.mark.parametrize(
    ("quantiles", "peak"),
    [
        (np.zeros(3, np.float32), 4.0),
        (-RARITIES, 4.0),
        (RARITIES + np.nan, 4.0),
        (RARITIES, 0.5),
        (RARITIES, np.nan),
    ],
    ids=["too few", "falling", "no numbers", "a peak below what is lit", "no peak"],
)
def test_numbers_that_are_no_scale(quantiles, peak, tmp_path):
    write_map_scale(tmp_path / "a.npz", MapScale(quantiles, peak))
    with pytest.raises(ModelsError, match=r"^a\.npz is not a scale of maps"):
        read_map_scale((tmp_path / "a.npz").read_bytes(), "a.npz")
