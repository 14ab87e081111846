"""Pictures of the data: the right photographs side by side, and a PNG whatever there is to show."""

import warnings

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from inspection.audit.findings import Audit, audit_images
from inspection.audit.indexing import index_images
from inspection.audit.signatures import make_signatures
from inspection.data.images import AS_STORED, Decoding
from inspection.data.sources import list_any
from inspection.errors import ImageError
from inspection.labels import UNLABELLED
from inspection.reports.pictures import data_plots
from inspection.reports.pictures.data_plots import N_GROUPS, N_LEAKS, plot_copies, plot_data, plot_sample_grid
from tests.parts import draw_part

WIDTH = 1050  # 6 columns of 1.75 inches at 100 dots per inch
HEIGHTS = {1: 275, 2: 490, 3: 705, 4: 920, 5: 1135}  # of a gallery: 0.6 inches, and 2.15 a row
BLUE, VERMILION = (0x1F, 0x77, 0xB4), (0xD5, 0x5E, 0x00)
NAMES = ["a$b.png", "$\\frac{1}{2}$.png", "größe 1.png", "部品 деталь.png", "50%_{x}^.png", "$_$.png"]
# A font that lacks a letter draws a box.
boxes_are_fine = pytest.mark.filterwarnings("ignore:Glyph .* missing")


def write_parts(folder, names):
    for seed, name in enumerate(names):
        draw_part(seed, seed % 2 == 1, 16).save(folder / name)
    return [(folder / name).as_posix() for name in names]


def read_png(path) -> np.ndarray:
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


def places_of(picture: np.ndarray, colour, tolerance: int = 0) -> np.ndarray:
    """Rows and columns of the pixels of a colour."""
    return np.argwhere((np.abs(picture - colour) <= tolerance).all(axis=-1))


# Samples


@pytest.fixture
def drawn(monkeypatch):
    """Record what would be drawn instead of drawing it."""
    calls = []
    monkeypatch.setattr(data_plots, "draw_gallery", lambda *arguments: calls.append(arguments))
    return calls


@pytest.fixture
def manifest(tmp_path):
    """Make training rows with so many good and so many defective parts."""

    def make(n_good, n_bad):
        paths = write_parts(tmp_path, [f"part_{index:02d}.png" for index in range(n_good + n_bad)])
        labels = [0] * n_good + [1] * n_bad
        probabilities = [*[0.0][:n_good], *[1 / 3] * (n_good - 1), *[1.0] * n_bad]
        return pd.DataFrame(
            {"path": paths, "label": labels, "defect_probability": probabilities}, index=range(5, 5 + len(paths))
        )

    return make


@pytest.mark.parametrize(
    ("n_good", "n_bad", "n_rows"),
    [(1, 1, 1), (3, 3, 1), (3, 4, 2), (12, 12, 4), (14, 13, 4), (20, 1, 3), (3, 0, 1), (0, 7, 2)],
)
def test_sample_grid_is_a_png(tmp_path, manifest, n_good, n_bad, n_rows):
    path = tmp_path / "plots" / "grid.png"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_sample_grid(path, manifest(n_good, n_bad), 0, AS_STORED)
    assert read_png(path).shape == (HEIGHTS[n_rows], WIDTH, 3)


def test_sample_grid_shows_two_rows_of_each_class(tmp_path, manifest, drawn):
    plot_sample_grid(tmp_path / "g.png", manifest(20, 15), 0, AS_STORED)
    [(path, title, rows, captions, decoding)] = drawn
    assert (path, title, decoding) == (tmp_path / "g.png", "Training images", AS_STORED)
    assert rows["label"].tolist() == [0] * 12 + [1] * 12
    assert rows["path"].is_unique
    assert set(captions[:12]) <= {"non_defective\np(defect) = 0", "non_defective\np(defect) = 0.33"}
    assert captions[12:] == ["defective\np(defect) = 1"] * 12


def test_seed_chooses_the_sample(tmp_path, manifest, drawn):
    rows = manifest(20, 15)
    for seed in (0, 0, 1):
        plot_sample_grid(tmp_path / "g.png", rows, seed, AS_STORED)
    first, again, other = (call[2]["path"].tolist() for call in drawn)
    assert first == again
    assert first != other


def test_same_sample_same_bytes(tmp_path, manifest):
    rows = manifest(2, 2)
    for name in ("1.png", "2.png"):
        plot_sample_grid(tmp_path / name, rows, 0, AS_STORED)
    assert (tmp_path / "1.png").read_bytes() == (tmp_path / "2.png").read_bytes()


