"""Photographs of made-up textured parts: the scene is drawn once, every shot adds sensor noise of its own."""

from functools import lru_cache

import cv2
import numpy as np
from PIL import Image

from bench.made_copies import File, encode
from inspection.audit.squares import SIDE

SIZE = 240
NOISE = 2.0
"""Standard deviation of the sensor noise in grey levels."""
EXPOSURE_NOISE = 1.4
"""The same of `expose` at grey level 100."""
_NOISE_GRAIN = 0.8
"""In pixels: a colour sensor interpolates, so its noise is not white. White noise no copy keeps when it is turned."""


def known_transform(angle: float, scale: float, is_flipped: bool, shift: tuple[float, float]) -> np.ndarray:
    """From points of a square to points of its moved copy."""
    centre = (SIDE - 1) / 2
    transform = cv2.getRotationMatrix2D((centre, centre), angle, scale)
    if is_flipped:
        transform = transform @ np.array([[-1, 0, SIDE - 1], [0, 1, 0], [0, 0, 1]])
    transform[:, 2] += shift
    return transform


@lru_cache(maxsize=100)
def draw_texture(seed: int, contrast: float = 40) -> np.ndarray:
    """Return grains of several sizes around 0; ndarray of float, shape (SIZE, SIZE), read-only."""
    random = np.random.default_rng(seed)
    grains = [cv2.GaussianBlur(random.normal(size=(SIZE, SIZE)), (0, 0), size) for size in (6, 12, 30)]
    texture = contrast / 2 * sum(grain / grain.std() for grain in grains) / np.sqrt(len(grains))
    texture.setflags(write=False)
    return texture


def draw_scene(seed: int) -> np.ndarray:
    """Return a part that fills the picture."""
    return 128 + draw_texture(seed)


def draw_in_fixture(seed: int) -> np.ndarray:
    """Return a part, different for every seed, in the same dark fixture."""
    rows, columns = np.mgrid[:SIZE, :SIZE] / SIZE - 0.5
    is_part = np.hypot(rows, columns) < 0.3
    return np.where(is_part, 150 + draw_texture(seed, 12), 60 + draw_texture(999, 12))


def draw_ground_surface(seed: int) -> np.ndarray:
    """Return a part that grinding left full of fine streaks, whose contrast hides the noise of a sensor."""
    random = np.random.default_rng(seed)
    streaks = cv2.GaussianBlur(random.normal(size=(SIZE, SIZE)), (0, 0), sigmaX=1.2, sigmaY=9)
    return 100 + 14 * streaks / streaks.std() + draw_texture(seed + 1000, 12)


def expose(scene: np.ndarray, seed: int, gain: float = 1.0, left: int = 0, top: int = 0, side: int = 0) -> np.ndarray:
    """Photograph a part with another exposure and cut it out anew; ndarray of uint8, shape (side, side, 3).

    The noise grows with the light as that of photons does.
    """
    grains = cv2.GaussianBlur(np.random.default_rng(seed).normal(size=scene.shape), (0, 0), _NOISE_GRAIN)
    light = gain * scene
    noise = EXPOSURE_NOISE * np.sqrt(np.maximum(light, 0) / 100)
    noisy = np.rint(light + noise * grains / grains.std())
    pixels = np.repeat(np.clip(noisy, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
    side = side or len(scene) - max(left, top)
    return pixels[top : top + side, left : left + side]


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
