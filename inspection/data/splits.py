"""Training part, test part and folds that no photograph, part or series straddles, and that stay as the data grow.

Part and fold of a group follow from a hash of its name, the seed, and a salt that the ledger holds: neither the order
of the images nor adding or removing other groups moves it. Photographs that were ever test images, and their groups,
stay in the test part.

The first draw is stratified by class, defect probability, variant and defect type as well as a hash can be: the salt is
chosen by the labels, see `choose_salt`. With 20 or more groups of each class, none of them large, the test images of a
class then differ from ``test_share`` of its images by less than one standard deviation of a draw by lot, which is
sqrt(test_share * (1 - test_share) * sum of the squared sizes of its groups). Afterwards the salt stays: what is added
is divided by lot, so that parts and folds drift from their shares as far as chance takes them, and nothing moves to
make up for it.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from inspection.config import DataParams
from inspection.data.draws import MAX_SALTS, Groups, Needs, choose_salt, draw_parts
from inspection.data.ledger import UNDRAWN, LedgerEntry, fingerprints
from inspection.errors import DataError
from inspection.labels import CLASS_NAMES, DEFECTIVE, NON_DEFECTIVE, TEST, TRAIN

NO_FOLD = -1
"""Fold of test images."""
MIN_TEST_IMAGES = 2
"""Of each class: with fewer the AUC has no interval. Good ones are insisted on."""
Origin = Literal["supplied", "drawn", "redrawn"]


@dataclass(frozen=True)
class Division:
    """Images divided into training and test part.

    Attributes
    ----------
    images : DataFrame
        Those that are kept, with ``split``, ``fold``, ``supplied_split`` and ``kept_in_test``: whether an image is in
        the test part only because it, or an image of its group, was there before.
    left_out : DataFrame
        Columns ``path`` and ``reason``.
    origin : {"supplied", "drawn", "redrawn"}
        Whether the split is the source's own, a new one where there was none, or a new one in its place.
    notices : tuple of str
        What a user must know: why a supplied split was not simply used, and what joined the test part or left it.
    entry : LedgerEntry
        What is to be remembered for the next division of the same source.
    """

    images: pd.DataFrame
    left_out: pd.DataFrame
    origin: Origin
    notices: tuple[str, ...]
    entry: LedgerEntry


def divide(images: pd.DataFrame, params: DataParams, seed: int, entry: LedgerEntry = UNDRAWN) -> Division:
    """Divide images into training and test part, and the training part into folds.

    A split that the source brings is kept, unless it leaks (``params.leaks`` decides), its training part lacks good
    parts or ``params.supplied_split`` says otherwise; then only the folds are drawn. Photographs that carry both labels
    are left out: nobody can know which is right. They still hold their group together and are remembered with it, so
    that correcting a label moves nothing.

    Parameters
    ----------
    images : DataFrame
        Columns ``path``, ``label``, ``defect_probability``, ``stratum``, ``defect_type``, ``group`` (from
        `join_groups`), ``photograph``, ``sha256``, ``pixels_sha256`` and ``split`` (empty where the source brings
        none).
    params : DataParams
    seed : int
    entry : LedgerEntry
        What earlier divisions of the source remember.

    Returns
    -------
    Division

    Raises
    ------
    DataError
        If a class has too few images or groups to be divided.
    """
    was_test = pd.Series(entry.holds(images), index=images.index)
    test_groups = set(images.loc[was_test, "group"])
    contradicts = images.groupby("photograph")["label"].transform("nunique") > 1
    left_out = [images[contradicts].assign(reason="copies of this photograph carry both labels")]
    kept = images[~contradicts]
    kept = kept.assign(supplied_split=kept["split"], kept_in_test=False)
    straddles = kept.groupby("group")["split"].transform("nunique") > 1
    leaks = params.leaks
    if leaks == "regroup" and params.supplied_split == "use" and _trains_on_good_parts_alone(kept):
        # A new split would bring defects into a training part that is to hold none.
        leaks = "drop"
    origin, why = _judge_supplied(kept, straddles, leaks, params.supplied_split)
    notices = [f"{why}; the split is {origin} (data.leaks = {leaks})."] if why else []
    if origin != "supplied":
        kept, entry = _draw_split(kept, test_groups, params, seed, entry)
        notices += _describe_joined(kept[~was_test[kept.index] & kept["group"].isin(test_groups)])
    else:
        leaking = straddles & (kept["split"] == TRAIN)
        if leaks == "drop":
            left_out.append(kept[leaking].assign(reason="a test image is a copy of this photograph or in its group"))
            kept = kept[~leaking]
        notices += _describe_moved(kept[was_test[kept.index] & ~leaking[kept.index] & (kept["split"] == TRAIN)])
    n_good = int(((kept["split"] == TEST) & (kept["label"] == NON_DEFECTIVE)).sum())
    if lack := _lack_in_test(n_good, NON_DEFECTIVE, params.test_share):
        raise DataError(lack)
    kept, entry = _draw_folds(kept, params.folds, seed, entry)
    notices += _describe_defects(kept, params.folds)
    dropped = pd.concat(left_out)
    table = dropped[["path", "reason"]].reset_index(drop=True)
    return Division(kept, table, origin, tuple(notices), _remember(entry, kept, dropped))


def _trains_on_good_parts_alone(images: pd.DataFrame) -> bool:
    return set(images.loc[images["split"] == TRAIN, "label"]) == {NON_DEFECTIVE}


def _judge_supplied(images: pd.DataFrame, straddles: pd.Series, leaks: str, supplied: str) -> tuple[Origin, str]:
    """Say whether the source's split is used, and why it is not simply so."""
    if (images["split"] == "").all():
        return "drawn", ""
    if supplied == "redraw":
        return "redrawn", "data.supplied_split is redraw"
    if NON_DEFECTIVE not in set(images.loc[images["split"] == TRAIN, "label"]):
        return "redrawn", f"the supplied training part holds no {CLASS_NAMES[NON_DEFECTIVE]} image"
    if not straddles.any():
        return "supplied", ""
    test = images[straddles & (images["split"] == TEST)]
    return "redrawn" if leaks == "regroup" else "supplied", (
        f"{len(test)} of its test images are copies of training images or belong to one group with them, for example "
        f"{test['path'].iloc[0]}"
    )


