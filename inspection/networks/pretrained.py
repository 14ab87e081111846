"""Frozen pretrained networks as they are served: cut at feature maps, pooled, and exported to ONNX."""

import math
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from inspection.config import FeatureParams, PatchParams
from inspection.errors import ConfigError
from inspection.networks.cnn import FLIP_AXES
from inspection.networks.graph import Layer, bottlenecks, extract_layers, output_nodes
from inspection.networks.onnx_export import export_onnx
from inspection.networks.sources import PretrainedNetwork
from inspection.networks.weights import load_pretrained

_PATCH_STRIDE = 8
"""In pixels, of a patch map."""
_PATCH_STRIDES = 4, _PATCH_STRIDE, 16
"""In pixels, of the maps that make a patch map: what is smaller than the first is hardly seen."""


def export_backbone(name: str, params: FeatureParams, path: str | Path, patches: PatchParams | None = None) -> None:
    """Export a backbone to one ONNX file.

    Input ``images``: uint8, (n_images, image_size, image_size, 3). Outputs: ``features``, float32, (n_images,
    n_features), the pooled layers one after the other, each by every pooling in turn; ``feature_map``, float32,
    (n_images, n_channels, rows, columns), the last of the layers; and with ``patches``, in the same pass,
    ``patch_map``, see `make_patch_map`.

    Parameters
    ----------
    name : str
        One of `inspection.networks.sources.available_backbones`.
    params : FeatureParams
    path : str or Path
        Of the file to be written.
    patches : PatchParams, optional
        Its size is not looked at.

    Raises
    ------
    ConfigError
        If the backbone or one of its layers is unknown.
    WeightsError
        If its weights cannot be had; see `inspection.networks.weights.load_pretrained`.
    """
    network = build_feature_network(name, params, patches)
    metadata = {
        "name": name,
        "weights": network.provenance,
        "layers": " ".join(network.layers),
        "pooling": " ".join(network.pooling),
        "flips": " ".join(params.flips),
    }
    outputs = ["features", "feature_map"]
    if patches is not None:
        metadata["patch_layers"] = " ".join(network.patch_layers)
        outputs.append("patch_map")
    export_onnx(network, path, params.image_size, outputs, metadata)


def export_patch_network(name: str, params: FeatureParams, patches: PatchParams, path: str | Path) -> None:
    """Export what makes patch maps of photographs of another size than that of the features.

    Parameters
    ----------
    name : str
        One of `inspection.networks.sources.available_backbones`.
    params : FeatureParams
        Of which the weights count.
    patches : PatchParams
    path : str or Path
        Of the file to be written.

    Raises
    ------
    ConfigError
        If the backbone or one of its layers is unknown.
    WeightsError
        If its weights cannot be had; see `inspection.networks.weights.load_pretrained`.
    """
    pretrained = load_pretrained(name, params.weights.get(name))
    layers = patches.layers.get(name) or patch_layers(pretrained.network, patches.image_size)
    network = PatchNetwork(pretrained, layers, name)
    metadata = {"name": name, "weights": pretrained.provenance, "patch_layers": " ".join(layers)}
    export_onnx(network, path, patches.image_size, ["patch_map"], metadata)


def build_feature_network(name: str, params: FeatureParams, patches: PatchParams | None = None) -> "FeatureNetwork":
    """Load a backbone and cut it at the layers that ``params`` asks for, by default the last feature map.

    Parameters
    ----------
    name : str
        One of `inspection.networks.sources.available_backbones`.
    params : FeatureParams
    patches : PatchParams, optional
        As in `export_backbone`.

    Raises
    ------
    ConfigError
        If the backbone or one of its layers is unknown.
    WeightsError
        If its weights cannot be had; see `inspection.networks.weights.load_pretrained`.
    """
    pretrained = load_pretrained(name, params.weights.get(name))
    layers = params.layers.get(name) or [last_feature_map(pretrained.network, params.image_size)]
    of_patches: list[str] = []
    if patches is not None:
        of_patches = patches.layers.get(name) or patch_layers(pretrained.network, params.image_size)
    return FeatureNetwork(pretrained, layers, params.pooling, params.flips, name, of_patches)


