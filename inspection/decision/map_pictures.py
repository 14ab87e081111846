"""A defect map laid over its photograph, in colours that mean the same on every photograph."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from inspection.decision.defect_map import DefectMap, Region
from inspection.voters.map_scale import LIT

OPACITY = 0.6
"""Of the brightest colour, where nobody chose."""
FAINT, STRONG = (255, 214, 61), (214, 20, 92)
"""Colours (RGB) of what is barely lit, and of what lies `_SPAN` decades or more beyond; both far from any grey."""
_SPAN = 3.0
_LEAST_STRENGTH = 0.35
"""Of the opacity, where a place is barely lit: its border is seen."""
_LINE = 2
"""Width of a frame in pixels, of each of its two colours: one of them is seen on any ground."""


def draw_map(
    pixels: npt.NDArray[np.uint8], defect_map: DefectMap, opacity: float = OPACITY, voter: str | None = None
) -> npt.NDArray[np.uint8]:
    """Lay a map over its photograph, and frame its regions.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        The photograph, perhaps scaled.
    defect_map : DefectMap
    opacity : float in [0, 1]
    voter : str, optional
        The map of one voter in place of the mean; no region is framed.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3)
        Unchanged where the map is not lit.
    """
    height, width = pixels.shape[:2]
    beyond = defect_map.resized(height, width, voter)[..., np.newaxis] - LIT
    progress = np.clip(beyond / _SPAN, 0, 1)
    colours = np.array(FAINT) + progress * (np.array(STRONG) - np.array(FAINT))
    strength = np.where(beyond >= 0, opacity * (_LEAST_STRENGTH + (1 - _LEAST_STRENGTH) * progress), 0)
    painted = np.rint(pixels * (1 - strength) + colours * strength).astype(np.uint8)
    return painted if voter else _frame(painted, defect_map)


def _frame(pixels: npt.NDArray[np.uint8], defect_map: DefectMap) -> npt.NDArray[np.uint8]:
    if not defect_map.regions:
        return pixels
    picture = Image.fromarray(pixels)
    canvas = ImageDraw.Draw(picture)
    height, width = pixels.shape[:2]
    for region in defect_map.regions:
        box = _scaled(region, width / defect_map.width, height / defect_map.height)
        canvas.rectangle([box[0] - _LINE, box[1] - _LINE, box[2] + _LINE, box[3] + _LINE], None, "black", _LINE)
        canvas.rectangle(box, None, "white", _LINE)
    return np.asarray(picture)


def _scaled(region: Region, across: float, down: float) -> tuple[float, float, float, float]:
    left, top = region.left * across, region.top * down
    return left, top, left + region.width * across, top + region.height * down
