"""Over which mirror images should features be averaged? Compared by cross-validation on training folds only.

Run after ``dvc repro prepare``::

    python -m bench.flips

Each row is an RBF SVM (C = 2, standardised features) per backbone of params.yaml on the folds of data/manifest.csv, and
the mean of their scores. Test images are not opened.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, roc_auc_score
from tqdm import tqdm

from bench.feature_maps import out_of_fold_scores
from inspection.config import FeatureParams, load_params
from inspection.data.images import resize
from inspection.data.manifest import iterate_pixels, read_training_rows
from inspection.networks.onnx_models import OnnxModel
from inspection.networks.pretrained import export_backbone

AXES: dict[str, tuple[int, ...]] = {"none": (), "horizontal": (1,), "vertical": (0,), "both": (0, 1)}
"""Of (rows, columns, channels), along which each view is flipped; the photograph as it lies first."""
AVERAGED = (("none",), ("none", "horizontal"), ("none", "vertical"), ("none", "both"), tuple(AXES))


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    params, train = load_params(), read_training_rows("data/manifest.csv")
    views = {backbone: features_by_view(backbone, params.features, train) for backbone in params.backbones}
    rows = []
    for averaged in tqdm(AVERAGED, desc="cross-validation"):
        scores = {
            backbone: out_of_fold_scores(np.mean([of_view[name] for name in averaged], axis=0), train)
            for backbone, of_view in views.items()
        }
        scores["mean"] = np.mean(list(scores.values()), axis=0)
        for name, values in scores.items():
            area, accuracy = roc_auc_score(train["label"], values), accuracy_score(train["label"], values >= 0)
            rows.append(("+".join(averaged), name, area, accuracy))
    table = pd.DataFrame(rows, columns=["views", "scores", "roc_auc", "accuracy"])
    print(table.to_string(index=False, float_format="%.4f"))


def features_by_view(backbone: str, features: FeatureParams, train: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return the features of every training image in each of the views of `AXES`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "backbone.onnx"
        export_backbone(backbone, features.model_copy(update={"flips": []}), path)
        model = OnnxModel(path.read_bytes(), backbone)
    of_view = {}
    for name, axes in AXES.items():
        images = (np.flip(resize(pixels, features.image_size), axes) for pixels in iterate_pixels(train))
        of_view[name] = model.run_all(tqdm(images, desc=f"{backbone} {name}", total=len(train)), "features")
    return of_view


if __name__ == "__main__":
    main()
