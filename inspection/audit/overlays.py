"""Whether two photographs are one: they are laid over each other, and what is left is compared with the noise.

A copy shares the sensor noise of its original; another photograph, even of a part that looks alike, brings noise of its
own. So after registration the residual of a copy is as small as rounding, compression and interpolation make it, and
that of another photograph is larger, unless its part has so much fine detail that it hides the noise.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
from scipy.stats import norm as normal

from inspection.audit.refinement import Target
from inspection.audit.registration import (
    COMPARED_RADIUS,
    REFINED_RADIUS,
    RoughRegistration,
    doubled,
    prepare,
    refine,
    register,
    register_roughly,
    warp,
)
from inspection.audit.signatures import Signatures
from inspection.audit.spectra import match_spectra
from inspection.audit.squares import HALF_SIDE, NEIGHBOURHOOD, SIDE, at_half_size, local_mean, texture

PositionPair = tuple[int, int]
"""Two positions in `Signatures`."""

MIN_OVERLAP = 0.2
"""Of the square: less is too little to compare."""

_ROUNDING = 0.45
"""Grey levels that rounding and compression leave in a smooth region of a copy."""
_MISPLACEMENT = 0.27
"""Pixels by which an edge of a copy is off: taking the nearest pixel when turning moves it by up to half of one."""
_FINE_MISPLACEMENT = 0.1
"""The same where the picture is flat, so that little of the difference comes from edges."""
_FLAT_PERCENTILE = 20
"""Of the slopes, up to which a pixel counts as flat."""
_RESIDUAL_PERCENTILE, _TAIL_PERCENTILE, _GRAIN_PERCENTILE = 85, 95, 75
_QUANTILES = {
    percentile: normal.ppf((1 + percentile / 100) / 2)
    for percentile in (_RESIDUAL_PERCENTILE, _TAIL_PERCENTILE, _GRAIN_PERCENTILE)
}
"""Of the absolute value of a standard normal variable."""
_MIN_CONTRAST = 1.5
"""Grey levels: below it a region shows nothing that could be compared."""
_BURNT_OUT = 250
"""Grey level from which a pixel counts as clipped."""
_MIN_SHOWING = 0.03
"""Share of the disc that must show something."""
_REGISTERED = 8
"""Pairs that are registered roughly at once: few enough for the cache."""
_MAX_ROUGH_RESIDUAL = 1.8
"""At half the size after the rough registration, above which two photographs are neither copies nor a series.

Copies begin at up to 1.1 and series at up to 1.73, among solar cells, castings, tiles and textures; most neighbours
among solar cells end here.
"""
_MAX_RESIDUAL = 2.1
"""The same after the first refinement: a second one takes little off."""
_WORTH_REFINING = 0.8, 1.8
"""Residuals between which a second, finer registration may decide whether two photographs are copies."""
_COARSEST_DETAIL = 8.0
"""Standard deviation of the blur that is subtracted before the finer registration, in pixels."""
_COARSEST_NOISE = 3.0
"""The same for the coherence: coarser detail is the part's, not the noise's."""


class _Frame:
    """The part of squares of one size in which they are compared: without the margin that nothing compared lies in.

    Parameters
    ----------
    side : int
        Of the squares, in pixels.
    smoothing : float
        Standard deviation of the blur before comparison, in pixels: evens out what interpolation does.
    """

    def __init__(self, side: int, smoothing: float):
        self.side, self.smoothing = side, smoothing
        # The blurs before comparison take in some pixels beyond.
        margin = int(side * (1 - COMPARED_RADIUS) / 2) - side // 40
        self.inside = np.s_[margin : side - margin, margin : side - margin]
        self.neighbourhood = NEIGHBOURHOOD * side // SIDE | 1
        self._rows, self._columns = np.mgrid[self.inside].astype(np.float32)
        self._centre, self._squared_radius = (side - 1) / 2, (COMPARED_RADIUS * side / 2) ** 2
        self._within = np.hypot(self._rows - self._centre, self._columns - self._centre) < COMPARED_RADIUS * side / 2

    def shared_disc(self, transform: np.ndarray) -> np.ndarray:
        """Return where both squares show what lies within `COMPARED_RADIUS`; bool, of the frame's shape."""
        (xx, xy, x0), (yx, yy, y0) = transform.tolist()
        columns = xx * self._columns + xy * self._rows + (x0 - self._centre)
        rows = yx * self._columns + yy * self._rows + (y0 - self._centre)
        return self._within & (columns * columns + rows * rows < self._squared_radius)

    def share(self, mask: np.ndarray) -> float:
        """Return how much of the square a mask covers."""
        return np.count_nonzero(mask) / self.side**2


