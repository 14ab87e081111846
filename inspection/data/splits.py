"""Training part, test part and folds that no photograph, part or series straddles."""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Literal

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import DisjointSet
from sklearn.model_selection import StratifiedGroupKFold

from inspection.config import DataParams
from inspection.data.groups import first_members
from inspection.errors import DataError
from inspection.labels import CLASS_NAMES, TEST, TRAIN

NO_FOLD = -1
"""Fold of test images."""
MIN_TEST_IMAGES = 2
"""Of each class: with fewer the AUC has no interval."""
_MAX_PARTS = 20
"""Equal parts from which the test part is put together, unless a share near 0 or 1 needs more; each costs time."""


@dataclass(frozen=True)
class Division:
    """Images divided into training and test part.

    Attributes
    ----------
    images : DataFrame
        Those that are kept, with ``split`` and ``fold``.
    left_out : DataFrame
        Columns ``path`` and ``reason``.
    origin : {"supplied", "drawn", "redrawn"}
        Whether the split is the source's own, a new one where there was none, or a new one in its place.
    notice : str
        Why a supplied split was not simply used; empty when it was, or when there was none.
    """

    images: pd.DataFrame
    left_out: pd.DataFrame
    origin: Literal["supplied", "drawn", "redrawn"]
    notice: str


def join_groups(images: pd.DataFrame, series: Literal["together", "apart"]) -> pd.Series:
    """Name the group of each image: whatever must stay on one side of every split.

    Parameters
    ----------
    images : DataFrame
        What an audit found: ``photograph``, ``series``, ``group`` (as the source states it) and
        ``sha256``.
    series : {"together", "apart"}
        Whether likely series count.

    Returns
    -------
    Series of str
        Equal within a group: the first digits of the SHA-256 of its first image.
    """
    groups = DisjointSet(range(len(images)))
    for column in ["photograph", *(["series"] if series == "together" else [])]:
        for position, first in enumerate(images[column]):
            groups.merge(position, int(first))
    stated = images["group"].reset_index(drop=True)
    for positions in stated[stated != ""].groupby(stated).groups.values():
        for position in positions[1:]:
            groups.merge(int(positions[0]), int(position))
    return pd.Series(images["sha256"].str[:16].to_numpy()[first_members(groups)], index=images.index)


def divide(images: pd.DataFrame, params: DataParams, seed: int) -> Division:
    """Divide images into training and test part, and the training part into folds.

    No group straddles a part or a fold; both are stratified by class, defect probability, variant and defect type as
    well as the groups allow. Photographs that carry both labels are left out: nobody can know which is right. A split
    that the source brings is kept, unless it leaks (``params.leaks`` decides) or its training part lacks a class.

    Parameters
    ----------
    images : DataFrame
        Columns ``path``, ``label``, ``defect_probability``, ``stratum``, ``defect_type``, ``group`` (from
        `join_groups`), ``photograph`` and ``split`` (empty where the source brings none).
    params : DataParams
    seed : int

    Raises
    ------
    DataError
        If a class has too few images or groups to be divided.
    """
    is_contradictory = images.groupby("photograph")["label"].transform("nunique") > 1
    left_out = [_leave_out(images[is_contradictory], "copies of this photograph carry both labels")]
    images = images[~is_contradictory].assign(supplied_split=images["split"])
    origin, notice = "supplied", ""
    straddles = images.groupby("group")["split"].transform("nunique") > 1
    lacking = _lacking_class(images[images["split"] == TRAIN])
    if (images["split"] == "").all():
        origin = "drawn"
    elif lacking:
        origin, notice = "redrawn", f"the supplied training part holds no {lacking} image"
    elif straddles.any() and params.leaks == "regroup":
        origin, notice = "redrawn", _describe_leaks(images[straddles])
    elif straddles.any():
        notice = _describe_leaks(images[straddles])
        if params.leaks == "drop":
            leaking = straddles & (images["split"] == TRAIN)
            left_out.append(_leave_out(images[leaking], "a test image is a copy of this photograph or in its group"))
            images = images[~leaking]
    if origin != "supplied":
        images = images.assign(split=_draw_split(images, params.test_share, seed))
    _check_test_part(images, params.test_share)
    train = images["split"] == TRAIN
    folds = pd.Series(NO_FOLD, index=images.index)
    folds[train] = _draw_folds(images[train], params.folds, seed)
    return Division(images.assign(fold=folds), pd.concat(left_out, ignore_index=True), origin, notice)


