"""Splits as the data grow, shrink and turn out to hold copies: what was divided stays where it is."""

import hashlib
import shutil
from dataclasses import dataclass, replace

import pandas as pd
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from scipy.cluster.hierarchy import DisjointSet

from inspection.config import DataParams
from inspection.data.groups import first_members, join_groups
from inspection.data.ledger import UNDRAWN, LedgerEntry
from inspection.data.manifest import read_manifest
from inspection.data.splits import Division, divide
from inspection.errors import DataError
from stages.prepare import prepare
from tests.parts import draw_part, write_class_folders
from tests.project import data_params, run_stage_in, tiny_params, write_params


def two_fold_params(**changes) -> DataParams:
    """The project's own params with two folds and some others changed."""
    return data_params(**{"folds": 2, **changes})


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Source:
    """Photographs by number, odd ones defective, and the pairs of them that an audit takes for one series."""

    numbers: tuple[int, ...]
    joined: tuple[tuple[int, int], ...] = ()

    def table(self) -> pd.DataFrame:
        """What the audit gives; a pair of which one is gone joins nothing."""
        place = {number: position for position, number in enumerate(self.numbers)}
        series = DisjointSet(range(len(self.numbers)))
        for one, other in self.joined:
            if one in place and other in place:
                series.merge(place[one], place[other])
        images = pd.DataFrame(
            {
                "path": [f"data/{number:04d}.png" for number in self.numbers],
                "sha256": [sha256(f"file {number}") for number in self.numbers],
                "pixels_sha256": [sha256(f"pixels {number}") for number in self.numbers],
                "label": [number % 2 for number in self.numbers],
                "defect_probability": [float(number % 2) for number in self.numbers],
                "split": "",
                "stratum": "",
                "defect_type": "",
                "group": "",
                "photograph": range(len(self.numbers)),
                "series": first_members(series),
            }
        )
        return images.assign(group=join_groups(images, "together"))

    def groups(self) -> dict[str, frozenset[str]]:
        """The paths of each image's group."""
        images = self.table()
        members = images.groupby("group")["path"].agg(frozenset)
        return dict(zip(images["path"], images["group"].map(members), strict=True))


def places(division: Division) -> dict[str, tuple[str, int]]:
    """Part and fold of each path."""
    kept = division.images
    return dict(zip(kept["path"], zip(kept["split"], kept["fold"], strict=True), strict=True))


def paths_tested(division: Division) -> set[str]:
    return {path for path, (part, _) in places(division).items() if part == "test"}


@st.composite
def changes(draw, source: Source) -> Source:
    """Photographs that come, some of which join others, and photographs that go."""
    newest = max(source.numbers)
    new = range(newest + 1, newest + 1 + draw(st.integers(0, 8)))
    gone = set(draw(st.lists(st.sampled_from(source.numbers), max_size=3)))
    pairs = [(number, draw(st.sampled_from(source.numbers))) for number in new for _ in range(draw(st.integers(0, 2)))]
    kept = [number for number in source.numbers if number not in gone]
    return Source(tuple(draw(st.permutations([*kept, *new]))), source.joined + tuple(pairs))


@given(st.integers(40, 60), st.integers(0, 3), st.sampled_from([0.25, 0.5]), st.data())
@settings(max_examples=40)
def test_only_groups_that_change_may_move_and_test_images_stay(n_images, seed, test_share, data):
    params = two_fold_params(test_share=test_share)
    source, entry, ever = Source(tuple(range(n_images))), UNDRAWN, set()
    before: dict[str, tuple] = {}
    for _ in range(4):
        try:
            division = divide(source.table(), params, seed, entry)
        except DataError:
            event("too few are left")
            return
        now, groups = places(division), source.groups()
        assert division.images.groupby("group")[["split", "fold"]].nunique().max(axis=None) == 1
        assert {path for path in set(now) & ever if now[path] != ("test", -1)} == set(), "once test, always test"
        same = {path for path in set(now) & set(before) if before[path] == (groups[path], now[path])}
        changed = {path for path in set(now) & set(before) if before[path][0] != groups[path]}
        assert same | changed == set(now) & set(before), "a group that is the same stays where it is"
        joined = {path for path in set(now) - ever if groups[path] & ever}
        assert len(division.notices) == bool(joined)
        ever |= paths_tested(division)
        before, entry = {path: (groups[path], now[path]) for path in now}, division.entry
        source = data.draw(changes(source))


