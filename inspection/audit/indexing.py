"""One look at every photograph: can it be read, what is it, is it well exposed, and what copies are found by."""

import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from joblib import Parallel, delayed, effective_n_jobs
from sklearn.utils import gen_batches

from inspection.audit import signatures, spectra, squares
from inspection.audit.copies import MIN_PARALLEL
from inspection.audit.signatures import Signature, Signatures, make_signature
from inspection.audit.squares import central_square
from inspection.content_cache import NO_CACHE, ContentCache, describe_origin
from inspection.data import image_checks, images
from inspection.data.images import AS_STORED, Decoding, decode, read_file
from inspection.errors import DataError, ImageError
from inspection.files import sha256_bytes

DARK, BRIGHT = 5, 250
"""Grey levels up to and from which a pixel shows nothing."""

_AT_ONCE = 1024
"""Images that are looked at, or looked up, at once: what the cache holds of them is in memory twice."""
_CODE = [sys.modules[__name__], signatures, spectra, squares, images, image_checks]
_PACKAGES = ("numpy", "opencv-python-headless", "pillow", "scipy")


class Facts(NamedTuple):
    """What one look at an image tells.

    Attributes
    ----------
    sha256 : str
        Of the file.
    pixels_sha256 : str
        Of the decoded picture: equal for the same picture in another lossless file.
    width, height : int
        In pixels.
    mode : str
        Pillow's mode of the file.
    brightness, contrast : float
        Mean and standard deviation of the grey levels of the central square, 0 to 255.
    sharpness : float
        Variance of the Laplacian of the central square at 160 pixels.
    dark_share, bright_share : float in [0, 1]
        Pixels of the central square that show nothing.
    """

    sha256: str
    pixels_sha256: str
    width: int
    height: int
    mode: str
    brightness: float
    contrast: float
    sharpness: float
    dark_share: float
    bright_share: float


class Look(NamedTuple):
    """One look at an image: what it tells, and what copies are found by."""

    facts: Facts
    signature: Signature


@dataclass(frozen=True)
class Unreadable:
    """An image that is left out.

    Attributes
    ----------
    path : str
    reason : str
        A sentence that names the file.
    """

    path: str
    reason: str


@dataclass(frozen=True)
class IndexedImages:
    """What reading every file of a source gave.

    Attributes
    ----------
    readable : DataFrame
        The records of `inspection.data.sources.list_images` plus `Facts`, sorted by path.
    unreadable : tuple of Unreadable
    signatures : Signatures
        Of the readable images.
    """

    readable: pd.DataFrame
    unreadable: tuple[Unreadable, ...]
    signatures: Signatures


def index_images(
    records: pd.DataFrame,
    decoding: Decoding = AS_STORED,
    progress: Callable[..., Iterable] = lambda items, total, what: items,
    cache: ContentCache = NO_CACHE,
) -> IndexedImages:
    """Decode every listed image once, or look it up.

    Parameters
    ----------
    records : DataFrame
        From `inspection.data.sources`.
    decoding : Decoding
    progress : callable, optional
        Wraps the iterable of images; called with it, their number and what is done.
    cache : ContentCache, optional
        For what a look at each file told.
    """
    records = records.sort_values("path", ignore_index=True)
    facts: list[Facts] = []
    unreadable: list[Unreadable] = []
    are_shared = len(records) >= MIN_PARALLEL and effective_n_jobs(-1) > 1
    signatures = Signatures.zeros(len(records), are_shared)
    looks = _look_at_all(records["path"].tolist(), decoding, cache)
    for path, look in zip(records["path"], progress(looks, len(records), "reading images"), strict=True):
        if isinstance(look, ImageError):
            unreadable.append(Unreadable(path, str(look)))
        else:
            signatures.put(len(facts), look.signature)
            facts.append(look.facts)
    is_readable = ~records["path"].isin([image.path for image in unreadable])
    readable = pd.concat(
        [records[is_readable].reset_index(drop=True), pd.DataFrame(facts, columns=Facts._fields)], axis=1
    )
    return IndexedImages(readable, tuple(unreadable), signatures[: len(facts)])


def check_unreadable(indexed: IndexedImages, max_share: float) -> None:
    """Stop when more images are unreadable than a few bad files explain.

    Parameters
    ----------
    indexed : IndexedImages
    max_share : float in [0, 1)

    Raises
    ------
    DataError
        If the unreadable share exceeds ``max_share``, or nothing can be read.
    """
    n_unreadable = len(indexed.unreadable)
    n_images = len(indexed.readable) + n_unreadable
    if n_unreadable and (n_unreadable / n_images > max_share or n_unreadable == n_images):
        raise DataError(
            f"{n_unreadable} of {n_images} images cannot be read, more than data.max_unreadable_share = {max_share}. "
            f"The first: {indexed.unreadable[0].reason} Mend the files or raise the share."
        )


def _look_at_all(paths: list[str], decoding: Decoding, cache: ContentCache) -> Iterator[Look | ImageError]:
    """Yield what `_look` tells of each file, from the cache where the file is known."""
    origin = describe_origin(_CODE, _PACKAGES, decoding)
    for batch in gen_batches(len(paths), _AT_ONCE) if paths else ():
        fingerprints = [_fingerprint(path) for path in paths[batch]]
        known = cache.read(origin, filter(None, fingerprints))
        new = [path for path, fingerprint in zip(paths[batch], fingerprints, strict=True) if fingerprint not in known]
        # Processes: the decoder takes one image at a time.
        looks = Parallel(n_jobs=-1 if len(new) >= MIN_PARALLEL else 1, batch_size=16, return_as="generator")(
            delayed(_look)(path, decoding) for path in new
        )
        found = {}
        for fingerprint in fingerprints:
            if fingerprint in known:
                yield _unpack(known[fingerprint])
                continue
            look = next(looks)
            if not isinstance(look, ImageError):
                found[look.facts.sha256] = _pack(look)
            yield look
        cache.write(origin, found)


def _fingerprint(path: str) -> str | None:
    try:
        return sha256_bytes(read_file(path))
    except ImageError:
        # Whoever looks at it says why.
        return None


def _pack(look: Look) -> bytes:
    return json.dumps(look.facts).encode() + b"\n" + look.signature.to_bytes()


def _unpack(value: bytes) -> Look:
    facts, signature = value.split(b"\n", 1)
    return Look(Facts(*json.loads(facts)), Signature.from_bytes(signature))


def _look(path: str, decoding: Decoding) -> Look | ImageError:
    try:
        data = read_file(path)
        image = decode(data, path, decoding)
    except ImageError as problem:
        return problem
    square = central_square(image.pixels)
    height, width = image.pixels.shape[:2]
    facts = Facts(
        sha256=sha256_bytes(data),
        pixels_sha256=sha256_bytes(f"{width}x{height}".encode() + np.ascontiguousarray(image.pixels).tobytes()),
        width=width,
        height=height,
        mode=image.mode,
        brightness=float(square.mean()),
        contrast=float(square.std()),
        sharpness=float(cv2.Laplacian(square, cv2.CV_32F).var()),
        dark_share=float((square <= DARK).mean()),
        bright_share=float((square >= BRIGHT).mean()),
    )
    return Look(facts, make_signature(square))
