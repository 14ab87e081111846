"""What a backbone sees of one photograph in tiles, a few of which are held at a time."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from inspection.data.tiles import TileGrid
from inspection.networks.onnx_models import BATCH_SIZE, OnnxModel, Run, batches, one_ahead, run_with
from inspection.voters.features import pool_tiles
from inspection.voters.patch_detector import PatchDetector, Sighting


class TileLook(NamedTuple):
    """What is seen of one photograph.

    Attributes
    ----------
    features : ndarray of float32, shape (1, n_features), or (1, 0)
        See `inspection.voters.features.pool_tiles`; empty where they were not wanted.
    sightings : dict of str to Sighting
        Of each detector, with the map of the whole photograph.
    """

    features: npt.NDArray[np.float32]
    sightings: dict[str, Sighting]


def look_at_tiles(
    model: OnnxModel,
    pixels: npt.NDArray[np.uint8],
    side: int | None,
    outputs: Sequence[str],
    detectors: Mapping[str, PatchDetector],
    workers: Executor,
) -> TileLook:
    """Run a backbone on all tiles of a photograph.

    Patch maps become distances as they come, since all of them together would fill the memory.

    Parameters
    ----------
    model : OnnxModel
    pixels : ndarray of uint8, shape (height, width, 3)
    side : int or None
        See `inspection.data.tiles.TileGrid.of`.
    outputs : sequence of {"features", "patch_map"}
        What is wanted of the backbone.
    detectors : mapping of str to PatchDetector
        By name; those that look at ``patch_map``.
    workers : Executor

    Returns
    -------
    TileLook
    """
    grid = TileGrid.of(pixels.shape[0], pixels.shape[1], side)
    vectors: list[npt.NDArray[np.float32]] = []
    distances: dict[str, list[Future[list[np.ndarray]]]] = {name: [] for name in detectors}
    for tiles in one_ahead(batches(grid.cut(pixels, model.image_size), BATCH_SIZE)):
        [(_, arrays)] = run_with(workers, [Run(model, np.stack(tiles), tuple(outputs))])
        seen = dict(zip(outputs, arrays, strict=True))
        if "features" in seen:
            vectors.append(seen["features"])
        for name, detector in detectors.items():
            distances[name].append(workers.submit(detector.distances, seen["patch_map"]))
    features = pool_tiles(np.concatenate(vectors)) if vectors else np.empty(0, np.float32)
    return TileLook(
        features[np.newaxis],
        {name: detector.judge(_stitched(grid, distances[name])) for name, detector in detectors.items()},
    )


def _stitched(grid: TileGrid, of_batches: list[Future[list[np.ndarray]]]) -> list[np.ndarray]:
    """Return the distances of the whole photograph to each memory, shape (1, rows, columns)."""
    by_memory = zip(*(future.result() for future in of_batches), strict=True)
    return [grid.stitch(np.concatenate(of_tiles))[np.newaxis] for of_tiles in by_memory]
