"""Feature vectors of photographs: computed once per image and backbone, kept with what they were computed from."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from inspection.array_files import DAMAGED_ARRAYS_ERRORS, write_arrays
from inspection.content_cache import NO_CACHE, ContentCache, describe_origin
from inspection.data.images import AS_STORED, Decoding, resize
from inspection.data.manifest import iterate_pixels
from inspection.errors import DataError
from inspection.files import sha256_bytes
from inspection.networks.onnx_models import BATCH_SIZE, OnnxModel, batches, one_ahead

KEPT_TOGETHER = 8 * BATCH_SIZE
"""Images whose vectors are kept at once: an interrupted run loses at most these."""


@dataclass(frozen=True)
class Features:
    """Feature vectors and their origin.

    Attributes
    ----------
    vectors : ndarray of float32, shape (n_images, n_features)
    image_sha256 : ndarray of str, shape (n_images,)
    backbone_sha256 : str
    """

    vectors: np.ndarray
    image_sha256: np.ndarray
    backbone_sha256: str


def extract_features(
    backbone_path: str | Path,
    rows: pd.DataFrame,
    cache: ContentCache = NO_CACHE,
    progress: Callable[[Iterable[np.ndarray], int], Iterable[np.ndarray]] = lambda images, total: images,
    decoding: Decoding = AS_STORED,
) -> Features:
    """Run a backbone over the images of a manifest, computing only what the cache does not hold.

    Vectors are kept by the decoded pixels and by everything that makes vectors of them, see `origin_of`.

    Parameters
    ----------
    backbone_path : str or Path
        ONNX file of the backbone.
    rows : DataFrame
        Rows of a manifest.
    cache : ContentCache, optional
    progress : callable, optional
        Wraps the iterable of images read, which is at most `KEPT_TOGETHER` ahead; called with it and their number.
    decoding : Decoding
        The one ``prepare`` used.

    Returns
    -------
    Features
        In the order of ``rows``.
    """
    data = Path(backbone_path).read_bytes()
    fingerprint = sha256_bytes(data)
    origin = origin_of(fingerprint)
    known = {key: np.frombuffer(value, "<f4") for key, value in cache.read(origin, rows["pixels_sha256"]).items()}
    # By their pixels: another decoding makes another picture of the same file.
    new = rows[~rows["pixels_sha256"].isin(known)].drop_duplicates("pixels_sha256")
    if len(new):
        model = OnnxModel(data, str(backbone_path))
        pixels = (resize(image, model.image_size) for image in iterate_pixels(new, decoding))
        images = zip(new["pixels_sha256"], progress(pixels, len(new)), strict=True)
        for batch in one_ahead(batches(images, KEPT_TOGETHER)):
            vectors = model.run(np.stack([image for _, image in batch]), "features")
            computed = dict(zip([name for name, _ in batch], vectors, strict=True))
            known.update(computed)
            cache.write(origin, {name: vector.astype("<f4").tobytes() for name, vector in computed.items()})
    vectors = np.stack([known[name] for name in rows["pixels_sha256"]])
    return Features(vectors, rows["sha256"].to_numpy(dtype=str), fingerprint)


def iterate_patch_maps(
    network_path: str | Path,
    rows: pd.DataFrame,
    decoding: Decoding = AS_STORED,
    alter: Callable[[np.ndarray], np.ndarray] = lambda pixels: pixels,
) -> Iterator[np.ndarray]:
    """Yield the patch map of every image of a manifest, computing no more than a batch ahead.

    Parameters
    ----------
    network_path : str or Path
        ONNX file of a network with the output ``patch_map``.
    rows : DataFrame
        Rows of a manifest.
    decoding : Decoding
        The one ``prepare`` used.
    alter : callable, optional
        Makes of the pixels of a photograph, uint8 of shape (height, width, 3), those that the network sees.

    Yields
    ------
    ndarray of float32, shape (rows, columns, n_channels)
    """
    model = OnnxModel(Path(network_path).read_bytes(), str(network_path))
    pixels = (resize(alter(image), model.image_size) for image in iterate_pixels(rows, decoding))
    for batch in one_ahead(batches(pixels, BATCH_SIZE)):
        yield from model.run(np.stack(batch), "patch_map")


def origin_of(backbone_sha256: str) -> str:
    """Return what stands for everything that makes a vector of pixels.

    That is the network, the versions of ONNX Runtime and Pillow, and what `inspection.data.images.resize` does: two
    test pictures, one scaled down and one up, show any change of it.

    Parameters
    ----------
    backbone_sha256 : str
        Of the ONNX file.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    rows, columns, channels = np.ogrid[:97, :61, :3]
    picture = ((rows * 7 + columns * 11 + channels * 31) ** 2 % 251).astype(np.uint8)
    resized = [sha256_bytes(resize(picture, size).tobytes()) for size in (32, 128)]
    return describe_origin([], ("onnxruntime", "pillow"), (backbone_sha256, resized))


def write_features(path: str | Path, features: Features) -> None:
    """Write features as ``.npz``, in one step; the same features give the same bytes.

    Parameters
    ----------
    path : str or Path
    features : Features
    """
    arrays = {
        "vectors": features.vectors,
        "image_sha256": features.image_sha256,
        "backbone_sha256": np.array(features.backbone_sha256),
    }
    write_arrays(path, arrays)


def read_features(path: str | Path, rows: pd.DataFrame) -> Features:
    """Read features and check that they belong to these rows of the manifest.

    Parameters
    ----------
    path : str or Path
    rows : DataFrame
        Rows of a manifest, in the order in which the features were written.

    Returns
    -------
    Features

    Raises
    ------
    DataError
        If the file is missing, damaged, or was computed for other images.
    """
    try:
        # Opened here: NumPy leaves open what turns out to be no archive.
        with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            features = Features(arrays["vectors"], arrays["image_sha256"], str(arrays["backbone_sha256"]))
    except DAMAGED_ARRAYS_ERRORS as problem:
        raise DataError(f"{path} is missing or damaged ({problem}); run `dvc repro`.") from problem
    if features.image_sha256.tolist() != rows["sha256"].tolist():
        raise DataError(f"{path} was computed for other images than the manifest lists; run `dvc repro`.")
    return features
