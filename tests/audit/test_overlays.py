"""Made-up photographs laid over each other: copies, series and strangers, and transforms that are known."""

import cv2
import numpy as np
import pytest

from bench.made_copies import COMBINED, KINDS, RESIZED, make_copy
from inspection.audit.copies import MIN_CORRELATION, is_copy, is_series
from inspection.audit.overlays import Overlay, overlay, overlay_pairs
from inspection.audit.signatures import make_signatures
from inspection.audit.spectra import match_spectra
from inspection.audit.squares import SIDE, central_square
from tests.photographs import (
    SIZE,
    as_file,
    draw_ground_surface,
    draw_in_fixture,
    draw_scene,
    expose,
    known_transform,
    pixels_of,
    shoot,
)

SCENES = (1, 2, 3)
LOSSY = "other format"
"""WebP at its usual quality takes the noise away by which a copy is known; lossless formats change nothing."""
ANYTHING = -1.0
"""A correlation that no rough transform falls below."""


def lay_over(first: np.ndarray, second: np.ndarray, min_correlation: float = MIN_CORRELATION) -> Overlay | None:
    signatures = make_signatures([central_square(first), central_square(second)])
    return overlay(signatures, 0, 1, min_correlation)


def grow_canvas(pixels: np.ndarray, angle: float, scale: float = 1.0) -> np.ndarray:
    """Turn by ``angle`` on a black canvas that holds all of the picture, and shrink the picture on it."""
    side = round(len(pixels) * (abs(np.cos(np.radians(angle))) + abs(np.sin(np.radians(angle)))))
    transform = cv2.getRotationMatrix2D(((len(pixels) - 1) / 2,) * 2, angle, scale)
    transform[:, 2] += (side - len(pixels)) / 2
    return cv2.warpAffine(pixels, transform, (side, side))


@pytest.mark.parametrize("seed", SCENES)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in (RESIZED, LOSSY)])
def test_copy_is_recognised(kind, seed):
    original = shoot(draw_scene(seed), seed)
    copy = pixels_of(make_copy(kind, as_file(original), np.random.default_rng(seed)))
    assert is_copy(lay_over(original, copy))
    assert is_copy(lay_over(copy, original))


@pytest.mark.parametrize(("kind", "share"), [(COMBINED, 1), (RESIZED, 0.8)])
def test_most_copies_by_everything_combined_are_recognised(kind, share):
    found = []
    for seed in range(12):
        original = shoot(draw_scene(seed), seed)
        copy = pixels_of(make_copy(kind, as_file(original), np.random.default_rng(seed)))
        found.append(is_copy(lay_over(original, copy)))
    assert np.mean(found) >= share


@pytest.mark.parametrize("seed", SCENES)
def test_two_shots_of_a_part_are_a_series_and_no_copies(seed):
    scene = draw_scene(seed)
    found = lay_over(shoot(scene, 1), shoot(scene, 2))
    assert is_series(found)
    assert not is_copy(found)


def test_pairs_that_share_a_photograph_are_laid_as_if_alone():
    shots = [central_square(shoot(draw_scene(1), seed)) for seed in range(3)]
    signatures = make_signatures([*shots, central_square(shoot(draw_scene(2), 3))])
    pairs = [(0, 1), (0, 3), (0, 2), (1, 2), (0, 1)]
    alignments = [
        match_spectra(signatures.spectra[one], signatures.spectra[[other]]).alignments for one, other in pairs
    ]
    together = overlay_pairs(signatures, pairs, np.concatenate(alignments), MIN_CORRELATION)
    assert together[1] is None
    for pair, laid in zip(pairs, together, strict=True):
        alone = overlay(signatures, *pair, MIN_CORRELATION)
        assert (laid is None) == (alone is None)
        if laid is not None:
            np.testing.assert_array_equal(laid.transform, alone.transform)
            assert (laid.residual, laid.grain, laid.agreement) == (alone.residual, alone.grain, alone.agreement)


def test_brighter_shot_is_of_the_series():
    scene = draw_scene(1)
    found = lay_over(shoot(scene, 1), shoot(0.8 * scene, 2))
    assert is_series(found)
    assert not is_copy(found)


