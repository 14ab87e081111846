"""The two classes and the two parts of a split, with the names they go by in folders and tables."""

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from inspection.errors import DataError

NON_DEFECTIVE = 0
DEFECTIVE = 1
CLASS_NAMES = ("non_defective", "defective")
"""In the order every model of this project uses."""
REVIEW = "review"
"""Verdict of an ensemble that cannot decide: a person must look. Never a class of the training data."""

UNLABELLED = -1
"""Of an image about which nothing is known."""
TRAIN, TEST = "train", "test"

FOLDER_NAMES = (
    (
        "non defective", "nondefective", "not defective", "no defect", "no defects", "defect free", "ok", "okay",
        "good", "normal", "pass", "passed", "fine", "accept", "accepted", "conforming", "intact", "flawless",
        "io", "i.o.", "i. o.", "in ordnung", "gut", "fehlerfrei",
    ),
    (
        "defective", "defect", "defects", "ng", "nok", "not ok", "not okay", "no good", "not good", "bad", "ko", "fail",
        "failed", "fault", "faults", "faulty", "anomaly", "anomalies", "anomalous", "abnormal", "reject", "rejects",
        "rejected", "nonconforming", "non conforming", "not conforming", "damaged",
        "nio", "n.i.o.", "n. i. o.", "nicht in ordnung", "defekt", "fehlerhaft", "schlecht",
    ),
)  # fmt: skip
"""Per class, what its folders and labels are commonly called, as `plain_name` writes them.

Names that some plants use one way and some the other (positive and negative, 0 and 1, valid) are left to
``data.classes``.
"""
SPLIT_NAMES = {
    "train": TRAIN,
    "training": TRAIN,
    # Images for validation are seen while models are chosen: they are training images of this pipeline's folds.
    "val": TRAIN,
    "valid": TRAIN,
    "validation": TRAIN,
    "test": TEST,
    "testing": TEST,
}
"""What the parts of a supplied split are commonly called."""


@lru_cache(maxsize=4096)
def plain_name(name: str) -> str:
    """Return a name as names are compared: case, Unicode form, and spaces against hyphens or underscores are one.

    A name of nothing but hyphens and underscores stays as it is.

    Parameters
    ----------
    name : str
    """
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return re.sub(r"[\s_-]+", " ", plain).strip() or name


def class_labels(classes: Mapping[str, str] | None = None) -> dict[str, int]:
    """Return the label of every known class name.

    Parameters
    ----------
    classes : mapping of str to str, optional
        More names, or other meanings of known ones: ``defective`` or ``non_defective`` per name.

    Returns
    -------
    dict of str to int
        Keyed by `plain_name`.

    Raises
    ------
    DataError
        If two names of ``classes`` are the same when compared, yet stand for different classes.
    """
    labels = {name: label for label, names in enumerate(FOLDER_NAMES) for name in names}
    written: dict[str, tuple[str, str]] = {}
    for name, class_name in (classes or {}).items():
        plain = plain_name(name)
        if written.setdefault(plain, (name, class_name))[1] != class_name:
            raise DataError(f"data.classes: {written[plain][0]!r} and {name!r} are the same name; keep one of them.")
        labels[plain] = CLASS_NAMES.index(class_name)
    return labels


def is_common_name(name: str) -> bool:
    """Whether a name is one of `FOLDER_NAMES`, and so says nothing about the kind of defect.

    Parameters
    ----------
    name : str
        As written: it is compared by its `plain_name`.
    """
    return any(plain_name(name) in names for names in FOLDER_NAMES)


def split_part(name: str) -> str:
    """Return the part of a split that a name stands for, or an empty string.

    Parameters
    ----------
    name : str
        As written: it is compared by its `plain_name`.
    """
    return SPLIT_NAMES.get(plain_name(name), "")
