"""The middle of a photograph, in which photographs are compared: grey, of one size, and without its light."""

import cv2
import numpy as np

SIDE = 160
"""Shorter side of the thumbnails that are compared, in pixels."""
HALF_SIDE = SIDE // 2
"""Side of the textures by which they are registered roughly."""
RADIUS = (np.hypot(*(np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2)) / (SIDE / 2)).astype(np.float32)
"""Distance from the centre, 1 at the middle of an edge: a turned copy has no content beyond."""
WINDOW = np.where(RADIUS < 1, np.cos(np.pi * np.clip(RADIUS - 0.5, 0, 0.5)) ** 2, 0).astype(np.float32)
"""Fades out towards the edges."""
_BLACK = 3
"""Grey level up to which a corner is called black; compression makes it noisy."""
_MIN_CONTENT, _MAX_CONTENT = 0.55, 0.97
"""Radius within black corners, in half sides: less is a part on black ground, more is a picture without them.

Turned by 45 degrees a square takes 0.71 of its canvas, and less when it is shrunk and shifted too.
"""
NEIGHBOURHOOD = 41
"""Side of the window of local statistics, in pixels of the square."""


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
    thumbnail = _thumbnail(grey)
    cut = _cut_to_content(grey, thumbnail)
    return thumbnail if cut is grey else _thumbnail(cut)


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


def _cut_to_content(grey: np.ndarray, thumbnail: np.ndarray) -> np.ndarray:
    """Cut a square to the one around the largest disc without black corners; itself where there is none."""
    content = _content(thumbnail)
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
