"""The only decoder of the project: bytes of a photograph to an RGB array, or one clear ``ImageError``."""

import io
import logging
import os
import re
import struct
import threading
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.ExifTags import Base as Tag

from inspection.data.image_checks import MAX_PIXELS, check_layout, check_metadata, check_structure, raw_modes
from inspection.errors import ImageError

if TYPE_CHECKING:
    # Reading params.yaml takes packages that a machine without the pipeline has not, and the decoder runs there.
    from inspection.config import DecodingParams

FORMATS = {"PNG": "PNG", "JPEG": "JPEG", "BMP": "BMP", "TIFF": "TIFF", "WEBP": "WebP"}
EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
MAX_FILE_BYTES = 12 * MAX_PIXELS
"""Largest file read, 768 MB. The largest image takes 8 bytes a pixel uncompressed (four channels of 16 bits), previews
behind it a third of that, and the rest is for metadata: what is larger is no photograph, and would fill the memory."""

_SIXTEEN_BIT_MODES = ("I;16", "I;16L", "I;16B", "I;16N")
_TIFF_STARTS = (b"II", b"MM")
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_DAMAGE = (OSError, ValueError, SyntaxError, EOFError, LookupError, TypeError, ArithmeticError, struct.error)
"""Pillow's plug-ins report damaged files by any of these."""
_ONE_AT_A_TIME = threading.Lock()
"""The viewer decodes in threads, but ``warnings.catch_warnings`` is for one; it also bounds the memory taken."""

# Pillow logs some refusals; without a handler Python would print them beside the ImageError.
logging.getLogger("PIL").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Decoding:
    """What files with more than 8 bits a channel do not say themselves.

    Attributes
    ----------
    bit_depth : int, 8 to 16
        Of the camera, for grey stored in 16 bits: 12 when the values run from 0 to 4095. A value becomes
        ``value * 255 // (2**bit_depth - 1)``, rounded down, which is ``value // 257`` at 16 bits; one beyond the depth
        is an error. TIFF that packs 12 bits says so itself and is never read as deeper.
    float_range : (float, float) or None
        Black and white of floating point TIFF, black < white; without it they are refused. A value becomes
        ``(value - black) / (white - black) * 255``, rounded to the nearest integer (halves to the even one). Values
        outside are clipped, as an overexposed pixel is; NaN, infinity, and a range that leaves a single grey of a
        photograph with several are errors.
    """

    bit_depth: int = 16
    float_range: tuple[float, float] | None = None

    @classmethod
    def of(cls, params: "DecodingParams") -> "Decoding":
        """Return what params.yaml says of the photographs.

        Parameters
        ----------
        params : DecodingParams

        Returns
        -------
        Decoding
        """
        # Two numbers or none: params.yaml has been checked.
        return cls(params.bit_depth, (params.float_range[0], params.float_range[1]) if params.float_range else None)


AS_STORED = Decoding()
"""The whole range of 16 bits, and no floating point numbers."""


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


def decode(data: bytes, name: str = "image", decoding: Decoding = AS_STORED) -> DecodedImage:
    """Decode one photograph.

    - Grey images become three equal channels, 16-bit grey and floating point TIFF as ``decoding`` says. 16-bit colour,
      or grey with alpha, keeps its upper 8 bits, and is an error when the camera has fewer than 16 bits.
    - Palettes, CMYK, YCbCr and L*a*b* are converted, transparency is laid over black. Colour profiles are ignored.
    - The orientation in EXIF or XMP is applied. One that cannot be read counts as upright: pixels are not lost over it.
    - A defect on a second page must not pass unseen, so a file with several pages or frames (TIFF, animated WebP or
      PNG) is refused, unless all but the first, and not the first, are flagged as reduced-resolution copies. Of the
      JPEGs that phones write, with previews or depth maps behind the photograph (MPO), the first image is decoded.

    Parameters
    ----------
    data : bytes
        The content of a PNG, JPEG, BMP, TIFF or WebP file.
    name : str
        Used in error messages only.
    decoding : Decoding

    Returns
    -------
    DecodedImage

    Raises
    ------
    ImageError
        If the file is of another format, damaged, truncated, smaller than 8 pixels a side, more than 20 times as long
        as wide, larger than 64 million pixels, of several pages, stored in 32-bit integers, whose range no file states,
        at odds with ``decoding``, or in one of the rare layouts that Pillow reads wrongly.
    """
    try:
        return _decode(data, name, decoding)
    except Image.DecompressionBombError as problem:
        raise ImageError(f"{name}: more than {MAX_PIXELS:,} pixels; scale the photograph down.") from problem
    except UnidentifiedImageError as problem:
        hint = " Not every layout of TIFF is supported: save it as 8- or 16-bit." if data[:2] in _TIFF_STARTS else ""
        message = f"{name}: not a {', '.join(FORMATS.values())} image, or its header is damaged.{hint}"
        raise ImageError(message) from problem
    except _DAMAGE as problem:
        raise ImageError(f"{name}: damaged or incomplete image file ({problem}).") from problem


def decode_file(path: str | Path, decoding: Decoding = AS_STORED) -> DecodedImage:
    """Decode the photograph at ``path``; see `decode`.

    Parameters
    ----------
    path : str or Path
    decoding : Decoding

    Returns
    -------
    DecodedImage

    Raises
    ------
    ImageError
        If the file cannot be read or decoded.
    """
    return decode(read_file(path), str(path), decoding)


