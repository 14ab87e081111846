"""What photographs are compared by: a small square of each, its texture, and a spectrum that motion hardly changes.

The spectrum over angle and log frequency follows Reddy and Chatterji, "An FFT-based technique for translation,
rotation, and scale-invariant image registration" (IEEE Transactions on Image Processing 5, 1996).
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import fft

SIDE = 160
"""Shorter side of the thumbnails that are compared, in pixels."""
HALF_SIDE = SIDE // 2
"""Side of the textures by which they are registered roughly."""
MAX_SCALE = 1.5
"""Largest ratio of sizes searched: a photograph turned by 45 degrees on a canvas that grows with it shrinks by 1.41."""
N_ANGLES, N_RADII = 128, 64
"""Of the spectrum."""
RADIUS = (np.hypot(*(np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2)) / (SIDE / 2)).astype(np.float32)
"""Distance from the centre, 1 at the middle of an edge: a turned copy has no content beyond."""
WINDOW = np.where(RADIUS < 1, np.cos(np.pi * np.clip(RADIUS - 0.5, 0, 0.5)) ** 2, 0).astype(np.float32)
"""Fades out towards the edges."""

_MIN_RADIUS, _MAX_RADIUS = 3.0, 0.42 * SIDE
LOG_STEP = float(np.log(_MAX_RADIUS / _MIN_RADIUS) / (N_RADII - 1))
"""From one radius of the spectrum to the next: natural logarithm of their ratio."""
_MAX_STEPS = int(np.log(MAX_SCALE) / LOG_STEP)
SCALE_STEPS = np.arange(-_MAX_STEPS, _MAX_STEPS + 1)
"""Shifts of the spectrum along its radii that `MAX_SCALE` allows."""
_RADII = np.exp(np.log(_MIN_RADIUS) + LOG_STEP * np.arange(N_RADII))
_ANGLES = np.pi / N_ANGLES * np.arange(N_ANGLES)
_POLAR_X = (SIDE / 2 + np.outer(np.cos(_ANGLES), _RADII)).astype(np.float32)
_POLAR_Y = (SIDE / 2 + np.outer(np.sin(_ANGLES), _RADII)).astype(np.float32)
_N_SCALE_FREQUENCIES = 12
_BLACK = 3
"""Grey level up to which a corner is called black; compression makes it noisy."""
_MIN_CONTENT, _MAX_CONTENT = 0.55, 0.97
"""Radius within black corners, in half sides: less is a part on black ground, more is a picture without them.

Turned by 45 degrees a square takes 0.71 of its canvas, and less when it is shrunk and shifted too.
"""
_NEIGHBOURHOOD = 41
"""Side of the window of local statistics, in pixels."""


@dataclass(frozen=True)
class Signatures:
    """Photographs, prepared for comparison: everything that would otherwise be computed again for every pair.

    Attributes
    ----------
    squares : ndarray of uint8, shape (n_images, SIDE, SIDE)
        Central square of each, grey.
    spectra : ndarray of complex64, shape (n_images, 128, 33)
        Half of the Fourier transform of the spectrum of its central disc over 128 angles and 64 log frequencies: a
        rotation or a scale shifts that spectrum, a translation leaves it as it is.
    half_textures : ndarray of float32, shape (n_images, SIDE / 2, SIDE / 2)
        `texture` of each square at half the size.
    """

    squares: np.ndarray
    spectra: np.ndarray
    half_textures: np.ndarray

    def __len__(self) -> int:
        return len(self.squares)


def central_square(pixels: np.ndarray) -> np.ndarray:
    """Return the central square of a photograph, grey and of ``SIDE`` pixels.

    The black corners of a picture that was turned on a growing canvas are cut off: what remains has the size and the
    sharpness of the original's square.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)

    Returns
    -------
    ndarray of uint8, shape (SIDE, SIDE)
    """
    side = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    grey = cv2.cvtColor(np.ascontiguousarray(pixels[top : top + side, left : left + side]), cv2.COLOR_RGB2GRAY)
    return _thumbnail(_cut_to_content(grey))


def make_signatures(squares: Iterable[np.ndarray]) -> Signatures:
    """Prepare photographs for comparison.

    Parameters
    ----------
    squares : iterable of ndarray of uint8, shape (SIDE, SIDE)
        From `central_square`.
    """
    squares = np.array(list(squares), np.uint8).reshape(-1, SIDE, SIDE)
    spectra = np.empty((len(squares), N_ANGLES, N_RADII // 2 + 1), np.complex64)
    half_textures = np.empty((len(squares), HALF_SIDE, HALF_SIDE), np.float32)
    for place, square in enumerate(squares):
        detail = texture(square.astype(np.float32))
        spectra[place] = fft.rfft2(_log_polar_spectrum(detail))
        half_textures[place] = cv2.resize(detail, (HALF_SIDE, HALF_SIDE), interpolation=cv2.INTER_AREA)
    return Signatures(squares, spectra, half_textures)


def descriptors(signatures: Signatures) -> np.ndarray:
    """Return vectors that rotation, flips, scale and shifts hardly change.

    Parameters
    ----------
    signatures : Signatures

    Returns
    -------
    ndarray of float32, shape (n_images, 768)
        Magnitudes of the Fourier transform of each spectrum. A flip swaps positive and negative angular frequencies,
        so the larger and the smaller of each two are taken.
    """
    turning = np.arange(N_ANGLES // 4)
    magnitudes = np.abs(signatures.spectra[:, :, :_N_SCALE_FREQUENCIES])
    positive, negative = magnitudes[:, turning], magnitudes[:, -turning]
    larger, smaller = np.maximum(positive, negative), np.minimum(positive, negative)
    return np.concatenate([larger, smaller], axis=1).reshape(len(signatures), 2 * len(turning) * _N_SCALE_FREQUENCIES)


def spectral_similarity(spectra: np.ndarray, position: int, others: np.ndarray) -> np.ndarray:
    """Compare a spectrum with others under the best rotation, flip and scale.

    Parameters
    ----------
    spectra : ndarray of complex64, shape (n_images, 128, 33)
        Of `Signatures`.
    position : int
    others : ndarray of int, shape (n_others,)
        Positions compared with ``position``.

    Returns
    -------
    ndarray of float32, shape (n_others,), in [-1, 1]
        Correlation.
    """
    # One at a time: so small an array stays in the cache.
    either_way = with_flip(spectra[position])
    return np.array([max(match_spectra(mine, spectra[other]).max() for mine in either_way) for other in others])


def with_flip(spectrum: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return a spectrum and that of the mirrored photograph, where every angle is its negative.

    Parameters
    ----------
    spectrum : ndarray of complex64, shape (128, 33)
        Of `Signatures`.
    """
    return spectrum, spectrum[-np.arange(N_ANGLES)]


