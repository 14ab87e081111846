"""Spectra that motion hardly changes, and how they match under the best rotation, flip and scale.

The spectrum over angle and log frequency follows Reddy and Chatterji, "An FFT-based technique for translation,
rotation, and scale-invariant image registration" (IEEE Transactions on Image Processing 5, 1996).

A spectrum is an ndarray of float32, shape (33, 2, 64): the magnitudes over 128 angles and 64 log frequencies,
transformed over the angles, real and imaginary part of the 33 lowest harmonics. A rotation or a scale shifts what it
stands for, a translation leaves it as it is.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import cv2
import numpy as np
from scipy import fft
from sklearn.utils import gen_batches

from inspection.audit.squares import SIDE, WINDOW

MAX_SCALE = 1.5
"""Largest ratio of sizes searched: a photograph turned by 45 degrees on a canvas that grows with it shrinks by 1.41."""
N_ANGLES, N_RADII = 128, 64
"""Of the spectrum."""

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
_AT_ONCE = 10
"""Spectra that are correlated at once, few enough for the cache. Always as many: the last digit of a product of
matrices depends on their size, and what is known of two photographs must not depend on the others."""
_DESCRIBED = 256
"""Images whose descriptors are computed at once: they take little memory."""


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


def make_spectrum(detail: np.ndarray) -> np.ndarray:
    """Return the spectrum of the central disc.

    Parameters
    ----------
    detail : ndarray of float32, shape (SIDE, SIDE)
        `inspection.audit.squares.texture` of a square.

    Returns
    -------
    ndarray of float32, shape (33, 2, 64)
    """
    harmonics = fft.rfft(_log_polar_spectrum(detail), axis=0)[:N_HARMONICS]
    harmonics /= np.linalg.norm(fft.irfft(harmonics, n=N_ANGLES, axis=0)) + 1e-6
    return np.stack([harmonics.real, harmonics.imag], axis=1)


def descriptors(spectra: np.ndarray) -> np.ndarray:
    """Return vectors that rotation, flips, scale and shifts hardly change.

    Parameters
    ----------
    spectra : ndarray of float32, shape (n_images, 33, 2, 64)

    Returns
    -------
    ndarray of float32, shape (n_images, 768)
        Magnitudes of the Fourier transform of each spectrum. A flip swaps positive and negative angular frequencies,
        so the larger and the smaller of each two are taken.
    """
    vectors = np.empty((len(spectra), 2 * _N_TURN_FREQUENCIES * _N_SCALE_FREQUENCIES), np.float32)
    for batch in gen_batches(len(spectra), _DESCRIBED) if len(spectra) else ():
        vectors[batch] = _describe(spectra[batch])
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
    others : ndarray of float32, shape (n_others, 33, 2, 64)
    """
    factors = _factors(spectrum)
    matches = SpectralMatches.joined(_match(factors, some) for some in _in_batches(others))
    return SpectralMatches(matches.similarities[: len(others)], matches.alignments[: len(others)])


def _in_batches(spectra: np.ndarray) -> Iterator[np.ndarray]:
    """Yield `_AT_ONCE` spectra at a time, with zeros after the last."""
    for start in range(0, len(spectra), _AT_ONCE):
        some = spectra[start : start + _AT_ONCE]
        n_missing = _AT_ONCE - len(some)
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


def _log_polar_spectrum(detail: np.ndarray) -> np.ndarray:
    """Return the magnitude over angle and log frequency, centred; shape (128, 64)."""
    # Half a turn of angles needs the frequencies below the centre only, the others are their mirror image.
    magnitude = np.abs(fft.fftshift(fft.rfft2(detail * WINDOW, axes=(1, 0)), axes=1))
    log_polar = cv2.remap(np.log1p(magnitude), _POLAR_X, _POLAR_Y, cv2.INTER_LINEAR)
    return (log_polar - log_polar.mean()) * _TAPER