def test_pictures_are_drawn_under_the_colour_of_their_class(tmp_path):
    names, colours = ("red.png", "green.png"), [(255, 0, 0), (0, 255, 0)]
    for name, colour in zip(names, colours, strict=True):
        Image.new("RGB", (16, 16), colour).save(tmp_path / name)
    rows = pd.DataFrame(
        {"path": [str(tmp_path / name) for name in names], "label": [0, 1], "defect_probability": [0.0, 1]}
    )
    plot_sample_grid(tmp_path / "g.png", rows, 0, AS_STORED)
    picture = read_png(tmp_path / "g.png")
    centres = [places_of(picture, colour).mean(axis=0) for colour in colours]
    assert centres[0][1] < WIDTH / 6 < centres[1][1] < WIDTH / 3, "the good part left of the defective one"
    captions = [places_of(picture, colour, 29) for colour in (BLUE, VERMILION)]
    assert captions[0][:, 1].mean() == pytest.approx(centres[0][1], abs=30)
    assert captions[1][:, 1].mean() == pytest.approx(centres[1][1], abs=30)


def test_samples_are_decoded_as_they_were_indexed(tmp_path):
    Image.fromarray(np.full((16, 16), 4095, np.uint16)).save(tmp_path / "part.png")
    rows = pd.DataFrame({"path": [str(tmp_path / "part.png")], "label": [1], "defect_probability": [1.0]})
    brightest = []
    for decoding in (Decoding(bit_depth=12), AS_STORED):
        plot_sample_grid(tmp_path / "g.png", rows, 0, decoding)
        # The picture is below the two lines of its caption, in the first of six columns.
        brightest.append(read_png(tmp_path / "g.png")[130:200, 60:120].max())
    assert brightest == [255, 15]


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


def test_data_counts_what_is_used(tmp_path, monkeypatch):
    titles = []
    suptitle = data_plots.Figure.suptitle
    monkeypatch.setattr(
        data_plots.Figure, "suptitle", lambda figure, text: titles.append(text) or suptitle(figure, text)
    )
    plot_data(tmp_path / "d.png", divided([0, 1, 1], ["train", "train", "test"]), facts([0, 1, 1, 0]))
    assert titles == ["4 photographs, 3 of them used"]


# Copies and leaks


def audited(folder, splits=None, labels=None) -> Audit:
    """Audit a folder as if the source had said so much about it, by name."""
    indexed = index_images(list_any(folder).records)
    names = [path.rsplit("/", 1)[1] for path in indexed.readable["path"]]
    indexed.readable["split"] = [(splits or {}).get(name, "") for name in names]
    return audit_images(indexed, np.array([(labels or {}).get(name, UNLABELLED) for name in names]))


def found(paths, photographs, splits, labels, series=None) -> Audit:
    """An audit with given findings."""
    images = pd.DataFrame({"path": paths, "photograph": photographs, "split": splits, "label": labels})
    images["series"] = images["photograph"] if series is None else series
    return Audit(images, (), (), make_signatures([]))


def headline(n_leaks: int, n_copies: int, n_series: int = 0) -> str:
    return (
        f"{n_leaks} pairs of test and training images are one photograph; {n_copies} photographs have copies; "
        f"{n_series} likely series"
    )


@pytest.fixture
def shown(monkeypatch):
    """Record the titles of what is drawn: one of the figure, then those of the axes in order."""
    titles = []
    axes_type = type(data_plots.Figure().subplots())
    suptitle, set_title = data_plots.Figure.suptitle, axes_type.set_title

    def record_suptitle(figure, text, **options):
        titles.append(text)
        return suptitle(figure, text, **options)

    def record_title(axis, text, **options):
        titles.append(text)
        return set_title(axis, text, **options)

    monkeypatch.setattr(data_plots.Figure, "suptitle", record_suptitle)
    monkeypatch.setattr(axes_type, "set_title", record_title)
    return titles


def test_no_copies(tmp_path, shown):
    write_parts(tmp_path, ["a.png", "b.png"])
    plot_copies(tmp_path / "plots" / "c.png", audited(tmp_path), AS_STORED)
    assert shown == [headline(0, 0)]
    picture = read_png(tmp_path / "plots" / "c.png")
    assert picture.shape == (270, WIDTH, 3)
    assert (picture < 128).any(), "the title is drawn"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_no_image_at_all(tmp_path, shown):
    (tmp_path / "broken.png").write_bytes(b"no image")
    plot_copies(tmp_path / "c.png", audited(tmp_path), AS_STORED)
    assert shown == [headline(0, 0)]


def test_copies_without_a_leak(tmp_path, shown):
    draw_part(0, True).save(tmp_path / "a.png")
    draw_part(0, True).save(tmp_path / "b.bmp")
    draw_part(1, True).save(tmp_path / "c.png")
    plot_copies(tmp_path / "c.png.png", audited(tmp_path), AS_STORED)
    assert shown == [
        headline(0, 1),
        "one of 2 copies\na.png",
        "\nb.bmp",
    ]
    assert read_png(tmp_path / "c.png.png").shape == (270, WIDTH, 3)


