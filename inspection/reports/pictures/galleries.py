"""Galleries of photographs, drawn with Matplotlib without a screen."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from inspection.data.images import Decoding, decode_file
from inspection.files import replacing
from inspection.labels import CLASS_NAMES, DEFECTIVE, REVIEW

COLOURS = {"non_defective": "#1f77b4", "defective": "#d55e00"}
"""Blue and vermilion: told apart with every common colour blindness."""
COLUMNS = 6
"""Pictures in a row of a gallery."""


def plot_misclassified(path: str | Path, rows: pd.DataFrame, decoding: Decoding) -> None:
    """Draw the test images the ensemble judged wrongly, the most confident mistakes first.

    Parameters
    ----------
    path : str or Path
        PNG to write.
    rows : DataFrame
        Columns ``path``, ``label``, ``verdict`` and ``defect_proba``; only images that are wrong.
    decoding : Decoding
    """
    distance = (rows["defect_proba"] - 0.5).abs()
    worst = rows.assign(distance=distance).sort_values(["distance", "path"], ascending=[False, True]).head(5 * COLUMNS)
    captions = [
        f"{Path(row.path).name}\n{_mistake(row.label, row.verdict)}: p = {row.defect_proba:.2f}"
        for row in worst.itertuples()
    ]
    title = f"Misclassified test images, most confident first ({len(worst)} of {len(rows)})"
    draw_gallery(path, title, worst, captions, decoding)


def _mistake(label: int, verdict: str) -> str:
    if verdict == REVIEW:
        return REVIEW
    return "escape" if label == DEFECTIVE else "overkill"


def draw_gallery(path: str | Path, title: str, rows: pd.DataFrame, captions: list[str], decoding: Decoding) -> None:
    """Draw images with captions in the colour of their class.

    Parameters
    ----------
    path : str or Path
        PNG to write.
    title : str
    rows : DataFrame
        Columns ``path`` and ``label``.
    captions : list of str, shape (n_rows,)
    decoding : Decoding
    """
    n_rows = max(1, -(-len(rows) // COLUMNS))
    figure = Figure(figsize=(1.75 * COLUMNS, 2.15 * n_rows + 0.6), layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(n_rows, COLUMNS, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, row, caption in zip(axes, rows.itertuples(), captions, strict=False):
        axis.imshow(decode_file(row.path, decoding).pixels)
        # Captions of a row at one height, whatever the shapes of its pictures.
        axis.set_anchor("N")
        # parse_math: a file name may hold dollar signs.
        axis.set_title(caption, fontsize=8, color=COLOURS[CLASS_NAMES[row.label]], parse_math=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)
