"""Whether photographs are cut into tiles, and how large these are: decided once, for training and serving alike."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from inspection.data.tiles import MAX_TILES, TileGrid
from inspection.errors import ConfigError, DataError
from inspection.files import read_json, write_json
from inspection.labels import TRAIN

USUAL_TILES = 64
"""Of the photograph in the middle, at most, where nobody names a side: as many times the work of one squeezed."""
_LARGE = 2
"""Times the input of the network, from which on squeezing loses what is small."""


class TilePlan(NamedTuple):
    """What is decided.

    Attributes
    ----------
    side : int or None
        See `inspection.data.tiles.TileGrid.of`.
    notice : str
        What it costs; empty without tiles.
    """

    side: int | None
    notice: str


def plan_tiles(manifest: pd.DataFrame, tiles: int | Literal["auto", "none"], image_size: int) -> TilePlan:
    """Decide how large tiles are.

    Parameters
    ----------
    manifest : DataFrame
        Columns ``path``, ``split``, ``width`` and ``height``. Those of the training part decide.
    tiles : int, "auto" or "none"
        ``features.tiles``. ``auto`` leaves photographs whole where the middle one is, at its shorter side, less than
        twice the input of the network; else tiles are as large as that input, so that nothing is scaled, or larger
        where the middle photograph would have more than `USUAL_TILES` or another one more than `MAX_TILES`.
    image_size : int
        Side of the input of the network, in pixels.

    Returns
    -------
    TilePlan

    Raises
    ------
    ConfigError
        If the side that is named cuts some photograph into more than `MAX_TILES`.
    """
    if tiles == "none":
        return TilePlan(None, "")
    training = manifest[manifest["split"] == TRAIN]
    if tiles == "auto":
        if np.median(np.minimum(training["height"], training["width"])) < _LARGE * image_size:
            return TilePlan(None, "")
        side = _native_or_larger(_sizes(training), _sizes(manifest), image_size)
    else:
        side = tiles
        _check_numbers(manifest, side)
    usual = round(_median_number(_sizes(training), side))
    return TilePlan(
        side,
        f"photographs are seen in tiles, {usual} of {side} x {side} pixels of the usual one, which takes about {usual} "
        "times the work of a photograph squeezed (features.tiles=none squeezes). Trained networks see it squeezed.",
    )


def write_tile_side(path: str | Path, side: int | None) -> None:
    """Write what was decided.

    Parameters
    ----------
    path : str or Path
    side : int or None
    """
    write_json(path, {"side": side})


def read_tile_side(path: str | Path) -> int | None:
    """Read what was decided.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    int or None
        See `inspection.data.tiles.TileGrid.of`.

    Raises
    ------
    DataError
        If the file is missing or damaged.
    """
    if not Path(path).is_file():
        raise DataError(f"{path} is missing; run `dvc repro plan-tiles`.")
    match read_json(path, DataError):
        case {"side": None}:
            return None
        case {"side": int(side)} if side > 0:
            return side
    raise DataError(f"{path} does not say how large tiles are; delete it and run `dvc repro`.")


def _sizes(rows: pd.DataFrame) -> dict[tuple[int, int], int]:
    """Count the photographs of each height and width."""
    return Counter(zip(rows["height"].tolist(), rows["width"].tolist(), strict=True))


def _median_number(sizes: dict[tuple[int, int], int], side: int) -> float:
    numbers = [TileGrid.of(height, width, side).n_tiles for height, width in sizes]
    return float(np.median(np.repeat(numbers, list(sizes.values()))))


def _most(sizes: Iterable[tuple[int, int]], side: int) -> int:
    return max(TileGrid.of(height, width, side).n_tiles for height, width in sizes)


def _native_or_larger(
    of_training: dict[tuple[int, int], int], of_all: dict[tuple[int, int], int], image_size: int
) -> int:
    side = image_size
    # It ends: a tile as large as the shorter side of a photograph leaves it few.
    while _median_number(of_training, side) > USUAL_TILES or _most(of_all, side) > MAX_TILES:
        side += max(1, image_size // 16)
    return side


def _check_numbers(manifest: pd.DataFrame, side: int) -> None:
    sizes = _sizes(manifest)
    height, width = max(sizes, key=lambda size: _most([size], side))
    if (n_tiles := _most(sizes, side)) <= MAX_TILES:
        return
    path = manifest.loc[(manifest["height"] == height) & (manifest["width"] == width), "path"].iloc[0]
    enough = side
    while _most(sizes, enough) > MAX_TILES:
        enough += max(1, enough // 32)
    raise ConfigError(
        f"features.tiles = {side} cuts {path} ({width} x {height} pixels) into {n_tiles:,} tiles, more than "
        f"{MAX_TILES:,}; set it to {enough} or more, or to auto."
    )
