"""How should the maps of several voters become one?

Run in a project whose training part holds defects, with masks where they are to be found again
(``data.supplied_split: redraw``), after ``dvc repro train-cnn train-detector``::

    python -m bench.map_combination
    python -m bench.map_combination --networks baseline_cnn efficientnet_lite0

Test images stay out of it: every map is that of the member or memory that was made without the photograph, on the scale
that good training photographs give it. The voters are those of params.yaml; each network is put beside the detectors on
its own. A row is a set of voters and a way to combine their maps; the columns are those of `metrics/localisation.json`,
the share of defective photographs with a region, and of those with a mask the share on which a region overlaps it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from bench.protocols import prepare
from inspection.config import Params, load_params
from inspection.data.images import Decoding, decode_file
from inspection.data.manifest import read_training_rows
from inspection.data.masks import read_mask
from inspection.decision.defect_map import DefectMap
from inspection.labels import NON_DEFECTIVE
from inspection.networks.training import contributions
from inspection.plugins import load_plugins
from inspection.reports.tables.defect_maps import read_masks, summarise_maps
from inspection.voters.map_scale import MapScale
from inspection.voters.patch_detector import read_patch_detector, smooth
from inspection.voters.patch_maps import iterate_patch_maps

COLUMNS = ("pixel_auroc", "aupro", "pointing_game", "lit_share", "region_rate_good")


class Voter(NamedTuple):
    """What a voter says of all training photographs, out of fold: rarities, and the peak of their scale."""

    rarity: np.ndarray
    peak: float
    is_detector: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", help="instead of those of params.yaml")
    arguments = parser.parse_args()
    params, rows = load_params(), read_training_rows("data/manifest.csv")
    load_plugins(params.plugins)
    names = arguments.networks or params.networks
    is_good = (rows["label"] == NON_DEFECTIVE).to_numpy()
    networks = {name: on_scale(network_maps(name, rows, params), is_good, False) for name in names}
    detectors = {
        f"{backbone}_{kind}": on_scale(detector_maps(backbone, kind, rows, params), is_good, True)
        for backbone in params.backbones
        for kind in params.detectors
    }
    alone = [{name: voter} for name, voter in networks.items()]
    beside_detectors = [voters | detectors for voters in alone]
    sets = {", ".join(voters): voters for voters in [*alone, networks, detectors, *beside_detectors] if voters}
    print("| voters | combined by |", " | ".join(COLUMNS), "| region_rate_defective | region overlaps mask |")
    print("|---" * (len(COLUMNS) + 4) + "|", flush=True)
    decoding = Decoding.of(params.data.decoding)
    sizes = [decode_file(path, decoding).pixels.shape[:2] for path in rows["path"]]
    for title, voters in sets.items():
        for way, weights in ways_of(list(voters.values())).items():
            maps = combined(list(voters.values()), weights, sizes)
            cells = [f"{number:.4f}" for number in measured(maps, rows)]
            print("|", title, "|", way, "|", " | ".join(cells), "|", flush=True)


def ways_of(voters: Sequence[Voter]) -> dict[str, np.ndarray]:
    """Return what each voter counts, by the ways to combine their maps that differ."""
    positions = np.array([np.prod(voter.rarity.shape[1:]) for voter in voters], float)
    is_detector = np.array([voter.is_detector for voter in voters], float)
    ways = {"plain mean": np.ones(len(voters))}
    if np.ptp(positions):
        ways["by positions"] = positions
    if np.ptp(is_detector):
        ways["detectors alone"] = is_detector
    return ways


def on_scale(maps: np.ndarray, is_good: np.ndarray, is_detector: bool) -> Voter:
    """Bring out-of-fold maps to the scale that those of good photographs make."""
    scale = MapScale.fit(maps[is_good])
    return Voter(scale.rarity(maps), scale.peak, is_detector)


def network_maps(name: str, rows: pd.DataFrame, params: Params) -> np.ndarray:
    """Return what every position adds to the log odds, by the member trained without the photograph."""
    recipe, prepared = prepare(name, rows, params)
    parts = rows["fold"].to_numpy() % params.cnn.parts
    network = recipe.average([recipe.make() for _ in np.unique(parts)])
    network.load_state_dict(torch.load(f"models/{name}.pth", weights_only=True))
    of_members = [contributions(recipe, member, prepared, np.arange(len(rows))) for member in network.members]
    return np.choose(np.searchsorted(np.unique(parts), parts)[:, None, None], of_members)


def detector_maps(backbone: str, kind: str, rows: pd.DataFrame, params: Params) -> np.ndarray:
    """Return the smoothed distances to the memory made without the photograph's fold, of photographs seen whole."""
    is_shared = params.patch_memory.image_size == params.features.image_size
    network = f"models/backbones/{backbone}.onnx" if is_shared else f"models/patches/{backbone}/network.onnx"
    file = Path(f"models/{backbone}_{kind}.npz")
    detector = read_patch_detector(file.read_bytes(), file.name)
    places = np.unique(rows["fold"], return_inverse=True)[1]
    seen = iterate_patch_maps(network, rows, Decoding.of(params.data.decoding))
    pairs = zip(places, seen, strict=True)
    return smooth(np.stack([one.distances(detector.memories[place]) for place, one in pairs]))


def combined(voters: Sequence[Voter], weights: np.ndarray, sizes: Sequence[tuple[int, int]]) -> list[DefectMap]:
    """Return the weighted mean of all maps of each photograph, whose peak is the weighted mean of the peaks."""
    peak = float(np.average([voter.peak for voter in voters], weights=weights))
    maps = []
    for place, size in enumerate(sizes):
        each = [DefectMap({"": voter.rarity[place]}, ("",), voter.peak, *size) for voter in voters]
        finest = max((one.rarity.shape for one in each), key=np.prod)
        mean = np.average([one.resized(*finest) for one in each], axis=0, weights=weights).astype(np.float32)
        maps.append(DefectMap({"": mean}, ("",), peak, *size))
    return maps


def measured(maps: list[DefectMap], rows: pd.DataFrame) -> list[float]:
    """Return `COLUMNS` and the two shares after them, NaN where there is no mask."""
    table = read_masks("data/masks.csv")
    summary = summarise_maps(maps, rows, table)
    by_path = dict(zip(rows["path"], maps, strict=True))
    found = []
    for line in table[table["path"].isin(by_path)].itertuples():
        one = by_path[line.path]
        mask = read_mask(line.mask, one.height, one.width, line.mask_sha256)
        if mask.any():
            boxes = [(slice(r.top, r.top + r.height), slice(r.left, r.left + r.width)) for r in one.regions]
            found.append(any(mask[box].any() for box in boxes))
    framed = np.array([bool(one.regions) for one in maps])[rows["label"] != NON_DEFECTIVE]
    shares = [float(np.mean(framed)), float(np.mean(found)) if found else np.nan]
    return [summary.get(column, np.nan) for column in COLUMNS] + shares


if __name__ == "__main__":
    main()
