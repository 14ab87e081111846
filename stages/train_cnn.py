"""Train a network once for each part of the training images that is left out; all of them are served, averaged."""

import argparse

import numpy as np

from inspection.config import load_params
from inspection.data.images import Decoding, resize
from inspection.data.manifest import iterate_pixels, read_training_rows
from inspection.labels import NON_DEFECTIVE
from inspection.networks.architectures import make_recipe
from inspection.networks.cnn import save_cnn
from inspection.networks.training import LabelledImages, train_across_parts
from inspection.plugins import load_plugins
from inspection.voters.abstention import why_abstain, write_abstention
from inspection.voters.cards import TrainedFiles, write_card
from inspection.voters.map_scale import MapScale, write_map_scale
from stages.learning_curves import LearningCurves, write_no_curves
from stages.running import progress, run_stage


def train() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", required=True)
    name, params = parser.parse_args().network, load_params()
    load_plugins(params.plugins)
    recipe = make_recipe(name, params.cnn, params.fine_tuning, params.features.weights)
    rows = read_training_rows("data/manifest.csv")
    # Folds of the manifest joined: each part costs a training, and its network time on every photograph.
    parts = rows["fold"].to_numpy() % params.cnn.parts
    files = {"network": f"{name}.onnx", "state_dict": f"{name}.pth", "map_scale": f"{name}_map_scale.npz"}
    if reason := why_abstain(rows["label"].to_numpy(), parts):
        write_abstention("metrics/training", "models", name, "cnn", list(files.values()), reason)
        write_no_curves(name)
        return
    pixels = iterate_pixels(rows, Decoding.of(params.data.decoding))
    images = np.stack([resize(image, recipe.image_size) for image in progress(pixels, "loading", len(rows))])
    with LearningCurves(name, params.cnn.parts) as curves:
        prepared = recipe.prepare(images, lambda work, total: progress(work, name, total, unit="batch"))
        everything = LabelledImages.of(prepared, rows["label"].to_numpy(), rows["weight"].to_numpy())
        trained = train_across_parts(recipe, everything, parts, params.seed, curves.add)
    save_cnn(trained.network, "models", name, recipe.image_size)
    write_map_scale(f"models/{files['map_scale']}", MapScale.fit(trained.defect_maps[rows["label"] == NON_DEFECTIVE]))
    write_card("metrics/training", "models", name, TrainedFiles("cnn", files, {}), rows, trained.out_of_fold)


if __name__ == "__main__":
    run_stage(train)
