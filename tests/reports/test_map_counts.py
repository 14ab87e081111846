"""Counts of a defect map: every pixel once, regions that touch at corners, and where the largest value lies."""

import numpy as np
import pytest

from inspection.reports.tables.map_counts import LocalisationCounts

MAP = np.array([[4, 1, 0], [1, 2, 0], [0, 0, 2]], np.float16)


def marked(*pixels: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(MAP.shape, bool)
    for pixel in pixels:
        mask[pixel] = True
    return mask


def test_every_pixel_is_counted_once():
    counts = LocalisationCounts.of(MAP, marked((0, 0), (2, 1), (2, 2)))
    assert counts.background_values.dtype == np.float16
    assert counts.background_values.tolist() == [0, 1, 2]
    assert counts.background_counts.tolist() == [3, 2, 1]
    assert counts.defect_values.tolist() == [0, 2, 4]
    assert counts.defect_counts.tolist() == [1, 1, 1]
    # One region is a single pixel; the other has two.
    assert counts.overlaps.tolist() == [0.5, 0.5, 1]
    assert counts.n_regions == 2


@pytest.mark.parametrize("mask", [None, marked()])
def test_a_photograph_without_a_mark_is_all_background(mask):
    counts = LocalisationCounts.of(MAP, mask)
    assert counts.background_counts.tolist() == [4, 2, 2, 1]
    assert counts.n_regions == 0
    assert len(counts.defect_values) == len(counts.overlaps) == 0
    assert np.isnan(counts.hit)


def test_a_photograph_may_be_all_defect():
    counts = LocalisationCounts.of(MAP, np.ones(MAP.shape, bool))
    assert len(counts.background_values) == 0
    assert counts.overlaps == pytest.approx(np.array([4, 2, 2, 1]) / 9)
    assert (counts.n_regions, counts.hit) == (1, 1)


@pytest.mark.parametrize(
    ("pixels", "n_regions"),
    [([(0, 0), (1, 1), (2, 2)], 1), ([(0, 0), (0, 2)], 2), ([(0, 0), (0, 2), (2, 0), (2, 2)], 4), ([(1, 1)], 1)],
)
def test_pixels_of_a_region_touch_at_a_side_or_a_corner(pixels, n_regions):
    counts = LocalisationCounts.of(MAP, marked(*pixels))
    assert counts.n_regions == n_regions
    assert counts.overlaps.sum() == n_regions


@pytest.mark.parametrize(
    ("pixels", "hit"),
    [([(0, 0)], 1), ([(0, 1)], 0), ([(1, 1), (2, 2)], 0)],
)
def test_the_largest_value_hits_or_misses(pixels, hit):
    assert LocalisationCounts.of(MAP, marked(*pixels)).hit == hit


def test_several_largest_values_count_by_the_share_of_hits():
    # Of four pixels of the largest value, three are marked, beside two smaller ones.
    defect_map = np.array([[3, 3, 0], [3, 3, 0], [0, 0, 0]], np.float16)
    assert LocalisationCounts.of(defect_map, marked((0, 0), (0, 1), (1, 0), (2, 0), (2, 1))).hit == 0.75


def test_zero_has_no_sign():
    counts = LocalisationCounts.of(np.array([[0.0, -0.0], [0.0, 1.0]], np.float16))
    assert counts.background_values.tolist() == [0, 1]
    assert counts.background_counts.tolist() == [3, 1]


def test_a_view_is_counted_as_its_copy_is():
    wide = np.arange(60, dtype=np.float16).reshape(6, 10)
    mask = np.zeros((3, 5), bool)
    mask[1, 2:4] = True
    view, copy = LocalisationCounts.of(wide[::2, ::2], mask), LocalisationCounts.of(wide[::2, ::2].copy(), mask)
    assert view.background_values.tolist() == copy.background_values.tolist()
    assert view.defect_values.tolist() == copy.defect_values.tolist() == [24, 26]


@pytest.mark.parametrize(
    ("defect_map", "mask", "message"),
    [
        (MAP.astype(np.float32), None, r"float16 \(height, width\), got float32 \(3, 3\)"),
        (MAP[0], None, r"got float16 \(3,\)"),
        (MAP[:0], None, r"got float16 \(0, 3\)"),
        (MAP, np.zeros((3, 4), bool), r"a mask is bool \(3, 3\) as its map is, got bool \(3, 4\)"),
        (MAP, np.zeros((3, 3), np.uint8), r"got uint8 \(3, 3\)"),
        (MAP - np.float16(1), None, "4 values of a defect map are not finite or below 0, such as -1.0"),
        (np.where(MAP == 4, np.nan, MAP).astype(np.float16), None, "1 values .* such as nan"),
        (np.where(MAP == 2, np.inf, MAP).astype(np.float16), None, "2 values .* such as inf"),
    ],
)
def test_what_is_no_defect_map_is_refused(defect_map, mask, message):
    with pytest.raises(ValueError, match=message):
        LocalisationCounts.of(defect_map, mask)
