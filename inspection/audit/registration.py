"""Whether two photographs are one: they are laid over each other, and what is left is compared with the noise.

A copy shares the sensor noise of its original; another photograph, even of a part that looks alike, brings noise of its
own. So after registration the residual of a copy is as small as rounding, compression and interpolation make it, and
that of any other photograph is not. Registration follows Reddy and Chatterji, "An FFT-based technique for translation,
rotation, and scale-invariant image registration" (IEEE Transactions on Image Processing 5, 1996), refined by the
enhanced correlation coefficient of Evangelidis and Psarakis (IEEE TPAMI 30, 2008) as OpenCV implements it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from scipy.stats import norm as normal

SIDE = 160
"""Shorter side of the thumbnails that are compared, in pixels."""
MAX_SCALE = 1.5
"""Largest ratio of sizes searched: a photograph turned by 45 degrees on a canvas that grows with it shrinks by 1.41."""
MIN_OVERLAP = 0.2
"""Of the square: less is too little to compare."""

_N_ANGLES, _N_RADII = 128, 64
_MIN_RADIUS, _MAX_RADIUS = 3.0, 0.42 * SIDE
_LOG_STEP = np.log(_MAX_RADIUS / _MIN_RADIUS) / (_N_RADII - 1)
_N_SCALE_FREQUENCIES = 12
_N_SCALES = int(np.log(MAX_SCALE) / _LOG_STEP)
_SCALE_STEPS = np.arange(-_N_SCALES, _N_SCALES + 1)
_MAX_SHIFT = SIDE // 5
_NEAR = np.ix_(*2 * [np.arange(-_MAX_SHIFT, _MAX_SHIFT + 1)])
_CENTRE = np.full(2, (SIDE - 1) / 2)
_OFFSETS = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
_RADIUS = (np.hypot(*_OFFSETS) / (SIDE / 2)).astype(np.float32)
"""Distance from the centre, 1 at the middle of an edge: a turned copy has no content beyond."""
_WINDOW = np.where(_RADIUS < 1, np.cos(np.pi * np.clip(_RADIUS - 0.5, 0, 0.5)) ** 2, 0).astype(np.float32)
_RADII = np.exp(np.log(_MIN_RADIUS) + _LOG_STEP * np.arange(_N_RADII))
_ANGLES = np.pi / _N_ANGLES * np.arange(_N_ANGLES)
_POLAR_X = (SIDE / 2 + np.outer(np.cos(_ANGLES), _RADII)).astype(np.float32)
_POLAR_Y = (SIDE / 2 + np.outer(np.sin(_ANGLES), _RADII)).astype(np.float32)
_BLACK = 3
"""Grey level up to which a corner is called black; compression makes it noisy."""
_MIN_CONTENT, _MAX_CONTENT = 0.55, 0.97
"""Radius within black corners, in half sides: less is a part on black ground, more is a picture without them.

