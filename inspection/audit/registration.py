"""How one photograph lies over another: rotation, flip, scale and shift, found roughly and then refined.

Angle and scale come from the spectra and the shift from correlation (Reddy and Chatterji, IEEE Transactions on Image
Processing 5, 1996); the enhanced correlation coefficient of Evangelidis and Psarakis (IEEE TPAMI 30, 2008), as OpenCV
implements it, refines them.

A transform is an ndarray of float32, shape (2, 3), from points (x, y) of the first picture to points of the second.
"""

from collections.abc import Iterator

import cv2
import numpy as np
from scipy import fft

from inspection.audit.signatures import (
    HALF_SIDE,
    LOG_STEP,
    N_ANGLES,
    RADIUS,
    SCALE_STEPS,
    SIDE,
    WINDOW,
    Signatures,
    match_spectra,
)

COMPARED_RADIUS = 0.82
"""Of the disc compared: a copy shifted by 5 % and shrunk by 10 % still fills it."""
ECC_RADIUS = 0.95
"""Of the disc over which two textures are refined."""

_ECC_STEPS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)
_AMBIGUOUS = 0.06
"""Rough correlations closer to the best than this are followed up as well."""
_MIN_REFINED_CORRELATION = 0.85
"""Of the textures at half the size, below which nothing is compared.

97 of 100 exposures of one part reach it, and 99 of 100 copies reach 0.92.
"""
_HALF_CENTRE = np.full(2, (HALF_SIDE - 1) / 2)
_HALF_WINDOW = cv2.resize(WINDOW, (HALF_SIDE, HALF_SIDE), interpolation=cv2.INTER_AREA)
_MAX_SHIFT = HALF_SIDE // 5
_SHIFTS = np.arange(-_MAX_SHIFT, _MAX_SHIFT + 1)
_HALF_SIZE = HALF_SIDE, HALF_SIDE
_FREQUENCIES = np.add.outer(np.arange(HALF_SIDE), np.arange(HALF_SIDE // 2 + 1))
_REVERSAL = np.exp(-2j * np.pi / HALF_SIDE * _FREQUENCIES).astype(np.complex64)
"""Conjugate of the phase by which the transform of a reversed picture differs from the conjugate of its transform."""
_BACKWARDS = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP


def register(signatures: Signatures, first: int, second: int, min_correlation: float) -> np.ndarray | None:
    """Find how the second photograph lies over the first, to about a pixel.

    Everything happens at half the size, where it is quick: most pairs end here.

    Parameters
    ----------
    signatures : Signatures
    first, second : int
        Positions in ``signatures``.
    min_correlation : float in [-1, 1]
        Of the textures after the rough step; below it the rest is not tried.

    Returns
    -------
    ndarray of float32, shape (2, 3), or None
        Transform of the squares; None when the two cannot be laid over each other.
    """
    textures = signatures.half_textures[first], signatures.half_textures[second]
    rough = _rough_transforms(signatures.spectra[first], signatures.spectra[second], *textures)
    best_correlation = max(correlation for correlation, _ in rough)
    if best_correlation < min_correlation:
        return None
    # A part that is nearly symmetric fits nearly as well the wrong way round.
    ambiguous = [transform for correlation, transform in rough if best_correlation - correlation < _AMBIGUOUS]
    refined = [_refine_halves(textures, transform) for transform in ambiguous]
    correlation, transform = max(refined, key=lambda candidate: candidate[0])
    return _at_full_size(transform) if correlation >= _MIN_REFINED_CORRELATION else None


def refine(
    pictures: tuple[np.ndarray, np.ndarray], transform: np.ndarray, radius: float, smoothing: int
) -> np.ndarray | None:
    """Refine a transform until two pictures correlate best.

    Parameters
    ----------
    pictures : tuple of ndarray of float32, shape (SIDE, SIDE)
        Textures, for example: their correlation is what counts.
    transform : ndarray of float32, shape (2, 3)
    radius : float
        Of the disc of the first that counts, in half sides.
    smoothing : int
        Side of OpenCV's Gaussian filter, in pixels.

    Returns
    -------
    ndarray of float32, shape (2, 3), or None
        None when the iteration diverges: the two do not overlap.
    """
    mask = (radius > RADIUS).astype(np.uint8)
    try:
        return cv2.findTransformECC(*pictures, transform.copy(), cv2.MOTION_AFFINE, _ECC_STEPS, mask, smoothing)[1]
    except cv2.error:
        # OpenCV's way of saying that the iteration diverges.
        return None


def warp(square: np.ndarray, transform: np.ndarray, outside: float | None = None) -> np.ndarray:
    """Return the second square as seen in the frame of the first.

    Parameters
    ----------
    square : ndarray of float32, shape (SIDE, SIDE)
    transform : ndarray of float, shape (2, 3)
    outside : float, optional
        Value beyond the border; without it the border is repeated.
    """
    border = cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(square, transform, (SIDE, SIDE), flags=flags, borderMode=border, borderValue=outside or 0)


def _rough_transforms(
    first: np.ndarray, second: np.ndarray, first_texture: np.ndarray, second_texture: np.ndarray
) -> list[tuple[float, np.ndarray]]:
    """Find angle and scale from the spectra, then the shift, for every flip and half turn, which spectra leave open.

    Return correlation of the textures and transform at half the size of each.
    """
    upright = [_similarity(*best) for best in _turns_and_scales(first, second)]
    moved = np.stack([cv2.warpAffine(second_texture, transform, _HALF_SIZE, flags=_BACKWARDS) for transform in upright])
    moved *= _HALF_WINDOW
    norms = [float(np.linalg.norm(picture)) + 1e-6 for picture in moved]
    correlations = _correlate(first_texture * _HALF_WINDOW, moved)
    transforms = [transform for one in upright for transform in (one, _half_turned(one))]
    return [
        _shifted(correlation / norm, transform)
        for correlation, norm, transform in zip(correlations, np.repeat(norms, 2), transforms, strict=True)
    ]


def _turns_and_scales(first: np.ndarray, second: np.ndarray) -> Iterator[tuple[bool, float, float]]:
    """Yield whether the second is mirrored, angle and scale of the best match of two spectra, for either case."""
    for is_flipped, matches in zip((False, True), match_spectra(first, second[np.newaxis]), strict=True):
        correlation = matches[:, 0]
        turn, step = np.unravel_index(correlation.argmax(), correlation.shape)
        yield is_flipped, float(turn * np.pi / N_ANGLES), float(np.exp(SCALE_STEPS[step] * LOG_STEP))


def _similarity(is_flipped: bool, angle: float, scale: float) -> np.ndarray:
    """Return the transform that turns and scales about the centre of the half-size picture."""
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    sign = -1 if is_flipped else 1
    return _about_centre(np.array([[sign * cosine, sign * sine], [-sine, cosine]]))


def _half_turned(transform: np.ndarray) -> np.ndarray:
    """Return the transform about the centre after which the picture stands upside down."""
    return _about_centre(-transform[:, :2].astype(float))


def _about_centre(linear: np.ndarray) -> np.ndarray:
    return np.column_stack([linear, _HALF_CENTRE - linear @ _HALF_CENTRE]).astype(np.float32)


def _correlate(fixed: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Correlate a picture with others, upright and upside down, for every shift that is searched.

    Parameters
    ----------
    fixed : ndarray of float32, shape (HALF_SIDE, HALF_SIDE)
    moved : ndarray of float32, shape (n_moved, HALF_SIDE, HALF_SIDE)

    Returns
    -------
    ndarray of float32, shape (2 * n_moved, 2 * _MAX_SHIFT + 1, 2 * _MAX_SHIFT + 1)
        Over the norm of the fixed one; each upright and then upside down.
    """
    spectrum = fft.rfft2(fixed / (np.linalg.norm(fixed) + 1e-6))
    spectra = fft.rfft2(moved)
    # Upside down a picture is reversed, and so its transform is conjugate but for a phase.
    products = np.stack([spectrum * spectra.conj(), spectrum * _REVERSAL * spectra], axis=1).reshape(
        -1, *spectrum.shape
    )
    columns = fft.ifft(products, axis=1, overwrite_x=True)[:, _SHIFTS]
    return fft.irfft(columns, n=HALF_SIDE, axis=2)[:, :, _SHIFTS]


def _shifted(correlation: np.ndarray, transform: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the highest correlation over the shifts, and the transform shifted so."""
    row, column = np.unravel_index(correlation.argmax(), correlation.shape)
    shift = np.array([column - _MAX_SHIFT, row - _MAX_SHIFT], np.float32)
    shifted = transform.copy()
    shifted[:, 2] -= transform[:, :2] @ shift
    return float(correlation[row, column]), shifted


def _refine_halves(textures: tuple[np.ndarray, np.ndarray], transform: np.ndarray) -> tuple[float, np.ndarray]:
    """Refine at half the size; return correlation inside the compared disc, and transform."""
    try:
        refined = cv2.findTransformECC(
            *textures, transform.copy(), cv2.MOTION_AFFINE, _ECC_STEPS, _half_disc(ECC_RADIUS), 5
        )[1]
        moved = cv2.warpAffine(textures[1], refined, _HALF_SIZE, flags=_BACKWARDS)
        return float(cv2.computeECC(textures[0], moved, _half_disc(COMPARED_RADIUS))), refined
    except cv2.error:
        # OpenCV's way of saying that the iteration diverges: these two do not overlap.
        return -1.0, transform


def _half_disc(radius: float) -> np.ndarray:
    return np.ascontiguousarray(RADIUS[::2, ::2] < radius).astype(np.uint8)


def _at_full_size(transform: np.ndarray) -> np.ndarray:
    """Return the transform of the squares that does what one of the half-size pictures does."""
    full = transform.copy()
    # The centre of pixel 0 is half a pixel from the edge at either size.
    full[:, 2] = 2 * transform[:, 2] + 0.5 - transform[:, :2] @ (0.5, 0.5)
    return full
