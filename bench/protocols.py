"""How good is the whole ensemble, over several splits of the same photographs?

Run after ``dvc repro export-backbone`` (``make results`` does both)::

    python -m bench.protocols --protocols a b --seeds 5 --block 60
    python -m bench.protocols --protocols c --seeds 1

Protocol (a): random, stratified by defect probability and kind of cell, 75/25, all images. Protocol (b): the same with
blocks of consecutive file numbers kept together. Protocol (c): images of certain label only (defect probability 0 or
1), five-fold, stratified by label and kind of cell: each fifth is tested once, by an ensemble trained on the others.
Seeds are 0, 1, ... Every voter of params.yaml is trained as the pipeline trains it, rules are fitted on out-of-fold
scores of the training part, and each test part is judged once. Scores are kept in .cache/protocols, by which a further
call continues; delete that folder after a change of the code that trains. Other voters than those of params.yaml:
``--backbones``, ``--classifiers``, ``--networks`` (also ``none``).

``--detectors patch_memory`` says what detectors add; params.yaml must name them too, for the export of the networks::

    python -m bench.protocols --protocols a --detectors patch_memory

One is trained on what each backbone sees of the good photographs of each training part, as the pipeline trains it.
Ensembles without and with them stand side by side, of one split and the same other voters, and the differences with
standard errors over the test parts. The splits share their photographs, so that this error leaves out what another
sample would change; with it, five splits have one about 1.6 times as large (Nadeau and Bengio, Machine Learning 52,
2003). Patch maps, one or two gigabytes of each backbone, lie in a temporary folder (TMPDIR) while it runs. The scores
of every test part are left in bench/results/protocols_detectors.json.
"""

import argparse
import tempfile
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from tqdm import tqdm

from bench.patch_maps import AT_ONCE, PatchMaps, check_patch_maps
from bench.side_by_side import machine_facts, write_results
from inspection.audit.indexing import index_images
from inspection.config import Params, PatchParams, load_params
from inspection.data.images import Decoding, resize
from inspection.data.manifest import iterate_pixels, label_of, weigh_images
from inspection.data.sources import group_by_name, list_images
from inspection.data.splits import divide
from inspection.decision.rule_fitting import fit_rules
from inspection.decision.rules import GOOD, majority
from inspection.labels import DEFECTIVE, TEST, TRAIN
from inspection.networks.architectures import make_recipe
from inspection.networks.recipes import Recipe
from inspection.networks.training import LabelledImages, average_proba, train_across_parts
from inspection.plugins import load_plugins
from inspection.reports.tables.metrics import expected_calibration_error
from inspection.reports.tables.predictions import ENSEMBLE
from inspection.voters.detector_training import TrainingParts, train_patch_detector
from inspection.voters.features import extract_features
from inspection.voters.patch_maps import TiledMaps
from inspection.voters.shallow import train_shallow
from stages.running import open_cache

