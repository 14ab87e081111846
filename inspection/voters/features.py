"""Feature vectors of photographs: computed once per image and backbone, kept with what they were computed from."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import onnxruntime
import pandas as pd
import PIL

from inspection.data.images import AS_STORED, Decoding, resize
from inspection.data.manifest import iterate_pixels
from inspection.errors import DataError
from inspection.files import replacing, sha256_bytes
from inspection.networks.onnx_models import BATCH_SIZE, OnnxModel, batches, one_ahead

_DAMAGED_ARRAY_ERRORS = (OSError, ValueError, KeyError, EOFError, TypeError, RuntimeError, BadZipFile)
"""RuntimeError covers zipfile's NotImplementedError for an archive whose directory is damaged."""
CACHE_BATCH = 8 * BATCH_SIZE
"""Images per file of the side cache: an interrupted run loses at most these."""


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
    cache_folder: str | Path,
    progress: Callable[[Iterable[np.ndarray], int], Iterable[np.ndarray]] = lambda images, total: images,
    decoding: Decoding = AS_STORED,
) -> Features:
    """Run a backbone over the images of a manifest, computing only what the side cache does not hold.

    The cache is keyed by the decoded pixels and by everything that makes vectors of them, see `cache_key`; deleting it
    costs time only.

    Parameters
    ----------
    backbone_path : str or Path
        ONNX file of the backbone.
    rows : DataFrame
        Rows of a manifest.
    cache_folder : str or Path
    progress : callable, optional
        Wraps the iterable of images read, which is at most `CACHE_BATCH` ahead; called with it and their number.
    decoding : Decoding
        The one ``prepare`` used.

    Returns
    -------
    Features
        In the order of ``rows``.
    """
    data = Path(backbone_path).read_bytes()
    fingerprint = sha256_bytes(data)
    cache = Path(cache_folder) / cache_key(fingerprint)
    known = _read_cache(cache)
    # By their pixels: another decoding makes another picture of the same file.
    new = rows[~rows["pixels_sha256"].isin(known)].drop_duplicates("pixels_sha256")
    if len(new):
        model = OnnxModel(data, str(backbone_path))
        pixels = (resize(image, model.image_size) for image in iterate_pixels(new, decoding))
        images = zip(new["pixels_sha256"], progress(pixels, len(new)), strict=True)
        for batch in one_ahead(batches(images, CACHE_BATCH)):
            names = np.array([name for name, _ in batch])
            vectors = model.run(np.stack([image for _, image in batch]), "features")
            known.update(zip(names.tolist(), vectors, strict=True))
            with replacing(cache / f"{names[0]}.npz") as temporary:
                np.savez(temporary, names=names, vectors=vectors)
    vectors = np.stack([known[name] for name in rows["pixels_sha256"]])
    return Features(vectors, rows["sha256"].to_numpy(dtype=str), fingerprint)


def cache_key(backbone_sha256: str) -> str:
    """Return the name of the folder that holds the vectors of one backbone as this installation computes them.

    It stands for the network, the versions of ONNX Runtime and Pillow, and what `inspection.data.images.resize` does:
    two test pictures, one scaled down and one up, show any change of it, which a version written down by hand would
    not. To hash every resized photograph instead would mean to decode them all in every run.

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
    key = {
        "backbone": backbone_sha256,
        "resize": [sha256_bytes(resize(picture, size).tobytes()) for size in (32, 128)],
        "onnxruntime": onnxruntime.__version__,
        "pillow": PIL.__version__,
    }
    return sha256_bytes(json.dumps(key).encode())


def write_features(path: str | Path, features: Features) -> None:
    """Write features as ``.npz``, in one step; the same features give the same bytes.

    Parameters
    ----------
    path : str or Path
    features : Features
    """
    with replacing(path) as temporary:
        np.savez(
            temporary,
            vectors=features.vectors,
            image_sha256=features.image_sha256,
            backbone_sha256=np.array(features.backbone_sha256),
        )


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
    except _DAMAGED_ARRAY_ERRORS as problem:
        raise DataError(f"{path} is missing or damaged ({problem}); run `dvc repro`.") from problem
    if features.image_sha256.tolist() != rows["sha256"].tolist():
        raise DataError(f"{path} was computed for other images than the manifest lists; run `dvc repro`.")
    return features


def _read_cache(folder: Path) -> dict[str, np.ndarray]:
    known: dict[str, np.ndarray] = {}
    for path in sorted(folder.glob("*.npz")):
        try:
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
                known.update(zip(arrays["names"].tolist(), arrays["vectors"], strict=True))
        except _DAMAGED_ARRAY_ERRORS:
            print(f"{path}: damaged feature cache; its images are computed again")
    return known
