"""Spectra and descriptors that motion hardly changes."""

from itertools import product

import cv2
import numpy as np
import pytest

from inspection.audit import spectra as spectra_module
from inspection.audit.signatures import make_signatures
from inspection.audit.spectra import (
    LOG_STEP,
    MAX_SCALE,
    N_ANGLES,
    SCALE_STEPS,
    descriptors,
    match_spectra,
    reverse_alignment,
)
from inspection.audit.squares import SIDE, central_square
from tests.photographs import draw_scene, known_transform, shoot


def test_no_signatures():
    nothing = make_signatures([])
    assert len(nothing) == 0
    assert descriptors(nothing.spectra).shape == (0, 768)


@pytest.mark.parametrize(("angle", "scale", "is_flipped"), [(90, 1, False), (33, 1, True), (200, 1.2, False)])
def test_spectra_and_descriptors_tell_copies_from_strangers(angle, scale, is_flipped):
    first = central_square(shoot(draw_scene(1), 1))
    known = known_transform(angle, scale, is_flipped, (5, -3))
    copy = cv2.warpAffine(first, known, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT)
    strangers = [central_square(shoot(draw_scene(seed), seed)) for seed in range(10, 20)]
    signed = make_signatures([first, copy, *strangers])
    similarity = match_spectra(signed.spectra[0], signed.spectra).similarities
    assert similarity[0] == pytest.approx(1, abs=0.01)
    assert similarity[1] > similarity[2:].max()
    vectors = descriptors(signed.spectra)
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
    angle, step = match_spectra(spectra[1], spectra[:1]).alignments[0, 0]
    assert min((angle - turn) % N_ANGLES, (turn - angle) % N_ANGLES) <= 1
    assert abs(step) <= 1


@pytest.mark.parametrize("step", [SCALE_STEPS[0], SCALE_STEPS[-1]])
def test_scales_are_searched_up_to_the_largest(step):
    spectrum = make_signatures([central_square(shoot(draw_scene(1), 1))]).spectra
    scaled = np.roll(spectrum, -step, axis=3)
    match = match_spectra(spectrum[0], scaled)
    assert match.similarities[0] == pytest.approx(1, abs=1e-5)
    assert match.alignments[0, 0].tolist() == [0, step]
    assert np.exp(abs(step) * LOG_STEP) == pytest.approx(MAX_SCALE, rel=LOG_STEP)
    assert np.sqrt(2) < MAX_SCALE, "what a canvas that grows shrinks a picture by"


def test_mirror_image_is_matched_as_such():
    first = central_square(shoot(draw_scene(1), 1))
    spectra = make_signatures([first, np.ascontiguousarray(first[:, ::-1])]).spectra
    match = match_spectra(spectra[0], spectra)
    np.testing.assert_allclose(match.similarities, 1, atol=1e-3)
    assert match.alignments[0, 0].tolist() == match.alignments[1, 1].tolist() == [0, 0]
    as_it_is, mirrored = as_pictures(spectra)
    assert np.sum(as_it_is * mirrored) < 0.99, "not by being symmetric"


def as_pictures(spectra: np.ndarray) -> np.ndarray:
    """Return spectra over angle and log frequency; shape (n_images, N_ANGLES, n_radii)."""
    return np.fft.irfft(spectra[:, :, 0] + 1j * spectra[:, :, 1], n=N_ANGLES, axis=1)


def test_similarity_is_the_best_correlation(monkeypatch):
    """Computed in another way: every turn and step of the spectrum, and of its mirror image, is tried."""
    monkeypatch.setattr(spectra_module, "_AT_ONCE", 2)
    spectra = make_signatures([central_square(shoot(draw_scene(seed), seed)) for seed in range(5)]).spectra
    first, *others = as_pictures(spectra)
    match = match_spectra(spectra[0], spectra[1:])
    for number, other in enumerate(others):
        # A mirror image has every angle at its negative.
        ways = [correlate(first, picture) for picture in (other, np.roll(other[::-1], 1, axis=0))]
        for way, correlations in enumerate(ways):
            assert correlations[tuple(match.alignments[number, way])] == pytest.approx(max(correlations.values()))
        best = max(max(correlations.values()) for correlations in ways)
        assert match.similarities[number] == pytest.approx(best, abs=1e-5)
    assert len(match_spectra(spectra[0], spectra[:0]).similarities) == 0


def correlate(first: np.ndarray, second: np.ndarray) -> dict[tuple[int, int], float]:
    turns_and_steps = product(range(N_ANGLES), SCALE_STEPS)
    return {moves: float(np.sum(first * np.roll(second, moves, axis=(0, 1)))) for moves in turns_and_steps}


def test_alignment_holds_either_way_round():
    pictures = [central_square(shoot(draw_scene(seed), seed)) for seed in (1, 2)]
    turned = cv2.warpAffine(pictures[0], known_transform(33, 1.1, False, (0, 0)), (SIDE, SIDE))
    spectra = make_signatures([*pictures, turned]).spectra
    for one, other in ((0, 1), (0, 2), (2, 1)):
        there, back = (match_spectra(spectra[i], spectra[[j]]).alignments[0] for i, j in ((one, other), (other, one)))
        np.testing.assert_array_equal(reverse_alignment(there), back)
