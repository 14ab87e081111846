"""Networks that see the photographs themselves: their common head, BaselineCNN, and the average that is served."""

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from inspection.files import write_bytes
from inspection.labels import CLASS_NAMES, DEFECTIVE, NON_DEFECTIVE
from inspection.networks.onnx_export import export_onnx

FLIP_AXES: dict[str, tuple[int, ...]] = {"vertical": (2,), "horizontal": (3,), "both": (2, 3)}
"""Axes of (n_images, n_channels, rows, columns) along which each mirror image is flipped."""
FLIPS: tuple[tuple[int, ...], ...] = ((), *FLIP_AXES.values())
"""The same of every view that networks are trained and averaged on; none comes first."""


class MemberCNN(nn.Module):
    """One trained network: global pooling, dropout and a linear layer on a feature map that a subclass makes.

    Parameters
    ----------
    n_channels : int
        Of the feature map.
    dropout : float in [0, 1)
    """

    def __init__(self, n_channels: int, dropout: float):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(n_channels, len(CLASS_NAMES))

    def forward_features(self, inputs: Tensor) -> Tensor:
        """Return the last feature map, shape (n_images, n_channels, rows, columns).

        Parameters
        ----------
        inputs : Tensor, shape (n_images, ...)
            Photographs, or maps of a stem; see the subclass.
        """
        raise NotImplementedError

    def forward_head(self, feature_map: Tensor) -> Tensor:
        """Return logits, shape (n_images, 2), of a feature map.

        Parameters
        ----------
        feature_map : Tensor of float32, shape (n_images, n_channels, rows, columns)
            From `forward_features`.
        """
        logits: Tensor = self.classifier(self.dropout(self.pool(feature_map).flatten(1)))
        return logits

    def contributions(self, feature_map: Tensor) -> Tensor:
        """Return what every position adds to the log odds of a defect, shape (n_images, rows, columns).

        Exact in evaluation mode, where averaging over the positions and the linear layer may change places: the mean
        of the map is the difference of the logits (class activation mapping, Zhou et al., CVPR 2016).

        Parameters
        ----------
        feature_map : Tensor of float32, shape (n_images, n_channels, rows, columns)
            From `forward_features`.
        """
        weights = self.classifier.weight[DEFECTIVE] - self.classifier.weight[NON_DEFECTIVE]
        biases = self.classifier.bias[DEFECTIVE] - self.classifier.bias[NON_DEFECTIVE]
        return functional.conv2d(feature_map, weights.view(1, -1, 1, 1), biases.view(1)).squeeze(1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits, shape (n_images, 2): class 0 non-defective, class 1 defective.

        Parameters
        ----------
        inputs : Tensor, shape (n_images, ...)
            As of `forward_features`.
        """
        return self.forward_head(self.forward_features(inputs))


def lay_back(maps: Tensor) -> Tensor:
    """Average maps of the views of photographs, each turned back so that it lies as the photograph does.

    Parameters
    ----------
    maps : Tensor of float32, shape (n_views, n_images, rows, columns)
        Of the first views in `FLIPS`.

    Returns
    -------
    Tensor of float32, shape (n_images, rows, columns)
    """
    # Here no channels lie between images and rows.
    turned = [
        of_view.flip([axis - 1 for axis in axes]) if axes else of_view
        for of_view, axes in zip(maps.unbind(), FLIPS, strict=False)
    ]
    return torch.stack(turned).mean(0)


class BaselineCNN(MemberCNN):
    """Blocks of convolution, pooling, batch normalisation and ReLU, trained from scratch.

    Called with RGB images in [0, 255], uint8 or float, shape (n_images, 3, size, size).

    Parameters
    ----------
    channels : list of int
        Output channels of each block; a block halves the image.
    dropout : float in [0, 1)
    """

    def __init__(self, channels: list[int], dropout: float):
        super().__init__(channels[-1], dropout)
        blocks: list[nn.Module] = []
        for n_in, n_out in zip([3, *channels], channels, strict=False):
            blocks += [
                nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
                # Before the others, which then have a quarter of the work.
                nn.MaxPool2d(2),
                nn.BatchNorm2d(n_out),
                nn.ReLU(inplace=True),
            ]
        self.features = nn.Sequential(*blocks)

    def forward_features(self, inputs: Tensor) -> Tensor:
        feature_map: Tensor = self.features(inputs.float() / 127.5 - 1)
        return feature_map


class AveragedCNN(nn.Module):
    """What is served: the mean of the calibrated probabilities of networks trained on different parts of the images.

    Each was trained without one part and gave that part its out-of-fold scores, so the scores by which thresholds are
    chosen come from the very networks that are served.

    In evaluation mode from the start: it is never trained as a whole.

    Parameters
    ----------
    members : sequence of MemberCNN
    stem : torch.nn.Module, optional
        Layers all members have in common, run once on all views as RGB images in [0, 255]; by default there are none.
    flips : bool
        Whether the logits of each member are averaged over the image and its three flips.

    Attributes
    ----------
    calibration : Tensor, shape (2,)
        Slope and intercept of the sigmoid on the members' log odds (Platt 1999), one for all. Part of the state dict.

    Examples
    --------
    A saved network of the pipeline is loaded by two lines, with ``cnn.channels``, ``cnn.dropout`` and ``cnn.parts`` of
    params.yaml:

    >>> network = AveragedCNN([BaselineCNN([16, 32, 64, 128, 128], 0.3) for _ in range(2)])  # doctest: +SKIP
    >>> network.load_state_dict(torch.load("models/baseline_cnn.pth", weights_only=True))  # doctest: +SKIP
    """

    def __init__(self, members: Sequence[MemberCNN], stem: nn.Module | None = None, flips: bool = True):
        super().__init__()
        self.members, self.stem = nn.ModuleList(members), stem or nn.Identity()
        self.calibration: Tensor
        self.register_buffer("calibration", torch.tensor([1.0, 0.0]))
        self._flips = FLIPS if flips else FLIPS[:1]
        self.eval()

    @property
    def n_views(self) -> int:
        """How many views of a photograph the members look at."""
        return len(self._flips)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Judge photographs.

        Parameters
        ----------
        images : Tensor of uint8, shape (n_images, size, size, 3)
            RGB.

        Returns
        -------
        defect_proba : Tensor of float32, shape (n_images,), in [0, 1]
        defect_map : Tensor of float32, shape (n_images, rows, columns)
            What every position adds to the calibrated log odds of a defect, of the photographs as they lie: the mean
            over the members, whose own maps have their calibrated log odds as means over the positions.
        """
        pixels = images.permute(0, 3, 1, 2).float()
        # One batch of all views: a network per view would be a graph as many times larger to export, load and hold.
        inputs = self.stem(torch.cat([pixels.flip(axes) if axes else pixels for axes in self._flips]))
        probabilities, maps = [], []
        for member in cast("Iterable[MemberCNN]", self.members):
            feature_map = member.forward_features(inputs)
            logits = member.forward_head(feature_map).unflatten(0, (self.n_views, -1)).mean(0)
            log_odds = logits[:, DEFECTIVE] - logits[:, NON_DEFECTIVE]
            probabilities.append(torch.sigmoid(self.calibration[0] * log_odds + self.calibration[1]))
            of_views = member.contributions(feature_map).unflatten(0, (self.n_views, -1))
            maps.append(self.calibration[0] * lay_back(of_views) + self.calibration[1])
        return torch.stack(probabilities).mean(0), torch.stack(maps).mean(0)


def save_cnn(network: AveragedCNN, folder: str | Path, name: str, image_size: int) -> None:
    """Write a network as ``<name>.pth``, its state dict, and ``<name>.onnx``, which says the same.

    Parameters
    ----------
    network : AveragedCNN
    folder : str or Path
        Made when missing.
    name : str
        Of the architecture.
    image_size : int
        Side of the photographs in pixels.
    """
    state = io.BytesIO()
    torch.save(network.state_dict(), state)
    write_bytes(Path(folder) / f"{name}.pth", state.getvalue())
    metadata = {"name": name, "members": str(len(network.members))}
    export_onnx(network, Path(folder) / f"{name}.onnx", image_size, ["defect_proba", "defect_map"], metadata)
