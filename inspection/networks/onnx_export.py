"""Exporting a torch network to one self-contained, reproducible ONNX file."""

import logging
import warnings
from pathlib import Path

import onnx
import torch

from inspection.files import replacing
from inspection.networks.graph import fold_batch_norms


def export_onnx(
    network: torch.nn.Module, path: str | Path, image_size: int, outputs: list[str], metadata: dict[str, str]
) -> None:
    """Export a network that takes RGB photographs as uint8.

    The same network gives the same bytes on every run and in every folder: what the exporter notes about source
    files is removed.

    Parameters
    ----------
    network : torch.nn.Module
        Called with a uint8 tensor of shape (n_images, image_size, image_size, 3); returns one tensor per name in
        ``outputs``.
    path : str or Path
    image_size : int
        Side in pixels.
    outputs : list of str
    metadata : dict of str to str
        Stored in the file beside ``image_size``.
    """
    # Fewer layers to take apart, to hold and to run.
    network = fold_batch_norms(network)
    for module in network.modules():
        # The same numbers; but what works in place the exporter has to take apart, which is a third of its time.
        if getattr(module, "inplace", False):
            setattr(module, "inplace", False)  # noqa: B010 (to a type checker every attribute of a module is a tensor)
    # Two images, not one: the exporter would take a batch of one for a constant.
    example = torch.zeros(2, image_size, image_size, 3, dtype=torch.uint8)
    with replacing(path) as temporary, warnings.catch_warnings():
        # Deprecations inside the exporter, which the user of this project cannot act on.
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        torch.onnx.export(
            network,
            (example,),
            temporary,
            input_names=["images"],
            output_names=outputs,
            dynamic_shapes=({0: torch.export.Dim("n_images")},),
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        model = onnx.load(temporary)
        _drop_source_notes(model.graph)
        for function in model.functions:
            _drop_source_notes(function)
        del model.metadata_props[:]
        onnx.helper.set_model_props(model, {"image_size": str(image_size), **metadata})
        onnx.save(model, temporary)


def _drop_source_notes(graph) -> None:
    graph.doc_string = ""
    del graph.metadata_props[:]
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in [*graph.value_info, *getattr(graph, "initializer", [])]:
        value.doc_string = ""
        del value.metadata_props[:]
