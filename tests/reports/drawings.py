"""What the tests of pictures share: reading a PNG and the texts of a figure."""

import numpy as np
from PIL import Image

WIDTH = 1050  # 10.5 inches at 100 dots per inch
BLUE, VERMILION = (0x1F, 0x77, 0xB4), (0xD5, 0x5E, 0x00)


def read_png(path) -> np.ndarray:
    """Pixels of a PNG; ndarray of int, shape (height, width, 3)."""
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def texts_of(axis) -> list[str]:
    """Texts written into a panel."""
    return [text.get_text() for text in axis.texts]


def legend_of(axis) -> list[str]:
    """Entries of a panel's legend."""
    return [text.get_text() for text in axis.get_legend().get_texts()]