class Normalising(torch.nn.Module):
    """What gives a pretrained network photographs as it expects them.

    Parameters
    ----------
    pretrained : PretrainedNetwork
    """

    def __init__(self, pretrained: PretrainedNetwork):
        super().__init__()
        self._mean: Tensor
        self._std: Tensor
        self.register_buffer("_mean", 255 * torch.tensor(pretrained.mean).view(1, 3, 1, 1))
        self.register_buffer("_std", 255 * torch.tensor(pretrained.std).view(1, 3, 1, 1))

    def normalise(self, pixels: Tensor) -> Tensor:
        """Return photographs as the network expects them.

        Parameters
        ----------
        pixels : Tensor of float32, shape (n_images, 3, size, size), in [0, 255]
            RGB.

        Returns
        -------
        Tensor of float32, same shape
        """
        return (pixels - self._mean) / self._std


class CutNetwork(Normalising):
    """Normalisation and a backbone up to the layers wanted.

    Parameters
    ----------
    pretrained : PretrainedNetwork
    layers : mapping of str to sequence of str
        By the setting of params.yaml that names them: graph nodes whose output is a feature map (n_images, n_channels,
        rows, columns) or a token sequence (n_images, n_tokens, n_channels).

    Raises
    ------
    ConfigError
        If a layer is unknown.
    """

    def __init__(self, pretrained: PretrainedNetwork, layers: Mapping[str, Sequence[str]]):
        super().__init__(pretrained)
        try:
            self._nodes = output_nodes(pretrained.network, chain(*layers.values()))
            self._extractor = extract_layers(pretrained.network, list(dict.fromkeys(self._nodes.values())))
        except ValueError as problem:
            named = [setting for setting, names in layers.items() if any(repr(name) in str(problem) for name in names)]
            raise ConfigError(f"{' and '.join(named or layers)}: {problem}") from problem
        self.provenance = pretrained.provenance

    def maps(self, normalised: Tensor) -> dict[str, Tensor]:
        """Return the feature map of each layer, shape (n_images, n_channels, rows, columns).

        Parameters
        ----------
        normalised : Tensor of float32, shape (n_images, 3, size, size)
        """
        outputs = self._extractor(normalised)
        return {layer: as_map(outputs[node]) for layer, node in self._nodes.items()}


class PatchNetwork(CutNetwork):
    """What makes patch maps.

    Parameters
    ----------
    pretrained : PretrainedNetwork
    layers : list of str
    name : str
        Of the backbone, for error messages.
    """

    def __init__(self, pretrained: PretrainedNetwork, layers: list[str], name: str):
        super().__init__(pretrained, {f"patch_memory.layers.{name}": layers})
        self.layers = layers

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Return the patch maps of photographs, see `make_patch_map`.

        Parameters
        ----------
        images : Tensor of uint8, shape (n_images, size, size, 3)
            RGB.
        """
        maps = self.maps(self.normalise(images.permute(0, 3, 1, 2).float()))
        return (make_patch_map([maps[layer] for layer in self.layers], images.shape[1]),)


class FeatureNetwork(CutNetwork):
    """Normalisation, the backbone up to the layers wanted, and pooling.

    Parameters
    ----------
    pretrained : PretrainedNetwork
    layers : list of str
        That are pooled.
    pooling : list of {"avg", "max", "std"}
        Over all positions of a feature map.
    flips : sequence of {"horizontal", "vertical", "both"}
        Mirror images over which features are averaged, together with the image as it lies. Quarter turns are left out:
        parts lie in a fixed direction more often than not, and on solar cells they cost accuracy.
    name : str
        Of the backbone, for error messages.
    of_patches : sequence of str
        Layers of the patch map; without any there is none.
    """

    def __init__(
        self,
        pretrained: PretrainedNetwork,
        layers: list[str],
        pooling: Sequence[str],
        flips: Sequence[str],
        name: str,
        of_patches: Sequence[str] = (),
    ):
        super().__init__(pretrained, {f"features.layers.{name}": layers, f"patch_memory.layers.{name}": of_patches})
        self.layers, self.pooling, self.patch_layers = layers, pooling, of_patches
        self._views = [(), *(FLIP_AXES[flip] for flip in flips)]

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the features and the last feature map of photographs, and their patch map where it is wanted.

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
        patch_map : Tensor of float32, shape (n_images, rows, columns, n_channels)
            See `make_patch_map`; of the photographs as they lie.
        """
        normalised = self.normalise(images.permute(0, 3, 1, 2).float())
        # One batch of all views: a network per view would be a graph as many times larger to export, load and hold.
        maps = self.maps(torch.cat([normalised.flip(axes) if axes else normalised for axes in self._views]))
        pooled = torch.cat([_pool(maps[layer].flatten(2), how) for layer in self.layers for how in self.pooling], 1)
        as_they_lie = {layer: map_.unflatten(0, (len(self._views), -1))[0] for layer, map_ in maps.items()}
        features = pooled.unflatten(0, (len(self._views), -1)).mean(0)
        if not self.patch_layers:
            return features, as_they_lie[self.layers[-1]]
        patch_map = make_patch_map([as_they_lie[layer] for layer in self.patch_layers], images.shape[1])
        return features, as_they_lie[self.layers[-1]], patch_map