Turned by 45 degrees a square takes 0.71 of its canvas, and less when it is shrunk and shifted too.
"""
_COMPARED_RADIUS = 0.82
"""Of the disc compared: a copy shifted by 5 % and shrunk by 10 % still fills it."""
_ECC_RADIUS = 0.95
_ECC_STEPS = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)
_AMBIGUOUS = 0.06
"""Rough correlations closer to the best than this are followed up as well."""
_MIN_HALF_CORRELATION = 0.9
"""Of the textures at half the size, below which nothing is compared; 99 of 100 copies reach 0.93."""
_NEIGHBOURHOOD = 41
"""Side of the window of local statistics, in pixels."""
_SMOOTHING = 1.0
"""Standard deviation of the blur before comparison, in pixels: evens out what interpolation does."""
_ROUNDING = 0.45
"""Grey levels that rounding and compression leave in a smooth region of a copy."""
_MISPLACEMENT = 0.27
"""Pixels by which an edge of a copy is off: taking the nearest pixel when turning moves it by up to half of one."""
_FINE_MISPLACEMENT = 0.1
"""The same where the picture is flat, so that little of the difference comes from edges."""
_FLAT_PERCENTILE = 20
"""Of the slopes, up to which a pixel counts as flat."""
_RESIDUAL_PERCENTILE, _TAIL_PERCENTILE, _GRAIN_PERCENTILE = 85, 95, 75
_RESIDUAL_QUANTILE, _TAIL_QUANTILE, _GRAIN_QUANTILE = (
    normal.ppf((1 + percentile / 100) / 2) for percentile in (_RESIDUAL_PERCENTILE, _TAIL_PERCENTILE, _GRAIN_PERCENTILE)
)
"""Of the absolute value of a standard normal variable."""
_MIN_CONTRAST = 1.5
"""Grey levels: below it a region shows nothing that could be compared."""
_BURNT_OUT = 250
"""Grey level from which a pixel counts as clipped."""
_MIN_SHOWING = 0.03
"""Share of the disc that must show something."""


@dataclass(frozen=True)
class Signatures:
    """Photographs, prepared for comparison.

    Attributes
    ----------
    squares : ndarray of uint8, shape (n_images, SIDE, SIDE)
        Central square of each, grey.
    spectra : ndarray of float16, shape (n_images, 128, 64)
        Spectrum of its central disc over angle and log frequency: a rotation or a scale shifts it, a translation
        leaves it as it is.
    """

    squares: np.ndarray
    spectra: np.ndarray

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
    """Prepare the squares of `central_square` for comparison."""
    squares = np.array(list(squares), np.uint8).reshape(-1, SIDE, SIDE)
    spectra = np.array([_spectrum(square) for square in squares], np.float16).reshape(-1, _N_ANGLES, _N_RADII)
    return Signatures(squares, spectra)


def descriptors(signatures: Signatures) -> np.ndarray:
    """Return vectors that rotation, flips, scale and shifts hardly change.

    Returns
    -------
    ndarray of float32, shape (n_images, 768)
        Magnitudes of the Fourier transform of each spectrum. A flip swaps positive and negative angular frequencies,
        so the larger and the smaller of each two are taken.
    """
    turning = np.arange(_N_ANGLES // 4)
    vectors = np.empty((len(signatures), 2 * len(turning) * _N_SCALE_FREQUENCIES), np.float32)
    for vector, spectrum in zip(vectors, signatures.spectra, strict=True):
        magnitude = np.abs(np.fft.fft2(spectrum.astype(np.float32)))[:, :_N_SCALE_FREQUENCIES]
        one, other = magnitude[turning], magnitude[-turning]
        vector[:] = np.concatenate([np.maximum(one, other).ravel(), np.minimum(one, other).ravel()])
    return vectors


@dataclass(frozen=True)
class Overlay:
    """Two photographs laid over each other.

    Attributes
    ----------
    transform : ndarray of float, shape (2, 3)
        From points of the first square to points of the second.
    residual : float
        Robust standard deviation of the difference over that expected of a copy: up to about 1 for a copy.
    tail : float
        The same from a higher percentile: large when a part of the picture differs.
    grain : float
        The same where the picture is flattest: large for another shot, whose noise is its own.
    agreement : float in [-1, 1]
        Median of the local correlation.
    gain : float
        Brightness of the first over that of the second.
    """

    transform: np.ndarray
    residual: float
    tail: float
    grain: float
    agreement: float
    gain: float

    @cached_property
    def stretch(self) -> float:
        """Longer over shorter axis of the transform: 1 when it is a rotation, flip and scale."""
        large, small = np.linalg.svd(self.transform[:, :2], compute_uv=False)
        return float(large / small)

    @cached_property
    def displacement(self) -> float:
        """How far the transform moves the points of the square on average, in sides of the square."""
        corners = np.array([[x, y, 1] for x in (0, SIDE - 1) for y in (0, SIDE - 1)], float)
        return float(np.linalg.norm(corners @ self.transform.T - corners[:, :2], axis=1).mean() / SIDE)


def spectral_similarity(spectra: np.ndarray, position: int, others: np.ndarray) -> np.ndarray:
    """Compare a spectrum with others under the best rotation, flip and scale.

    Parameters
    ----------
    spectra : ndarray of float16, shape (n_images, 128, 64)
        Of `Signatures`.
    position : int
    others : ndarray of int, shape (n_others,)
        Positions compared with ``position``.

    Returns
    -------
    ndarray of float, shape (n_others,), in [-1, 1]
        Correlation.
    """
    spectrum = spectra[position].astype(np.float32)
    transforms = [cv2.dft(spectrum), cv2.dft(_flip(spectrum))]
    similarity = np.empty(len(others))
    for place, other in enumerate(others):
        transform = cv2.dft(spectra[other].astype(np.float32))
        similarity[place] = max(_correlate(mine, transform)[:, _SCALE_STEPS].max() for mine in transforms)
    return similarity


def overlay(signatures: Signatures, first: int, second: int, min_correlation: float) -> Overlay | None:
    """Lay the second photograph over the first.

    Parameters
    ----------
    signatures : Signatures
    first, second : int
        Positions in ``signatures``.
    min_correlation : float in [-1, 1]
        Of the textures after the first, rough step; below it the rest is not tried.

    Returns
    -------
    Overlay or None
        None when the two cannot be laid over each other or show nothing to compare.
    """
    squares = [signatures.squares[position].astype(np.float32) for position in (first, second)]
    textures = [_texture(square) for square in squares]
    roughly = _rough_transforms(*(signatures.spectra[position] for position in (first, second)), *textures)
    best_correlation = roughly[0][0]
    if best_correlation < min_correlation:
        return None
    # A part that is nearly symmetric fits nearly as well the wrong way round.
    ambiguous = [transform for correlation, transform in roughly if best_correlation - correlation < _AMBIGUOUS]
    halves = [cv2.resize(texture, (SIDE // 2, SIDE // 2), interpolation=cv2.INTER_AREA) for texture in textures]
    refined = [_refine_halves(halves, transform) for transform in ambiguous]
    correlation, transform = max(refined, key=lambda candidate: candidate[0])
    return _overlay_finely(squares, textures, transform) if correlation >= _MIN_HALF_CORRELATION else None


def warp(square: np.ndarray, transform: np.ndarray, outside: float | None = None) -> np.ndarray:
    """Return the second square as seen in the frame of the first; without ``outside`` its border is repeated."""
    border = cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(square, transform, (SIDE, SIDE), flags=flags, borderMode=border, borderValue=outside or 0)


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


def _blur(values: np.ndarray, deviation: float) -> np.ndarray:
    return cv2.GaussianBlur(values, (0, 0), deviation)


def _local_mean(values: np.ndarray) -> np.ndarray:
    return cv2.blur(values, (_NEIGHBOURHOOD, _NEIGHBOURHOOD))


def _texture(square: np.ndarray) -> np.ndarray:
    """Subtract the local mean and divide by the local contrast, so that neither light nor black corners count."""
    content = _content(square).astype(np.float32)
    norm = _local_mean(content) + 1e-6
    detail = (square - _local_mean(square * content) / norm) * content
    return detail / np.sqrt(_local_mean(detail * detail) / norm + 9)


def _spectrum(square: np.ndarray) -> np.ndarray:
    spectrum = np.abs(np.fft.fftshift(np.fft.fft2(_texture(square.astype(np.float32)) * _WINDOW)))
    log_polar = cv2.remap(np.log1p(spectrum).astype(np.float32), _POLAR_X, _POLAR_Y, cv2.INTER_LINEAR)
    tapered = (log_polar - log_polar.mean()) * np.hanning(_N_RADII)
    return tapered / (np.linalg.norm(tapered) + 1e-6)


def _flip(spectrum: np.ndarray) -> np.ndarray:
    """Return the spectrum of the mirrored photograph: every angle becomes its negative."""
    return spectrum[-np.arange(_N_ANGLES)]


def _correlate(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Circular cross-correlation of two Fourier transforms: (i, j) belongs to the second moved by (i, j)."""
    return cv2.idft(cv2.mulSpectrums(first, second, 0, conjB=True), flags=cv2.DFT_SCALE)


