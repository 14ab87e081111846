"""Lots drawn by hash: the part of a group follows from its name alone, and one draw of many is chosen to be even."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import shake_128

import numpy as np
import pandas as pd

from inspection.labels import CLASS_NAMES

N_SALTS = 1024
"""Draws that are compared at a time."""
MAX_SALTS = 4 * N_SALTS
"""Draws that are tried before none is said to do: few groups seldom fill every part."""
N_CLOSEST = 32
"""Draws closest to the shares of both classes, among which the strata decide."""
_CHUNK = 2048
"""Groups whose lots are held in memory at a time."""


@dataclass(frozen=True)
class Groups:
    """The groups among images, by name, and what they hold.

    Attributes
    ----------
    names : ndarray of str, shape (n_groups,)
        Sorted.
    positions : ndarray of int, shape (n_images,)
        Of each image's group in ``names``.
    classes : ndarray of float, shape (n_groups, 2)
        Number of images of each class.
    strata : ndarray of float, shape (n_groups, n_strata)
        Number of images of each class with one defect probability, of one variant, and with one type of defect.
    """

    names: np.ndarray
    positions: np.ndarray
    classes: np.ndarray
    strata: np.ndarray

    @classmethod
    def among(cls, images: pd.DataFrame) -> "Groups":
        """Count what the groups hold.

        Parameters
        ----------
        images : DataFrame
            Columns ``group``, ``label``, ``defect_probability``, ``stratum`` and ``defect_type``.

        Returns
        -------
        Groups
        """
        names, positions = np.unique(images["group"].to_numpy(str), return_inverse=True)
        labels = images["label"].to_numpy(int)
        classes = np.zeros((len(names), len(CLASS_NAMES)))
        np.add.at(classes, (positions, labels), 1)
        columns = []
        for name in ("defect_probability", "stratum", "defect_type"):
            values, codes = np.unique(images[name].to_numpy(), return_inverse=True)
            column = np.zeros((len(names), len(CLASS_NAMES) * len(values)))
            np.add.at(column, (positions, len(values) * labels + codes), 1)
            columns.append(column[:, column.any(axis=0)])
        return cls(names, positions, classes, np.hstack(columns))

    def number_of(self, label: int) -> int:
        """Return the number of groups with images of a class.

        Parameters
        ----------
        label : int
        """
        return int((self.classes[:, label] > 0).sum())


@dataclass(frozen=True)
class Needs:
    """What each part of a draw must hold, of each class.

    Attributes
    ----------
    images, groups : ndarray of int, shape (n_parts, 2)
        Least number of images, and of groups with such images.
    """

    images: np.ndarray
    groups: np.ndarray


def draw_parts(names: Sequence[str] | np.ndarray, purpose: str, salt: int, shares: Sequence[float]) -> np.ndarray:
    """Draw the part of each group by lot.

    The lot of a group is a number in [0, 1) made of the SHAKE-128 of ``purpose`` and its name (FIPS 202), of which
    every eight bytes are another draw. Other groups have no influence.

    Parameters
    ----------
    names : sequence of str, length n_groups
    purpose : str
        Lots for different purposes are independent.
    salt : int
        Number of the draw, from 0.
    shares : sequence of float, length n_parts
        Of the groups that come into each part; they add up to 1.

    Returns
    -------
    ndarray of int in [0, n_parts), shape (n_groups,)
    """
    return _parts(_lots(names, purpose, salt, 1), shares)[:, 0]


def choose_salt(
    groups: Groups, purpose: str, shares: Sequence[float], needs: Needs, is_fixed: np.ndarray | None = None
) -> int | None:
    """Choose the draw whose parts come closest to equal ones.

    Of the first `N_SALTS` draws that give what is needed, the `N_CLOSEST` are kept in which the classes come closest
    to their shares, and of these the one is taken in which the strata do. The distance is Pearson's chi-square: the
    squared difference from the ideal number of images, over the variance of a draw of single images.

    Parameters
    ----------
    groups : Groups
    purpose : str
    shares : sequence of float, length n_parts
        See `draw_parts`.
    needs : Needs
    is_fixed : ndarray of bool, shape (n_groups,), optional
        Groups that are in the first part, whatever is drawn.

    Returns
    -------
    int or None
        None when none of `MAX_SALTS` draws gives what is needed.
    """
    ideal = np.asarray(shares)[:, np.newaxis]
    for first in range(0, MAX_SALTS, N_SALTS):
        classes, occupied, strata = _count(groups, purpose, first, shares, is_fixed)
        is_usable = ((classes >= needs.images) & (occupied >= needs.groups)).all(axis=(1, 2))
        if is_usable.any():
            of_classes = np.where(is_usable, _distance(classes, ideal), np.inf)
            closest = np.argsort(of_classes, kind="stable")[: min(N_CLOSEST, is_usable.sum())]
            return first + int(closest[np.argmin(_distance(strata, ideal)[closest])])
    return None


def _lots(names: Sequence[str] | np.ndarray, purpose: str, first: int, number: int) -> np.ndarray:
    """Numbers in [0, 1) of draws from the first one on; shape (n_names, number)."""
    digests = (shake_128(f"{purpose}\n{name}".encode()).digest(8 * (first + number))[8 * first :] for name in names)
    # A double holds 53 bits: with more, the largest lots would round to 1.
    lots: np.ndarray = (np.frombuffer(b"".join(digests), ">u8") >> np.uint64(11)) / 2.0**53
    return lots.reshape(len(names), number)


def _parts(lots: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    return np.searchsorted(np.cumsum(shares)[:-1], lots, side="right")


def _count(
    groups: Groups, purpose: str, first: int, shares: Sequence[float], is_fixed: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images of each class, groups with such images, and images of each stratum; each (n_salts, n_parts, n_kinds)."""
    columns = np.hstack([groups.classes, groups.classes > 0, groups.strata])
    counts = np.zeros((N_SALTS, len(shares), columns.shape[1]))
    for chunk in np.array_split(np.arange(len(groups.names)), -(-len(groups.names) // _CHUNK)):
        parts = _parts(_lots(groups.names[chunk], purpose, first, N_SALTS), shares)
        if is_fixed is not None:
            parts[is_fixed[chunk]] = 0
        for part in range(len(shares)):
            # Whole numbers: no order of summation changes them.
            counts[:, part] += (parts == part).T.astype(float) @ columns[chunk]
    n_classes = len(CLASS_NAMES)
    return counts[..., :n_classes], counts[..., n_classes : 2 * n_classes], counts[..., 2 * n_classes :]


def _distance(counts: np.ndarray, ideal: np.ndarray) -> np.ndarray:
    """Chi-square of every draw, shape (n_salts,); rounded, so that no processor breaks a tie in its own way."""
    total = counts.sum(axis=1, keepdims=True)
    variance = ideal * (1 - ideal) * np.maximum(total, 1)
    distance: np.ndarray = ((counts - ideal * total) ** 2 / variance).sum(axis=(1, 2))
    return distance.round(6)
