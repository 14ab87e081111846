"""The manifest: one row per image with its label, split, fold and fingerprint. Images are indexed, never copied."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedKFold, train_test_split

from inspection.config import DataParams
from inspection.errors import DataError, ImageError
from inspection.files import replacing, sha256_bytes
from inspection.images import decode, read_file
from inspection.labels import CLASS_NAMES, DEFECTIVE, NON_DEFECTIVE

TRAIN, TEST = "train", "test"
MIN_TEST_IMAGES = 2
"""Of each class: with fewer the AUC has no interval."""
NO_FOLD = -1
"""Fold of test images."""
COLUMNS = {
    "path": "str",
    "sha256": "str",
    "label": "int64",
    "defect_probability": "float64",
    "weight": "float64",
    "split": "str",
    "fold": "int64",
    "group": "str",
    "stratum": "str",
    "width": "int64",
    "height": "int64",
    "mode": "str",
}


@dataclass(frozen=True)
class IndexedImages:
    """What reading every file of a source gave.

    Attributes
    ----------
    readable : DataFrame
        The records of `inspection.sources.list_images` plus ``sha256``, ``width``, ``height`` and ``mode``.
    unreadable : tuple of str
        One message per image left out, each naming its file.
    """

    readable: pd.DataFrame
    unreadable: tuple[str, ...]


def index_images(records: pd.DataFrame, progress=iter) -> IndexedImages:
    """Decode every listed image once, to know that it can be read and what it is.

    Parameters
    ----------
    records : DataFrame
        From `inspection.sources.list_images`.
    progress : callable, optional
        Wraps the iterable of paths, for example ``tqdm``.
    """
    facts, unreadable = [], []
    for path in progress(records["path"]):
        try:
            data = read_file(path)
            image = decode(data, path)
        except ImageError as problem:
            unreadable.append(str(problem))
            facts.append((None, 0, 0, None))
            continue
        height, width = image.pixels.shape[:2]
        facts.append((sha256_bytes(data), width, height, image.mode))
    facts = pd.DataFrame(facts, columns=["sha256", "width", "height", "mode"], index=records.index)
    indexed = pd.concat([records, facts], axis=1)
    return IndexedImages(indexed[indexed["sha256"].notna()].reset_index(drop=True), tuple(unreadable))


def check_unreadable(indexed: IndexedImages, max_share: float) -> None:
    """Stop when more images are unreadable than a few bad files explain.

    Raises
    ------
    DataError
        If the unreadable share exceeds ``max_share``.
    """
    n_images = len(indexed.readable) + len(indexed.unreadable)
    if len(indexed.unreadable) / max(n_images, 1) > max_share:
        raise DataError(
            f"{len(indexed.unreadable)} of {n_images} images cannot be read, more than data.max_unreadable_share = "
            f"{max_share}. The first: {indexed.unreadable[0]} Mend the files or raise the share."
        )


def label_images(readable: pd.DataFrame, params: DataParams) -> pd.DataFrame:
    """Label, weigh and group the images.

    A part is defective when its defect probability is ``>= params.defect_threshold``; probabilities strictly between
    0 and 1 carry the weight ``params.uncertain_weight``. Files with the same bytes form one group.

    Parameters
    ----------
    readable : DataFrame
        From `index_images`.
    params : DataParams

    Returns
    -------
    DataFrame
        ``readable`` sorted by path, with ``label``, ``weight`` and ``group``.
    """
    labelled = readable.sort_values("path", ignore_index=True)
    probability = labelled["defect_probability"]
    labelled["label"] = np.where(probability >= params.defect_threshold, DEFECTIVE, NON_DEFECTIVE)
    labelled["weight"] = np.where(probability.between(0, 1, inclusive="neither"), params.uncertain_weight, 1.0)
    labelled["group"] = labelled["sha256"].str[:16]
    return labelled


def leave_out_copies(labelled: pd.DataFrame) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Leave out copies that would make a score dishonest.

    These are files with the same bytes under both labels (nobody can know which is right), and training images that
    stand in the supplied test part as well.

    Parameters
    ----------
    labelled : DataFrame
        From `label_images`.

    Returns
    -------
    kept : DataFrame
    messages : tuple of str
        One per image left out.
    """
    groups = labelled.groupby("group")
    conflict = groups["label"].transform("nunique") > 1
    leak = ~conflict & (groups["split"].transform("nunique") > 1) & (labelled["split"] == TRAIN)
    messages = [f"{path}: the same file carries both labels" for path in labelled.loc[conflict, "path"]]
    messages += [f"{path}: the same file is a test image" for path in labelled.loc[leak, "path"]]
    return labelled[~(conflict | leak)].reset_index(drop=True), tuple(messages)


