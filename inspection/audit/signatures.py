"""What photographs are compared by: a small square of each, its texture, and a spectrum that motion hardly changes.

The spectrum over angle and log frequency follows Reddy and Chatterji, "An FFT-based technique for translation,
rotation, and scale-invariant image registration" (IEEE Transactions on Image Processing 5, 1996).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from scipy import fft
from sklearn.utils import gen_batches

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
_STEPPED_RADII = (np.arange(N_RADII) + SCALE_STEPS[:, np.newaxis]) % N_RADII
N_HARMONICS = N_ANGLES // 4 + 1
"""Of the Fourier transform over the angles that are compared: finer ones hold little but noise."""
_RADII = np.exp(np.log(_MIN_RADIUS) + LOG_STEP * np.arange(N_RADII))
_ANGLES = np.pi / N_ANGLES * np.arange(N_ANGLES)
_POLAR_X = (SIDE / 2 + np.outer(np.cos(_ANGLES), _RADII)).astype(np.float32)
_POLAR_Y = np.outer(np.sin(_ANGLES), _RADII).astype(np.float32)
_TAPER = np.hanning(N_RADII).astype(np.float32)
_N_TURN_FREQUENCIES, _N_SCALE_FREQUENCIES = 32, 12
"""Lowest frequencies of the spectrum that descriptors are made of."""
_MATCHED = 10
"""Spectra that are correlated at once, few enough for the cache. Always as many: the last digit of a product of
matrices depends on their size, and what is known of two photographs must not depend on the others."""
_DESCRIBED = 256
"""Images whose descriptors are computed at once: they take little memory."""
_BLACK = 3
"""Grey level up to which a corner is called black; compression makes it noisy."""
_MIN_CONTENT, _MAX_CONTENT = 0.55, 0.97
"""Radius within black corners, in half sides: less is a part on black ground, more is a picture without them.

