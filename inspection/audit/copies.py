"""Copies of one photograph among thousands: candidates by nearest neighbours, each confirmed by registration."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice, repeat

import cv2
import numpy as np
from joblib import Parallel, delayed
from scipy.cluster.hierarchy import DisjointSet
from sklearn.neighbors import NearestNeighbors

from inspection.audit.registration import Overlay, Signatures, descriptors, overlay, spectral_similarity
from inspection.data.groups import first_members

N_NEIGHBOURS = 100
"""Nearest descriptors whose spectra are compared."""
N_CANDIDATES = 12
"""Most similar spectra that are registered."""
MIN_CORRELATION = 0.75
"""Of the textures after rough registration, below which a candidate is not followed up."""
MAX_RESIDUAL = 0.95
"""In multiples of what interpolation and compression leave in a copy."""
MAX_TAIL = 2.0
MAX_GRAIN = 1.8
MAX_STRETCH = 1.15
_ROUNDS = 2
"""The second one compares one image per group: more than ``N_NEIGHBOURS`` copies hide each other's neighbours."""
MIN_SERIES_AGREEMENT = 0.985
"""Median local correlation of two photographs of one part."""
MAX_SERIES_RESIDUAL = 3.0
MAX_SERIES_DISPLACEMENT = 0.1
"""In sides of the picture: between two shots of a series the part hardly moves."""
_CHUNK = 64
MIN_PARALLEL = 300
"""Images from which starting further processes pays."""


@dataclass(frozen=True)
class Pair:
    """Two images and how they lie over each other.

    Attributes
    ----------
    first, second : int
        Positions in the list of signatures, ``first < second``.
    overlay : Overlay or None
        None when they cannot be laid over each other.
    """

    first: int
    second: int
    overlay: Overlay | None


def is_copy(found: Overlay | None) -> bool:
    """Whether nothing but compression and interpolation tells two photographs apart."""
    return (
        found is not None
        and found.residual <= MAX_RESIDUAL
        and found.tail <= MAX_TAIL
        and found.grain <= MAX_GRAIN
        and found.stretch <= MAX_STRETCH
    )


def is_series(found: Overlay | None) -> bool:
    """Whether two photographs likely show one part in one place, with other noise or in other light."""
    return (
        found is not None
        and found.agreement >= MIN_SERIES_AGREEMENT
        and found.residual <= MAX_SERIES_RESIDUAL
        and found.displacement <= MAX_SERIES_DISPLACEMENT
    )


def compare_neighbours(
    signatures: Signatures, progress: Callable[..., Iterable] = lambda items, total, what: items
) -> tuple[np.ndarray, list[Pair]]:
    """Find the copies among photographs.

    Parameters
    ----------
    signatures : Signatures
    progress : callable, optional
        Wraps the iterable of comparisons; called with it, their number and what is done.

    Returns
    -------
    heads : ndarray of int, shape (n_images,)
        Equal for copies of one photograph: the position of the first of them.
    pairs : list of Pair
        Every comparison made; neighbours that were found to be copies already are not compared again.
    """
    photographs, pairs, seen, n_compared = DisjointSet(range(len(signatures))), [], set(), None
    if not len(signatures):
        return first_members(photographs), pairs
    vectors = _standardise(descriptors(signatures))
    n_jobs = -1 if len(signatures) >= MIN_PARALLEL else 1
    # Arrays of this size reach the processes as files that they map into memory, once.
    with Parallel(n_jobs=n_jobs, return_as="generator") as parallel:
        for _ in range(_ROUNDS):
            members = np.unique(first_members(photographs))
            if len(members) == n_compared:
                break
            n_compared = len(members)
            candidates = _candidates(signatures, members, vectors, parallel, progress)
            planned = [_pairs(members, ranked) for ranked in candidates.T]
            registered = _register(signatures, planned, photographs, seen, parallel)
            for pair in progress(registered, len(set().union(*planned) - seen), "comparing"):
                # None stands for two that are known to be copies by then.
                if pair is not None:
                    pairs.append(pair)
                    if is_copy(pair.overlay):
                        photographs.merge(pair.first, pair.second)
    return first_members(photographs), pairs


def _standardise(vectors: np.ndarray) -> np.ndarray:
    return (vectors - vectors.mean(0)) / (vectors.std(0) + 1e-6)


def _candidates(signatures: Signatures, members: np.ndarray, vectors: np.ndarray, parallel, progress) -> np.ndarray:
    """Return for every member the positions of the images most like it; shape (n_members, at most N_CANDIDATES)."""
    n_neighbours = min(N_NEIGHBOURS, len(members) - 1)
    if n_neighbours < 1:
        return np.empty((len(members), 0), int)
    search = NearestNeighbors(n_neighbors=n_neighbours, metric="cosine", algorithm="brute").fit(vectors[members])
    # Without an argument a row is not its own neighbour.
    near = members[search.kneighbors(return_distance=False)]
    tasks = (
        delayed(_shortlist)(signatures.spectra, *zip(*chunk, strict=True))
        for chunk in _chunks(zip(members, near, strict=True))
    )
    return np.array(list(progress(chain.from_iterable(parallel(tasks)), len(members), "finding candidates")))


def _shortlist(spectra: np.ndarray, positions: tuple, near: tuple) -> list[np.ndarray]:
    best = []
    for position, others in zip(positions, near, strict=True):
        order = np.argsort(-spectral_similarity(spectra, position, others), kind="stable")
        best.append(others[order[:N_CANDIDATES]])
    return best


def _pairs(members: np.ndarray, ranked: np.ndarray) -> set[tuple[int, int]]:
    return {tuple(sorted((int(one), int(other)))) for one, other in zip(members, ranked, strict=True)}


def _register(
    signatures: Signatures, planned: list[set], photographs: DisjointSet, seen: set, parallel: Parallel
) -> Iterator[Pair | None]:
    """Compare the best candidates of all first: what they join need not be compared further down."""
    for pairs in planned:
        unseen = pairs - seen
        seen |= unseen
        new = sorted(pair for pair in unseen if not photographs.connected(*pair))
        yield from repeat(None, len(unseen) - len(new))
        yield from chain.from_iterable(parallel(delayed(_compare)(signatures, chunk) for chunk in _chunks(new)))


def _chunks(items: Iterable) -> Iterator[tuple]:
    items = iter(items)
    while chunk := tuple(islice(items, _CHUNK)):
        yield chunk


def _compare(signatures: Signatures, pairs: tuple[tuple[int, int], ...]) -> list[Pair]:
    cv2.setNumThreads(1)
    return [Pair(first, second, overlay(signatures, first, second, MIN_CORRELATION)) for first, second in pairs]