def build_manifest(labelled: pd.DataFrame, params: DataParams, seed: int) -> pd.DataFrame:
    """Split the images into training and test part, and the training part into folds.

    No group straddles a split or a fold; both are stratified by defect probability and stratum. A split that the
    source brings is kept.

    Parameters
    ----------
    labelled : DataFrame
        From `leave_out_copies`.
    params : DataParams
    seed : int

    Returns
    -------
    DataFrame
        The columns of ``COLUMNS``, sorted by path.

    Raises
    ------
    DataError
        If a class has too few images to be split.
    """
    manifest = labelled.copy()
    if (manifest["split"] == "").all():
        manifest["split"] = _draw_split(manifest, params.test_share, seed)
    _check_test_part(manifest, params.test_share)
    train = manifest["split"] == TRAIN
    manifest["fold"] = NO_FOLD
    manifest.loc[train, "fold"] = _draw_folds(manifest[train], params.folds, seed)
    return manifest[list(COLUMNS)].astype(COLUMNS)


def write_manifest(path: str | Path, manifest: pd.DataFrame) -> None:
    """Write a manifest as UTF-8 CSV, in one step."""
    with replacing(path) as temporary:
        manifest.to_csv(temporary, index=False, lineterminator="\n")


def read_manifest(path: str | Path) -> pd.DataFrame:
    """Read the manifest written by `write_manifest`.

    Raises
    ------
    DataError
        If it is missing or has other columns.
    """
    try:
        manifest = pd.read_csv(path, keep_default_na=False, dtype=COLUMNS)
    except FileNotFoundError as problem:
        raise DataError(f"{path} is missing; run `dvc repro prepare`.") from problem
    except (ValueError, pd.errors.ParserError) as problem:
        raise DataError(f"{path} is not a manifest ({problem}); run `dvc repro prepare`.") from problem
    if list(manifest) != list(COLUMNS):
        raise DataError(f"{path} has other columns than this version writes; run `dvc repro prepare`.")
    return manifest


def read_training_rows(path: str | Path) -> pd.DataFrame:
    """Read the rows of the training part, in the order in which every feature file and score file keeps them."""
    manifest = read_manifest(path)
    return manifest[manifest["split"] == TRAIN].reset_index(drop=True)


def iterate_pixels(rows: pd.DataFrame) -> Iterator[np.ndarray]:
    """Yield each row's image, after checking that the file is the one that was indexed.

    Parameters
    ----------
    rows : DataFrame
        Rows of a manifest.

    Yields
    ------
    ndarray of uint8, shape (height, width, 3)

    Raises
    ------
    DataError
        If a file changed since ``prepare`` ran.
    """
    for path, fingerprint in zip(rows["path"], rows["sha256"], strict=True):
        data = read_file(path)
        if sha256_bytes(data) != fingerprint:
            raise DataError(f"{path} changed since the manifest was written; run `dvc repro`.")
        yield decode(data, path).pixels


def _draw_split(manifest: pd.DataFrame, test_share: float, seed: int) -> pd.Series:
    heads = manifest.drop_duplicates("group")
    strata = _strata(heads, 2)
    n_smallest_part = len(heads) * min(test_share, 1 - test_share)
    if strata.nunique() > n_smallest_part:
        # scikit-learn wants an image of every stratum in both parts.
        strata = heads["label"]
    if n_smallest_part < len(CLASS_NAMES):
        raise DataError(f"data.test_share = {test_share} of {len(heads)} images is too few to split; add images.")
    train_groups, test_groups = train_test_split(
        heads["group"], test_size=test_share, random_state=seed, stratify=strata
    )
    return manifest["group"].map({**dict.fromkeys(train_groups, TRAIN), **dict.fromkeys(test_groups, TEST)})


def _check_test_part(manifest: pd.DataFrame, test_share: float) -> None:
    for label, name in enumerate(CLASS_NAMES):
        n_images = int(((manifest["split"] == TEST) & (manifest["label"] == label)).sum())
        if n_images < MIN_TEST_IMAGES:
            raise DataError(
                f"The test part has {n_images} {name} images; at least {MIN_TEST_IMAGES} are needed to say anything. "
                f"Add images, or raise data.test_share (now {test_share}) when the source brings no split."
            )


def _draw_folds(train: pd.DataFrame, n_folds: int, seed: int) -> pd.Series:
    heads = train.drop_duplicates("group").reset_index(drop=True)
    folder = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    fold_of = {}
    for fold, (_, held_out) in enumerate(folder.split(heads, _strata(heads, n_folds))):
        fold_of.update(dict.fromkeys(heads["group"].iloc[held_out], fold))
    return train["group"].map(fold_of)


def _strata(heads: pd.DataFrame, smallest: int) -> pd.Series:
    """Label, probability and stratum as one string; those too rare to be divided fall back to the label alone."""
    by_label = heads["label"].map(lambda label: CLASS_NAMES[label])
    for label, name in enumerate(CLASS_NAMES):
        n_images = int((heads["label"] == label).sum())
        if n_images < smallest:
            raise DataError(
                f"{n_images} different {name} images; at least {smallest} are needed to divide them. Add images, or "
                "lower data.folds when it asks for more."
            )
    fine = by_label + "|" + heads["defect_probability"].map("{:.3f}".format) + "|" + heads["stratum"]
    rare = fine.map(fine.value_counts()) < smallest
    strata = fine.where(~rare, by_label)
    # The fallback pool itself may hold a single rare image: then the label alone is all that can be balanced.
    return strata if strata.value_counts().min() >= smallest else by_label
