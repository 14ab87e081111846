"""Fine-tuning: the first layers of a pretrained network stay as they are, the rest learns from the photographs."""

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from timm.models import create_feature_extractor, get_graph_node_names
from torch import fx, nn

from inspection.config import BASELINE_CNN, AugmentParams, CnnParams, FineTuningParams
from inspection.errors import ConfigError
from inspection.networks.cnn import FLIPS, CalibratedCNN
from inspection.networks.onnx_export import export_onnx
from inspection.networks.onnx_models import BATCH_SIZE, OnnxModel
from inspection.networks.pretrained import PretrainedNetwork, as_map, last_feature_map, load_pretrained
from inspection.networks.training import BaselineRecipe, Recipe

_STRIDE = 16
"""Without a layer named, what is frozen ends where the map is this many times smaller than the image: early layers see
edges and texture, which are alike everywhere, and they take most of the time."""


class Stem(nn.Module):
    """Normalisation and the frozen layers.

    Parameters
    ----------
    pretrained : PretrainedNetwork
    layer : str
        The last frozen one.
    """

    def __init__(self, pretrained: PretrainedNetwork, layer: str):
        super().__init__()
        self._layer = layer
        self._extractor = create_feature_extractor(pretrained.network, [layer])
        self.register_buffer("_mean", 255 * torch.tensor(pretrained.mean).view(1, 3, 1, 1))
        self.register_buffer("_std", 255 * torch.tensor(pretrained.std).view(1, 3, 1, 1))

    def forward(self, pixels):
        """Map (n_images, 3, size, size) in [0, 255] to the map of the last frozen layer."""
        return self._extractor((pixels - self._mean) / self._std)[self._layer]


class ServedStem(nn.Module):
    """A stem as it is exported: uint8 photographs in.

    Parameters
    ----------
    stem : Stem
    """

    def __init__(self, stem: Stem):
        super().__init__()
        self._stem = stem

    def forward(self, images):
        """Map (n_images, size, size, 3) uint8 to the map of the last frozen layer."""
        return self._stem(images.permute(0, 3, 1, 2).float())


class Tail(CalibratedCNN):
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

    def forward_features(self, inputs):
        return as_map(self.body(inputs))


class FineTunedCNN(nn.Module):
    """Stem and tail together: photographs in [0, 255] in, calibrated logits out.

    Parameters
    ----------
    stem : Stem
    tail : Tail
    """

    def __init__(self, stem: Stem, tail: Tail):
        super().__init__()
        self.stem, self.tail = stem, tail

    def forward_features(self, inputs):
        """Return the last feature map, shape (n_images, n_channels, rows, columns)."""
        return self.tail.forward_features(self.stem(inputs))

    def forward_head(self, feature_map):
        """Return calibrated logits, shape (n_images, 2), of a feature map."""
        return self.tail.forward_head(feature_map)

    def forward(self, inputs):
        """Return calibrated logits, shape (n_images, 2), of photographs."""
        return self.forward_head(self.forward_features(inputs))