_FULL, _HALF = _Frame(SIDE, 1.0), _Frame(HALF_SIDE, 0.7)


class _FixedSquare:
    """The square that others are laid over, and what comparing any of them with it takes.

    Parameters
    ----------
    square : ndarray of float32, shape (side, side)
    frame : _Frame
        For squares of this side.
    """

    def __init__(self, square: np.ndarray, frame: _Frame):
        self.frame = frame
        self.inside = np.ascontiguousarray(square[frame.inside])
        self.smooth = _blur(self.inside, frame.smoothing)
        self.slopes = _slope_power(self.smooth)


class _First:
    """The first photograph of a pair: pairs that follow each other mostly share it, so each thing is computed once.

    Parameters
    ----------
    signatures : Signatures
    position : int
    """

    def __init__(self, signatures: Signatures, position: int):
        self.square = signatures.squares[position].astype(np.float32)
        self._half_texture = signatures.half_textures[position]

    @cached_property
    def target(self) -> Target:
        return prepare(self._half_texture)

    @cached_property
    def texture(self) -> np.ndarray:
        return texture(self.square)

    @cached_property
    def full(self) -> _FixedSquare:
        return _FixedSquare(self.square, _FULL)

    @cached_property
    def half(self) -> _FixedSquare:
        return _FixedSquare(at_half_size(self.square), _HALF)


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
    coherence : float in [-1, 1]
        Correlation of the finest detail that both show: below 1 by the share that noise has of it.
    gain : float
        Brightness of the first over that of the second.
    """

    transform: np.ndarray
    residual: float
    tail: float
    grain: float
    agreement: float
    coherence: float
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

    @cached_property
    def turn(self) -> float:
        """Angle of the rotation in degrees, 0 to 180; a mirrored picture counts as turned by 180."""
        if np.linalg.det(self.transform[:, :2]) <= 0:
            return 180.0
        (xx, xy), (yx, yy) = self.transform[:, :2]
        return float(np.degrees(abs(np.arctan2(yx - xy, xx + yy))))


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
        None when the two cannot be laid over each other, show nothing to compare, or differ far too much to be copies
        or a series.
    """
    match = match_spectra(signatures.spectra[first], signatures.spectra[[second]])
    return overlay_pairs(signatures, [(first, second)], match.alignments, min_correlation)[0]


def overlay_pairs(
    signatures: Signatures, pairs: Sequence[PositionPair], alignments: np.ndarray, min_correlation: float
) -> list[Overlay | None]:
    """Lay the second photograph of each pair over the first.

    Parameters
    ----------
    signatures : Signatures
    pairs : sequence of tuple of int
        Positions in ``signatures``.
    alignments : ndarray of int, shape (n_pairs, 2, 2)
        From `inspection.audit.spectra.match_spectra`, of the second of each pair with the first.
    min_correlation : float in [-1, 1]
        As in `overlay`.
    """
    laid: list[Overlay | None] = []
    first, position = None, -1
    for start in range(0, len(pairs), _REGISTERED):
        some = pairs[start : start + _REGISTERED]
        roughly = register_roughly(signatures, some, alignments[start : start + _REGISTERED])
        for pair, rough in zip(some, roughly, strict=True):
            if rough.correlations.max() < min_correlation:
                laid.append(None)
                continue
            if first is None or pair[0] != position:
                position = pair[0]
                first = _First(signatures, position)
            laid.append(_overlay(first, signatures, pair[1], rough))
    return laid


