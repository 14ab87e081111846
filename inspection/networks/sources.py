"""Where backbones come from: the table of their sources, to which a plugin can add one.

Nothing here imports torch: the station imports plugins too, and has none.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class PretrainedNetwork:
    """A classifier with its weights, and what they expect of an image.

    Attributes
    ----------
    network : torch.nn.Module
        In evaluation mode.
    mean, std : tuple of float
        Per channel, of pixel values scaled to [0, 1].
    provenance : str
        Where the weights come from.
    """

    network: "torch.nn.Module"
    mean: tuple[float, ...]
    std: tuple[float, ...]
    provenance: str


class BackboneSource(ABC):
    """Architectures by name, and the weights that were published with them.

    Attributes
    ----------
    mean, std : tuple of float
        What the weights expect: per channel, of pixel values scaled to [0, 1]. By default those of ImageNet.
    """

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    @abstractmethod
    def names(self) -> Sequence[str]:
        """Return the names of the backbones, in the order of messages."""

    @abstractmethod
    def architecture(self, name: str) -> "torch.nn.Module":
        """Build a network whose weights are of no account yet.

        Parameters
        ----------
        name : str
            One of `names`.
        """

    @abstractmethod
    def published(self, name: str) -> "tuple[torch.nn.Module, str]":
        """Build a network with the weights that were published with it.

        Parameters
        ----------
        name : str
            One of `names`.

        Returns
        -------
        network : torch.nn.Module
        provenance : str
            Where the weights come from, in one line that changes when they do.

        Raises
        ------
        WeightsError
            If the weights cannot be had; then there is no network.
        """


BACKBONE_SOURCES: dict[str, BackboneSource] = {}
"""By a name of each; `inspection.networks.weights` adds those of the project. Of two that know a backbone the first has
it."""


def available_backbones() -> list[str]:
    """Names of the backbones of every source."""
    return [name for source in BACKBONE_SOURCES.values() for name in source.names()]
