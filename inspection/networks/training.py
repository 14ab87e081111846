"""Training a network on photographs: a fixed number of epochs, once for each part of the images that is left out."""

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import expit
from sklearn.metrics import accuracy_score, roc_auc_score
from torch import Tensor
from torch.nn import functional

from inspection.calibration import fit_logistic
from inspection.errors import ConfigError
from inspection.labels import DEFECTIVE, NON_DEFECTIVE
from inspection.networks.cnn import AveragedCNN, MemberCNN, lay_back
from inspection.networks.recipes import Recipe

THREADS = 2
"""Threads of torch while it trains and scores, whatever the machine has. Sums split among other numbers of threads are
added in another order, which changes last digits and, epoch by epoch, the weights."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Numbers of mallopt's parameters, from glibc's malloc.h."""
_LARGE = 2**30
"""Bytes; below it memory that is freed is kept."""

_BATCH_SIZE = 64
"""Images scored at a time."""

_SCORED_EPOCHS = 3
"""Of so many epochs one is scored on what is held out, the last in any case: each takes a third as long as training."""


@dataclass(frozen=True)
class EpochScores:
    """How one epoch went; losses are mean cross-entropies, in nats. What was held out is NaN where not scored."""

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
        """Return all of the images.

        Parameters
        ----------
        prepared, labels, weights : ndarray
            See the class.
        """
        return cls(prepared, labels, weights, np.arange(len(prepared)))

    def where(self, chosen: np.ndarray) -> "LabelledImages":
        """Return some of the images.

        Parameters
        ----------
        chosen : ndarray of bool, shape (n_images,)
        """
        return LabelledImages(self.prepared, self.labels[chosen], self.weights[chosen], self.rows[chosen])


class TrainedAcrossParts(NamedTuple):
    """A network, and what it says of the training images.

    Attributes
    ----------
    network : AveragedCNN
        One member per part, in the order of the parts, calibrated; on the CPU, in evaluation mode.
    out_of_fold : ndarray of float, shape (n_images,), in [0, 1]
        P(defective) by the member that did not see the image.
    defect_maps : ndarray of float32, shape (n_images, rows, columns)
        What every position adds to the calibrated log odds of a defect, by the same member.
    """

    network: AveragedCNN
    out_of_fold: np.ndarray
    defect_maps: np.ndarray


def _say_nothing(scores: EpochScores) -> None:
    """Leave an epoch unreported."""


