"""anomalib's PatchCore and PaDiM as tools of `bench.detectors`: see `bench.detector_task`.

It runs in anomalib's environment and imports nothing of the project but that module. Models are built, trained and
asked as anomalib's documents do it, but for weights of the task, no normalisation of scores (which cuts them off at
0 and 1), and no validation photographs, of which its thresholds alone are made.
"""

import os
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np

from bench.detector_task import Task, one_by_one, peak_memory, photographs, run_step, size_mb, timed, write_scores

_HELD_OUT = 0.2
"""Of the good photographs, when a threshold is made of them."""


def fit(task: Task) -> dict:
    """Train, store and export a model, score the test photographs with it, and see what its own threshold flags."""
    import torch
    from anomalib.post_processing import PostProcessor

    torch.manual_seed(task.seed)
    np.random.seed(task.seed)
    raw_scores = PostProcessor(enable_normalization=False, enable_thresholding=False)
    with timed() as train:
        model = build(task, raw_scores)
        # Folder() asks for validation photographs even with val_split_mode="none".
        engine = train_model(task, model, val_split_mode="none", limit_val_batches=0)
        stored = model.to_torch(task.folder)
    memory_mb = peak_memory()
    with timed() as export:
        # By default anomalib 2.7 leaves the size of a batch open, and its PatchCore then takes batches of two alone.
        exported = model.to_onnx(task.folder, opset_version=18, dynamic_axes={"input": {2: "height", 3: "width"}})
    predictions = predict(task, engine, model)
    scores = [float(one.pred_score) for one in predictions]
    write_scores(task, "trained", scores, [one.anomaly_map.squeeze().numpy() for one in predictions])
    is_flagged, threshold = flag_by_own_threshold(task)
    return {
        "train": train,
        "export": export,
        "memory_mb": memory_mb,
        "stored_mb": {"torch": size_mb(stored), "onnx": size_mb(*exported.parent.iterdir())},
        "threshold": threshold,
        "is_flagged": is_flagged,
        "versions": {name: version(name) for name in ("anomalib", "onnxruntime", "timm", "torch", "torchvision")},
    }


def build(task: Task, post_processor=True):
    """Return an untrained model with the network and the weights of the task."""
    import torch
    from anomalib.models import Padim, Patchcore
    from anomalib.pre_processing import PreProcessor
    from torchvision.transforms.v2 import Compose, Normalize, Resize

    resize = Resize((task.image_size, task.image_size), antialias=True)
    options = {
        "backbone": f"tf_{task.backbone}",
        "layers": list(task.layers),
        "pre_trained": False,
        "pre_processor": PreProcessor(Compose([resize, Normalize(task.mean, task.std)])),
        "post_processor": post_processor,
        "evaluator": False,
        "visualizer": False,
    }
    if task.method == "patchcore":
        model = Patchcore(**options, coreset_sampling_ratio=task.settings["coreset_share"])
    else:
        model = Padim(**options, n_features=task.settings["n_features"])
    extractor = model.model.feature_extractor
    state = torch.load(task.weights, weights_only=True)
    missing = extractor.feature_extractor.load_state_dict(state, strict=False).missing_keys
    if missing or extractor.layers != list(task.layers):
        raise SystemExit(f"anomalib's {task.backbone} lacks weights {missing[:3]} or layers of {task.layers}.")
    return model


def train_model(task: Task, model, *, val_split_mode: str, **options):
    """Train a model on the good photographs, and return anomalib's engine."""
    from anomalib.data import Folder
    from anomalib.engine import Engine

    folder = Path(task.train)
    photographs = Folder(
        "parts",
        root=folder.parent,
        normal_dir=folder.name,
        test_split_mode="none",
        val_split_mode=val_split_mode,
        val_split_ratio=_HELD_OUT,
        seed=task.seed,
        # Workers would be processes whose memory and time are counted nowhere.
        num_workers=0,
    )
    runs = Path(task.folder, "runs")
    engine = Engine(accelerator="cpu", default_root_dir=runs, enable_progress_bar=False, **options)
    engine.fit(model=model, datamodule=photographs)
    return engine


def predict(task: Task, engine, model) -> list:
    """Return what anomalib says of each test photograph, in their order."""
    from anomalib.data import PredictDataset

    batches = engine.predict(model=model, dataset=PredictDataset(path=task.test))
    of_path = {Path(one.image_path).name: one for batch in batches for one in batch}
    return [of_path[Path(path).name] for path in photographs(task.test)]


def flag_by_own_threshold(task: Task) -> tuple[list[bool], float]:
    """Train again, without the photographs of which anomalib makes its threshold, and return what that flags."""
    model = build(task)
    engine = train_model(task, model, val_split_mode="from_train")
    is_flagged = [bool(one.pred_label) for one in predict(task, engine, model)]
    return is_flagged, float(model.post_processor.image_threshold)


def torch_(task: Task) -> dict:
    """Score the test photographs by the model that was stored for torch, one at a time."""
    from anomalib.deploy import TorchInferencer

    # The file is this benchmark's own.
    os.environ["TRUST_REMOTE_CODE"] = "1"
    inferencer = TorchInferencer(Path(task.folder, "weights", "torch", "model.pt"), device="cpu")

    def judge(path: str) -> tuple[float, np.ndarray]:
        said = inferencer.predict(path)
        return float(said.pred_score), said.anomaly_map.squeeze().numpy()

    return _one_by_one(task, "torch", judge)


def onnx(task: Task) -> dict:
    """Score the test photographs by the model that was exported, with ONNX Runtime alone, one at a time."""
    import onnxruntime
    from PIL import Image

    session = onnxruntime.InferenceSession(Path(task.folder, "weights", "onnx", "model.onnx"))

    def judge(path: str) -> tuple[float, np.ndarray]:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"), np.float32).transpose(2, 0, 1) / 255
        score, anomaly_map = session.run(["pred_score", "anomaly_map"], {"input": pixels[np.newaxis]})
        return float(score.squeeze()), anomaly_map.squeeze()

    return _one_by_one(task, "onnx", judge)


def _one_by_one(task: Task, name: str, judge: Callable[[str], tuple[float, np.ndarray]]) -> dict:
    scores, maps, seconds = one_by_one(photographs(task.test), judge)
    write_scores(task, name, scores, maps)
    return {"seconds": seconds}


if __name__ == "__main__":
    run_step({"fit": fit, "torch": torch_, "onnx": onnx})
