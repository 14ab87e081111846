"""Copies of one photograph among thousands: candidates by nearest neighbours, each confirmed by registration."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, repeat
from operator import itemgetter

import cv2
import numpy as np
from joblib import Parallel, delayed
from scipy.cluster.hierarchy import DisjointSet
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler
from sklearn.utils import gen_batches

from inspection.audit.overlays import Overlay, overlay_pairs
from inspection.audit.signatures import (
    Signatures,
    align_spectra,
    descriptors,
    reverse_alignment,
    spectral_similarity,
)
from inspection.data.groups import first_members

N_NEIGHBOURS = 100
"""Nearest descriptors whose spectra are compared."""
N_CANDIDATES = 12
"""Most similar spectra that are registered."""
MIN_CORRELATION = 0.75
"""Of the textures after rough registration, below which a candidate is not followed up; 95 of 100 exposures of one
part and more than 99 of 100 copies reach it."""

MAX_RESIDUAL = 0.95
"""In multiples of what interpolation and compression leave in a copy; another exposure begins right above."""
MAX_GRAIN = 1.8
MAX_TURNED_RESIDUAL = 1.1
"""For two that are turned against each other, as exposures are not, see `MAX_TURN`: fine regular texture loses more in
the interpolation of a turn. Chosen between copies of textures and the nearest strangers among cells and castings."""
MAX_TURNED_GRAIN = 2.1
MAX_TAIL = 2.0
MAX_STRETCH = 1.15
MAX_COPY_GAIN = 1.1
"""Ratio of brightness above which two photographs in one position are taken for exposures."""
MIN_COPY_COHERENCE = 0.998
"""Unless they share even the finest detail this well; another exposure brings noise of its own."""

MAX_TURN = 10.0
"""Degrees: between two exposures of a part it lies in the same position."""
MIN_SERIES_AGREEMENT = 0.75
"""Median local correlation of two exposures of one part."""
MAX_SERIES_RESIDUAL = 2.0
MAX_SERIES_DISPLACEMENT = 0.2
"""In sides of the picture: crops differ and the part hardly moves."""

MIN_PARALLEL = 300
"""Images from which starting further processes pays."""
_ROUNDS = 2
"""The second one compares one image per group: more than ``N_NEIGHBOURS`` copies hide each other's neighbours."""
_BATCH = 64
"""Images or pairs per task."""

Progress = Callable[[Iterable, int, str], Iterable]
"""Wraps an iterable of work; called with it, its length and what is done."""
PositionPair = tuple[int, int]
Plan = list[dict[PositionPair, np.ndarray]]
"""Pairs by rank, each with how the spectrum of the second lies over that of the first: int, shape (2, 2)."""


def no_progress(items: Iterable, total: int, what: str) -> Iterable:
    """Show nothing.

    Parameters
    ----------
    items : iterable
        Returned as it is.
    total : int
        Length of ``items``.
    what : str
        What is done.
    """
    return items


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


def is_copy(laid: Overlay | None) -> bool:
    """Whether nothing but compression, interpolation and brightening tells two photographs apart.

    Two exposures of a part with much fine detail leave as small a residual as a copy does. But they lie in one position
    and differ in brightness, and each has noise of its own.

    Parameters
    ----------
    laid : Overlay or None
    """
    if laid is None or laid.tail > MAX_TAIL or laid.stretch > MAX_STRETCH:
        return False
    if laid.turn > MAX_TURN:
        return laid.residual <= MAX_TURNED_RESIDUAL and laid.grain <= MAX_TURNED_GRAIN
    has_other_gain = max(laid.gain, 1 / laid.gain) > MAX_COPY_GAIN
    is_exposure = has_other_gain and laid.coherence < MIN_COPY_COHERENCE
    return laid.residual <= MAX_RESIDUAL and laid.grain <= MAX_GRAIN and not is_exposure


def is_series(laid: Overlay | None) -> bool:
    """Whether two photographs likely show one part in one position, with other noise, in other light or cropped anew.

    Parameters
    ----------
    laid : Overlay or None
    """
    return (
        laid is not None
        and laid.agreement >= MIN_SERIES_AGREEMENT
        and laid.residual <= MAX_SERIES_RESIDUAL
        and laid.displacement <= MAX_SERIES_DISPLACEMENT
        and laid.turn <= MAX_TURN
    )