class FineTuning(Recipe):
    """A pretrained network cut in two: the stem stays as it is, the tail is trained on what the stem makes of images.

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
        self._network, self._orientations = pretrained.network, _orientations(augment)
        self._last = last_feature_map(self._network, params.image_size)
        try:
            self.layer = params.frozen.get(name) or _last_frozen(self._network, self._last, params.image_size)
            self.stem = Stem(pretrained, self.layer).eval()
            self._make_body()
        except ValueError as problem:
            raise ConfigError(f"fine_tuning.frozen.{name}: {problem}") from problem

    def prepare(self, images: np.ndarray, scratch: str | Path, progress: Callable) -> np.ndarray:
        """Run the frozen layers over every orientation of every image.

        Returns
        -------
        ndarray of float16, shape (n_images, n_orientations, n_channels, rows, columns)
            In a file of the scratch folder.
        """
        file, maps = Path(scratch) / "stem.onnx", None
        export_onnx(ServedStem(self.stem), file, self.image_size, ["maps"], {})
        stem = OnnxModel(file.read_bytes(), file.name)
        starts = range(0, len(images), BATCH_SIZE)
        for start in progress(starts, len(starts)):
            batch = images[start : start + BATCH_SIZE]
            of_batch = np.stack([stem.run(turn(batch), "maps") for turn in self._orientations], 1)
            if maps is None:
                shape = (len(images), *of_batch.shape[1:])
                maps = np.lib.format.open_memmap(Path(scratch) / "maps.npy", "w+", np.float16, shape)
            maps[start : start + BATCH_SIZE] = of_batch
        return maps

    def make(self) -> Tail:
        with torch.inference_mode():
            pixels = torch.zeros(1, 3, self.image_size, self.image_size)
            last = create_feature_extractor(self._network, [self._last])(pixels)[self._last]
        # A copy: every training starts from the pretrained weights.
        return Tail(copy.deepcopy(self._make_body()), as_map(last).shape[1], self.schedule.dropout)

    def augment(self, prepared: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(prepared[int(torch.randint(len(prepared), ()))]).float()

    def views(self, prepared: np.ndarray) -> list[torch.Tensor]:
        return [torch.from_numpy(prepared[:, view]).float() for view in range(len(FLIPS) if self.flips else 1)]

    def finish(self, network: Tail) -> FineTunedCNN:
        return FineTunedCNN(self.stem, network).eval()

    def _make_body(self) -> fx.GraphModule:
        extractor = create_feature_extractor(self._network, [self.layer, self._last]).eval()
        graph = extractor.graph
        [output] = [node for node in graph.nodes if node.op == "output"]
        [images] = [node for node in graph.nodes if node.op == "placeholder"]
        ends = output.args[0]
        with graph.inserting_before(images):
            maps = graph.placeholder("maps")
        ends[self.layer].replace_all_uses_with(maps)
        output.args = (ends[self._last],)
        # Checks of the image's shape, which transformers make, have an effect and would be kept; they use the image.
        graph.eliminate_dead_code(lambda node: node.op in ("placeholder", "output"))
        if images.users:
            raise ValueError(
                f"{self.layer!r} is bypassed by a shortcut or comes too late; name an earlier layer that everything "
                "passes through."
            )
        graph.erase_node(images)
        return fx.GraphModule(extractor, graph)


def make_recipe(name: str, cnn: CnnParams, fine_tuning: FineTuningParams, weights: dict[str, str]) -> Recipe:
    """Return how an architecture is trained: BaselineCNN from scratch, any other fine-tuned.

    Parameters
    ----------
    name : str
        ``baseline_cnn`` or a name of `inspection.networks.pretrained.available_backbones`.
    cnn : CnnParams
    fine_tuning : FineTuningParams
    weights : dict of str to str
        Own weights by architecture; see `inspection.networks.pretrained.load_pretrained`.

    Raises
    ------
    ConfigError, WeightsError
        See `FineTuning` and `inspection.networks.pretrained.load_pretrained`.
    """
    if name == BASELINE_CNN:
        return BaselineRecipe(cnn)
    return FineTuning(name, load_pretrained(name, weights.get(name)), fine_tuning, cnn.augment)


def _orientations(augment: AugmentParams) -> list[Callable[[np.ndarray], np.ndarray]]:
    """Return what training chooses from at random; with flips, the views averaged later come first."""
    turns = range(4) if augment.rotations else range(1)
    if not augment.flips:
        return [partial(_turn_and_flip, k=k, axes=()) for k in turns]
    # Half a turn is both flips, so a quarter turn before every flip completes the eight.
    return [partial(_turn_and_flip, k=k, axes=axes) for k in turns[:2] for axes in FLIPS]


def _turn_and_flip(images: np.ndarray, k: int, axes: tuple[int, ...]) -> np.ndarray:
    # The channels come last here.
    return np.flip(np.rot90(images, k, (1, 2)), [axis - 1 for axis in axes])


def _last_frozen(network: nn.Module, last: str, image_size: int) -> str:
    """Name the first layer with a small enough map through which everything passes."""
    names = get_graph_node_names(network)[1]
    names = names[: names.index(last)]
    extractor = create_feature_extractor(network, names).eval()
    [output] = [node for node in extractor.graph.nodes if node.op == "output"]
    order = {node: position for position, node in enumerate(extractor.graph.nodes)}
    with torch.inference_mode():
        maps = extractor(torch.zeros(1, 3, image_size, image_size))
    reach = _reach(order, output)
    for name, node in output.args[0].items():
        map_ = maps[name]
        is_small = isinstance(map_, torch.Tensor) and map_.ndim == 4 and map_.shape[-1] <= image_size // _STRIDE
        if is_small and reach[order[node]] <= order[node]:
            return name
    raise ValueError("no layer with a small enough map has everything pass through it; name one.")


def _reach(order: dict[fx.Node, int], output: fx.Node) -> list[int]:
    """Return, for each position in the graph, the last position at which a value from before it is used."""
    reach, farthest = [], -1
    for node in order:
        reach.append(farthest)
        farthest = max([farthest, *(order[user] for user in node.users if user is not output)])
    return reach
