"""What photographs are compared by: a small square of each, its texture, and a spectrum that motion hardly changes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from inspection.audit.mapped_arrays import mapped_zeros
from inspection.audit.spectra import N_HARMONICS, N_RADII, make_spectrum
from inspection.audit.squares import HALF_SIDE, SIDE, at_half_size, texture


@dataclass(frozen=True)
class Signatures:
    """Photographs, prepared for comparison: everything that would otherwise be computed again for every pair.

    Attributes
    ----------
    squares : ndarray of uint8, shape (n_images, SIDE, SIDE)
        Central square of each, grey.
    spectra : ndarray of float32, shape (n_images, 33, 2, 64)
        Of the central disc, see `inspection.audit.spectra`.
    half_textures : ndarray of float32, shape (n_images, SIDE / 2, SIDE / 2)
        `texture` of each square at half the size.
    """

    squares: np.ndarray
    spectra: np.ndarray
    half_textures: np.ndarray

    @classmethod
    def zeros(cls, n_images: int, is_shared: bool = False) -> "Signatures":
        """Return room for so many.

        Parameters
        ----------
        n_images : int
        is_shared : bool
            Whether further processes will read them.
        """
        zeros = mapped_zeros if is_shared else np.zeros
        return cls(
            zeros((n_images, SIDE, SIDE), np.uint8),
            zeros((n_images, N_HARMONICS, 2, N_RADII), np.float32),
            zeros((n_images, HALF_SIDE, HALF_SIDE), np.float32),
        )

    def __len__(self) -> int:
        return len(self.squares)

    def __getitem__(self, positions: slice | np.ndarray) -> "Signatures":
        return Signatures(self.squares[positions], self.spectra[positions], self.half_textures[positions])

    def put(self, position: int, signature: "Signature") -> None:
        """Fill in one photograph.

        Parameters
        ----------
        position : int
        signature : Signature
        """
        self.squares[position], self.spectra[position], self.half_textures[position] = signature


class Signature(NamedTuple):
    """One photograph, prepared for comparison: what `Signatures` holds of each.

    Attributes
    ----------
    square : ndarray of uint8, shape (SIDE, SIDE)
    spectrum : ndarray of float32, shape (33, 2, 64)
    half_texture : ndarray of float32, shape (SIDE / 2, SIDE / 2)
    """

    square: np.ndarray
    spectrum: np.ndarray
    half_texture: np.ndarray

    def to_bytes(self) -> bytes:
        """Return what `from_bytes` reads."""
        return b"".join(np.ascontiguousarray(array).tobytes() for array in self)

    @classmethod
    def from_bytes(cls, data: bytes) -> "Signature":
        """Return what `to_bytes` wrote.

        Parameters
        ----------
        data : bytes
        """
        square, rest = data[: SIDE**2], np.frombuffer(data, np.float32, offset=SIDE**2)
        spectrum, half_texture = np.split(rest, [N_HARMONICS * 2 * N_RADII])
        return cls(
            np.frombuffer(square, np.uint8).reshape(SIDE, SIDE),
            spectrum.reshape(N_HARMONICS, 2, N_RADII),
            half_texture.reshape(HALF_SIDE, HALF_SIDE),
        )


def make_signature(square: np.ndarray) -> Signature:
    """Prepare a photograph for comparison.

    Parameters
    ----------
    square : ndarray of uint8, shape (SIDE, SIDE)
        From `central_square`.
    """
    detail = texture(square.astype(np.float32))
    return Signature(square, make_spectrum(detail), at_half_size(detail))


def make_signatures(squares: Iterable[np.ndarray]) -> Signatures:
    """Prepare photographs for comparison.

    Parameters
    ----------
    squares : iterable of ndarray of uint8, shape (SIDE, SIDE)
        From `central_square`.
    """
    squares = list(squares)
    signatures = Signatures.zeros(len(squares))
    for position, square in enumerate(squares):
        signatures.put(position, make_signature(square))
    return signatures
