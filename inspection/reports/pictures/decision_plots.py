"""Charts of the ensemble's decisions: scores, what each threshold costs, where the mistakes are."""

from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator, PercentFormatter

from inspection.labels import CLASS_NAMES, DEFECTIVE, NON_DEFECTIVE, REVIEW
from inspection.reports.pictures.canvas import (
    COLOURS,
    GREY,
    LINE,
    WIDTH,
    counted,
    save_figure,
    say,
    shorten,
    strip_frame,
    write_plainly,
)
from inspection.reports.tables.intervals import CONFIDENCE_LEVEL

MAX_VALUE = 40
"""Letters of a value that leave room for the bars."""
N_BINS = 40
"""Bars of the histogram of scores."""
LINEAR_UP_TO = 0.01
"""Rates up to this are drawn to scale, so that 0 has a place; larger ones on a logarithmic axis."""
RATE_TICKS = (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
MARKERS = "osD^vP*"
AREAS: dict[str, dict[str, Any]] = {
    "PASS": {"facecolor": "#dbe9f4"},
    # Hatched, so that a grey print shows it too.
    REVIEW.upper(): {"facecolor": "#f3f1e4", "edgecolor": "#d3ceb6", "hatch": "////", "linewidth": 0},
    "FAIL": {"facecolor": "#f9dfd0"},
}


def plot_scores(path: str | Path, is_defect: np.ndarray, proba: np.ndarray, thresholds: tuple[float, ...]) -> None:
    """Draw how the ensemble's probability is distributed in each class, and where the thresholds cut.

    Parameters
    ----------
    path : str or Path
        PNG to write.
    is_defect : ndarray of bool, shape (n_images,)
    proba : ndarray of float, shape (n_images,), in [0, 1]
    thresholds : tuple of one or two floats
        Two divide the parts into pass (below the first), review, and fail (from the second on). One is drawn as a
        line only: by majority vote the mean probability does not decide alone.

    Raises
    ------
    ValueError
        If there are other than one or two thresholds, or they descend.
    """
    if len(thresholds) not in (1, 2) or list(thresholds) != sorted(thresholds):
        raise ValueError(f"thresholds must be one, or two that ascend, got {thresholds}")
    figure = Figure(figsize=(WIDTH, 5.2), layout="constrained")
    figure.suptitle(f"Probability of a defect, as the ensemble sees {counted(len(proba), 'image')}")
    panels = figure.subplots(2, 1, sharex=True)
    for panel, label in zip(panels, (NON_DEFECTIVE, DEFECTIVE), strict=True):
        of_class = proba[is_defect == (label == DEFECTIVE)]
        _draw_scores(panel, of_class, thresholds, CLASS_NAMES[label])
    panels[-1].set_xlabel("probability of a defect; " + _name_thresholds(thresholds))
    save_figure(path, figure)


def _name_thresholds(thresholds: tuple[float, ...]) -> str:
    if len(thresholds) == 1:
        return f"threshold {thresholds[0]:.3g}"
    # An operating point without good parts enough puts the second threshold just above 1.
    fails = f"fails from {thresholds[1]:.3g}" if thresholds[1] <= 1 else "none fails"
    return f"passes below {thresholds[0]:.3g}, {fails}"


def _draw_scores(axis: Axes, proba: np.ndarray, thresholds: tuple[float, ...], name: str) -> None:
    axis.hist(proba, bins=N_BINS, range=(0, 1), color=COLOURS[name], zorder=2)
    for threshold in [threshold for threshold in thresholds if threshold <= 1]:
        axis.axvline(threshold, color="black", linewidth=1.2, linestyle="--", zorder=3)
    if len(thresholds) == 2:
        _draw_areas(axis, proba, *thresholds)
    axis.set_title(f"{name}: {counted(len(proba), 'image')}", fontsize=10, loc="left", color=COLOURS[name])
    # A hair more than [0, 1]: bars at the ends and a threshold of 1 stay visible.
    axis.set(ylabel="images", xlim=(-0.01, 1.01))
    if len(proba):
        axis.yaxis.set_major_locator(MaxNLocator(integer=True))
    else:
        axis.set(ylim=(0, 1), yticks=[0])
    strip_frame(axis)


def _draw_areas(axis: Axes, proba: np.ndarray, pass_below: float, fail_from: float) -> None:
    cuts = [-0.01, *(cut if cut <= 1 else 1.01 for cut in (pass_below, fail_from)), 1.01]
    n_pass, n_fail = int(np.sum(proba < pass_below)), int(np.sum(proba >= fail_from))
    counts = [n_pass, len(proba) - n_pass - n_fail, n_fail]
    for style, left, right in zip(AREAS.values(), cuts[:-1], cuts[1:], strict=True):
        axis.axvspan(left, right, **style, zorder=0)
    patches = [
        Patch(**style, label=f"{area} {count}" + (f" ({count / len(proba):.0%})" if len(proba) else ""))
        for (area, style), count in zip(AREAS.items(), counts, strict=True)
    ]
    # Above the panel and not in the areas, which may be too narrow for their names.
    axis.legend(
        handles=patches, ncols=3, loc="lower right", bbox_to_anchor=(1, 1), frameon=False, fontsize=9, borderpad=0
    )


def plot_tradeoff(path: str | Path, table: pd.DataFrame, points: dict[str, tuple[float, float]]) -> None:
    """Draw which escape rate can be had for which overkill rate, and where the ensemble stands.

    Parameters
    ----------
    path : str or Path
        PNG to write.
    table : DataFrame
        See `inspection.reports.tables.insight.tradeoff`.
    points : dict of (float, float)
        Escape rate and overkill rate, in this order, by name.
    """
    figure = Figure(figsize=(7, 5.6), layout="constrained")
    figure.suptitle("What each threshold costs")
    axis = figure.subplots()
    rates = table.dropna(subset=["escape_rate", "overkill_rate"])
    axis.plot(rates["overkill_rate"], rates["escape_rate"], color=COLOURS["non_defective"],
              label="all thresholds", clip_on=False, zorder=2.5)  # fmt: skip
    for (name, (escape, overkill)), marker in zip(points.items(), cycle(MARKERS), strict=False):
        label = f"{name}:\nescape {escape:.1%}, overkill {overkill:.1%}"
        axis.plot(overkill, escape, marker, color=COLOURS["defective"], markersize=9, markeredgecolor="black",
                  linestyle="none", label=label, clip_on=False, zorder=3)  # fmt: skip
    _scale_rates(axis)
    axis.set(xlabel="overkill rate: good parts rejected", ylabel="escape rate: defects that pass")
    axis.grid(color=LINE, linewidth=0.8)
    if rates.empty:
        say(axis, "needs defective and good parts")
    legend = axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1), frameon=False, labelspacing=1)
    write_plainly(legend.get_texts())
    strip_frame(axis)
    save_figure(path, figure)


