"""How many photographs do I need? One voter trained on growing parts of the training images.

Run after ``dvc repro export-backbone``::

    python -m bench.learning_curve --seeds 5 --picture docs/learning-curve.png

An RBF SVM on one backbone's features, on nested random subsets of the training part of random 75/25 splits; each is
tested once on the whole test part. The penalty is fixed, so nothing is chosen on any of it.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bench.protocols import read_images, read_vectors
from inspection.config import load_params
from inspection.data.splits import divide
from inspection.labels import DEFECTIVE, TEST, TRAIN
from inspection.reports.pictures.voter_plots import plot_learning_curve
from inspection.voters.classifiers import make_classifier

SIZES = (50, 100, 200, 400, 800, 1200, 1600)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--backbone", default="efficientnet_lite2")
    parser.add_argument("--cost", type=float, default=8.0, help="C of the SVM")
    parser.add_argument("--picture", type=Path, help="PNG to draw the curve into")
    arguments = parser.parse_args()
    params = load_params().model_copy(update={"backbones": [arguments.backbone]})
    images = read_images(params)
    vectors = read_vectors(images, params)[arguments.backbone]
    lines = []
    for seed in range(arguments.seeds):
        rows = divide(images.assign(group=images["path"], split=""), params.data, seed).images
        lines += learn(rows, vectors[rows.index], arguments.cost, seed)
    # Not by the number of images: the last step is the whole training part, whose size differs a little by seed.
    by_step = pd.DataFrame(lines).groupby("step")
    table = by_step.mean().join(by_step.std().add_suffix("_sd"))
    print("| training images | accuracy | AUC | escape rate | overkill rate |\n|---|---|---|---|---|")
    for line in table.to_dict("records"):
        cells = [
            f"{100 * line[key]:.1f} ± {100 * line[f'{key}_sd']:.1f}"
            for key in ("accuracy", "roc_auc", "escape_rate", "overkill_rate")
        ]
        print(f"| {line['n_images']:,.0f} |", " | ".join(cells), "|")
    if arguments.picture:
        plot_learning_curve(arguments.picture, table)


def learn(rows: pd.DataFrame, vectors: np.ndarray, cost: float, seed: int) -> list[dict]:
    """Return the scores on the test part for every number of training images."""
    train, test = (np.flatnonzero(rows["split"] == part) for part in (TRAIN, TEST))
    labels, weights = rows["label"].to_numpy(), rows["weight"].to_numpy()
    order, lines = np.random.default_rng(seed).permutation(train), []
    for step, size in enumerate(sorted({min(size, len(train)) for size in (*SIZES, len(train))})):
        chosen, is_defect = order[:size], labels[test] == DEFECTIVE
        pipeline = make_pipeline(StandardScaler(), make_classifier("svm", seed=0).set_params(C=cost))
        pipeline.fit(vectors[chosen], labels[chosen], svc__sample_weight=weights[chosen])
        scores = pipeline.decision_function(vectors[test])
        fails = scores >= 0
        lines.append(
            {
                "step": step,
                "n_images": size,
                "accuracy": np.mean(fails == is_defect),
                "roc_auc": roc_auc_score(is_defect, scores),
                "escape_rate": np.mean(~fails[is_defect]),
                "overkill_rate": np.mean(fails[~is_defect]),
            }
        )
    return lines


if __name__ == "__main__":
    main()