Turned by 45 degrees a square takes 0.71 of its canvas, and less when it is shrunk and shifted too.
"""
NEIGHBOURHOOD = 41
"""Side of the window of local statistics, in pixels of the square."""


@dataclass(frozen=True)
class Signatures:
    """Photographs, prepared for comparison: everything that would otherwise be computed again for every pair.

    Attributes
    ----------
    squares : ndarray of uint8, shape (n_images, SIDE, SIDE)
        Central square of each, grey.
    spectra : ndarray of float32, shape (n_images, 33, 2, 64)
        The spectrum of the central disc over 128 angles and 64 log frequencies, transformed over the angles: real and
        imaginary part of the 33 lowest harmonics. A rotation or a scale shifts that spectrum, a translation leaves it
        as it is.
    half_textures : ndarray of float32, shape (n_images, SIDE / 2, SIDE / 2)
        `texture` of each square at half the size.
    """

    squares: np.ndarray
    spectra: np.ndarray
    half_textures: np.ndarray

    @classmethod
    def zeros(cls, n_images: int) -> "Signatures":
        """Return room for so many.

        Parameters
        ----------
        n_images : int
        """
        return cls(
            np.zeros((n_images, SIDE, SIDE), np.uint8),
            np.zeros((n_images, N_HARMONICS, 2, N_RADII), np.float32),
            np.zeros((n_images, HALF_SIDE, HALF_SIDE), np.float32),
        )

    def __len__(self) -> int:
        return len(self.squares)

    def __getitem__(self, positions: slice | np.ndarray) -> "Signatures":
        return Signatures(self.squares[positions], self.spectra[positions], self.half_textures[positions])

    def put(self, position: int, signature: "Signature") -> None:
        """Fill in one photograph.

        Parameters
        ----------
        position : int
        signature : Signature
        """
        self.squares[position], self.spectra[position], self.half_textures[position] = signature


class Signature(NamedTuple):
    """One photograph, prepared for comparison: what `Signatures` holds of each.

    Attributes
    ----------
    square : ndarray of uint8, shape (SIDE, SIDE)
    spectrum : ndarray of float32, shape (33, 2, 64)
    half_texture : ndarray of float32, shape (SIDE / 2, SIDE / 2)
    """

    square: np.ndarray
    spectrum: np.ndarray
    half_texture: np.ndarray

    def to_bytes(self) -> bytes:
        """Return what `from_bytes` reads."""
        return b"".join(np.ascontiguousarray(array).tobytes() for array in self)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Signature":
        """Return what `to_bytes` wrote.

        Parameters
        ----------
        data : bytes
        """
        square, rest = data[: SIDE**2], np.frombuffer(data, np.float32, offset=SIDE**2)
        spectrum, half_texture = np.split(rest, [N_HARMONICS * 2 * N_RADII])
        return cls(
            np.frombuffer(square, np.uint8).reshape(SIDE, SIDE),
            spectrum.reshape(N_HARMONICS, 2, N_RADII),
            half_texture.reshape(HALF_SIDE, HALF_SIDE),
        )


class SpectralMatches(NamedTuple):
    """How spectra match others under the best rotation, flip and scale.

    Attributes
    ----------
    similarities : ndarray of float32, shape (n_others,), in [-1, 1]
        Correlation.
    alignments : ndarray of int, shape (n_others, 2, 2)
        Turn and step, in `SCALE_STEPS`, by which the other and its mirror image match best.
    """

    similarities: np.ndarray
    alignments: np.ndarray

    @classmethod
    def joined(cls, matches: Iterable["SpectralMatches"]) -> "SpectralMatches":
        """Return what several found, one after the other.

        Parameters
        ----------
        matches : iterable of SpectralMatches
        """
        none = cls(np.empty(0, np.float32), np.empty((0, 2, 2), int))
        return cls(*(np.concatenate(arrays) for arrays in zip(none, *matches, strict=True)))


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


def make_signature(square: np.ndarray) -> Signature:
    """Prepare a photograph for comparison.

    Parameters
    ----------
    square : ndarray of uint8, shape (SIDE, SIDE)
        From `central_square`.
    """
    detail = texture(square.astype(np.float32))
    harmonics = fft.rfft(_log_polar_spectrum(detail), axis=0)[:N_HARMONICS]
    harmonics /= np.linalg.norm(fft.irfft(harmonics, n=N_ANGLES, axis=0)) + 1e-6
    return Signature(square, np.stack([harmonics.real, harmonics.imag], axis=1), at_half_size(detail))


def make_signatures(squares: Iterable[np.ndarray]) -> Signatures:
    """Prepare photographs for comparison.

    Parameters
    ----------
    squares : iterable of ndarray of uint8, shape (SIDE, SIDE)
        From `central_square`.
    """
    squares = list(squares)
    signatures = Signatures.zeros(len(squares))
    for position, square in enumerate(squares):
        signatures.put(position, make_signature(square))
    return signatures


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
    vectors = np.empty((len(signatures), 2 * _N_TURN_FREQUENCIES * _N_SCALE_FREQUENCIES), np.float32)
    for batch in gen_batches(len(signatures), _DESCRIBED) if len(signatures) else ():
        vectors[batch] = _describe(signatures.spectra[batch])
    return vectors


def _describe(spectra: np.ndarray) -> np.ndarray:
    harmonics = spectra[:, :_N_TURN_FREQUENCIES, 0] + 1j * spectra[:, :_N_TURN_FREQUENCIES, 1]
    magnitudes = np.abs(fft.fft(harmonics, axis=2))
    along = np.arange(_N_SCALE_FREQUENCIES)
    # The spectrum is real: a negative frequency of the angle with a positive one of the radius is the reverse.
    positive, negative = magnitudes[:, :, along], magnitudes[:, :, -along]
    larger, smaller = np.maximum(positive, negative), np.minimum(positive, negative)
    return np.concatenate([larger, smaller], axis=1).reshape(len(spectra), -1)


def match_spectra(spectrum: np.ndarray, others: np.ndarray) -> SpectralMatches:
    """Compare a spectrum with others under the best rotation, flip and scale.

    Parameters
    ----------
    spectrum : ndarray of float32, shape (33, 2, 64)
        Of `Signatures`.
    others : ndarray of float32, shape (n_others, 33, 2, 64)
    """
    factors = _factors(spectrum)
    matches = SpectralMatches.joined(_match(factors, some) for some in _in_batches(others))
    return SpectralMatches(matches.similarities[: len(others)], matches.alignments[: len(others)])


def _in_batches(spectra: np.ndarray) -> Iterator[np.ndarray]:
    """Yield `_MATCHED` spectra at a time, with zeros after the last."""
    for start in range(0, len(spectra), _MATCHED):
        some = spectra[start : start + _MATCHED]
        n_missing = _MATCHED - len(some)
        yield np.concatenate([some, np.zeros((n_missing, *some.shape[1:]), some.dtype)]) if n_missing else some


def _match(factors: np.ndarray, others: np.ndarray) -> SpectralMatches:
    upright, mirrored = (_best_places(correlation) for correlation in _correlate(factors, others))
    return SpectralMatches(np.maximum(upright[0], mirrored[0]), np.stack([upright[1], mirrored[1]], axis=1))


def _best_places(correlation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest correlation with every other, and the turn and the step that it is found at."""
    over_turns = correlation.max(axis=0)
    steps = over_turns.argmax(axis=1)
    others = np.arange(len(steps))
    turns = correlation[:, others, steps].argmax(axis=0)
    return over_turns[others, steps], np.stack([turns, SCALE_STEPS[steps]], axis=1)


