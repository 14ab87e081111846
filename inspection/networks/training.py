"""Training a network on photographs: a fixed number of epochs, and once more for each part that is left out."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import accuracy_score, roc_auc_score
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from inspection.calibration import calibrate_across_folds, fit_logistic
from inspection.config import CnnParams, ScheduleParams
from inspection.labels import DEFECTIVE, NON_DEFECTIVE
from inspection.networks.cnn import FLIPS, BaselineCNN, CalibratedCNN

_BATCH_SIZE = 64
"""Images scored at a time."""


@dataclass(frozen=True)
class EpochScores:
    """How one epoch went; losses are mean cross-entropies, in nats. What was held out is NaN when nothing was."""

    epoch: int
    train_loss: float
    held_out_loss: float
    held_out_accuracy: float
    held_out_roc_auc: float


@dataclass(frozen=True)
class LabelledImages:
    """Training data.

    Attributes
    ----------
    prepared : ndarray, shape (n_all_images, ...)
        What `Recipe.prepare` returns; may lie in a file.
    labels : ndarray of int, shape (n_images,)
    weights : ndarray of float, shape (n_images,)
    rows : ndarray of int, shape (n_images,)
        Of ``prepared``: a part of the images is no copy of them.
    """

    prepared: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    rows: np.ndarray

    @classmethod
    def of(cls, prepared: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> "LabelledImages":
        """Return all of the images."""
        return cls(prepared, labels, weights, np.arange(len(prepared)))

    def where(self, chosen: np.ndarray) -> "LabelledImages":
        """Return the images for which ``chosen``, ndarray of bool, is true."""
        return LabelledImages(self.prepared, self.labels[chosen], self.weights[chosen], self.rows[chosen])


class Recipe(ABC):
    """How networks of one architecture are trained.

    Attributes
    ----------
    image_size : int
        Side of the photographs in pixels.
    flips : bool
        Whether scores are averaged over an image and its three flips.
    schedule : ScheduleParams
    """

    image_size: int
    flips: bool
    schedule: ScheduleParams

    def prepare(self, images: np.ndarray, scratch: str | Path, progress: Callable) -> np.ndarray:
        """Return what training needs of each photograph, once for all trainings.

        Parameters
        ----------
        images : ndarray of uint8, shape (n_images, image_size, image_size, 3)
        scratch : str or Path
            Folder for what need not fit into memory.
        progress : callable
            Wraps an iterable of long work; called with it and its length.
        """
        return images

    @abstractmethod
    def make(self) -> CalibratedCNN:
        """Return a network to be trained."""

    @abstractmethod
    def augment(self, prepared: np.ndarray) -> torch.Tensor:
        """Return the network's input for one prepared photograph, randomly changed by torch's generator."""

    @abstractmethod
    def views(self, prepared: np.ndarray) -> list[torch.Tensor]:
        """Return the network's inputs for prepared photographs, one Tensor per view to be averaged."""

    def finish(self, network: CalibratedCNN) -> nn.Module:
        """Return the network to be served, called with photographs in [0, 255]."""
        return network


class BaselineRecipe(Recipe):
    """BaselineCNN from scratch, on photographs flipped, turned and changed in brightness and contrast at random.

    Parameters
    ----------
    params : CnnParams
    """

    def __init__(self, params: CnnParams):
        self.image_size, self.flips, self.schedule = params.image_size, params.augment.flips, params
        steps = []
        if params.augment.flips:
            steps += [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()]
        if params.augment.rotations:
            steps.append(_quarter_turns)
        if params.augment.brightness or params.augment.contrast:
            steps.append(v2.ColorJitter(params.augment.brightness, params.augment.contrast))
        self._change = v2.Compose(steps) if steps else v2.Identity()

    def make(self) -> BaselineCNN:
        return BaselineCNN(self.schedule.channels, self.schedule.dropout)

    def augment(self, prepared: np.ndarray) -> torch.Tensor:
        return self._change(torch.from_numpy(prepared).permute(2, 0, 1))

    def views(self, prepared: np.ndarray) -> list[torch.Tensor]:
        pixels = torch.from_numpy(prepared).permute(0, 3, 1, 2)
        return [pixels.flip(axes) for axes in (FLIPS if self.flips else FLIPS[:1])]


def train_network(
    recipe: Recipe,
    train: LabelledImages,
    held_out: LabelledImages | None,
    seed: int,
    on_epoch: Callable[[EpochScores], None] = lambda scores: None,
) -> CalibratedCNN:
    """Train a network for a fixed number of epochs.

    Uses a GPU when torch finds one. On a CPU the same seed, data and number of threads give the same weights.

    Parameters
    ----------
    recipe : Recipe
    train : LabelledImages
    held_out : LabelledImages or None
        Scored after each epoch for the learning curves, as they are and not in every view; nothing is chosen by it, so
        its scores are out-of-fold.
    seed : int
    on_epoch : callable, optional
        Called after each epoch.

    Returns
    -------
    CalibratedCNN
        On the CPU, in evaluation mode, not yet calibrated.
    """
    # cuBLAS is deterministic only with this set before its first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # Some operations have no repeatable form on a GPU: there the last digits may differ, and torch says so.
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
    torch.manual_seed(seed)
    network, schedule = recipe.make().to(device, memory_format=torch.channels_last), recipe.schedule
    loader = DataLoader(
        _AugmentedImages(train, recipe),
        schedule.batch_size,
        shuffle=True,
        # Batch normalisation cannot learn from a single image.
        drop_last=len(train.labels) > schedule.batch_size,
        generator=torch.Generator().manual_seed(seed),
    )
    optimizer = torch.optim.AdamW(network.parameters(), schedule.learning_rate, weight_decay=schedule.weight_decay)
    rates = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, schedule.learning_rate, epochs=schedule.epochs, steps_per_epoch=len(loader)
    )
    for epoch in range(1, schedule.epochs + 1):
        train_loss = _train_epoch(network, loader, optimizer, rates, device)
        on_epoch(_score(recipe, network, held_out, epoch, train_loss))
    return network.cpu().eval()


