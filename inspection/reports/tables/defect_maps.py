"""Defect maps of the test images: what they are worth, and a file of them for pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from inspection.array_files import DAMAGED_ARRAYS_ERRORS, write_arrays
from inspection.data.masks import read_mask
from inspection.decision.defect_map import DefectMap
from inspection.errors import ModelsError
from inspection.files import DIGITS
from inspection.labels import NON_DEFECTIVE
from inspection.reports.tables.localisation import summarise_lit_share, summarise_localisation
from inspection.reports.tables.map_counts import LocalisationCounts
from inspection.reports.tables.reading import read_table
from inspection.voters.map_scale import LIT

_OF_ALL = "ensemble"
"""In the place of a voter's name: the mean map."""


def read_masks(path: str | Path) -> pd.DataFrame:
    """Read the table of masks that ``prepare`` wrote.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    DataFrame
        See `inspection.data.masks.check_masks`.

    Raises
    ------
    ModelsError
        If it is missing or damaged.
    """
    return read_table(path, "prepare", ("path", "mask", "mask_sha256"))


def summarise_maps(defect_maps: Sequence[DefectMap], rows: pd.DataFrame, masks: pd.DataFrame) -> dict:
    """Return how well maps show where defects are, and how empty they are where there are none.

    Parameters
    ----------
    defect_maps : sequence of DefectMap, shape (n_images,) or (0,)
        Empty when no voter gives a map.
    rows : DataFrame, shape (n_images, ...)
        Of the manifest: ``path``, ``label``, ``group`` and ``defect_type``.
    masks : DataFrame
        See `inspection.data.masks.check_masks`.

    Returns
    -------
    dict
        ``n_maps``; with maps also ``voters`` (whose mean they are), ``region_rate_good`` (share of good photographs on
        which a region is framed) and what `summarise_lit_share` at `LIT` and `summarise_localisation` return.

    Raises
    ------
    DataError
        If a mask changed since it was checked.
    """
    if not defect_maps:
        return {"n_maps": 0}
    files = {path: (mask, sha256) for path, mask, sha256 in masks[["path", "mask", "mask_sha256"]].itertuples(False)}
    counts = []
    for one, path in zip(defect_maps, rows["path"], strict=True):
        mask = None
        if path in files:
            name, sha256 = files[path]
            mask = read_mask(name, one.height, one.width, sha256)
        counts.append(LocalisationCounts.of(one.resized(one.height, one.width).astype(np.float16), mask))
    is_good = (rows["label"] == NON_DEFECTIVE).to_numpy()
    framed = [bool(one.regions) for one, good in zip(defect_maps, is_good, strict=True) if good]
    return {
        "n_maps": len(defect_maps),
        "voters": list(defect_maps[0].averaged),
        "region_rate_good": round(float(np.mean(framed)), DIGITS),
        **summarise_lit_share(counts, rows, LIT),
        **summarise_localisation(counts, rows),
    }


def write_maps(path: str | Path, names: Sequence[str], defect_maps: Sequence[DefectMap]) -> None:
    """Write the mean map of every photograph as ``.npz``, in one step.

    Parameters
    ----------
    path : str or Path
    names : sequence of str, shape (n_images,)
        Paths of the photographs.
    defect_maps : sequence of DefectMap, shape (n_images,) or (0,)
    """
    shapes = np.array([one.rarity.shape for one in defect_maps], int).reshape(-1, 2)
    arrays = {
        "paths": np.array(list(names[: len(defect_maps)]), str),
        "shapes": shapes,
        "sizes": np.array([(one.height, one.width) for one in defect_maps], int).reshape(-1, 2),
        "peaks": np.array([one.peak for one in defect_maps]),
        "rarity": np.concatenate([one.rarity.ravel() for one in defect_maps] or [np.empty(0, np.float32)]).astype(
            np.float16
        ),
    }
    write_arrays(path, arrays)


def read_maps(path: str | Path) -> Mapping[str, DefectMap]:
    """Read the maps that `write_maps` wrote.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    mapping of str to DefectMap
        By the path of the photograph.

    Raises
    ------
    ModelsError
        If the file is missing or damaged.
    """
    try:
        with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
            ends = np.cumsum(arrays["shapes"].prod(axis=1))[:-1]
            parts = np.split(arrays["rarity"].astype(np.float32), ends) if len(arrays["shapes"]) else []
            lines = zip(arrays["paths"], arrays["shapes"], arrays["sizes"], arrays["peaks"], parts, strict=True)
            return {
                str(name): DefectMap({_OF_ALL: part.reshape(shape)}, (_OF_ALL,), float(peak), *map(int, size))
                for name, shape, size, peak, part in lines
            }
    except DAMAGED_ARRAYS_ERRORS as problem:
        raise ModelsError(f"{path} is missing or damaged ({problem}); run `dvc repro evaluate`.") from problem
