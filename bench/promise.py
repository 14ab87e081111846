"""Is the promise kept? Many random splits of the same photographs, each with its own operating point.

Run after ``dvc repro export-backbone``::

    python -m bench.promise --splits 100

For each split an SVM on the features of a backbone is scored out-of-fold and trained on the whole training part; the
operating point is chosen on the out-of-fold scores, and the test part says how many defects escape.

A promise made with confidence 95 % holds for the true escape rate in 95 of 100 drawings of the training images. The
test part is a sample: it shows more than the true rate about as often as less. How often both together exceed the
promise follows from the order statistic that the threshold is: the escapes among the test defects are beta-binomial
(Wilks 1941), which is given as "expected".
"""

import argparse

import numpy as np
import pandas as pd
from joblib import Parallel, delayed
from scipy import special
from scipy.stats import betabinom
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from bench.protocols import read_images, read_vectors
from inspection.calibration import calibrate_across_folds, fit_logistic
from inspection.config import Params, load_params
from inspection.data.splits import divide
from inspection.decision.operating_point import OperatingPoint
from inspection.decision.rule_fitting import fit_rules
from inspection.decision.rules import BAD, GOOD, decide
from inspection.labels import DEFECTIVE, TEST, TRAIN
from inspection.voters.shallow import make_classifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=100)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.02, 0.05, 0.1, 0.2], help="escape rates promised")
    parser.add_argument("--backbone", default="efficientnet_lite2")
    parser.add_argument("--cost", type=float, default=8.0, help="C of the SVM")
    arguments = parser.parse_args()
    params = load_params().model_copy(update={"backbones": [arguments.backbone]})
    images = read_images(params)
    vectors = read_vectors(images, params)[arguments.backbone]
    tasks = (delayed(try_split)(images, vectors, params, seed, arguments) for seed in range(arguments.splits))
    results = Parallel(n_jobs=-1, return_as="generator")(tasks)
    lines = [line for lines in tqdm(results, total=arguments.splits, desc="splits") for line in lines]
    print_table(pd.DataFrame(lines))


def try_split(
    images: pd.DataFrame, vectors: np.ndarray, params: Params, seed: int, arguments: argparse.Namespace
) -> list[dict]:
    """Return what one split says of each promise."""
    rows = divide(images.assign(group=images["path"], split=""), params.data, seed).images
    train, test = ((rows["split"] == part).to_numpy() for part in (TRAIN, TEST))
    proba = svm_proba(vectors[rows.index], rows, train, arguments.cost).reshape(-1, 1)
    is_defect, lines = (rows["label"] == DEFECTIVE).to_numpy()[test], []
    for rate in arguments.rates:
        promise = params.decision.model_copy(update={"max_escape_rate": rate})
        fitted = fit_rules(proba[train], rows[train], params.ensemble, promise)
        verdicts = decide(proba[test], fitted.rules).verdicts
        n_escapes = int(np.sum(verdicts[is_defect] == GOOD))
        point, n_defects = fitted.rules.operating_point, int(is_defect.sum())
        lines.append(
            {
                "promised": rate,
                "kept": point is not None,
                "escape rate": n_escapes / n_defects,
                "exceeds": n_escapes > rate * n_defects,
                "expected": point and expected_excess(point, n_defects),
                "overkill rate": np.mean(verdicts[~is_defect] == BAD),
                "review rate": np.mean((verdicts != BAD) & (verdicts != GOOD)),
            }
        )
    return lines


def expected_excess(point: OperatingPoint, n_defects: int) -> float:
    """Return the probability that more than the promised share of test defects lies below the threshold."""
    rank = point.n_escapes + 1
    of_test = betabinom(n_defects, rank, point.n_defects + 1 - rank)
    return float(of_test.sf(np.floor(point.max_escape_rate * n_defects)))


def svm_proba(vectors: np.ndarray, rows: pd.DataFrame, train: np.ndarray, cost: float) -> np.ndarray:
    """Return P(defective): out-of-fold where ``train``, by the classifier of the whole training part elsewhere."""
    labels, weights, folds = (rows[column].to_numpy()[train] for column in ("label", "weight", "fold"))
    pipeline = make_pipeline(StandardScaler(), make_classifier("svm", seed=0).set_params(C=cost))
    weighed = {"svc__sample_weight": weights}
    scores = cross_val_predict(
        pipeline, vectors[train], labels, cv=PredefinedSplit(folds), method="decision_function", params=weighed
    )
    slope, intercept = fit_logistic(scores.reshape(-1, 1), labels, weights)
    proba = np.empty(len(rows))
    proba[train] = calibrate_across_folds(scores, labels, weights, folds)
    pipeline.fit(vectors[train], labels, **weighed)
    proba[~train] = special.expit(slope[0] * pipeline.decision_function(vectors[~train]) + intercept)
    return proba


def print_table(lines: pd.DataFrame) -> None:
    """Print one line per promise."""
    print("| promised | splits | escape rate | test parts above the promise | expected | overkill | review |")
    print("|---|---|---|---|---|---|---|")
    for rate, of_rate in lines[lines["kept"]].groupby("promised"):
        overkill, review = of_rate["overkill rate"].mean(), of_rate["review rate"].mean()
        print(
            f"| {rate:.0%} | {len(of_rate)} | {of_rate['escape rate'].mean():.2%} | {of_rate['exceeds'].sum()} | "
            f"{of_rate['expected'].astype(float).sum():.1f} | {overkill:.1%} | {review:.1%} |"
        )
    for rate, of_rate in lines[~lines["kept"]].groupby("promised"):
        print(f"\n{rate:.0%}: in {len(of_rate)} splits the training part holds too few defects for the promise.")


if __name__ == "__main__":
    main()
