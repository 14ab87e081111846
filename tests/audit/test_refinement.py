"""Refining transforms that are nearly right."""

import cv2
import numpy as np
import pytest

from inspection.audit.refinement import Refinement
from inspection.audit.squares import HALF_SIDE, at_half_size, central_square, texture
from tests.photographs import draw_scene, shoot

N_STEPS = 2
REFINEMENT = Refinement(HALF_SIDE, 0.95, smoothing=5, n_steps=N_STEPS)
UNCHANGED = np.eye(2, 3, dtype=np.float32)


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return at_half_size(texture(central_square(shoot(draw_scene(1), 1)).astype(np.float32)))


def about_centre(degrees: float, scale: float, is_flipped: bool, shift: tuple[float, float]) -> np.ndarray:
    turn = np.radians(degrees)
    linear = scale * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    if is_flipped:
        linear = linear @ np.diag([-1, 1])
    centre = np.full(2, (HALF_SIDE - 1) / 2)
    return np.column_stack([linear, centre - linear @ centre + shift]).astype(np.float32)


def moved(picture: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """What lies at a point of the picture lies at the transformed point of the result."""
    return cv2.warpAffine(picture, transform, picture.shape, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def worst_error(transform: np.ndarray, known: np.ndarray) -> float:
    """In pixels, over the corners of a square within the disc."""
    corners = np.array([[x, y, 1] for x in (15, 65) for y in (15, 65)], float)
    return float(np.abs(corners @ (transform - known).T).max())


@pytest.mark.parametrize("is_flipped", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 200])
@pytest.mark.parametrize("off", [(2, 1, (0.5, -0.5)), (-1, 1.02, (1, 1)), (0, 0.98, (-1, 0.5))])
def test_ends_within_a_tenth_of_a_pixel(picture, degrees, is_flipped, off):
    near = about_centre(degrees, 1, is_flipped, (2, -3))
    degrees_off, scale_off, shift_off = off
    known = about_centre(degrees + degrees_off, scale_off, is_flipped, (2 + shift_off[0], -3 + shift_off[1]))
    (found,) = REFINEMENT.refine(REFINEMENT.prepare(picture), moved(picture, known), near[np.newaxis])
    assert worst_error(found, known) < 0.1 < 0.5 < worst_error(near, known)


def test_brightness_and_contrast_do_not_matter(picture):
    second = moved(picture, about_centre(1, 1, False, (0.7, 0.3)))
    (found,) = REFINEMENT.refine(REFINEMENT.prepare(picture), second, UNCHANGED[np.newaxis])
    (brightened,) = REFINEMENT.refine(REFINEMENT.prepare(picture), 3 * second + 20, UNCHANGED[np.newaxis])
    # Beyond the border of the second lies black.
    np.testing.assert_allclose(brightened, found, atol=0.1)


def test_each_of_several_is_refined_as_if_alone(picture):
    second = moved(picture, about_centre(1, 1, False, (0.7, 0.3)))
    several = np.stack([UNCHANGED, about_centre(2, 1, False, (1, 1)), about_centre(180, 1, False, (0, 0))])
    alone = [REFINEMENT.refine(REFINEMENT.prepare(picture), second, transform[np.newaxis])[0] for transform in several]
    np.testing.assert_allclose(REFINEMENT.refine(REFINEMENT.prepare(picture), second, several), alone, atol=1e-3)


def test_what_lies_outside_the_disc_does_not_count(picture):
    rows, columns = np.mgrid[:HALF_SIDE, :HALF_SIDE] - (HALF_SIDE - 1) / 2
    is_outside = np.hypot(rows, columns) > 0.6 * HALF_SIDE / 2
    second = moved(picture, about_centre(0, 1, False, (0.6, 0)))
    narrow = Refinement(HALF_SIDE, 0.5, smoothing=3, n_steps=N_STEPS)
    noise = np.random.default_rng(0).normal(size=picture.shape).astype(np.float32)
    found = [
        narrow.refine(narrow.prepare(first), second, UNCHANGED[np.newaxis])
        for first in (picture, np.where(is_outside, noise, picture))
    ]
    np.testing.assert_allclose(*found, atol=1e-4)


@pytest.mark.parametrize("value", [0, 7])
def test_a_picture_without_detail_moves_nowhere(picture, value):
    flat = np.full_like(picture, value)
    np.testing.assert_allclose(
        REFINEMENT.refine(REFINEMENT.prepare(flat), picture, UNCHANGED[np.newaxis])[0], UNCHANGED, atol=1e-6
    )
    assert np.isfinite(REFINEMENT.refine(REFINEMENT.prepare(picture), flat, UNCHANGED[np.newaxis])).all()


def test_what_does_not_overlap_ends_somewhere(picture):
    far = about_centre(0, 1, False, (3 * HALF_SIDE, 0))
    assert np.isfinite(REFINEMENT.refine(REFINEMENT.prepare(picture), picture, far[np.newaxis])).all()
