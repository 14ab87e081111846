"""Frozen pretrained networks as they are served: cut at feature maps, pooled, and exported to ONNX."""

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from inspection.config import FeatureParams, PatchParams
from inspection.errors import ConfigError
from inspection.networks.cnn import FLIP_AXES
from inspection.networks.feature_maps import as_map, last_feature_map, make_patch_map, patch_layers
from inspection.networks.graph import extract_layers, output_nodes
from inspection.networks.onnx_export import export_onnx
from inspection.networks.sources import PretrainedNetwork
from inspection.networks.weights import load_pretrained


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


def _pool(positions: Tensor, how: str) -> Tensor:
    if how == "avg":
        return positions.mean(2)
    if how == "max":
        return positions.amax(2)
    return positions.std(2, correction=0)
