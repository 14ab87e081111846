"""Maps and regions, on values that are made up."""

import numpy as np
import pytest

from inspection.decision.defect_map import DefectMap
from inspection.decision.map_pictures import draw_map
from inspection.voters.map_scale import LIT

PEAK = 4.0


def map_of(*spots: tuple[slice | int, slice | int, float], shape=(10, 10), size=(200, 400)) -> DefectMap:
    """A map that is empty but for some spots, of a photograph of a height and width."""
    rarity = np.zeros(shape, np.float32)
    for rows, columns, value in spots:
        rarity[rows, columns] = value
    return DefectMap({"a": rarity}, ("a",), PEAK, *size)


def test_a_region_lies_where_the_map_is_lit():
    defect_map = map_of((slice(1, 3), slice(6, 9), 6.0))
    (region,) = defect_map.regions
    # Rows 1 and 2 of 10 are pixels 20 to 60 of 200, columns 6 to 8 pixels 240 to 360 of 400; interpolated at the edges.
    assert region.top == pytest.approx(20, abs=6)
    assert region.top + region.height == pytest.approx(60, abs=6)
    assert region.left == pytest.approx(240, abs=12)
    assert region.left + region.width == pytest.approx(360, abs=12)
    assert region.share == pytest.approx(6 / 100, rel=0.25)
    assert region.area == pytest.approx(region.share * 200 * 400, abs=1)
    assert (region.place, region.rarity) == ("upper right", 6.0)


@pytest.mark.parametrize(
    ("row", "column", "place"),
    [
        (0, 0, "upper left"), (0, 5, "top"), (0, 9, "upper right"), (5, 0, "left"), (5, 5, "centre"), (5, 9, "right"),
        (9, 0, "lower left"), (9, 5, "bottom"), (9, 9, "lower right"),
    ],
)  # fmt: skip
def test_places_in_words(row, column, place):
    assert [region.place for region in map_of((row, column, 9.0)).regions] == [place]


@pytest.mark.parametrize("shape", [(1000, 1000), (40, 3000)])
def test_regions_of_a_map_of_many_tiles(shape):
    """It is interpolated less, and the region is where it was."""
    rows, columns = shape
    spot = (slice(rows // 2, rows // 2 + 8), slice(columns // 4, columns // 4 + 20), 9.0)
    (region,) = map_of(spot, shape=shape, size=(8 * rows, 8 * columns)).regions
    assert region.top == pytest.approx(8 * (rows // 2), abs=8)
    assert region.left == pytest.approx(8 * (columns // 4), abs=8)
    assert (region.width, region.height) == pytest.approx((160, 64), abs=16)
    assert region.area == pytest.approx(160 * 64, rel=0.3)


def test_what_is_lit_and_nowhere_rare_is_no_region():
    assert map_of((slice(2, 5), slice(2, 5), (LIT + PEAK) / 2)).regions == ()
    assert map_of().regions == ()


def test_regions_come_rarest_first_and_touching_ones_are_one():
    spots = ((0, slice(0, 2), 5.0), (slice(7, 10), slice(7, 10), 8.0), (slice(4, 6), slice(4, 6), 6.0))
    assert [region.rarity for region in map_of(*spots).regions] == [8.0, 6.0, 5.0]
    joined = map_of(*spots, (6, 6, 8.0))
    assert [region.rarity for region in joined.regions] == [8.0, 5.0]


def test_a_region_is_as_far_as_it_is_lit():
    """A rare middle counts the less rare surroundings in, down to what is lit."""
    alone, surrounded = map_of((5, 5, 9.0)), map_of((slice(3, 8), slice(3, 8), LIT + 0.2), (5, 5, 9.0))
    assert surrounded.regions[0].share > 2 * alone.regions[0].share


def test_the_map_is_the_mean_of_the_voters_that_count_at_their_finest_grid():
    fine, coarse = np.zeros((8, 8), np.float32), np.full((4, 4), 2.0, np.float32)
    fine[0, 0] = 6.0
    by_voter = {"a": fine, "b": coarse, "c": np.full((16, 16), 9.0, np.float32)}
    defect_map = DefectMap(by_voter, ("a", "b"), PEAK, 64, 64)
    expected = np.full((8, 8), 1.0)
    expected[0, 0] = 4.0
    np.testing.assert_allclose(defect_map.rarity, expected)
    assert defect_map.resized(8, 8, "b").tolist() == np.full((8, 8), 2.0).tolist()
    assert defect_map.resized(8, 8, "c").tolist() == np.full((8, 8), 9.0).tolist(), "not averaged, and there to be seen"


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (100, 7)])
def test_any_size_of_a_photograph(size):
    defect_map = map_of((slice(0, 10), slice(0, 10), 9.0), size=size)
    (region,) = defect_map.regions
    assert (region.left, region.top, region.width, region.height) == (0, 0, size[1], size[0])
    assert (region.area, region.share) == (size[0] * size[1], 1.0)
    assert defect_map.resized(*size).shape == size


# Pictures


GREY = np.full((200, 400, 3), 90, np.uint8)


def test_where_nothing_is_lit_the_photograph_is_as_it_was():
    assert np.array_equal(draw_map(GREY, map_of((4, 4, LIT - 0.1))), GREY)


def test_only_lit_places_are_painted_and_regions_framed():
    defect_map = map_of((slice(1, 3), slice(6, 9), 6.0), (8, 1, LIT + 0.4))
    painted = draw_map(GREY, defect_map, opacity=0.5)
    is_lit = defect_map.resized(200, 400) >= LIT
    changed = (painted != GREY).any(axis=2)
    assert changed[is_lit].all()
    region = defect_map.regions[0]
    frame = np.zeros_like(is_lit)
    frame[region.top - 3 : region.top + region.height + 4, region.left - 3 : region.left + region.width + 4] = True
    assert not changed[~is_lit & ~frame].any()
    corner = painted[region.top, region.left]
    assert corner.tolist() == [255, 255, 255]


def test_opacity_and_rarity_show(gap=20):
    pixels = [
        draw_map(GREY, map_of((slice(3, 7), slice(3, 7), value)), opacity)[100, 200].astype(int)
        for value, opacity in ((9.0, 0.2), (9.0, 1.0), (LIT + 0.5, 1.0))
    ]
    faint, strong, barely = (np.abs(pixel - 90).sum() for pixel in pixels)
    assert strong > faint + gap
    assert not np.array_equal(pixels[1], pixels[2])
    assert barely > gap


def test_one_voter_alone_is_shown_without_frames():
    both = DefectMap({"a": map_of((5, 5, 9.0)).rarity, "b": np.zeros((10, 10), np.float32)}, ("a", "b"), PEAK, 200, 400)
    assert np.array_equal(draw_map(GREY, both, voter="b"), GREY)
    assert not np.array_equal(draw_map(GREY, both, voter="a"), GREY)


def test_a_smaller_picture_of_the_photograph_has_its_frames_in_place():
    defect_map = map_of((slice(1, 3), slice(6, 9), 6.0))
    small = draw_map(GREY[::2, ::2], defect_map)
    region = defect_map.regions[0]
    assert small[region.top // 2, region.left // 2].tolist() == [255, 255, 255]
