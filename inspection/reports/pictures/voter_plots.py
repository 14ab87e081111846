"""Charts of the voters: agreement, calibration, and what more training images bring."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from inspection.reports.pictures.canvas import COLOURS, LINE, WIDTH, counted, save_figure, say, shorten, strip_frame
from inspection.reports.tables.intervals import CONFIDENCE_LEVEL
from inspection.reports.tables.predictions import ENSEMBLE

MAX_NAME = 40
"""Letters of a voter's name."""


def plot_agreement(path: str | Path, table: pd.DataFrame) -> None:
    """Draw how often two voters say the same, as a heat map with numbers.

    Parameters
    ----------
    path : str or Path
        PNG to write.
    table : DataFrame of float in [0, 1], shape (n_voters, n_voters)
        See `inspection.reports.tables.insight.agreement`.
    """
    n_voters = len(table)
    figure = Figure(figsize=(3.6 + 0.62 * n_voters, 2.6 + 0.5 * n_voters), layout="constrained")
    figure.suptitle("Share of images on which two voters agree", fontsize=11)
    axis = figure.subplots()
    if n_voters:
        _draw_shares(axis, table)
    else:
        say(axis, "no voters")
    save_figure(path, figure)


def _draw_shares(axis: Axes, table: pd.DataFrame) -> None:
    shares = table.to_numpy()
    # Down to the next tenth below the lowest, or all good voters would have one colour.
    lowest = min(0.9, np.floor(10 * shares.min()) / 10)
    axis.imshow(shares, cmap="Blues", vmin=lowest, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        is_dark = share > lowest + 0.65 * (1 - lowest)
        axis.text(
            column, row, f"{share:.0%}", ha="center", va="center", fontsize=8, color="white" if is_dark else "black"
        )
    names = [shorten(str(name), MAX_NAME) for name in table.columns]
    axis.set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
    axis.set_xticks(
        range(len(names)), names, fontsize=8, rotation=40, ha="right", rotation_mode="anchor", parse_math=False
    )
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)


def plot_calibration(path: str | Path, table: pd.DataFrame) -> None:
    """Draw what share of the parts with some probability are indeed defective.

    Parameters
    ----------
    path : str or Path
        PNG to write.
    table : DataFrame
        The calibration of `inspection.reports.tables.evaluation.curves`. The ensemble is drawn with its intervals and
        numbers of images, each voter as a thin line.
    """
    figure = Figure(figsize=(7, 6.6), layout="constrained")
    figure.suptitle("Does a probability mean what it says?")
    curve, counts = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    curve.plot([0, 1], [0, 1], color="black", linestyle=":", linewidth=1, label="perfectly calibrated")
    is_ensemble = table["voter"] == ENSEMBLE
    voters = list(table[~is_ensemble].groupby("voter", sort=False))
    for number, (_, points) in enumerate(voters):
        label = f"{counted(len(voters), 'voter')}, each alone" if number == 0 else None
        curve.plot(points["predicted"], points["observed"], color="#9aa5b1", linewidth=0.9, label=label)
    if is_ensemble.any():
        _draw_reliability(curve, counts, table[is_ensemble])
    else:
        say(curve, "no images")
    curve.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="observed share of defects")
    counts.set(xlabel="predicted probability of a defect", ylabel="images")
    curve.legend(fontsize=9, loc="upper left", frameon=False)
    for axis in (curve, counts):
        strip_frame(axis)
    save_figure(path, figure)


def _draw_reliability(curve: Axes, counts: Axes, points: pd.DataFrame) -> None:
    colour = COLOURS["non_defective"]
    curve.vlines(
        points["predicted"], points["observed_low"], points["observed_high"], color=colour, linewidth=1.4, zorder=3,
        label=f"{CONFIDENCE_LEVEL:.0%} interval",
    )  # fmt: skip
    curve.plot(
        points["predicted"], points["observed"], "o-", color=colour, linewidth=2, markersize=6, zorder=4, label=ENSEMBLE
    )
    bars = counts.bar(points["predicted"], points["n_images"], 0.03, color=colour)
    counts.bar_label(bars, fontsize=8, padding=1)
    counts.margins(y=0.3)


def plot_learning_curve(path: str | Path, table: pd.DataFrame) -> None:
    """Draw what more training images bring.

    Parameters
    ----------
    path : str or Path
        PNG to write.
    table : DataFrame
        ``n_images``, and ``accuracy``, ``accuracy_sd``, ``roc_auc`` and ``roc_auc_sd`` over repetitions; a standard
        deviation may be NaN.
    """
    figure = Figure(figsize=(WIDTH, 3.8), layout="constrained")
    figure.suptitle("What more training images bring")
    ordered = table.sort_values("n_images")
    panels = figure.subplots(1, 2, sharex=True)
    for panel, (metric, title) in zip(panels, {"accuracy": "accuracy", "roc_auc": "AUC"}.items(), strict=True):
        _draw_learning(panel, ordered, metric, title)
        if table.empty:
            say(panel, "not measured")
    save_figure(path, figure)


def _draw_learning(axis: Axes, table: pd.DataFrame, metric: str, title: str) -> None:
    n_images, mean = table["n_images"].to_numpy(dtype=float), table[metric].to_numpy(dtype=float)
    spread = np.nan_to_num(table[f"{metric}_sd"].to_numpy(dtype=float))
    colour = COLOURS["non_defective"]
    axis.fill_between(n_images, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)
    axis.errorbar(n_images, mean, spread, color=colour, marker="o", capsize=3)
    axis.set(xlabel="training images", xlim=(0, 1.08 * n_images.max(initial=1)))
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axis.set_title(f"{title}, mean and standard deviation", fontsize=10)
    axis.grid(color=LINE, linewidth=0.8)
    strip_frame(axis)