@given(st.integers(40, 80), st.integers(0, 3), st.data())
@settings(max_examples=20)
def test_a_division_repeats_itself_in_any_order(n_images, seed, data):
    source = data.draw(changes(Source(tuple(range(n_images)))))
    first = divide(source.table(), two_fold_params(), seed)
    shuffled = replace(source, numbers=tuple(data.draw(st.permutations(source.numbers))))
    again = divide(shuffled.table(), two_fold_params(), seed, first.entry)
    assert places(again) == places(first)
    assert again.entry == first.entry
    # Without its memory too, as long as nothing changes.
    assert places(divide(shuffled.table(), two_fold_params(), seed)) == places(first)


@pytest.mark.parametrize(("n_new", "gone"), [(10, ()), (0, (7,)), (30, (7, 8))], ids=["added", "removed", "both"])
def test_growth_moves_nothing(n_new, gone):
    first = divide(Source(tuple(range(600))).table(), two_fold_params(), 0)
    grown = Source(tuple(number for number in range(600 + n_new) if number not in gone))
    after = places(divide(grown.table(), two_fold_params(), 0, first.entry))
    old = {path: place for path, place in places(first).items() if path in after}
    assert len(old) == 600 - len(gone)
    assert {path: after[path] for path in old} == old
    new_test = [path for path in after if path not in old and after[path][0] == "test"]
    assert (len(new_test) > 0) == (n_new > 0), "what is new is divided too"


# The memory of the test part


@pytest.fixture
def first() -> Division:
    return divide(Source(tuple(range(200))).table(), two_fold_params(), 0)


def one_of_each(division: Division) -> tuple[int, int]:
    """A test image and a training image of the same class, by number."""
    kept = division.images[division.images["label"] == 0]
    numbers = kept["path"].str[5:9].astype(int)
    return int(numbers[kept["split"] == "test"].iloc[0]), int(numbers[kept["split"] == "train"].iloc[0])


def test_a_copy_that_joins_a_test_group_to_a_training_group_makes_both_test(first):
    test, train = one_of_each(first)
    grown = Source(tuple(range(201)), ((test, 200), (200, train)))
    division = divide(grown.table(), two_fold_params(), 0, first.entry)
    joined = [f"data/{number:04d}.png" for number in sorted((train, 200))]
    assert paths_tested(division) == paths_tested(first) | set(joined)
    assert division.notices == (
        "2 images in 1 groups join the test part, because copies of them or images of their group were test images "
        f"before, for example {joined[0]}.",
    )
    # Later the copy is deleted: the training image that was a test image for a while stays one.
    later = divide(Source(tuple(range(200))).table(), two_fold_params(), 0, division.entry)
    assert paths_tested(later) == paths_tested(first) | {f"data/{train:04d}.png"}
    assert later.notices == ()
    assert later.images.loc[later.images["kept_in_test"], "path"].tolist() == [f"data/{train:04d}.png"]


@pytest.mark.parametrize("column", ["sha256", "pixels_sha256"])
def test_test_images_are_known_by_their_file_and_by_their_pixels(first, column):
    # Another decoder changes the pixels; another format, or metadata, the file.
    table = Source(tuple(range(200))).table()
    table[column] = [sha256(f"changed {number}") for number in range(200)]
    table["group"] = join_groups(table.assign(group=""), "together")
    division = divide(table, two_fold_params(), 0, first.entry)
    assert paths_tested(division) >= paths_tested(first)
    if column == "pixels_sha256":
        assert paths_tested(division) == paths_tested(first)
    else:
        # Files of other names by hash are drawn anew, but none of the test part is lost to the training part.
        assert division.images["kept_in_test"].sum() > 0


def test_a_copy_in_a_group_that_the_source_states_moves_nothing():
    table = Source(tuple(range(200))).table()
    stated = table.assign(group=[f"part {number // 2}" for number in range(200)])
    first = divide(stated.assign(group=join_groups(stated, "together")), two_fold_params(), 0)
    grown = Source(tuple(range(240))).table()
    # A third photograph of each of the first 40 parts.
    grown["group"] = [f"part {number // 2 if number < 200 else number - 200}" for number in range(240)]
    division = divide(grown.assign(group=join_groups(grown, "together")), two_fold_params(), 0, first.entry)
    after = places(division)
    assert {path: after[path] for path in places(first)} == places(first)