def train_across_parts(
    recipe: Recipe,
    everything: LabelledImages,
    parts: np.ndarray,
    seed: int,
    on_epoch: Callable[[int | None, EpochScores], None] | None = None,
) -> tuple[CalibratedCNN, np.ndarray]:
    """Train on all images, and once for each part left out, whose scores calibrate the network.

    Parameters
    ----------
    recipe : Recipe
    everything : LabelledImages
    parts : ndarray of int, shape (n_images,)
        That no group straddles.
    seed : int
    on_epoch : callable, optional
        Called after each epoch with the part left out, or None; without it, what is left out is scored at the end only.

    Returns
    -------
    network : CalibratedCNN
        Trained on all images and calibrated; on the CPU, in evaluation mode.
    out_of_fold : ndarray of float, shape (n_images,), in [0, 1]
        P(defective) by the network that did not see the part, calibrated by the other parts.
    """
    scores = np.empty(len(parts))
    for part in np.unique(parts):
        left_out = everything.where(parts == part)
        watched = (left_out, seed, partial(on_epoch, int(part))) if on_epoch else (None, seed)
        network = train_network(recipe, everything.where(parts != part), *watched)
        scores[parts == part] = log_odds(recipe, network, left_out.prepared, left_out.rows)
    network = train_network(recipe, everything, None, seed, *([partial(on_epoch, None)] if on_epoch else []))
    calibrate(network, scores, everything.labels, everything.weights)
    return network, calibrate_across_folds(scores, everything.labels, everything.weights, parts)


def log_odds(recipe: Recipe, network: CalibratedCNN, prepared: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the log odds of a defect, averaged over the views of the recipe.

    Parameters
    ----------
    recipe : Recipe
    network : CalibratedCNN
    prepared : ndarray, shape (n_all_images, ...)
        What ``recipe.prepare`` returns.
    rows : ndarray of int, shape (n_images,)
        Of ``prepared``.

    Returns
    -------
    ndarray of float32, shape (n_images,)
    """
    logits = _logits(recipe, network, prepared, rows)
    return logits[:, DEFECTIVE] - logits[:, NON_DEFECTIVE]


def calibrate(network: CalibratedCNN, scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> None:
    """Set the network's calibration by a sigmoid fitted on out-of-fold scores.

    Parameters
    ----------
    network : CalibratedCNN
        Changed in place.
    scores : ndarray of float, shape (n_images,)
        Log odds by networks that did not see the image.
    labels : ndarray of int, shape (n_images,)
    weights : ndarray of float, shape (n_images,)
    """
    slope, intercept = fit_logistic(scores.reshape(-1, 1), labels, weights)
    network.calibration.copy_(torch.tensor([slope[0], intercept]))


class _AugmentedImages(Dataset):
    def __init__(self, data: LabelledImages, recipe: Recipe):
        self._data, self._recipe = data, recipe

    def __len__(self):
        return len(self._data.rows)

    def __getitem__(self, index):
        image = self._recipe.augment(self._data.prepared[self._data.rows[index]])
        return image, int(self._data.labels[index]), float(self._data.weights[index])


def _quarter_turns(image):
    # torch's generator, not Python's: one seed then governs every random choice.
    return torch.rot90(image, int(torch.randint(4, ())), (1, 2))


def _train_epoch(network, loader, optimizer, rates, device) -> float:
    network.train()
    total = total_weight = 0.0
    for images, labels, weights in loader:
        images = images.to(device, memory_format=torch.channels_last)
        labels, weights = labels.to(device), weights.float().to(device)
        loss = (functional.cross_entropy(network(images), labels, reduction="none") * weights).sum() / weights.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.step()
        total += loss.item() * weights.sum().item()
        total_weight += weights.sum().item()
    return total / total_weight


def _score(recipe: Recipe, network, held_out: LabelledImages | None, epoch: int, train_loss: float) -> EpochScores:
    if held_out is None:
        return EpochScores(epoch, train_loss, *(np.nan,) * 3)
    logits = torch.from_numpy(_logits(recipe, network, held_out.prepared, held_out.rows, slice(1)))
    losses = functional.cross_entropy(logits, torch.from_numpy(held_out.labels), reduction="none")
    proba = logits.softmax(1)[:, DEFECTIVE].numpy()
    return EpochScores(
        epoch,
        train_loss,
        float(np.average(losses.numpy(), weights=held_out.weights)),
        accuracy_score(held_out.labels, proba >= 0.5),
        roc_auc_score(held_out.labels, proba),
    )


def _logits(recipe: Recipe, network, prepared: np.ndarray, rows: np.ndarray, views: slice = slice(None)) -> np.ndarray:
    network.eval()
    device = next(network.parameters()).device
    with torch.inference_mode():
        parts = [
            torch.stack([network(view.to(device)).cpu() for view in recipe.views(prepared[batch])[views]])
            for batch in np.split(rows, range(_BATCH_SIZE, len(rows), _BATCH_SIZE))
        ]
    return torch.cat(parts, 1).mean(0).numpy()
