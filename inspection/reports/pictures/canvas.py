"""What all pictures share: colours, sizes, how a figure is saved, and text that is drawn as it is written.

Every picture is drawn whatever there is to show: without images it says so. The same arguments give the same bytes.
"""

from collections.abc import Iterable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from inspection.files import replacing
from inspection.labels import CLASS_NAMES

COLOURS = dict(zip(CLASS_NAMES, ("#1f77b4", "#d55e00"), strict=True))
"""Blue and vermilion: told apart with every common colour blindness."""
GREY, LINE = "#52606d", "#e3e7eb"
COLUMNS = 6
"""Photographs in a row of a gallery."""
WIDTH = 1.75 * COLUMNS
"""Inches: of a gallery, and of charts that need the room."""
DOTS_PER_INCH = 100


def save_figure(path: str | Path, figure: Figure) -> None:
    """Write a figure as PNG, in one step.

    Parameters
    ----------
    path : str or Path
    figure : Figure
    """
    figure.set_dpi(DOTS_PER_INCH)
    with replacing(path) as temporary:
        # By the canvas: `Figure.savefig` lays a figure out and goes through it twice.
        FigureCanvasAgg(figure).print_png(temporary)


def colour_of(label: int) -> str:
    """Return the colour of a class; black of an image without a label.

    Parameters
    ----------
    label : int
    """
    return COLOURS[CLASS_NAMES[label]] if label in range(len(CLASS_NAMES)) else "black"


def counted(n: int, what: str) -> str:
    """Return a number of things in words.

    Parameters
    ----------
    n : int
    what : str
        One of them.
    """
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def shorten(name: str, length: int) -> str:
    """Return ``name`` with an ellipsis in its middle when it is too long: counters are at the end of names.

    Parameters
    ----------
    name : str
    length : int
        Most letters of the result.
    """
    if len(name) <= length:
        return name
    kept = length - 1
    return f"{name[: kept // 2]}…{name[len(name) - (kept - kept // 2) :]}"


def say(axis: Axes, text: str) -> None:
    """Write why there is nothing to draw.

    Parameters
    ----------
    axis : Axes
    text : str
    """
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", color=GREY)
    axis.set(xticks=[], yticks=[])


def write_plainly(texts: Iterable[Text]) -> None:
    """Keep dollar signs in names from being read as formulas.

    Parameters
    ----------
    texts : iterable of Text
    """
    for text in texts:
        text.set_parse_math(False)


def strip_frame(axis: Axes) -> None:
    """Remove the lines of the frame that bear no scale.

    Parameters
    ----------
    axis : Axes
    """
    axis.spines[["top", "right"]].set_visible(False)
