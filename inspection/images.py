"""The only decoder of the project: bytes of a photograph to an RGB array, or one clear ``ImageError``."""

import io
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from inspection.errors import ImageError

FORMATS = {"PNG": "PNG", "JPEG": "JPEG", "BMP": "BMP", "TIFF": "TIFF", "WEBP": "WebP"}
EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
MAX_PIXELS = 64_000_000
"""Largest image decoded, in pixels: an 8-bit RGB array of this size takes 192 MB."""
MIN_SIDE = 8
"""Shortest side accepted, in pixels: less cannot show a part."""

_SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N")


@dataclass(frozen=True)
class DecodedImage:
    """A photograph as every model of the project sees it.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        RGB, upright (the EXIF orientation is applied).
    mode : str
        Pillow's mode of the file, before conversion: ``L``, ``I;16``, ``RGB``, ``P``, ``CMYK``...
    """

    pixels: np.ndarray
    mode: str


def decode(data: bytes, name: str = "image") -> DecodedImage:
    """Decode one photograph.

    Grey images become three equal channels; 16-bit grey is scaled by its bit depth (value / 257), palettes and CMYK
    are converted, transparency is laid over black. Only the first page of a multi-page file is read.

    Parameters
    ----------
    data : bytes
        The content of a PNG, JPEG, BMP, TIFF or WebP file.
    name : str
        Used in error messages only.

    Returns
    -------
    DecodedImage

    Raises
    ------
    ImageError
        If the file is of another format, damaged, truncated, smaller than 8 pixels a side, larger than 64 million
        pixels, or stored as floating point numbers or 32-bit integers, whose range no file states.
    """
    try:
        with warnings.catch_warnings():
            # The size limit below is stricter and is checked before any pixel is decoded.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=tuple(FORMATS)) as image:
                _check_size(image.size, name)
                mode = image.mode
                image.load()
                image = ImageOps.exif_transpose(image)
                return DecodedImage(np.asarray(_to_rgb(image, name)), mode)
    except Image.DecompressionBombError as problem:
        raise ImageError(f"{name}: more than {MAX_PIXELS:,} pixels; scale the photograph down.") from problem
    except UnidentifiedImageError as problem:
        raise ImageError(f"{name}: not a {', '.join(FORMATS.values())} image, or its header is damaged.") from problem
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, struct.error) as problem:
        # Pillow's plug-ins report damaged files by any of these.
        raise ImageError(f"{name}: damaged or incomplete image file ({problem}).") from problem


def decode_file(path: str | Path) -> DecodedImage:
    """Decode the photograph at ``path``; see `decode`."""
    return decode(read_file(path), str(path))


def read_file(path: str | Path) -> bytes:
    """Return the bytes of a file.

    Raises
    ------
    ImageError
        If the file is missing, a folder, or cannot be read.
    """
    try:
        return Path(path).read_bytes()
    except OSError as problem:
        raise ImageError(f"{path}: cannot be read ({problem.strerror}).") from problem


def resize(pixels: np.ndarray, size: int) -> np.ndarray:
    """Scale an image to a square by antialiased bilinear interpolation.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
    size : int
        Side of the result in pixels. Other aspect ratios are stretched, so no part of the product is cropped away.

    Returns
    -------
    ndarray of uint8, shape (size, size, 3)
    """
    if pixels.shape[:2] == (size, size):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BILINEAR))


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if min(size) < MIN_SIDE:
        raise ImageError(f"{name}: {width}x{height} pixels; at least {MIN_SIDE} a side are needed.")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name}: {width}x{height} is more than {MAX_PIXELS:,} pixels; crop the part or scale the photograph down."
        )


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode in _SIXTEEN_BIT_MODES:
        # Pillow's own conversion clips at 255 and turns almost every 16-bit photograph white.
        values = np.asarray(image)
        values = np.where(values == image.info.get("transparency"), 0, values)
        return Image.fromarray((values // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("F", "I"):
        raise ImageError(
            f"{name}: pixels of mode {image.mode} have no stated range; save the photograph as 8- or 16-bit."
        )
    if "A" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image).convert("RGB")
    return image.convert("RGB")
