"""Chart of the data: bars as high as the classes are large, and a PNG whatever there is to show."""

import warnings

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from inspection.labels import UNLABELLED
from inspection.reports.pictures.data_plots import plot_data
from tests.reports.drawings import BLUE, VERMILION, WIDTH, read_png


def places_of(picture: np.ndarray, colour, tolerance: int = 0) -> np.ndarray:
    """Rows and columns of the pixels of a colour."""
    return np.argwhere((np.abs(picture - colour) <= tolerance).all(axis=-1))


# Balance, sizes, exposure and sharpness


def facts(labels, **changes) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "label": labels,
            "width": 64,
            "height": 48,
            "brightness": [100.0 + number for number in range(len(labels))],
            "sharpness": [500.0 + number for number in range(len(labels))],
        }
        | changes
    )


def divided(labels, splits) -> pd.DataFrame:
    return pd.DataFrame({"label": labels, "split": splits})


PLOTTED = {
    "both classes in both parts": ([0, 1] * 10, ["train"] * 14 + ["test"] * 6, {}),
    "one class": ([0] * 6, ["train"] * 4 + ["test"] * 2, {}),
    "one part": ([0, 1] * 3, ["train"] * 6, {}),
    "all alike": ([0, 1] * 3, ["train"] * 4 + ["test"] * 2, {"brightness": 7.0, "sharpness": 0.0}),
    "many sizes": ([0, 1] * 3, ["train"] * 4 + ["test"] * 2, {"width": [10, 20, 30, 40, 50, 6000]}),
    "one image": ([1], ["test"], {}),
    "unlabelled images": ([0, 1, UNLABELLED], ["train", "test", "train"], {}),
    "nothing but unlabelled images": ([UNLABELLED] * 3, ["train", "test", "train"], {}),
}


@pytest.mark.parametrize("case", PLOTTED)
def test_data_is_a_png_with_content(tmp_path, case):
    labels, splits, changes = PLOTTED[case]
    path = tmp_path / "plots" / "data.png"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_data(path, divided(labels, splits), facts(labels, **changes))
    picture = read_png(path)
    assert picture.shape == (720, WIDTH, 3)
    # Each of the four diagrams draws its axes at least.
    for rows, columns in ((0, 0), (0, 525), (360, 0), (360, 525)):
        assert (picture[rows : rows + 360, columns : columns + 525] < 100).any()
    assert [entry.name for entry in path.parent.iterdir()] == ["data.png"]


def test_bars_are_as_high_as_the_classes_are_large(tmp_path):
    # Training part: 8 good and 4 defective images; test part: 2 defective ones.
    labels = [0] * 8 + [1] * 6
    plot_data(tmp_path / "d.png", divided(labels, ["train"] * 12 + ["test"] * 2), facts(labels))
    balance = read_png(tmp_path / "d.png")[:360, :525]
    good = places_of(balance[:, :250], BLUE)
    defective = places_of(balance[:, :250], VERMILION)
    tested = places_of(balance[150:, 300:], VERMILION)
    heights = [np.ptp(bar[:, 0]) for bar in (good, defective, tested)]
    assert heights[0] == pytest.approx(2 * heights[1], abs=6)
    assert heights[1] == pytest.approx(2 * heights[2], abs=6)
    assert len(places_of(balance[150:, 300:], BLUE)) == 0, "no good test image, no bar"


def test_data_counts_what_is_used(tmp_path, figures):
    plot_data(tmp_path / "d.png", divided([0, 1, 1], ["train", "train", "test"]), facts([0, 1, 1, 0]))
    assert figures[0].get_suptitle() == "4 photographs, 3 of them used"


def test_half_written_picture_is_removed(tmp_path, monkeypatch):
    def fail(canvas, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FigureCanvasAgg, "print_png", fail)
    with pytest.raises(OSError, match="No space left"):
        plot_data(tmp_path / "d.png", divided([0, 1], ["train", "test"]), facts([0, 1]))
    assert list(tmp_path.iterdir()) == []
