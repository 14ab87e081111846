"""What earlier runs found out about pairs of photographs, so that only new pairs are compared."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from inspection.audit import overlays, refinement, registration, signatures, spectra, squares
from inspection.audit.overlays import Overlay, PositionPair
from inspection.content_cache import ContentCache, describe_origin

_COMPARED = [signatures, spectra, squares]
"""What makes that by which two photographs are compared."""
_PACKAGES = ("numpy", "scipy", "opencv-python-headless")
_NEIGHBOUR = np.dtype([("pixels", "V32"), ("similarity", "<f4"), ("alignment", "<i2", (2, 2))])
_MEASURES = ("residual", "tail", "grain", "agreement", "coherence", "gain")


@dataclass(frozen=True)
class Neighbourhood:
    """Images, the neighbours of each, and what is known of the pairs.

    Attributes
    ----------
    images : ndarray of int, shape (n_images,)
    neighbours : ndarray of int, shape (n_images, n_neighbours)
    similarities : ndarray of float32, shape (n_images, n_neighbours)
        Of the spectra, see `inspection.audit.spectra.SpectralMatches`; NaN where it is not known.
    alignments : ndarray of int16, shape (n_images, n_neighbours, 2, 2)
        From there too; 0 where they are not known.
    """

    images: np.ndarray
    neighbours: np.ndarray
    similarities: np.ndarray
    alignments: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: slice | np.ndarray) -> "Neighbourhood":
        return Neighbourhood(self.images[rows], self.neighbours[rows], self.similarities[rows], self.alignments[rows])


class PairMemory:
    """Similarities, alignments and overlays of pairs, kept by the pixels of both photographs.

    Parameters
    ----------
    cache : ContentCache
    pixels : sequence of str
        ``pixels_sha256`` of each photograph, by position.
    min_correlation : float in [-1, 1]
        As in `inspection.audit.overlays.overlay`, for the overlays.

    Attributes
    ----------
    order : ndarray of int, shape (n_photographs,)
        Place of each photograph in an order that depends on the pixels alone.
    """

    def __init__(self, cache: ContentCache, pixels: Sequence[str], min_correlation: float):
        self._cache = cache
        self._pixels = list(pixels)
        self.order = np.argsort(np.argsort(self._pixels, kind="stable"))
        digests = (hashlib.sha256(fingerprint.encode()).digest() for fingerprint in self._pixels)
        self._digests = np.frombuffer(b"".join(digests), "V32")
        self._of_neighbours = describe_origin(_COMPARED, _PACKAGES, "neighbours")
        self._of_overlays = describe_origin(
            [*_COMPARED, refinement, registration, overlays], _PACKAGES, min_correlation
        )

    def recall(self, images: np.ndarray, neighbours: np.ndarray) -> Neighbourhood:
        """Return what is known of images and their neighbours.

        Parameters
        ----------
        images : ndarray of int, shape (n_images,)
        neighbours : ndarray of int, shape (n_images, n_neighbours)
        """
        similarities = np.full(neighbours.shape, np.nan, np.float32)
        alignments = np.zeros((*neighbours.shape, 2, 2), np.int16)
        known = self._cache.read(self._of_neighbours, (self._pixels[image] for image in images))
        for row, image in enumerate(images):
            entries = np.frombuffer(known.get(self._pixels[image], b""), _NEIGHBOUR)
            places = {pixels: place for place, pixels in enumerate(entries["pixels"].tolist())}
            found = [
                (column, places[pixels])
                for column, pixels in enumerate(self._digests[neighbours[row]].tolist())
                if pixels in places
            ]
            columns, at = np.array(found, int).reshape(-1, 2).T
            similarities[row, columns] = entries["similarity"][at]
            alignments[row, columns] = entries["alignment"][at]
        return Neighbourhood(images, neighbours, similarities, alignments)

    def keep(self, neighbourhood: Neighbourhood) -> None:
        """Keep what was found out about images, in the place of what was known of them.

        Parameters
        ----------
        neighbourhood : Neighbourhood
        """
        values = {}
        for row, image in enumerate(neighbourhood.images):
            entries = np.empty(neighbourhood.neighbours.shape[1], _NEIGHBOUR)
            entries["pixels"] = self._digests[neighbourhood.neighbours[row]]
            entries["similarity"] = neighbourhood.similarities[row]
            entries["alignment"] = neighbourhood.alignments[row]
            values[self._pixels[image]] = entries.tobytes()
        self._cache.write(self._of_neighbours, values)

    def overlays(self, alignments: Mapping[PositionPair, np.ndarray]) -> dict[PositionPair, Overlay | None]:
        """Return the overlays that are known; None for two that could not be laid over each other.

        Parameters
        ----------
        alignments : mapping of tuple of int to ndarray of int, shape (2, 2)
            Of each pair of positions, from which the comparison starts.
        """
        keys = {self._key(pair, alignment): pair for pair, alignment in alignments.items()}
        return {keys[key]: _unpack(value) for key, value in self._cache.read(self._of_overlays, keys).items()}

    def keep_overlays(
        self, alignments: Mapping[PositionPair, np.ndarray], overlays: Mapping[PositionPair, Overlay | None]
    ) -> None:
        """Keep overlays.

        Parameters
        ----------
        alignments : mapping of tuple of int to ndarray of int, shape (2, 2)
            As in `overlays`.
        overlays : mapping of tuple of int to Overlay or None
        """
        values = {self._key(pair, alignments[pair]): _pack(laid) for pair, laid in overlays.items()}
        self._cache.write(self._of_overlays, values)

    def _key(self, pair: PositionPair, alignment: np.ndarray) -> str:
        return f"{self._pixels[pair[0]]} {self._pixels[pair[1]]} {alignment.tolist()}"


def _pack(laid: Overlay | None) -> bytes:
    if laid is None:
        return b""
    measures = [getattr(laid, name) for name in _MEASURES]
    return np.concatenate([laid.transform.ravel(), measures]).astype("<f8").tobytes()


def _unpack(value: bytes) -> Overlay | None:
    if not value:
        return None
    numbers = np.frombuffer(value, "<f8")
    transform = numbers[:6].reshape(2, 3).astype(np.float32)
    return Overlay(transform, **dict(zip(_MEASURES, numbers[6:].tolist(), strict=True)))