def test_contradicting_copies_leave_and_come_back_as_test_images(first):
    test, _ = one_of_each(first)
    table = Source(tuple(range(201))).table()
    path = f"data/{test:04d}.png"
    # 200 is a copy of the test image, and called defective.
    copies = table.assign(
        photograph=[test if number == 200 else number for number in range(201)],
        series=[test if number == 200 else number for number in range(201)],
        label=[1 if number == 200 else number % 2 for number in range(201)],
        group="",
    )
    division = divide(copies.assign(group=join_groups(copies, "together")), two_fold_params(), 0, first.entry)
    assert set(division.left_out["path"]) == {path, "data/0200.png"}
    assert paths_tested(division) == paths_tested(first) - {path}
    # The label is corrected.
    mended = copies.assign(label=[0 if number == 200 else number % 2 for number in range(201)])
    after = divide(mended.assign(group=join_groups(mended, "together")), two_fold_params(), 0, division.entry)
    assert paths_tested(after) == paths_tested(first) | {"data/0200.png"}


def test_a_photograph_left_out_beside_a_test_image_is_remembered_with_it(first):
    test, _ = one_of_each(first)
    table = Source(tuple(range(202)), ((test, 200), (200, 201))).table()
    # 200 and 201 are copies with both labels, and of one series with a test image.
    copies = table.assign(photograph=[*range(201), 200])
    division = divide(copies, two_fold_params(), 0, first.entry)
    assert set(division.left_out["path"]) == {"data/0200.png", "data/0201.png"}
    # The test image is deleted and the label corrected: 201 is what was seen in the test part.
    rest = Source(tuple(number for number in range(202) if number not in (test, 200)))
    after = divide(rest.table(), two_fold_params(), 0, division.entry)
    assert "data/0201.png" in paths_tested(after)


# Supplied splits


def supplied(numbers, test) -> pd.DataFrame:
    table = Source(tuple(numbers)).table()
    return table.assign(split=["test" if number in test else "train" for number in numbers])


def test_supplied_splits_stay_and_only_their_folds_are_drawn():
    first = divide(supplied(range(100), range(80, 100)), two_fold_params(folds=4), 0)
    assert paths_tested(first) == {f"data/{number:04d}.png" for number in range(80, 100)}
    grown = divide(supplied(range(120), range(80, 100)), two_fold_params(folds=4), 0, first.entry)
    assert paths_tested(grown) == paths_tested(first)
    assert {path: places(grown)[path] for path in places(first)} == places(first)
    assert (first.origin, first.notices, first.images["kept_in_test"].any()) == ("supplied", (), False)


def test_a_supplied_split_that_moves_test_images_is_followed_and_says_so():
    first = divide(supplied(range(100), range(80, 100)), two_fold_params(), 0)
    moved = divide(supplied(range(100), range(60, 80)), two_fold_params(), 0, first.entry)
    assert paths_tested(moved) == {f"data/{number:04d}.png" for number in range(60, 80)}
    assert moved.notices == (
        "20 images that were test images before are training images by the split that the source brings now, for "
        "example data/0080.png.",
    )


def test_a_supplied_split_that_begins_to_leak_keeps_its_test_images():
    first = divide(supplied(range(100), range(80, 100)), two_fold_params(), 0)
    leaking = supplied(range(101), range(80, 100))
    leaking["series"] = [80 if number == 100 else number for number in range(101)]
    leaking["group"] = join_groups(leaking.assign(group=""), "together")
    division = divide(leaking, two_fold_params(), 0, first.entry)
    assert division.origin == "redrawn"
    assert paths_tested(division) >= {f"data/{number:04d}.png" for number in (*range(80, 100), 100)}


# When nothing may move although something should