MEMORY = joblib.Memory(".cache/protocols", verbose=0)
CERTAIN = (0, 1)
"""Defect probabilities that leave no doubt about the label."""
N_OUTER_FOLDS = 5
"""Of protocol (c)."""
WITH_DETECTORS = f"{ENSEMBLE} with detectors"
MAJORITY = ", majority"
"""Behind the name of an ensemble whose votes decide."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--block", type=int, default=60, help="file numbers kept together in protocol (b)")
    parser.add_argument("--protocols", nargs="+", choices=["a", "b", "c"], default=["a", "b"])
    parser.add_argument("--detectors", nargs="+", choices=["patch_memory"], default=[], help="compare with and without")
    add_voter_arguments(parser)
    arguments = parser.parse_args()
    declared = load_params()
    if arguments.detectors:
        check_patch_maps(declared)
    params = choose_voters(declared, arguments)
    images = read_images(params)
    vectors = read_vectors(images, params)
    blocks = group_by_name(images, params.data.source, r"(\d+)\D*$", arguments.block)["group"]
    lines = []
    prepared = {name: prepare(name, images, params) for name in params.networks}
    with tempfile.TemporaryDirectory() as folder:
        looked_at = params.backbones if arguments.detectors else []
        maps = {name: PatchMaps(name, images, params, Path(folder)) for name in looked_at}
        for protocol in arguments.protocols:
            for seed in range(arguments.seeds):
                for rows in draw_divisions(protocol, images, blocks, params, seed):
                    voter_proba = train_voters(rows, vectors, prepared, params, seed)
                    scores = compare(rows, voter_proba, train_detectors(rows, maps, params, seed), params)
                    print(f"{protocol} {seed}: {scores['accuracy'].round(4).to_dict()}", flush=True)
                    lines.append(scores.assign(protocol=protocol))
    table = pd.concat(lines)
    print_table(table)
    if arguments.detectors:
        print("\nWith detectors, less without; ± standard error")
        print_table(paired_differences(table), "sem", "+.2f")
        of_parts = table.reset_index(names="model").to_dict("records")
        facts = machine_facts(("onnxruntime", "scikit-learn", "torch"))
        write_results("protocols_detectors", facts, {"scores": of_parts})


def add_voter_arguments(parser: argparse.ArgumentParser) -> None:
    """Let the command line name the voters, for `choose_voters`."""
    for name in ("backbones", "classifiers", "networks"):
        parser.add_argument(f"--{name}", nargs="+", help=f"instead of the {name} of params.yaml")


def choose_voters(params: Params, arguments: argparse.Namespace) -> Params:
    """Return params with the voters of the command line, where it names any, and make those of plugins known."""
    load_plugins(params.plugins)
    named = {name: getattr(arguments, name) for name in ("backbones", "classifiers", "networks")}
    changes = {name: [] if values == ["none"] else values for name, values in named.items() if values}
    return params.model_copy(update=changes)


def draw_divisions(
    protocol: str, images: pd.DataFrame, blocks: pd.Series, params: Params, seed: int
) -> list[pd.DataFrame]:
    """Divide the images as a protocol demands.

    Parameters
    ----------
    protocol : {"a", "b", "c"}
    images : DataFrame
        From `read_images`.
    blocks : Series of str, shape (n_images,)
        The group of each image under protocol (b).
    params : Params
    seed : int

    Returns
    -------
    list of DataFrame
        One per test part, with ``split`` and the folds inside the training part: a single one, or under protocol (c)
        one per outer fold. The test parts of protocol (c) share no image, and together hold every certain one.
    """
    if protocol != "c":
        groups = {"a": images["path"], "b": blocks}[protocol]
        return [divide(images.assign(group=groups, split=""), params.data, seed).images]
    certain = images[images["defect_probability"].isin(CERTAIN)]
    strata = certain["label"].astype(str) + certain["stratum"]
    folder = StratifiedKFold(N_OUTER_FOLDS, shuffle=True, random_state=seed)
    divisions = []
    for _, members in folder.split(certain, strata):
        split = np.where(np.isin(np.arange(len(certain)), members), TEST, TRAIN)
        supplied = certain.assign(group=certain["path"], split=split)
        divisions.append(divide(supplied, params.data, seed).images)
    return divisions


def show_progress(items, total: int, what: str = "features"):
    """Wrap an iterable in a progress bar."""
    return tqdm(items, total=total, desc=what)


def read_images(params: Params) -> pd.DataFrame:
    """Return all images of the source as rows to be divided."""
    decoding = Decoding.of(params.data.decoding)
    images = index_images(list_images(params.data.source, params.data.layout, params.data.classes), decoding).readable
    return images.assign(
        photograph=np.arange(len(images)),
        label=label_of(images["defect_probability"], params.data.defect_threshold),
        weight=weigh_images(images, params.data),
    )


def read_vectors(images: pd.DataFrame, params: Params) -> dict[str, np.ndarray]:
    """Return the features of all images by each backbone."""
    decoding = Decoding.of(params.data.decoding)
    return {
        name: extract_features(
            f"models/backbones/{name}.onnx", images, open_cache(params.cache.max_megabytes), show_progress, decoding
        ).vectors
        for name in params.backbones
    }  # fmt: skip


def prepare(name: str, images: pd.DataFrame, params: Params) -> tuple[Recipe, np.ndarray]:
    """Return how a network is trained, and what its training needs of every image."""
    recipe = make_recipe(name, params.cnn, params.fine_tuning, params.features.weights)
    pixels = show_progress(iterate_pixels(images, Decoding.of(params.data.decoding)), len(images), "loading")
    pictures = np.stack([resize(image, recipe.image_size) for image in pixels])
    return recipe, recipe.prepare(pictures, lambda items, total: show_progress(items, total, name))


def train_voters(
    rows: pd.DataFrame,
    vectors: dict[str, np.ndarray],
    prepared: dict[str, tuple[Recipe, np.ndarray]],
    params: Params,
    seed: int,
) -> dict[str, np.ndarray]:
    """Return every voter's P(defective) of all images: out-of-fold for the training part, plain for the test part."""
    order, known = rows.index.to_numpy(), (rows["split"] == TRAIN).to_numpy()
    labels, weights, folds = (rows[column].to_numpy() for column in ("label", "weight", "fold"))
    scores = {}
    for name, (recipe, of_images) in prepared.items():
        settings = repr([name, params.cnn, params.fine_tuning if name != "baseline_cnn" else None])
        print(f"seed {seed}: {name}", flush=True)
        scores[name] = network_scores(
            settings, rows["sha256"].tolist(), known, labels, weights, folds % params.cnn.parts, seed,
            recipe=recipe, prepared=of_images, order=order,
        )  # fmt: skip
    for backbone, of_backbone in vectors.items():
        for name in params.classifiers:
            print(f"seed {seed}: {backbone}_{name}", flush=True)
            grid = params.search[name]
            scores[f"{backbone}_{name}"] = shallow_scores(
                name, grid, of_backbone[order], known, labels, weights, folds, seed
            )
    return scores


