"""Sets of images that belong together, grown by joining pairs."""

import numpy as np
from scipy.cluster.hierarchy import DisjointSet


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
