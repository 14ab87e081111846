"""The exporter's table of operators is made once per process, not at every export: it is always the same."""

from functools import cache

from torch.onnx import _constants
from torch.onnx._internal.exporter import _registration


@cache
def keep_operators() -> None:
    """Make the table and keep it."""
    table = _registration.ONNXRegistry
    table.from_torchlib = staticmethod(cache(table.from_torchlib))
    table.from_torchlib(opset_version=_constants.ONNX_DEFAULT_OPSET)