@MEMORY.cache
def shallow_scores(
    name: str, grid: dict, features: np.ndarray, known: np.ndarray, labels: np.ndarray, weights: np.ndarray,
    folds: np.ndarray, seed: int,
) -> np.ndarray:  # fmt: skip
    """Return P(defective) of one shallow voter."""
    trained = train_shallow(name, grid, features[known], labels[known], weights[known], folds[known], seed)
    proba = np.empty(len(labels))
    proba[known] = trained.out_of_fold
    scaled = trained.scaler.transform(features[~known])
    proba[~known] = trained.classifier.predict_proba(scaled)[:, DEFECTIVE]
    return proba


@MEMORY.cache(ignore=["recipe", "prepared", "order"])
def network_scores(
    settings: str, fingerprints: list[str], known: np.ndarray, labels: np.ndarray, weights: np.ndarray,
    parts: np.ndarray, seed: int, recipe: Recipe, prepared: np.ndarray, order: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Return P(defective) of one network; ``settings`` and ``fingerprints`` stand for what is left out of the key."""
    train = LabelledImages(prepared, labels[known], weights[known], order[known])
    trained = train_across_parts(recipe, train, parts[known], seed)
    proba = np.empty(len(labels))
    proba[known] = trained.out_of_fold
    proba[~known] = average_proba(recipe, trained.network, prepared, order[~known])
    return proba


def train_detectors(rows: pd.DataFrame, maps: dict[str, PatchMaps], params: Params, seed: int) -> dict[str, np.ndarray]:
    """Return P(defective) of all images by the detector of every backbone, as `train_voters` does of other voters."""
    order, known = rows.index.to_numpy(), (rows["split"] == TRAIN).to_numpy()
    parts, scores = TrainingParts.of(rows[known]), {}
    for backbone, of_backbone in maps.items():
        name = f"{backbone}_patch_memory"
        print(f"seed {seed}: {name}", flush=True)
        seen = [of_backbone.network_sha256, *rows["pixels_sha256"]]
        scores[name] = patch_memory_scores(
            seen, params.patch_memory, known, parts, seed, maps=of_backbone, order=order, name=name
        )
    return scores


@MEMORY.cache(ignore=["maps", "order", "name"])
def patch_memory_scores(
    seen: list[str], settings: PatchParams, known: np.ndarray, parts: TrainingParts, seed: int, maps: PatchMaps,
    order: np.ndarray, name: str,
) -> np.ndarray:  # fmt: skip
    """Return P(defective) by one detector; ``seen``, of network and pixels, stands for what is left out of the key."""
    of_train, of_test = order[known], order[~known]
    trained = train_patch_detector(
        lambda positions: show_progress(maps.whole(of_train[positions]), len(positions), name),
        lambda positions: map(TiledMaps.of_whole, maps.planted(of_train[positions], seed)),
        parts, settings.components, settings.patches, seed,
    )  # fmt: skip
    proba = np.empty(len(order))
    proba[known] = trained.out_of_fold
    batches = np.array_split(of_test, -(-len(of_test) // AT_ONCE))
    looks = (trained.detector.look(maps[some]).proba for some in show_progress(batches, len(batches), f"{name}, test"))
    # Clipped as the inspector does it.
    proba[~known] = np.clip(np.concatenate(list(looks)), 0, 1)
    return proba


def compare(
    rows: pd.DataFrame, voter_proba: dict[str, np.ndarray], of_detectors: dict[str, np.ndarray], params: Params
) -> pd.DataFrame:
    """Return the scores on the test part as `score` does; where there are detectors, of both ensembles."""
    without = score(rows, voter_proba, params)
    if not of_detectors:
        return without
    everyone = score(rows, voter_proba | of_detectors, params, of_detectors)
    names = {f"{ENSEMBLE}{end}": f"{WITH_DETECTORS}{end}" for end in ("", MAJORITY)}
    return pd.concat([everyone.loc[list(names)].rename(names), without, everyone.loc[list(of_detectors)]])


def paired_differences(lines: pd.DataFrame) -> pd.DataFrame:
    """Return, for every test part, what the ensemble with detectors scores above the one without."""
    columns = lines.columns.drop("protocol")
    differences = []
    for end in ("", MAJORITY):
        # Of both there is one row per test part, in the same order.
        more, other = lines.loc[[f"{WITH_DETECTORS}{end}"]], lines.loc[[f"{ENSEMBLE}{end}"]]
        difference = more[columns] - other[columns].to_numpy()
        differences.append(difference.assign(protocol=more["protocol"]))
    return pd.concat(differences)


def score(
    rows: pd.DataFrame, voter_proba: dict[str, np.ndarray], params: Params, detectors: Collection[str] = ()
) -> pd.DataFrame:
    """Fit the rules on the training part; return the scores on the test part, of every voter and the ensemble."""
    train, test = ((rows["split"] == part).to_numpy() for part in (TRAIN, TEST))
    proba = np.column_stack(list(voter_proba.values()))
    is_detector = np.isin(list(voter_proba), list(detectors))
    rules = fit_rules(proba[train], rows[train], params.ensemble, params.decision, is_detector).rules
    together = rules.combination.defect_proba(proba)
    majority_fails = majority(proba, replace(rules, voting="hard")) != GOOD
    verdicts = {
        ENSEMBLE: (together, together >= rules.threshold),
        f"{ENSEMBLE}{MAJORITY}": (together, majority_fails),
        **{name: (of_voter, of_voter >= rules.threshold) for name, of_voter in voter_proba.items()},
    }
    parts = {
        "all": test,
        "certain": test & rows["defect_probability"].isin(CERTAIN).to_numpy(),
        **{name: test & (rows["stratum"] == name).to_numpy() for name in sorted(set(rows["stratum"])) if name},
    }
    is_defect, lines = rows["label"].to_numpy() == DEFECTIVE, {}
    for model, (of_model, fails) in verdicts.items():
        line = {f"accuracy, {name}": np.mean((fails == is_defect)[part]) for name, part in parts.items()}
        line["AUC"] = roc_auc_score(is_defect[test], of_model[test])
        line["escape rate"] = np.mean(~fails[test & is_defect])
        line["overkill rate"] = np.mean(fails[test & ~is_defect])
        line["ECE"] = expected_calibration_error(is_defect[test], of_model[test])
        lines[model] = line
    return pd.DataFrame(lines).T.rename(columns={"accuracy, all": "accuracy"})


def print_table(lines: pd.DataFrame, spread: str = "std", form: str = ".2f") -> None:
    """Print mean and spread, a standard deviation or error (``sem``), over the test parts as Markdown."""
    columns = [column for column in lines if column != "protocol"]
    for protocol, of_protocol in lines.groupby("protocol"):
        by_model = of_protocol[columns].groupby(level=0, sort=False)
        mean, around = by_model.mean(), by_model.agg(spread)
        print(f"\nprotocol ({protocol}), {len(of_protocol) // len(mean)} test parts\n")
        print("| model |", " | ".join(columns), "|")
        print("|---" * (len(columns) + 1) + "|")
        for model in mean.index:
            cells = [f"{100 * mean.loc[model, c]:{form}} ± {100 * around.loc[model, c]:.2f}" for c in columns]
            print(f"| {model} |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