def read_file(path: str | Path) -> bytes:
    """Return the bytes of a file.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    bytes
        At most `MAX_FILE_BYTES`.

    Raises
    ------
    ImageError
        If the file is missing, a folder, larger than `MAX_FILE_BYTES`, or cannot be read.
    """
    try:
        with Path(path).open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            data = b""
            if size <= MAX_FILE_BYTES:
                data = stream.read(size + 1)
                # A device or a pipe states no size, and a file may grow.
                if size < len(data):
                    data += stream.read(MAX_FILE_BYTES + 1 - len(data))
    except OSError as problem:
        raise ImageError(f"{path}: cannot be read ({problem.strerror}).") from problem
    if max(size, len(data)) > MAX_FILE_BYTES:
        at_least = "" if size > MAX_FILE_BYTES else "at least "
        raise ImageError(
            f"{path}: {at_least}{max(size, len(data)):,} bytes, more than the {MAX_FILE_BYTES:,} that any photograph "
            "needs; crop the part or scale the photograph down."
        )
    return data


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


def _decode(data: bytes, name: str, decoding: Decoding) -> DecodedImage:
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        # Pillow warns of odd metadata, and of sizes that are checked here.
        warnings.simplefilter("ignore")
        check_metadata(data, name)
        with Image.open(io.BytesIO(data), formats=tuple(FORMATS)) as image:
            mode = image.mode
            _drop_mistaken_metadata(image)
            check_structure(image, data, name)
            _check_mode(image, decoding, name)
            check_layout(image, name)
            if raw_modes(image) == {"I;12"}:
                decoding = replace(decoding, bit_depth=min(decoding.bit_depth, 12))
            image.load()
            return DecodedImage(_to_rgb(_turn_upright(image), decoding, name), mode)


def _check_mode(image: ImageFile.ImageFile, decoding: Decoding, name: str) -> None:
    stored = raw_modes(image)
    if image.mode == "I":
        raise ImageError(f"{name}: pixels of mode I have no stated range; save the photograph as 8- or 16-bit.")
    if image.mode == "F" and not decoding.float_range:
        raise ImageError(
            f"{name}: pixels of mode F have no stated range; set data.decoding.float_range to [black, white], or "
            "save the photograph as 8- or 16-bit."
        )
    if image.mode == "CMYK" and image.format in ("JPEG", "MPO") and "adobe" not in image.info:
        raise ImageError(f"{name}: CMYK JPEG without Adobe's marker may be a negative or not; save it as RGB.")
    has_deep_colour = image.mode not in _SIXTEEN_BIT_MODES and any(re.search(";16[BLN]$", mode) for mode in stored)
    if has_deep_colour and decoding.bit_depth < 16:
        raise ImageError(
            f"{name}: of 16-bit colour only the upper 8 bits are read, which are almost black at "
            f"data.decoding.bit_depth = {decoding.bit_depth}; save the photograph as 8-bit."
        )
    if "transparency" in image.info and (has_deep_colour or stored & {"L;2", "L;4"}):
        raise ImageError(f"{name}: a transparent colour is not supported in 2, 4 or 16 bits; save it with alpha.")


def _drop_mistaken_metadata(image: ImageFile.ImageFile) -> None:
    # A text of this name in a PNG, and an XMP tag of numbers in a TIFF, are no reason to lose the pixels.
    if isinstance(image.info.get("transparency"), str):
        del image.info["transparency"]
    if not isinstance(image.info.get("xmp", b""), bytes):
        del image.info["xmp"]


def _turn_upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(Tag.Orientation)
    except _DAMAGE:
        return image
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _to_rgb(image: Image.Image, decoding: Decoding, name: str) -> np.ndarray:
    if image.mode in _SIXTEEN_BIT_MODES:
        values = np.asarray(image)
        values = np.where(values == image.info.get("transparency"), 0, values)
        return _repeat_grey(_scale_integers(values, decoding.bit_depth, name))
    if image.mode == "F" and decoding.float_range:
        return _repeat_grey(_scale_floats(np.asarray(image), decoding.float_range, name))
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in ("LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode == "RGBA":
        black = Image.new("RGB", image.size)
        black.paste(image, mask=image)
        return np.asarray(black)
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _scale_integers(values: np.ndarray, bit_depth: int, name: str) -> np.ndarray:
    white, largest = 2**bit_depth - 1, values.max()
    if largest > white:
        raise ImageError(
            f"{name}: the pixel value {largest} does not fit a camera of {bit_depth} bits (0 to {white}); correct "
            "data.decoding.bit_depth."
        )
    scaled = values.astype(np.uint32)
    scaled *= 255
    scaled //= white
    return scaled.astype(np.uint8)


def _scale_floats(values: np.ndarray, limits: tuple[float, float], name: str) -> np.ndarray:
    if not np.isfinite(values).all():
        raise ImageError(f"{name}: some pixels are NaN or infinite; save the photograph with numbers only.")
    black, white = limits
    scaled = np.clip(values, black, white, dtype=np.float64)
    scaled -= black
    scaled *= 255
    scaled /= white - black
    # Not rounded down as integers are: 0.5 stored as 0.49999 would lose a step.
    grey: np.ndarray = np.rint(scaled, out=scaled).astype(np.uint8)
    if grey.min() == grey.max() and values.min() < values.max():
        raise ImageError(
            f"{name}: data.decoding.float_range = [{black}, {white}] leaves one grey of the pixel values "
            f"{values.min():g} to {values.max():g}; correct it."
        )
    return grey


def _repeat_grey(grey: np.ndarray) -> np.ndarray:
    pixels: np.ndarray = np.repeat(grey[..., np.newaxis], 3, axis=2)
    return pixels