def compare_neighbours(signatures: Signatures, progress: Progress = no_progress) -> tuple[np.ndarray, list[Pair]]:
    """Find the copies among photographs.

    Parameters
    ----------
    signatures : Signatures
    progress : callable, optional

    Returns
    -------
    heads : ndarray of int, shape (n_images,)
        Equal for copies of one photograph: the position of the first of them.
    pairs : list of Pair
        Every comparison made; neighbours that are known to be copies already are not compared again.
    """
    photographs: DisjointSet = DisjointSet(range(len(signatures)))
    pairs: list[Pair] = []
    planned: set[PositionPair] = set()
    n_jobs = -1 if len(signatures) >= MIN_PARALLEL else 1
    # Arrays of this size reach the processes as files that they map into memory, once.
    with Parallel(n_jobs=n_jobs, return_as="generator") as parallel:
        for _ in range(_ROUNDS):
            representatives = np.unique(first_members(photographs))
            candidates = _find_candidates(signatures, representatives, parallel, progress)
            plan = _plan_pairs(candidates, planned)
            planned.update(*plan)
            compared = _compare_pairs(signatures, plan, photographs, parallel)
            for pair in progress(compared, sum(map(len, plan)), "comparing"):
                if pair is not None:
                    pairs.append(pair)
                    if is_copy(pair.overlay):
                        photographs.merge(pair.first, pair.second)
            if photographs.n_subsets == len(representatives):
                # Nothing was joined, so the neighbours would be the same again.
                break
    return first_members(photographs), pairs


def _find_candidates(
    signatures: Signatures, images: np.ndarray, parallel: Parallel, progress: Progress
) -> list[dict[PositionPair, np.ndarray]]:
    """Return for every image its pairs with those most like it, the best first.

    Parameters
    ----------
    images : ndarray of int, shape (n_images,)
        Positions; candidates are among them.

    Returns
    -------
    list of dict
        At most `N_CANDIDATES` pairs of each image, with their alignment as in `Plan`.
    """
    n_neighbours = min(N_NEIGHBOURS, len(images) - 1)
    if n_neighbours < 1:
        return []
    vectors = StandardScaler().fit_transform(descriptors(signatures))[images]
    search = NearestNeighbors(n_neighbors=n_neighbours, metric="cosine", algorithm="brute").fit(vectors)
    # Without an argument a row is not its own neighbour.
    neighbours = images[search.kneighbors(return_distance=False)]
    ranked = parallel(
        delayed(_rank)(signatures.spectra, images[batch], neighbours[batch])
        for batch in gen_batches(len(images), _BATCH)
    )
    return list(progress(chain.from_iterable(ranked), len(images), "finding candidates"))


def _rank(spectra: np.ndarray, images: np.ndarray, neighbours: np.ndarray) -> list[dict[PositionPair, np.ndarray]]:
    """Return the pairs of each image with the neighbours whose spectra are most similar, the best first."""
    ranked = []
    for image, others in zip(images.tolist(), neighbours, strict=True):
        order = np.argsort(-spectral_similarity(spectra[image], spectra[others]), kind="stable")
        best = others[order[:N_CANDIDATES]]
        alignments = align_spectra(spectra[image], spectra[best])
        ranked.append(
            {
                (min(image, other), max(image, other)): alignment if image < other else reverse_alignment(alignment)
                for other, alignment in zip(best.tolist(), alignments, strict=True)
            }
        )
    return ranked


def _plan_pairs(candidates: list[dict[PositionPair, np.ndarray]], planned: set[PositionPair]) -> Plan:
    """Return the pairs by rank, each once, at its best rank, without those planned before."""
    known, plan = set(planned), []
    for column in zip(*(pairs.items() for pairs in candidates), strict=True):
        pairs = {pair: alignment for pair, alignment in sorted(column, key=itemgetter(0)) if pair not in known}
        known.update(pairs)
        plan.append(pairs)
    return plan


def _compare_pairs(
    signatures: Signatures, plan: Plan, photographs: DisjointSet, parallel: Parallel
) -> Iterator[Pair | None]:
    """Yield the planned comparisons, and None for two that are known to be copies by then.

    The best candidates of all images come first: what they join need not be compared further down.
    """
    for pairs in plan:
        unknown = [pair for pair in pairs if not photographs.connected(*pair)]
        yield from repeat(None, len(pairs) - len(unknown))
        batches = (unknown[batch] for batch in gen_batches(len(unknown), _BATCH)) if unknown else ()
        compared = parallel(
            delayed(_compare_batch)(signatures, batch, np.array([pairs[pair] for pair in batch])) for batch in batches
        )
        yield from chain.from_iterable(compared)


def _compare_batch(signatures: Signatures, pairs: list[PositionPair], alignments: np.ndarray) -> list[Pair]:
    cv2.setNumThreads(1)
    laid = overlay_pairs(signatures, pairs, alignments, MIN_CORRELATION)
    return [Pair(*pair, found) for pair, found in zip(pairs, laid, strict=True)]
