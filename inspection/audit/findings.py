"""What is wrong with a folder of photographs: copies, leaks, contradicting labels, series and bad exposures.

The findings are an `Audit`, JSON content and lines to read.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, islice, product
from pathlib import PurePosixPath

import numpy as np
import pandas as pd
from scipy.cluster.hierarchy import DisjointSet

from inspection.audit.copies import Pair, Progress, compare_neighbours, is_copy, is_series, no_progress
from inspection.audit.health import find_unhealthy
from inspection.audit.indexing import IndexedImages, Unreadable
from inspection.audit.signatures import Signatures
from inspection.content_cache import NO_CACHE, ContentCache
from inspection.data.groups import first_members
from inspection.labels import CLASS_NAMES, TEST, TRAIN, UNLABELLED

MAX_SERIES = 50
"""Images: more that look alike are a product whose parts all look alike, not one part photographed again."""
MAX_LISTED = 100_000
"""Pairs of leaks or conflicts listed; their number is always exact."""
N_SHOWN = 5
"""Findings of each kind that are printed."""


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

        They show the same in the same position with other noise, in other light or cropped anew: one part photographed
        again, or parts that cannot be told apart. Their labels may differ without contradicting each other: one crop
        shows a defect that another leaves out.
        """
        several = self.images[self.images.groupby("series")["photograph"].transform("nunique") > 1]
        return sorted((rows["path"].tolist() for _, rows in several.groupby("series")), key=_largest_first)

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
    indexed: IndexedImages, labels: np.ndarray, progress: Progress = no_progress, cache: ContentCache = NO_CACHE
) -> Audit:
    """Look for copies and series among images.

    Parameters
    ----------
    indexed : IndexedImages
    labels : ndarray of int, shape (n_readable,)
        ``UNLABELLED`` where it is not known.
    progress : callable, optional
        Wraps the iterables of work; called with one, its length and what is done.
    cache : ContentCache, optional
        For what is found out about pairs.
    """
    images = indexed.readable.assign(label=labels)
    # Equal pictures need no comparison, and thousands of them would crowd out every other neighbour.
    picture, digests = pd.factorize(images["pixels_sha256"])
    first_of = np.unique(picture, return_index=True)[1] if len(digests) else np.empty(0, int)
    signatures = indexed.signatures if len(first_of) == len(images) else indexed.signatures[first_of]
    heads, compared = compare_neighbours(signatures, progress, cache, digests.tolist())
    pairs = tuple(
        Pair(int(first_of[pair.first]), int(first_of[pair.second]), pair.overlay)
        for pair in compared
        if is_copy(pair.overlay) or is_series(pair.overlay)
    )
    photographs = first_of[heads[picture]]
    images = images.assign(picture=picture, photograph=photographs, series=_series(photographs, pairs))
    return Audit(images, indexed.unreadable, pairs, signatures)


def _series(photographs: np.ndarray, pairs: tuple[Pair, ...]) -> np.ndarray:
    series: DisjointSet = DisjointSet(range(len(photographs)))
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


def as_report(audit: Audit, folder: str, layout: str) -> dict:
    """Return the findings as JSON content, with paths relative to the folder.

    Parameters
    ----------
    audit : Audit
    folder : str
        Above all images.
    layout : str
        Name of the folder layout that was recognised.

    Returns
    -------
    dict
        ``folder``, ``layout``, ``images`` (number), ``unreadable`` (path, reason), ``groups`` (paths of each photograph
        with copies), ``identical`` (those with equal pixels), ``series``, ``leaks`` (test image, training image),
        ``n_leaks``, ``conflicts`` (one photograph, two labels), ``n_conflicts``, ``health`` (path, reason), ``classes``
        (number of images per split and class), ``sizes`` and ``modes`` (number of images).
    """
    paths = [_below(folder, path) for path in audit.images["path"]]

    def relative(sets: list[list[str]]) -> list[list[str]]:
        return [[_below(folder, path) for path in members] for members in sets]

    def listed(pairs: Iterator[tuple[int, int]]) -> list[list[str]]:
        return [[paths[one], paths[other]] for one, other in islice(pairs, MAX_LISTED)]

    return {
        "folder": folder,
        "layout": layout,
        "images": len(paths),
        "unreadable": [{"path": _below(folder, file.path), "reason": file.reason} for file in audit.unreadable],
        "groups": relative(audit.copies()),
        "identical": relative(audit.identical()),
        "series": relative(audit.series()),
        "leaks": listed(audit.leaks()),
        "n_leaks": audit.n_leaks(),
        "conflicts": listed(audit.conflicts()),
        "n_conflicts": audit.n_conflicts(),
        "health": [{"path": _below(folder, path), "reason": reason} for path, reason in find_unhealthy(audit.images)],
        "classes": count_classes(audit.images),
        "sizes": _count(audit.images["width"].astype(str) + "x" + audit.images["height"].astype(str)),
        "modes": _count(audit.images["mode"]),
    }


def count_classes(images: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return the number of images per split (``all`` without one) and class.

    Parameters
    ----------
    images : DataFrame
        Columns ``label`` and ``split``.
    """
    names = images["label"].map(lambda label: "unlabelled" if label == UNLABELLED else CLASS_NAMES[label])
    splits = images["split"].where(images["split"] != "", "all")
    return {split: _count(names[splits == split]) for split in sorted(splits.unique())}


def _count(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _below(folder: str, path: str) -> str:
    return PurePosixPath(path).relative_to(PurePosixPath(folder)).as_posix()


def summary(report: dict) -> str:
    """Return the report as lines to read: every count, and the first findings of each kind.

    Parameters
    ----------
    report : dict
        From `as_report`.
    """
    classes = "; ".join(
        f"{split}: {', '.join(f'{number} {name}' for name, number in counts.items())}"
        for split, counts in report["classes"].items()
    )
    groups, n_copies = report["groups"], sum(len(members) - 1 for members in report["groups"])
    lines = [f"{report['images']} images in {report['folder']} ({report['layout']}) - {classes or 'none readable'}"]
    lines += _shown("unreadable", [file["reason"] for file in report["unreadable"]])
    lines += _shown(
        f"photographs with copies ({n_copies} images are copies)",
        [f"{len(members)} images: {_abridged(members)}" for members in groups],
    )
    lines += _shown(
        "likely series (one part photographed again, or parts that look the same)",
        [f"{len(members)} images: {_abridged(members)}" for members in report["series"]],
    )
    leaking = len({test for test, _ in report["leaks"]})
    lines += _shown(
        f"leaks: pairs of a test and a training image that are one photograph ({leaking} test images)",
        [" = ".join(pair) for pair in report["leaks"]],
        report["n_leaks"],
    )
    lines += _shown(
        "conflicts: one photograph under two labels",
        [" = ".join(pair) for pair in report["conflicts"]],
        report["n_conflicts"],
    )
    return "\n".join(lines + _shown("unlike the others", [f"{e['path']}: {e['reason']}" for e in report["health"]]))


def _shown(name: str, findings: list[str], number: int | None = None) -> list[str]:
    number = len(findings) if number is None else number
    more = [f"  ... and {number - N_SHOWN} more"] if number > N_SHOWN else []
    return [f"{number} {name}", *(f"  {finding}" for finding in findings[:N_SHOWN]), *more]


def _abridged(paths: list[str]) -> str:
    return ", ".join(paths[:3]) + (", ..." if len(paths) > 3 else "")
