"""Photographs laid over each other by transforms that are known."""

import cv2
import numpy as np
import pytest

from inspection.audit.overlays import overlay
from inspection.audit.registration import RoughRegistration, doubled, prepare, refine, register, register_roughly, warp
from inspection.audit.signatures import make_signatures
from inspection.audit.spectra import match_spectra
from inspection.audit.squares import SIDE, central_square, texture
from tests.photographs import draw_scene, known_transform, shoot

ANYTHING = -1.0
"""A correlation that no rough transform falls below."""


def worst_error(transform: np.ndarray, known: np.ndarray) -> float:
    """How far apart two transforms take the points of a circle at most, in pixels of the square."""
    around = [[SIDE / 2 + 50 * np.cos(turn), SIDE / 2 + 50 * np.sin(turn), 1] for turn in np.arange(0, 6.3, 0.5)]
    return float(np.abs(np.array(around) @ (transform - known).T).max())


def moved_copy(known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first = central_square(shoot(draw_scene(1), 1))
    second = cv2.warpAffine(first, known, (SIDE, SIDE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return first, second


@pytest.mark.parametrize("is_flipped", [False, True])
@pytest.mark.parametrize("angle", [0, 7, 90, 133, 180, 271])
@pytest.mark.parametrize(("scale", "shift"), [(1, (0, 0)), (1, (7.5, -4)), (0.85, (-6, 5)), (1.15, (3, 8))])
def test_transform_is_right_to_a_pixel(angle, scale, is_flipped, shift):
    known = known_transform(angle, scale, is_flipped, shift)
    signatures = make_signatures(moved_copy(known))
    match = match_spectra(signatures.spectra[0], signatures.spectra[1:])
    (rough,) = register_roughly(signatures, [(0, 1)], match.alignments)
    assert (
        worst_error(doubled(register(prepare(signatures.half_textures[0]), signatures.half_textures[1], rough)), known)
        < 1.5
    )
    assert worst_error(overlay(signatures, 0, 1, ANYTHING).transform, known) < 1


def test_a_way_that_shows_nothing_hides_no_other():
    """Where the second photograph lies outside the first, there is no correlation at all."""
    signatures = make_signatures(moved_copy(known_transform(0, 1, False, (0, 0))))
    away, near = (known_transform(0, 1, False, (shift, 0)).astype(np.float32) for shift in (3 * SIDE, 1))
    rough = RoughRegistration(np.full(2, 0.9, np.float32), np.stack([away, near]))
    found = register(prepare(signatures.half_textures[0]), signatures.half_textures[1], rough)
    assert worst_error(doubled(found), known_transform(0, 1, False, (0, 0))) < 1.5


def test_refinement_ends_nearer():
    known = known_transform(7, 1, False, (3, -2))
    textures = tuple(texture(square.astype(np.float32)) for square in moved_copy(known))
    near = (known + [[0, 0, 1.5], [0, 0, -1.5]]).astype(np.float32)
    assert worst_error(refine(textures, near, 0.9, 5), known) < 0.1 < worst_error(near, known)


def test_pictures_that_do_not_overlap_are_not_refined():
    textures = tuple(texture(square.astype(np.float32)) for square in moved_copy(known_transform(0, 1, False, (0, 0))))
    assert refine(textures, known_transform(0, 1, False, (3 * SIDE, 0)).astype(np.float32), 0.9, 5) is None


def test_warping_takes_the_second_into_the_frame_of_the_first():
    square = np.zeros((SIDE, SIDE), np.float32)
    square[50, 30], square[-1, -1] = 100, 50
    # From points of the first to points of the second: 10 to the right, 20 down.
    moved = warp(square, np.array([[1.0, 0, 10], [0, 1, 20]]))
    assert np.unravel_index(moved.argmax(), moved.shape) == (30, 20)
    assert moved[-1, -1] == 50, "beyond the border, the border repeated"


def test_many_pairs_are_registered_like_each_alone():
    squares = [*moved_copy(known_transform(33, 1, True, (3, 8))), central_square(shoot(draw_scene(2), 2))]
    signatures, pairs = make_signatures(squares), [(0, 1), (0, 2), (1, 2)]
    alignments = np.concatenate(
        [match_spectra(signatures.spectra[i], signatures.spectra[[j]]).alignments for i, j in pairs]
    )
    for number, together in enumerate(register_roughly(signatures, pairs, alignments)):
        (alone,) = register_roughly(signatures, pairs[number : number + 1], alignments[number : number + 1])
        np.testing.assert_array_equal(together.correlations, alone.correlations)
        np.testing.assert_array_equal(together.transforms, alone.transforms)
