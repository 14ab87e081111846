"""Pictures that explain an evaluation: scores, trade-off, agreement, calibration, kinds of parts, mistakes, learning.

Every picture is drawn whatever there is to show: without images it says so. The same arguments give the same bytes.
"""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, NullFormatter, NullLocator, PercentFormatter

from inspection.data.images import Decoding, decode_file
from inspection.files import replacing
from inspection.labels import CLASS_NAMES, DEFECTIVE, NON_DEFECTIVE, REVIEW
from inspection.reports.pictures.galleries import COLOURS, COLUMNS, draw_gallery
from inspection.reports.tables.metrics import CONFIDENCE_LEVEL, calibration_curve, share_interval

WIDTH = 1.75 * COLUMNS
"""Inches: as wide as the galleries."""
N_MISTAKES = 6
"""Rows of the picture of mistakes: as many as a printed page of the report can hold."""
N_NEIGHBOURS = COLUMNS - 1
N_SUSPECTS = 5 * COLUMNS
MAX_NAME = 24
"""Letters of a file name that fit above a picture of a gallery."""
MAX_VALUE = 40
"""Letters of a value that leave room for the bars."""
N_BINS = 40
"""Bars of the histogram of scores."""
LINEAR_UP_TO = 0.01
"""Rates up to this are drawn to scale, so that 0 has a place; larger ones on a logarithmic axis."""
RATE_TICKS = (0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1)
GREY = "#52606d"
MARKERS = "osD^vP*"
AREAS = {
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
    figure.suptitle(f"Probability of a defect, as the ensemble sees {_number(len(proba), 'image')}")
    panels = figure.subplots(2, 1, sharex=True)
    for panel, label in zip(panels, (NON_DEFECTIVE, DEFECTIVE), strict=True):
        of_class = proba[is_defect == (label == DEFECTIVE)]
        _draw_scores(panel, of_class, thresholds, CLASS_NAMES[label])
    panels[-1].set_xlabel("probability of a defect; " + _name_thresholds(thresholds))
    _save(figure, path)


def _name_thresholds(thresholds: tuple[float, ...]) -> str:
    if len(thresholds) == 1:
        return f"threshold {thresholds[0]:.3g}"
    # An operating point without good parts enough puts the second threshold just above 1.
    fails = f"fails from {thresholds[1]:.3g}" if thresholds[1] <= 1 else "none fails"
    return f"passes below {thresholds[0]:.3g}, {fails}"


def _draw_scores(axis, proba: np.ndarray, thresholds: tuple[float, ...], name: str) -> None:
    axis.hist(proba, bins=N_BINS, range=(0, 1), color=COLOURS[name], zorder=2)
    for threshold in [threshold for threshold in thresholds if threshold <= 1]:
        axis.axvline(threshold, color="black", linewidth=1.2, linestyle="--", zorder=3)
    if len(thresholds) == 2:
        _draw_areas(axis, proba, *thresholds)
    axis.set_title(f"{name}: {_number(len(proba), 'image')}", fontsize=10, loc="left", color=COLOURS[name])
    # A hair more than [0, 1]: bars at the ends and a threshold of 1 stay visible.
    axis.set(ylabel="images", xlim=(-0.01, 1.01))
    if len(proba):
        axis.yaxis.get_major_locator().set_params(integer=True)
    else:
        axis.set(ylim=(0, 1), yticks=[0])
    _strip(axis)


def _draw_areas(axis, proba: np.ndarray, pass_below: float, fail_from: float) -> None:
    cuts = [-0.01, *(cut if cut <= 1 else 1.01 for cut in (pass_below, fail_from)), 1.01]
    counts = [np.sum(proba < pass_below), 0, np.sum(proba >= fail_from)]
    counts[1] = len(proba) - counts[0] - counts[2]
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
    axis.plot(rates["overkill_rate"], rates["escape_rate"], color=COLOURS["non_defective"], label="all thresholds")
    for (name, (escape, overkill)), marker in zip(points.items(), cycle(MARKERS), strict=False):
        label = f"{name}:\nescape {escape:.1%}, overkill {overkill:.1%}"
        axis.plot(overkill, escape, marker, color=COLOURS["defective"], markersize=9, markeredgecolor="black",
                  linestyle="none", label=label, clip_on=False, zorder=3)  # fmt: skip
    _scale_rates(axis)
    axis.set(xlabel="overkill rate: good parts rejected", ylabel="escape rate: defects that pass")
    axis.grid(color="#e3e7eb", linewidth=0.8)
    if rates.empty:
        _say(axis, "needs defective and good parts")
    legend = axis.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1), frameon=False, labelspacing=1)
    _write_plainly(legend.get_texts())
    _strip(axis)
    _save(figure, path)


