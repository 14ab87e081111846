"""Is the promise of overkill kept? Resplits of the good parts of a run, and its test part.

Run where a run left its models, with or without ``decision.max_overkill_rate``; nothing is trained::

    python -m bench.overkill_promise --rates 0.02 0.05 0.1

The scores are the ensemble's out-of-fold ones of the good training parts, in models/out_of_fold.csv; each group of
data/manifest.csv counts once, with its highest. Three things are counted for every promise:

- ``drawn anew``: half as many groups as there are, drawn with replacement, choose a threshold, and the share of all
  groups that reach it is the true rate of these drawings. The promise says that it is above the promised one in at most
  1 - confidence of them.
- ``other half``: half of the groups choose the threshold, the others are judged by it. They are a sample that shows
  more than the true rate about as often as less, so more of them exceed the promise: how many follows from the order
  statistic that the threshold is (beta-binomial, Wilks 1941), and is given as "by chance".
- the test part, where metrics/curves/predictions.csv scores one: the threshold of all training groups, and how probable
  as much overkill or more is by chance.

The first two check that threshold and groups are what they are said to be: of scores without ties the ranks alone
decide them, whatever the voters are. Only the test part can show that training and serving differ. Its scores are means
over the models of all folds, where each out-of-fold score comes from the models of one; a mean scatters less, and fewer
good parts lie far above the others, but a mean that lay higher throughout would break the promise. So would copies that
no group joins, which count as several parts, and parts of another kind or camera than those of the training.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from bench.promise import expected_excess
from inspection.config import load_params
from inspection.data.manifest import read_manifest
from inspection.decision.operating_point import allowed_hits, fail_threshold, overkill_operating_point, parts_needed
from inspection.labels import NON_DEFECTIVE, TEST, TRAIN
from inspection.reports.tables.intervals import share_interval
from inspection.reports.tables.out_of_fold import read_out_of_fold
from inspection.reports.tables.reading import read_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--rates", type=float, nargs="+", default=[0.02, 0.05, 0.1, 0.2], help="overkill rates promised"
    )
    parser.add_argument("--resplits", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    confidence = load_params().decision.confidence
    train, test = read_good_parts(Path())
    lines = [resplit(train, rate, confidence, arguments.resplits, arguments.seed) for rate in arguments.rates]
    print_resplits(pd.DataFrame(lines), confidence)
    if len(test):
        print_test([judge_test(train, test, rate, confidence) for rate in arguments.rates])


def read_good_parts(run: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the scores of good parts.

    Parameters
    ----------
    run : Path
        Folder of a run.

    Returns
    -------
    train, test : DataFrame
        ``group`` and ``defect_proba`` of the photographs, out of fold and as served; the latter may be empty.
    """
    manifest = read_manifest(run / "data/manifest.csv")
    rows = manifest[manifest["split"] == TRAIN].reset_index(drop=True)
    verdicts = {TRAIN: read_out_of_fold(run / "models/out_of_fold.csv", rows)}
    predictions = run / "metrics/curves/predictions.csv"
    verdicts[TEST] = read_table(predictions, "evaluate", ("path",)) if predictions.is_file() else verdicts[TRAIN][:0]
    good = manifest.loc[manifest["label"] == NON_DEFECTIVE, ["path", "group", "split"]]
    train, test = (
        good[good["split"] == part].merge(verdicts[part][["path", "defect_proba"]], on="path") for part in (TRAIN, TEST)
    )
    return train[["group", "defect_proba"]], test[["group", "defect_proba"]]


def resplit(good: pd.DataFrame, rate: float, confidence: float, n_resplits: int, seed: int) -> dict[str, float]:
    """Return how often a promise is exceeded.

    Parameters
    ----------
    good : DataFrame
        From `read_good_parts`.
    rate, confidence : float in (0, 1)
        Overkill that is promised.
    n_resplits, seed : int

    Returns
    -------
    dict of str to float
        ``promised``, ``n_learned`` and ``n_others`` groups, and ``n_resplits``: 0 where half of the groups are too few
        for the promise, and then nothing else. ``anew`` and ``exceeds``, drawings and resplits above the promise;
        ``by_chance``, the share of resplits expected there; ``overkill`` and ``of_photographs``, mean rates of groups
        and of their photographs in the other half.
    """
    highest = good.groupby("group")["defect_proba"].max()
    n_learned = len(highest) // 2
    line = {"promised": rate, "n_learned": n_learned, "n_others": len(highest) - n_learned, "n_resplits": 0}
    if allowed_hits(n_learned, rate, confidence) < 0:
        return line
    random, names = np.random.default_rng(seed), highest.index.to_numpy()
    scores, of_photographs = highest.to_numpy(), good["defect_proba"].to_numpy()
    groups = np.searchsorted(names, good["group"].to_numpy())
    true_rates, rates, photograph_rates = np.empty((3, n_resplits))
    for number in range(n_resplits):
        drawn = random.integers(len(names), size=n_learned)
        true_rates[number] = np.mean(scores >= fail_threshold(scores[drawn], rate, confidence))
        is_learned = np.zeros(len(names), bool)
        is_learned[random.permutation(len(names))[:n_learned]] = True
        threshold = choose_threshold(good[is_learned[groups]], rate, confidence)
        rates[number] = np.mean(scores[~is_learned] >= threshold)
        photograph_rates[number] = np.mean(of_photographs[~is_learned[groups]] >= threshold)
    return line | {
        "n_resplits": n_resplits,
        "anew": int(np.sum(true_rates > rate)),
        "exceeds": int(np.sum(rates > rate)),
        "by_chance": expected_excess(allowed_hits(n_learned, rate, confidence), n_learned, line["n_others"], rate),
        "overkill": rates.mean(),
        "of_photographs": photograph_rates.mean(),
    }


