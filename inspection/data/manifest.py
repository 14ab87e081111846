"""The manifest: one row per image with its label, split, fold and fingerprint. Images are indexed, never copied."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from inspection.data.images import AS_STORED, Decoding, decode, read_file
from inspection.errors import DataError
from inspection.files import replacing, sha256_bytes
from inspection.labels import DEFECTIVE, NON_DEFECTIVE, TEST, TRAIN, UNLABELLED

if TYPE_CHECKING:
    # Reading params.yaml takes packages that a machine without the pipeline has not, and the audit runs there.
    from inspection.config import DataParams

COLUMNS = {
    "path": "str",
    "sha256": "str",
    "pixels_sha256": "str",
    "label": "int64",
    "defect_probability": "float64",
    "weight": "float64",
    "split": "str",
    "supplied_split": "str",
    "fold": "int64",
    "group": "str",
    "stated_group": "str",
    "stratum": "str",
    "defect_type": "str",
    "mask": "str",
    "width": "int64",
    "height": "int64",
    "mode": "str",
}


def label_of(defect_probability: pd.Series, threshold: float = 0.5) -> np.ndarray:
    """Return the class of each image.

    Parameters
    ----------
    defect_probability : Series of float in [0, 1]
        NaN where nothing is known.
    threshold : float
        A part is defective when its defect probability is ``>=`` this.

    Returns
    -------
    ndarray of int, shape (n_images,)
        ``NON_DEFECTIVE``, ``DEFECTIVE`` or ``UNLABELLED``.
    """
    labels = np.where(defect_probability >= threshold, DEFECTIVE, NON_DEFECTIVE)
    return np.where(defect_probability.isna(), UNLABELLED, labels)


def weigh_images(images: pd.DataFrame, params: "DataParams") -> pd.Series:
    """Return the sample weight of each image: the one its source states, or 1, less when the label is uncertain.

    Weights of images with a probability strictly between 0 and 1 are multiplied by ``params.uncertain_weight``.

    Parameters
    ----------
    images : DataFrame
        Columns ``weight`` (above 0, NaN where the source states none) and ``defect_probability``.
    params : DataParams

    Returns
    -------
    Series of float
    """
    is_uncertain = images["defect_probability"].between(0, 1, inclusive="neither")
    return images["weight"].fillna(1.0) * np.where(is_uncertain, params.uncertain_weight, 1.0)


def as_manifest(images: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of a manifest in their order and types, sorted by path.

    Parameters
    ----------
    images : DataFrame
        Columns `COLUMNS`, and perhaps others.
    """
    return images[list(COLUMNS)].astype(COLUMNS).sort_values("path", ignore_index=True)


def count_leaking(manifest: pd.DataFrame) -> int:
    """Count the test images whose group has training images.

    Parameters
    ----------
    manifest : DataFrame
        Columns ``group`` and ``split``.
    """
    groups = set(manifest.loc[manifest["split"] == TRAIN, "group"])
    return int((manifest["group"].isin(groups) & (manifest["split"] == TEST)).sum())


def write_manifest(path: str | Path, manifest: pd.DataFrame) -> None:
    """Write a manifest as UTF-8 CSV, in one step.

    Parameters
    ----------
    path : str or Path
    manifest : DataFrame
        From `as_manifest`.
    """
    with replacing(path) as temporary:
        manifest.to_csv(temporary, index=False, lineterminator="\n")


def read_manifest(path: str | Path) -> pd.DataFrame:
    """Read the manifest written by `write_manifest`.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    DataFrame
        Columns `COLUMNS`.

    Raises
    ------
    DataError
        If it is missing or has other columns.
    """
    try:
        manifest = pd.read_csv(path, keep_default_na=False, dtype=COLUMNS)
    except FileNotFoundError as problem:
        raise DataError(f"{path} is missing; run `dvc repro prepare`.") from problem
    except (ValueError, pd.errors.ParserError) as problem:
        raise DataError(f"{path} is not a manifest ({problem}); run `dvc repro prepare`.") from problem
    if list(manifest) != list(COLUMNS):
        raise DataError(f"{path} has other columns than this version writes; run `dvc repro prepare`.")
    return manifest


def read_training_rows(path: str | Path) -> pd.DataFrame:
    """Read the rows of the training part, in the order in which every feature file and score file keeps them.

    Parameters
    ----------
    path : str or Path
        Of a manifest.

    Returns
    -------
    DataFrame
        Columns `COLUMNS`, numbered from 0.

    Raises
    ------
    DataError
        As `read_manifest`.
    """
    manifest = read_manifest(path)
    return manifest[manifest["split"] == TRAIN].reset_index(drop=True)


def iterate_pixels(rows: pd.DataFrame, decoding: Decoding = AS_STORED) -> Iterator[np.ndarray]:
    """Yield each row's image, after checking that the file is the one that was indexed.

    Parameters
    ----------
    rows : DataFrame
        Rows of a manifest.
    decoding : Decoding
        The one ``prepare`` used.

    Yields
    ------
    ndarray of uint8, shape (height, width, 3)

    Raises
    ------
    DataError
        If a file changed since ``prepare`` ran.
    """
    for path, fingerprint in zip(rows["path"], rows["sha256"], strict=True):
        data = read_file(path)
        if sha256_bytes(data) != fingerprint:
            raise DataError(f"{path} changed since the manifest was written; run `dvc repro`.")
        yield decode(data, path, decoding).pixels