def _scale_rates(axis) -> None:
    for scale, own_axis in ((axis.set_xscale, axis.xaxis), (axis.set_yscale, axis.yaxis)):
        scale("symlog", linthresh=LINEAR_UP_TO, linscale=0.4)
        own_axis.set_ticks(RATE_TICKS, [f"{tick:.0%}" for tick in RATE_TICKS])
        own_axis.set_minor_locator(NullLocator())
        own_axis.set_minor_formatter(NullFormatter())
    axis.set(xlim=(0, 1), ylim=(0, 1))


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
        _say(axis, "no voters")
    _save(figure, path)


def _draw_shares(axis, table: pd.DataFrame) -> None:
    shares = table.to_numpy()
    # Down to the next tenth below the lowest, or all good voters would have one colour.
    lowest = min(0.9, np.floor(10 * shares.min()) / 10)
    axis.imshow(shares, cmap="Blues", vmin=lowest, vmax=1, aspect="auto")
    for (row, column), share in np.ndenumerate(shares):
        is_dark = share > lowest + 0.65 * (1 - lowest)
        axis.text(
            column, row, f"{share:.0%}", ha="center", va="center", fontsize=8, color="white" if is_dark else "black"
        )
    names = [_shorten(str(name), MAX_VALUE) for name in table.columns]
    axis.set_yticks(range(len(names)), names, fontsize=8, parse_math=False)
    axis.set_xticks(
        range(len(names)), names, fontsize=8, rotation=40, ha="right", rotation_mode="anchor", parse_math=False
    )
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)


def plot_calibration(path: str | Path, is_defect: np.ndarray, proba_by_model: dict[str, np.ndarray]) -> None:
    """Draw what share of the parts with some probability are indeed defective.

    Parameters
    ----------
    path : str or Path
        PNG to write.
    is_defect : ndarray of bool, shape (n_images,)
    proba_by_model : dict of ndarray of float, shape (n_images,), in [0, 1]
        The ensemble first: it is drawn with its intervals and numbers of images. The voters follow as thin lines.
    """
    figure = Figure(figsize=(7, 6.6), layout="constrained")
    figure.suptitle("Does a probability mean what it says?")
    curve, counts = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
    curve.plot([0, 1], [0, 1], color="black", linestyle=":", linewidth=1, label="perfectly calibrated")
    models = list(proba_by_model.items()) if len(is_defect) else []
    for number, (_, proba) in enumerate(models[1:]):
        points = calibration_curve(is_defect, proba)
        label = f"{_number(len(models) - 1, 'voter')}, each alone" if number == 0 else None
        curve.plot(points["predicted"], points["observed"], color="#9aa5b1", linewidth=0.9, label=label)
    for name, proba in models[:1]:
        _draw_reliability(curve, counts, name, calibration_curve(is_defect, proba))
    if not models:
        _say(curve, "no images")
    curve.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="observed share of defects")
    counts.set(xlabel="predicted probability of a defect", ylabel="images")
    _write_plainly(curve.legend(fontsize=9, loc="upper left", frameon=False).get_texts())
    for axis in (curve, counts):
        _strip(axis)
    _save(figure, path)


