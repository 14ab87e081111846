"""Three layouts of a folder of photographs, and every way in which one can be wrong."""

import pytest

from inspection.errors import DataError
from inspection.sources import list_images


def touch(folder, *names):
    """Make empty files: listing reads no pixel."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def write_table(folder, *lines, encoding="utf-8"):
    (folder / "labels.csv").write_bytes("\n".join([*lines, ""]).encode(encoding))


def listed(folder):
    """The records as tuples, paths relative to the folder."""
    records = list_images(folder)
    assert list(records) == ["path", "defect_probability", "split", "stratum"]
    assert records["defect_probability"].dtype == float
    prefix = folder.as_posix() + "/"
    assert all(path.startswith(prefix) for path in records["path"])
    return [(path.removeprefix(prefix), *rest) for path, *rest in records.itertuples(index=False)]


def test_class_folders(tmp_path):
    touch(tmp_path, "defective/b.png", "defective/a.png", "non_defective/c.png")
    assert listed(tmp_path) == [
        ("non_defective/c.png", 0.0, "", ""),
        ("defective/a.png", 1.0, "", ""),
        ("defective/b.png", 1.0, "", ""),
    ]


def test_train_and_test_folders(tmp_path):
    touch(tmp_path, *(f"{s}/{c}/{s}.png" for s in ("test", "train") for c in ("defective", "non_defective")))
    assert listed(tmp_path) == [
        ("train/non_defective/train.png", 0.0, "train", ""),
        ("train/defective/train.png", 1.0, "train", ""),
        ("test/non_defective/test.png", 0.0, "test", ""),
        ("test/defective/test.png", 1.0, "test", ""),
    ]


def test_table(tmp_path):
    write_table(tmp_path, "path,defect_probability", "b.png,0", "deep/a.png,0.3333", "c.png,1")
    assert listed(tmp_path) == [("b.png", 0.0, "", ""), ("deep/a.png", 0.3333, "", ""), ("c.png", 1.0, "", "")]


def test_table_with_strata_and_columns_of_its_own(tmp_path):
    write_table(
        tmp_path,
        "\ufeffstratum,camera,path,defect_probability",
        'mono,1,"a, ""1"".png",1',
        ",2,007,0",
        "12,,部品.png,0.5",
    )
    assert listed(tmp_path) == [('a, "1".png', 1.0, "", "mono"), ("007", 0.0, "", ""), ("部品.png", 0.5, "", "12")]


def test_table_wins_over_folders(tmp_path):
    touch(tmp_path, "defective/a.png", "non_defective/b.png")
    write_table(tmp_path, "path,defect_probability", "defective/a.png,0.25")
    assert listed(tmp_path) == [("defective/a.png", 0.25, "", "")]


@pytest.mark.parametrize(
    "name",
    [
        "part.png", "part.jpg", "part.jpeg", "part.bmp", "part.tif", "part.tiff", "part.webp",
        "PART.PNG", "Part.JpG", "two.dots.tif", "with space.png", "größe.png", "деталь 7.bmp", "部品.webp",
        "(1)#%&'.png", "shift 1/camera/deep/part.png",
    ],
)  # fmt: skip
def test_names_that_are_images(tmp_path, name):
    touch(tmp_path, f"defective/{name}", "non_defective/good.png")
    assert listed(tmp_path)[1:] == [(f"defective/{name}", 1.0, "", "")]


@pytest.mark.parametrize(
    "name",
    [".hidden.png", "._part.png", ".png", "Thumbs.db", "readme.txt", "part.gif", "part.png.txt", "png", "part.svg"],
)
def test_names_that_are_passed_over(tmp_path, name):
    touch(tmp_path, f"defective/{name}", "defective/part.png", "non_defective/good.png")
    assert listed(tmp_path)[1:] == [("defective/part.png", 1.0, "", "")]


def test_a_folder_that_looks_like_an_image_is_searched(tmp_path):
    touch(tmp_path, "defective/odd.png/part.jpg", "non_defective/good.png")
    assert listed(tmp_path)[1:] == [("defective/odd.png/part.jpg", 1.0, "", "")]


def test_symlinks_to_files_and_to_class_folders_are_followed(tmp_path):
    source, elsewhere = tmp_path / "source", tmp_path / "elsewhere"
    touch(elsewhere, "good/1.png", "original.png")
    touch(source, "defective/2.png")
    (source / "non_defective").symlink_to(elsewhere / "good")
    (source / "defective" / "1.png").symlink_to(elsewhere / "original.png")
    (source / "defective" / "dangling.png").symlink_to(elsewhere / "gone.png")
    assert [record[0] for record in listed(source)] == ["non_defective/1.png", "defective/1.png", "defective/2.png"]


def test_source_reached_by_symlink_and_relative_path(tmp_path, monkeypatch):
    touch(tmp_path / "real", "defective/1.png", "non_defective/1.png")
    (tmp_path / "data").symlink_to("real")
    monkeypatch.chdir(tmp_path)
    assert list_images("data")["path"].tolist() == ["data/non_defective/1.png", "data/defective/1.png"]
    assert list_images("./data/")["path"].tolist() == ["data/non_defective/1.png", "data/defective/1.png"]


def test_listing_is_in_sorted_order_whatever_the_disk_says(tmp_path):
    names = [f"{number}.png" for number in (10, 9, 1, 2)]
    touch(tmp_path, *(f"defective/{name}" for name in names), "defective/a/0.png", "non_defective/x.png")
    assert [path for path, *_ in listed(tmp_path)[1:]] == [
        "defective/1.png", "defective/10.png", "defective/2.png", "defective/9.png", "defective/a/0.png",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("files", "folders", "message"),
    [
        ([], [], r"source: no folder 'non_defective' \(found nothing\)\. Known layouts: \{train,test\}/"),
        (["a.png", "b.png"], [], r"source: no folder 'non_defective' \(found a\.png, b\.png\)"),
        (["defective/1.png"], [], r"source: no folder 'non_defective' \(found defective\)"),
        (["non_defective/1.png"], [], r"source: no folder 'defective' \(found non_defective\)"),
        (["Defective/1.png", "Non_Defective/1.png"], [], "no folder 'non_defective'"),
        (["non_defective/1.png", "defective"], [], "no folder 'defective'"),
        (["non_defective/1.png"], ["defective"], r"source/defective holds no image \(\.png, .*\.webp\); add"),
        (["non_defective/1.png", "defective/notes.txt", "defective/.x.png"], [], "source/defective holds no image"),
        (["defective/1.png"], ["non_defective"], "source/non_defective holds no image"),
        (["train/defective/1.png", "train/non_defective/1.png"], [], r"no folder 'non_defective' \(found train\)"),
        (
            ["train/defective/1.png", "train/non_defective/1.png", "test/defective/1.png"],
            [],
            r"source/test: no folder 'non_defective' \(found defective\)",
        ),
        (
            ["train/defective/1.png", "train/non_defective/1.png", "test/defective/1.png"],
            ["test/non_defective"],
            "source/test/non_defective holds no image .* or remove the split",
        ),
    ],
)
def test_layout_that_cannot_be_used(tmp_path, files, folders, message):
    source = tmp_path / "source"
    source.mkdir()
    touch(source, *files)
    for folder in folders:
        (source / folder).mkdir(parents=True)
    with pytest.raises(DataError, match=message):
        list_images(source)


@pytest.mark.parametrize("name", ["absent", "file.png"])
def test_source_that_is_no_folder(tmp_path, name):
    touch(tmp_path, "file.png")
    with pytest.raises(DataError, match=rf"data\.source: no folder '.*{name}'; put the photographs there or correct"):
        list_images(tmp_path / name)


HEADER = "path,defect_probability"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path,probability", "a.png,1"], "column 'defect_probability' is missing; found .'path', 'probability'"),
        (["file,defect_probability", "a.png,1"], "column 'path' is missing; found .'file', 'defect_probability'"),
        (["path;defect_probability", "a.png;1"], "column 'path' is missing; found .'path;defect_probability'"),
        (["Path,Defect_Probability", "a.png,1"], "column 'path' is missing"),
        ([HEADER, "a.png,1", "b.png,1.01"], r"line 3: path 'b\.png' with defect_probability .*1\.01.* 0 to 1"),
        ([HEADER, "a.png,-0.01"], r"line 2: path 'a\.png' with defect_probability .*-0\.01"),
        ([HEADER, "a.png,0", "b.png,"], r"line 3: path 'b\.png' with defect_probability ''; a path"),
        ([HEADER, "a.png,0", "b.png,yes", "c.png,2"], r"line 3: path 'b\.png' with defect_probability 'yes'"),
        ([HEADER, "a.png,inf"], "line 2: .*inf"),
        ([HEADER, "a.png,0", "b.png,0,mono"], "line 3: it has more or fewer fields than the header"),
        ([HEADER, ",1"], "line 2: path ''"),
        ([HEADER, "a.png,1", "b.png,0", "a.png,1"], "line 4: 'a.png' is listed twice, first in line 2; keep one"),
        ([HEADER, "a.png,1", "a.png,0"], "'a.png' is listed twice"),
        ([HEADER, "a.png,1", "./a.png,0"], "'a.png' is listed twice"),
        ([HEADER, "/etc/a.png,1"], "'/etc/a.png' is not below the folder; use relative paths without"),
        ([HEADER, "a.png,1", "deep/../../b.png,1"], r"'deep/\.\./\.\./b\.png' is not below the folder"),
        ([], "column 'path' is missing; found none"),
        ([HEADER, '"a.png,1'], "is not a UTF-8 CSV table"),
    ],
)
def test_table_line_that_cannot_be_used(tmp_path, lines, message):
    write_table(tmp_path, *lines)
    with pytest.raises(DataError, match=rf"labels\.csv.*({message})"):
        list_images(tmp_path)


@pytest.mark.parametrize("line", ["a.png,0,mono", "a.png,0,1", "a.png,0,"])
def test_table_line_with_a_field_too_many(tmp_path, line):
    write_table(tmp_path, HEADER, line)
    with pytest.raises(DataError, match=r"labels\.csv"):
        list_images(tmp_path)


def test_table_line_number_counts_empty_lines(tmp_path):
    write_table(tmp_path, HEADER, "", "a.png,0", "", "b.png,2")
    with pytest.raises(DataError, match=r"line 5: path 'b\.png'"):
        list_images(tmp_path)


def test_hidden_folders_are_passed_over(tmp_path):
    touch(tmp_path, "defective/.thumbnails/part.png", "defective/part.png", "non_defective/good.png")
    assert listed(tmp_path)[1:] == [("defective/part.png", 1.0, "", "")]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_table_of_another_encoding(tmp_path, encoding):
    write_table(tmp_path, HEADER, "größe.png,1", encoding=encoding)
    with pytest.raises(DataError, match=r"labels\.csv is not a UTF-8 CSV table"):
        list_images(tmp_path)
