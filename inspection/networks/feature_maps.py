"""Feature maps of a network: which layers have them, laid out by position, and what patches are compared by."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from inspection.errors import ConfigError
from inspection.networks.graph import Layer, bottlenecks

_PATCH_STRIDE = 8
"""In pixels, of a patch map."""
_PATCH_STRIDES = 4, _PATCH_STRIDE, 16
"""In pixels, of the maps that make a patch map: what is smaller than the first is hardly seen."""


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
