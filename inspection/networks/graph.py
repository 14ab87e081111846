"""The graph of a traced network: which layers everything passes through, cutting it in two there, and folding."""

import copy
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from timm.layers import BatchNormAct2d
from timm.models import create_feature_extractor, get_graph_node_names
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_NORMS = nn.BatchNorm2d, BatchNormAct2d
"""That can be folded; of subclasses nothing is known."""


@dataclass(frozen=True)
class Layer:
    """A layer whose output everything passes through.

    Attributes
    ----------
    name : str
        By which `extract_layers` knows it.
    shape : tuple of int
        Of its output for a single photograph.
    is_strict : bool
        Whether nothing else of the image is used later either: transformers hand numbers read from its shape on.
    """

    name: str
    shape: tuple[int, ...]
    is_strict: bool


def head_prefix(network: nn.Module) -> str:
    """Return what the names of the last layer with weights begin with: it names classes of another task.

    Parameters
    ----------
    network : torch.nn.Module
    """
    return [name for name, module in network.named_modules() if list(module.parameters(recurse=False))][-1] + "."


def extract_layers(network: nn.Module, layers: list[str] | None) -> fx.GraphModule:
    """Return a network that gives the outputs of layers by their names.

    Parameters
    ----------
    network : torch.nn.Module
    layers : list of str or None
        By default all there are.

    Returns
    -------
    torch.fx.GraphModule
        In evaluation mode; shares its weights with the network.

    Raises
    ------
    ValueError
        If a layer is unknown.
    """
    with warnings.catch_warnings():
        # Of layers which only training uses; they are not wanted.
        warnings.simplefilter("ignore", UserWarning)
        extractor: fx.GraphModule = create_feature_extractor(network, layers or get_graph_node_names(network)[1])
    return extractor.eval()


def output_nodes(network: nn.Module, layers: Iterable[str]) -> dict[str, str]:
    """Return the graph node at which each layer gives its output: of a block, its last one.

    A block and its last node are one output by two names, of which `extract_layers` gives a single one.

    Parameters
    ----------
    network : torch.nn.Module
    layers : iterable of str
        One that is unknown stands for itself.
    """
    nodes = get_graph_node_names(network)[1]
    inside = {layer: [node for node in nodes if f"{node}.".startswith(f"{layer}.")] for layer in layers}
    return {layer: found[-1] if found else layer for layer, found in inside.items()}


def bottlenecks(network: nn.Module, image_size: int) -> list[Layer]:
    """Return the layers before the classifier which every path from the image to the classes passes through.

    A layer inside a branch, or one that a shortcut bypasses, is none.

    Parameters
    ----------
    network : torch.nn.Module
        A classifier in evaluation mode.
    image_size : int
        Side of the input in pixels.

    Returns
    -------
    list of Layer
        In the order in which they are computed.
    """
    extractor = extract_layers(network, None)
    graph = extractor.graph
    [output] = [node for node in graph.nodes if node.op == "output"]
    outputs: dict[str, fx.Node] = output.args[0]
    values = _Values(extractor)
    with torch.inference_mode():
        values.run(torch.zeros(1, 3, image_size, image_size))
    head, names_of = head_prefix(network), {node: name for name, node in outputs.items() if node.op != "placeholder"}
    strict = set(_bottlenecks_among(_carriers(graph, set(graph.nodes))))
    layers = []
    for node in _bottlenecks_among(_carriers(graph, set(values.shapes))):
        name = names_of.get(node, "")
        if f"{name}.".startswith(head):
            break
        if name and values.shapes[node]:
            layers.append(Layer(name, values.shapes[node], node in strict))
    return layers


def cut_out(network: nn.Module, start: str, end: str) -> fx.GraphModule:
    """Return the part of a network that makes the output of one layer into that of a later one.

    Parameters
    ----------
    network : torch.nn.Module
    start, end : str
        Names of layers.

    Returns
    -------
    torch.fx.GraphModule
        Shares its weights with the network.

    Raises
    ------
    ValueError
        If a layer is unknown, or ``end`` needs more than the output of ``start``.
    """
    extractor = extract_layers(network, [start, end])
    [output] = [node for node in extractor.graph.nodes if node.op == "output"]
    first, last = output.args[0][start], output.args[0][end]
    wanted = _needed_between(first, last)
    if first is last or any(node.op == "placeholder" for node in wanted):
        raise ValueError(
            f"{start!r} is bypassed by a shortcut or comes too late; name an earlier layer that everything passes "
            "through."
        )
    part = fx.Graph()
    copies = {first: part.placeholder("maps")}
    for node in extractor.graph.nodes:
        if node in wanted:
            copies[node] = part.node_copy(node, copies.__getitem__)
    part.output(copies[last])
    return fx.GraphModule(extractor, part)


