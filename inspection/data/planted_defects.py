"""Defects planted in photographs of good parts: what is tried where no real defect is known.

They look like nothing in particular, and that is the point: a setting that finds a piece out of place, a scratch, a
spot and a shade that should not be there was chosen without a look at the defects it is meant for. After CutPaste (Li
et al., CVPR 2021), for pieces and scars of the photograph itself, and DRAEM (Zavrtanik et al., ICCV 2021), for blots
in the form of smooth noise.
"""

from collections.abc import Callable
from itertools import count
from typing import NamedTuple

import numpy as np
from PIL import Image

MIN_SIDE = 8
"""In pixels: the smallest photograph that `inspection.data.images.decode` lets pass."""
MIN_CHANGE = 10.0
"""Grey levels of 255 by which the planted pixels differ from what was there, on average."""

_AREAS = 0.001, 0.08
"""Of the photograph, from the smallest to the largest piece or blot; as many small ones as large ones."""
_SHADED_AREAS = 0.01, 0.15
"""The same of shades, which are soft and so have to be larger."""
_LENGTHS = 0.08, 0.5
"""Of scars and scratches, as a share of the side of a square as large as the photograph."""
_BREADTHS = 0.004, 0.03
_MIN_BREADTH = 1.5
"""In pixels: a narrower line could pass between the middles of all of them."""
_AMOUNTS = 20.0, 90.0
"""Grey levels by which scratches, blots and shades are darker or brighter."""
_ROUGHNESS_SHARE = 1.5
_MAX_ROUGHNESS = 3 * MIN_CHANGE
"""What rises above the texture around it is seen, and beyond this change everything is."""


class _Site(NamedTuple):
    """The part of a photograph around the middle of a defect.

    Attributes
    ----------
    rows, columns : slice
    down, right : ndarray of float, shapes (n_rows, 1) and (1, n_columns)
        From the middle, in pixels.
    """

    rows: slice
    columns: slice
    down: np.ndarray
    right: np.ndarray


class _Plan(NamedTuple):
    """What is put where.

    Attributes
    ----------
    site : _Site
    opacity : ndarray of float, shape (n_rows, n_columns), in [0, 1]
        Of the new pixels: 0 leaves what is there.
    content : ndarray of float, shape (n_rows, n_columns, 3)
        The new pixels, of any brightness.
    """

    site: _Site
    opacity: np.ndarray
    content: np.ndarray