def match_spectra(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Correlate two spectra for every turn and scale.

    Parameters
    ----------
    first, second : ndarray of complex64, shape (128, 33)
        Of `Signatures`.

    Returns
    -------
    ndarray of float32, shape (128, len(SCALE_STEPS)), in [-1, 1]
        Entry (i, j) is the correlation when the second is turned by i / 128 of half a turn and moved outwards by
        ``SCALE_STEPS[j]``.
    """
    return fft.irfft2(first * second.conj(), s=(N_ANGLES, N_RADII))[:, SCALE_STEPS]


def texture(square: np.ndarray) -> np.ndarray:
    """Subtract the local mean and divide by the local contrast, so that neither light nor black corners count.

    Parameters
    ----------
    square : ndarray of float32, shape (SIDE, SIDE)

    Returns
    -------
    ndarray of float32, shape (SIDE, SIDE)
        0 in black corners.
    """
    content = _content(square).astype(np.float32)
    share = local_mean(content) + 1e-6
    detail = (square - local_mean(square * content) / share) * content
    return detail / np.sqrt(local_mean(detail * detail) / share + 9)


def local_mean(values: np.ndarray) -> np.ndarray:
    """Return the mean over the neighbourhood of every pixel.

    Parameters
    ----------
    values : ndarray of float32, shape (SIDE, SIDE)

    Returns
    -------
    ndarray of float32, shape (SIDE, SIDE)
    """
    return cv2.blur(values, (_NEIGHBOURHOOD, _NEIGHBOURHOOD))


def _thumbnail(grey: np.ndarray) -> np.ndarray:
    return cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA if min(grey.shape) > SIDE else cv2.INTER_LINEAR)


def _content(square: np.ndarray) -> np.ndarray:
    """Return 0 in black regions that start in a corner, where a turned or shifted picture has nothing, and 1 else."""
    square = square.astype(np.uint8)
    mask = np.zeros((SIDE + 2, SIDE + 2), np.uint8)
    flags = 4 | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE | 1 << 8
    for x, y in ((0, 0), (0, SIDE - 1), (SIDE - 1, 0), (SIDE - 1, SIDE - 1)):
        if square[y, x] <= _BLACK and not mask[y + 1, x + 1]:
            cv2.floodFill(square, mask, (x, y), 0, _BLACK, _BLACK, flags)
    # The pixels along the edge of the picture are mixed with black.
    return 1 - cv2.dilate(mask[1:-1, 1:-1], np.ones((3, 3)))


def _cut_to_content(grey: np.ndarray) -> np.ndarray:
    """Cut a square to the one around the largest disc without black corners."""
    distance = cv2.distanceTransform(np.pad(_content(_thumbnail(grey)), 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    radius = distance.max()
    if not _MIN_CONTENT < radius / (SIDE / 2) < _MAX_CONTENT:
        return grey
    # Several centres where the picture is longer than wide: their mean.
    centre = np.argwhere(distance >= radius - 0.5).mean(0) - 0.5
    scale = len(grey) / SIDE
    top, left = np.maximum(np.rint((centre - radius) * scale), 0).astype(int)
    bottom, right = np.rint((centre + radius) * scale).astype(int)
    return np.ascontiguousarray(grey[top:bottom, left:right])


def _log_polar_spectrum(detail: np.ndarray) -> np.ndarray:
    """Return the magnitude over angle and log frequency, centred and of norm 1; shape (128, 64)."""
    magnitude = np.abs(fft.fftshift(fft.fft2(detail * WINDOW)))
    log_polar = cv2.remap(np.log1p(magnitude).astype(np.float32), _POLAR_X, _POLAR_Y, cv2.INTER_LINEAR)
    tapered = (log_polar - log_polar.mean()) * np.hanning(N_RADII).astype(np.float32)
    return tapered / (np.linalg.norm(tapered) + 1e-6)
