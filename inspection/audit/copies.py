"""Copies of one photograph among thousands: candidates by nearest neighbours, each confirmed by registration."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from operator import attrgetter, itemgetter

import cv2
import numpy as np
from joblib import Parallel, delayed
from scipy.cluster.hierarchy import DisjointSet
from sklearn import config_context
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler
from sklearn.utils import gen_batches

from inspection.audit.overlays import Overlay, PositionPair, overlay_pairs
from inspection.audit.pair_memory import Neighbourhood, PairMemory
from inspection.audit.signatures import Signatures
from inspection.audit.spectra import SpectralMatches, descriptors, match_spectra, reverse_alignment
from inspection.content_cache import NO_CACHE, ContentCache
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
_SEARCHED_MEBIBYTES = 64
"""Of distances at once; their order takes as much again."""
_RANKS_IN_TURN = 2
"""Candidates of an image that are compared before the others. They join most copies, which saves comparisons; of the
others, sorted, many follow each other that share their first photograph."""
_BATCH = 64
"""Pairs that are laid over each other per task."""
_MATCHED = 4096
"""Pairs of which the spectra are matched per task."""

Progress = Callable[[Iterable, int, str], Iterable]
"""Wraps an iterable of work; called with it, its length and what is done."""
Alignments = dict[PositionPair, np.ndarray]
"""Pairs, each with how the spectrum of the second lies over that of the first: int, shape (2, 2)."""
Task = tuple[Callable, tuple, dict]
"""From joblib's ``delayed``."""


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
    return (
        laid is not None
        and laid.residual <= MAX_RESIDUAL
        and laid.tail <= MAX_TAIL
        and laid.grain <= MAX_GRAIN
        and laid.stretch <= MAX_STRETCH
        and not _are_exposures(laid)
    )


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


def _are_exposures(laid: Overlay) -> bool:
    has_other_gain = max(laid.gain, 1 / laid.gain) > MAX_COPY_GAIN
    return has_other_gain and laid.turn <= MAX_TURN and laid.coherence < MIN_COPY_COHERENCE


def compare_neighbours(
    signatures: Signatures, progress: Progress = no_progress, cache: ContentCache = NO_CACHE, pixels: Sequence[str] = ()
) -> tuple[np.ndarray, list[Pair]]:
    """Find the copies among photographs.

    Parameters
    ----------
    signatures : Signatures
    progress : callable, optional
    cache : ContentCache, optional
        What it knows of two photographs is not computed again, and what it does not is kept.
    pixels : sequence of str, optional
        ``pixels_sha256`` of each photograph, by which the cache knows it.

    Returns
    -------
    heads : ndarray of int, shape (n_images,)
        Equal for copies of one photograph: the position of the first of them.
    pairs : list of Pair
        Every comparison made, by position; neighbours that are known to be copies already are not compared again.
    """
    memory = PairMemory(cache, pixels or [""] * len(signatures), MIN_CORRELATION)
    photographs: DisjointSet = DisjointSet(range(len(signatures)))
    pairs: list[Pair] = []
    planned: set[PositionPair] = set()
    with Parallel(n_jobs=-1, return_as="generator") as parallel:
        for _ in range(_ROUNDS):
            representatives = np.unique(first_members(photographs))
            candidates = _find_candidates(signatures, representatives, parallel, progress, memory)
            plan = _plan_pairs(candidates, planned)
            planned.update(*plan)
            compared = _compare_pairs(signatures, plan, photographs, parallel, memory)
            for pair in progress(compared, sum(map(len, plan)), "comparing"):
                if pair is not None:
                    pairs.append(pair)
                    if is_copy(pair.overlay):
                        photographs.merge(pair.first, pair.second)
            if photographs.n_subsets == len(representatives):
                # Nothing was joined, so the neighbours would be the same again.
                break
    return first_members(photographs), sorted(pairs, key=attrgetter("first", "second"))


def _find_candidates(
    signatures: Signatures, images: np.ndarray, parallel: Parallel, progress: Progress, memory: PairMemory
) -> list[Alignments]:
    """Return for every image its pairs with those most like it, at most `N_CANDIDATES`, the best first.

    Parameters
    ----------
    images : ndarray of int, shape (n_images,)
        Positions; candidates are among them.
    """
    n_neighbours = min(N_NEIGHBOURS, len(images) - 1)
    if n_neighbours < 1:
        return []
    vectors = StandardScaler().fit_transform(descriptors(signatures.spectra))[images]
    search = NearestNeighbors(n_neighbors=n_neighbours, metric="cosine", algorithm="brute").fit(vectors)
    with config_context(working_memory=_SEARCHED_MEBIBYTES):
        # Without an argument a row is not its own neighbour.
        nearest = search.kneighbors(return_distance=False)
    known = memory.recall(images, images[nearest])
    is_new = np.isnan(known.similarities)
    _match_neighbours(signatures.spectra, known, is_new, memory.order, parallel, progress)
    memory.keep(known[is_new.any(axis=1)])
    return [_best_pairs(known, row) for row in range(len(images))]


