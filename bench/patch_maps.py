"""Patch maps of all photographs, kept in a scratch file: every split is drawn from the same photographs."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from inspection.config import Params
from inspection.data.images import Decoding
from inspection.data.planted_defects import plant
from inspection.errors import ConfigError
from inspection.files import sha256_bytes
from inspection.voters.patch_maps import TiledMaps, iterate_patch_maps
from stages.running import progress

AT_ONCE = 16
"""Patch maps that are compared with a memory at once."""


def check_patch_maps(params: Params) -> None:
    """Refuse params by which backbones are exported without patch maps.

    Raises
    ------
    ConfigError
        If no detector is named in them.
    """
    if not params.detectors:
        raise ConfigError("params.yaml: detectors = []; set [patch_memory], and run `dvc repro export-backbone`.")


class PatchMaps:
    """Patch maps of all photographs by one backbone, computed when one is first asked for.

    Photographs are seen whole, whatever ``features.tiles`` says. The maps are kept as the network gives them, in
    float32, so that a detector is to the last bit what streaming them once more for every split would make of it.

    Parameters
    ----------
    backbone : str
    images : DataFrame
    params : Params
    folder : Path
        That holds them, more than a gigabyte.
    """

    def __init__(self, backbone: str, images: pd.DataFrame, params: Params, folder: Path):
        is_shared = params.patch_memory.image_size == params.features.image_size
        name = f"backbones/{backbone}.onnx" if is_shared else f"patches/{backbone}/network.onnx"
        self._network, self._images, self._folder = Path("models") / name, images, folder
        self._decoding = Decoding.of(params.data.decoding)
        self.network_sha256 = sha256_bytes(self._network.read_bytes())

    def __getitem__(self, positions) -> np.ndarray:
        """Return the maps at positions, shape (n_positions, rows, columns, n_channels)."""
        return np.asarray(self._maps[positions])

    def whole(self, positions) -> Iterator[TiledMaps]:
        """Yield the map of each photograph at positions as `train_patch_detector` reads it."""
        return (TiledMaps.of_whole(self._maps[position]) for position in positions)

    def planted(self, positions, seed: int) -> Iterator[np.ndarray]:
        """Yield the maps of photographs with a planted defect."""
        random = np.random.default_rng(seed)
        some = self._images.iloc[positions]
        passing = iterate_patch_maps(self._network, some, self._decoding, lambda pixels: plant(pixels, random)[0])
        for seen in progress(passing, "planted defects", len(some)):
            yield from seen.maps

    @cached_property
    def _maps(self) -> np.memmap:
        passing = iterate_patch_maps(self._network, self._images, self._decoding)
        for position, seen in enumerate(progress(passing, "patch maps", len(self._images))):
            [patch_map] = seen.maps
            if not position:
                shape = (len(self._images), *patch_map.shape)
                maps = np.memmap(self._folder / self.network_sha256, patch_map.dtype, "w+", shape=shape)
            maps[position] = patch_map
        return maps
