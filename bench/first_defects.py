"""From the first defect to many: what does each labelled defect bring, to detectors, to classifiers, and to both?

Run with ``detectors: [patch_memory]`` in params.yaml, after ``dvc repro export-backbone``::

    python -m bench.first_defects --seeds 5 --picture docs/first-defects.png

All good training photographs are there from the start; of the defects of the training part only so many are known, a
group at a time (copies and series are one defect), spread evenly over the folds. The test part stays as it is. Voters
are trained, and rules fitted, as the pipeline does it; a voter that so few defects cannot train abstains. A source
whose training part is good throughout (the layout of MVTec AD) keeps it, and its good test photographs; half of the
groups of its defects are tested, the others are there to be labelled. With ``--redraw``, or ``data.supplied_split:
redraw``, its split counts for nothing, and defects and good parts of its test part come into training by group. ::

    python -m bench.first_defects --source path/to/screws --redraw --numbers 0 1 5 20 --seeds 3

Photographs are seen whole: where the pipeline would cut them into tiles, a line says so. Networks, slow to train, are
left out unless ``--networks`` names some. Scores are kept in .cache/protocols, as those of `bench.protocols` are.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.special import expit
from sklearn.metrics import roc_auc_score

from bench.patch_maps import AT_ONCE, PatchMaps, check_patch_maps
from bench.protocols import MEMORY, add_voter_arguments, choose_voters, prepare, read_vectors, train_voters
from inspection.audit.findings import audit_images
from inspection.audit.indexing import index_images
from inspection.config import DataParams, Params, PatchParams, load_params
from inspection.data.groups import join_groups
from inspection.data.images import Decoding
from inspection.data.manifest import label_of, weigh_images
from inspection.data.sources import group_by_name, list_images
from inspection.data.splits import divide
from inspection.data.tile_plan import plan_tiles
from inspection.decision.combination import mean_log_odds
from inspection.decision.rule_fitting import fit_rules
from inspection.errors import DataError
from inspection.labels import DEFECTIVE, NON_DEFECTIVE, TEST, TRAIN
from inspection.reports.pictures.canvas import GREY, LINE, WIDTH, save_figure, strip_frame
from inspection.voters.detector_training import (
    N_ENOUGH_DEFECTS,
    TOP_SHARES,
    TrainingParts,
    calibrate_detector,
    choose_planted,
    top_means,
    train_patch_detector,
)
from inspection.voters.patch_memory import PatchMemory
from stages.running import open_cache, progress_of

NUMBERS = (0, 1, 3, 10, 20, 40, 80)
"""Labelled defects, beside all."""
PUBLISHED = {
    "elpv": "Published for ELPV, other test parts: DRA (Ding et al., CVPR 2022) 82.1 with 10 defects, 62.6 with 1"
}
WAYS = ("detectors", "supervised", "plain mean", "ensemble")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", help="instead of data.source")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--numbers", nargs="+", type=int, default=NUMBERS, help="of labelled defects, beside all")
    parser.add_argument("--redraw", action="store_true", help="a split that the source supplies counts for nothing")
    parser.add_argument("--picture", type=Path, help="PNG to draw the curve into")
    add_voter_arguments(parser)
    arguments = parser.parse_args()
    params = choose_params(arguments)
    images = read_images(params)
    tell_of_tiles(images, params)
    if arguments.redraw or params.data.supplied_split == "redraw":
        images = images.assign(split="")
    prepared = {name: prepare(name, images, params) for name in params.networks}
    vectors, lines = read_vectors(images, params), []
    with tempfile.TemporaryDirectory() as folder:
        maps = {name: PatchMaps(name, images, params, Path(folder)) for name in params.backbones}
        for seed in range(arguments.seeds):
            rows = draw_division(images, params.data, seed)
            started = perf_counter()
            distances = {name: detector_scores(rows, maps[name], params, seed) for name in params.backbones}
            print(f"seed {seed}: memories in {perf_counter() - started:.1f} s", flush=True)
            for step, known in enumerate(label_defects(rows, arguments.numbers, seed)):
                started = perf_counter()
                voters = vote(rows, known, distances, vectors, prepared, params, seed)
                lines.append({"step": step, **score(rows[known], voters, params)})
                point = {name: round(value, 4) for name, value in lines[-1].items()}
                print(f"{point} in {perf_counter() - started:.1f} s", flush=True)
    table = summarise(pd.DataFrame(lines))
    print_table(table)
    print(f"\n{PUBLISHED.get(Path(params.data.source).name, '')}")
    if arguments.picture:
        plot(arguments.picture, table)


def choose_params(arguments: argparse.Namespace) -> Params:
    """Return the params with source and voters of the command line, without networks unless it names them."""
    params = load_params()
    check_patch_maps(params)
    if arguments.networks is None:
        arguments.networks = ["none"]
    if arguments.source:
        data = params.data.model_copy(update={"source": arguments.source, "layout": "auto"})
        params = params.model_copy(update={"data": data})
    return choose_voters(params, arguments)


def read_images(params: Params) -> pd.DataFrame:
    """Return all images of the source as rows to be divided, with the groups that the audit finds."""
    data, decoding, cache = params.data, Decoding.of(params.data.decoding), open_cache(params.cache.max_megabytes)
    listed = list_images(data.source, data.layout, data.classes)
    records = group_by_name(listed, data.source, data.group_pattern, data.group_block)
    indexed = index_images(records, decoding, progress_of, cache)
    labels = label_of(indexed.readable["defect_probability"], data.defect_threshold)
    images = audit_images(indexed, labels, progress_of, cache).images.reset_index(drop=True)
    return images.assign(group=join_groups(images, data.series), weight=weigh_images(images, data))


def tell_of_tiles(images: pd.DataFrame, params: Params) -> None:
    """Say where the pipeline would see tiles, by the sizes of all images, and the voters here do not."""
    plan = plan_tiles(images.assign(split=TRAIN), params.features.tiles, params.features.image_size)
    if plan.side:
        print(f"NOTICE: photographs are squeezed here; the pipeline sees tiles of {plan.side} pixels (features.tiles).")


def draw_division(images: pd.DataFrame, params: DataParams, seed: int) -> pd.DataFrame:
    """Divide into training part with its folds, and test part; where the source trains on good parts only, its defects.

    Parameters
    ----------
    images : DataFrame
        From `read_images`.
    params : DataParams
    seed : int

    Returns
    -------
    DataFrame
        With ``split`` and ``fold``, and the index of ``images``.
    """
    split = np.full(len(images), "", dtype=object)
    if set(images.loc[images["split"] == TRAIN, "label"]) == {NON_DEFECTIVE}:
        split = images["split"].to_numpy(dtype=object)
        groups = images.groupby("group")["label"].transform("min")
        all_defective = np.unique(images.loc[groups == DEFECTIVE, "group"])
        chosen = np.random.default_rng(seed).permutation(all_defective)[: len(all_defective) // 2]
        split[images["group"].isin(chosen)] = TRAIN
    return divide(images.assign(split=split), params.model_copy(update={"leaks": "drop"}), seed).images


def label_defects(rows: pd.DataFrame, numbers: list[int], seed: int) -> Iterator[np.ndarray]:
    """Yield which rows are known, as ever more groups of training defects are labelled; at last all are.

    Parameters
    ----------
    rows : DataFrame
        From `draw_division`.
    numbers : list of int
    seed : int

    Yields
    ------
    ndarray of bool, shape (n_rows,)
    """
    is_unlabelled = ((rows["split"] == TRAIN) & (rows["label"] == DEFECTIVE)).to_numpy()
    defects = rows[is_unlabelled].drop_duplicates("group")[["group", "fold"]].sample(frac=1, random_state=seed)
    # The first of every fold, then the second of every fold: as draws that are chosen to be even.
    ordered = defects.assign(turn=defects.groupby("fold").cumcount()).sort_values("turn", kind="stable")["group"]
    for number in sorted({min(number, len(ordered)) for number in (*numbers, len(ordered))}):
        yield ~is_unlabelled | rows["group"].isin(ordered[:number]).to_numpy()


class DetectorScores(NamedTuple):
    """What a detector measures of all photographs; no labelled defect has a say in it.

    Attributes
    ----------
    own : ndarray of float, shape (n_rows, n_folds, n_shares)
        `top_means` by the memory of each fold; of a training row by that of its own fold alone, again and again.
    planted : ndarray of float, shape (n_planted, n_shares)
        The same of good training photographs with a planted defect.
    """

    own: np.ndarray
    planted: np.ndarray


def detector_scores(rows: pd.DataFrame, maps: PatchMaps, params: Params, seed: int) -> DetectorScores:
    """Measure all photographs by memories of good training parts.

    Parameters
    ----------
    rows : DataFrame
        From `draw_division`.
    maps : PatchMaps
    params : Params
    seed : int

    Returns
    -------
    DetectorScores
    """
    columns = rows["label"].to_numpy(), rows["weight"].to_numpy(), rows["fold"].to_numpy()
    key = [maps.network_sha256, *rows["pixels_sha256"]]
    return _scores_by_memories(key, params.patch_memory, *columns, seed, maps, rows.index.to_numpy())


@MEMORY.cache(ignore=["maps", "order"])
def _scores_by_memories(
    fingerprints: list[str], settings: PatchParams, labels: np.ndarray, weights: np.ndarray, folds: np.ndarray,
    seed: int, maps: PatchMaps, order: np.ndarray,
) -> DetectorScores:  # fmt: skip
    train = np.flatnonzero(folds >= 0)
    memories = train_patch_detector(
        lambda positions: maps.whole(order[train[positions]]),
        # Enough defects for a calibration that nobody reads.
        lambda positions: iter(()),
        TrainingParts(labels[train], weights[train], folds[train], N_ENOUGH_DEFECTS),
        settings.components, settings.patches, seed,
    ).detector.memories  # fmt: skip
    scores = np.empty((len(labels), len(memories), len(TOP_SHARES)))
    for fold, memory in enumerate(memories):
        judged = np.flatnonzero((folds == fold) | (folds < 0))
        for some in np.array_split(judged, -(-len(judged) // AT_ONCE)):
            of_some = _top_means(memory, maps[order[some]])
            is_train = folds[some] >= 0
            scores[some[is_train]] = of_some[is_train, np.newaxis]
            scores[some[~is_train], fold] = of_some[~is_train]
    planted = choose_planted(train[labels[train] == NON_DEFECTIVE], seed)
    pairs = zip(planted, maps.planted(order[planted], seed), strict=True)
    of_planted = [_top_means(memories[folds[row]], patch_map[np.newaxis])[0] for row, patch_map in pairs]
    return DetectorScores(scores, np.array(of_planted))


def _top_means(memory: PatchMemory, patch_maps: np.ndarray) -> np.ndarray:
    return top_means(memory.distances(patch_maps), patch_maps[0, ..., 0].size)


def vote(
    all_rows: pd.DataFrame, known: np.ndarray, distances: dict[str, DetectorScores], vectors: dict[str, np.ndarray],
    prepared: dict, params: Params, seed: int,
) -> dict[str, dict[str, np.ndarray]]:  # fmt: skip
    """Return what the voters say that can: P(defective) out of fold of training rows, plain of test rows, by kind."""
    rows = all_rows[known]
    detectors = {f"{name}_patch_memory": detector_proba(of, rows, known) for name, of in distances.items()}
    try:
        supervised = train_voters(rows, vectors, prepared, params, seed)
    except DataError:
        supervised = {}
    return {"detectors": detectors, "supervised": supervised}


def detector_proba(scores: DetectorScores, rows: pd.DataFrame, known: np.ndarray) -> np.ndarray:
    """Return P(defective) by a detector, calibrated on the defects that are known and, while few are, on planted ones.

    Parameters
    ----------
    scores : DetectorScores
    rows : DataFrame
        Those that are known.
    known : ndarray of bool, shape (n_all_rows,)

    Returns
    -------
    ndarray of float, shape (n_rows,), in [0, 1]
    """
    own, train = scores.own[known], (rows["split"] == TRAIN).to_numpy()
    found = calibrate_detector(own[train, 0], scores.planted, TrainingParts.of(rows[train]))
    place = TOP_SHARES.index(found.top_share)
    return np.asarray(expit(found.slope * own[..., place] + found.intercept).mean(axis=1))


def score(rows: pd.DataFrame, voters: dict[str, dict[str, np.ndarray]], params: Params) -> dict[str, float]:
    """Return the number of labelled defects, and the AUC on the test part of every way to judge and every voter."""
    train, test = ((rows["split"] == part).to_numpy() for part in (TRAIN, TEST))
    is_defect = rows["label"].to_numpy() == DEFECTIVE
    everyone = voters["detectors"] | voters["supervised"]
    judged = dict(everyone)
    for way, members, is_fitted in (
        ("detectors", voters["detectors"], False),
        ("supervised", voters["supervised"], True),
        ("plain mean", everyone, False),
        ("ensemble", everyone, True),
    ):
        if members:
            proba = np.column_stack(list(members.values()))
            combination = mean_log_odds(len(members))
            if is_fitted and is_defect[train].any():
                is_detector = np.isin(list(members), list(voters["detectors"]))
                fitted = fit_rules(proba[train], rows[train], params.ensemble, params.decision, is_detector)
                combination = fitted.rules.combination
            judged[way] = combination.defect_proba(proba)
    areas = {name: roc_auc_score(is_defect[test], proba[test]) for name, proba in judged.items()}
    n_defects = rows.loc[train & is_defect, "group"].nunique()
    return {"n_defects": n_defects, **areas}


def summarise(lines: pd.DataFrame) -> pd.DataFrame:
    """Return one row per number of labelled defects: means over the splits in %, and differences with standard errors.

    ``best voter`` is the one that is best on average over the splits; the ensemble is compared with it, and with the
    better of the detectors and the supervised voters.
    """
    table = []
    for _, of_step in lines.groupby("step"):
        n_defects, of_step = of_step["n_defects"].mean(), 100 * of_step.drop(columns=["step", "n_defects"])
        means = of_step.mean()
        voters = means.drop(list(WAYS), errors="ignore")
        line = {"n_defects": n_defects, "best voter": voters.max(), "which": voters.idxmax()}
        line |= {way: means.get(way, np.nan) for way in WAYS}
        line |= {f"{way}_sd": of_step[way].std() if way in of_step else np.nan for way in WAYS}
        kinds = means.reindex(["detectors", "supervised"])
        for name, other in (("better kind", kinds.idxmax()), ("best voter", voters.idxmax())):
            difference = of_step["ensemble"] - of_step[other]
            line |= {f"over {name}": difference.mean(), f"over {name}_se": difference.sem()}
        table.append(line)
    return pd.DataFrame(table)


def print_table(table: pd.DataFrame) -> None:
    """Print the AUC in % as Markdown."""
    differences = ("over better kind", "over best voter")
    print(
        "\n| labelled defects |", " | ".join([*WAYS, "best voter", *(f"ensemble {name}" for name in differences)]), "|"
    )
    print("|---" * (len(WAYS) + 4) + "|")
    for line in table.to_dict("records"):
        cells = ["" if np.isnan(line[way]) else f"{line[way]:.1f} ± {line[f'{way}_sd']:.1f}" for way in WAYS]
        cells.append(f"{line['best voter']:.1f} (`{line['which']}`)")
        cells += [f"{line[name]:+.1f} ± {line[f'{name}_se']:.1f}" for name in differences]
        print(f"| {line['n_defects']:,.0f} |", " | ".join(cells), "|")


def plot(path: Path, table: pd.DataFrame) -> None:
    """Draw the AUC against the number of labelled defects, with standard deviations over the splits."""
    figure = Figure(figsize=(0.7 * WIDTH, 4.2), layout="constrained")
    axis = figure.subplots()
    for way, colour in zip(WAYS, ("#1f77b4", "#d55e00", GREY, "black"), strict=True):
        axis.errorbar(
            table["n_defects"], table[way], table[f"{way}_sd"], color=colour, marker="o", capsize=3, label=way
        )
    axis.set_xscale("symlog", linthresh=1)
    axis.set_xticks(table["n_defects"], [f"{number:,.0f}" for number in table["n_defects"]])
    axis.minorticks_off()
    axis.set(xlabel="labelled defects", ylabel="AUC in %", title="From the first defect to many")
    axis.legend(frameon=False)
    axis.grid(color=LINE, linewidth=0.8)
    strip_frame(axis)
    save_figure(path, figure)


if __name__ == "__main__":
    main()