def _scale_rates(axis: Axes) -> None:
    for scale, own_axis in ((axis.set_xscale, axis.xaxis), (axis.set_yscale, axis.yaxis)):
        scale("symlog", linthresh=LINEAR_UP_TO, linscale=0.4)
        own_axis.set_ticks(RATE_TICKS, [f"{tick:.0%}" for tick in RATE_TICKS])
        own_axis.set_minor_locator(NullLocator())
        own_axis.set_minor_formatter(NullFormatter())
    axis.set(xlim=(0, 1), ylim=(0, 1))


def plot_rates_by_value(path: str | Path, table: pd.DataFrame) -> None:
    """Draw escape and overkill rate of every kind of part, with the numbers of images they rest on.

    Parameters
    ----------
    path : str or Path
        PNG to write.
    table : DataFrame
        See `inspection.reports.tables.insight.rates_by_value`.
    """
    lines = _with_headings(table)
    figure = Figure(figsize=(WIDTH, 1.3 + 0.3 * max(4, len(lines))), layout="constrained")
    figure.suptitle(f"Where the mistakes are (lines: {CONFIDENCE_LEVEL:.0%} intervals)")
    panels = figure.subplots(1, 2, sharey=True)
    n_good = lines["n_images"] - lines["n_defects"]
    highest = [
        _draw_rates(panels[0], _counts(lines, "escape_rate", "n_escapes", lines["n_defects"]), "defective"),
        _draw_rates(panels[1], _counts(lines, "overkill_rate", "n_overkill", n_good), "non_defective"),
    ]
    panels[0].set_title("escape rate: defects that pass", fontsize=10)
    panels[1].set_title("overkill rate: good parts that fail", fontsize=10)
    # One scale for both, with room for the numbers beside the longest line.
    limit = 1.45 * max(*highest, 0.1)
    ticks = np.asarray(MaxNLocator(8, steps=[1, 2, 5, 10]).tick_values(0, min(limit, 1)))
    for panel in panels:
        panel.set(xticks=ticks[ticks < 1.001], xlim=(0, limit))
    _name_lines(panels[0], lines)
    if table.empty:
        for panel in panels:
            say(panel, "no column sorts these images")
    save_figure(path, figure)