def test_a_leak_is_laid_over(tmp_path, shown):
    draw_part(0, True).save(tmp_path / "a.png")
    draw_part(0, True).rotate(90).save(tmp_path / "b.png")
    audit = audited(tmp_path, {"a.png": "train", "b.png": "test"}, {"a.png": 0, "b.png": 1})
    plot_copies(tmp_path / "plots" / "c.png", audit, AS_STORED)
    assert shown == [
        headline(1, 1),
        "test: defective\nb.png",
        "train: non_defective\na.png",
        "the second, laid\nover the first",
        "one of 2 copies\na.png",
        "\nb.png",
    ]
    picture = read_png(tmp_path / "plots" / "c.png")
    assert picture.shape == (470, WIDTH, 3)
    # The captions have the colours of the labels: the test image, left, is the defective one.
    leak = picture[:235]
    assert places_of(leak, VERMILION, 29)[:, 1].mean() < WIDTH / 6 < places_of(leak, BLUE, 29)[:, 1].mean() < WIDTH / 3


def test_what_is_laid_over_looks_like_the_first(tmp_path, monkeypatch):
    draw_part(0, True).save(tmp_path / "a.png")
    draw_part(0, True).rotate(90).save(tmp_path / "b.png")
    axes_type = type(data_plots.Figure().subplots())
    pictures, imshow = [], axes_type.imshow
    monkeypatch.setattr(
        axes_type, "imshow", lambda axis, data, **options: pictures.append(data) or imshow(axis, data, **options)
    )
    plot_copies(tmp_path / "c.png", audited(tmp_path, {"a.png": "train", "b.png": "test"}), AS_STORED)
    tested, trained, laid_over = pictures[:3]
    assert np.array_equal(tested, np.rot90(trained))
    inner = slice(40, 120)
    first = np.asarray(Image.fromarray(tested).convert("L").resize((160, 160), Image.Resampling.BILINEAR), float)
    assert np.corrcoef(first[inner, inner].ravel(), laid_over[inner, inner].ravel())[0, 1] > 0.95


def test_pictures_that_cannot_be_laid_over(tmp_path, shown):
    # Copies of a copy may be too far apart; here the second shows nothing.
    draw_part(0, True).save(tmp_path / "a.png")
    Image.new("L", (64, 64), 90).save(tmp_path / "b.png")
    paths = [(tmp_path / name).as_posix() for name in ("a.png", "b.png")]
    plot_copies(tmp_path / "c.png", found(paths, [0, 0], ["train", "test"], [0, 0]), AS_STORED)
    assert shown[1:3] == ["test: non_defective\nb.png", "train: non_defective\na.png"]
    assert len(shown) == 5


def test_each_photograph_leaks_once_and_contradictions_come_first(tmp_path, shown):
    # Photographs 0, 2 and 5; only the second test image of the last one has another label than its training image.
    paths = write_parts(tmp_path, [f"{index}.png" for index in range(8)])
    splits = ["test", "train", "train", "test", "test", "test", "test", "train"]
    audit = found(paths, [0, 0, 2, 2, 2, 5, 5, 5], splits, [0, 0, 1, 1, 1, 1, 0, 1])
    plot_copies(tmp_path / "c.png", audit, AS_STORED)
    assert shown[0] == headline(5, 3)
    leaks = [title for title in shown if title.startswith(("test: ", "train: "))]
    assert leaks == [
        "test: non_defective\n6.png", "train: defective\n7.png",
        "test: non_defective\n0.png", "train: non_defective\n1.png",
        "test: defective\n3.png", "train: defective\n2.png",
    ]  # fmt: skip


