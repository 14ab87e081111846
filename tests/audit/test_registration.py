"""Made-up photographs laid over each other: copies, series and strangers, and transforms that are known."""

import cv2
import numpy as np
import pytest

from bench.made_copies import COMBINED, KINDS, RESIZED, make_copy
from inspection.audit.copies import MIN_CORRELATION, is_copy, is_series
from inspection.audit.registration import (
    SIDE,
    Overlay,
    central_square,
    descriptors,
    make_signatures,
    overlay,
    spectral_similarity,
)
from tests.photographs import SIZE, as_file, draw_in_fixture, draw_scene, pixels_of, shoot

SCENES = (1, 2, 3)
LOSSY = "other format"
"""WebP at its usual quality takes the noise away by which a copy is known; lossless formats change nothing."""
ANYTHING = -1.0
"""A correlation that no rough transform falls below."""


def lay_over(first: np.ndarray, second: np.ndarray, min_correlation: float = MIN_CORRELATION) -> Overlay | None:
    signatures = make_signatures([central_square(first), central_square(second)])
    return overlay(signatures, 0, 1, min_correlation)


def known_transform(angle: float, scale: float, is_flipped: bool, shift: tuple[float, float]) -> np.ndarray:
    """From points of a square to points of its moved copy."""
    centre = (SIDE - 1) / 2
    transform = cv2.getRotationMatrix2D((centre, centre), angle, scale)
    if is_flipped:
        transform = transform @ np.array([[-1, 0, SIDE - 1], [0, 1, 0], [0, 0, 1]])
    transform[:, 2] += shift
    return transform


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


def test_brighter_shot_is_of_the_series():
    scene = draw_scene(1)
    found = lay_over(shoot(scene, 1), shoot(0.8 * scene, 2))
    assert is_series(found)
    assert not is_copy(found)


@pytest.mark.parametrize("draw", [draw_scene, draw_in_fixture])
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


@pytest.mark.parametrize("is_flipped", [False, True])
@pytest.mark.parametrize("angle", [0, 7, 90, 133, 180, 271])
@pytest.mark.parametrize(("scale", "shift"), [(1, (0, 0)), (1, (7.5, -4)), (0.85, (-6, 5)), (1.15, (3, 8))])
def test_transform_is_right_to_a_pixel(angle, scale, is_flipped, shift):
    first = central_square(shoot(draw_scene(1), 1))
    known = known_transform(angle, scale, is_flipped, shift)
    second = cv2.warpAffine(first, known, (SIDE, SIDE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    found = overlay(make_signatures([first, second]), 0, 1, ANYTHING).transform
    around = [[SIDE / 2 + 50 * np.cos(turn), SIDE / 2 + 50 * np.sin(turn), 1] for turn in np.arange(0, 6.3, 0.5)]
    assert np.abs(np.array(around) @ (found - known).T).max() < 1


def test_measures_of_a_known_transform():
    transform = np.array([[1.1, 0, 0], [0, 1.0, 16]])
    found = Overlay(transform, residual=0, tail=0, grain=0, agreement=1, gain=1)
    assert found.stretch == pytest.approx(1.1)
    # Down by a tenth of the square; to the right by nothing on the left edge, by 15.9 pixels on the right one.
    assert found.displacement == pytest.approx((16 + np.hypot(15.9, 16)) / 2 / SIDE)
    turned = Overlay(known_transform(30, 0.9, True, (3, 4)), 0, 0, 0, 1, 1)
    assert turned.stretch == pytest.approx(1)


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


def test_part_on_black_ground_stays_as_large():
    rows, columns = np.mgrid[:SIZE, :SIZE] / SIZE - 0.5
    part = np.where(np.hypot(rows, columns) < 0.2, draw_scene(1), 0)
    pixels = shoot(part, 1, noise=0)
    expected = cv2.resize(pixels[..., 0], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(central_square(pixels), expected)


@pytest.mark.parametrize(("height", "width"), [(200, 320), (320, 200), (40, 48), (SIDE, SIDE)])
def test_central_square_is_the_middle(height, width):
    pixels = np.full((height, width, 3), 250, np.uint8)
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    pixels[top : top + side, left : left + side] = 100
    square = central_square(pixels)
    assert square.dtype == np.uint8
    np.testing.assert_array_equal(square, np.full((SIDE, SIDE), 100))


def test_no_signatures():
    signatures = make_signatures([])
    assert len(signatures) == 0
    assert descriptors(signatures).shape == (0, 768)


@pytest.mark.parametrize(("angle", "scale", "is_flipped"), [(90, 1, False), (33, 1, True), (200, 1.2, False)])
def test_spectra_and_descriptors_tell_copies_from_strangers(angle, scale, is_flipped):
    first = central_square(shoot(draw_scene(1), 1))
    known = known_transform(angle, scale, is_flipped, (5, -3))
    copy = cv2.warpAffine(first, known, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)
    strangers = [central_square(shoot(draw_scene(seed), seed)) for seed in range(10, 20)]
    signatures = make_signatures([first, copy, *strangers])
    similarity = spectral_similarity(signatures.spectra, 0, np.arange(len(signatures)))
    assert similarity[0] == pytest.approx(1, abs=0.01)
    assert similarity[1] > similarity[2:].max()
    vectors = descriptors(signatures)
    vectors = (vectors - vectors.mean(0)) / vectors.std(0)
    distance = np.linalg.norm(vectors - vectors[0], axis=1)
    assert distance[1:].argmin() == 0