def _draw_reliability(curve, counts, name: str, points: dict[str, np.ndarray]) -> None:
    predicted, observed, n_images = points["predicted"], points["observed"], points["n_images"]
    n_defects = np.rint(observed * n_images).astype(int)
    intervals = [share_interval(int(hits), int(n)) for hits, n in zip(n_defects, n_images, strict=True)]
    low, high = np.transpose(intervals)
    colour = COLOURS["non_defective"]
    curve.vlines(
        predicted, low, high, color=colour, linewidth=1.4, zorder=3, label=f"{CONFIDENCE_LEVEL:.0%} interval (Wilson)"
    )
    curve.plot(predicted, observed, "o-", color=colour, linewidth=2, markersize=6, zorder=4, label=name)
    bars = counts.bar(predicted, n_images, 0.03, color=colour)
    counts.bar_label(bars, fontsize=8, padding=1)
    counts.margins(y=0.3)


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
        _draw_rates(panels[0], lines["escape_rate"], lines["n_defects"], COLOURS["defective"], "no defective part"),
        _draw_rates(panels[1], lines["overkill_rate"], n_good, COLOURS["non_defective"], "no good part"),
    ]
    panels[0].set_title("escape rate: defects that pass", fontsize=10)
    panels[1].set_title("overkill rate: good parts that fail", fontsize=10)
    # One scale for both, with room for the numbers beside the longest line.
    limit = 1.45 * max(*highest, 0.1)
    ticks = MaxNLocator(8, steps=[1, 2, 5, 10]).tick_values(0, min(limit, 1))
    for panel in panels:
        panel.set(xticks=ticks[ticks < 1.001], xlim=(0, limit))
    _name_lines(panels[0], lines)
    if table.empty:
        for panel in panels:
            _say(panel, "no column sorts these images")
    _save(figure, path)


def _with_headings(table: pd.DataFrame) -> pd.DataFrame:
    """Return the lines with an empty one, which holds the name of the column alone, before each column."""
    parts = [
        pd.concat([pd.DataFrame({"column": [column]}), lines]) for column, lines in table.groupby("column", sort=False)
    ]
    return pd.concat(parts, ignore_index=True).reindex(columns=table.columns) if parts else table


def _name_lines(axis, lines: pd.DataFrame) -> None:
    is_heading = lines["value"].isna().tolist()
    names = [
        line.column if pd.isna(line.value) else f"{_shorten(line.value, MAX_VALUE)}  (n = {line.n_images:.0f})"
        for line in lines.itertuples()
    ]
    axis.set_yticks(range(len(lines)), names, fontsize=9, parse_math=False)
    for text, bold in zip(axis.get_yticklabels(), is_heading, strict=True):
        text.set_fontweight("bold" if bold else "normal")
    axis.set_ylim(max(1, len(lines)) - 0.5, -0.5)


def _draw_rates(axis, rates: pd.Series, n_parts: pd.Series, colour: str, nothing: str) -> float:
    """Draw one bar a line, headings left out, and return the end of the longest interval."""
    highest = 0.0
    for place, (rate, n) in enumerate(zip(rates, n_parts, strict=True)):
        if n == 0:
            axis.annotate(nothing, (0, place), (4, 0), textcoords="offset points", va="center", fontsize=8, color=GREY)
        elif n > 0:
            n_hits = round(rate * n)
            low, high = share_interval(n_hits, int(n))
            axis.barh(place, rate, 0.62, color=colour)
            axis.hlines(place, low, high, color="black", linewidth=1)
            text = f"{rate:.1%}  ({n_hits} of {n:.0f})"
            axis.annotate(text, (high, place), (5, 0), textcoords="offset points", va="center", fontsize=8)
            highest = max(highest, high)
    axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axis.tick_params(axis="y", length=0)
    _strip(axis)
    return highest


def plot_suspects(path: str | Path, suspects: pd.DataFrame, decoding: Decoding) -> None:
    """Draw the training images whose label the voters contradict, the most suspicious first.

    Parameters
    ----------
    path : str or Path
        PNG to write.
    suspects : DataFrame
        See `inspection.reports.tables.label_noise.label_suspects`; the first `N_SUSPECTS` are drawn.
    decoding : Decoding
    """
    shown = suspects.head(N_SUSPECTS)
    captions = [
        f"{_shorten(Path(row.path).name, MAX_NAME)}\nlabel {CLASS_NAMES[row.label]}\np(defect) = {row.defect_proba:.2f}"
        for row in shown.itertuples()
    ]
    title = f"Labels to look at again, most suspicious first ({len(shown)} of {len(suspects)})"
    draw_gallery(path, title, shown, captions, decoding)