def _rough_transforms(
    first: np.ndarray, second: np.ndarray, first_texture: np.ndarray, second_texture: np.ndarray
) -> list[tuple[float, np.ndarray]]:
    """Find angle and scale from the spectra, then the shift, for every flip and half turn, which spectra leave open.

    Return correlation of the textures and transform of each, the best first.
    """
    windowed = first_texture * _WINDOW
    fixed = cv2.dft(windowed), np.linalg.norm(windowed)
    candidates = []
    for is_flipped in (False, True):
        _, angle, scale = _turn_and_scale(first, second, is_flipped)
        for half_turn in (0, np.pi):
            transform = _similarity(is_flipped, angle + half_turn, scale)
            candidates.append(_shift(*fixed, second_texture, transform))
    return sorted(candidates, key=lambda candidate: -candidate[0])


def _refine_halves(textures: list[np.ndarray], transform: np.ndarray) -> tuple[float, np.ndarray]:
    """Refine at half the size, where it is quick; return correlation inside the compared disc, and transform."""
    halved = transform.copy()
    # The centre of pixel 0 is half a pixel from the edge at either size.
    halved[:, 2] = (transform @ (0.5, 0.5, 1) - 0.5) / 2
    try:
        halved = cv2.findTransformECC(*textures, halved, cv2.MOTION_AFFINE, _ECC_STEPS, _half_disc(_ECC_RADIUS), 5)[1]
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        moved = cv2.warpAffine(textures[1], halved, (SIDE // 2, SIDE // 2), flags=flags)
        correlation = cv2.computeECC(textures[0], moved, _half_disc(_COMPARED_RADIUS))
    except cv2.error:
        # OpenCV's way of saying that the iteration diverges: these two do not overlap.
        return -1.0, transform
    refined = halved.copy()
    refined[:, 2] = 2 * halved[:, 2] + 0.5 - halved[:, :2] @ (0.5, 0.5)
    return float(correlation), refined


def _half_disc(radius: float) -> np.ndarray:
    return np.ascontiguousarray(_RADIUS[::2, ::2] < radius).astype(np.uint8)


def _overlay_finely(squares: list[np.ndarray], textures: list[np.ndarray], transform: np.ndarray) -> Overlay | None:
    try:
        transform = _refine(textures, transform, _ECC_RADIUS, 5)
        found = _compare(*squares, transform)
        if found is not None and 0.8 < found.residual < 4:
            # Fine detail with its own contrast weighs edges more: closer, where the first pass came near.
            details = [_blur(square, 1) - _blur(square, 8) for square in squares]
            closer = _compare(*squares, _refine(details, transform, _COMPARED_RADIUS, 3))
            found = min(found, closer or found, key=lambda overlay: overlay.residual)
    except cv2.error:
        return None
    return found


def _turn_and_scale(first: np.ndarray, second: np.ndarray, is_flipped: bool) -> tuple[float, float, float]:
    """Return correlation, angle and scale of the best match of two spectra."""
    first, second = first.astype(np.float32), second.astype(np.float32)
    correlation = _correlate(cv2.dft(first), cv2.dft(_flip(second) if is_flipped else second))[:, _SCALE_STEPS]
    turn, step = np.unravel_index(correlation.argmax(), correlation.shape)
    scale = float(np.exp(_SCALE_STEPS[step] * _LOG_STEP))
    return float(correlation[turn, step]), turn * np.pi / _N_ANGLES, scale


def _similarity(is_flipped: bool, angle: float, scale: float) -> np.ndarray:
    cosine, sine = np.cos(angle), np.sin(angle)
    linear = scale * np.array([[cosine, sine], [-sine, cosine]])
    if is_flipped:
        linear[0] *= -1
    return np.column_stack([linear, _CENTRE - linear @ _CENTRE]).astype(np.float32)


def _shift(fixed: np.ndarray, norm: float, texture: np.ndarray, transform: np.ndarray) -> tuple[float, np.ndarray]:
    turned = cv2.warpAffine(texture, transform, (SIDE, SIDE), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP) * _WINDOW
    correlation = _correlate(fixed, cv2.dft(turned))[_NEAR]
    row, column = np.unravel_index(correlation.argmax(), correlation.shape)
    shift = np.array([column - _MAX_SHIFT, row - _MAX_SHIFT], np.float32)
    shifted = transform.copy()
    shifted[:, 2] -= transform[:, :2] @ shift
    return float(correlation[row, column] / (norm * np.linalg.norm(turned) + 1e-6)), shifted


def _refine(pictures: tuple, transform: np.ndarray, radius: float, smoothing: int) -> np.ndarray:
    mask = (radius > _RADIUS).astype(np.uint8)
    return cv2.findTransformECC(*pictures, transform.copy(), cv2.MOTION_AFFINE, _ECC_STEPS, mask, smoothing)[1]


def _slope_power(values: np.ndarray) -> np.ndarray:
    """Squared grey levels per pixel, across the edges nearby."""
    across, down = (cv2.Sobel(values, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    return _blur(across * across + down * down, 1)


def _compare(first: np.ndarray, second: np.ndarray, transform: np.ndarray) -> Overlay | None:
    radius = warp(_RADIUS, transform, outside=9.0)
    inside = (_RADIUS < _COMPARED_RADIUS) & (radius < _COMPARED_RADIUS)
    if inside.mean() < MIN_OVERLAP:
        return None
    second = warp(second, transform)
    # What one exposure burnt out, the other need not have: it says nothing about whose photograph it is.
    inside &= cv2.dilate((np.maximum(first, second) >= _BURNT_OUT).astype(np.uint8), np.ones((5, 5))) == 0
    one, other = _blur(first, _SMOOTHING), _blur(second, _SMOOTHING)
    weights = inside.astype(np.float32)
    norm = _local_mean(weights) + 1e-6

    def local_mean(values):
        return _local_mean(values * weights) / norm

    one_detail, other_detail = one - local_mean(one), other - local_mean(other)
    one_power, other_power = local_mean(one_detail**2), local_mean(other_detail**2)
    # Brightness and contrast may differ from copy to copy, and over the picture.
    gain = np.sqrt((one_power + 4) / (other_power + 4))
    shows = inside & (np.maximum(one_power, other_power * gain**2) > _MIN_CONTRAST**2)
    if shows.mean() < _MIN_SHOWING:
        return None
    difference, slopes = np.abs(one_detail - gain * other_detail)[shows], _slope_power(one)[shows]
    flat = slopes <= np.percentile(slopes, _FLAT_PERCENTILE)
    by_expected = difference / np.sqrt(_ROUNDING**2 + _MISPLACEMENT**2 * slopes)
    flat_by_expected = difference[flat] / np.sqrt(_ROUNDING**2 + _FINE_MISPLACEMENT**2 * slopes[flat])
    agreement = local_mean(one_detail * other_detail) / np.sqrt((one_power + 1) * (other_power + 1))
    return Overlay(
        transform,
        residual=float(np.percentile(by_expected, _RESIDUAL_PERCENTILE) / _RESIDUAL_QUANTILE),
        tail=float(np.percentile(by_expected, _TAIL_PERCENTILE) / _TAIL_QUANTILE),
        grain=float(np.percentile(flat_by_expected, _GRAIN_PERCENTILE) / _GRAIN_QUANTILE),
        agreement=float(np.median(agreement[shows])),
        gain=float((one[inside].mean() + 1) / (other[inside].mean() + 1)),
    )
