"""What does each value of a classifier's hyper-parameters bring, and what does fitting it cost?

Run after ``dvc repro extract-features``::

    python -m bench.candidates --classifier random_forest
    python -m bench.candidates --classifier xgboost --grid '{"max_bin": [256, 64], "max_depth": [3, 5]}'

Every combination is fitted on the folds of the training part as ``train-shallow`` fits it; test images stay out of it.
Values of ``--grid`` take the place of those of params.yaml. The columns are the area under the ROC curve out of fold by
backbone, its mean, and the processor time of all fits and their scores relative to the first combination.
"""

import argparse
import json
from time import process_time

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import ParameterGrid

from inspection.config import load_params
from inspection.data.manifest import read_training_rows
from inspection.plugins import load_plugins
from inspection.voters.features import read_features
from inspection.voters.shallow import train_shallow


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classifier", required=True)
    parser.add_argument("--grid", type=json.loads, default={}, help="JSON: values to try by hyper-parameter")
    arguments = parser.parse_args()
    params, rows = load_params(), read_training_rows("data/manifest.csv")
    load_plugins(params.plugins)
    grid = params.search.get(arguments.classifier, {}) | arguments.grid
    varied = [name for name, values in grid.items() if len(values) > 1]
    vectors = [read_features(f"features/{name}.npz", rows).vectors for name in params.backbones]
    labels, weights, folds = (rows[column].to_numpy() for column in ("label", "weight", "fold"))
    print("|", " | ".join([*varied, *params.backbones, "AUC, mean", "fitting"]), "|")
    print("|---" * (len(varied) + len(params.backbones) + 2) + "|")
    first = None
    for combination in ParameterGrid(grid):
        single = {name: [value] for name, value in combination.items()}
        start = process_time()
        trained = [
            train_shallow(arguments.classifier, single, features, labels, weights, folds, params.seed)
            for features in vectors
        ]
        spent = process_time() - start
        first = first or spent
        areas = [float(roc_auc_score(labels, of_backbone.out_of_fold)) for of_backbone in trained]
        cells = [*(str(combination[name]) for name in varied), *(f"{area:.4f}" for area in [*areas, np.mean(areas)])]
        print("|", " | ".join(cells), f"| × {spent / first:.2f} |", flush=True)


if __name__ == "__main__":
    main()
