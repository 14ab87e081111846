"""Time to a trained model, and how good it is: one voter of the pipeline beside what one trains without it.

Run after ``dvc repro prepare`` (``make bench`` installs fastai)::

    python -m bench.training_peers

All start from EfficientNet-Lite0 with its ImageNet weights, frozen, and from the training images of data/manifest.csv;
the test images are judged once. ``voter`` is the pipeline's features with an SVM, hyper-parameters and calibration on
the folds included; ``scikit-learn`` an SVM with its default parameters on the features of torch's penultimate layer;
``fastai`` a `vision_learner` whose head learns for some epochs, with fastai's own augmentation. Times are of one run
each, from the files on.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from fastai.vision.all import ImageDataLoaders, Resize, ResizeMethod, aug_transforms, vision_learner
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from torch.utils.data import DataLoader

from bench.side_by_side import machine_facts, write_results
from bench.throughput import Photographs
from inspection.config import Params, load_params
from inspection.data.manifest import read_manifest
from inspection.labels import DEFECTIVE, TRAIN
from inspection.networks.pretrained import export_backbone
from inspection.networks.weights import load_pretrained
from inspection.voters.features import extract_features
from inspection.voters.shallow import train_shallow

BACKBONE = "efficientnet_lite0"
_LOADED, _WORKERS = 32, 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5, help="of fastai")
    arguments = parser.parse_args()
    params, rows = load_params(), read_manifest("data/manifest.csv")
    facts = machine_facts(("fastai", "onnxruntime", "scikit-learn", "timm", "torch"))
    is_train = (rows["split"] == TRAIN).to_numpy()
    is_defect = (rows["label"] == DEFECTIVE).to_numpy()[~is_train]
    ways: dict[str, Callable[[], np.ndarray]] = {
        "voter": lambda: by_voter(rows, is_train, params),
        "scikit-learn": lambda: by_scikit_learn(rows, is_train, params),
        f"fastai, {arguments.epochs} epochs": lambda: by_fastai(rows, is_train, params, arguments.epochs),
    }
    lines = []
    for name, train in ways.items():
        start = time.perf_counter()
        proba = train()
        lines.append(
            {
                "model": name,
                "accuracy": float(np.mean((proba >= 0.5) == is_defect)),
                "AUC": float(roc_auc_score(is_defect, proba)),
                "wall_s": time.perf_counter() - start,
            }
        )
    print("| | accuracy | AUC | wall, s |\n|---|---|---|---|")
    for line in lines:
        print(f"| {line['model']} | {line['accuracy']:.3f} | {line['AUC']:.3f} | {line['wall_s']:.0f} |")
    write_results("training_peers", facts, {"rows": lines})


def by_voter(rows: pd.DataFrame, is_train: np.ndarray, params: Params) -> np.ndarray:
    """Return P(defective) of the test images by a voter of the pipeline."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{BACKBONE}.onnx")
        export_backbone(BACKBONE, params.features, path)
        features = extract_features(path, rows).vectors
    train = rows[is_train]
    trained = train_shallow(
        "svm",
        params.search["svm"],
        features[is_train],
        train["label"].to_numpy(),
        train["weight"].to_numpy(),
        train["fold"].to_numpy(),
        params.seed,
    )
    return trained.classifier.predict_proba(trained.scaler.transform(features[~is_train]))[:, DEFECTIVE]


def by_scikit_learn(rows: pd.DataFrame, is_train: np.ndarray, params: Params) -> np.ndarray:
    """Return P(defective) by an SVM as it comes, on features of the plain loop."""
    network = load_pretrained(BACKBONE).network.eval()
    network.reset_classifier(0)
    loader = DataLoader(Photographs(rows["path"].tolist(), params.features.image_size), _LOADED, num_workers=_WORKERS)
    with torch.inference_mode():
        features = torch.cat([network(images) for images in loader]).numpy()
    model = make_pipeline(StandardScaler(), SVC())
    model.fit(features[is_train], rows["label"].to_numpy()[is_train])
    # It gives no probability; a sigmoid of its margin ranks alike and has the same 0.5.
    return 1 / (1 + np.exp(-model.decision_function(features[~is_train])))


def by_fastai(rows: pd.DataFrame, is_train: np.ndarray, params: Params, epochs: int) -> np.ndarray:
    """Return P(defective) by a head that fastai trained on the frozen body."""
    table = rows[["path", "label"]].assign(is_test=~is_train)
    loaders = ImageDataLoaders.from_df(
        table,
        path=".",
        fn_col="path",
        label_col="label",
        valid_col="is_test",
        item_tfms=Resize(params.features.image_size, method=ResizeMethod.Squish),
        batch_tfms=aug_transforms(flip_vert=True, max_lighting=0.2),
        bs=_LOADED,
        num_workers=_WORKERS,
        seed=params.seed,
    )
    learner = vision_learner(loaders, f"tf_{BACKBONE}", pretrained=False)
    body = load_pretrained(BACKBONE).network
    missing = learner.model[0].model.load_state_dict(body.state_dict(), strict=False).missing_keys
    if missing:
        raise SystemExit(f"fastai's body lacks the weights of {missing[:3]}.")
    learner.freeze()
    with learner.no_bar(), learner.no_logging():
        learner.fit_one_cycle(epochs)
        proba, _ = learner.get_preds()
    return proba[:, DEFECTIVE].numpy()


if __name__ == "__main__":
    main()