def test_gallery_shows_the_first_leaks_and_the_largest_groups(tmp_path, shown):
    # Ten photographs in two copies each and one in eight: more groups and members than there is room for.
    n_pairs = 10
    paths = write_parts(tmp_path, [f"{index:02d}.png" for index in range(2 * n_pairs + 8)])
    photographs = [index // 2 * 2 for index in range(2 * n_pairs)] + [2 * n_pairs] * 8
    splits = ["test", "train"] * n_pairs + ["train"] * 8
    plot_copies(tmp_path / "c.png", found(paths, photographs, splits, 0), AS_STORED)
    assert shown[0] == headline(10, 11)
    assert sum(title.startswith("test: ") for title in shown) == N_LEAKS
    groups = [title for title in shown if title.startswith("one of")]
    assert groups == ["one of 8 copies\n20.png"] + [f"one of 2 copies\n{2 * i:02d}.png" for i in range(N_GROUPS - 1)]
    assert "\n25.png" in shown, "six of the eight"
    assert "\n26.png" not in shown
    # Two leaks a row, and a group a row, of 2 inches each below 0.7 inches.
    assert read_png(tmp_path / "c.png").shape == (70 + 200 * (N_LEAKS // 2 + N_GROUPS), WIDTH, 3)


def test_series_follow_the_copies(tmp_path, shown):
    # 0 and 1 are copies, in a series with 2; 3 to 5 are another series of three photographs.
    paths = write_parts(tmp_path, [f"{index}.png" for index in range(6)])
    plot_copies(tmp_path / "c.png", found(paths, [0, 0, 2, 3, 4, 5], "", 0, [0, 0, 0, 3, 3, 3]), AS_STORED)
    assert shown == [
        headline(0, 1, 2),
        *["one of 2 copies\n0.png", "\n1.png"],
        *["one of 3 in a likely series\n0.png", "\n1.png", "\n2.png"],
        *["one of 3 in a likely series\n3.png", "\n4.png", "\n5.png"],
    ]
    assert read_png(tmp_path / "c.png").shape == (670, WIDTH, 3)


def test_only_the_largest_series_are_shown(tmp_path, shown):
    paths = write_parts(tmp_path, [f"{index:02d}.png" for index in range(2 * N_GROUPS + 3)])
    series = [index // 2 * 2 for index in range(2 * N_GROUPS)] + [2 * N_GROUPS] * 3
    plot_copies(tmp_path / "c.png", found(paths, range(len(paths)), "", 0, series), AS_STORED)
    rows = [title for title in shown if title.startswith("one of")]
    assert rows[0] == f"one of 3 in a likely series\n{2 * N_GROUPS}.png"
    assert len(rows) == N_GROUPS


@boxes_are_fine
def test_unlabelled_images_and_file_names_of_any_kind(tmp_path, shown):
    for name in NAMES:
        draw_part(3, True, 32).save(tmp_path / name)
    audit = audited(tmp_path, {NAMES[0]: "test"} | dict.fromkeys(NAMES[1:], "train"))
    plot_copies(tmp_path / "plots" / "c.png", audit, AS_STORED)
    assert shown[1] == f"test\n{NAMES[0]}"
    assert {title.split("\n")[1] for title in shown if title.startswith(("\n", "one of"))} == set(NAMES)
    assert read_png(tmp_path / "plots" / "c.png").shape == (470, WIDTH, 3)


def test_copies_are_decoded_as_they_were_indexed(tmp_path, monkeypatch):
    for name in ("a.png", "b.png"):
        Image.fromarray(np.full((16, 16), 4095, np.uint16)).save(tmp_path / name)
    axes_type, seen = type(data_plots.Figure().subplots()), []
    monkeypatch.setattr(axes_type, "imshow", lambda axis, data, **options: seen.append(data.max()))
    audit = audited(tmp_path, {"a.png": "test", "b.png": "train"})
    plot_copies(tmp_path / "c.png", audit, Decoding(bit_depth=12))
    plot_copies(tmp_path / "c.png", audit, AS_STORED)
    assert seen == [255] * 4 + [15] * 4


# A gallery that cannot be drawn


def test_image_that_is_gone_leaves_the_old_picture(tmp_path):
    folder, plots = tmp_path / "images", tmp_path / "plots"
    folder.mkdir()
    for name in ("a.png", "b.png"):
        draw_part(0, True).save(folder / name)
    audit = audited(folder)
    rows = audit.images.assign(label=0, defect_probability=0.0)
    plot_copies(plots / "c.png", audit, AS_STORED)
    plot_sample_grid(plots / "g.png", rows, 0, AS_STORED)
    before = {path.name: path.read_bytes() for path in plots.iterdir()}
    (folder / "b.png").unlink()
    with pytest.raises(ImageError, match=r"b\.png: cannot be read"):
        plot_copies(plots / "c.png", audit, AS_STORED)
    with pytest.raises(ImageError, match=r"b\.png: cannot be read"):
        plot_sample_grid(plots / "g.png", rows, 0, AS_STORED)
    assert {path.name: path.read_bytes() for path in plots.iterdir()} == before


def test_half_written_picture_is_removed(tmp_path, monkeypatch):
    def fail(figure, path, **options):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(data_plots.Figure, "savefig", fail)
    with pytest.raises(OSError, match="No space left"):
        plot_data(tmp_path / "d.png", divided([0, 1], ["train", "test"]), facts([0, 1]))
    with pytest.raises(OSError, match="No space left"):
        plot_copies(tmp_path / "c.png", found([], [], [], []), AS_STORED)
    assert list(tmp_path.iterdir()) == []
