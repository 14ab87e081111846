"""What a photograph must not be, found before its pixels are loaded: files that are too large, or that Pillow misreads.

A small file can cost hours or fill the memory, and some layouts come out as wrong pixels without a word.
"""

import io
import re

from PIL import ImageFile
from PIL.ExifTags import Base as Tag
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from inspection.errors import ImageError

MAX_PIXELS = 64_000_000
"""Largest image decoded, in pixels: an 8-bit RGB array of this size takes 192 MB."""
MIN_SIDE = 8
"""Shortest side accepted, in pixels: less cannot show a part."""
MAX_ASPECT_RATIO = 20
"""Longest side accepted, in shortest sides: enough for a line-scan camera. Models see a square, so more is a blur."""
MAX_JPEG_SCANS = 100
"""Each costs a pass over the whole image, even when it holds no data; cameras write 1 to 20."""
MAX_METADATA_BLOCKS = 500
"""Segments before a JPEG's first scan, of which a long colour profile takes 255, and compressed texts of a PNG."""
MAX_TIFF_PAGES = 32
"""Of which all but the first are previews, each usually half as wide as the one before."""

_WHITE_IS_ZERO = 0
_BLACK_IS_ZERO, _RGB, _CMYK, _YCBCR = 1, 2, 5, 6
_SIGNED = 2
_PREVIEW = 1
"""Bit of TIFF's NewSubfileType."""
_JPEG_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")
"""Start of a segment; stuffed zeros, padding and restart markers are none."""
_JPEG_END, _JPEG_SCAN = b"\xff\xd9", b"\xff\xda"
_PNG_COMPRESSED_TEXTS = (b"iCCP", b"zTXt", b"iTXt")


def check_metadata(data: bytes, name: str) -> None:
    """Refuse small files whose metadata or empty scans take Pillow minutes.

    Parameters
    ----------
    data : bytes
    name : str
        Used in error messages only.

    Raises
    ------
    ImageError
    """
    n_blocks, n_scans = 0, 0
    if data.startswith(b"\xff\xd8"):
        n_blocks, n_scans = _count_jpeg_segments(data)
    elif data.startswith(b"\x89PNG"):
        n_blocks = _count_png_texts(data)
    if n_blocks > MAX_METADATA_BLOCKS:
        raise ImageError(f"{name}: more than {MAX_METADATA_BLOCKS} blocks of metadata; save the photograph again.")
    if n_scans > MAX_JPEG_SCANS:
        raise ImageError(f"{name}: JPEG of more than {MAX_JPEG_SCANS} scans; save the photograph again.")


def check_structure(image: ImageFile.ImageFile, data: bytes, name: str) -> None:
    """Refuse what is no photograph in size or shape, or has several pages or frames.

    Parameters
    ----------
    image : ImageFile
        Opened, but not loaded.
    data : bytes
        The file's content.
    name : str
        Used in error messages only.

    Raises
    ------
    ImageError
    """
    _check_size(image.size, name)
    if isinstance(image, TiffImageFile):
        _check_tiff_pages(data, name)
    elif isinstance(image, PngImageFile | WebPImageFile) and image.is_animated:
        raise ImageError(f"{name}: {image.n_frames} animated frames; save each frame as its own file.")
    # Strips that overlap make a small file take hours.
    boxes = [extents for _, extents, _, _ in image.tile if extents is not None]
    n_decoded = sum((right - left) * (lower - upper) for left, upper, right, lower in boxes)
    if n_decoded > len(image.getbands()) * image.width * image.height:
        raise ImageError(f"{name}: damaged image file (its strips or tiles overlap).")


def check_layout(image: ImageFile.ImageFile, name: str) -> None:
    """Refuse the layouts of TIFF that Pillow opens and returns wrong pixels of.

    Parameters
    ----------
    image : ImageFile
        Opened, but not loaded.
    name : str
        Used in error messages only.

    Raises
    ------
    ImageError
    """
    if not isinstance(image, TiffImageFile):
        return
    tags = image.tag_v2
    bits, kind = set(tags.get(Tag.BitsPerSample, (1,))), tags.get(Tag.PhotometricInterpretation)
    is_compressed = image.tile[0][0] != "raw"
    unsupported = {
        "white stored as zero in more than 8 bits": kind == _WHITE_IS_ZERO and max(bits) > 8,
        "signed integers": _SIGNED in tags.get(Tag.SampleFormat, ()),
        "subsampled colour without compression": kind == _YCBCR
        and not is_compressed
        and tags.get(Tag.YCbCrSubSampling, (2, 2)) != (1, 1),
        "separate colour planes in this layout": tags.get(Tag.PlanarConfiguration) == 2
        and not is_compressed
        and not (bits == {8} and kind in (_BLACK_IS_ZERO, _RGB, _CMYK) and tags.get(Tag.FillOrder, 1) == 1),
        "compressed big-endian floating point numbers": image.mode == "F" and is_compressed and tags.prefix == b"MM",
    }
    for layout, is_present in unsupported.items():
        if is_present:
            raise ImageError(f"{name}: TIFF with {layout} is not supported; save it as plain 8- or 16-bit.")


def raw_modes(image: ImageFile.ImageFile) -> set[str]:
    """Return how a file stores pixels, in Pillow's words; nothing for WebP.

    Parameters
    ----------
    image : ImageFile
    """
    arguments = (tile.args for tile in image.tile)
    return {argument if isinstance(argument, str) else argument[0] for argument in arguments if argument}


def _count_jpeg_segments(data: bytes) -> tuple[int, int]:
    """Segments before the first scan, and scans, of the first image."""
    position, n_segments, n_scans = 2, 0, 0
    while (marker := _JPEG_MARKER.search(data, position)) and marker[0] != _JPEG_END:
        position = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2])
        n_scans += marker[0] == _JPEG_SCAN
        n_segments += n_scans == 0
    return n_segments, n_scans


def _count_png_texts(data: bytes) -> int:
    position, n_texts = 8, 0
    while position + 8 <= len(data):
        n_texts += data[position + 4 : position + 8] in _PNG_COMPRESSED_TEXTS
        position += 12 + int.from_bytes(data[position : position + 4])
    return n_texts


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if min(size) < MIN_SIDE:
        raise ImageError(f"{name}: {width}x{height} pixels; at least {MIN_SIDE} a side are needed.")
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"{name}: {width}x{height} is more than {MAX_PIXELS:,} pixels; crop the part or scale the photograph down."
        )
    if max(size) > MAX_ASPECT_RATIO * min(size):
        raise ImageError(
            f"{name}: {width}x{height} pixels; one side is more than {MAX_ASPECT_RATIO} times the other: cut the strip "
            "into pieces."
        )


def _check_tiff_pages(data: bytes, name: str) -> None:
    # Pillow's own count of pages stops at those it cannot decode, and takes quadratic time.
    stream = io.BytesIO(data)
    page = ImageFileDirectory_v2(data[: 16 if data[2] == 43 else 8])  # 43: BigTIFF
    positions = []
    while page.next and page.next not in positions:
        positions.append(page.next)
        stream.seek(page.next)
        page.load(stream)
        is_preview = bool(page.get(Tag.NewSubfileType, 0) & _PREVIEW)
        if is_preview and len(positions) == 1:
            raise ImageError(f"{name}: the first page is only a preview; save the full page as its own file.")
        if len(positions) > 1 and not is_preview or len(positions) > MAX_TIFF_PAGES:
            raise ImageError(f"{name}: more than one page; save each page as its own file.")