def _with_headings(table: pd.DataFrame) -> pd.DataFrame:
    """Return the lines with an empty one, which holds the name of the column alone, before each column."""
    parts = [
        pd.concat([pd.DataFrame({"column": [column]}), lines]) for column, lines in table.groupby("column", sort=False)
    ]
    return pd.concat(parts, ignore_index=True).reindex(columns=table.columns) if parts else table


def _name_lines(axis: Axes, lines: pd.DataFrame) -> None:
    is_heading = lines["value"].isna().tolist()
    names = [
        line["column"] if heading else f"{shorten(line['value'], MAX_VALUE)}  (n = {line['n_images']:.0f})"
        for line, heading in zip(lines.to_dict("records"), is_heading, strict=True)
    ]
    axis.set_yticks(range(len(lines)), names, fontsize=9, parse_math=False)
    for text, heading in zip(axis.get_yticklabels(), is_heading, strict=True):
        text.set_fontweight("bold" if heading else "normal")
    axis.set_ylim(max(1, len(lines)) - 0.5, -0.5)


def _counts(lines: pd.DataFrame, rate: str, n_hits: str, n_parts: pd.Series) -> pd.DataFrame:
    """Return what a panel draws: ``rate``, its bounds ``low`` and ``high``, ``n_hits`` and ``n_parts``."""
    columns = {rate: "rate", f"{rate}_low": "low", f"{rate}_high": "high", n_hits: "n_hits"}
    return lines[list(columns)].rename(columns=columns).assign(n_parts=n_parts)


def _draw_rates(axis: Axes, rates: pd.DataFrame, name: str) -> float:
    """Draw one bar a line, headings left out, and return the end of the longest interval."""
    nothing = f"no {'defective' if name == 'defective' else 'good'} part"
    for place, line in enumerate(rates.to_dict("records")):
        if line["n_parts"] == 0:
            axis.annotate(nothing, (0, place), (4, 0), textcoords="offset points", va="center", fontsize=8, color=GREY)
        elif line["n_parts"] > 0:
            axis.barh(place, line["rate"], 0.62, color=COLOURS[name])
            axis.hlines(place, line["low"], line["high"], color="black", linewidth=1)
            text = f"{line['rate']:.1%}  ({line['n_hits']:.0f} of {line['n_parts']:.0f})"
            axis.annotate(text, (line["high"], place), (5, 0), textcoords="offset points", va="center", fontsize=8)
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.tick_params(axis="y", length=0)
    strip_frame(axis)
    return float(np.nan_to_num(rates["high"].max()))
