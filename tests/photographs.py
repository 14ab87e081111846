"""Photographs of made-up textured parts: the scene is drawn once, every shot adds sensor noise of its own."""

import cv2
import numpy as np
from PIL import Image

from bench.made_copies import File, encode

SIZE = 240
NOISE = 2.0
"""Standard deviation of the sensor noise in grey levels."""
_NOISE_GRAIN = 0.8
"""In pixels: a colour sensor interpolates, so its noise is not white. White noise no copy keeps when it is turned."""


def draw_texture(seed: int, contrast: float = 40) -> np.ndarray:
    """Return grains of several sizes around 0; ndarray of float, shape (SIZE, SIZE)."""
    random = np.random.default_rng(seed)
    grains = [cv2.GaussianBlur(random.normal(size=(SIZE, SIZE)), (0, 0), size) for size in (6, 12, 30)]
    return contrast / 2 * sum(grain / grain.std() for grain in grains) / np.sqrt(len(grains))


def draw_scene(seed: int) -> np.ndarray:
    """Return a part that fills the picture."""
    return 128 + draw_texture(seed)


def draw_in_fixture(seed: int) -> np.ndarray:
    """Return a part, different for every seed, in the same dark fixture."""
    rows, columns = np.mgrid[:SIZE, :SIZE] / SIZE - 0.5
    is_part = np.hypot(rows, columns) < 0.3
    return np.where(is_part, 150 + draw_texture(seed, 12), 60 + draw_texture(999, 12))


def shoot(scene: np.ndarray, seed: int, noise: float = NOISE) -> np.ndarray:
    """Take a photograph; ndarray of uint8, shape (SIZE, SIZE, 3)."""
    grains = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=scene.shape), (0, 0), _NOISE_GRAIN)
    noisy = np.rint(scene + noise * grains / grains.std())
    return np.repeat(np.clip(noisy, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def as_file(pixels: np.ndarray) -> File:
    """Return the photograph as a PNG file, of which `bench.made_copies.make_copy` makes copies."""
    return encode(Image.fromarray(pixels), ".png")


def pixels_of(file: File) -> np.ndarray:
    return np.asarray(file.open().convert("RGB"))
