"""The numbers of the data: counts, copies, leaks, and what a split is worth to a model that only remembers."""

import numpy as np
import pandas as pd

from inspection.audit.findings import Audit
from inspection.audit.health import find_unhealthy
from inspection.audit.leakage_probe import nearest_neighbour_accuracy
from inspection.audit.spectra import descriptors
from inspection.config import DataParams
from inspection.data.ledger import LedgerEntry
from inspection.data.manifest import count_leaking
from inspection.data.splits import Division, divide
from inspection.errors import DataError
from inspection.labels import DEFECTIVE, TRAIN


def describe_data(audit: Audit, division: Division, params: DataParams, seed: int) -> dict:
    """Return the content of metrics/data.json.

    Parameters
    ----------
    audit : Audit
    division : Division
    params : DataParams
    seed : int

    Returns
    -------
    dict
        Counts of images, groups, leaks and conflicts; ``n_kept_in_test`` and ``n_groups_kept_in_test``, the test images
        and groups that are there only because they, or images of their group, were test images before; ``split`` (its
        origin); ``n_leaking_test_images`` in the split as used; ``memory``, the balanced accuracy of the nearest
        neighbour on the split as supplied (or, where the
        source brings none, drawn regardless of groups), and on a split that no group straddles; and what was left out.
    """
    images = division.images
    train, defective = images["split"] == TRAIN, images["label"] == DEFECTIVE
    photographs = audit.images["photograph"].value_counts()
    return {
        "n_images": len(images),
        "n_train": int(train.sum()),
        "n_train_defective": int((train & defective).sum()),
        "n_test": int((~train).sum()),
        "n_test_defective": int((~train & defective).sum()),
        "n_kept_in_test": int(images["kept_in_test"].sum()),
        "n_groups_kept_in_test": images.loc[images["kept_in_test"], "group"].nunique(),
        "n_unreadable": len(audit.unreadable),
        "n_photographs": len(photographs),
        "n_photographs_with_copies": int((photographs > 1).sum()),
        "n_series": len(audit.series()),
        "n_groups": images["group"].nunique(),
        "n_leaks": audit.n_leaks(),
        "n_conflicts": audit.n_conflicts(),
        "n_unlike_the_others": len(find_unhealthy(audit.images)),
        "n_left_out": len(audit.unreadable) + len(division.left_out),
        "split": division.origin,
        "n_leaking_test_images": count_leaking(images),
        "memory": score_memory(audit, division, params, seed),
        "left_out": [
            *({"path": file.path, "reason": file.reason} for file in audit.unreadable),
            *division.left_out.to_dict("records"),
        ],
    }


def score_memory(audit: Audit, division: Division, params: DataParams, seed: int) -> dict[str, float | None]:
    """Score the nearest neighbour with and without copies and groups on both sides.

    Parameters
    ----------
    audit : Audit
    division : Division
        Of the audited images.
    params : DataParams
    seed : int

    Returns
    -------
    dict
        ``supplied`` or ``random`` (without a supplied split), and ``honest``: balanced accuracy in [0, 1], None when
        the images do not suffice for such a split.
    """
    vectors, images = descriptors(audit.signatures.spectra), division.images
    # The same draw as the data grow, but of all images: what was a test image before is nothing to memory.
    entry = division.entry.model_copy(update={"test": frozenset()})
    naive_split: np.ndarray | None
    if (audit.images["split"] != "").any():
        # All of it: images may have been left out because they leak.
        name, naive, naive_split = "supplied", audit.images, audit.images["split"].to_numpy()
    else:
        each_its_own = images["path"]
        name, naive = "random", images.assign(split="", group=each_its_own, photograph=each_its_own)
        naive_split = _redraw(naive, params, seed, entry)
    is_own = division.origin == "supplied"
    honest = _redraw(images.assign(split=""), params, seed, entry) if is_own else images["split"].to_numpy()
    return {
        name: _score(vectors[naive["picture"]], naive["label"], naive_split),
        "honest": _score(vectors[images["picture"]], images["label"], honest),
    }


def _redraw(images: pd.DataFrame, params: DataParams, seed: int, entry: LedgerEntry) -> np.ndarray | None:
    try:
        return divide(images, params, seed, entry).images["split"].to_numpy()
    except DataError:
        # Enough images for the supplied split need not be enough for another.
        return None


def _score(vectors: np.ndarray, labels: pd.Series, split: np.ndarray | None) -> float | None:
    accuracy = None if split is None else nearest_neighbour_accuracy(vectors, labels.to_numpy(), split)
    return None if accuracy is None else round(accuracy, 4)
