"""A torch hub folder of the tests' own, with weights that pass for those torchvision publishes."""

from pathlib import Path

import pytest
import torch
import torchvision

from inspection.files import sha256_file


def use_hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make an empty hub folder, let torch use it, and return where it keeps its files."""
    checkpoints = folder / "hub" / "checkpoints"
    checkpoints.mkdir(parents=True)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(folder / "hub"))
    return checkpoints


def save_published(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, address: str = "https://nowhere.invalid", **saving: bool
) -> torch.nn.Module:
    """Save random weights under a name with their hash, and let torchvision look for that name; return the network."""
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None).eval()
    file = folder / "weights.pth"
    torch.save(network.state_dict(), file, **saving)
    file = file.rename(folder / f"{name}-{sha256_file(file)[:8]}.pth")
    monkeypatch.setattr(torchvision.models.get_model_weights(name).DEFAULT.value, "url", f"{address}/{file.name}")
    return network