def _draw_split(
    images: pd.DataFrame, kept_groups: set[str], params: DataParams, seed: int, entry: LedgerEntry
) -> tuple[pd.DataFrame, LedgerEntry]:
    groups, purpose = Groups.among(images), f"part, seed {seed}"
    is_kept = np.isin(groups.names, sorted(kept_groups))
    salt = entry.split_salt
    if salt is None:
        salt = _choose_split_salt(groups, purpose, params, is_kept)
    is_drawn = draw_parts(groups.names, purpose, salt, _both_shares(params)) == 0
    split = np.where(is_drawn | is_kept, TEST, TRAIN)[groups.positions]
    images = images.assign(split=split, kept_in_test=(is_kept & ~is_drawn)[groups.positions])
    return images, entry.model_copy(update={"split_salt": salt})


def _both_shares(params: DataParams) -> tuple[float, float]:
    return params.test_share, 1 - params.test_share


def _choose_split_salt(groups: Groups, purpose: str, params: DataParams, is_kept: np.ndarray) -> int:
    """Only draws that leave enough to test on, and enough for the folds, will do; few defects are divided by lot."""
    lacks = [_lack_of(groups, label, params.test_share, params.folds) for label in range(len(CLASS_NAMES))]
    if lacks[NON_DEFECTIVE]:
        raise DataError(lacks[NON_DEFECTIVE])
    demanded = np.array([not lack for lack in lacks], int)
    images, each_group = np.array([[MIN_TEST_IMAGES], [1]]), np.array([[1], [params.folds]])
    needs = Needs(images=images * demanded, groups=each_group * demanded)
    salt = choose_salt(groups, purpose, _both_shares(params), needs, is_kept)
    if salt is None:
        kept = (
            f" {is_kept.sum()} of the groups were test images before and stay so; to draw them too, remove the entry "
            f"of {params.source} from data/split.json."
        )
        raise DataError(
            f"The {len(groups.names)} groups of images are too few or too unequal: none of {MAX_SALTS} draws gives the "
            f"test part {MIN_TEST_IMAGES} images of each class and the training part {params.folds} groups of each. "
            f"Add images, state smaller groups, or lower data.folds.{kept if is_kept.any() else ''}"
        )
    return salt