def make_patch_map(maps: Sequence[Tensor], image_size: int) -> Tensor:
    """Return what a network sees around every position of a photograph.

    As in PatchCore (Roth et al., CVPR 2022) maps are averaged over neighbourhoods of 3 x 3, brought to one size and put
    one after the other. Before, the vectors of each are made unit vectors: their length follows exposure and contrast.
    Of finer maps the largest and the smallest value in each patch are taken, since a mean would hide what is smaller
    than a patch; exposure and contrast are there taken off the photograph as a whole, so that what stands out from it
    still does.

    Parameters
    ----------
    maps : sequence of Tensor of float32, shape (n_images, n_channels, rows, columns)
        Of square photographs; sizes and numbers of channels may differ.
    image_size : int
        Side of the photographs in pixels.

    Returns
    -------
    Tensor of float32, shape (n_images, rows, columns, n_all_channels)
        Of the size of the finest map that has no more than one position for 8 x 8 pixels, or of the coarsest if all
        have more. A map of that size or coarser gives as many channels as it has, a finer one twice as many.
    """
    sides = [map_.shape[-1] for map_ in maps]
    side = max((side for side in sides if side * _PATCH_STRIDE <= image_size), default=min(sides))
    parts = [_extremes(map_, side) if map_.shape[-1] > side else _directions(map_, side) for map_ in maps]
    return torch.cat(parts, 1).permute(0, 2, 3, 1)


def _directions(map_: Tensor, side: int) -> Tensor:
    averaged = functional.avg_pool2d(map_, 3, 1, 1, count_include_pad=False)
    return functional.normalize(_resized(averaged, side), dim=1)


def _extremes(map_: Tensor, side: int) -> Tensor:
    """Return the largest values in each of side x side patches and after them the smallest."""
    squared_length = map_.square().sum(1, keepdim=True).mean((2, 3), keepdim=True)
    levelled = map_ / squared_length.sqrt().clamp_min(1e-6)
    patch_side = map_.shape[-1] // side
    largest, negated_smallest = (functional.max_pool2d(signed, patch_side) for signed in (levelled, -levelled))
    return torch.cat([_resized(largest, side), -_resized(negated_smallest, side)], 1)


def _resized(map_: Tensor, side: int) -> Tensor:
    return map_ if map_.shape[-1] == side else functional.interpolate(map_, (side, side), mode="bilinear")


def patch_layers(network: torch.nn.Module, image_size: int) -> list[str]:
    """Name the layers whose maps make a patch map where params.yaml names none.

    The first of them sees what is small; those before see edges, which every part has, and the last of the network see
    what the photographs show that it was trained on.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode.
    image_size : int
        Side of the input in pixels.

    Returns
    -------
    list of str
        The last map of a quarter of the size, of an eighth and of a sixteenth, as far as there are such.
        Maps inside a block that are wider than what it takes and gives are left out.

    Raises
    ------
    ConfigError
        If no layer has positions.
    """
    layers = [layer for layer in bottlenecks(network, image_size) if _has_positions(layer.shape)]
    chosen = [last for stride in _PATCH_STRIDES if (last := _last_of_side(layers, image_size // stride)) is not None]
    return chosen or [last_with_positions(layers, image_size)]


def _last_of_side(layers: list[Layer], side: int) -> str | None:
    """Name the last map of a size that is no wider than the narrowest of the next smaller size.

    Networks widen as their maps shrink. What is wider is a map inside a block, expanded to be made smaller.
    """
    of_side = [layer for layer in layers if _map_side(layer.shape) == side]
    smaller = [layer for layer in layers if _map_side(layer.shape) < side]
    next_side = max((_map_side(layer.shape) for layer in smaller), default=0)
    limit = min((_width(layer.shape) for layer in smaller if _map_side(layer.shape) == next_side), default=None)
    narrow = [layer for layer in of_side if limit is None or _width(layer.shape) <= limit] or of_side
    return narrow[-1].name if narrow else None


def _width(shape: tuple[int, ...]) -> int:
    return shape[1] if len(shape) == 4 else shape[2]


def _map_side(shape: tuple[int, ...]) -> int:
    return shape[-1] if len(shape) == 4 else math.isqrt(shape[1])


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
