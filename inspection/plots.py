"""Pictures of the data and of the mistakes, drawn with Matplotlib without a screen."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from inspection.files import replacing
from inspection.images import decode_file
from inspection.labels import CLASS_NAMES, DEFECTIVE, REVIEW

COLOURS = {"non_defective": "#1f77b4", "defective": "#d55e00"}
"""Blue and vermilion: told apart with every common colour blindness."""
_COLUMNS = 6


def plot_sample_grid(path: str | Path, manifest: pd.DataFrame, seed: int) -> None:
    """Draw two rows of training images of each class.

    Parameters
    ----------
    path : str or Path
        PNG to write.
    manifest : DataFrame
        Rows to draw from.
    seed : int
        Chooses the images.
    """
    chosen = [
        rows.sample(min(2 * _COLUMNS, len(rows)), random_state=seed) for _, rows in manifest.groupby("label", sort=True)
    ]
    rows = pd.concat(chosen)
    captions = [
        f"{CLASS_NAMES[label]}\np(defect) = {probability:.2g}"
        for label, probability in zip(rows["label"], rows["defect_probability"], strict=True)
    ]
    _draw_gallery(path, "Training images", rows, captions)


def plot_misclassified(path: str | Path, rows: pd.DataFrame) -> None:
    """Draw the test images the ensemble judged wrongly, the most confident mistakes first.

    Parameters
    ----------
    path : str or Path
        PNG to write.
    rows : DataFrame
        Columns ``path``, ``label``, ``verdict`` and ``defect_proba``; only images that are wrong.
    """
    distance = (rows["defect_proba"] - 0.5).abs()
    worst = rows.assign(distance=distance).sort_values(["distance", "path"], ascending=[False, True]).head(5 * _COLUMNS)
    captions = [
        f"{Path(row.path).name}\n{_mistake(row.label, row.verdict)}: p = {row.defect_proba:.2f}"
        for row in worst.itertuples()
    ]
    title = f"Misclassified test images, most confident first ({len(worst)} of {len(rows)})"
    _draw_gallery(path, title, worst, captions)


def _mistake(label: int, verdict: str) -> str:
    if verdict == REVIEW:
        return REVIEW
    return "escape" if label == DEFECTIVE else "overkill"


def _draw_gallery(path: str | Path, title: str, rows: pd.DataFrame, captions: list[str]) -> None:
    n_rows = max(1, -(-len(rows) // _COLUMNS))
    figure = Figure(figsize=(1.75 * _COLUMNS, 2.15 * n_rows + 0.6), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(n_rows, _COLUMNS, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, row, caption in zip(axes, rows.itertuples(), captions, strict=False):
        axis.imshow(decode_file(row.path).pixels)
        # parse_math: a file name may hold dollar signs.
        axis.set_title(caption, fontsize=8, color=COLOURS[CLASS_NAMES[row.label]], parse_math=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)