def test_a_fold_that_lost_its_good_parts_says_so_and_moves_nothing():
    first = divide(Source(tuple(range(40))).table(), two_fold_params(), 0)
    kept = first.images
    lost = kept[(kept["fold"] == 0) & (kept["label"] == 0)]["path"].str[5:9].astype(int)
    rest = Source(tuple(number for number in range(40) if number not in set(lost)))
    with pytest.raises(DataError, match=r"^Fold 0 of 2 holds no non_defective image any more.*set another data\.folds"):
        divide(rest.table(), two_fold_params(), 0, first.entry)
    # The way out: other folds, the same test part.
    assert paths_tested(divide(rest.table(), two_fold_params(folds=3), 0, first.entry)) == paths_tested(first)


def test_another_number_of_folds_moves_no_test_image_and_can_be_taken_back(first):
    other = divide(Source(tuple(range(200))).table(), two_fold_params(folds=5), 0, first.entry)
    assert paths_tested(other) == paths_tested(first)
    assert places(divide(Source(tuple(range(200))).table(), two_fold_params(), 0, other.entry)) == places(first)


def test_what_is_remembered_is_what_was_tested(first):
    shas = {sha256(f"file {int(path[5:9])}")[:12] for path in paths_tested(first)}
    assert {fingerprint.split()[0] for fingerprint in first.entry.test} == shas
    assert isinstance(first.entry, LedgerEntry)


# The stage


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Sixteen photographs of each class, divided once. Not to be changed."""
    folder = tmp_path_factory.mktemp("prepared")
    write_class_folders(folder / "data/raw", 16)
    write_params(folder, tiny_params())
    run_stage_in(folder, prepare)
    return folder


@pytest.fixture
def project(prepared, tmp_path):
    """A copy of `prepared` to be changed."""
    return shutil.copytree(prepared, tmp_path / "project")


def bytes_written(folder) -> dict[str, bytes]:
    names = ("data/split.json", "data/manifest.csv", "data/audit.json", "metrics/data.json")
    return {name: (folder / name).read_bytes() for name in names}


def test_a_folder_that_grows_keeps_its_split(project, capsys):
    before = read_manifest(project / "data/manifest.csv").set_index("path")
    first = bytes_written(project)
    run_stage_in(project, prepare)
    assert bytes_written(project) == first, "the memory that the first run wrote changes nothing in the second"
    # New parts, one gone, and a brighter copy of a test image.
    for seed in range(500, 510):
        name = f"{('non_defective', 'defective')[seed % 2]}/{seed}.png"
        draw_part(seed, seed % 2 == 1).save(project / "data/raw" / name)
    test, train = (before.index[before["split"] == part][0] for part in ("test", "train"))
    (project / train).unlink()
    copy = (project / test).with_name("copy.png")
    brighten(project / test, copy)
    capsys.readouterr()
    run_stage_in(project, prepare)
    after = read_manifest(project / "data/manifest.csv").set_index("path")
    kept = before.drop(train)
    assert len(after) == 42
    pd.testing.assert_frame_equal(after.loc[kept.index, ["split", "fold"]], kept[["split", "fold"]])
    assert after["split"][copy.relative_to(project).as_posix()] == "test"
    (notice,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("NOTICE: ")]
    assert notice.startswith("NOTICE: 1 images in 1 groups join the test part")
    assert f"for example {copy.relative_to(project).as_posix()}." in notice
    second = bytes_written(project)
    run_stage_in(project, prepare)
    assert bytes_written(project) == second


def brighten(photograph, copy) -> None:
    """Write what an export with a little more light makes of a photograph."""
    with Image.open(photograph) as image:
        ImageEnhance.Brightness(image).enhance(1.1).save(copy)


def test_a_damaged_ledger_stops_the_stage_before_work_is_wasted(project):
    (project / "data/split.json").write_text("<<<<<<< HEAD\n", encoding="utf-8")
    before = bytes_written(project)
    with pytest.raises(DataError, match=r"^data/split\.json is damaged .*`git checkout -- data/split\.json`"):
        run_stage_in(project, prepare)
    assert bytes_written(project) == before


def test_another_seed_is_another_split_and_the_first_is_remembered(project):
    first = bytes_written(project)
    write_params(project, tiny_params() | {"seed": 1})
    run_stage_in(project, prepare)
    assert bytes_written(project)["data/manifest.csv"] != first["data/manifest.csv"]
    write_params(project, tiny_params())
    run_stage_in(project, prepare)
    assert bytes_written(project)["data/manifest.csv"] == first["data/manifest.csv"]
    assert bytes_written(project)["metrics/data.json"] == first["metrics/data.json"]
