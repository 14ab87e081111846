"""What does it cost to serve the models of the folds, and what does the draw of the split do?

Run after ``dvc repro`` (the hyper-parameters are those that it chose)::

    python -m bench.refit

Protocol (a), with the same test parts for two ways to serve a shallow voter: the models of the folds, averaged, as the
pipeline does; and one model fitted once more on all training images, with the calibration of the folds. Both on the
splits by hash of the pipeline and on stratified draws (scikit-learn's StratifiedGroupKFold, see `bench.growth`). The
difference is of the same test parts, with its standard error over the seeds.
"""

import argparse
import json
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from bench.growth import by_hash, draw_stratified
from bench.protocols import add_voter_arguments, choose_voters, read_images, read_vectors
from inspection.config import load_params
from inspection.data.ledger import UNDRAWN
from inspection.labels import DEFECTIVE, TEST, TRAIN
from inspection.voters.classifiers import make_classifier
from inspection.voters.fold_ensemble import raw_scores
from inspection.voters.shallow import train_shallow

DRAWS = {"by hash": by_hash, "stratified": draw_stratified}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    add_voter_arguments(parser)
    arguments = parser.parse_args()
    params = choose_voters(load_params(), arguments)
    images = read_images(params)
    vectors = read_vectors(images, params)
    alone = images.assign(group=images["path"], series=images["photograph"], split="")
    lines = []
    for seed, (draw, divide) in product(range(arguments.seeds), DRAWS.items()):
        rows, _ = divide(alone, params.data, seed, UNDRAWN)
        for backbone, classifier in product(params.backbones, params.classifiers):
            voter = f"{backbone}_{classifier}"
            scores = compare(rows, vectors[backbone][rows.index], classifier, chosen_grid(voter), seed)
            lines.append({"draw": draw, "voter": voter, **scores})
            print(lines[-1], flush=True)
    print_table(pd.DataFrame(lines))


def chosen_grid(voter: str) -> dict[str, list]:
    """Return the hyper-parameters the pipeline chose for a voter, as a grid of one combination."""
    card = json.loads(Path(f"metrics/training/{voter}.json").read_text(encoding="utf-8"))["voter"][0]
    return {name: [value] for name, value in card["hyperparameters"].items()}


def compare(rows: pd.DataFrame, vectors: np.ndarray, classifier: str, grid: dict[str, list], seed: int) -> dict:
    """Return accuracy and AUC on the test part, of the models of the folds and of one fitted on all training images.

    Parameters
    ----------
    rows : DataFrame
        Divided images.
    vectors : ndarray of float32, shape (n_images, n_features)
        In the order of ``rows``.
    classifier : str
    grid : dict of str to list
        From `chosen_grid`.
    seed : int
    """
    train, test = (np.flatnonzero(rows["split"] == part) for part in (TRAIN, TEST))
    labels, weights, folds = (rows[column].to_numpy() for column in ("label", "weight", "fold"))
    trained = train_shallow(classifier, grid, vectors[train], labels[train], weights[train], folds[train], seed)
    refit = make_classifier(classifier, seed).set_params(**trained.hyperparameters)
    refit.fit(trained.scaler.transform(vectors[train]), labels[train], sample_weight=weights[train])
    scaled, is_defect = trained.scaler.transform(vectors[test]), labels[test] == DEFECTIVE
    served = {
        "folds": trained.classifier.predict_proba(scaled)[:, DEFECTIVE],
        "refit": trained.classifier.calibrate(raw_scores(refit, scaled)),
    }
    scores = {}
    for way, proba in served.items():
        scores[f"accuracy, {way}"] = float(100 * np.mean((proba >= 0.5) == is_defect))
        scores[f"AUC, {way}"] = 100 * roc_auc_score(is_defect, proba)
    return scores


def print_table(lines: pd.DataFrame) -> None:
    """Print one line per draw and voter as Markdown, in %."""
    columns = ["draw", "voter", *(f"{score}, {what}" for score in ("accuracy", "AUC") for what in ("folds", "refit"))]
    print("\n|", " | ".join([*columns[:4], "difference", *columns[4:], "difference"]), "|")
    print("|---" * 8 + "|")
    for (draw, voter), of_voter in lines.groupby(["draw", "voter"], sort=False):
        cells = []
        for score in ("accuracy", "AUC"):
            folds, refit = of_voter[f"{score}, folds"], of_voter[f"{score}, refit"]
            difference = folds - refit
            cells += [f"{values.mean():.2f} ± {values.std():.2f}" for values in (folds, refit)]
            cells.append(f"{difference.mean():+.2f} ± {difference.sem():.2f}")
        print(f"| {draw} | `{voter}` |", " | ".join(cells), "|")


if __name__ == "__main__":
    main()