def plot_mistakes_with_neighbours(
    path: str | Path,
    rows: pd.DataFrame,
    neighbours: Sequence[pd.DataFrame],
    decoding: Decoding,
    n_shown: int = N_MISTAKES,
) -> None:
    """Draw mistakes, the most confident first, each beside the training images that look most like it.

    Parameters
    ----------
    path : str or Path
        PNG to write.
    rows : DataFrame, shape (n_mistakes, ...)
        ``path``, ``label``, ``verdict`` and ``defect_proba`` of test images judged wrongly.
    neighbours : sequence of DataFrame, shape (n_mistakes,)
        ``path``, ``label`` and ``distance`` of training images, the nearest first; `N_NEIGHBOURS` are drawn.
    decoding : Decoding
    n_shown : int
        Mistakes drawn at most.

    Raises
    ------
    ValueError
        If there is not one table of neighbours for each mistake.
    """
    if len(rows) != len(neighbours):
        raise ValueError(f"{len(rows)} mistakes need as many tables of neighbours, got {len(neighbours)}")
    distance = (rows["defect_proba"] - 0.5).abs().to_numpy()
    order = np.lexsort([rows["path"].to_numpy(dtype=str), -distance])[:n_shown]
    n_rows = max(1, len(order))
    figure = Figure(figsize=(WIDTH, 2.2 * n_rows + 0.7), layout="constrained")
    figure.suptitle(
        f"Mistakes (left, framed), most confident first ({len(order)} of {len(rows)}), "
        "and the training images nearest to them",
        fontsize=11,
    )
    axes = figure.subplots(n_rows, COLUMNS, squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    for line, place in zip(axes, order, strict=False):
        _draw_mistake(line[0], rows.iloc[place], decoding)
        for axis, row in zip(line[1:], neighbours[place].itertuples(), strict=False):
            caption = (
                f"{_shorten(Path(row.path).name, MAX_NAME)}\n{CLASS_NAMES[row.label]}\ndistance {row.distance:.3g}"
            )
            _draw_photograph(axis, row.path, row.label, caption, decoding)
    _save(figure, path)


def _draw_mistake(axis, row: pd.Series, decoding: Decoding) -> None:
    caption = (
        f"{_shorten(Path(row['path']).name, MAX_NAME)}\nlabel {CLASS_NAMES[row['label']]}\n"
        f"verdict {row['verdict']}, p = {row['defect_proba']:.2f}"
    )
    _draw_photograph(axis, row["path"], row["label"], caption, decoding)
    axis.set_axis_on()
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set(linewidth=3, color=COLOURS[CLASS_NAMES[row["label"]]])


def _draw_photograph(axis, path: str, label: int, caption: str, decoding: Decoding) -> None:
    axis.imshow(decode_file(path, decoding).pixels)
    # Captions of a row at one height, whatever the shapes of its pictures.
    axis.set_anchor("N")
    axis.set_title(caption, fontsize=7, color=COLOURS[CLASS_NAMES[label]], parse_math=False)


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
            _say(panel, "not measured")
    _save(figure, path)


def _draw_learning(axis, table: pd.DataFrame, metric: str, title: str) -> None:
    n_images, mean = table["n_images"].to_numpy(dtype=float), table[metric].to_numpy(dtype=float)
    spread = np.nan_to_num(table[f"{metric}_sd"].to_numpy(dtype=float))
    colour = COLOURS["non_defective"]
    axis.fill_between(n_images, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)
    axis.errorbar(n_images, mean, spread, color=colour, marker="o", capsize=3)
    axis.set(xlabel="training images", xlim=(0, 1.08 * n_images.max(initial=1)))
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axis.set_title(f"{title}, mean and standard deviation", fontsize=10)
    axis.grid(color="#e3e7eb", linewidth=0.8)
    _strip(axis)


def _number(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _shorten(name: str, length: int) -> str:
    """Return ``name`` with an ellipsis in its middle when it is too long: counters are at the end of names."""
    if len(name) <= length:
        return name
    kept = length - 1
    return f"{name[: kept // 2]}…{name[len(name) - (kept - kept // 2) :]}"


def _say(axis, text: str) -> None:
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", color=GREY)
    axis.set(xticks=[], yticks=[])


def _write_plainly(texts) -> None:
    """Keep dollar signs in names from being read as formulas."""
    for text in texts:
        text.set_parse_math(False)


def _strip(axis) -> None:
    axis.spines[["top", "right"]].set_visible(False)


def _save(figure: Figure, path: str | Path) -> None:
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)