def fold_batch_norms(network: nn.Module) -> nn.Module:
    """Return a copy in which batch normalisations that follow a convolution are part of its weights.

    It gives the same numbers but for rounding and has fewer layers (Jacob et al., CVPR 2018, section 3.2).

    Parameters
    ----------
    network : torch.nn.Module
        Traced parts of it (`torch.fx.GraphModule`) and sequences of layers are looked at.

    Returns
    -------
    torch.nn.Module
        In evaluation mode.
    """
    folded = copy.deepcopy(network).eval()
    waiting = [folded]
    while waiting:
        module = waiting.pop()
        for convolution_name, norm_name in _convolutions_before_norms(module):
            convolution = cast(nn.Conv2d, module.get_submodule(convolution_name))
            norm = cast(nn.BatchNorm2d, module.get_submodule(norm_name))
            module.set_submodule(convolution_name, fuse_conv_bn_eval(convolution, norm))
            module.set_submodule(norm_name, _without_norm(norm))
        # A traced part says itself in which order its layers run.
        waiting += [] if isinstance(module, fx.GraphModule) else module.children()
    return folded


def _convolutions_before_norms(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield the names of convolutions and of the normalisations that alone use their output."""
    if isinstance(module, fx.GraphModule):
        calls = [node for node in module.graph.nodes if node.op == "call_module"]
        n_calls = Counter(node.target for node in calls)
        pairs = [(node.args[0], node) for node in calls if node.args and node.args[0] in calls]
        names = [
            (before.target, node.target)
            for before, node in pairs
            if len(before.users) == n_calls[before.target] == n_calls[node.target] == 1
        ]
    else:
        names = list(pairwise(dict(module.named_children()))) if isinstance(module, nn.Sequential) else []
    for convolution, norm in names:
        if isinstance(module.get_submodule(convolution), nn.Conv2d) and _is_fixed(module.get_submodule(norm)):
            yield convolution, norm


def _is_fixed(module: nn.Module) -> bool:
    """Whether it is a normalisation by statistics of the training images, and not by those of each batch."""
    return type(module) in _NORMS and module.running_mean is not None


def _without_norm(norm: nn.Module) -> nn.Module:
    return nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()


class _Values(fx.Interpreter):
    """Runs a graph and keeps the shape of every tensor."""

    def __init__(self, module: fx.GraphModule):
        super().__init__(module)
        self.shapes: dict[fx.Node, tuple[int, ...]] = {}
        """Of every node that gives a tensor; empty for several tensors."""

    def run_node(self, node: fx.Node) -> object:
        value = super().run_node(node)
        if isinstance(value, torch.Tensor):
            self.shapes[node] = tuple(value.shape)
        elif isinstance(value, tuple | list) and any(isinstance(item, torch.Tensor) for item in value):
            self.shapes[node] = ()
        return value


def _carriers(graph: fx.Graph, allowed: set[fx.Node]) -> list[fx.Node]:
    """Return the nodes, in order, that are computed from the image by way of ``allowed`` ones only."""
    carriers: dict[fx.Node, None] = {}
    for node in graph.nodes:
        depends = node.op == "placeholder" or any(source in carriers for source in node.all_input_nodes)
        if depends and node.op != "output" and node in allowed:
            carriers[node] = None
    return list(carriers)


def _bottlenecks_among(carriers: list[fx.Node]) -> list[fx.Node]:
    """Return those after which nothing computed before them is used."""
    order = {node: position for position, node in enumerate(carriers)}
    bottlenecks, farthest = [], -1
    for node in carriers:
        if farthest <= order[node]:
            bottlenecks.append(node)
        farthest = max([farthest, *(order[user] for user in node.users if user in order)])
    return bottlenecks


def _needed_between(first: fx.Node, last: fx.Node) -> set[fx.Node]:
    """Return what ``last`` is computed from, itself included, ``first`` and what only it needs left out."""
    needed: set[fx.Node] = set()
    waiting = [last]
    while waiting:
        node = waiting.pop()
        if node is not first and node not in needed:
            needed.add(node)
            waiting += node.all_input_nodes
    return needed