def _draw_folds(images: pd.DataFrame, n_folds: int, seed: int, entry: LedgerEntry) -> tuple[pd.DataFrame, LedgerEntry]:
    is_train = (images["split"] == TRAIN).to_numpy()
    groups, purpose = Groups.among(images[is_train]), f"{n_folds} folds, seed {seed}"
    if lack := _lack_for_folds(groups.number_of(NON_DEFECTIVE), NON_DEFECTIVE, n_folds):
        raise DataError(lack)
    shares = [1 / n_folds] * n_folds
    salt = entry.fold_salts.get(n_folds)
    if salt is None:
        each = np.ones((n_folds, len(CLASS_NAMES)), int)
        each[:, DEFECTIVE] = groups.number_of(DEFECTIVE) >= n_folds
        salt = choose_salt(groups, purpose, shares, Needs(images=each, groups=each))
    if salt is None:
        raise DataError(
            f"The {len(groups.names)} groups of images in the training part are too few or too unequal: none of "
            f"{MAX_SALTS} draws gives each of {n_folds} folds images of both classes. Lower data.folds, state smaller "
            "groups, or add images."
        )
    folds = np.full(len(images), NO_FOLD)
    folds[is_train] = draw_parts(groups.names, purpose, salt, shares)[groups.positions]
    _check_folds(folds[is_train], images.loc[is_train, "label"].to_numpy(), n_folds)
    fold_salts = {**entry.fold_salts, n_folds: salt}
    return images.assign(fold=folds), entry.model_copy(update={"fold_salts": fold_salts})


def _lack_of(groups: Groups, label: int, test_share: float, n_folds: int) -> str:
    """Say why there are too few of a class even for equal parts; nothing where there are enough."""
    number, name = groups.number_of(label), CLASS_NAMES[label]
    n_test = round(test_share * number)
    if not 0 < n_test < number:
        return (
            f"{number} different {name} images or groups are too few for both parts of a split with data.test_share = "
            f"{test_share}; add images, or choose a share nearer to one half."
        )
    return _lack_in_test(round(test_share * groups.classes[:, label].sum()), label, test_share) or _lack_for_folds(
        number - n_test, label, n_folds
    )


def _lack_for_folds(number: int, label: int, n_folds: int) -> str:
    if number >= n_folds:
        return ""
    return (
        f"{number} different {CLASS_NAMES[label]} images or groups in the training part; at least {n_folds} are "
        "needed to divide them. Add images, or lower data.folds."
    )


def _lack_in_test(number: int, label: int, test_share: float) -> str:
    if number >= MIN_TEST_IMAGES:
        return ""
    return (
        f"The test part has {number} {CLASS_NAMES[label]} images; at least {MIN_TEST_IMAGES} are needed to say "
        f"anything. Add images, or raise data.test_share (now {test_share}) when the source brings no split."
    )


def _describe_defects(images: pd.DataFrame, n_folds: int) -> list[str]:
    """Say what too few defects mean; nothing where there are enough."""
    is_defect, is_test = images["label"] == DEFECTIVE, images["split"] == TEST
    notices = []
    n_groups, n_tested = images.loc[is_defect & ~is_test, "group"].nunique(), int((is_defect & is_test).sum())
    if not n_groups:
        notices.append("The training part holds no defect: only detectors learn, by good parts alone.")
    elif n_groups < n_folds:
        notices.append(
            f"The training part holds {n_groups} different defects, fewer than its {n_folds} folds: what classifiers "
            "and networks learn of them is little."
        )
    if n_tested < MIN_TEST_IMAGES:
        notices.append(f"The test part holds {n_tested} defects: of escapes and AUC nothing can be said.")
    return notices


def _check_folds(folds: np.ndarray, labels: np.ndarray, n_folds: int) -> None:
    """Stop when a fold has lost its good parts since the draw; moving a group would mend it and end all trust."""
    for fold in range(n_folds):
        if not ((folds == fold) & (labels == NON_DEFECTIVE)).any():
            raise DataError(
                f"Fold {fold} of {n_folds} holds no {CLASS_NAMES[NON_DEFECTIVE]} image any more: folds stay as they "
                "were drawn. Add images, or set another data.folds, which draws them anew."
            )


def _describe_joined(images: pd.DataFrame) -> list[str]:
    if images.empty:
        return []
    return [
        f"{len(images)} images in {images['group'].nunique()} groups join the test part, because copies of them or "
        f"images of their group were test images before, for example {images['path'].iloc[0]}."
    ]


def _describe_moved(images: pd.DataFrame) -> list[str]:
    if images.empty:
        return []
    return [
        f"{len(images)} images that were test images before are training images by the split that the source brings "
        f"now, for example {images['path'].iloc[0]}."
    ]


def _remember(entry: LedgerEntry, images: pd.DataFrame, left_out: pd.DataFrame) -> LedgerEntry:
    """Add the photographs of the test part, and those left out that belong to them."""
    test = images[images["split"] == TEST]
    companions = left_out[left_out["group"].isin(set(test["group"]))]
    seen = {*entry.test, *fingerprints(test), *fingerprints(companions)}
    return entry.model_copy(update={"test": frozenset(seen)})
