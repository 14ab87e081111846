"""How networks of one architecture are trained: what they see of a photograph, and how it is changed at random."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from inspection.config import AugmentParams, CnnParams, ScheduleParams
from inspection.networks.cnn import FLIPS, AveragedCNN, BaselineCNN, MemberCNN

Progress = Callable[[Iterable[int], int], Iterable[int]]
"""Wraps an iterable of long work; called with it and its length."""

_LUMINANCE = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
"""Weights of red, green and blue in the brightness that is seen (ITU-R BT.601)."""


class Recipe(ABC):
    """How networks of one architecture are trained.

    Attributes
    ----------
    image_size : int
        Side of the photographs in pixels.
    flips : bool
        Whether scores are averaged over an image and its three flips.
    schedule : ScheduleParams
    """

    image_size: int
    flips: bool
    schedule: ScheduleParams

    def prepare(self, images: np.ndarray, progress: Progress) -> np.ndarray:
        """Return what training needs of each photograph, once for all trainings.

        Parameters
        ----------
        images : ndarray of uint8, shape (n_images, image_size, image_size, 3)
        progress : callable
            Wraps an iterable of long work; called with it and its length.
        """
        return images

    @abstractmethod
    def make(self) -> MemberCNN:
        """Return a network to be trained."""

    @abstractmethod
    def augmented(self, prepared: np.ndarray, rows: np.ndarray) -> Tensor:
        """Return a batch of inputs to train on, each randomly changed by torch's generator.

        Parameters
        ----------
        prepared : ndarray, shape (n_all_images, ...)
            What `prepare` returns.
        rows : ndarray of int, shape (n_images,)
            Of ``prepared``.

        Returns
        -------
        Tensor of float32, shape (n_images, n_channels, rows, columns)
        """

    @abstractmethod
    def views(self, prepared: np.ndarray, rows: np.ndarray) -> Iterator[Tensor]:
        """Yield a batch of inputs to score, once per view to be averaged; first the photographs as they lie.

        Parameters
        ----------
        prepared : ndarray, shape (n_all_images, ...)
            What `prepare` returns.
        rows : ndarray of int, shape (n_images,)
            Of ``prepared``.

        Yields
        ------
        Tensor, shape (n_images, n_channels, rows, columns)
        """

    def average(self, members: Sequence[MemberCNN]) -> AveragedCNN:
        """Return the network to be served, not yet calibrated.

        Parameters
        ----------
        members : sequence of MemberCNN
            Made by `make`.
        """
        return AveragedCNN(members, flips=self.flips)


class BaselineRecipe(Recipe):
    """BaselineCNN from scratch, on photographs flipped, turned and changed in brightness and contrast at random.

    Parameters
    ----------
    params : CnnParams
    """

    def __init__(self, params: CnnParams):
        self.image_size, self.flips, self.schedule = params.image_size, params.augment.flips, params
        self._channels, self._augment = params.channels, params.augment

    def make(self) -> BaselineCNN:
        return BaselineCNN(self._channels, self.schedule.dropout)

    def augmented(self, prepared: np.ndarray, rows: np.ndarray) -> Tensor:
        return change_at_random(_as_pixels(prepared[rows]), self._augment)

    def views(self, prepared: np.ndarray, rows: np.ndarray) -> Iterator[Tensor]:
        pixels = _as_pixels(prepared[rows])
        return (pixels.flip(axes) for axes in (FLIPS if self.flips else FLIPS[:1]))


def change_at_random(pixels: Tensor, augment: AugmentParams) -> Tensor:
    """Flip, turn, brighten and contrast each image of a batch by torch's generator.

    Brightness and contrast are those of torchvision's ColorJitter: a factor between 1 - strength and 1 + strength on
    the pixel values, and one on their distance from the image's mean brightness. They are always applied in this
    order, to numbers that are not rounded between; without values cut off at black and white the order is the same.

    Parameters
    ----------
    pixels : Tensor of uint8, shape (n_images, 3, size, size)
        Overwritten.
    augment : AugmentParams

    Returns
    -------
    Tensor of float32, shape (n_images, 3, size, size), in [0, 255]
    """
    n_images = len(pixels)
    if augment.flips:
        for axis in (2, 3):
            is_flipped = torch.rand(n_images) < 0.5
            pixels[is_flipped] = pixels[is_flipped].flip(axis)
    if augment.rotations:
        turns = torch.randint(4, (n_images,))
        for k in range(1, 4):
            pixels[turns == k] = pixels[turns == k].rot90(k, (2, 3))
    values = pixels.float()
    if augment.brightness:
        values = (values * _factors(n_images, augment.brightness)).clamp(0, 255)
    if augment.contrast:
        mean = (values.mean((2, 3), keepdim=True) * _LUMINANCE).sum(1, keepdim=True)
        values = (mean + (values - mean) * _factors(n_images, augment.contrast)).clamp(0, 255)
    return values


def _factors(n_images: int, strength: float) -> Tensor:
    return torch.empty(n_images, 1, 1, 1).uniform_(1 - strength, 1 + strength)


def _as_pixels(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2)
