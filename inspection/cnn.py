"""BaselineCNN: a small network trained from scratch on the photographs alone."""

import copy
import os
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from sklearn.metrics import accuracy_score, roc_auc_score
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from inspection.config import AugmentParams, CnnParams
from inspection.labels import CLASS_NAMES, DEFECTIVE


class BaselineCNN(nn.Module):
    """Blocks of convolution, batch normalisation, ReLU and pooling; then global pooling, dropout and a linear layer.

    Parameters
    ----------
    channels : list of int
        Output channels of each block; a block halves the image.
    dropout : float in [0, 1)

    Attributes
    ----------
    temperature : Tensor, scalar
        Divides the logits; fitted on images held out of training so that probabilities are calibrated (Guo et al.
        2017, "On Calibration of Modern Neural Networks"). Part of the state dict.
    """

    def __init__(self, channels: list[int], dropout: float):
        super().__init__()
        blocks = []
        for n_in, n_out in zip([3, *channels], channels, strict=False):
            blocks += [
                nn.Conv2d(n_in, n_out, 3, padding=1, bias=False),
                nn.BatchNorm2d(n_out),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2),
            ]
        self.features = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(channels[-1], len(CLASS_NAMES))
        self.register_buffer("temperature", torch.ones(()))

    def forward_features(self, images):
        """Return the last feature map, shape (n_images, channels[-1], rows, columns)."""
        return self.features(images.float() / 127.5 - 1)

    def forward_head(self, feature_map):
        """Return calibrated logits, shape (n_images, 2), of a feature map."""
        return self.classifier(self.dropout(self.pool(feature_map).flatten(1))) / self.temperature

    def forward(self, images):
        """Return logits, shape (n_images, 2): class 0 non-defective, class 1 defective.

        Parameters
        ----------
        images : Tensor, shape (n_images, 3, size, size)
            RGB in [0, 255], uint8 or float.
        """
        return self.forward_head(self.forward_features(images))


class ServedCNN(nn.Module):
    """BaselineCNN as it is exported: uint8 photographs in, P(defective) and the last feature map out.

    Parameters
    ----------
    network : BaselineCNN
    """

    def __init__(self, network: BaselineCNN):
        super().__init__()
        self.network = network

    def forward(self, images):
        """Map (n_images, size, size, 3) uint8 to ``defect_proba`` (n_images,) and ``feature_map``."""
        feature_map = self.network.forward_features(images.permute(0, 3, 1, 2))
        return self.network.forward_head(feature_map).softmax(1)[:, DEFECTIVE], feature_map


@dataclass(frozen=True)
class EpochScores:
    """How one epoch went; losses are mean cross-entropies, in nats."""

    epoch: int
    train_loss: float
    held_out_loss: float
    held_out_accuracy: float
    held_out_roc_auc: float


@dataclass(frozen=True)
class TrainedCnn:
    """The best network of a training run.

    Attributes
    ----------
    network : BaselineCNN
        On the CPU, in evaluation mode, with its temperature fitted.
    held_out_proba : ndarray of float, shape (n_held_out,)
        P(defective) of the held-out images.
    best_epoch : int
        Counted from 1.
    """

    network: BaselineCNN
    held_out_proba: np.ndarray
    best_epoch: int


@dataclass(frozen=True)
class LabelledImages:
    """Training data in memory.

    Attributes
    ----------
    images : ndarray of uint8, shape (n_images, size, size, 3)
    labels : ndarray of int, shape (n_images,)
    weights : ndarray of float, shape (n_images,)
    """

    images: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