def _overlay(first: _First, signatures: Signatures, second: int, rough: RoughRegistration) -> Overlay | None:
    roughly = register(first.target, signatures.half_textures[second], rough)
    if roughly is None:
        return None
    other = signatures.squares[second].astype(np.float32)
    laid = _lay_over(first.half, at_half_size(other), roughly)
    if laid is not None and laid.residual > _MAX_ROUGH_RESIDUAL:
        return None
    transform = refine((first.texture, texture(other)), doubled(roughly), REFINED_RADIUS, 5)
    laid = None if transform is None else _lay_over(first.full, other, transform)
    if laid is None or laid.residual > _MAX_RESIDUAL:
        return None
    if _WORTH_REFINING[0] < laid.residual < _WORTH_REFINING[1]:
        # Fine detail with its own contrast weighs edges more: closer, where the first pass came near.
        details = [_band(square, _FULL.smoothing, _COARSEST_DETAIL) for square in (first.square, other)]
        transform = refine((details[0], details[1]), laid.transform, COMPARED_RADIUS, 3)
        closer = None if transform is None else _lay_over(first.full, other, transform)
        laid = min(laid, closer or laid, key=lambda candidate: candidate.residual)
    return _measure(laid)


class _Laid(NamedTuple):
    """Two squares in the frame of the first, and what differs between them.

    Attributes
    ----------
    transform : ndarray of float, shape (2, 3)
        Of the squares.
    first, moved : ndarray of float32, of the frame's shape
        The two squares.
    smooth : tuple of ndarray of float32, of the frame's shape
        Both, blurred.
    disc : ndarray of bool, of the frame's shape
        What is compared.
    local : _LocalComparison
    difference, slopes : ndarray of float32, shape (n_shows,)
        Absolute difference in grey levels, and `_slope_power` of the first square.
    by_expected : ndarray of float32, shape (n_shows,)
        The difference over that expected of a copy.
    residual : float
        As in `Overlay`.
    """

    transform: np.ndarray
    first: np.ndarray
    moved: np.ndarray
    smooth: tuple[np.ndarray, np.ndarray]
    disc: np.ndarray
    local: "_LocalComparison"
    difference: np.ndarray
    slopes: np.ndarray
    by_expected: np.ndarray
    residual: float


def _lay_over(first: _FixedSquare, second: np.ndarray, transform: np.ndarray) -> _Laid | None:
    """Compare two squares after a transform; None when too little can be compared."""
    frame = first.frame
    disc = frame.shared_disc(transform)
    if frame.share(disc) < MIN_OVERLAP:
        return None
    moved = np.ascontiguousarray(warp(second, transform)[frame.inside])
    # What one exposure burnt out, the other need not have: it says nothing about whose photograph it is.
    disc &= cv2.dilate((np.maximum(first.inside, moved) >= _BURNT_OUT).astype(np.uint8), np.ones((5, 5))) == 0
    smooth = first.smooth, _blur(moved, frame.smoothing)
    local = _LocalComparison(*smooth, disc, frame.neighbourhood)
    if frame.share(local.shows) < _MIN_SHOWING:
        return None
    difference, slopes = local.difference[local.shows], first.slopes[local.shows]
    by_expected = difference / np.sqrt(_ROUNDING**2 + _MISPLACEMENT**2 * slopes)
    residual = _robust_deviation(by_expected, _RESIDUAL_PERCENTILE)
    return _Laid(transform, first.inside, moved, smooth, disc, local, difference, slopes, by_expected, residual)


