"""Pictures of the data before any training: samples, copies, leaks, and what sizes and exposures there are."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from inspection.audit.findings import Audit
from inspection.audit.overlays import overlay
from inspection.audit.registration import warp
from inspection.audit.signatures import central_square, make_signatures
from inspection.data.images import Decoding, decode_file
from inspection.files import replacing
from inspection.labels import CLASS_NAMES, TEST, TRAIN
from inspection.reports.pictures.galleries import COLOURS, COLUMNS, draw_gallery

N_LEAKS = 6
"""Rows of the gallery of leaks."""
N_GROUPS = 8
"""Rows of the gallery of groups."""


def plot_sample_grid(path: str | Path, manifest: pd.DataFrame, seed: int, decoding: Decoding) -> None:
    """Draw two rows of training images of each class.

    Parameters
    ----------
    path : str or Path
        PNG to write.
    manifest : DataFrame
        Rows to draw from.
    seed : int
        Chooses the images.
    decoding : Decoding
    """
    chosen = [
        rows.sample(min(2 * COLUMNS, len(rows)), random_state=seed) for _, rows in manifest.groupby("label", sort=True)
    ]
    rows = pd.concat(chosen)
    captions = [
        f"{CLASS_NAMES[label]}\np(defect) = {probability:.2g}"
        for label, probability in zip(rows["label"], rows["defect_probability"], strict=True)
    ]
    draw_gallery(path, "Training images", rows, captions, decoding)


def plot_data(path: str | Path, manifest: pd.DataFrame, images: pd.DataFrame) -> None:
    """Draw class balance, sizes, exposure and sharpness.

    Parameters
    ----------
    path : str or Path
        PNG to write.
    manifest : DataFrame
    images : DataFrame
        Of the audit: `inspection.audit.indexing.Facts` and ``label``, of every readable image.
    """
    figure = Figure(figsize=(10.5, 7.2), layout="constrained")
    figure.suptitle(f"{len(images)} photographs, {len(manifest)} of them used")
    balance, sizes, exposure, sharpness = figure.subplots(2, 2).ravel()
    _draw_balance(balance, manifest)
    _draw_sizes(sizes, images)
    _draw_histogram(exposure, images, images["brightness"], "Exposure", "mean grey level, 0 to 255")
    _draw_histogram(
        sharpness, images, np.log10(images["sharpness"] + 1), "Sharpness", "log10 of the Laplacian's variance"
    )
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)


def plot_copies(path: str | Path, audit: Audit, decoding: Decoding) -> None:
    """Draw leaks side by side, then the largest groups of copies and the largest series.

    Each leak shows a test image, the training image that is the same photograph, and the latter laid over the former.
    The groups follow, one a row, with their first images.

    Parameters
    ----------
    path : str or Path
        PNG to write.
    audit : Audit
    decoding : Decoding
    """
    leaks, copies, series = _leaks_shown(audit), audit.copies(), audit.series()
    groups = [(members, "copies") for members in copies[:N_GROUPS]]
    groups += [(members, "in a likely series") for members in series[:N_GROUPS]]
    n_rows = max(1, -(-len(leaks) // 2) + len(groups))
    figure = Figure(figsize=(1.75 * COLUMNS, 2.0 * n_rows + 0.7), layout="constrained")
    figure.suptitle(
        f"{audit.n_leaks()} pairs of test and training images are one photograph; {len(copies)} photographs have "
        f"copies; {len(series)} likely series",
        fontsize=11,
    )
    axes = figure.subplots(n_rows, COLUMNS, squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    for place, leak in enumerate(leaks):
        _draw_leak(axes.ravel()[3 * place : 3 * place + 3], audit.images, leak, decoding)
    for row, (members, what) in zip(axes[len(axes) - len(groups) :], groups, strict=True):
        _draw_group(row, audit.images, members, what, decoding)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)


def _draw_group(axes, images: pd.DataFrame, members: list[str], what: str, decoding: Decoding) -> None:
    rows = images[images["path"].isin(members)].head(len(axes))
    for axis, row in zip(axes, rows.itertuples(), strict=False):
        axis.imshow(decode_file(row.path, decoding).pixels)
        above = f"one of {len(members)} {what}" if axis is axes[0] else ""
        axis.set_title(f"{above}\n{Path(row.path).name}", fontsize=7, color=_colour(row.label), parse_math=False)


def _leaks_shown(audit: Audit) -> list[tuple[int, int]]:
    """Return one leak of each photograph, contradictions first: other rows would show the same picture again."""
    leaks = pd.DataFrame(audit.leaks(), columns=["test", "train"])
    labels, photographs = audit.images["label"].to_numpy(), audit.images["photograph"].to_numpy()
    leaks["agrees"] = labels[leaks["test"]] == labels[leaks["train"]]
    leaks["photograph"] = photographs[leaks["test"]]
    worst = leaks.sort_values("agrees", kind="stable").drop_duplicates("photograph").head(N_LEAKS)
    return list(worst[["test", "train"]].itertuples(index=False, name=None))


def _draw_leak(axes, images: pd.DataFrame, leak: tuple[int, int], decoding: Decoding) -> None:
    rows = images.loc[list(leak)]
    pictures = [decode_file(path, decoding).pixels for path in rows["path"]]
    for axis, picture, row in zip(axes, pictures, rows.itertuples(), strict=False):
        axis.imshow(picture)
        name = f"{row.split}: {CLASS_NAMES[row.label]}" if row.label in range(len(CLASS_NAMES)) else row.split
        axis.set_title(f"{name}\n{Path(row.path).name}", fontsize=7, color=_colour(row.label), parse_math=False)
    signatures = make_signatures(central_square(picture) for picture in pictures)
    laid = overlay(signatures, 0, 1, min_correlation=-1)
    # Copies of a copy may be too far apart to be laid over each other directly.
    if laid is not None:
        axes[2].imshow(warp(signatures.squares[1].astype(np.float32), laid.transform), cmap="gray", vmin=0, vmax=255)
        axes[2].set_title("the second, laid\nover the first", fontsize=7)


def _draw_balance(axis, manifest: pd.DataFrame) -> None:
    counts = manifest.groupby(["split", "label"]).size().unstack(fill_value=0).reindex([TRAIN, TEST], fill_value=0)
    places = np.arange(len(counts))
    for label, name in enumerate(CLASS_NAMES):
        numbers = counts.get(label, pd.Series(0, index=counts.index))
        bars = axis.bar(places + 0.4 * label - 0.2, numbers, 0.38, color=COLOURS[name], label=name)
        axis.bar_label(bars, fontsize=8)
    axis.set_xticks(places, ["training part", "test part"])
    axis.set_title("Class balance", fontsize=10)
    axis.legend(fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)


def _draw_sizes(axis, images: pd.DataFrame) -> None:
    sizes = images.groupby(["width", "height"]).size()
    width, height = (sizes.index.get_level_values(name) for name in ("width", "height"))
    axis.scatter(width, height, s=20 + 300 * sizes / sizes.sum(), color="#52606d", alpha=0.6)
    for place, number in sizes.nlargest(3).items():
        axis.annotate(f"{place[0]}x{place[1]}: {number}", place, (6, 6), textcoords="offset points", fontsize=8)
    axis.set(
        xlabel="width in pixels", ylabel="height in pixels", xlim=(0, 1.3 * width.max()), ylim=(0, 1.3 * height.max())
    )
    axis.set_title("Sizes", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)


def _draw_histogram(axis, images: pd.DataFrame, values: pd.Series, title: str, unit: str) -> None:
    parts = [values[images["label"] == label] for label in range(len(CLASS_NAMES))]
    axis.hist(parts, bins=40, stacked=True, color=[COLOURS[name] for name in CLASS_NAMES], label=CLASS_NAMES)
    axis.set(xlabel=unit, ylabel="images")
    axis.set_title(title, fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)


def _colour(label: int) -> str:
    return COLOURS[CLASS_NAMES[label]] if label in range(len(CLASS_NAMES)) else "black"
