"""Defects planted in photographs that are made up."""

import numpy as np
import pytest

from inspection.data import planted_defects
from inspection.data.planted_defects import MIN_CHANGE, plant


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Stripes with noise, grey."""
    stripes = 128 + 50 * np.sin(np.arange(width) / 5) + np.random.default_rng(seed).normal(0, 8, (height, width))
    return np.repeat(np.clip(stripes, 0, 255).astype(np.uint8)[..., np.newaxis], 3, axis=2)


PHOTOGRAPHS = {
    "texture": texture(96, 96),
    "wide": texture(40, 300),
    "high": texture(300, 40),
    "tiny": texture(16, 16),
    "smallest": texture(8, 8),
    "smallest and long": texture(8, 160),
    "black": np.zeros((64, 64, 3), np.uint8),
    "white": np.full((64, 64, 3), 255, np.uint8),
    "noise": np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8),
    "chessboard": np.repeat((255 * (np.indices((64, 64)).sum(0) % 2)).astype(np.uint8)[..., np.newaxis], 3, axis=2),
}


@pytest.mark.parametrize("name", PHOTOGRAPHS)
@pytest.mark.parametrize("kind", planted_defects._KINDS, ids=lambda kind: kind.__name__.strip("_"))
def test_a_defect_is_seen_and_lies_under_its_mask(monkeypatch, kind, name):
    monkeypatch.setattr(planted_defects, "_KINDS", (kind,))
    pixels = PHOTOGRAPHS[name]
    before = pixels.copy()
    for seed in range(12):
        planted, mask = plant(pixels, np.random.default_rng(seed))
        assert (planted.dtype, planted.shape) == (np.uint8, pixels.shape)
        assert (mask.dtype, mask.shape) == (bool, pixels.shape[:2])
        np.testing.assert_array_equal(planted[~mask], pixels[~mask])
        assert np.abs(planted[mask].astype(float) - pixels[mask]).mean() >= MIN_CHANGE
    np.testing.assert_array_equal(pixels, before)


def test_grey_stays_grey():
    for seed in range(40):
        planted, _ = plant(PHOTOGRAPHS["texture"], np.random.default_rng(seed))
        np.testing.assert_array_equal(planted, planted[..., :1].repeat(3, axis=2))


def test_the_generator_decides():
    first, again, other = (plant(PHOTOGRAPHS["texture"], np.random.default_rng(seed)) for seed in (3, 3, 4))
    for one, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, same)
    assert not np.array_equal(first[1], other[1])


def test_every_kind_is_planted(monkeypatch):
    used = []

    def noting(kind):
        return lambda *arguments: used.append(kind.__name__) or kind(*arguments)

    kinds = planted_defects._KINDS
    monkeypatch.setattr(planted_defects, "_KINDS", tuple(map(noting, kinds)))
    random = np.random.default_rng(0)
    for _ in range(60):
        plant(PHOTOGRAPHS["texture"], random)
    assert set(used) == {kind.__name__ for kind in kinds}


def test_small_and_moderate_ones_are_planted():
    shares = [plant(PHOTOGRAPHS["texture"], np.random.default_rng(seed))[1].mean() for seed in range(200)]
    assert min(shares) < 0.005 < 0.05 < max(shares) < 0.3


def test_defects_lie_on_the_part():
    """A part on a plain background takes a ninth of the photograph, and most of the defects."""
    pixels = np.zeros((120, 120, 3), np.uint8)
    pixels[40:80, 40:80] = texture(40, 40)
    masks = [plant(pixels, np.random.default_rng(seed))[1] for seed in range(60)]
    middles = np.array([np.argwhere(mask).mean(axis=0) for mask in masks])
    assert np.mean(np.all((middles > 35) & (middles < 85), axis=1)) > 0.6


def test_a_defect_rises_above_the_texture():
    """Where neighbours differ by 24 grey levels, a change of 10 would not be seen."""
    rough = np.random.default_rng(0).choice([100, 124], (80, 80, 1)).astype(np.uint8).repeat(3, axis=2)
    for seed in range(30):
        planted, mask = plant(rough, np.random.default_rng(seed))
        assert np.abs(planted[mask].astype(float) - rough[mask]).mean() > 13


def test_less_than_the_decoder_lets_pass():
    with pytest.raises(ValueError, match="^a photograph of 20 x 7 pixels is too small: 8 a side are needed"):
        plant(np.zeros((7, 20, 3), np.uint8), np.random.default_rng(0))
