"""Frozen pretrained networks as they are served: cut at feature maps, pooled, and exported to ONNX."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from inspection.config import FeatureParams
from inspection.errors import ConfigError
from inspection.networks.cnn import FLIP_AXES
from inspection.networks.graph import Layer, bottlenecks, extract_layers
from inspection.networks.onnx_export import export_onnx
from inspection.networks.sources import PretrainedNetwork
from inspection.networks.weights import load_pretrained


def export_backbone(name: str, params: FeatureParams, path: str | Path) -> None:
    """Export a backbone to one ONNX file.

    Input ``images``: uint8, (n_images, image_size, image_size, 3). Outputs: ``features``, float32, (n_images,
    n_features), the pooled layers one after the other, each by every pooling in turn; and ``feature_map``, float32,
    (n_images, n_channels, rows, columns), the last of the layers.

    Parameters
    ----------
    name : str
        One of `inspection.networks.sources.available_backbones`.
    params : FeatureParams
    path : str or Path
        Of the file to be written.

    Raises
    ------
    ConfigError
        If the backbone or one of its layers is unknown.
    WeightsError
        If its weights cannot be had; see `inspection.networks.weights.load_pretrained`.
    """
    network = build_feature_network(name, params)
    metadata = {
        "name": name,
        "weights": network.provenance,
        "layers": " ".join(network.layers),
        "pooling": " ".join(network.pooling),
        "flips": " ".join(params.flips),
    }
    export_onnx(network, path, params.image_size, ["features", "feature_map"], metadata)


def build_feature_network(name: str, params: FeatureParams) -> "FeatureNetwork":
    """Load a backbone and cut it at the layers that ``params`` asks for, by default the last feature map.

    Parameters
    ----------
    name : str
        One of `inspection.networks.sources.available_backbones`.
    params : FeatureParams

    Raises
    ------
    ConfigError
        If the backbone or one of its layers is unknown.
    WeightsError
        If its weights cannot be had; see `inspection.networks.weights.load_pretrained`.
    """
    pretrained = load_pretrained(name, params.weights.get(name))
    layers = params.layers.get(name) or [last_feature_map(pretrained.network, params.image_size)]
    return FeatureNetwork(pretrained, layers, params.pooling, params.flips, name)


class FeatureNetwork(torch.nn.Module):
    """Normalisation, the backbone up to the layers wanted, and pooling.

    Parameters
    ----------
    pretrained : PretrainedNetwork
    layers : list of str
        Names of graph nodes whose output is a feature map (n_images, n_channels, rows, columns) or a token sequence
        (n_images, n_tokens, n_channels).
    pooling : list of {"avg", "max", "std"}
        Over all positions of a feature map.
    flips : sequence of {"horizontal", "vertical", "both"}
        Mirror images over which features are averaged, together with the image as it lies. Quarter turns are left out:
        parts lie in a fixed direction more often than not, and on solar cells they cost accuracy.
    name : str
        Of the backbone, for error messages.
    """

    def __init__(
        self,
        pretrained: PretrainedNetwork,
        layers: list[str],
        pooling: Sequence[str],
        flips: Sequence[str],
        name: str,
    ):
        super().__init__()
        try:
            self._extractor = extract_layers(pretrained.network, layers)
        except ValueError as problem:
            raise ConfigError(f"features.layers.{name}: {problem}") from problem
        self.layers, self.pooling, self.provenance = layers, pooling, pretrained.provenance
        self._views = [(), *(FLIP_AXES[flip] for flip in flips)]
        self._mean: Tensor
        self._std: Tensor
        self.register_buffer("_mean", 255 * torch.tensor(pretrained.mean).view(1, 3, 1, 1))
        self.register_buffer("_std", 255 * torch.tensor(pretrained.std).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features and the last feature map of photographs.

        Parameters
        ----------
        images : Tensor of uint8, shape (n_images, size, size, 3)
            RGB.

        Returns
        -------
        features : Tensor of float32, shape (n_images, n_features)
            The pooled layers one after the other, each by every pooling in turn.
        feature_map : Tensor of float32, shape (n_images, n_channels, rows, columns)
            The last of the layers, of the photographs as they lie.
        """
        normalised = (images.permute(0, 3, 1, 2).float() - self._mean) / self._std
        # One batch of all views: a network per view would be a graph as many times larger to export, load and hold.
        maps = self._maps(torch.cat([normalised.flip(axes) if axes else normalised for axes in self._views]))
        pooled = torch.cat([_pool(map_.flatten(2), how) for map_ in maps for how in self.pooling], 1)
        views = (len(self._views), -1)
        return pooled.unflatten(0, views).mean(0), maps[-1].unflatten(0, views)[0]

    def _maps(self, images: Tensor) -> list[Tensor]:
        maps = self._extractor(images)
        return [as_map(maps[layer]) for layer in self.layers]


def last_feature_map(network: torch.nn.Module, image_size: int) -> str:
    """Name the last layer that still has positions: what the network's own global pooling would receive.

    Everything passes through it, and it comes before the layers that name classes.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode.
    image_size : int
        Side of the input in pixels.

    Returns
    -------
    str
        A graph node whose output has 4 dimensions with more than one position, or 3 (tokens); poolings are left out.

    Raises
    ------
    ConfigError
        If no layer has positions.
    """
    return last_with_positions(bottlenecks(network, image_size), image_size)


def last_with_positions(layers: list[Layer], image_size: int) -> str:
    """Name the last feature map among layers; see `last_feature_map`.

    Parameters
    ----------
    layers : list of Layer
        From `inspection.networks.graph.bottlenecks`.
    image_size : int
        Side of the input in pixels.

    Raises
    ------
    ConfigError
        If no layer has positions.
    """
    with_positions = [
        layer.name for layer in layers if "pool" not in layer.name.split(".")[-1] and _has_positions(layer.shape)
    ]
    if not with_positions:
        raise ConfigError(f"image_size = {image_size} is too small for this backbone: no feature map is left.")
    return with_positions[-1]


def _has_positions(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 or (len(shape) == 4 and shape[1] > 1 and shape[2] * shape[3] > 1)


def as_map(output: Tensor) -> Tensor:
    """Return what a layer gives as a map of positions.

    The tokens of a transformer are laid out as the patches of the square image lie. Those before them (the class
    token, registers) stand for no position and are dropped.

    Parameters
    ----------
    output : Tensor, shape (n_images, n_channels, rows, columns) or (n_images, n_tokens, n_channels)

    Returns
    -------
    Tensor, shape (n_images, n_channels, rows, columns)
    """
    if output.ndim != 3:
        return output
    side = math.isqrt(output.shape[1])
    patches = output[:, output.shape[1] - side * side :]
    return patches.transpose(1, 2).unflatten(2, (side, side))


def _pool(positions: Tensor, how: str) -> Tensor:
    if how == "avg":
        return positions.mean(2)
    if how == "max":
        return positions.amax(2)
    return positions.std(2, correction=0)
