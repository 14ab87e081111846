"""What is wrong with a folder of photographs: copies, leaks, contradicting labels, series and bad exposures."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import DisjointSet

from inspection.audit.copies import Pair, compare_neighbours, is_copy, is_series
from inspection.audit.indexing import IndexedImages, Unreadable
from inspection.audit.registration import Signatures, make_signatures
from inspection.data.groups import first_members
from inspection.labels import CLASS_NAMES, TEST, TRAIN, UNLABELLED

MAX_SERIES = 50
"""Images: more that look alike are a product whose parts all look alike, not one part photographed again."""


@dataclass(frozen=True)
class Audit:
    """Findings about a folder of photographs.

    Attributes
    ----------
    images : DataFrame
        One row per readable image: the columns of `IndexedImages`, ``label``, ``photograph`` and ``series``
        (the position of the first copy of the same photograph, and of the first image of the same series)
        and ``picture``, the position of its pixels in ``signatures``.
    unreadable : tuple of Unreadable
    pairs : tuple of Pair
        Neighbours that were laid over each other and found to be copies or of one series, by position.
    signatures : Signatures
        Of the different pictures: images with equal pixels share one.
    """

    images: pd.DataFrame
    unreadable: tuple[Unreadable, ...]
    pairs: tuple[Pair, ...]
    signatures: Signatures

    def copies(self) -> list[list[str]]:
        """Return the paths of each photograph that has copies; the largest groups first."""
        return self._sets("photograph")

    def identical(self) -> list[list[str]]:
        """Return the paths of each set of images with equal pixels."""
        return self._sets("pixels_sha256")

    def series(self) -> list[list[str]]:
        """Return the paths of each likely series.

        They show the same in the same place with other noise or in other light: one part photographed again, or parts
        that cannot be told apart.
        """
        sets = [rows for _, rows in self.images.groupby("series") if rows["photograph"].nunique() > 1]
        return sorted((rows["path"].tolist() for rows in sets), key=_largest_first)

    def leaks(self) -> Iterator[tuple[int, int]]:
        """Yield the positions of every test image and training image that are one photograph."""
        for rows in self._groups("photograph"):
            yield from product(rows.index[rows["split"] == TEST], rows.index[rows["split"] == TRAIN])

    def conflicts(self) -> Iterator[tuple[int, int]]:
        """Yield the positions of every two images that are one photograph with different labels."""
        for rows in self._groups("photograph"):
            labels = rows.loc[rows["label"] != UNLABELLED, "label"]
            for one, other in combinations(sorted(labels.unique()), 2):
                yield from product(labels.index[labels == one], labels.index[labels == other])

    def n_leaks(self) -> int:
        """Count the pairs of `leaks` without listing them."""
        counts = [rows["split"].value_counts() for rows in self._groups("photograph")]
        return sum(int(count.get(TEST, 0) * count.get(TRAIN, 0)) for count in counts)

    def n_conflicts(self) -> int:
        """Count the pairs of `conflicts` without listing them."""
        counts = [rows["label"].value_counts() for rows in self._groups("photograph")]
        return sum(int(np.prod([count.get(label, 0) for label in range(len(CLASS_NAMES))])) for count in counts)

    def _groups(self, column: str) -> Iterator[pd.DataFrame]:
        several = self.images[self.images.duplicated(column, keep=False)]
        return (rows for _, rows in several.groupby(column))

    def _sets(self, column: str) -> list[list[str]]:
        return sorted((rows["path"].tolist() for rows in self._groups(column)), key=_largest_first)


def audit_images(
    indexed: IndexedImages, labels: np.ndarray, progress: Callable[..., Iterable] = lambda items, total, what: items
) -> Audit:
    """Look for copies and series among images.

    Parameters
    ----------
    indexed : IndexedImages
    labels : ndarray of int, shape (n_readable,)
        ``UNLABELLED`` where it is not known.
    progress : callable, optional
        Wraps the iterables of work; called with one, its length and what is done.
    """
    images = indexed.readable.assign(label=labels)
    # Equal pictures need no comparison, and thousands of them would crowd out every other neighbour.
    picture, digests = pd.factorize(images["pixels_sha256"])
    first_of = np.unique(picture, return_index=True)[1] if len(digests) else np.empty(0, int)
    signatures = make_signatures(indexed.squares[first_of])
    heads, pairs = compare_neighbours(signatures, progress)
    pairs = tuple(
        Pair(int(first_of[pair.first]), int(first_of[pair.second]), pair.overlay)
        for pair in pairs
        if is_copy(pair.overlay) or is_series(pair.overlay)
    )
    photographs = first_of[heads[picture]]
    images = images.assign(picture=picture, photograph=photographs, series=_series(photographs, pairs))
    return Audit(images, indexed.unreadable, pairs, signatures)


def _series(photographs: np.ndarray, pairs: tuple[Pair, ...]) -> np.ndarray:
    series = DisjointSet(range(len(photographs)))
    for position, photograph in enumerate(photographs):
        series.merge(position, int(photograph))
    for pair in pairs:
        series.merge(pair.first, pair.second)
    heads = first_members(series)
    n_photographs = Counter(heads[np.unique(photographs)])
    too_many = [head for head, number in n_photographs.items() if number > MAX_SERIES]
    return np.where(np.isin(heads, too_many), photographs, heads)


def _largest_first(members: list[str]) -> tuple[int, str]:
    return -len(members), members[0]
