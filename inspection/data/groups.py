"""Sets of images that belong together, grown by joining pairs, and the names they keep as the data grow."""

from typing import Literal

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import DisjointSet

from inspection.files import sha256_bytes

_DIGITS = 16
"""Of a SHA-256 in a group's name: a million groups share a name with a probability of one in thirty million."""


def first_members(sets: DisjointSet) -> np.ndarray:
    """Return the smallest member of the set of every item.

    Parameters
    ----------
    sets : DisjointSet of int
        Of the items 0, 1, ..., n_items - 1.

    Returns
    -------
    ndarray of int, shape (n_items,)
        Equal for items of one set, whatever the order in which they were joined.
    """
    first = np.empty(sum(map(len, sets.subsets())), int)
    for members in sets.subsets():
        first[list(members)] = min(members)
    return first


def join_groups(images: pd.DataFrame, series: Literal["together", "apart"]) -> pd.Series:
    """Name the group of each image: whatever must stay on one side of every split.

    A group goes by the smallest hash among its members, so that neither the order of the images nor any other group
    has a say in its name, and that one more member changes it seldom: with a probability of one in the number of
    members. Where the source states groups, the hashes of their names come first, and images join them without
    changing the name.

    Parameters
    ----------
    images : DataFrame
        What an audit found: ``photograph``, ``series`` (positions in the table), ``group`` (as the source states it,
        empty where it does not) and ``sha256`` (of the file, 64 hexadecimal digits).
    series : {"together", "apart"}
        Whether likely series count.

    Returns
    -------
    Series of str
        16 hexadecimal digits, equal within a group, with the index of ``images``.
    """
    groups = DisjointSet(range(len(images)))
    for column in ["photograph", *(["series"] if series == "together" else [])]:
        for position, first in enumerate(images[column]):
            groups.merge(position, int(first))
    stated = images["group"].reset_index(drop=True)
    for positions in stated[stated != ""].groupby(stated).groups.values():
        for position in positions[1:]:
            groups.merge(int(positions[0]), int(position))
    # The leading digit puts stated names before files.
    keys = [
        f"0{sha256_bytes(f'group {name}'.encode())}" if name else f"1{sha256}"
        for name, sha256 in zip(stated, images["sha256"], strict=True)
    ]
    names = pd.Series(keys, dtype=str).groupby(first_members(groups)).transform("min")
    return names.str[1 : 1 + _DIGITS].set_axis(images.index)
