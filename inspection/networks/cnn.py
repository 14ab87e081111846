"""Networks that see the photographs themselves: BaselineCNN, and what it shares with a fine-tuned one."""

import io
from pathlib import Path

import torch
from torch import nn

from inspection.files import write_bytes
from inspection.labels import CLASS_NAMES, DEFECTIVE
from inspection.networks.onnx_export import export_onnx

FLIPS = ((), (2,), (3,), (2, 3))
"""Axes of (n_images, n_channels, rows, columns) along which each view is flipped; none comes first."""


class CalibratedCNN(nn.Module):
    """Global pooling, dropout, a linear layer and calibration on a feature map that a subclass makes.

    Parameters
    ----------
    n_channels : int
        Of the feature map.
    dropout : float in [0, 1)

    Attributes
    ----------
    calibration : Tensor, shape (2,)
        Slope and intercept of the log odds, fitted on out-of-fold scores so that probabilities are calibrated (Platt
        1999). Part of the state dict.
    """

    def __init__(self, n_channels: int, dropout: float):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(n_channels, len(CLASS_NAMES))
        self.register_buffer("calibration", torch.tensor([1.0, 0.0]))

    def forward_features(self, inputs):
        """Return the last feature map, shape (n_images, n_channels, rows, columns)."""
        raise NotImplementedError

    def forward_head(self, feature_map):
        """Return calibrated logits, shape (n_images, 2), of a feature map."""
        logits = self.classifier(self.dropout(self.pool(feature_map).flatten(1)))
        # The intercept raises class 1, defective, against class 0.
        return logits * self.calibration[0] + self.calibration[1] * torch.arange(2, device=logits.device)

    def forward(self, inputs):
        """Return logits, shape (n_images, 2): class 0 non-defective, class 1 defective."""
        return self.forward_head(self.forward_features(inputs))


class BaselineCNN(CalibratedCNN):
    """Blocks of convolution, batch normalisation, ReLU and pooling, trained from scratch.

    Called with RGB images in [0, 255], uint8 or float, shape (n_images, 3, size, size).

    Parameters
    ----------
    channels : list of int
        Output channels of each block; a block halves the image.
    dropout : float in [0, 1)
    """

    def __init__(self, channels: list[int], dropout: float):
        super().__init__(channels[-1], dropout)
        blocks = []
        for n_in, n_out in zip([3, *channels], channels, strict=False):
            blocks += [
                nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
                nn.BatchNorm2d(n_out),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2),
            ]
        self.features = nn.Sequential(*blocks)

    def forward_features(self, inputs):
        return self.features(inputs.float() / 127.5 - 1)


class ServedCNN(nn.Module):
    """A network as it is exported: uint8 photographs in, P(defective) and the last feature map out.

    Parameters
    ----------
    network : CalibratedCNN
        Called with images in [0, 255].
    flips : bool
        Whether logits are averaged over the image and its three flips.
    """

    def __init__(self, network: CalibratedCNN, flips: bool):
        super().__init__()
        self.network, self._flips = network, FLIPS if flips else FLIPS[:1]

    def forward(self, images):
        """Map (n_images, size, size, 3) uint8 to ``defect_proba`` (n_images,) and ``feature_map``."""
        pixels = images.permute(0, 3, 1, 2).float()
        maps = [self.network.forward_features(pixels.flip(axes) if axes else pixels) for axes in self._flips]
        logits = torch.stack([self.network.forward_head(map_) for map_ in maps]).mean(0)
        return logits.softmax(1)[:, DEFECTIVE], maps[0]


def save_cnn(network: CalibratedCNN, folder: str | Path, name: str, image_size: int, flips: bool) -> None:
    """Write a network as ``<name>.pth``, its state dict, and ``<name>.onnx``, as it is served."""
    state = io.BytesIO()
    torch.save(network.state_dict(), state)
    write_bytes(Path(folder) / f"{name}.pth", state.getvalue())
    outputs = ["defect_proba", "feature_map"]
    export_onnx(ServedCNN(network, flips), Path(folder) / f"{name}.onnx", image_size, outputs, {"name": name})