def reverse_alignment(alignment: np.ndarray) -> np.ndarray:
    """Return by what the first of two spectra matches the second best.

    Parameters
    ----------
    alignment : ndarray of int, shape (..., 2, 2)
        From `match_spectra`: by what the second matches the first.
    """
    reverse = -alignment
    # A mirror image turns the other way, and so backwards is forwards.
    reverse[..., 1, 0] = alignment[..., 1, 0]
    reverse[..., 0] %= N_ANGLES
    return reverse


def _factors(spectrum: np.ndarray) -> np.ndarray:
    """Arrange a spectrum for `_correlate`; ndarray of float32, shape (2, 33, 64, 2 * len(SCALE_STEPS))."""
    stepped = spectrum[:, :, _STEPPED_RADII].transpose(0, 1, 3, 2)
    factors = np.empty((2, N_HARMONICS, N_RADII, len(SCALE_STEPS)), np.complex64)
    factors[0].real, factors[0].imag = stepped[:, 0], stepped[:, 1]
    np.multiply(factors[0], 1j, out=factors[1])
    return factors.view(np.float32)


def _correlate(factors: np.ndarray, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlate a spectrum with others for every turn and scale.

    Parameters
    ----------
    factors : ndarray of float32
        `_factors` of the spectrum.
    others : ndarray of float32, shape (n_others, 33, 2, 64)

    Returns
    -------
    upright, mirrored : ndarray of float32, shape (128, n_others, len(SCALE_STEPS)), in [-1, 1]
        Entry (i, j, k) is the correlation when the other, or its mirror image, is turned by i / 128 of half a turn and
        moved outwards by ``SCALE_STEPS[k]``.
    """
    # One product of matrices per harmonic sums over the radii, since few of their 64 shifts are wanted.
    products = (others.transpose(2, 1, 0, 3) @ factors).view(np.complex64)
    by_real, by_imaginary = fft.irfft(products, n=N_ANGLES, axis=1, overwrite_x=True)
    # In a mirror image every angle is its negative, so that its harmonics are conjugate.
    return by_real - by_imaginary, by_real + by_imaginary


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


def at_half_size(picture: np.ndarray) -> np.ndarray:
    """Return the means of two by two pixels.

    Parameters
    ----------
    picture : ndarray of float32, shape (side, side)
        Of an even side.

    Returns
    -------
    ndarray of float32, shape (side / 2, side / 2)
    """
    return cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def local_mean(values: np.ndarray, side: int = NEIGHBOURHOOD, border: int = cv2.BORDER_DEFAULT) -> np.ndarray:
    """Return the mean over the neighbourhood of every pixel.

    Parameters
    ----------
    values : ndarray of float32, shape (n_rows, n_columns)
    side : int
        Of the neighbourhood, in pixels.
    border : int
        What lies beyond the border, as OpenCV calls it; by default the reflection.

    Returns
    -------
    ndarray of float32, shape (n_rows, n_columns)
    """
    return cv2.blur(values, (side, side), borderType=border)


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
    content = _content(_thumbnail(grey))
    if content.all():
        return grey
    distance = cv2.distanceTransform(np.pad(content, 1), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
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
    """Return the magnitude over angle and log frequency, centred; shape (128, 64)."""
    # Half a turn of angles needs the frequencies below the centre only, the others are their mirror image.
    magnitude = np.abs(fft.fftshift(fft.rfft2(detail * WINDOW, axes=(1, 0)), axes=1))
    log_polar = cv2.remap(np.log1p(magnitude), _POLAR_X, _POLAR_Y, cv2.INTER_LINEAR)
    return (log_polar - log_polar.mean()) * _TAPER
