"""Chart of the data before any training: class balance, sizes, exposure and sharpness."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from inspection.labels import CLASS_NAMES, TEST, TRAIN
from inspection.reports.pictures.canvas import COLOURS, GREY, WIDTH, save_figure, strip_frame


def plot_data(path: str | Path, manifest: pd.DataFrame, photographs: pd.DataFrame) -> None:
    """Draw class balance, sizes, exposure and sharpness.

    Parameters
    ----------
    path : str or Path
        PNG to write.
    manifest : DataFrame, shape (n_used, ...)
        ``split`` and ``label``.
    photographs : DataFrame, shape (n_images, ...)
        Of the audit: ``label``, ``width``, ``height``, ``brightness`` and ``sharpness`` of every readable image; see
        `inspection.audit.indexing.Facts`.
    """
    figure = Figure(figsize=(WIDTH, 7.2), layout="constrained")
    figure.suptitle(f"{len(photographs)} photographs, {len(manifest)} of them used")
    balance, sizes, exposure, sharpness = figure.subplots(2, 2).ravel()
    _draw_balance(balance, manifest)
    _draw_sizes(sizes, photographs)
    labels, log_sharpness = photographs["label"], np.log10(photographs["sharpness"] + 1)
    _draw_histogram(exposure, labels, photographs["brightness"], "Exposure", "mean grey level, 0 to 255")
    _draw_histogram(sharpness, labels, log_sharpness, "Sharpness", "log10 of the Laplacian's variance")
    save_figure(path, figure)


def _draw_balance(axis: Axes, manifest: pd.DataFrame) -> None:
    counts = manifest.groupby(["split", "label"]).size().unstack(fill_value=0).reindex([TRAIN, TEST], fill_value=0)
    places = np.arange(len(counts))
    for label, name in enumerate(CLASS_NAMES):
        numbers = counts.get(label, pd.Series(0, index=counts.index))
        bars = axis.bar(places + 0.4 * label - 0.2, numbers, 0.38, color=COLOURS[name], label=name)
        axis.bar_label(bars, fontsize=8)
    axis.set_xticks(places, ["training part", "test part"])
    axis.set_title("Class balance", fontsize=10)
    # Room for the legend above the numbers.
    axis.margins(y=0.25)
    axis.legend(fontsize=8, loc="upper right", ncols=2, frameon=False)
    strip_frame(axis)


def _draw_sizes(axis: Axes, images: pd.DataFrame) -> None:
    sizes = images.groupby(["width", "height"], as_index=False).size()
    width, height, number = (sizes[name].to_numpy() for name in ("width", "height", "size"))
    axis.scatter(width, height, s=20 + 300 * number / number.sum(), color=GREY, alpha=0.6)
    for place in np.argsort(-number, kind="stable")[:3]:
        text = f"{width[place]}x{height[place]}: {number[place]}"
        axis.annotate(text, (width[place], height[place]), (6, 6), textcoords="offset points", fontsize=8)
    axis.set(
        xlabel="width in pixels", ylabel="height in pixels", xlim=(0, 1.3 * width.max()), ylim=(0, 1.3 * height.max())
    )
    axis.set_title("Sizes", fontsize=10)
    strip_frame(axis)


def _draw_histogram(axis: Axes, labels: pd.Series, values: pd.Series, title: str, unit: str) -> None:
    parts = [values[labels == label] for label in range(len(CLASS_NAMES))]
    axis.hist(
        parts,
        bins=40,
        stacked=True,
        histtype="stepfilled",
        color=[COLOURS[name] for name in CLASS_NAMES],
        label=CLASS_NAMES,
    )
    axis.set(xlabel=unit, ylabel="images")
    axis.set_title(title, fontsize=10)
    strip_frame(axis)