@pytest.mark.parametrize("seed", SCENES)
@pytest.mark.parametrize("gain", [0.6, 0.8, 1.2, 1.4])
@pytest.mark.parametrize("crop", [{}, {"left": 12, "top": 8}, {"left": 5, "top": 10, "side": 215}])
def test_exposures_of_a_part_full_of_fine_detail_are_a_series(seed, gain, crop):
    """Its contrast hides the noise that tells another shot of a smoother part."""
    part = draw_ground_surface(seed)
    laid = lay_over(expose(part, 1), expose(part, 2, gain, **crop))
    assert is_series(laid)
    assert not is_copy(laid)


@pytest.mark.parametrize("seed", SCENES)
@pytest.mark.parametrize("factor", [0.75, 1.2])
def test_brightened_copy_of_fine_detail_is_a_copy(seed, factor):
    photograph = expose(draw_ground_surface(seed), 1)
    brightened = np.clip(np.rint(factor * photograph), 0, 255).astype(np.uint8)
    assert is_copy(lay_over(photograph, brightened))


@pytest.mark.parametrize("draw", [draw_scene, draw_in_fixture, draw_ground_surface])
@pytest.mark.parametrize(("one", "other"), [(1, 2), (2, 3), (3, 1)])
@pytest.mark.parametrize("min_correlation", [MIN_CORRELATION, ANYTHING])
def test_different_parts_are_neither(draw, one, other, min_correlation):
    found = lay_over(shoot(draw(one), one), shoot(draw(other), other), min_correlation)
    assert not is_copy(found)
    assert not is_series(found)


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_featureless_picture_is_compared_with_nothing(grey):
    empty, part = np.full((SIZE, SIZE, 3), grey, np.uint8), shoot(draw_scene(1), 1)
    for first, second in ((empty, part), (part, empty), (empty, empty)):
        assert lay_over(first, second) is None
    # Even where the rough step is no hurdle, a picture that shows nothing has no copy.
    assert lay_over(empty, empty, ANYTHING) is None


def test_noise_alone_shows_nothing():
    grey = np.full((SIZE, SIZE), 128.0)
    assert not is_copy(lay_over(shoot(grey, 1, noise=1), shoot(grey, 2, noise=1), ANYTHING))


def test_rough_step_is_a_hurdle():
    photograph = shoot(draw_scene(1), 1)
    assert lay_over(photograph, photograph, min_correlation=0.99) is not None
    assert lay_over(photograph, photograph, min_correlation=1.01) is None


def test_measures_of_a_known_transform():
    transform = np.array([[1.1, 0, 0], [0, 1.0, 16]])
    found = Overlay(transform, residual=0, tail=0, grain=0, agreement=1, coherence=1, gain=1)
    assert found.stretch == pytest.approx(1.1)
    # Down by a tenth of the square; to the right by nothing on the left edge, by 15.9 pixels on the right one.
    assert found.displacement == pytest.approx((16 + np.hypot(15.9, 16)) / 2 / SIDE)
    turned = Overlay(known_transform(30, 0.9, True, (3, 4)), 0, 0, 0, 1, 1, 1)
    assert turned.stretch == pytest.approx(1)
    assert turned.turn == 180


@pytest.mark.parametrize("angle", [-170, -30, 0, 9, 90, 180])
@pytest.mark.parametrize("scale", [0.8, 1.2])
def test_turn_is_the_angle_whatever_the_scale(angle, scale):
    laid = Overlay(known_transform(angle, scale, False, (3, 4)), 0, 0, 0, 1, 1, 1)
    assert laid.turn == pytest.approx(abs(angle), abs=1e-4)


@pytest.mark.parametrize("factor", [0.7, 0.9, 1.0])
def test_gain_is_the_ratio_of_brightness(factor):
    photograph = shoot(draw_scene(1), 1)
    darker = np.rint(factor * photograph).astype(np.uint8)
    assert lay_over(photograph, darker).gain == pytest.approx(1 / factor, rel=0.02)
    assert lay_over(darker, photograph).gain == pytest.approx(factor, rel=0.02)


@pytest.mark.parametrize("angle", [20, 45, 70])
@pytest.mark.parametrize("scale", [1.0, 0.9])
def test_canvas_that_grew_is_cut_to_the_picture(angle, scale):
    original = shoot(draw_scene(1), 1)
    square = central_square(grow_canvas(original, angle, scale))
    assert square.shape == (SIDE, SIDE)
    found = overlay(make_signatures([central_square(original), square]), 0, 1, MIN_CORRELATION)
    assert np.sqrt(abs(np.linalg.det(found.transform[:, :2]))) == pytest.approx(1, abs=0.03)
    assert is_copy(found)