def train_cnn(
    train: LabelledImages,
    held_out: LabelledImages,
    params: CnnParams,
    seed: int,
    on_epoch: Callable[[EpochScores], None] = lambda scores: None,
) -> TrainedCnn:
    """Train BaselineCNN until the held-out loss stops falling, and keep the weights of its best epoch.

    Uses a GPU when torch finds one. On a CPU the same seed, data and number of threads give the same weights.

    Parameters
    ----------
    train, held_out : LabelledImages
        ``held_out`` stops the training and fits the temperature; it is never trained on.
    params : CnnParams
    seed : int
    on_epoch : callable, optional
        Called after each epoch.
    """
    # cuBLAS is deterministic only with this set before its first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # Some operations have no repeatable form on a GPU: there the last digits may differ, and torch says so.
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
    torch.manual_seed(seed)
    network = BaselineCNN(params.channels, params.dropout).to(device, memory_format=torch.channels_last)
    loader = DataLoader(
        _AugmentedImages(train, params.augment),
        params.batch_size,
        shuffle=True,
        # Batch normalisation cannot learn from a single image.
        drop_last=len(train.labels) > params.batch_size,
        generator=torch.Generator().manual_seed(seed),
    )
    optimizer = torch.optim.AdamW(network.parameters(), params.learning_rate, weight_decay=params.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, params.learning_rate, epochs=params.epochs, steps_per_epoch=len(loader)
    )
    best_loss, best_epoch, best_state = np.inf, 0, network.state_dict()
    for epoch in range(1, params.epochs + 1):
        train_loss = _train_epoch(network, loader, optimizer, schedule, device)
        scores = _score(network, held_out, epoch, train_loss)
        on_epoch(scores)
        if scores.held_out_loss < best_loss:
            best_loss, best_epoch, best_state = scores.held_out_loss, epoch, copy.deepcopy(network.state_dict())
        if epoch - best_epoch >= params.patience:
            break
    network.load_state_dict(best_state)
    network.cpu().eval()
    fit_temperature(network, held_out)
    return TrainedCnn(network, _softmax(_logits(network, held_out.images)), best_epoch)


def fit_temperature(network: BaselineCNN, held_out: LabelledImages) -> None:
    """Set the network's temperature to the one that minimises the weighted cross-entropy of held-out images.

    Parameters
    ----------
    network : BaselineCNN
        Changed in place.
    held_out : LabelledImages
        Never trained on.
    """
    network.temperature.fill_(1)
    logits = torch.from_numpy(_logits(network, held_out.images))
    labels, weights = torch.from_numpy(held_out.labels), torch.from_numpy(held_out.weights)

    def loss(log_temperature):
        losses = functional.cross_entropy(logits / np.exp(log_temperature), labels, reduction="none")
        return float((losses * weights).sum() / weights.sum())

    network.temperature.fill_(float(np.exp(minimize_scalar(loss, bounds=(-2, 2), method="bounded").x)))


class _AugmentedImages(Dataset):
    def __init__(self, data: LabelledImages, augment: AugmentParams):
        self._data = data
        steps = []
        if augment.flips:
            steps += [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()]
        if augment.rotations:
            steps.append(_quarter_turns)
        if augment.brightness or augment.contrast:
            steps.append(v2.ColorJitter(augment.brightness, augment.contrast))
        self._augment = v2.Compose(steps) if steps else v2.Identity()

    def __len__(self):
        return len(self._data.labels)

    def __getitem__(self, index):
        image = torch.from_numpy(self._data.images[index]).permute(2, 0, 1)
        return self._augment(image), int(self._data.labels[index]), float(self._data.weights[index])


def _quarter_turns(image):
    # torch's generator, not Python's: one seed then governs every random choice.
    return torch.rot90(image, int(torch.randint(4, ())), (1, 2))


def _train_epoch(network, loader, optimizer, schedule, device) -> float:
    network.train()
    total = total_weight = 0.0
    for images, labels, weights in loader:
        images = images.to(device, memory_format=torch.channels_last)
        labels, weights = labels.to(device), weights.float().to(device)
        loss = (functional.cross_entropy(network(images), labels, reduction="none") * weights).sum() / weights.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += loss.item() * weights.sum().item()
        total_weight += weights.sum().item()
    return total / total_weight


def _score(network, held_out: LabelledImages, epoch: int, train_loss: float) -> EpochScores:
    logits = _logits(network, held_out.images)
    losses = functional.cross_entropy(torch.from_numpy(logits), torch.from_numpy(held_out.labels), reduction="none")
    proba = _softmax(logits)
    return EpochScores(
        epoch,
        train_loss,
        float(np.average(losses.numpy(), weights=held_out.weights)),
        accuracy_score(held_out.labels, proba >= 0.5),
        roc_auc_score(held_out.labels, proba),
    )


def _logits(network, images: np.ndarray, batch_size: int = 64) -> np.ndarray:
    network.eval()
    device = next(network.parameters()).device
    with torch.inference_mode():
        batches = torch.from_numpy(images).permute(0, 3, 1, 2).split(batch_size)
        parts = [network(batch.to(device)).cpu() for batch in batches]
    return torch.cat(parts).numpy()


def _softmax(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(logits).softmax(1)[:, DEFECTIVE].numpy()
