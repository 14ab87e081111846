"""Compute the feature vectors of all training images with one backbone. Test images are left to evaluate."""

import argparse

from inspection.config import load_params
from inspection.data.images import Decoding
from inspection.data.manifest import read_training_rows
from inspection.data.tile_plan import read_tile_side
from inspection.voters.features import extract_features, write_features
from stages.running import open_cache, progress, run_stage


def extract() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", required=True)
    backbone = parser.parse_args().backbone
    params = load_params()
    features = extract_features(
        f"models/backbones/{backbone}.onnx",
        read_training_rows("data/manifest.csv"),
        open_cache(params.cache.max_megabytes),
        lambda images, total: progress(images, backbone, total),
        Decoding.of(params.data.decoding),
        read_tile_side("data/tiles.json"),
    )
    write_features(f"features/{backbone}.npz", features)


if __name__ == "__main__":
    run_stage(extract)
