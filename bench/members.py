"""How many networks should serve together, and how long should each be trained?

Run after ``dvc repro prepare``::

    python -m bench.members
    python -m bench.members --network efficientnet_lite0 --schemes 1x10 2x10 5x10

A scheme ``3x18`` is three networks, each trained for 18 epochs without a third of the images and served averaged
(``cnn.parts``, ``epochs``). One of a single network, ``1x12``, is trained on all images; the pipeline has none such,
because no out-of-fold score would come from the network that serves. Test images stay out of it: folds of the training
part are held out one after the other, and a scheme is trained on the others as the pipeline trains it, but in even
parts: the pipeline joins whole folds, and five of them make two parts of 60 and 40 % of the images.

The columns are the area under the ROC curve on each held-out fold and its mean, how many photographs training looks at
relative to the first scheme, and the time of one photograph in ONNX Runtime relative to it (medians of calls that
alternate between the schemes).
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

from bench.protocols import prepare
from inspection.config import Params, load_params
from inspection.data.manifest import read_training_rows
from inspection.networks.architectures import make_recipe
from inspection.networks.cnn import AveragedCNN, save_cnn
from inspection.networks.onnx_models import OnnxModel
from inspection.networks.recipes import Recipe
from inspection.networks.training import LabelledImages, average_proba, train_across_parts, train_network
from inspection.plugins import load_plugins

N_CALLS = 30


@dataclass(frozen=True)
class Scheme:
    """How many networks serve together, and for how many epochs each is trained."""

    n_members: int
    n_epochs: int

    @classmethod
    def parse(cls, text: str) -> "Scheme":
        """Read what the command line calls a scheme, for example ``3x18``."""
        n_members, n_epochs = (int(number) for number in text.split("x"))
        return cls(n_members, n_epochs)

    @property
    def n_looks(self) -> int:
        """How often training looks at a photograph, on average."""
        return self.n_epochs * max(1, self.n_members - 1)

    def __str__(self) -> str:
        return f"{self.n_members}x{self.n_epochs}"


DEFAULTS = [Scheme(1, 12), Scheme(2, 24), Scheme(3, 18), Scheme(5, 12)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="baseline_cnn")
    parser.add_argument("--schemes", type=Scheme.parse, nargs="+", default=DEFAULTS)
    parser.add_argument("--held-out", type=int, nargs="+", default=[0, 1], help="folds of the training part")
    arguments = parser.parse_args()
    schemes, params, rows = arguments.schemes, load_params(), read_training_rows("data/manifest.csv")
    load_plugins(params.plugins)
    _, prepared = prepare(arguments.network, rows, params)
    everything = LabelledImages.of(prepared, rows["label"].to_numpy(), rows["weight"].to_numpy())
    folds, groups = rows["fold"].to_numpy(), rows["group"].to_numpy()
    areas: dict[Scheme, list[float]] = {scheme: [] for scheme in schemes}
    networks = {}
    for fold in arguments.held_out:
        held_out = everything.where(folds == fold)
        for scheme in schemes:
            recipe = recipe_of(arguments.network, scheme, params)
            network = train(recipe, scheme, everything.where(folds != fold), groups[folds != fold], params.seed)
            proba = average_proba(recipe, network, prepared, held_out.rows)
            areas[scheme].append(float(roc_auc_score(held_out.labels, proba)))
            networks[scheme] = network
            print(f"held out {fold}, {scheme}: AUC {areas[scheme][-1]:.4f}", flush=True)
        print_table(areas, time_of_one(networks, recipe.image_size))


def recipe_of(name: str, scheme: Scheme, params: Params) -> Recipe:
    """Return how a network is trained under a scheme."""
    epochs = {"epochs": scheme.n_epochs}
    cnn, fine_tuning = params.cnn.model_copy(update=epochs), params.fine_tuning.model_copy(update=epochs)
    return make_recipe(name, cnn, fine_tuning, params.features.weights)


def train(recipe: Recipe, scheme: Scheme, images: LabelledImages, groups: np.ndarray, seed: int) -> AveragedCNN:
    """Train the networks of a scheme.

    Parameters
    ----------
    recipe : Recipe
    scheme : Scheme
    images : LabelledImages
    groups : ndarray, shape (n_images,)
        No part that a member is trained without shares one with the rest.
    seed : int
    """
    if scheme.n_members == 1:
        return recipe.average([train_network(recipe, images, None, seed)])
    folder = StratifiedGroupKFold(scheme.n_members, shuffle=True, random_state=seed)
    parts = np.empty(len(groups), int)
    for part, (_, members) in enumerate(folder.split(groups, images.labels, groups)):
        parts[members] = part
    return train_across_parts(recipe, images, parts, seed).network


def time_of_one(networks: dict[Scheme, AveragedCNN], image_size: int) -> dict[Scheme, float]:
    """Return the median time of one photograph in seconds."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, image_size, image_size, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        for scheme, network in networks.items():
            save_cnn(network, folder, str(scheme), image_size)
        served = {scheme: OnnxModel((Path(folder) / f"{scheme}.onnx").read_bytes(), str(scheme)) for scheme in networks}
    times: dict[Scheme, list[float]] = {scheme: [] for scheme in served}
    for _ in range(N_CALLS):
        for scheme, network in served.items():
            start = perf_counter()
            network.run(pixels, "defect_proba")
            times[scheme].append(perf_counter() - start)
    return {scheme: float(np.median(of_scheme)) for scheme, of_scheme in times.items()}


def print_table(areas: dict[Scheme, list[float]], times: dict[Scheme, float]) -> None:
    """Print one line per scheme as Markdown."""
    first = next(iter(areas))
    n_folds = len(areas[first])
    columns = ["scheme", *(f"fold {k + 1}" for k in range(n_folds)), "AUC, mean", "training", "one photograph"]
    print("|", " | ".join(columns), "|")
    print("|---" * (n_folds + 4) + "|")
    for scheme, of_scheme in areas.items():
        cells = [f"{area:.4f}" for area in [*of_scheme, np.mean(of_scheme)]]
        training, serving = scheme.n_looks / first.n_looks, times[scheme] / times[first]
        print(f"| {scheme} |", " | ".join(cells), f"| × {training:.1f} | × {serving:.1f} |")


if __name__ == "__main__":
    main()