def _keep_freed_memory() -> None:
    """Let the C library keep what torch frees for the next batch.

    By default it hands every large array back to the system, which clears it again for the next one: a fifth of the
    time of a training. Other C libraries than glibc are left as they are.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE)
        library.mallopt(_M_TRIM_THRESHOLD, _LARGE)


@contextmanager
def fixed_threads() -> Iterator[None]:
    """Let torch use `THREADS` threads inside, so that results do not depend on how many a machine would use."""
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@fixed_threads()
def train_network(
    recipe: Recipe,
    train: LabelledImages,
    held_out: LabelledImages | None,
    seed: int,
    on_epoch: Callable[[EpochScores], None] = _say_nothing,
) -> MemberCNN:
    """Train a network for a fixed number of epochs.

    Uses a GPU when torch finds one. On a CPU the same seed and data give the same weights.

    Parameters
    ----------
    recipe : Recipe
    train : LabelledImages
    held_out : LabelledImages or None
        Scored after every third epoch and the last for the learning curves, as they are and not in every view; nothing
        is chosen by it, so its scores are out-of-fold.
    seed : int
    on_epoch : callable, optional
        Called after each epoch.

    Returns
    -------
    MemberCNN
        On the CPU, in evaluation mode.

    Raises
    ------
    ConfigError
        If the weights grow without bound.
    """
    # cuBLAS is deterministic only with this set before its first use.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # Some operations have no repeatable form on a GPU: there the last digits may differ, and torch says so.
    torch.use_deterministic_algorithms(True, warn_only=device.type == "cuda")
    # Filling what is about to be overwritten would take a tenth of the time; it finds reads that no layer here makes.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    _keep_freed_memory()
    torch.manual_seed(seed)
    network, schedule = recipe.make(), recipe.schedule
    network.to(device)
    network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), schedule.learning_rate, weight_decay=schedule.weight_decay)
    rates = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        schedule.learning_rate,
        epochs=schedule.epochs,
        steps_per_epoch=max(1, len(train.rows) // schedule.batch_size),
    )
    for epoch in range(1, schedule.epochs + 1):
        train_loss = _train_epoch(recipe, network, train, optimizer, rates)
        if not np.isfinite(train_loss):
            raise ConfigError(
                f"the training diverged in epoch {epoch} (its loss is {train_loss}); lower the learning_rate = "
                f"{schedule.learning_rate} of this network in params.yaml."
            )
        is_scored = (schedule.epochs - epoch) % _SCORED_EPOCHS == 0
        on_epoch(_score(recipe, network, held_out if is_scored else None, epoch, train_loss))
    return network.cpu().eval()


def train_across_parts(
    recipe: Recipe,
    everything: LabelledImages,
    parts: np.ndarray,
    seed: int,
    on_epoch: Callable[[int, EpochScores], None] | None = None,
) -> TrainedAcrossParts:
    """Train once for each part left out; all of these networks are served, averaged.

    One sigmoid calibrates them all, fitted on the log odds of every image by the one network that did not see it. The
    out-of-fold probability of an image is this sigmoid of these log odds: what is scored is what is served.

    Parameters
    ----------
    recipe : Recipe
    everything : LabelledImages
    parts : ndarray of int, shape (n_images,)
        That no group straddles.
    seed : int
    on_epoch : callable, optional
        Called after each epoch with the part left out. Then the first part is scored after every third epoch; the
        others, and without it all of them, are scored at the end only.

    Returns
    -------
    TrainedAcrossParts

    Raises
    ------
    ConfigError
        If a training diverges.
    """
    scores = np.empty(len(parts))
    members: list[MemberCNN] = []
    maps: list[np.ndarray] = []
    for part in np.unique(parts):
        left_out = everything.where(parts == part)
        # One learning curve tells what there is to see.
        held_out = left_out if on_epoch and not members else None
        report = partial(on_epoch, int(part)) if on_epoch else _say_nothing
        member = train_network(recipe, everything.where(parts != part), held_out, seed, report)
        scores[parts == part] = log_odds(recipe, member, left_out.prepared, left_out.rows)
        maps.append(contributions(recipe, member, left_out.prepared, left_out.rows))
        members.append(member)
    network = recipe.average(members)
    calibrate(network, scores, everything.labels, everything.weights)
    slope, intercept = network.calibration.tolist()
    of_parts = slope * np.concatenate(maps) + intercept
    defect_maps = np.empty_like(of_parts)
    defect_maps[np.argsort(parts, kind="stable")] = of_parts
    return TrainedAcrossParts(network, _calibrated(network, scores), defect_maps)


def calibrate(network: AveragedCNN, scores: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> None:
    """Set the network's calibration by a sigmoid fitted on out-of-fold scores.

    Parameters
    ----------
    network : AveragedCNN
        Changed in place.
    scores : ndarray of float, shape (n_images,)
        Log odds by the member that did not see the image.
    labels : ndarray of int, shape (n_images,)
    weights : ndarray of float, shape (n_images,)
    """
    slopes, intercept = fit_logistic(scores.reshape(-1, 1), labels, weights)
    network.calibration.copy_(torch.tensor([slopes[0], intercept]))


def average_proba(recipe: Recipe, network: AveragedCNN, prepared: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return P(defective) as it is served, from prepared photographs.

    Parameters
    ----------
    recipe : Recipe
    network : AveragedCNN
        From `train_across_parts`.
    prepared : ndarray, shape (n_all_images, ...)
        What ``recipe.prepare`` returns.
    rows : ndarray of int, shape (n_images,)
        Of ``prepared``.

    Returns
    -------
    ndarray of float, shape (n_images,), in [0, 1]
    """
    members = [_calibrated(network, log_odds(recipe, member, prepared, rows)) for member in network.members]
    proba: np.ndarray = np.mean(members, axis=0)
    return proba


