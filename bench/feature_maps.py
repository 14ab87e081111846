"""Which feature maps, pooled how, at which size? Compared by cross-validation on training folds only.

Run after ``dvc repro prepare``::

    python -m bench.feature_maps --backbones efficientnet_lite0 efficientnet_lite1 --sizes 300

Each row is an RBF SVM (C = 2, standardised features) on the folds of data/manifest.csv. Test images are not opened.
"""

import argparse
import itertools
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from tqdm import tqdm

from inspection.config import POOLINGS, FeatureParams
from inspection.data.images import resize
from inspection.data.manifest import iterate_pixels, read_training_rows
from inspection.networks.onnx_models import OnnxModel
from inspection.networks.pretrained import FeatureNetwork, export_backbone
from inspection.networks.weights import load_pretrained

LAYERS = ("blocks.3", "blocks.4", "blocks.5", "blocks.6", "bn2")
LAYER_SETS = (*((layer,) for layer in LAYERS), ("blocks.4", "blocks.5"), ("blocks.3", "blocks.4", "blocks.5"),
              ("blocks.4", "blocks.5", "blocks.6"))  # fmt: skip
POOLING_SETS = (("avg",), ("max",), ("avg", "max"), ("avg", "std"), ("avg", "max", "std"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbones", nargs="+", default=["efficientnet_lite0"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[300])
    arguments = parser.parse_args()
    train = read_training_rows("data/manifest.csv")
    rows = []
    for backbone, size in itertools.product(arguments.backbones, arguments.sizes):
        columns = pooled_columns(backbone, size, train)
        for layers, poolings in tqdm(list(itertools.product(LAYER_SETS, POOLING_SETS)), desc=f"{backbone} {size}"):
            features = np.hstack([columns[layer, pooling] for layer in layers for pooling in poolings])
            rows.append((backbone, size, "+".join(layers), "+".join(poolings), features.shape[1],
                         *cross_validate(features, train)))  # fmt: skip
    table = pd.DataFrame(rows, columns=["backbone", "size", "layers", "pooling", "n_features", "roc_auc", "accuracy"])
    print(table.sort_values("roc_auc", ascending=False).to_string(index=False, float_format="%.4f"))


def pooled_columns(backbone: str, size: int, train: pd.DataFrame) -> dict[tuple[str, str], np.ndarray]:
    """Run the backbone once; return the columns of every layer and pooling."""
    layers, poolings = {backbone: list(LAYERS)}, list(POOLINGS)
    # Without flips: what is compared is layers and poolings, and every view adds the work of one.
    params = FeatureParams(image_size=size, flips=[], layers=layers, pooling=poolings, weights={})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "backbone.onnx"
        export_backbone(backbone, params, path)
        images = (resize(pixels, size) for pixels in iterate_pixels(train))
        images = tqdm(images, desc=f"{backbone} {size} features", total=len(train))
        features = OnnxModel(path.read_bytes(), backbone).run_all(images, "features")
    columns, start = {}, 0
    for layer, pooling in itertools.product(LAYERS, POOLINGS):
        single = FeatureNetwork(load_pretrained(backbone), [layer], [pooling], [], backbone).eval()
        with torch.inference_mode():
            width = single(torch.zeros(1, size, size, 3, dtype=torch.uint8))[0].shape[1]
        columns[layer, pooling] = features[:, start : start + width]
        start += width
    return columns


def cross_validate(features: np.ndarray, train: pd.DataFrame) -> tuple[float, float]:
    """Return AUC and accuracy of out-of-fold scores."""
    scores = out_of_fold_scores(features, train)
    return roc_auc_score(train["label"], scores), accuracy_score(train["label"], scores >= 0)


def out_of_fold_scores(features: np.ndarray, train: pd.DataFrame) -> np.ndarray:
    """Return how far on the defective side of an SVM, trained without its fold, each image lies."""
    model = make_pipeline(StandardScaler(), SVC(C=2))
    return cross_val_predict(
        model, features, train["label"], cv=PredefinedSplit(train["fold"]), method="decision_function", n_jobs=-1,
        params={"svc__sample_weight": train["weight"].to_numpy()},
    )  # fmt: skip


if __name__ == "__main__":
    main()
