"""How one photograph lies over another: rotation, flip, scale and shift, found roughly and then refined.

Angle and scale come from the spectra and the shift from correlation (Reddy and Chatterji, IEEE Transactions on Image
Processing 5, 1996). At half the size `Refinement` takes over, which is quick and decides for most; at full size, where
fine textures need it, the enhanced correlation coefficient of Evangelidis and Psarakis (IEEE TPAMI 30, 2008), as OpenCV
implements it.

A transform is an ndarray of float32, shape (2, 3), from points (x, y) of the first picture to points of the second.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from scipy import fft

from inspection.audit.refinement import Refinement, Target
from inspection.audit.signatures import Signatures
from inspection.audit.spectra import LOG_STEP, N_ANGLES
from inspection.audit.squares import HALF_SIDE, RADIUS, WINDOW

COMPARED_RADIUS = 0.82
"""Of the disc compared: a copy shifted by 5 % and shrunk by 10 % still fills it."""
REFINED_RADIUS = 0.95
"""Of the disc over which two textures are refined."""

_ECC_STEPS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 3e-4)
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
_HALF_RADIUS = np.ascontiguousarray(RADIUS[::2, ::2])
_REFINEMENT = Refinement(HALF_SIDE, REFINED_RADIUS, smoothing=5, n_steps=2)
_COMPARED_DISC = (_HALF_RADIUS < COMPARED_RADIUS).astype(np.uint8)
_FREQUENCIES = np.add.outer(np.arange(HALF_SIDE), np.arange(HALF_SIDE // 2 + 1))
_REVERSAL = np.exp(-2j * np.pi / HALF_SIDE * _FREQUENCIES).astype(np.complex64)
"""Conjugate of the phase by which the transform of a reversed picture differs from the conjugate of its transform."""
_BACKWARDS = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP


class RoughRegistration(NamedTuple):
    """How the second photograph may lie over the first: upright or mirrored, each as it is and upside down.

    Attributes
    ----------
    correlations : ndarray of float32, shape (4,), in [-1, 1]
        Of the textures at half the size.
    transforms : ndarray of float32, shape (4, 2, 3)
        At half the size.
    """

    correlations: np.ndarray
    transforms: np.ndarray


def register_roughly(
    signatures: Signatures, pairs: Sequence[tuple[int, int]], alignments: np.ndarray
) -> list[RoughRegistration]:
    """Find the shifts after turns and scales that are known from spectra, which leave flips and half turns open.

    Parameters
    ----------
    signatures : Signatures
    pairs : sequence of tuple of int
        Positions in ``signatures``.
    alignments : ndarray of int, shape (n_pairs, 2, 2)
        From `inspection.audit.spectra.match_spectra`, of the second of each pair with the first.
    """
    firsts, seconds = np.transpose(pairs)
    upright = _similarities(alignments)
    moved = np.empty((len(pairs), 2, HALF_SIDE, HALF_SIDE), np.float32)
    for place, second in enumerate(seconds):
        for flip in (0, 1):
            texture, transform = signatures.half_textures[second], upright[place, flip]
            moved[place, flip] = cv2.warpAffine(texture, transform, _HALF_SIZE, flags=_BACKWARDS)
    # Most of the first ones are several times the same.
    different, places = np.unique(firsts, return_inverse=True)
    fixed = _transform(signatures.half_textures[different])[places]
    correlations = _correlate(fixed, _transform(moved))
    transforms = np.stack([upright, _about_centre(-upright[..., :2])], axis=2).reshape(-1, 4, 2, 3)
    return [_shifted(*candidates) for candidates in zip(correlations, transforms, strict=True)]


def prepare(half_texture: np.ndarray) -> Target:
    """Compute what registering others with a photograph takes of it.

    Parameters
    ----------
    half_texture : ndarray of float32, shape (HALF_SIDE, HALF_SIDE)
    """
    return _REFINEMENT.prepare(half_texture)


def register(target: Target, half_texture: np.ndarray, rough: RoughRegistration) -> np.ndarray | None:
    """Find how a second photograph lies over a first, to about a pixel.

    Everything happens at half the size, where it is quick: most pairs end here.

    Parameters
    ----------
    target : Target
        The first, from `prepare`.
    half_texture : ndarray of float32, shape (HALF_SIDE, HALF_SIDE)
        Of the second.
    rough : RoughRegistration
        Of the two.

    Returns
    -------
    ndarray of float32, shape (2, 3), or None
        Transform of the half-size pictures; None when the two cannot be laid over each other.
    """
    # A part that is nearly symmetric fits nearly as well the wrong way round.
    ambiguous = rough.transforms[rough.correlations.max() - rough.correlations < _AMBIGUOUS]
    refined = _REFINEMENT.refine(target, half_texture, ambiguous)
    correlations = [_correlate_discs(target.picture, half_texture, transform) for transform in refined]
    best = np.argmax(correlations)
    return refined[best] if correlations[best] >= _MIN_REFINED_CORRELATION else None


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
    disc = (radius > RADIUS).astype(np.uint8)
    try:
        return cv2.findTransformECC(*pictures, transform.copy(), cv2.MOTION_AFFINE, _ECC_STEPS, disc, smoothing)[1]
    except cv2.error:
        # OpenCV's way of saying that the iteration diverges: these two do not overlap.
        return None


def warp(square: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """Return the second square as seen in the frame of the first.

    Parameters
    ----------
    square : ndarray of float32, shape (side, side)
    transform : ndarray of float, shape (2, 3)
        Of squares of this size. Beyond the border it finds the border repeated.
    """
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(square, transform, square.shape[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)


def doubled(transform: np.ndarray) -> np.ndarray:
    """Return the transform that does to pictures of twice the size what one does to pictures.

    Parameters
    ----------
    transform : ndarray of float32, shape (2, 3)
    """
    larger = transform.copy()
    # The centre of pixel 0 is half a pixel from the edge at either size.
    larger[:, 2] = 2 * transform[:, 2] + 0.5 - (transform[:, 0] + transform[:, 1]) / 2
    return larger


def _similarities(alignments: np.ndarray) -> np.ndarray:
    """Return the transforms that turn, scale and mirror about the centre of the half-size picture.

    Parameters
    ----------
    alignments : ndarray of int, shape (n_pairs, 2, 2)

    Returns
    -------
    ndarray of float32, shape (n_pairs, 2, 2, 3)
        Upright and mirrored.
    """
    angles, scales = alignments[..., 0] * (np.pi / N_ANGLES), np.exp(alignments[..., 1] * LOG_STEP)
    cosines, sines = scales * np.cos(angles), scales * np.sin(angles)
    linear = np.stack([np.stack([cosines, sines], axis=-1), np.stack([-sines, cosines], axis=-1)], axis=-2)
    linear[:, 1, 0] *= -1
    return _about_centre(linear)


def _about_centre(linear: np.ndarray) -> np.ndarray:
    """Return the transforms with these linear parts, shape (..., 2, 2), that leave the centre where it is."""
    shifts = _HALF_CENTRE - linear @ _HALF_CENTRE
    return np.concatenate([linear, shifts[..., np.newaxis]], axis=-1).astype(np.float32)


def _transform(textures: np.ndarray) -> np.ndarray:
    """Return the Fourier transforms of textures of norm 1 that fade out; complex64, shape (..., 80, 41)."""
    faded = textures * _HALF_WINDOW
    return fft.rfft2(faded / _norms(faded))


def _correlate(fixed: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Correlate pictures with others, as they are and upside down, for every shift that is searched.

    Parameters
    ----------
    fixed : ndarray of complex64, shape (n_pairs, 80, 41)
        From `_transform`.
    moved : ndarray of complex64, shape (n_pairs, 2, 80, 41)

    Returns
    -------
    ndarray of float32, shape (n_pairs, 4, 2 * _MAX_SHIFT + 1, 2 * _MAX_SHIFT + 1)
        Each of the two moved ones as it is and then upside down.
    """
    fixed = fixed[:, np.newaxis]
    products = np.empty((len(fixed), 2, 2, *moved.shape[2:]), np.complex64)
    np.multiply(fixed, moved.conj(), out=products[:, :, 0])
    # Upside down a picture is reversed, and so its transform is conjugate but for a phase.
    np.multiply(fixed * _REVERSAL, moved, out=products[:, :, 1])
    rows = fft.ifft(products, axis=3, overwrite_x=True)[:, :, :, _SHIFTS]
    return fft.irfft(rows, n=HALF_SIDE, axis=4)[..., _SHIFTS].reshape(-1, 4, len(_SHIFTS), len(_SHIFTS))


def _norms(pictures: np.ndarray) -> np.ndarray:
    return np.linalg.norm(pictures, axis=(-2, -1), keepdims=True) + 1e-6


def _shifted(correlations: np.ndarray, transforms: np.ndarray) -> RoughRegistration:
    """Move four transforms by the shifts of the highest correlation."""
    flat = correlations.reshape(len(correlations), -1)
    rows, columns = np.divmod(flat.argmax(axis=1), len(_SHIFTS))
    shifts = np.stack([_SHIFTS[columns], _SHIFTS[rows]], axis=1).astype(np.float32)
    shifted = transforms.copy()
    shifted[..., 2] -= (transforms[..., :2] @ shifts[..., np.newaxis])[..., 0]
    return RoughRegistration(flat.max(axis=1), shifted)


def _correlate_discs(first: np.ndarray, second: np.ndarray, transform: np.ndarray) -> float:
    """Return the correlation of two textures inside the compared disc, after a transform at half the size.

    -1 where one of them shows nothing there.
    """
    moved = cv2.warpAffine(second, transform, _HALF_SIZE, flags=_BACKWARDS)
    correlation = cv2.computeECC(first, moved, _COMPARED_DISC)
    return correlation if np.isfinite(correlation) else -1.0
