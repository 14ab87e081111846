"""Every layout of a folder of photographs, and every way in which one can be wrong."""

import math
import os
import re
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inspection.data.sources import COLUMNS, LAYOUTS, group_by_name, list_any, list_images, list_labelled
from inspection.errors import DataError
from inspection.labels import CLASS_NAMES, FOLDER_NAMES, SPLIT_NAMES, class_labels, plain_name

HEADER = "path,label"
TEXT_COLUMNS = ("path", "split", "stratum", "group", "defect_type", "mask")


def touch(folder, *names):
    """Make empty files: listing reads no pixel."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write_table(folder, *lines, name="labels.csv", encoding="utf-8"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes("\n".join([*lines, ""]).encode(encoding))


def checked(records):
    """The records, after a look at their columns and types."""
    assert tuple(records) == COLUMNS == (
        "path", "defect_probability", "split", "stratum", "group", "weight", "defect_type", "mask",
    )  # fmt: skip
    assert all(isinstance(value, str) for name in TEXT_COLUMNS for value in records[name])
    assert records["defect_probability"].dtype == records["weight"].dtype == float
    assert set(records["split"]) <= {"train", "test", ""}
    assert records.index.tolist() == list(range(len(records)))
    return records


def below(folder, path):
    assert path == "" or path.startswith(folder.as_posix() + "/")
    return path.removeprefix(folder.as_posix() + "/")


def listed(folder, *columns, **options):
    """What the records say: path relative to the folder, defect probability, and the columns asked for."""
    records = checked(list_images(folder, **options))
    records = records.assign(**{name: [below(folder, path) for path in records[name]] for name in ("path", "mask")})
    return list(records[["path", "defect_probability", *columns]].itertuples(index=False, name=None))


# Class folders


def test_class_folders(tmp_path):
    touch(tmp_path, "non_defective/c.png", "defective/b.png", "defective/a.png")
    assert listed(tmp_path, "split", "stratum", "group", "defect_type", "mask") == [
        ("defective/a.png", 1.0, "", "", "", "", ""),
        ("defective/b.png", 1.0, "", "", "", "", ""),
        ("non_defective/c.png", 0.0, "", "", "", "", ""),
    ]
    assert list_images(tmp_path)["weight"].isna().all()


@pytest.mark.parametrize("label", [0, 1])
def test_common_names_of_class_folders(tmp_path, label):
    for number, name in enumerate(FOLDER_NAMES[label]):
        source = tmp_path / f"{number}"
        touch(source, f"{name}/1.png", f"{CLASS_NAMES[1 - label]}/2.png")
        assert dict(listed(source, "defect_type")[i][:2] for i in (0, 1))[f"{name}/1.png"] == label
        assert {record[2] for record in listed(source, "defect_type")} == {""}


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("Non_Defective", "DEFECTIVE"), ("OK", "NG"), ("ok", "nok"), ("OK", "Not OK"), ("okay", "not-ok"),
        ("Good", "Bad"), ("normal", "Abnormal"), ("pass", "FAIL"), ("passed", "failed"), ("fine", "faulty"),
        ("i.O.", "n.i.O."), ("io", "NIO"), ("non-defective", "anomaly"), ("NON DEFECTIVE", "anomalous"),
        ("__ok__", "reject"), ("ＯＫ", "ＮＧ"),
    ],
)  # fmt: skip
def test_class_folders_as_people_write_them(tmp_path, good, bad):
    touch(tmp_path, f"{good}/1.png", f"{bad}/2.png")
    assert sorted(listed(tmp_path, "defect_type"), key=lambda record: record[1]) == [
        (f"{good}/1.png", 0.0, ""),
        (f"{bad}/2.png", 1.0, ""),
    ]


def test_common_names_are_compared_as_they_are_listed():
    assert [name for names in FOLDER_NAMES for name in names if plain_name(name) != name] == []
    assert set(FOLDER_NAMES[0]).isdisjoint(FOLDER_NAMES[1])
    assert [name for name in SPLIT_NAMES if plain_name(name) != name] == []


@given(st.text().filter(lambda name: re.sub(r"[\s_-]", "", unicodedata.normalize("NFKC", name))))
def test_names_compare_whatever_their_case_form_and_separators(name):
    for other in (unicodedata.normalize("NFD", name), unicodedata.normalize("NFC", name), name.replace(" ", "_")):
        assert plain_name(other) == plain_name(name)
    assert plain_name(f"Not {name}") == plain_name(f"NOT__{name}") == plain_name(f"not - {name}")


def test_names_of_nothing_but_separators_differ():
    assert len({plain_name(name) for name in ("-", "_", "+", " ")}) == 4


def test_several_folders_of_one_class_and_their_defect_types(tmp_path):
    touch(tmp_path, "ok/1.png", "Good/2.png", "good/3.png", "ng/4.png", "Kratzer_tief/5.png", "Délaminé/6.png")
    classes = {"kratzer tief": "defective", "délaminé": "defective", "good": "non_defective"}
    assert listed(tmp_path, "defect_type", classes=classes) == [
        ("Délaminé/6.png", 1.0, "Délaminé"),
        ("Good/2.png", 0.0, ""),
        ("Kratzer_tief/5.png", 1.0, "Kratzer_tief"),
        ("good/3.png", 0.0, ""),
        ("ng/4.png", 1.0, ""),
        ("ok/1.png", 0.0, ""),
    ]


def test_own_class_names_go_before_common_ones(tmp_path):
    touch(tmp_path, "ok/1.png", "fine/2.png", "-/3.png", "masks/4.png", "odd good/5.png")
    classes = {"Fine": "defective", "-": "defective", "Masks": "defective", "ODD_GOOD": "non_defective"}
    assert listed(tmp_path, "defect_type", classes=classes) == [
        ("-/3.png", 1.0, "-"),
        ("fine/2.png", 1.0, ""),
        ("masks/4.png", 1.0, "masks"),
        ("odd good/5.png", 0.0, ""),
        ("ok/1.png", 0.0, ""),
    ]


@pytest.mark.parametrize("function", [list_images, list_any])
def test_own_class_names_that_contradict_each_other(tmp_path, function):
    touch(tmp_path, "ok/1.png", "ng/2.png")
    same = {"deep_scratch": "defective", "Deep Scratch": "defective"}
    function(tmp_path, classes=same)
    with pytest.raises(DataError, match="data.classes: 'deep_scratch' and 'Deep-Scratch' are the same name; keep one"):
        function(tmp_path, classes={**same, "Deep-Scratch": "non_defective"})
    assert class_labels(same)["deep scratch"] == 1


# Which files are images


@pytest.mark.parametrize(
    "name",
    [
        "part.png", "part.jpg", "part.jpeg", "part.bmp", "part.tif", "part.tiff", "part.webp",
        "PART.PNG", "Part.JpG", "two.dots.tif", "with space.png", " leading.png", "größe.png", "деталь 7.bmp",
        "部品.webp", "(1)#%&'.png", "a,b;c.png", "back\\slash.png", "shift 1/camera/deep/part.png",
        unicodedata.normalize("NFC", "é/é.png"), unicodedata.normalize("NFD", "é/é.png"),
        "train/part.png", "ok/part.png", "odd.png/part.jpg",
    ],
)  # fmt: skip
def test_names_that_are_images(tmp_path, name):
    touch(tmp_path, f"defective/{name}", "non_defective/good.png")
    assert listed(tmp_path) == [(f"defective/{name}", 1.0), ("non_defective/good.png", 0.0)]


@pytest.mark.parametrize(
    "name",
    [
        ".hidden.png", "._part.png", ".png", "Thumbs.db", "readme.txt", "part.gif", "part.png.txt", "png", "part.svg",
        ".thumbnails/part.png", "deep/.cache/deep/part.png", "masks/part.png", "deep/Masks/part.png",
        "ground_truth/part.png", "Ground Truth/part.png", "@eaDir/part.png/THUMB.jpg", "__MACOSX/part.png",
    ],
)  # fmt: skip
@pytest.mark.parametrize("place", ["", "defective/"])
def test_names_that_are_passed_over(tmp_path, place, name):
    touch(tmp_path, f"{place}{name}", "defective/part.png", "non_defective/good.png")
    assert listed(tmp_path) == [("defective/part.png", 1.0), ("non_defective/good.png", 0.0)]


def test_unknown_folders_without_images_are_passed_over(tmp_path):
    touch(tmp_path, "defective/1.png", "non_defective/2.png", "docs/readme.txt", "System Volume Information/x/y.dat")
    assert len(listed(tmp_path)) == 2


def test_listing_is_sorted_whatever_the_disk_says(tmp_path, monkeypatch):
    names = [f"defective/{name}" for name in ("10.png", "9.png", "a/0.png", "B.png", "a.png")]
    touch(tmp_path, "non_defective/x.png", *names)
    expected = [(name, 1.0) for name in sorted(names)] + [("non_defective/x.png", 0.0)]
    assert listed(tmp_path) == expected
    scandir = os.scandir

    class Reversed:
        def __init__(self, folder):
            with scandir(folder) as entries:
                self.entries = sorted(entries, key=lambda entry: entry.name, reverse=True)

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(os, "scandir", Reversed)
    assert listed(tmp_path) == expected


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=("Cc", "Cs")), min_size=1)
FOLDERS = st.lists(NAMES.map(lambda name: f"f{name}"[:20]), max_size=3)
FILES = st.tuples(st.sampled_from(["ok", "ng"]), FOLDERS, NAMES.map(lambda name: f"i{name}"[:20]))


@given(st.lists(FILES, max_size=8))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_image_is_listed_once(tmp_path_factory, files):
    source = tmp_path_factory.mktemp("source")
    names = {f"{top}/{'/'.join([*folders, stem])}.png" for top, folders, stem in files} | {"ok/0.png", "ng/0.png"}
    touch(source, *names)
    assert listed(source) == [(name, float(name.startswith("ng"))) for name in sorted(names)]


def test_links_to_files_and_folders_are_followed(tmp_path):
    source, elsewhere = tmp_path / "source", tmp_path / "elsewhere"
    touch(elsewhere, "good/1.png", "original.png", "deep/er/3.png")
    touch(source, "defective/2.png")
    (source / "non_defective").symlink_to(elsewhere / "good")
    (source / "defective/1.png").symlink_to(elsewhere / "original.png")
    (source / "defective/far").symlink_to(elsewhere / "deep")
    (source / "defective/dangling.png").symlink_to(elsewhere / "gone.png")
    (source / "defective/self.png").symlink_to("self.png")
    (source / "defective/self").symlink_to("self")
    names = ["defective/1.png", "defective/2.png", "defective/far/er/3.png", "non_defective/1.png"]
    assert [name for name, _ in listed(source)] == names


@pytest.mark.parametrize("target", ["defective", "defective/deep", ".", "..", "../.."])
@pytest.mark.parametrize("is_relative", [False, True])
def test_links_back_up_end(tmp_path, monkeypatch, target, is_relative):
    source = tmp_path / "up" / "source"
    touch(source, "defective/deep/1.png", "non_defective/2.png")
    (source / "defective/deep/loop").symlink_to((source / target).resolve())
    monkeypatch.chdir(tmp_path)
    if is_relative:
        source = Path("up/source")
    assert [name for name, _ in listed(source)] == ["defective/deep/1.png", "non_defective/2.png"]


def test_links_in_a_ring_end(tmp_path):
    touch(tmp_path, "defective/1.png", "non_defective/2.png")
    (tmp_path / "defective/good").symlink_to(tmp_path / "non_defective")
    (tmp_path / "non_defective/bad").symlink_to(tmp_path / "defective")
    # The same file in both classes is listed in both, so that the contradiction is seen.
    assert [name for name, _ in listed(tmp_path)] == [
        "defective/1.png", "defective/good/2.png", "non_defective/2.png", "non_defective/bad/1.png",
    ]  # fmt: skip


def test_source_reached_by_link_and_relative_path(tmp_path, monkeypatch):
    touch(tmp_path / "real", "defective/1.png", "non_defective/1.png")
    (tmp_path / "data").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    for source in ("data", "./data/", Path("data")):
        assert list_images(source)["path"].tolist() == ["data/defective/1.png", "data/non_defective/1.png"]
    monkeypatch.chdir(tmp_path / "real")
    assert list_images(".")["path"].tolist() == ["defective/1.png", "non_defective/1.png"]


def test_name_that_no_table_can_hold(tmp_path):
    touch(tmp_path, "non_defective/1.png", "defective/2.png")
    os.close(os.open(os.fsencode(tmp_path) + b"/defective/\xff.png", os.O_CREAT))
    with pytest.raises(DataError, match=r"the name 'defective/\\udcff\.png' is not UTF-8 .*; rename it"):
        list_images(tmp_path)


@pytest.mark.parametrize("name", ["two\rlines.png", "two\r/lines.png"])
def test_name_with_a_carriage_return_is_named_with_the_way_out(tmp_path, name):
    touch(tmp_path, "non_defective/1.png", f"defective/{name}")
    said = re.escape(repr(f"defective/{name}"))
    with pytest.raises(DataError, match=f"the name {said} holds a carriage return and no table can hold it; rename it"):
        list_images(tmp_path)


@pytest.mark.parametrize("layout", ["auto", None])
@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["ok/1.png", "ng/2.png"], "class_folders"),
        (["train/ok/1.png", "train/ng/2.png", "test/ok/3.png", "test/ng/4.png"], "split_folders"),
        (["train/good/1.png", "test/good/2.png", "test/crack/3.png", "ground_truth/crack/3_mask.png"], "mvtec"),
    ],
)
def test_the_layout_found_is_named(tmp_path, names, found, layout):
    touch(tmp_path, *names)
    assert list_labelled(tmp_path, layout or found).layout == found
    write_table(tmp_path, HEADER, "1.png,0", "2.png,1")
    assert list_labelled(tmp_path).layout == "csv"


def test_folder_that_cannot_be_read(tmp_path, monkeypatch):
    touch(tmp_path, "ok/1.png", "ng/deep/2.png")
    scandir = os.scandir

    def guarded(folder):
        if Path(folder).name == "deep":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(DataError, match="ng/deep cannot be read .Permission denied.; mend it"):
        list_images(tmp_path)


def test_many_files_are_listed_in_seconds(tmp_path):
    for number in range(10_000):
        folder = tmp_path / ("ok", "ng")[number % 2] / f"{number // 1000}"
        if number % 1000 < 2:
            folder.mkdir(parents=True)
        os.close(os.open(folder / f"part {number}.png", os.O_CREAT))
    started = time.process_time()
    records = group_by_name(list_images(tmp_path), tmp_path, r"part (\d+)", 10)
    assert records["group"].nunique() == 1000
    assert time.process_time() - started < 5


# Supplied splits


def test_train_and_test_folders(tmp_path):
    touch(tmp_path, *(f"{s}/{c}/{s}.png" for s in ("test", "train") for c in ("defective", "non_defective")))
    assert listed(tmp_path, "split", "mask") == [
        ("test/defective/test.png", 1.0, "test", ""),
        ("test/non_defective/test.png", 0.0, "test", ""),
        ("train/defective/train.png", 1.0, "train", ""),
        ("train/non_defective/train.png", 0.0, "train", ""),
    ]


def test_parts_of_a_split_as_people_name_them(tmp_path):
    parts = {
        "TEST": "test", "Testing": "test", "train": "train", "Training": "train", "val": "train", "valid": "train",
        "Validation": "train",
    }  # fmt: skip
    touch(tmp_path, *(f"{part}/{name}/deep/1.png" for part in parts for name in ("OK", "Ng")))
    assert listed(tmp_path, "split") == sorted(
        (f"{part}/{name}/deep/1.png", label, split)
        for part, split in parts.items()
        for name, label in (("OK", 0.0), ("Ng", 1.0))
    )


def test_split_with_own_class_names(tmp_path):
    touch(tmp_path, "train/ok_front/1.png", "train/def_front/2.png", "test/OK-front/3.png", "test/def front/4.png")
    classes = {"ok_front": "non_defective", "def_front": "defective"}
    assert listed(tmp_path, "split", "defect_type", classes=classes) == [
        ("test/OK-front/3.png", 0.0, "test", ""),
        ("test/def front/4.png", 1.0, "test", "def front"),
        ("train/def_front/2.png", 1.0, "train", "def_front"),
        ("train/ok_front/1.png", 0.0, "train", ""),
    ]


@pytest.mark.parametrize(
    "files",
    [
        ["train/ok/1.png", "test/ok/2.png", "test/ng/3.png"],
        ["train/ok/1.png", "train/ng/2.png", "test/ok/3.png"],
        ["train/ok/1.png", "test/ng/2.png"],
    ],
)
def test_a_class_may_be_missing_from_a_part(tmp_path, files):
    touch(tmp_path, *files)
    assert [name for name, *_ in listed(tmp_path)] == sorted(files)


def test_folders_named_like_parts_of_a_split_can_be_classes(tmp_path):
    touch(tmp_path, "valid/1.png", "invalid/2.png")
    assert listed(tmp_path, "split", classes={"valid": "non_defective", "invalid": "defective"}) == [
        ("invalid/2.png", 1.0, ""),
        ("valid/1.png", 0.0, ""),
    ]


# MVTec


MVTEC = ["train/good/000.png", "test/good/000.png", "test/broken_large/000.png", "test/bad/deep/001.tiff"]


def test_mvtec(tmp_path):
    touch(tmp_path, *MVTEC, "license.txt", "ground_truth/broken_large/000_mask.png")
    touch(tmp_path, "ground_truth/bad/deep/001_mask.png", "ground_truth/broken_large/999_mask.png")
    assert listed(tmp_path, "split", "defect_type", "mask") == [
        ("test/bad/deep/001.tiff", 1.0, "test", "bad", "ground_truth/bad/deep/001_mask.png"),
        ("test/broken_large/000.png", 1.0, "test", "broken_large", "ground_truth/broken_large/000_mask.png"),
        ("test/good/000.png", 0.0, "test", "", ""),
        ("train/good/000.png", 0.0, "train", "", ""),
    ]


@pytest.mark.parametrize(
    ("folder", "mask", "expected"),
    [
        ("ground_truth", "000_mask.png", "000_mask.png"),
        ("Ground Truth", "000.png", "000.png"),
        ("ground_truth", "000_mask.bmp", None),
        ("ground_truth", "000_mask.png/odd", None),
        ("ground_truth", "00_mask.png", None),
    ],
)
def test_masks_of_mvtec(tmp_path, folder, mask, expected):
    touch(tmp_path, *MVTEC, f"{folder}/broken_large/{mask}")
    masks = {path: mask for path, _, mask in listed(tmp_path, "mask")}
    assert masks["test/broken_large/000.png"] == (f"{folder}/broken_large/{expected}" if expected else "")


def test_the_name_of_the_mask_goes_before_that_of_the_image(tmp_path):
    touch(tmp_path, *MVTEC, *(f"ground_truth/broken_large/000{ending}" for ending in (".png", "_mask.png")))
    assert listed(tmp_path, "mask")[1][-1] == "ground_truth/broken_large/000_mask.png"


@pytest.mark.parametrize(
    ("files", "layout"),
    [
        (MVTEC, "mvtec"),
        (["train/OK/1.png", "Test/ok/2.png", "Test/dent/3.png"], "mvtec"),
        (["train/good/1.png", "test/good/2.png", "test/defective/3.png"], "split_folders"),
        (["train/good/1.png", "test/good/2.png", "test/defective/3.png", "ground_truth/x"], "mvtec"),
        (["train/good/1.png", "train/ng/2.png", "test/good/3.png", "test/dent/4.png"], "split_folders"),
        (["train/good/1.png", "test/parts/2.png", "test/dent/3.png"], "split_folders"),
        (["train/good/1.png", "train/dent/2.png", "test/good/3.png", "test/dent/4.png"], "split_folders"),
        (["good/1.png", "dent/2.png", "ground_truth/dent/3.png"], "class_folders"),
        (["good/1.png", "bad/2.png", "test/good/3.png"], "class_folders"),
        (["a.png"], "unlabelled"),
        (["train/good/1.png", "train/bad/2.png"], "unlabelled"),
        (["train/1.png", "test/2.png"], "split_folders"),
        ([*MVTEC, "train/beside.png"], "mvtec"),
        (["good/1.png", "good/labels.csv"], "class_folders"),
    ],
)
def test_layout_that_is_recognised(tmp_path, files, layout):
    touch(tmp_path, *files)
    assert list_any(tmp_path).layout == layout


def test_defect_types_of_mvtec_must_not_be_good_parts_of_another_name(tmp_path):
    touch(tmp_path, "train/good/1.png", "test/parts/2.png", "test/dent/3.png")
    with pytest.raises(DataError, match=r"split_folders does not tell the class of 'test/dent' \(1\), 'test/parts'"):
        list_images(tmp_path)
    classes = {"parts": "non_defective"}
    assert listed(tmp_path, "defect_type", classes=classes)[0] == ("test/dent/3.png", 1.0, "dent")
    assert listed(tmp_path, layout="mvtec", classes=classes) == listed(tmp_path, classes=classes)


@pytest.mark.parametrize("layout", ["auto", "mvtec", "split_folders", "class_folders"])
def test_whole_mvtec_data_set(tmp_path, layout):
    touch(tmp_path, *(f"{category}/{name}" for category in ("bottle", "cable") for name in MVTEC), "readme.txt")
    message = f"data.layout {layout} does not fit, but every one of 'bottle', 'cable' can be a source; set data.source"
    with pytest.raises(DataError, match=rf"{message} to one of them, such as {tmp_path}/bottle\."):
        list_images(tmp_path, layout)


@pytest.mark.parametrize("files", [["photos/ok/1.png", "photos/ng/2.png"], ["photos/1.png", "photos/labels.csv"]])
def test_source_one_folder_too_high(tmp_path, files):
    touch(tmp_path, *files, "other/1.png")
    with pytest.raises(DataError, match=r"every one of 'photos' can be a source; set .*/photos\."):
        list_images(tmp_path)


def test_many_data_sets_are_named_in_part(tmp_path):
    touch(tmp_path, *(f"{number}/ok/1.png" for number in range(12)))
    with pytest.raises(DataError, match="of '0', '1', '10', '11', '2', '3', '4', '5', and 4 more can be"):
        list_images(tmp_path)


# Layouts that do not fit


def test_every_layout_can_be_forced(tmp_path):
    touch(tmp_path, "train/good/1.png", "test/good/2.png", "test/dent/3.png", "ok/4.png", "ng/5.png")
    write_table(tmp_path, HEADER, "any.png,1")
    assert listed(tmp_path) == listed(tmp_path, layout="csv") == [("any.png", 1.0)]
    for layout in ("mvtec", "split_folders", "class_folders"):
        with pytest.raises(DataError, match=f"data.layout {layout} does not tell the class of"):
            list_images(tmp_path, layout)
    (tmp_path / "ok/4.png").unlink()
    (tmp_path / "ng/5.png").unlink()
    assert len(listed(tmp_path, layout="mvtec")) == 3
    touch(tmp_path, "ground_truth/dent/3_mask.png")
    assert listed(tmp_path, "mask", layout="mvtec")[0][-1] == "ground_truth/dent/3_mask.png"
    assert listed(tmp_path, "mask", layout="split_folders", classes={"dent": "defective"})[0][-1] == ""
    classes = {"train": "non_defective", "test": "defective"}
    assert listed(tmp_path, "split", "defect_type", layout="class_folders", classes=classes) == [
        ("test/dent/3.png", 1.0, "", "test"),
        ("test/good/2.png", 1.0, "", "test"),
        ("train/good/1.png", 0.0, "", ""),
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_forced_layout_that_does_not_fit(tmp_path, layout):
    touch(tmp_path, "a.png", "shift 1/b.png", ".hidden/c.png")
    needed = re.escape(LAYOUTS[layout])
    message = rf"data\.layout {layout} needs {needed}; found 'a\.png', 'shift 1'\. Correct the folder or data\.layout,"
    with pytest.raises(DataError, match=message):
        list_images(tmp_path, layout)


@pytest.mark.parametrize(
    ("files", "layout", "missing"),
    [
        ([], "csv", r"found nothing\."),
        ([f"{i}.png" for i in range(8)], "csv", r"found '0\.png', .*, '7\.png'\."),
        (["train/ok/1.png", "train/ng/2.png"], "split_folders", r"found 'train'"),
        (["train/ok/1.png", "val/ng/2.png", "test/readme.txt"], "mvtec", r"found 'test', 'train', 'val'"),
        (["train/ok/1.png", "test/ng/2.png"], "csv", r"found 'test', 'train'"),
        (["ok/1.png", "ng/2.png"], "split_folders", r"found 'ng', 'ok'"),
        (["scratched/1.png", "clean/2.png"], "class_folders", r"found 'clean', 'scratched'.* in data\.classes"),
    ],
)
def test_forced_layout_says_what_it_found(tmp_path, files, layout, missing):
    touch(tmp_path, *files)
    with pytest.raises(DataError, match=rf"data\.layout {layout} needs .*; {missing}"):
        list_images(tmp_path, layout)


@pytest.mark.parametrize(
    ("files", "folders", "message"),
    [
        ([], [], r"source holds no image \(\.png, .*\.webp\); add photographs"),
        (["defective/notes.txt", ".ok/1.png"], ["ok"], r"source holds no image"),
        (["a.png", "b.png"], [], r"data\.layout auto needs a table labels\.csv; or .*; found 'a\.png', 'b\.png'"),
        (["a.png", *(f"{i}.txt" for i in range(9))], [], r"found '0\.txt', .*'7\.txt', and 2 more\."),
        (["def_front/1.png", "ok_front/2.png"], [], r"found 'def_front', 'ok_front'\. .*explain .* in data\.classes"),
        (["train/defective/1.png", "train/non_defective/1.png"], ["test"], r"\{train,test\}.*; found 'test', 'train'"),
        (["defective/1.png"], [], r"no image .* of the class 'non_defective'; found 'defective' \(1\)\. Put .* folder"),
        (["ok/1.png"], ["ng"], r"no image .* of the class 'defective', but there is a folder 'ng' for them\. Put"),
        (["train/ok/1.png", "test/ok/2.png"], ["test/NG"], r"a folder 'test/NG' for them\..* good parts alone"),
        (["ng/1.png", "NG/a/2.png"], ["ok"], r"the class 'non_defective'; found 'NG' \(1\), 'ng' \(1\)"),
        (["ok/1.png", "ng/2.png", "odd/3.png"], [], r"class_folders does not tell the class of 'odd' \(1\)\. Explain"),
        (["ok/1.png", "ng/2.png", "test/ok/3.png"], [], r"the class of 'test' \(1\)\."),
        (["ok/1.png", "ng/2.png", "3.png"], [], r"the class of '3\.png' \(1\)\."),
        (["train/ok/1.png", "test/ng/2.png", "odd/ok/3.png"], [], r"split_folders does not .* of 'odd' \(1\)\."),
        (["train/ok/1.png", "test/ng/2.png", "3.png"], [], r"the class of '3\.png' \(1\)\."),
        (["train/ok/1.png", "test/ng/2.png", "test/3.png"], [], r"the class of 'test/3\.png' \(1\)\."),
        (["train/ok/1.png", "test/ng/2.png", "test/odd/b/3.png"], [], r"the class of 'test/odd' \(1\)\."),
        ([*MVTEC, "ground_truth/x", "train/odd/1.png"], [], r"mvtec does not tell the class of 'train/odd' \(1\)\."),
        ([*MVTEC, "test/1.png"], [], r"mvtec does not tell the class of 'test/1\.png' \(1\)\."),
    ],
)  # fmt: skip
def test_layout_that_cannot_be_used(tmp_path, files, folders, message):
    source = tmp_path / "source"
    source.mkdir()
    touch(source, *files)
    for folder in folders:
        (source / folder).mkdir(parents=True)
    with pytest.raises(DataError, match=message):
        list_images(source)


@pytest.mark.parametrize(
    ("files", "folders", "layout"),
    [
        (["ok/1.png", "Good/a/2.png", "Good/3.png"], [], "class_folders"),
        (["ok/1.png"], [], "class_folders"),
        (["train/ok/1.png", "test/good/2.png"], [], "split_folders"),
        (["train/good/1.png", "test/good/1.png", "ground_truth/x"], [], "mvtec"),
    ],
)
def test_good_parts_alone_are_a_source(tmp_path, files, folders, layout):
    touch(tmp_path, *files)
    for folder in folders:
        (tmp_path / folder).mkdir()
    listing = list_labelled(tmp_path)
    assert listing.layout == layout
    assert set(listing.records["defect_probability"]) == {0.0}


@pytest.mark.parametrize("name", ["absent", "file.png"])
def test_source_that_is_no_folder(tmp_path, name):
    touch(tmp_path, "file.png")
    with pytest.raises(DataError, match=rf"data\.source: no folder '.*{name}'; put the photographs there or correct"):
        list_images(tmp_path / name)
    with pytest.raises(DataError, match=rf"No folder '.*{name}'; correct the path"):
        list_any(tmp_path / name)


# Tables


def test_table_of_probabilities(tmp_path):
    write_table(tmp_path, "path,defect_probability,stratum", "b.png,0,mono", "deep/a.png,0.3333,poly", "c.png,1,")
    assert listed(tmp_path, "stratum", "split", "group", "defect_type", "mask") == [
        ("b.png", 0.0, "mono", "", "", "", ""),
        ("deep/a.png", 0.3333, "poly", "", "", "", ""),
        ("c.png", 1.0, "", "", "", "", ""),
    ]


def test_table_with_every_column(tmp_path):
    touch(tmp_path, "masks/b.png")
    write_table(
        tmp_path,
        "\ufeffMask,note, Weight ,PATH,note,label,split,group,defect_type,stratum",
        "masks/b.png,eve,0.5,b.png,1,Not OK,Test,part 7, scratch ,mono",
        ",,,c.png,1,GOOD,training,,,",
    )
    first, second = listed(tmp_path, "split", "group", "weight", "defect_type", "stratum", "mask")
    assert first == ("b.png", 1.0, "test", "part 7", 0.5, "scratch", "mono", "masks/b.png")
    assert second[:4] + second[5:] == ("c.png", 0.0, "train", "", "", "", "")
    assert math.isnan(second[4])


@pytest.mark.parametrize(
    ("label", "probability", "defect_type"),
    [
        ("defective", 1.0, ""), ("NON-defective", 0.0, ""), (" ng ", 1.0, ""), ("i.O.", 0.0, ""), ("0", 0.0, ""),
        ("1", 1.0, ""), ("1.0", 1.0, ""), ("0.5", 0.5, ""), (".25", 0.25, ""), ("1e-3", 0.001, ""),
        ("Scratch", 1.0, "Scratch"), ("clean", 0.0, ""), ("fine", 1.0, ""), ("7", 1.0, "7"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("column", ["label", "defect_probability"])
def test_labels(tmp_path, column, label, probability, defect_type):
    classes = {"scratch": "defective", "clean": "non_defective", "fine": "defective", "7": "defective"}
    write_table(tmp_path, f"path,{column}", f"a.png,{label}")
    assert listed(tmp_path, "defect_type", classes=classes) == [("a.png", probability, defect_type)]


def test_defect_type_of_the_table_goes_before_that_of_the_label(tmp_path):
    write_table(tmp_path, "path,label,defect_type", "a.png,scratch,deep", "b.png,scratch,")
    assert listed(tmp_path, "defect_type", classes={"scratch": "defective"}) == [
        ("a.png", 1.0, "deep"),
        ("b.png", 1.0, "scratch"),
    ]


@pytest.mark.parametrize("name", SPLIT_NAMES)
def test_split_names_in_tables(tmp_path, name):
    other = "train" if SPLIT_NAMES[name] == "test" else "test"
    write_table(tmp_path, "path,label,split", f"a.png,ok,{name.upper()}", f"b.png,ng,{other}")
    assert [split for *_, split in listed(tmp_path, "split")] == [SPLIT_NAMES[name], other]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_dialects(tmp_path, delimiter, line_break, quote):
    lines = [["path", "label", "weight"], ["a b.png", "0.5", "2"], ["c.png", "ng", ""], ["", "", ""]]
    text = line_break.join(delimiter.join(f"{quote}{cell}{quote}" for cell in line) for line in lines)
    write_table(tmp_path, text)
    assert [record[:2] for record in listed(tmp_path)] == [("a b.png", 0.5), ("c.png", 1.0)]
    assert list_images(tmp_path)["weight"].tolist()[0] == 2


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_decimal_commas(tmp_path, delimiter):
    write_table(tmp_path, delimiter.join(["path", "label", "weight"]), delimiter.join(["a,b.png", "0,25", "1,5"]))
    assert listed(tmp_path, "weight") == [("a,b.png", 0.25, 1.5)]


def test_delimiters_of_other_dialects_are_ordinary_signs(tmp_path):
    write_table(tmp_path, "path,label,a;b", 'x;y.png,0,"1\t2"')
    assert listed(tmp_path) == [("x;y.png", 0.0)]


@pytest.mark.parametrize(
    ("written", "path"),
    [
        ("deep\\er\\a.png", "deep/er/a.png"), ("./a.png", "a.png"), ("deep//a.png", "deep/a.png"), ("007", "007"),
        ('"a, ""1"".png"', 'a, "1".png'), ("部品.png", "部品.png"), ("..a.png", "..a.png"),
        ('"two\nlines.png"', "two\nlines.png"), (".hidden/a.png", ".hidden/a.png"), (" a.png", " a.png"),
    ],
)  # fmt: skip
def test_paths_in_tables(tmp_path, written, path):
    write_table(tmp_path, HEADER, f"{written},0")
    assert listed(tmp_path) == [(path, 0.0)]


def test_line_breaks_of_other_systems_become_line_feeds(tmp_path):
    write_table(tmp_path, "path,label,group", 'a.png,0,"x\r\ny\rz"')
    assert listed(tmp_path, "group") == [("a.png", 0.0, "x\ny\nz")]


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0/\\\r\n"), min_size=1, max_size=12)


@given(
    st.lists(st.tuples(CELLS.map("x{}".format), st.floats(0, 1), CELLS), min_size=1, unique_by=lambda row: row[0]),
    st.sampled_from(",;\t"),
)
@settings(max_examples=60)
def test_every_line_of_a_table_is_read(tmp_path_factory, rows, delimiter):
    source = tmp_path_factory.mktemp("source")
    quoted = [[cell.replace('"', '""') for cell in (path, repr(label), group)] for path, label, group in rows]
    lines = [delimiter.join(f'"{cell}"' for cell in row) for row in [["path", "label", "group"], *quoted]]
    write_table(source, *lines)
    assert listed(source, "group") == [(path, label, group.strip()) for path, label, group in rows]


def test_images_that_the_table_does_not_list_are_not_used(tmp_path):
    touch(tmp_path, "defective/a.png", "non_defective/b.png", "c.png")
    write_table(tmp_path, HEADER, "defective/a.png,0.25", "absent.png,0")
    assert listed(tmp_path) == [("defective/a.png", 0.25), ("absent.png", 0.0)]


ALL = "path,label,split,group,weight,defect_type,mask,stratum"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        # The header
        (["path,probability", "a.png,1"], r": column 'label' \(or 'defect_probability'\) is missing; found .'path'"),
        (["file,label", "a.png,1"], ": column 'path' is missing; found .'file', 'label'.*must name the columns"),
        (["a.png,1", "b.png,0"], r": column 'path' is missing; found .'a\.png', '1'"),
        (["path|label", "a.png|1"], r": column 'path' is missing; found .'path\|label'"),
        (["path,label,defect_probability", "a.png,1,1"], ": columns 'label' and '.*' mean the same; keep one"),
        (["path,label,Path", "a.png,1,b.png"], ": column 'path' stands there twice; keep one"),
        (["path,label,group,group", "a.png,1,b,c"], ": column 'group' stands there twice; keep one"),
        ([], ": column 'path' is missing; found an empty file"),
        ([HEADER], " lists no image; add one line per photograph"),
        ([HEADER, ",", ""], " lists no image"),
        # Lines
        ([HEADER, "a.png,0", "b.png,0,mono"], ", line 3: 3 fields .*'mono'.* where the header has 2; quote .* a ','"),
        ([HEADER, "a.png"], ", line 2: 1 fields .* where the header has 2"),
        (["path;label", "a;b.png;1"], ", line 2: 3 fields .*; quote fields that hold a ';'"),
        ([HEADER, '"a.png,1'], " is not a UTF-8 CSV table .*; save it as 'CSV UTF-8'"),
        ([HEADER, '"a".png,1'], " is not a UTF-8 CSV table .*; save it"),
        ([HEADER, "", "a.png,0", ",", "b.png,2"], r", line 5, label '2'"),
        # Paths
        ([HEADER, ",1"], ", line 2, path '': give the path of a file"),
        ([HEADER, ".,1"], r", line 2, path '\.': give the path of a file"),
        ([HEADER, "a\0.png,1"], r", line 2, path 'a\\x00\.png': give the path of a file"),
        ([HEADER, "/etc/a.png,1"], ", line 2, path '/etc/a.png': it is not below the folder; use relative paths"),
        ([HEADER, "deep/../../b.png,1"], r", line 2, path 'deep/\.\./\.\./b\.png': it is not below the folder"),
        ([HEADER, r"..\b.png,1"], r", line 2, path '\.\.\\\\b\.png': it is not below the folder"),
        ([HEADER, r"C:\b.png,1"], r", line 2, path 'C:\\\\b\.png': it is not below the folder"),
        ([HEADER, r"\\server\b.png,1"], r", line 2, path .*: it is not below the folder"),
        ([HEADER, "a.png,1", "b.png,0", "a.png,1"], r", line 4, path 'a\.png': it is listed twice, first in .*line 2;"),
        ([HEADER, "a.png,1", "./a.png,0"], r", line 3, path '\./a\.png': it is listed twice"),
        # Labels
        ([HEADER, "a.png,1", "b.png,1.01"], r", line 3, label '1\.01': use a number from 0 to 1, 'non_defective' or"),
        ([HEADER, "a.png,-0.01"], r", line 2, label '-0\.01'"),
        ([HEADER, "a.png,0", "b.png,"], ", line 3, label ''"),
        ([HEADER, "a.png,0", "b.png,scratch"], ", line 3, label 'scratch': .* or a name that data.classes explains"),
        ([HEADER, "a.png,inf"], ", line 2, label 'inf'"),
        ([HEADER, "a.png,nan"], ", line 2, label 'nan'"),
        ([HEADER, 'a.png,"0,5"'], ", line 2, label '0,5'"),
        (["path,defect_probability", "a.png,50%"], ", line 2, defect_probability '50%': use a number"),
        # The other columns
        ([ALL, "a.png,1,exam,,,,,"], ", line 2, split 'exam': use one of train, training, val,.* test, testing"),
        ([ALL, "a.png,1,test,,,,,", "b.png,1,,,,,,"], ", line 3, split '': 1 of 2 lines have none; fill .* or on none"),
        ([ALL, "a.png,1,test,,,,,"], ": column 'split' names no train image; name some, or leave the column empty"),
        ([ALL, "a.png,1,val,,,,,"], ": column 'split' names no test image"),
        ([ALL, "a.png,1,,,0,,,"], ", line 2, weight '0': use a number above 0, or leave it empty"),
        ([ALL, "a.png,1,,,-1,,,"], ", line 2, weight '-1'"),
        ([ALL, "a.png,1,,,inf,,,"], ", line 2, weight 'inf'"),
        ([ALL, "a.png,1,,,nan,,,"], ", line 2, weight 'nan'"),
        ([ALL, "a.png,1,,,heavy,,,"], ", line 2, weight 'heavy'"),
        ([HEADER, '"a\rb.png",1'], r", line \d, path 'a\\rb\.png': it holds a carriage return, .*; rename the file"),
        ([ALL, "a.png,1,,,,,m.png,"], r", line 2, mask 'm\.png': no file .*/source/m\.png; correct the path"),
        ([ALL, "a.png,1,,,,,.,"], r", line 2, mask '\.': give the path of a file"),
        ([ALL, "a.png,1,,,,,../up.png,"], r", line 2, mask '\.\./up\.png': it is not below the folder"),
    ],
)  # fmt: skip
def test_table_that_cannot_be_used(tmp_path, lines, message):
    touch(tmp_path, "up.png")
    write_table(tmp_path / "source", *lines)
    with pytest.raises(DataError, match=rf"source/labels\.csv{message}"):
        list_images(tmp_path / "source")


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_table_of_another_encoding(tmp_path, encoding):
    write_table(tmp_path, HEADER, "größe.png,1", encoding=encoding)
    with pytest.raises(DataError, match=r"labels\.csv is not a UTF-8 CSV table .*; save it as 'CSV UTF-8'"):
        list_images(tmp_path)


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_name_of_the_user_must_not_hide_an_empty_label(tmp_path, delimiter):
    write_table(tmp_path, delimiter.join(("path", "label")), f"a.png{delimiter} ")
    with pytest.raises(DataError, match="line 2, label ' '"):
        list_images(tmp_path, classes={"": "defective", " ": "defective"})


def test_a_name_of_the_user_must_not_label_an_image_outside_class_folders(tmp_path):
    touch(tmp_path, "ok/1.png", "ng/2.png", "3.png")
    with pytest.raises(DataError, match=r"the class of '3\.png' \(1\)"):
        list_images(tmp_path, classes={"": "defective"})


# Any folder


def audited(folder, *columns, **options):
    listing = list_any(folder, **options)
    records = checked(listing.records)
    records = records.assign(path=[below(folder, path) for path in records["path"]])
    known = records["defect_probability"].astype(object).where(records["defect_probability"].notna(), None)
    rows = records.assign(defect_probability=known)[["path", "defect_probability", *columns]]
    return listing.layout, list(rows.itertuples(index=False, name=None))


def test_any_folder_without_a_layout(tmp_path):
    touch(tmp_path, "b.png", "Train/a.png", "test/deep/c.JPG", "shift 1/ok/d.png", ".x/e.png", "notes.txt")
    (tmp_path / "test/deep/c.JPG").rename(tmp_path / "exam.JPG")
    assert audited(tmp_path, "split", "defect_type", "mask") == (
        "unlabelled",
        [
            ("Train/a.png", None, "train", "", ""),
            ("b.png", None, "", "", ""),
            ("exam.JPG", None, "", "", ""),
            ("shift 1/ok/d.png", None, "", "", ""),
        ],
    )


@pytest.mark.parametrize(
    ("files", "layout", "records"),
    [
        (
            ["train/ok/1.png", "val/ng/2.png"],
            "unlabelled",
            [("train/ok/1.png", None, "train"), ("val/ng/2.png", None, "train")],
        ),
        (["ok/1.png"], "class_folders", [("ok/1.png", 0.0, "")]),
        (
            ["ok/1.png", "odd/2.png", "3.png", "test/4.png"],
            "class_folders",
            [("3.png", None, ""), ("odd/2.png", None, ""), ("ok/1.png", 0.0, ""), ("test/4.png", None, "")],
        ),
        (
            ["train/ok/1.png", "test/2.png", "test/odd/3.png", "ng/4.png", "5.png"],
            "split_folders",
            [
                ("5.png", None, ""), ("ng/4.png", None, ""), ("test/2.png", None, "test"),
                ("test/odd/3.png", None, "test"), ("train/ok/1.png", 0.0, "train"),
            ],
        ),
        (
            ["train/good/1.png", "train/odd/2.png", "test/dent/3.png", "test/4.png", "ground_truth/x"],
            "mvtec",
            [
                ("test/4.png", None, "test"), ("test/dent/3.png", 1.0, "test"), ("train/good/1.png", 0.0, "train"),
                ("train/odd/2.png", None, "train"),
            ],
        ),
    ],
)  # fmt: skip
def test_any_folder_is_labelled_as_far_as_it_goes(tmp_path, files, layout, records):
    touch(tmp_path, *files)
    assert audited(tmp_path, "split") == (layout, records)


@pytest.mark.parametrize("files", [MVTEC, ["ok/1.png", "ng/2.png"], ["train/ok/1.png", "test/ng/2.png"]])
def test_any_folder_of_a_layout_is_listed_like_a_source(tmp_path, files):
    touch(tmp_path, *files)
    assert list_any(tmp_path).records.equals(list_images(tmp_path))


def test_any_folder_with_its_table_or_another(tmp_path):
    source = tmp_path / "source"
    touch(source, "ok/1.png", "ng/2.png")
    write_table(source, HEADER, "ok/1.png,1")
    write_table(tmp_path, "path;label;split", "ng/2.png;clean;test", name="elsewhere.csv")
    assert audited(source) == ("csv", [("ok/1.png", 1.0)])
    options = {"table": tmp_path / "elsewhere.csv", "classes": {"clean": "non_defective"}}
    assert audited(source, "split", **options) == ("csv", [("ng/2.png", 0.0, "test")])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("absent.csv", r"absent\.csv cannot be read \(No such file or directory\); correct its name"),
        ("", r"cannot be read \(Is a directory\)"),
        ("bad.csv", r"bad\.csv, line 2, label 'x'"),
    ],
)
def test_any_folder_with_a_table_that_cannot_be_used(tmp_path, table, message):
    touch(tmp_path, "ok/1.png")
    write_table(tmp_path, HEADER, "ok/1.png,x", name="bad.csv")
    with pytest.raises(DataError, match=message):
        list_any(tmp_path, tmp_path / table)


def test_any_folder_without_images(tmp_path):
    touch(tmp_path, "ok/notes.txt", ".hidden/1.png")
    with pytest.raises(DataError, match=r"holds no image \(\.png, .*\.webp\); add photographs or correct the path"):
        list_any(tmp_path)


# Groups


def grouped(folder, pattern, block=0, names=("ok/part_007_a.png", "ok/part_008_b.png", "ng/x_12.png")):
    touch(folder, *names)
    records = group_by_name(list_images(folder), folder, pattern, block)
    return {below(folder, path): group for path, group in zip(records["path"], checked(records)["group"], strict=True)}


@pytest.mark.parametrize(
    ("pattern", "block", "groups"),
    [
        ("", 0, ("", "", "")),
        (r"part_\d+", 0, ("part_007", "part_008", "")),
        (r"part_(\d+)", 0, ("007", "008", "")),
        (r"(part|x)_(\d+)", 0, ("part|007", "part|008", "x|12")),
        (r"(part|x)_(?P<number>\d+)", 0, ("007", "008", "12")),
        (r"(?P<a>part|x)_(?P<b>\d+)", 0, ("part|007", "part|008", "x|12")),
        (r"(?:part|x)_\d", 0, ("part_0", "part_0", "x_1")),
        (r"^(\w+)/", 0, ("ok", "ok", "ng")),
        (r"(\d+)(_a)?(_b)?", 0, ("007|_a|", "008||_b", "12||")),
        (r"part_(\d+)|(Z)", 0, ("007|", "008|", "")),
        (r"(lot)?(tray)?", 0, None),
        (r"(\d+)", 5, ("block 1", "block 1", "block 2")),
        (r"(\d+)", 1, ("block 7", "block 8", "block 12")),
        (r"part_(\d+)", 8, ("block 0", "block 1", "")),
        (r"\d+", 100, ("block 0", "block 0", "block 0")),
    ],
)
def test_groups_by_name(tmp_path, pattern, block, groups):
    if groups is None:
        with pytest.raises(DataError, match="matches no image"):
            grouped(tmp_path, pattern, block)
    else:
        expected = dict(zip(("ok/part_007_a.png", "ok/part_008_b.png", "ng/x_12.png"), groups, strict=True))
        assert grouped(tmp_path, pattern, block) == expected


def test_groups_by_name_leave_the_records_alone(tmp_path):
    touch(tmp_path, "ok/1.png", "ng/2.png")
    records = list_images(tmp_path)
    before = records.copy()
    after = group_by_name(records, tmp_path, r"(\d)")
    assert records.equals(before)
    assert after.drop(columns="group").equals(before.drop(columns="group"))


def test_groups_by_name_look_below_the_source_only(tmp_path, monkeypatch):
    touch(tmp_path / "lot 7", "ok/1.png", "ng/lot 8.png")
    monkeypatch.chdir(tmp_path / "lot 7")
    for source in (tmp_path / "lot 7", Path(), "../lot 7"):
        groups = group_by_name(list_images(source), source, r"lot (\d)")["group"]
        assert groups.tolist() == ["8", ""]


def test_groups_of_the_table_stay_where_no_name_matches(tmp_path):
    write_table(tmp_path, "path,label,group", "a_1.png,ok,", "b.png,ng,kept", "c.png,ng,")
    assert group_by_name(list_images(tmp_path), tmp_path, r"_(\d)")["group"].tolist() == ["1", "kept", ""]


@pytest.mark.parametrize(
    ("pattern", "block", "message"),
    [
        (r"lot(\d)", 0, r"data\.group_pattern 'lot\(\\\\d\)' matches no image, for example not '[\w/]+\.png'; correct"),
        (r"(part)_(\d+)", 5, r"data\.group_block = 5 needs numbers, .* finds 'part\|007' in 'ok/part_007_a\.png'; let"),
        (r"_(\w)\.", 5, "finds 'a' in"),
        (r"_([\d_]+)", 5, "finds '007_' in"),
    ],
)  # fmt: skip
def test_groups_that_cannot_be_made(tmp_path, pattern, block, message):
    with pytest.raises(DataError, match=message):
        grouped(tmp_path, pattern, block)


def test_groups_of_table_and_pattern_must_not_compete(tmp_path):
    write_table(tmp_path, "path,label,group", "a_1.png,ok,part 3", "b_2.png,ng,")
    message = (
        r"data\.group_pattern '_.*' matches 'a_1\.png', whose group is stated as 'part 3'; empty the column 'group'"
    )
    with pytest.raises(DataError, match=message):
        group_by_name(list_images(tmp_path), tmp_path, r"_(\d)")


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20, unique=True), st.integers(1, 1000))
@settings(max_examples=40)
def test_blocks_hold_consecutive_numbers(tmp_path_factory, numbers, block):
    source = tmp_path_factory.mktemp("source")
    write_table(source, HEADER, *(f"n{number:07}.png,0" for number in numbers))
    groups = group_by_name(list_images(source), source, r"n(\d+)", block)["group"]
    members = {group: [n for n, g in zip(numbers, groups, strict=True) if g == group] for group in groups}
    assert all(max(group) - min(group) < block for group in members.values())
    assert len(members) == len({number // block for number in numbers})
