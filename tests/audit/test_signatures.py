"""What photographs are compared by: the middle of each, and spectra and descriptors that motion hardly changes."""

import cv2
import numpy as np
import pytest

from inspection.audit import signatures
from inspection.audit.signatures import (
    MAX_SCALE,
    N_ANGLES,
    SCALE_STEPS,
    SIDE,
    align_spectra,
    central_square,
    descriptors,
    make_signatures,
    match_spectra,
    reverse_alignment,
    spectral_similarity,
    texture,
)
from tests.photographs import SIZE, draw_scene, known_transform, shoot


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
    nothing = make_signatures([])
    assert len(nothing) == 0
    assert descriptors(nothing).shape == (0, 768)


@pytest.mark.parametrize(("angle", "scale", "is_flipped"), [(90, 1, False), (33, 1, True), (200, 1.2, False)])
def test_spectra_and_descriptors_tell_copies_from_strangers(angle, scale, is_flipped):
    first = central_square(shoot(draw_scene(1), 1))
    known = known_transform(angle, scale, is_flipped, (5, -3))
    copy = cv2.warpAffine(first, known, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)
    strangers = [central_square(shoot(draw_scene(seed), seed)) for seed in range(10, 20)]
    signed = make_signatures([first, copy, *strangers])
    similarity = spectral_similarity(signed.spectra[0], signed.spectra)
    assert similarity[0] == pytest.approx(1, abs=0.01)
    assert similarity[1] > similarity[2:].max()
    vectors = descriptors(signed)
    vectors = (vectors - vectors.mean(0)) / vectors.std(0)
    distance = np.linalg.norm(vectors - vectors[0], axis=1)
    assert distance[1:].argmin() == 0


@pytest.mark.parametrize("turn", [0, 5, 64, 127])
def test_turned_spectrum_is_matched_where_it_lies(turn):
    """Turning the picture turns the spectrum: what was at angle 0 is at the turn."""
    first = central_square(shoot(draw_scene(1), 1))
    known = known_transform(-turn * 180 / N_ANGLES, 1, False, (0, 0))
    second = cv2.warpAffine(first, known, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)
    spectra = make_signatures([first, second]).spectra
    correlation = match_spectra(spectra[1], spectra[:1])[0][:, 0]
    angle, step = np.unravel_index(correlation.argmax(), correlation.shape)
    assert min((angle - turn) % N_ANGLES, (turn - angle) % N_ANGLES) <= 1
    assert abs(SCALE_STEPS[step]) <= 1


def test_scales_are_searched_up_to_the_largest():
    assert len(SCALE_STEPS) == 2 * SCALE_STEPS[-1] + 1
    spectra = make_signatures([central_square(shoot(draw_scene(1), 1))]).spectra
    for correlation in match_spectra(spectra[0], spectra):
        assert correlation.shape == (N_ANGLES, 1, len(SCALE_STEPS))
    assert np.sqrt(2) < MAX_SCALE, "what a canvas that grows shrinks a picture by"


def test_texture_ignores_light_and_black_corners():
    square = central_square(shoot(draw_scene(1), 1)).astype(np.float32)
    inside = np.s_[40:-40, 40:-40]
    np.testing.assert_allclose(texture(square + 30)[inside], texture(square)[inside], atol=1e-3)
    cornered = square.copy()
    cornered[:20, :20] = 0
    assert (texture(cornered)[:20, :20] == 0).all()


def test_mirror_image_is_matched_as_such():
    first = central_square(shoot(draw_scene(1), 1))
    spectra = make_signatures([first, np.ascontiguousarray(first[:, ::-1])]).spectra
    upright, mirrored = match_spectra(spectra[0], spectra)
    np.testing.assert_allclose([upright[:, 0].max(), mirrored[:, 1].max()], 1, atol=1e-3)
    assert max(upright[:, 1].max(), mirrored[:, 0].max()) < 0.99


def test_similarity_is_the_best_correlation(monkeypatch):
    monkeypatch.setattr(signatures, "_MATCHED", 2)
    spectra = make_signatures([central_square(shoot(draw_scene(seed), seed)) for seed in range(5)]).spectra
    best = [
        max(correlations[:, other].max() for correlations in match_spectra(spectra[0], spectra)) for other in range(5)
    ]
    np.testing.assert_allclose(spectral_similarity(spectra[0], spectra), best, atol=1e-6)
    assert len(spectral_similarity(spectra[0], spectra[:0])) == 0


def test_alignment_holds_either_way_round():
    pictures = [central_square(shoot(draw_scene(seed), seed)) for seed in (1, 2)]
    turned = cv2.warpAffine(pictures[0], known_transform(33, 1.1, False, (0, 0)), (SIDE, SIDE))
    spectra = make_signatures([*pictures, turned]).spectra
    for one, other in ((0, 1), (0, 2), (2, 1)):
        there, back = (align_spectra(spectra[i], spectra[[j]])[0] for i, j in ((one, other), (other, one)))
        np.testing.assert_array_equal(reverse_alignment(there), back)