def _match_neighbours(
    spectra: np.ndarray,
    known: Neighbourhood,
    is_new: np.ndarray,
    order: np.ndarray,
    parallel: Parallel,
    progress: Progress,
) -> None:
    """Fill in what is not known of neighbours: of each two once, whether one or both are the other's neighbour.

    Parameters
    ----------
    is_new : ndarray of bool, shape (n_images, n_neighbours)
    order : ndarray of int, shape (n_photographs,)
        The first of two in it is the one that the other is matched with: the last digits depend on which it is.
    """
    if not is_new.any():
        return
    rows, columns = np.nonzero(is_new)
    images, neighbours = known.images[rows], known.neighbours[rows, columns]
    is_reversed = order[images] > order[neighbours]
    firsts, seconds = np.where(is_reversed, (neighbours, images), (images, neighbours))
    codes, places = np.unique(firsts * len(spectra) + seconds, return_inverse=True)
    pairs = np.stack(np.divmod(codes, len(spectra)), axis=1)
    tasks = (delayed(_match_batch)(spectra, pairs[batch]) for batch in gen_batches(len(pairs), _MATCHED))
    found = []

    def pairs_matched() -> Iterator[int]:
        for matched in _run(tasks, parallel, len(pairs) // N_NEIGHBOURS):
            found.append(matched)
            yield from range(len(matched.similarities))

    deque(progress(pairs_matched(), len(pairs), "finding candidates"), maxlen=0)
    matches = SpectralMatches.joined(found)
    alignments = matches.alignments[places]
    alignments[is_reversed] = reverse_alignment(alignments[is_reversed])
    known.similarities[rows, columns], known.alignments[rows, columns] = matches.similarities[places], alignments


def _match_batch(spectra: np.ndarray, pairs: np.ndarray) -> SpectralMatches:
    """Match the second of each pair with the first; pairs of the same first follow each other."""
    firsts, starts = np.unique(pairs[:, 0], return_index=True)
    return SpectralMatches.joined(
        match_spectra(spectra[first], spectra[seconds])
        for first, seconds in zip(firsts, np.split(pairs[:, 1], starts[1:]), strict=True)
    )


def _run(tasks: Iterable[Task], parallel: Parallel, n_items: int) -> Iterator:
    """Yield what each task returns, from further processes where there is enough to do."""
    if n_items >= MIN_PARALLEL:
        return parallel(tasks)
    return (function(*arguments, **options) for function, arguments, options in tasks)


def _best_pairs(known: Neighbourhood, row: int) -> Alignments:
    """Return the pairs of one image with the neighbours whose spectra are most similar, the best first."""
    image, best = int(known.images[row]), np.argsort(-known.similarities[row], kind="stable")[:N_CANDIDATES]
    return {
        (min(image, other), max(image, other)): alignment if image < other else reverse_alignment(alignment)
        for other, alignment in zip(
            known.neighbours[row, best].tolist(), known.alignments[row, best].astype(int), strict=True
        )
    }


def _plan_pairs(candidates: list[Alignments], planned: set[PositionPair]) -> list[Alignments]:
    """Return the pairs by rank, each once, at its best rank, without those planned before; the last ranks together."""
    known, plan = set(planned), []
    ranks = list(zip(*(pairs.items() for pairs in candidates), strict=True))
    for column in (*ranks[:_RANKS_IN_TURN], chain.from_iterable(ranks[_RANKS_IN_TURN:])):
        pairs = {pair: alignment for pair, alignment in sorted(column, key=itemgetter(0)) if pair not in known}
        known.update(pairs)
        plan.append(pairs)
    return plan


def _compare_pairs(
    signatures: Signatures, plan: list[Alignments], photographs: DisjointSet, parallel: Parallel, memory: PairMemory
) -> Iterator[Pair | None]:
    """Yield the planned comparisons, and None for two that are known to be copies by then.

    The best candidates of all images come first: what they join need not be compared further down.
    """
    for pairs in plan:
        wanted = {pair: alignment for pair, alignment in pairs.items() if not photographs.connected(*pair)}
        yield from repeat(None, len(pairs) - len(wanted))
        known = memory.overlays(wanted)
        new = [pair for pair in wanted if pair not in known]
        tasks = (
            delayed(_compare_batch)(signatures, new[batch], np.array([pairs[pair] for pair in new[batch]]))
            for batch in (gen_batches(len(new), _BATCH) if new else ())
        )
        yield from (Pair(*pair, laid) for pair, laid in known.items())
        found = {}
        for pair, laid in zip(new, chain.from_iterable(_run(tasks, parallel, len(new))), strict=True):
            found[pair] = laid
            yield Pair(*pair, laid)
        memory.keep_overlays(wanted, found)


def _compare_batch(signatures: Signatures, pairs: list[PositionPair], alignments: np.ndarray) -> list[Overlay | None]:
    cv2.setNumThreads(1)
    return overlay_pairs(signatures, pairs, alignments, MIN_CORRELATION)
