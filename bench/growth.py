"""What do splits by hash cost and give? Shares and strata, and what moves when photographs come and go.

Needs labels and files only, no model::

    python -m bench.growth

Compared with a stratified draw (scikit-learn's StratifiedGroupKFold in 20 parts), over seeds, on two ways to group the
photographs: each its own, and blocks of consecutive file numbers. The columns are the largest deviation, in points of
percent, of the test part's share of the images: of each class, and of each class with one probability and of one
variant (strata); and the largest deviation of a fold's size from an equal one. Moved are photographs that were there
before and after: those that left the test part, and those in another part or fold.
"""

import argparse
from collections.abc import Callable

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from inspection.config import DataParams, load_params
from inspection.data.groups import join_groups
from inspection.data.images import read_file
from inspection.data.ledger import UNDRAWN, LedgerEntry
from inspection.data.manifest import label_of
from inspection.data.sources import group_by_name, list_images
from inspection.data.splits import NO_FOLD, divide
from inspection.files import sha256_bytes
from inspection.labels import TEST, TRAIN

Divide = Callable[[pd.DataFrame, DataParams, int, LedgerEntry], tuple[pd.DataFrame, LedgerEntry]]
N_PARTS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--block", type=int, default=60, help="consecutive file numbers of one group")
    arguments = parser.parse_args()
    params = load_params().data
    images = read_images(params)
    blocks = group_by_name(images, params.source, r"(\d+)\D*$", arguments.block)
    ways: dict[str, Divide] = {"stratified": draw_stratified, "hash, first salt": by_first_salt, "hash": by_hash}
    for name, stated in (("each its own", images), (f"blocks of {arguments.block}", blocks)):
        grouped = stated.assign(group=join_groups(stated, "together"))
        print(f"\n{name}: {len(grouped)} images in {grouped['group'].nunique()} groups, {arguments.seeds} seeds\n")
        lines = [
            {"way": way, **deviations(draw(grouped, params, seed, UNDRAWN)[0], params)}
            for way, draw in ways.items()
            for seed in range(arguments.seeds)
        ]
        table = pd.DataFrame(lines).groupby("way", sort=False)
        print(table.mean().round(2).join(table.max().round(2).add_suffix(" at most")).to_string())
    each = images.assign(group=join_groups(images, "together"))
    print(f"\nWhat moves, of {len(each)} images, each its own group\n")
    lines = [line for seed in range(arguments.seeds) for line in movements(each, params, seed, ways)]
    print(pd.DataFrame(lines).groupby(["change", "way"], sort=False).mean().round(1).to_string())


def read_images(params: DataParams) -> pd.DataFrame:
    """Return what `divide` needs of the images of the source; pixels are taken for equal when files are."""
    images = list_images(params.source, params.layout, params.classes)
    own = np.arange(len(images))
    sha256 = [sha256_bytes(read_file(path)) for path in images["path"]]
    labels = label_of(images["defect_probability"], params.defect_threshold)
    return images.assign(split="", photograph=own, series=own, sha256=sha256, pixels_sha256=sha256, label=labels)


def by_hash(
    images: pd.DataFrame, params: DataParams, seed: int, entry: LedgerEntry
) -> tuple[pd.DataFrame, LedgerEntry]:
    """Divide as the pipeline does."""
    division = divide(images, params, seed, entry)
    return division.images, division.entry


def by_first_salt(
    images: pd.DataFrame, params: DataParams, seed: int, entry: LedgerEntry
) -> tuple[pd.DataFrame, LedgerEntry]:
    """Divide by hash without choosing among draws."""
    return by_hash(images, params, seed, entry.model_copy(update={"split_salt": 0, "fold_salts": {params.folds: 0}}))


def draw_stratified(
    images: pd.DataFrame, params: DataParams, seed: int, entry: LedgerEntry
) -> tuple[pd.DataFrame, LedgerEntry]:
    """Divide by StratifiedGroupKFold."""
    n_test = round(params.test_share * N_PARTS)
    test = deal(images, N_PARTS, seed) < n_test
    folds = np.full(len(images), NO_FOLD)
    folds[~test] = deal(images[~test], params.folds, seed)
    return images.assign(split=np.where(test, TEST, TRAIN), fold=folds), entry


def deal(images: pd.DataFrame, n_parts: int, seed: int) -> np.ndarray:
    """Return the part of each image, in [0, n_parts)."""
    strata = images["defect_probability"].map("{:.3f}".format) + "|" + images["stratum"]
    parts = np.empty(len(images), int)
    folder = StratifiedGroupKFold(n_parts, shuffle=True, random_state=seed)
    for part, (_, members) in enumerate(folder.split(images, strata, images["group"])):
        parts[members] = part
    return parts


def deviations(images: pd.DataFrame, params: DataParams) -> dict[str, float]:
    """Return the largest deviations from the ideal, in points of percent."""
    is_test = images["split"] == TEST

    def largest(columns: list[str]) -> float:
        return float((is_test.groupby([images[column] for column in columns]).mean() - params.test_share).abs().max())

    sizes = images.loc[~is_test, "fold"].value_counts(normalize=True)
    deviations = {
        "classes": largest(["label"]),
        "probabilities": largest(["label", "defect_probability"]),
        "variants": largest(["label", "stratum"]),
        "folds": float((sizes - 1 / params.folds).abs().max()),
    }
    return {name: 100 * value for name, value in deviations.items()}


def movements(images: pd.DataFrame, params: DataParams, seed: int, ways: dict[str, Divide]) -> list[dict]:
    """Return what moves when photographs come (the last ones) and go (the first ones)."""
    n_images, twentieth = len(images), len(images) // 20
    changes = {
        "10 more": (images[:-10], images),
        "1 fewer": (images, images[1:]),
        "5 % more": (images[:-twentieth], images),
        "5 % fewer": (images, images[twentieth:]),
        "other order": (images, images.sample(n_images, random_state=seed)),
    }
    lines = []
    for change, (before, after) in changes.items():
        for way, draw in ways.items():
            old, entry = draw(before, params, seed, UNDRAWN)
            new, _ = draw(after, params, seed, entry)
            both = old[["path", "split", "fold"]].merge(
                new[["path", "split", "fold"]], on="path", suffixes=("_before", "")
            )
            was_test = both["split_before"] == TEST
            lines.append(
                {
                    "change": change,
                    "way": way,
                    "test before": was_test.sum(),
                    "left the test part": (was_test & (both["split"] == TRAIN)).sum(),
                    "other part": (both["split"] != both["split_before"]).sum(),
                    "other part or fold": (both["fold"] != both["fold_before"]).sum(),
                }
            )
    return lines


if __name__ == "__main__":
    main()
