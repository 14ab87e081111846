"""Is the promise kept? Many drawings of the training images, each with its own ensemble and operating points.

Run after ``dvc repro export-backbone prepare``::

    python -m bench.promise --train 600 --draws 20
    python -m bench.promise --train 1968 --draws 5

For each drawing every voter of params.yaml is trained as the pipeline trains it, networks included; the operating
point of each promise is chosen on the out-of-fold scores, and the images that were not drawn say how many defects
escape. Groups are those of data/manifest.csv: no group is on both sides, and each counts once in a promise.

A promise made with confidence 95 % holds for the true escape rate in 95 of 100 drawings of the training images. The
images left are a sample: they show more than the true rate about as often as less. How often both together exceed the
promise follows from the order statistic that the threshold is: the escapes among the test defects are beta-binomial
(Wilks 1941), which is given as "expected". Scores are kept as `bench.protocols` keeps them.
"""

import argparse

import numpy as np
import pandas as pd
from scipy.stats import betabinom, poisson_binom

from bench.protocols import add_voter_arguments, choose_voters, prepare, read_images, read_vectors, train_voters
from inspection.config import Params, load_params
from inspection.data.manifest import read_manifest
from inspection.data.splits import divide
from inspection.decision.outcomes import Outcomes
from inspection.decision.rule_fitting import fit_rules
from inspection.decision.rules import Rules, decide
from inspection.labels import DEFECTIVE, TEST, TRAIN


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", type=int, nargs="+", default=[600, 1968], help="training images of a drawing, about")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--rates", type=float, nargs="+", default=[0.02, 0.05, 0.1, 0.2], help="escape rates promised")
    add_voter_arguments(parser)
    arguments = parser.parse_args()
    params = choose_voters(load_params(), arguments)
    images = group_as_manifest(read_images(params))
    vectors = read_vectors(images, params)
    prepared = {name: prepare(name, images, params) for name in params.networks}
    for n_train in arguments.train:
        data, lines = params.data.model_copy(update={"test_share": 1 - n_train / len(images)}), []
        for seed in range(arguments.draws):
            rows = divide(images.assign(split=""), data, seed).images
            voter_proba = train_voters(rows, vectors, prepared, params, seed)
            lines += try_promises(rows, np.column_stack(list(voter_proba.values())), params, arguments.rates)
            print_table(n_train, pd.DataFrame(lines))


def group_as_manifest(images: pd.DataFrame) -> pd.DataFrame:
    """Return the images that the manifest lists, each in the group that the audit gave it."""
    groups = read_manifest("data/manifest.csv").set_index("path")["group"]
    listed = images[images["path"].isin(groups.index)].reset_index(drop=True)
    return listed.assign(group=groups[listed["path"]].to_numpy())


def try_promises(rows: pd.DataFrame, proba: np.ndarray, params: Params, rates: list[float]) -> list[dict]:
    """Return what one drawing says of each promise.

    Parameters
    ----------
    rows : DataFrame
        Divided images.
    proba : ndarray of float, shape (n_images, n_voters), in [0, 1]
        Out-of-fold P(defective) of the training images, and what is served for the others.
    params : Params
    rates : list of float in (0, 1)
        Escape rates promised.
    """
    train, test = ((rows["split"] == part).to_numpy() for part in (TRAIN, TEST))
    is_defect = (rows["label"] == DEFECTIVE).to_numpy()[test]
    lines = []
    for rate in rates:
        promise = params.decision.model_copy(update={"max_escape_rate": rate})
        rules = fit_rules(proba[train], rows[train], params.ensemble, promise).rules
        outcomes, point = Outcomes.of(decide(proba[test], rules).verdicts), rules.operating_point
        below = decide_by_threshold(proba[test], rules) if point else np.zeros(test.sum(), bool)
        lines.append(
            {
                "promised": rate,
                "made": point is not None,
                "escape rate": outcomes.passes[is_defect].mean(),
                "exceeds": outcomes.passes[is_defect].mean() > rate,
                "threshold exceeds": below[is_defect].mean() > rate,
                "expected": np.nan
                if point is None
                else expected_excess(point.n_escapes, point.n_defects, int(is_defect.sum()), rate),
                "overkill rate": outcomes.fails[~is_defect].mean(),
                "review rate": outcomes.reviewed.mean(),
            }
        )
    return lines


def decide_by_threshold(proba: np.ndarray, rules: Rules) -> np.ndarray:
    """Return which parts lie below the threshold of the promise; of these the vote sends some to review."""
    return rules.combination.defect_proba(proba) < rules.operating_point.pass_below


def expected_excess(n_hits: int, n_learned: int, n_others: int, max_rate: float) -> float:
    """Return the probability that more than the promised share of other parts lies beyond the threshold.

    Parameters
    ----------
    n_hits, n_learned : int
        Parts beyond the threshold, which is the score of the next one, and all parts it was chosen on.
    n_others : int
        Exchangeable with them.
    max_rate : float in (0, 1)

    Returns
    -------
    float in [0, 1]
    """
    of_others = betabinom(n_others, n_hits + 1, n_learned - n_hits)
    # Rounded: 0.29 * 100 is a little less than 29 in floating point.
    return float(of_others.sf(np.floor(round(max_rate * n_others, 9))))


def print_table(n_train: int, lines: pd.DataFrame) -> None:
    """Print one line per promise; the last number is how many excesses chance stays below 19 times in 20."""
    print(f"\n{n_train} training images\n")
    columns = [
        "promised",
        "drawings",
        "escape rate",
        "above the promise",
        "by the threshold alone",
        "expected, at most",
    ]
    print("|", " | ".join([*columns, "overkill", "review"]), "|")
    print("|---" * 8 + "|")
    for rate, of_rate in lines.groupby("promised"):
        made = of_rate[of_rate["made"]]
        if made.empty:
            print(f"| {rate:.0%} | 0 of {len(of_rate)}: too few defects | | | | | | |")
            continue
        chance = poisson_binom(made["expected"].to_numpy())
        print(
            f"| {rate:.0%} | {len(made)} of {len(of_rate)} | {made['escape rate'].mean():.2%} | "
            f"{made['exceeds'].sum()} | "
            f"{made['threshold exceeds'].sum()} | {chance.mean():.1f}, {chance.ppf(0.95):.0f} | "
            f"{made['overkill rate'].mean():.1%} | {made['review rate'].mean():.1%} |"
        )


if __name__ == "__main__":
    main()
