"""The exporter's table of operators is made once per process, not at every export: it is always the same."""

from functools import cache

import torch
from torch.onnx._internal.exporter import _registration

from inspection.networks.onnx_export import export_onnx


def keep_operators() -> None:
    """Make the table at the first export and keep it."""
    table = _registration.ONNXRegistry
    table.from_torchlib = staticmethod(cache(table.from_torchlib))


class _Smallest(torch.nn.Module):
    def forward(self, images):
        return images.float().mean((1, 2))


def warm_up(path: str) -> None:
    """Export the smallest network there is, so that a fork finds the table and what else the exporter keeps.

    Parameters
    ----------
    path : str
        Of the file that is written.
    """
    keep_operators()
    export_onnx(_Smallest(), path, 8, ["features"], {})
