"""Feature vectors of photographs: computed once per image and backbone, kept with what they were computed from."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from inspection.array_files import DAMAGED_ARRAYS_ERRORS, write_arrays
from inspection.content_cache import NO_CACHE, ContentCache, describe_origin
from inspection.data.images import AS_STORED, Decoding
from inspection.data.manifest import iterate_pixels
from inspection.data.tiles import TileGrid, iterate_tiles
from inspection.errors import DataError
from inspection.files import sha256_bytes
from inspection.networks.onnx_models import BATCH_SIZE, OnnxModel, batches, one_ahead

KEPT_TOGETHER = 8 * BATCH_SIZE
"""Images, or tiles, that are computed before their vectors are kept: an interrupted run loses at most these."""


@dataclass(frozen=True)
class Features:
    """Feature vectors and their origin.

    Attributes
    ----------
    vectors : ndarray of float32, shape (n_images, n_features)
    image_sha256 : ndarray of str, shape (n_images,)
    backbone_sha256 : str
    tile_side : int or None
        See `inspection.data.tiles.TileGrid.of`.
    """

    vectors: np.ndarray
    image_sha256: np.ndarray
    backbone_sha256: str
    tile_side: int | None = None


def extract_features(
    backbone_path: str | Path,
    rows: pd.DataFrame,
    cache: ContentCache = NO_CACHE,
    progress: Callable[[Iterable[np.ndarray], int], Iterable[np.ndarray]] = lambda images, total: images,
    decoding: Decoding = AS_STORED,
    tile_side: int | None = None,
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
    tile_side : int, optional
        See `inspection.data.tiles.TileGrid.of`. With one, a vector is what `pool_tiles` makes of those of the tiles.

    Returns
    -------
    Features
        In the order of ``rows``.
    """
    data = Path(backbone_path).read_bytes()
    fingerprint = sha256_bytes(data)
    origin = origin_of(fingerprint, tile_side)
    known = {key: np.frombuffer(value, "<f4") for key, value in cache.read(origin, rows["pixels_sha256"]).items()}
    # By their pixels: another decoding makes another picture of the same file.
    new = rows[~rows["pixels_sha256"].isin(known)].drop_duplicates("pixels_sha256")
    if len(new):
        model = OnnxModel(data, str(backbone_path))
        names = new["pixels_sha256"].tolist()
        images = progress(iterate_pixels(new, decoding), len(new))
        of_tiles: list[np.ndarray] = []
        for batch in one_ahead(batches(iterate_tiles(images, tile_side, model.image_size), KEPT_TOGETHER)):
            computed = {}
            of_batch = model.run(np.stack([tile.pixels for tile in batch]), "features")
            for tile, vector in zip(batch, of_batch, strict=True):
                of_tiles.append(vector)
                if len(of_tiles) == tile.grid.n_tiles:
                    computed[names[tile.photograph]] = vector if tile_side is None else pool_tiles(np.stack(of_tiles))
                    of_tiles = []
            known.update(computed)
            cache.write(origin, {name: vector.astype("<f4").tobytes() for name, vector in computed.items()})
    vectors = np.stack([known[name] for name in rows["pixels_sha256"]])
    return Features(vectors, rows["sha256"].to_numpy(dtype=str), fingerprint, tile_side)


def pool_tiles(vectors: np.ndarray) -> np.ndarray:
    """Make one vector of a photograph of those of its tiles: of each feature the largest value.

    A defect shows on one tile of many. Their mean, alone or beside the largest, told defects worse out of fold: it says
    what all tiles show, and a classifier has to learn to overlook it.

    Parameters
    ----------
    vectors : ndarray of float32, shape (n_tiles, n_features)

    Returns
    -------
    ndarray of float32, shape (n_features,)
    """
    return vectors.max(axis=0)


def origin_of(backbone_sha256: str, tile_side: int | None = None) -> str:
    """Return what stands for everything that makes a vector of pixels.

    That is the network, the versions of ONNX Runtime and Pillow, and what `TileGrid.cut` does: two test pictures, one
    scaled down and one up, show any change of it. With tiles it is also where they lie and what `pool_tiles` does.

    Parameters
    ----------
    backbone_sha256 : str
        Of the ONNX file.
    tile_side : int, optional
        See `inspection.data.tiles.TileGrid.of`.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    rows, columns, channels = np.ogrid[:97, :61, :3]
    picture = ((rows * 7 + columns * 11 + channels * 31) ** 2 % 251).astype(np.uint8)
    whole = TileGrid.of(97, 61, None)
    resized = [sha256_bytes(tile.tobytes()) for size in (32, 128) for tile in whole.cut(picture, size)]
    settings: tuple = (backbone_sha256, resized)
    if tile_side is not None:
        tiles = np.stack(list(TileGrid.of(97, 61, 40).cut(picture, 32)))
        pooled = pool_tiles(tiles.reshape(len(tiles), -1).astype(np.float32))
        settings += (tile_side, sha256_bytes(tiles.tobytes()), sha256_bytes(pooled.tobytes()))
    return describe_origin([], ("onnxruntime", "pillow"), settings)


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
    if features.tile_side is not None:
        arrays["tile_side"] = np.array(features.tile_side)
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
            tile_side = int(arrays["tile_side"]) if "tile_side" in arrays else None
            features = Features(arrays["vectors"], arrays["image_sha256"], str(arrays["backbone_sha256"]), tile_side)
    except DAMAGED_ARRAYS_ERRORS as problem:
        raise DataError(f"{path} is missing or damaged ({problem}); run `dvc repro`.") from problem
    if features.image_sha256.tolist() != rows["sha256"].tolist():
        raise DataError(f"{path} was computed for other images than the manifest lists; run `dvc repro`.")
    return features
