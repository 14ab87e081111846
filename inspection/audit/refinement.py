"""Refining how one picture lies over another, until the two correlate best.

Gauss and Newton's method in its inverse compositional form (Baker and Matthews, "Lucas-Kanade 20 years on",
International Journal of Computer Vision 56, 2004): what depends on the first picture alone is computed once for all
transforms and steps. From where spectra and shifts lead to, two steps come as near as more do.
"""

from typing import NamedTuple

import cv2
import numpy as np

_MAX_STEP = 0.2
"""Largest change of a parameter in one step, in half sides: what changes more is lost anyway."""
_LEAST_SLOPE = 1e-4
"""Added to the curvature: a picture without any detail moves nowhere."""
_LEAST_POWER = 1e-6
_BACKWARDS = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP


class Target(NamedTuple):
    """The picture that others are laid over, and what of it every one of them needs.

    Attributes
    ----------
    picture : ndarray of float32, shape (side, side)
    weighted : ndarray of float32, shape (6, side * side)
        How it changes with each parameter of a transform, within the disc.
    totals : ndarray of float32, shape (6,)
        Sums of ``weighted``.
    wanted : ndarray of float32, shape (1, 6)
        What a picture that lies right gives for ``weighted``.
    inverse : ndarray of float32, shape (6, 6)
        Of the curvature.
    """

    picture: np.ndarray
    weighted: np.ndarray
    totals: np.ndarray
    wanted: np.ndarray
    inverse: np.ndarray


class Refinement:
    """Refines affine transforms between pictures of one size.

    Parameters
    ----------
    side : int
        Of the pictures, in pixels.
    radius : float
        Of the disc of the first picture that counts, in half sides.
    smoothing : int
        Side of the Gaussian filter that both go through first, in pixels; odd.
    n_steps : int
    """

    def __init__(self, side: int, radius: float, smoothing: int, n_steps: int):
        self._side, self._smoothing, self._n_steps = side, smoothing, n_steps
        self._centre = np.full(2, (side - 1) / 2)
        y, x = (np.mgrid[:side, :side] - (side - 1) / 2) / (side / 2)
        self._disc = (np.hypot(x, y) < radius).ravel().astype(np.float32)
        self._n_pixels = np.count_nonzero(self._disc)
        self._coordinates = np.stack([x, y, np.ones_like(x)]).reshape(3, -1).astype(np.float32)

    def prepare(self, picture: np.ndarray) -> Target:
        """Compute what depends on the first picture alone.

        Parameters
        ----------
        picture : ndarray of float32, shape (side, side)
        """
        smooth = self._blur(picture)
        values = smooth.reshape(1, -1)
        mean, norm = self._statistics(values)
        # Per half side: 3 x 3 Sobel filters sum up to 8.
        slopes = (cv2.Sobel(smooth, cv2.CV_32F, *order, scale=self._side / 16) for order in ((1, 0), (0, 1)))
        descent = np.concatenate([self._coordinates * slope.ravel() for slope in slopes]) / norm
        weighted = descent * self._disc
        curvature = weighted @ descent.T + np.eye(6, dtype=np.float32) * _LEAST_SLOPE
        totals = weighted.sum(axis=1)
        wanted = (values @ weighted.T - mean * totals) / norm
        return Target(picture, weighted, totals, wanted, np.linalg.inv(curvature))

    def refine(self, target: Target, second: np.ndarray, transforms: np.ndarray) -> np.ndarray:
        """Refine transforms between two pictures, whose brightness and contrast do not matter.

        Parameters
        ----------
        target : Target
            The first, from `prepare`.
        second : ndarray of float32, shape (side, side)
        transforms : ndarray of float32, shape (n_transforms, 2, 3)
            From points (x, y) of the first to points of the second.

        Returns
        -------
        ndarray of float32, shape (n_transforms, 2, 3)
            Where the two do not overlap, anything.
        """
        second = self._blur(second)
        for _ in range(self._n_steps):
            moved = self._move(second, transforms)
            means, norms = self._statistics(moved)
            products = (moved @ target.weighted.T - means * target.totals) / norms
            steps = (products - target.wanted) @ target.inverse
            transforms = self._composed(transforms, np.clip(steps, -_MAX_STEP, _MAX_STEP).reshape(-1, 2, 3))
        return transforms

    def _blur(self, picture: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(picture, (self._smoothing, self._smoothing), 0)

    def _statistics(self, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return means over the disc, and norms of what differs from them; shape (n_pictures, 1)."""
        means = (pictures @ self._disc / self._n_pixels)[:, np.newaxis]
        powers = (pictures * pictures @ self._disc)[:, np.newaxis] - self._n_pixels * means**2
        return means, np.sqrt(np.maximum(powers, _LEAST_POWER))

    def _move(self, picture: np.ndarray, transforms: np.ndarray) -> np.ndarray:
        """Return what the picture shows in the frame of the first; shape (n_transforms, side * side)."""
        moved = np.empty((len(transforms), self._side, self._side), np.float32)
        for transform, place in zip(transforms, moved, strict=True):
            cv2.warpAffine(picture, transform, place.shape, dst=place, flags=_BACKWARDS)
        return moved.reshape(len(transforms), -1)

    def _composed(self, transforms: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Return transforms after the inverse of steps, which are in half sides about the centre."""
        back = np.linalg.inv(np.eye(2) + steps[..., :2])
        moved_centre = self._centre + steps[..., 2] * (self._side / 2)
        shifts = self._centre[:, np.newaxis] - back @ moved_centre[..., np.newaxis]
        linear = transforms[..., :2]
        return np.concatenate([linear @ back, linear @ shifts + transforms[..., 2:]], axis=-1).astype(np.float32)