def _measure(laid: _Laid) -> Overlay:
    """Measure everything that tells copies, series and strangers apart."""
    flat = laid.slopes <= _percentile(laid.slopes, _FLAT_PERCENTILE)
    flat_by_expected = laid.difference[flat] / np.sqrt(_ROUNDING**2 + _FINE_MISPLACEMENT**2 * laid.slopes[flat])
    one, other = laid.smooth
    shows = laid.local.shows
    return Overlay(
        laid.transform,
        laid.residual,
        tail=_robust_deviation(laid.by_expected, _TAIL_PERCENTILE),
        grain=_robust_deviation(flat_by_expected, _GRAIN_PERCENTILE),
        agreement=float(np.median(laid.local.correlation()[shows])),
        coherence=_coherence(laid.first, laid.moved, shows),
        gain=float((one[laid.disc].mean() + 1) / (other[laid.disc].mean() + 1)),
    )


class _LocalComparison:
    """What two pictures in one frame show around every pixel of the disc.

    Parameters
    ----------
    first, second : ndarray of float32, shape (n_rows, n_columns)
    disc : ndarray of bool, of that shape
    neighbourhood : int
        Side of the window, in pixels.

    Attributes
    ----------
    difference : ndarray of float32, of that shape
        Of the details, in grey levels, after the contrast of the second was made that of the first.
    shows : ndarray of bool, of that shape
        Whether there is anything to compare.
    """

    def __init__(self, first: np.ndarray, second: np.ndarray, disc: np.ndarray, neighbourhood: int):
        self._neighbourhood, self._weights = neighbourhood, disc.astype(np.float32)
        # Nothing beyond the frame is in the disc.
        self._share = local_mean(self._weights, neighbourhood, cv2.BORDER_CONSTANT) + 1e-6
        self._details = first_detail, second_detail = first - self._mean(first), second - self._mean(second)
        self._powers = first_power, second_power = self._mean(first_detail**2), self._mean(second_detail**2)
        # Brightness and contrast may differ from copy to copy, and over the picture.
        gain = np.sqrt((first_power + 4) / (second_power + 4))
        self.difference = np.abs(first_detail - gain * second_detail)
        self.shows = disc & (np.maximum(first_power, second_power * gain**2) > _MIN_CONTRAST**2)

    def correlation(self) -> np.ndarray:
        """Return the correlation over the neighbourhood, which few pairs come as far as to need."""
        (first_detail, second_detail), (first_power, second_power) = self._details, self._powers
        return self._mean(first_detail * second_detail) / np.sqrt((first_power + 1) * (second_power + 1))

    def _mean(self, values: np.ndarray) -> np.ndarray:
        return local_mean(values * self._weights, self._neighbourhood, cv2.BORDER_CONSTANT) / self._share


def _robust_deviation(absolute: np.ndarray, percentile: int) -> float:
    """Return the standard deviation of a normal variable whose absolute values have this percentile."""
    return float(_percentile(absolute, percentile) / _QUANTILES[percentile])


def _percentile(values: np.ndarray, percentile: int) -> np.floating:
    """Return the largest value that no more of them are below; `numpy.percentile` takes ten times as long."""
    rank = (len(values) - 1) * percentile // 100
    return np.partition(values, rank)[rank]


def _coherence(first: np.ndarray, second: np.ndarray, shows: np.ndarray) -> float:
    details = [_band(picture, _FULL.smoothing, _COARSEST_NOISE)[shows] for picture in (first, second)]
    powers = [float(np.mean(detail**2)) for detail in details]
    return float(np.mean(details[0] * details[1]) / np.sqrt(powers[0] * powers[1] + 1e-12))


def _band(picture: np.ndarray, finest: float, coarsest: float) -> np.ndarray:
    """Return the detail between two blurs."""
    return _blur(picture, finest) - _blur(picture, coarsest)


def _blur(values: np.ndarray, deviation: float) -> np.ndarray:
    return cv2.GaussianBlur(values, (0, 0), deviation)


def _slope_power(values: np.ndarray) -> np.ndarray:
    """Squared grey levels per pixel, across the edges nearby."""
    across, down = (cv2.Sobel(values, cv2.CV_32F, *order, scale=1 / 8) for order in ((1, 0), (0, 1)))
    return _blur(across * across + down * down, 1)
