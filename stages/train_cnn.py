"""Train a network once for each part of the training images that is left out; all of them are served, averaged."""

import argparse
from dataclasses import asdict

import numpy as np
from dvclive import Live

from inspection.config import load_params
from inspection.data.images import Decoding, resize
from inspection.data.manifest import iterate_pixels, read_training_rows
from inspection.networks.architectures import make_recipe
from inspection.networks.cnn import save_cnn
from inspection.networks.training import EpochScores, LabelledImages, train_across_parts
from inspection.plugins import load_plugins
from inspection.voters.cards import TrainedFiles, write_card
from stages.running import progress, run_stage


def train() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", required=True)
    name, params = parser.parse_args().network, load_params()
    load_plugins(params.plugins)
    recipe = make_recipe(name, params.cnn, params.fine_tuning, params.features.weights)
    rows = read_training_rows("data/manifest.csv")
    pixels = iterate_pixels(rows, Decoding.of(params.data.decoding))
    images = np.stack([resize(image, recipe.image_size) for image in progress(pixels, "loading", len(rows))])
    # Folds of the manifest joined: each part costs a training, and its network time on every photograph.
    parts = rows["fold"].to_numpy() % params.cnn.parts
    with LearningCurves(name, params.cnn.parts) as curves:
        prepared = recipe.prepare(images, lambda work, total: progress(work, name, total, unit="batch"))
        everything = LabelledImages.of(prepared, rows["label"].to_numpy(), rows["weight"].to_numpy())
        network, out_of_fold = train_across_parts(recipe, everything, parts, params.seed, curves.add)
    save_cnn(network, "models", name, recipe.image_size)
    files = TrainedFiles("cnn", {"network": f"{name}.onnx", "state_dict": f"{name}.pth"}, {})
    write_card("metrics/training", "models", name, files, rows, out_of_fold)


class LearningCurves(Live):
    """Those of the network trained without the first part; the others are printed only."""

    def __init__(self, name: str, n_parts: int):
        super().__init__(f"metrics/cnn/{name}", dvcyaml=None, save_dvc_exp=False, report=None)
        self._n_parts = n_parts

    def add(self, part: int, scores: EpochScores) -> None:
        known = {key: value for key, value in asdict(scores).items() if not np.isnan(value)}
        values = "  ".join(f"{key} {value:.4g}" for key, value in known.items())
        print(f"without part {part + 1} of {self._n_parts}: {values}", flush=True)
        if part == 0:
            # Sorted: a set has another order in every process.
            for key in sorted(known.keys() - {"epoch"}):
                self.log_metric(key, round(known[key], 4))
            self.next_step()


if __name__ == "__main__":
    run_stage(train)