def _leave_out(images: pd.DataFrame, reason: str) -> pd.DataFrame:
    return pd.DataFrame({"path": images["path"], "reason": reason})


def _lacking_class(train: pd.DataFrame) -> str:
    return next((name for label, name in enumerate(CLASS_NAMES) if label not in set(train["label"])), "")


def _describe_leaks(straddling: pd.DataFrame) -> str:
    test = straddling[straddling["split"] == TEST]
    return (
        f"{len(test)} of its test images are copies of training images or belong to one group with them, for example "
        f"{test['path'].iloc[0]}"
    )


def _draw_split(images: pd.DataFrame, test_share: float, seed: int) -> np.ndarray:
    name, n_groups = _groups_of_rarer_class(images)
    n_parts = min(max(_MAX_PARTS, ceil(1 / min(test_share, 1 - test_share))), n_groups)
    share = Fraction(test_share).limit_denominator(max(n_parts, 1))
    if not 0 < share < 1:
        raise DataError(
            f"{n_groups} different {name} images or groups are too few for both parts of a split with data.test_share "
            f"= {test_share}; add images, or choose a share nearer to one half."
        )
    parts = _stratified_parts(images, _strata(images, share.denominator), share.denominator, seed)
    return np.where(parts < share.numerator, TEST, TRAIN)


def _draw_folds(train: pd.DataFrame, n_folds: int, seed: int) -> np.ndarray:
    name, n_groups = _groups_of_rarer_class(train)
    if n_groups < n_folds:
        raise DataError(
            f"{n_groups} different {name} images or groups in the training part; at least {n_folds} are needed to "
            "divide them. Add images, or lower data.folds."
        )
    # Few large groups cannot be balanced in every respect; without both classes a fold has no AUC.
    for strata in (_strata(train, n_folds), train["label"]):
        folds = _stratified_parts(train, strata, n_folds, seed)
        if len(set(zip(folds, train["label"], strict=True))) == len(CLASS_NAMES) * n_folds:
            return folds
    raise DataError(
        f"The {train['group'].nunique()} groups of images in the training part are too unequal to give each of "
        f"{n_folds} folds images of both classes. Lower data.folds, state smaller groups, or add images."
    )


def _stratified_parts(images: pd.DataFrame, strata: pd.Series, n_parts: int, seed: int) -> np.ndarray:
    """Deal the groups out into parts that are alike; ndarray of int in [0, n_parts), shape (n_images,)."""
    folder = StratifiedGroupKFold(n_parts, shuffle=True, random_state=seed)
    parts = np.empty(len(images), int)
    for part, (_, members) in enumerate(folder.split(images, strata, images["group"])):
        parts[members] = part
    return parts


def _groups_of_rarer_class(images: pd.DataFrame) -> tuple[str, int]:
    numbers = {name: images.loc[images["label"] == label, "group"].nunique() for label, name in enumerate(CLASS_NAMES)}
    rarer = min(numbers, key=numbers.get)
    return rarer, numbers[rarer]


def _check_test_part(images: pd.DataFrame, test_share: float) -> None:
    for label, name in enumerate(CLASS_NAMES):
        n_images = int(((images["split"] == TEST) & (images["label"] == label)).sum())
        if n_images < MIN_TEST_IMAGES:
            raise DataError(
                f"The test part has {n_images} {name} images; at least {MIN_TEST_IMAGES} are needed to say anything. "
                f"Add images, or raise data.test_share (now {test_share}) when the source brings no split."
            )


def _strata(images: pd.DataFrame, smallest: int) -> pd.Series:
    """Label, probability, variant and defect type as one string; what is too rare keeps the label only."""
    by_label = images["label"].map(lambda label: CLASS_NAMES[label])
    probability = images["defect_probability"].map("{:.3f}".format)
    fine = by_label + "|" + probability + "|" + images["stratum"] + "|" + images["defect_type"]
    rare = fine.map(fine.value_counts()) < smallest
    strata = fine.where(~rare, by_label)
    # The fallback pool itself may hold a single rare image: then the label alone is all that can be balanced.
    return strata if strata.value_counts().min() >= smallest else by_label
