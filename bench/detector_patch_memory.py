"""The project's detector as a tool of `bench.detectors`: see `bench.detector_task`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
from joblib import Parallel, delayed

from bench.detector_task import Task, one_by_one, peak_memory, photographs, run_step, size_mb, timed, write_scores
from inspection.config import load_params
from inspection.data.images import decode_file, resize
from inspection.files import sha256_file
from inspection.networks.onnx_models import OnnxModel
from inspection.threads import single_threaded_libraries
from inspection.voters.features import iterate_patch_maps
from inspection.voters.patch_detector import (
    PatchDetector,
    ReadPatchMaps,
    read_patch_detector,
    top_mean,
    write_patch_detector,
)
from inspection.voters.patch_memory import remember

TOP_SHARE = 0.01
"""Of the positions of a photograph, the farthest of which are averaged: set beforehand, for want of defects."""
_N_CANDIDATES = 50_000
"""Patches that a memory is chosen from, as in training."""


@dataclass(frozen=True)
class GoodOnly:
    """A detector that saw good parts alone, and the scores of those by the memory made without their fold."""

    detector: PatchDetector
    out_of_fold: np.ndarray


def fit(task: Task) -> dict:
    """Export the network, make the memories, and score the test photographs with what lies in memory."""
    # Here, so that serving, which does without it, does not load torch.
    from inspection.networks.pretrained import export_patch_network

    params = load_params()
    layers = {task.backbone: list(task.layers)} if task.layers else {}
    patches = params.patch_memory.model_copy(update={"image_size": task.image_size, "layers": layers})
    network, memory = _network(task), _memory(task)
    with timed() as export:
        export_patch_network(task.backbone, params.features, patches, network)
    with timed() as train:
        trained = train_on_good(
            lambda places: _patch_maps(task.train, network, places),
            np.array(task.folds),
            patches.components,
            patches.patches,
            task.seed,
        )
        write_patch_detector(memory, trained.detector)
    memory_mb = peak_memory()
    judged = [judge(trained.detector, patch_map) for patch_map in _patch_maps(task.test, network)]
    scores, maps = zip(*judged, strict=True)
    write_scores(task, "trained", scores, maps)
    threshold = float(trained.out_of_fold.max())
    return {
        "train": train,
        "export": export,
        "memory_mb": memory_mb,
        "stored_mb": {"served": size_mb(network, memory)},
        "threshold": threshold,
        "is_flagged": [bool(score >= threshold) for score in scores],
    }


def served(task: Task) -> dict:
    """Score the test photographs by the stored files, one at a time."""
    detector = read_patch_detector(_memory(task).read_bytes(), _memory(task).name)
    model = OnnxModel(_network(task).read_bytes(), _network(task).name, joblib.cpu_count())

    def judge_file(path: str) -> tuple[float, np.ndarray]:
        pixels = resize(decode_file(path).pixels, model.image_size)
        return judge(detector, model.run(pixels[np.newaxis], "patch_map")[0])

    scores, maps, seconds = one_by_one(photographs(task.test), judge_file)
    write_scores(task, "served", scores, maps)
    return {"seconds": seconds}


def train_on_good(
    read_maps: ReadPatchMaps, folds: np.ndarray, n_components: int, n_patches: int, seed: int
) -> GoodOnly:
    """Do what `inspection.voters.patch_detector.train_patch_detector` does, as far as it needs no defects."""
    numbers, places = np.unique(folds, return_inverse=True)
    n_per_image = -(-_N_CANDIDATES * len(numbers) // ((len(numbers) - 1) * len(folds)))
    random = np.random.default_rng(seed)
    flat = (patch_map.reshape(-1, patch_map.shape[-1]) for patch_map in read_maps(np.arange(len(folds))))
    samples = [patches[random.permutation(len(patches))[:n_per_image]] for patches in flat]
    order = np.random.default_rng(seed).permutation(sum(map(len, samples)))
    candidates = np.concatenate(samples)[order]
    of_fold = np.repeat(places, [len(sample) for sample in samples])[order]
    with single_threaded_libraries():
        memories = Parallel(n_jobs=-1, prefer="threads")(
            delayed(remember)(candidates[of_fold != fold], n_components, n_patches) for fold in range(len(numbers))
        )
        distances = np.stack(
            [
                memories[place].distances(patch_map[np.newaxis])[0]
                for place, patch_map in zip(places, read_maps(np.arange(len(folds))), strict=True)
            ]
        )
    return GoodOnly(PatchDetector(tuple(memories), TOP_SHARE, 1.0, 0.0), top_mean(distances, TOP_SHARE))


def judge(detector: PatchDetector, patch_map: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the score of a photograph and its map of distances, averaged over the memories."""
    distances = np.stack([memory.distances(patch_map[np.newaxis])[0] for memory in detector.memories])
    return float(top_mean(distances, detector.top_share).mean()), distances.mean(axis=0)


def _patch_maps(folder: str, network: Path, places: np.ndarray | slice = slice(None)) -> Iterator[np.ndarray]:
    paths = np.array(photographs(folder))[places]
    rows = pd.DataFrame({"path": paths, "sha256": [sha256_file(path) for path in paths]})
    return iterate_patch_maps(network, rows)


def _network(task: Task) -> Path:
    return Path(task.folder, "network.onnx")


def _memory(task: Task) -> Path:
    return Path(task.folder, "memory.npz")


if __name__ == "__main__":
    run_step({"fit": fit, "served": served})
