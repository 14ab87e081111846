"""The project's detector as a tool of `bench.detectors`: see `bench.detector_task`."""

from collections.abc import Iterator
from pathlib import Path

import joblib
import numpy as np
import pandas as pd

from bench.detector_task import Task, one_by_one, peak_memory, photographs, run_step, size_mb, timed, write_scores
from inspection.config import PatchParams, load_params
from inspection.data.images import decode_file, resize
from inspection.data.planted_defects import plant
from inspection.files import sha256_file
from inspection.labels import NON_DEFECTIVE
from inspection.networks.onnx_models import OnnxModel
from inspection.voters.detector_training import TrainingParts, train_patch_detector
from inspection.voters.patch_detector import PatchDetector, read_patch_detector, write_patch_detector
from inspection.voters.patch_maps import TiledMaps, iterate_patch_maps


def fit(task: Task) -> dict:
    """Export the network, train the detector, and score the test photographs with what lies in memory."""
    # Here, so that serving, which does without it, does not load torch.
    from inspection.networks.pretrained import export_patch_network

    params = load_params()
    layers = {task.backbone: list(task.layers)} if task.layers else {}
    patches = params.patch_memory.model_copy(update={"image_size": task.image_size, "layers": layers})
    network, memory = _network(task), _memory(task)
    with timed() as export:
        export_patch_network(task.backbone, params.features, patches, network)
    with timed() as train:
        detector = train_on_good(task, patches)
        write_patch_detector(memory, detector)
    memory_mb = peak_memory()
    seen = iterate_patch_maps(network, _rows(task.test))
    judged = [judge(detector, patch_map) for of_photograph in seen for patch_map in of_photograph.maps]
    scores, maps = zip(*judged, strict=True)
    write_scores(task, "trained", scores, maps)
    threshold = params.ensemble.threshold
    return {
        "train": train,
        "export": export,
        "memory_mb": memory_mb,
        "stored_mb": {"served": size_mb(network, memory)},
        "threshold": threshold,
        "is_flagged": [score >= threshold for score in scores],
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


def train_on_good(task: Task, patches: PatchParams) -> PatchDetector:
    """Train the detector as `stages.train_detector` does where no defect is labelled."""
    rows, network = _rows(task.train), _network(task)

    def read_maps(positions: np.ndarray) -> Iterator[TiledMaps]:
        return iterate_patch_maps(network, rows.iloc[positions])

    def read_planted_maps(positions: np.ndarray) -> Iterator[TiledMaps]:
        random = np.random.default_rng(task.seed)
        return iterate_patch_maps(network, rows.iloc[positions], alter=lambda pixels: plant(pixels, random)[0])

    parts = TrainingParts(np.full(len(rows), NON_DEFECTIVE), np.ones(len(rows)), np.array(task.folds), 0)
    return train_patch_detector(
        read_maps, read_planted_maps, parts, patches.components, patches.patches, task.seed
    ).detector


def judge(detector: PatchDetector, patch_map: np.ndarray) -> tuple[float, np.ndarray]:
    """Return P(defective) of a photograph and its map of rarity."""
    proba, rarity = detector.look(patch_map[np.newaxis])
    return float(proba[0]), rarity[0]


def _rows(folder: str) -> pd.DataFrame:
    paths = photographs(folder)
    return pd.DataFrame({"path": paths, "sha256": [sha256_file(path) for path in paths]})


def _network(task: Task) -> Path:
    return Path(task.folder, "network.onnx")


def _memory(task: Task) -> Path:
    return Path(task.folder, "memory.npz")


if __name__ == "__main__":
    run_step({"fit": fit, "served": served})
