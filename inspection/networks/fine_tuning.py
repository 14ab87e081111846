"""Fine-tuning: the first layers of a pretrained network stay as they are, the rest learns from the photographs."""

import copy
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn

from inspection.config import AugmentParams, FineTuningParams
from inspection.errors import ConfigError
from inspection.networks.cnn import FLIPS, AveragedCNN, MemberCNN
from inspection.networks.feature_maps import as_map, last_with_positions
from inspection.networks.graph import Layer, bottlenecks, cut_out, extract_layers
from inspection.networks.onnx_export import export_onnx
from inspection.networks.onnx_models import BATCH_SIZE, OnnxModel
from inspection.networks.pretrained import Normalising
from inspection.networks.recipes import Progress, Recipe
from inspection.networks.scratch import ScratchArray
from inspection.networks.sources import PretrainedNetwork

_STRIDE = 16
"""Without a layer named, what is frozen ends where the map is this many times smaller than the image: early layers see
edges and texture, which are alike everywhere, and they take most of the time."""


class Stem(Normalising):
    """Normalisation and the frozen layers.

    Parameters
    ----------
    pretrained : PretrainedNetwork
    layer : str
        The last frozen one.
    """

    def __init__(self, pretrained: PretrainedNetwork, layer: str):
        super().__init__(pretrained)
        self._layer = layer
        self._extractor = extract_layers(pretrained.network, [layer])

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the output of the last frozen layer.

        Parameters
        ----------
        pixels : Tensor of float32, shape (n_images, 3, size, size), in [0, 255]
            RGB.
        """
        maps: Tensor = self._extractor(self.normalise(pixels))[self._layer]
        return maps


class ServedStem(nn.Module):
    """A stem as it is exported: uint8 photographs in.

    Parameters
    ----------
    stem : Stem
    """

    def __init__(self, stem: Stem):
        super().__init__()
        self._stem = stem

    def forward(self, images: Tensor) -> Tensor:
        """Return the output of the last frozen layer.

        Parameters
        ----------
        images : Tensor of uint8, shape (n_images, size, size, 3)
            RGB.
        """
        maps: Tensor = self._stem(images.permute(0, 3, 1, 2).float())
        return maps


class Tail(MemberCNN):
    """The layers that learn, called with maps of the stem.

    Of the network's own regularisation, what is no layer (functional dropout, stochastic depth) stays off.

    Parameters
    ----------
    body : torch.nn.Module
        From the stem's map to the last feature map.
    n_channels : int
        Of the last feature map.
    dropout : float in [0, 1)
    """

    def __init__(self, body: nn.Module, n_channels: int, dropout: float):
        super().__init__(n_channels, dropout)
        self.body = body

    def forward_features(self, inputs: Tensor) -> Tensor:
        return as_map(self.body(inputs))


class FineTuning(Recipe):
    """A pretrained network cut in two: the stem stays as it is, the tail is trained on what the stem makes of images.

    The networks that are served together share the stem, which looks at each photograph once.

    Parameters
    ----------
    name : str
        Of the architecture, for error messages.
    pretrained : PretrainedNetwork
    params : FineTuningParams
    augment : AugmentParams
        Flips and rotations only: what the frozen layers make of every orientation is computed once, and changes of
        brightness and contrast have no such short list.

    Raises
    ------
    ConfigError
        If the layer up to which weights stay is unknown, or is bypassed by a shortcut.
    """

    def __init__(self, name: str, pretrained: PretrainedNetwork, params: FineTuningParams, augment: AugmentParams):
        self.image_size, self.flips, self.schedule = params.image_size, augment.flips, params
        self._name, self._max_gigabytes = name, params.max_scratch_gb
        self._orientations = _orientations(augment)
        layers = bottlenecks(pretrained.network, params.image_size)
        last = last_with_positions(layers, params.image_size)
        try:
            self.layer = params.frozen.get(name) or _last_frozen(layers, params.image_size)
            self.stem = Stem(pretrained, self.layer).eval()
            self._body = cut_out(pretrained.network, self.layer, last)
        except ValueError as problem:
            raise ConfigError(f"fine_tuning.frozen.{name}: {problem}") from problem
        with torch.inference_mode():
            maps = self.stem(torch.zeros(1, 3, params.image_size, params.image_size))
            self._map_shape, self._n_channels = maps.shape[1:], as_map(self._body(maps)).shape[1]

    def prepare(self, images: np.ndarray, progress: Progress) -> np.ndarray:
        """Run the frozen layers over every orientation of every image.

        Parameters
        ----------
        images : ndarray of uint8, shape (n_images, image_size, image_size, 3)
        progress : callable
            Wraps an iterable of long work; called with it and its length.

        Returns
        -------
        ndarray of float16, shape (n_images, n_orientations, n_channels, rows, columns)
            Read from a file without a name in the temporary folder, which is gone with the array.

        Raises
        ------
        ConfigError
            If the maps would take more space than allowed, or than there is.
        """
        shape = (len(images), len(self._orientations), *self._map_shape)
        maps = ScratchArray(
            shape,
            self._max_gigabytes,
            f"fine-tuning {self._name} on {len(images)} photographs in {len(self._orientations)} orientations",
            f"freeze up to a later layer (fine_tuning.frozen.{self._name}) whose maps are smaller, lower "
            "fine_tuning.image_size, or turn off cnn.augment.rotations",
        )
        stem = self._exported_stem
        starts = range(0, len(images), BATCH_SIZE)
        with maps:
            for start in progress(starts, len(starts)):
                batch = images[start : start + BATCH_SIZE]
                maps.append(np.stack([stem.run(turn(batch), "maps") for turn in self._orientations], 1))
            return maps.read()

    def make(self) -> Tail:
        # A copy: every training starts from the pretrained weights.
        return Tail(copy.deepcopy(self._body), self._n_channels, self.schedule.dropout)

    def augmented(self, prepared: np.ndarray, rows: np.ndarray) -> Tensor:
        chosen = torch.randint(prepared.shape[1], (len(rows),)).numpy()
        return torch.from_numpy(prepared[rows, chosen]).float()

    def views(self, prepared: np.ndarray, rows: np.ndarray) -> Iterator[Tensor]:
        return (torch.from_numpy(prepared[rows, view]).float() for view in range(len(FLIPS) if self.flips else 1))

    def average(self, members: Sequence[MemberCNN]) -> AveragedCNN:
        return AveragedCNN(members, self.stem, self.flips)

    @cached_property
    def _exported_stem(self) -> OnnxModel:
        with TemporaryDirectory() as folder:
            file = Path(folder) / "stem.onnx"
            export_onnx(ServedStem(self.stem), file, self.image_size, ["maps"], {})
            return OnnxModel(file.read_bytes(), f"the frozen part of {self._name}")


def _orientations(augment: AugmentParams) -> list[Callable[[np.ndarray], np.ndarray]]:
    """Return what training chooses from at random; with flips, the views averaged later come first."""
    turns = range(4) if augment.rotations else range(1)
    if not augment.flips:
        return [partial(_turn_and_flip, k=k, axes=()) for k in turns]
    # Half a turn is both flips, so a quarter turn before every flip completes the eight.
    return [partial(_turn_and_flip, k=k, axes=axes) for k in turns[:2] for axes in FLIPS]


def _turn_and_flip(images: np.ndarray, k: int, axes: tuple[int, ...]) -> np.ndarray:
    # The channels come last here.
    return np.flip(np.rot90(images, k, (1, 2)), tuple(axis - 1 for axis in axes))


def _last_frozen(layers: list[Layer], image_size: int) -> str:
    """Name the first layer with a small enough map, at which the network can be cut in two."""
    for layer in layers:
        if layer.is_strict and len(layer.shape) == 4 and layer.shape[-1] <= image_size // _STRIDE:
            return layer.name
    raise ValueError("no layer with a small enough map has everything pass through it; name one.")
