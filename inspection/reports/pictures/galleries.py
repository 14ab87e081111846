"""Galleries of photographs: samples, mistakes with what they look like, labels to look at again."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from inspection.data.images import Decoding, decode_file
from inspection.decision.defect_map import DefectMap
from inspection.decision.map_pictures import draw_map
from inspection.labels import CLASS_NAMES, DEFECTIVE, UNLABELLED
from inspection.reports.pictures.canvas import COLUMNS, WIDTH, colour_of, save_figure, shorten

PICTURE_HEIGHT, LINE_HEIGHT, TITLE_HEIGHT = 1.8, 0.14, 0.6
"""Inches: of a photograph with its margins, of a line of its caption, and of the title."""
N_MISCLASSIFIED = N_SUSPECTS = 5 * COLUMNS
N_MISTAKES = 6
"""Rows of the picture of mistakes: as many as a printed page of the report can hold."""
_MAP_SIDE = 400
"""Longest side in pixels of a photograph that a map is laid over: twice what is seen of it."""
MAX_NAME = 24
"""Letters of a file name that fit above a photograph."""


@dataclass(frozen=True)
class Photograph:
    """A place in a gallery.

    Attributes
    ----------
    path : str
    caption : str
        In lines that fit above the picture.
    label : int
        The caption is drawn in the colour of this class.
    is_framed : bool
        Whether a frame in the same colour sets it off.
    pixels : ndarray of uint8, shape (height, width, 3), optional
        Drawn instead of the file.
    """

    path: str
    caption: str
    label: int = UNLABELLED
    is_framed: bool = False
    pixels: np.ndarray | None = None


def draw_gallery(path: str | Path, title: str, rows: Sequence[Sequence[Photograph]], decoding: Decoding) -> None:
    """Draw photographs with captions in the colour of their class.

    Parameters
    ----------
    path : str or Path
        PNG to write.
    title : str
    rows : sequence of sequence of Photograph
        At most `COLUMNS` in a row are drawn. Without rows the picture is its title.
    decoding : Decoding

    Raises
    ------
    ImageError
        If a file cannot be decoded.
    """
    n_lines = max((photograph.caption.count("\n") + 1 for row in rows for photograph in row), default=0)
    height = TITLE_HEIGHT + len(rows) * (PICTURE_HEIGHT + LINE_HEIGHT * n_lines)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    figure.suptitle(title, fontsize=11, parse_math=False)
    if rows:
        axes = figure.subplots(len(rows), COLUMNS, squeeze=False)
        for axis in axes.flat:
            axis.set_axis_off()
        for line, row in zip(axes, rows, strict=True):
            for axis, photograph in zip(line, row, strict=False):
                _draw_photograph(axis, photograph, decoding)
    save_figure(path, figure)


def _draw_photograph(axis: Axes, photograph: Photograph, decoding: Decoding) -> None:
    pixels = decode_file(photograph.path, decoding).pixels if photograph.pixels is None else photograph.pixels
    axis.imshow(pixels)
    # Captions of a row at one height, whatever the shapes of its pictures.
    axis.set_anchor("N")
    colour = colour_of(photograph.label)
    # y: nothing lies between picture and caption, and looking for it takes half the time of a gallery.
    # parse_math: a file name may hold dollar signs.
    axis.set_title(photograph.caption, fontsize=7.5, color=colour, y=1, parse_math=False)
    if photograph.is_framed:
        axis.set_axis_on()
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set(linewidth=3, color=colour)


def in_rows(photographs: Sequence[Photograph]) -> list[Sequence[Photograph]]:
    """Divide photographs into rows of `COLUMNS`.

    Parameters
    ----------
    photographs : sequence of Photograph
    """
    return [photographs[start : start + COLUMNS] for start in range(0, len(photographs), COLUMNS)]


def name_of(path: str) -> str:
    """Return the name of a file as it fits above a photograph.

    Parameters
    ----------
    path : str
    """
    return shorten(Path(path).name, MAX_NAME)


def plot_sample_grid(path: str | Path, rows: pd.DataFrame, seed: int, decoding: Decoding) -> None:
    """Draw two rows of training images of each class.

    Parameters
    ----------
    path : str or Path
        PNG to write.
    rows : DataFrame, shape (n_images, ...)
        Of the manifest: ``path``, ``label`` and ``defect_probability``.
    seed : int
        Chooses the images.
    decoding : Decoding
    """
    lines: list[Sequence[Photograph]] = []
    for label, name in enumerate(CLASS_NAMES):
        of_class = rows[rows["label"] == label]
        chosen = of_class.sample(min(2 * COLUMNS, len(of_class)), random_state=seed)
        lines += in_rows(
            [
                Photograph(image, f"{name}\np(defect) = {probability:.2g}", label)
                for image, probability in zip(chosen["path"], chosen["defect_probability"], strict=True)
            ]
        )
    draw_gallery(path, "Training images", lines, decoding)


def plot_misclassified(path: str | Path, mistakes: pd.DataFrame, decoding: Decoding) -> None:
    """Draw the test images the ensemble judged wrongly, the most confident mistakes first.

    Parameters
    ----------
    path : str or Path
        PNG to write.
    mistakes : DataFrame, shape (n_mistakes, ...)
        ``path``, ``label`` and ``defect_proba``; see `inspection.reports.tables.predictions.mistakes_of`.
    decoding : Decoding
    """
    worst = _most_confident(mistakes).head(N_MISCLASSIFIED)
    title = f"Misclassified test images, most confident first ({len(worst)} of {len(mistakes)})"
    photographs = [
        Photograph(
            row["path"],
            f"{name_of(row['path'])}\n{_kind(row['label'])}: p = {row['defect_proba']:.2f}",
            row["label"],
        )
        for row in worst.to_dict("records")
    ]
    draw_gallery(path, title, in_rows(photographs), decoding)


def _kind(label: int) -> str:
    return "escape" if label == DEFECTIVE else "overkill"


def _most_confident(mistakes: pd.DataFrame) -> pd.DataFrame:
    distance = (mistakes["defect_proba"] - 0.5).abs()
    return mistakes.assign(distance=distance).sort_values(["distance", "path"], ascending=[False, True])


def plot_suspects(path: str | Path, suspects: pd.DataFrame, decoding: Decoding) -> None:
    """Draw the training images whose label the voters contradict, the most suspicious first.

    Parameters
    ----------
    path : str or Path
        PNG to write.
    suspects : DataFrame, shape (n_suspects, ...)
        See `inspection.reports.tables.label_noise.label_suspects`; the first `N_SUSPECTS` are drawn.
    decoding : Decoding
    """
    photographs = [
        Photograph(
            row["path"],
            f"{name_of(row['path'])}\nlabel {CLASS_NAMES[row['label']]}\np(defect) = {row['defect_proba']:.2f}",
            row["label"],
        )
        for row in suspects.head(N_SUSPECTS).to_dict("records")
    ]
    title = f"Labels to look at again, most suspicious first ({len(photographs)} of {len(suspects)})"
    draw_gallery(path, title, in_rows(photographs), decoding)


def plot_mistakes(
    target: str | Path,
    mistakes: pd.DataFrame,
    neighbours: pd.DataFrame,
    defect_maps: Mapping[str, DefectMap],
    decoding: Decoding,
) -> None:
    """Draw mistakes, the most confident first, each with the training images that look most like it.

    Parameters
    ----------
    target : str or Path
        PNG to write.
    mistakes : DataFrame, shape (n_mistakes, ...)
        ``path``, ``label``, ``verdict`` and ``defect_proba`` of test images judged wrongly; `N_MISTAKES` are drawn.
    neighbours : DataFrame
        See `inspection.reports.tables.evaluation.neighbour_table`; as many of each as a row holds are drawn.
    defect_maps : mapping of str to DefectMap
        By path; laid over the mistakes that have one.
    decoding : Decoding
    """
    worst = _most_confident(mistakes).head(N_MISTAKES)
    title = (
        f"Mistakes (left, framed), most confident first ({len(worst)} of {len(mistakes)}), and the training images "
        "nearest to them"
    )
    rows = []
    for row in worst.to_dict("records"):
        path, label = row["path"], row["label"]
        caption = (
            f"{name_of(path)}\nlabel {CLASS_NAMES[label]}\nverdict {row['verdict']}, p = {row['defect_proba']:.2f}"
        )
        nearest = neighbours[neighbours["mistake"] == path]
        rows.append(
            [with_map(path, caption, label, defect_maps, decoding), *map(_show_neighbour, nearest.to_dict("records"))]
        )
    draw_gallery(target, title, rows, decoding)


def with_map(
    path: str, caption: str, label: int, defect_maps: Mapping[str, DefectMap], decoding: Decoding
) -> Photograph:
    """Return a framed photograph with its map laid over it, or without where it has none.

    Parameters
    ----------
    path, caption, label
        See `Photograph`.
    defect_maps : mapping of str to DefectMap
        By path.
    decoding : Decoding
    """
    if path not in defect_maps:
        return Photograph(path, caption, label, is_framed=True)
    image = Image.fromarray(decode_file(path, decoding).pixels)
    image.thumbnail((_MAP_SIDE, _MAP_SIDE))
    return Photograph(path, caption, label, True, draw_map(np.asarray(image), defect_maps[path]))


def _show_neighbour(near: dict) -> Photograph:
    caption = f"{name_of(near['path'])}\n{CLASS_NAMES[near['label']]}\ndistance {near['distance']:.3g}"
    return Photograph(near["path"], caption, near["label"])