def log_odds(recipe: Recipe, network: torch.nn.Module, prepared: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the log odds of a defect, averaged over the views of the recipe and not calibrated.

    Parameters
    ----------
    recipe : Recipe
    network : MemberCNN
    prepared : ndarray, shape (n_all_images, ...)
        What ``recipe.prepare`` returns.
    rows : ndarray of int, shape (n_images,)
        Of ``prepared``.

    Returns
    -------
    ndarray of float32, shape (n_images,)
    """
    logits = _logits(recipe, network, prepared, rows)
    log_odds: np.ndarray = logits[:, DEFECTIVE] - logits[:, NON_DEFECTIVE]
    return log_odds


def contributions(recipe: Recipe, network: MemberCNN, prepared: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return what every position adds to the log odds of a defect: maps whose means are what `log_odds` returns.

    Parameters
    ----------
    recipe, network, prepared, rows
        As of `log_odds`.

    Returns
    -------
    ndarray of float32, shape (n_images, rows, columns)
    """

    def ask(inputs: Tensor) -> Tensor:
        return network.contributions(network.forward_features(inputs))

    maps: np.ndarray = lay_back(_of_views(recipe, network, ask, prepared, rows)).numpy()
    return maps


def _calibrated(network: AveragedCNN, scores: np.ndarray) -> np.ndarray:
    slope, intercept = network.calibration.tolist()
    proba: np.ndarray = expit(slope * scores.astype(float) + intercept)
    return proba


def _shuffled_batches(n_images: int, batch_size: int) -> list[Tensor]:
    batches = list(torch.randperm(n_images).split(batch_size))
    # Batch normalisation cannot learn from a single image, and a last batch may be one.
    return [batch for batch in batches if len(batch) == batch_size] or batches


def _train_epoch(
    recipe: Recipe,
    network: torch.nn.Module,
    train: LabelledImages,
    optimizer: torch.optim.Optimizer,
    rates: torch.optim.lr_scheduler.LRScheduler,
) -> float:
    network.train()
    device = next(network.parameters()).device
    all_labels, all_weights = torch.from_numpy(train.labels), torch.from_numpy(train.weights).float()
    total = total_weight = 0.0
    for batch in _shuffled_batches(len(train.rows), recipe.schedule.batch_size):
        inputs = recipe.augmented(train.prepared, train.rows[batch.numpy()])
        inputs = inputs.to(device, memory_format=torch.channels_last)
        labels, weights = all_labels[batch].to(device), all_weights[batch].to(device)
        loss = (functional.cross_entropy(network(inputs), labels, reduction="none") * weights).sum() / weights.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rates.step()
        total += loss.item() * weights.sum().item()
        total_weight += weights.sum().item()
    return total / total_weight


def _score(
    recipe: Recipe, network: torch.nn.Module, held_out: LabelledImages | None, epoch: int, train_loss: float
) -> EpochScores:
    if held_out is None:
        return EpochScores(epoch, train_loss, *(np.nan,) * 3)
    logits = torch.from_numpy(_logits(recipe, network, held_out.prepared, held_out.rows, n_views=1))
    losses = functional.cross_entropy(logits, torch.from_numpy(held_out.labels), reduction="none")
    proba = logits.softmax(1)[:, DEFECTIVE].numpy()
    return EpochScores(
        epoch,
        train_loss,
        float(np.average(losses.numpy(), weights=held_out.weights)),
        float(accuracy_score(held_out.labels, proba >= 0.5)),
        float(roc_auc_score(held_out.labels, proba)),
    )


def _logits(
    recipe: Recipe, network: torch.nn.Module, prepared: np.ndarray, rows: np.ndarray, n_views: int | None = None
) -> np.ndarray:
    logits: np.ndarray = _of_views(recipe, network, network, prepared, rows, n_views).mean(0).numpy()
    return logits


@fixed_threads()
def _of_views(
    recipe: Recipe,
    network: torch.nn.Module,
    ask: Callable[[Tensor], Tensor],
    prepared: np.ndarray,
    rows: np.ndarray,
    n_views: int | None = None,
) -> Tensor:
    """Return what is asked of a network for every view of photographs, shape (n_views, n_images, ...)."""
    network.eval()
    device = next(network.parameters()).device
    with torch.inference_mode():
        of_batches = [
            torch.stack([ask(view.to(device)).cpu() for view in islice(recipe.views(prepared, batch), n_views)])
            for batch in np.split(rows, range(_BATCH_SIZE, len(rows), _BATCH_SIZE))
        ]
        return torch.cat(of_batches, 1)
