"""Train one detector on what one backbone sees of good parts."""

import argparse
from collections.abc import Iterator
from functools import partial
from itertools import count

import numpy as np

from inspection.config import load_params
from inspection.data.images import Decoding
from inspection.data.manifest import read_training_rows
from inspection.data.planted_defects import plant
from inspection.data.tile_plan import read_tile_side
from inspection.files import DIGITS
from inspection.voters.cards import TrainedFiles, write_card
from inspection.voters.detector_training import TrainingParts, train_patch_detector
from inspection.voters.patch_detector import write_patch_detector
from inspection.voters.patch_maps import TiledMaps, iterate_patch_maps
from stages.running import progress, run_stage


def train() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", required=True)
    parser.add_argument("--detector", required=True)
    arguments = parser.parse_args()
    params = load_params()
    voter = f"{arguments.backbone}_{arguments.detector}"
    is_shared = params.patch_memory.image_size == params.features.image_size
    network = f"backbones/{arguments.backbone}.onnx" if is_shared else f"patches/{arguments.backbone}/network.onnx"
    rows, tile_side = read_training_rows("data/manifest.csv"), read_tile_side("data/tiles.json")
    decoding, passes = Decoding.of(params.data.decoding), count(1)
    see = partial(iterate_patch_maps, f"models/{network}", decoding=decoding, tile_side=tile_side)

    def read_maps(positions: np.ndarray) -> Iterator[TiledMaps]:
        return progress(see(rows.iloc[positions]), f"{voter}, pass {next(passes)} of 2", len(positions))

    def read_planted_maps(positions: np.ndarray) -> Iterator[TiledMaps]:
        random = np.random.default_rng(params.seed)
        seen = see(rows.iloc[positions], alter=lambda pixels: plant(pixels, random)[0])
        return progress(seen, f"{voter}, planted defects", len(positions))

    trained = train_patch_detector(
        read_maps,
        read_planted_maps,
        TrainingParts.of(rows),
        params.patch_memory.components,
        params.patch_memory.patches,
        params.seed,
    )
    write_patch_detector(f"models/{voter}.npz", trained.detector)
    files = {"network": network, "memory": f"{voter}.npz"}
    planted = {} if trained.planted_roc_auc is None else {"planted_roc_auc": round(trained.planted_roc_auc, DIGITS)}
    card = TrainedFiles(arguments.detector, files, {"top_share": trained.top_share}, planted, tile_side)
    write_card("metrics/training", "models", voter, card, rows, trained.out_of_fold)


if __name__ == "__main__":
    run_stage(train)