def choose_threshold(good: pd.DataFrame, rate: float, confidence: float) -> float:
    """Return from where on parts fail, as the pipeline chooses it; there must be parts enough for the promise."""
    nothing = np.zeros(len(good), bool)
    scores, groups = good["defect_proba"].to_numpy(), good["group"].to_numpy()
    return overkill_operating_point(nothing, scores, groups, rate, confidence).fail_from


def judge_test(train: pd.DataFrame, test: pd.DataFrame, rate: float, confidence: float) -> dict[str, float]:
    """Return what the good test parts make of a promise.

    Parameters
    ----------
    train, test : DataFrame
        From `read_good_parts`.
    rate, confidence : float in (0, 1)

    Returns
    -------
    dict of str to float
        ``promised``, ``n_learned`` and ``n_others`` groups; where there are enough for the promise also ``n_overkill``
        of the others, ``of_photographs``, the rate of their photographs, and ``by_chance``, the probability of as many
        groups or more.
    """
    highest = test.groupby("group")["defect_proba"].max()
    n_learned, n_others = train["group"].nunique(), len(highest)
    line = {"promised": rate, "n_learned": n_learned, "n_others": n_others}
    n_hits = allowed_hits(n_learned, rate, confidence)
    if n_hits < 0:
        return line
    threshold = choose_threshold(train, rate, confidence)
    n_overkill = int(np.sum(highest >= threshold))
    return line | {
        "n_overkill": n_overkill,
        "of_photographs": np.mean(test["defect_proba"] >= threshold),
        "by_chance": expected_excess(n_hits, n_learned, n_others, (n_overkill - 1) / n_others) if n_overkill else 1.0,
    }


def print_resplits(lines: pd.DataFrame, confidence: float) -> None:
    """Print one line per promise as Markdown, with 95 % intervals of the shares."""
    print(f"\ndrawn anew, expected: at most {1 - confidence:.1%}\n")
    print("| promised | drawn anew, above | other half, above | by chance | overkill | of photographs |")
    print("|---" * 6 + "|")
    for line in lines.to_dict("records"):
        n_resplits = int(line["n_resplits"])
        if not n_resplits:
            few = f"{line['n_learned']:.0f} good groups of {parts_needed(line['promised'], confidence)} that it takes"
            print(f"| {line['promised']:.0%} | {few} | | | | |")
            continue
        above = []
        for name in ("anew", "exceeds"):
            low, high = share_interval(line[name], n_resplits)
            above.append(f"{line[name] / n_resplits:.1%} ({low:.1%}–{high:.1%})")
        print(
            f"| {line['promised']:.0%} | {above[0]} | {above[1]} | {line['by_chance']:.1%} | {line['overkill']:.2%} | "
            f"{line['of_photographs']:.2%} |"
        )


def print_test(lines: list[dict[str, float]]) -> None:
    """Print one line per promise as Markdown."""
    print("\n| promised | good test groups | that fail | 95 % | of photographs | as many by chance |")
    print("|---" * 6 + "|")
    for line in lines:
        if "n_overkill" not in line:
            print(f"| {line['promised']:.0%} | too few of training: {line['n_learned']} | | | | |")
            continue
        low, high = share_interval(line["n_overkill"], line["n_others"])
        print(
            f"| {line['promised']:.0%} | {line['n_others']} | {line['n_overkill']} | {low:.1%}–{high:.1%} | "
            f"{line['of_photographs']:.2%} | {line['by_chance']:.1%} |"
        )


if __name__ == "__main__":
    main()
