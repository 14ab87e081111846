"""A gallery of maps: where the test images are unlike good parts, or are not."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from inspection.data.images import Decoding
from inspection.decision.defect_map import DefectMap
from inspection.labels import CLASS_NAMES, DEFECTIVE, NON_DEFECTIVE
from inspection.reports.pictures.canvas import COLUMNS
from inspection.reports.pictures.galleries import Photograph, draw_gallery, in_rows, name_of, with_map

N_DEFECTIVE, N_GOOD = 2 * COLUMNS, COLUMNS


def plot_maps(
    path: str | Path, predictions: pd.DataFrame, defect_maps: Mapping[str, DefectMap], decoding: Decoding
) -> None:
    """Draw two rows of defective and one of good test images with their maps.

    They are taken at equal distances through the test images in the order of their paths, so that neither the maps nor
    the verdicts choose them.

    Parameters
    ----------
    path : str or Path
        PNG to write.
    predictions : DataFrame, shape (n_images, ...)
        ``path``, ``actual`` and ``verdict``.
    defect_maps : mapping of str to DefectMap
        By path.
    decoding : Decoding
    """
    rows: list[Sequence[Photograph]] = []
    for label, number in ((DEFECTIVE, N_DEFECTIVE), (NON_DEFECTIVE, N_GOOD)):
        of_class = predictions[(predictions["actual"] == CLASS_NAMES[label]) & predictions["path"].isin(defect_maps)]
        chosen = _spread(of_class.sort_values("path"), number)
        rows += in_rows(
            [
                with_map(
                    line["path"], f"{name_of(line['path'])}\nverdict {line['verdict']}", label, defect_maps, decoding
                )
                for line in chosen.to_dict("records")
            ]
        )
    title = "Where test images are unlike good parts: two rows of defective parts, one of good ones"
    draw_gallery(path, title if rows else "No voter gives a map", rows, decoding)


def _spread(table: pd.DataFrame, number: int) -> pd.DataFrame:
    places = [place * len(table) // number for place in range(number)] if len(table) > number else range(len(table))
    return table.iloc[list(places)]