def plant(pixels: np.ndarray, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Plant one defect, of a kind that is drawn, in a photograph.

    It is more likely to lie where the photograph has detail, so on the part and not beside it.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        At least `MIN_SIDE` pixels a side.
    random : numpy.random.Generator
        Whose state alone decides.

    Returns
    -------
    planted : ndarray of uint8, shape (height, width, 3)
        Grey where the photograph is.
    mask : ndarray of bool, shape (height, width)
        Where the defect lies, at least one pixel. All others are unchanged; these differ by `MIN_CHANGE` on average
        over pixels and channels, and where the photograph is rough by more, so that it can be seen.

    Raises
    ------
    ValueError
        If the photograph is smaller.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < MIN_SIDE:
        raise ValueError(f"a photograph of {width} x {height} pixels is too small: {MIN_SIDE} a side are needed.")
    kind = _KINDS[random.integers(len(_KINDS))]
    for attempt in count():
        # What could not be seen is tried again elsewhere, and stronger: in the end as black or white as there is.
        plan = kind(pixels, random, attempt)
        planted = _laid_over(pixels, plan)
        mask = np.zeros((height, width), bool)
        mask[plan.site.rows, plan.site.columns] = plan.opacity > 0
        if mask.any() and _is_visible(pixels, planted, mask):
            return planted, mask
    raise AssertionError("unreachable")


def _laid_over(pixels: np.ndarray, plan: _Plan) -> np.ndarray:
    planted = pixels.copy()
    part = planted[plan.site.rows, plan.site.columns]
    mixed = part + plan.opacity[..., np.newaxis] * (np.clip(plan.content, 0, 255) - part)
    part[:] = np.rint(mixed).astype(np.uint8)
    return planted


def _is_visible(pixels: np.ndarray, planted: np.ndarray, mask: np.ndarray) -> bool:
    before = pixels[mask].astype(float)
    change = np.abs(planted[mask] - before).mean()
    # Two steps away: neighbours are alike in every photograph that was scaled or compressed.
    roughness = max(np.abs(np.roll(pixels, 2, axis)[mask] - before).mean() for axis in (0, 1))
    return bool(change >= max(MIN_CHANGE, min(_ROUGHNESS_SHARE * roughness, _MAX_ROUGHNESS)))


def _piece(pixels: np.ndarray, random: np.random.Generator, attempt: int) -> _Plan:
    """A rectangle cut out elsewhere, turned or not."""
    area = _log_uniform(random, *_AREAS) * pixels.shape[0] * pixels.shape[1]
    aspect = _log_uniform(random, 0.3, 3.3)
    angle = random.choice([0, random.uniform(0, np.pi)])
    return _rectangle(pixels, random, attempt, np.sqrt(area * aspect), np.sqrt(area / aspect), angle)


def _scar(pixels: np.ndarray, random: np.random.Generator, attempt: int) -> _Plan:
    """A long and narrow strip cut out elsewhere, turned."""
    length, breadth = _length(pixels, random, _LENGTHS), _length(pixels, random, _BREADTHS)
    return _rectangle(pixels, random, attempt, length, breadth, random.uniform(0, np.pi))


def _rectangle(
    pixels: np.ndarray, random: np.random.Generator, attempt: int, length: float, breadth: float, angle: float
) -> _Plan:
    length, breadth = max(length, _MIN_BREADTH), max(breadth, _MIN_BREADTH)
    site = _site(pixels, random, np.hypot(length, breadth) / 2)
    along = site.right * np.cos(angle) + site.down * np.sin(angle)
    across = site.down * np.cos(angle) - site.right * np.sin(angle)
    is_inside = (np.abs(along) <= length / 2) & (np.abs(across) <= breadth / 2)
    shift = random.normal(0, 10) if not attempt else _amount(pixels, site, random, attempt)
    return _Plan(site, is_inside.astype(float), _elsewhere(pixels, random, across, along) + shift)


def _scratch(pixels: np.ndarray, random: np.random.Generator, attempt: int) -> _Plan:
    """A thin broken line, darker or brighter than what is there."""
    length, breadth = _length(pixels, random, _LENGTHS), max(_length(pixels, random, _BREADTHS) / 2, _MIN_BREADTH)
    site = _site(pixels, random, length / 2 + breadth)
    n_corners = random.integers(2, 6)
    angle = random.uniform(0, np.pi)
    along = np.linspace(-length / 2, length / 2, n_corners)
    aside = random.normal(0, length / 12, n_corners)
    downs = along * np.sin(angle) + aside * np.cos(angle)
    rights = along * np.cos(angle) - aside * np.sin(angle)
    gaps = np.full((len(site.down), site.right.shape[1]), np.inf)
    for corner in range(n_corners - 1):
        start, step = (downs[corner], rights[corner]), (np.diff(downs)[corner], np.diff(rights)[corner])
        share = ((site.down - start[0]) * step[0] + (site.right - start[1]) * step[1]) / np.hypot(*step) ** 2
        share = np.clip(share, 0, 1)
        gap = np.hypot(site.down - start[0] - share * step[0], site.right - start[1] - share * step[1])
        np.minimum(gaps, gap, out=gaps)
    opacity = (gaps <= breadth / 2).astype(float)
    return _Plan(site, opacity, pixels[site.rows, site.columns] + _amount(pixels, site, random, attempt))


def _blot(pixels: np.ndarray, random: np.random.Generator, attempt: int) -> _Plan:
    """A spot in the form of smooth noise, of what lies elsewhere, darker or brighter."""
    site, field = _smooth_spot(pixels, random, _AREAS)
    opacity = np.where(field > 0, random.uniform(0.5, 1), 0)
    content = _elsewhere(pixels, random, site.down + 0 * site.right, site.right + 0 * site.down)
    return _Plan(site, opacity, content + _amount(pixels, site, random, attempt))


def _shade(pixels: np.ndarray, random: np.random.Generator, attempt: int) -> _Plan:
    """A spot without an edge, darker or brighter than what is there."""
    site, field = _smooth_spot(pixels, random, _SHADED_AREAS)
    opacity = np.clip(1.5 * field, 0, 1)
    return _Plan(site, opacity, pixels[site.rows, site.columns] + _amount(pixels, site, random, attempt))


_KINDS: tuple[Callable[[np.ndarray, np.random.Generator, int], _Plan], ...] = _piece, _scar, _scratch, _blot, _shade


def _site(pixels: np.ndarray, random: np.random.Generator, reach: float) -> _Site:
    """Draw the middle of a defect that reaches so many pixels in every direction."""
    height, width = pixels.shape[:2]
    # Middles of squares of the photograph that are drawn by how much they differ inside.
    side = max(2, round(np.sqrt(height * width) / 16))
    rows, columns = height // side, width // side
    if rows and columns:
        squares = pixels[: rows * side, : columns * side].mean(axis=2).reshape(rows, side, columns, side)
        detail = squares.std(axis=(1, 3)).ravel()
    else:
        rows, columns, detail = 1, 1, np.zeros(1)
    chances = detail + 0.2 * detail.mean() + 1e-3
    row, column = divmod(int(random.choice(len(chances), p=chances / chances.sum())), columns)
    middle = (row + random.uniform()) * height / rows, (column + random.uniform()) * width / columns
    lows = [max(0, int(place - reach)) for place in middle]
    highs = [min(size, int(place + reach) + 2) for place, size in zip(middle, (height, width), strict=True)]
    down, right = (np.arange(low, high) + 0.5 - place for low, high, place in zip(lows, highs, middle, strict=True))
    return _Site(slice(lows[0], highs[0]), slice(lows[1], highs[1]), down[:, np.newaxis], right[np.newaxis])


def _smooth_spot(
    pixels: np.ndarray, random: np.random.Generator, areas: tuple[float, float]
) -> tuple[_Site, np.ndarray]:
    """Draw a site, and a field on it that is positive on a spot of uneven form, at most about 1."""
    radius = max(1.5, np.sqrt(_log_uniform(random, *areas) * pixels.shape[0] * pixels.shape[1] / np.pi))
    stretch = _log_uniform(random, 0.5, 2)
    reach = 1.5 * radius * max(stretch, 1 / stretch)
    site = _site(pixels, random, reach)
    shape = len(site.down), site.right.shape[1]
    cells = random.normal(size=[int(np.clip(side / radius * 2, 2, 12)) for side in shape]).astype(np.float32)
    noise = np.asarray(Image.fromarray(cells).resize(shape[::-1], Image.Resampling.BICUBIC))
    field = 1 - np.hypot(site.down * stretch, site.right / stretch) / radius + 0.3 * noise
    # Nothing ends at a straight edge.
    edge = np.minimum(1, 1 - np.maximum(np.abs(site.down), np.abs(site.right)) / reach)
    return site, np.minimum(field, 4 * edge)


def _elsewhere(pixels: np.ndarray, random: np.random.Generator, down: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the pixels at these steps from another place, mirrored at the edges; shape (n_rows, n_columns, 3)."""
    places = [
        np.rint(random.uniform(0, size - 1) + step).astype(int)
        for size, step in zip(pixels.shape[:2], (down, right), strict=True)
    ]
    rows, columns = (
        np.where(place % (2 * size) < size, place % (2 * size), -(place + 1) % (2 * size))
        for size, place in zip(pixels.shape[:2], places, strict=True)
    )
    taken: np.ndarray = pixels[rows, columns].astype(float)
    return taken


def _amount(pixels: np.ndarray, site: _Site, random: np.random.Generator, attempt: int) -> float:
    """Draw by how much a defect is brighter, or darker where that leaves more room."""
    amount = random.uniform(*_AMOUNTS) * 1.5**attempt
    brightness = float(pixels[site.rows, site.columns].mean())
    is_brighter = random.random() < 0.5 if not attempt else brightness < 127.5
    return amount if is_brighter else -amount


def _length(pixels: np.ndarray, random: np.random.Generator, shares: tuple[float, float]) -> float:
    return _log_uniform(random, *shares) * float(np.sqrt(pixels.shape[0] * pixels.shape[1]))


def _log_uniform(random: np.random.Generator, low: float, high: float) -> float:
    """Draw a number whose order of magnitude is uniform."""
    return float(np.exp(random.uniform(np.log(low), np.log(high))))
