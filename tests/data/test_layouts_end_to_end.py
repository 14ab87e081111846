"""The prepare stage over every layout of a source: what the manifest and the metrics say about real-looking folders."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter

from inspection.__main__ import results_table
from inspection.data.manifest import COLUMNS, read_manifest
from inspection.decision.inspector import Inspector
from inspection.errors import DataError
from stages import prepare
from tests.parts import disguised, draw_part
from tests.project import run_stage_in, run_stages_in, share_backbones, tiny_params, write_params

OK, NG = 0, 1
"""Labels, short for the tables below."""


class Project:
    """A folder with params and photographs of its own, in ``data/raw``."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.raw = folder / "data" / "raw"
        self._n_drawn = 0

    def draw(self, names, label: int, size: int = 64) -> None:
        """Write a part of its own under every name below ``data/raw``."""
        for name in names:
            self._n_drawn += 1
            (self.raw / name).parent.mkdir(parents=True, exist_ok=True)
            draw_part(self._n_drawn, label == NG, size).save(self.raw / name)

    def write(self, name: str, content: str | bytes) -> None:
        """Write a file below ``data/raw``."""
        (self.raw / name).parent.mkdir(parents=True, exist_ok=True)
        (self.raw / name).write_bytes(content.encode() if isinstance(content, str) else content)

    def prepare(self, **data) -> "Prepared":
        """Run the stage with these keys of ``data``."""
        write_params(self.folder, params_with(**data))
        run_stage_in(self.folder, prepare.prepare)
        return Prepared(
            read_manifest(self.folder / "data" / "manifest.csv"),
            json.loads((self.folder / "metrics" / "data.json").read_text(encoding="utf-8")),
            json.loads((self.folder / "data" / "audit.json").read_text(encoding="utf-8")),
        )


@dataclass(frozen=True)
class Prepared:
    """What the stage wrote."""

    manifest: pd.DataFrame
    metrics: dict
    audit: dict

    def rows(self, part: str) -> pd.DataFrame:
        """The manifest's rows whose path contains ``part``."""
        found = self.manifest[self.manifest["path"].str.contains(part, regex=False)]
        assert len(found), f"no path with {part!r}"
        return found

    def row(self, name: str) -> pd.Series:
        """The manifest's row of a file below ``data/raw``."""
        (row,) = self.manifest[self.manifest["path"] == f"data/raw/{name}"].iloc
        return row


def params_with(**data) -> dict:
    params = tiny_params()
    params["data"] |= {"folds": 2, **data}
    return params


def numbered(pattern: str, number: int) -> list[str]:
    return [pattern.format(index) for index in range(number)]


def assert_no_group_straddles(manifest: pd.DataFrame) -> None:
    places = manifest.groupby("group")[["split", "fold"]].nunique()
    assert (places == 1).all(axis=None), places[(places > 1).any(axis=1)]


def the_notice(printed: str) -> str:
    """Return the one line that says why the split is not simply the supplied one."""
    (notice,) = [line for line in printed.splitlines() if line.startswith("NOTICE: ")]
    return notice


@pytest.fixture
def project(tmp_path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def split_project(project) -> Project:
    """A supplied split of six and four different parts of each class, large enough for copies to be recognised."""
    for label, name in ((OK, "ok"), (NG, "ng")):
        project.draw(numbered(f"train/{name}/{{}}.png", 6), label, size=320)
        project.draw(numbered(f"test/{name}/{{}}.png", 4), label, size=320)
    return project


# Layouts


def test_split_folders_keep_their_split(project, capsys):
    project.draw(numbered("Train/OK/{}.png", 4), OK)
    project.draw(["Train/N.G/a.bmp", "Train/N.G/b.jpg", "Train/ng/line 2/week 31/c.TIF", "Train/ng/d.jpeg"], NG)
    project.draw(["validation/good/v 0.png", "validation/good/v 1.PNG"], OK)
    project.draw(["validation/bad/欠陥 一.png", "validation/bad/Ausschuß.webp"], NG)
    project.draw(numbered("Test/In Ordnung/{}.png", 3), OK)
    project.draw(numbered("Test/nicht_in_ordnung/{}.png", 3), NG)
    prepared = project.prepare(classes={"N.G": "defective"})
    manifest, metrics = prepared.manifest, prepared.metrics
    assert manifest["path"].tolist() == sorted(manifest["path"])
    assert dict(manifest.groupby(["split", "label"]).size()) == {
        ("train", OK): 6,
        ("train", NG): 6,
        ("test", OK): 3,
        ("test", NG): 3,
    }
    assert manifest["split"].tolist() == manifest["supplied_split"].tolist()
    assert (prepared.rows("/validation/")["split"] == "train").all()
    assert (prepared.rows("/Test/")["fold"] == -1).all()
    assert set(prepared.rows("/Train/")["fold"]) == {0, 1}
    assert prepared.row("Train/ng/line 2/week 31/c.TIF")["label"] == NG
    assert prepared.row("validation/bad/欠陥 一.png")["label"] == NG
    # Between names that are common and one that params.yaml explains, only the latter says what is wrong.
    assert prepared.row("Train/N.G/a.bmp")["defect_type"] == "N.G"
    assert set(manifest["defect_type"]) == {"", "N.G"}
    assert (metrics["split"], metrics["n_leaking_test_images"], metrics["left_out"]) == ("supplied", 0, [])
    assert prepared.audit["layout"] == "split_folders"
    assert prepared.audit["classes"] == {
        "test": {"defective": 3, "non_defective": 3},
        "train": {"defective": 6, "non_defective": 6},
    }
    assert "NOTICE" not in capsys.readouterr().out


def test_class_folders_are_divided_and_explained_by_params(project):
    project.draw(numbered("良品/{}.png", 4), OK)
    project.draw(numbered("ok/shift 1/station B/{}.JPG", 8), OK)
    project.draw(numbered("Kratzer tief/{}.png", 8), NG)
    project.draw(numbered("crack/{}.PnG", 4), NG)
    with pytest.raises(
        DataError, match=r"does not tell the class of 'Kratzer tief' \(8\), 'crack' \(4\), '良品' \(4\)"
    ):
        project.prepare()
    classes = {"良品": "non_defective", "kratzer_TIEF": "defective", "crack": "defective"}
    prepared = project.prepare(classes=classes)
    assert dict(prepared.manifest.groupby(["split", "label"]).size()) == {
        ("train", OK): 9,
        ("train", NG): 9,
        ("test", OK): 3,
        ("test", NG): 3,
    }
    assert set(prepared.manifest["supplied_split"]) == {""}
    types = prepared.manifest.groupby(["label", "defect_type"]).size()
    assert dict(types) == {(OK, ""): 12, (NG, "Kratzer tief"): 8, (NG, "crack"): 4}
    # Types are balanced over the split: two thirds of the defective parts are scratched.
    tested = prepared.manifest[(prepared.manifest["split"] == "test") & (prepared.manifest["label"] == NG)]
    assert sorted(tested["defect_type"]) == ["Kratzer tief", "Kratzer tief", "crack"]
    assert prepared.metrics["split"] == "drawn"
    assert prepared.metrics["n_photographs"] == prepared.metrics["n_images"] == 24


@pytest.mark.parametrize("supplied_split", ["use", "redraw"])
def test_mvtec_without_defects_in_training(project, capsys, supplied_split):
    project.draw(numbered("train/good/{:03}.png", 8), OK)
    project.draw(numbered("test/good/{:03}.png", 4), OK)
    for kind in ("scratch", "bad"):
        project.draw(numbered(f"test/{kind}/{{:03}}.png", 4), NG)
        project.draw(numbered(f"ground_truth/{kind}/{{:03}}_mask.png", 3), OK)
    prepared = project.prepare(supplied_split=supplied_split)
    notice = the_notice(capsys.readouterr().out)
    manifest = prepared.manifest
    assert len(manifest) == 20, "masks are no photographs"
    sizes = dict(manifest.groupby(["split", "label"]).size())
    if supplied_split == "use":
        assert "The training part holds no defect: only detectors learn" in notice
        assert sizes == {("train", OK): 8, ("test", OK): 4, ("test", NG): 8}
    else:
        assert "data.supplied_split is redraw; the split is redrawn" in notice
        assert sizes == {("train", OK): 9, ("train", NG): 6, ("test", OK): 3, ("test", NG): 2}
    assert prepared.metrics["split"] == {"use": "supplied", "redraw": "redrawn"}[supplied_split]
    assert (prepared.rows("/train/")["supplied_split"] == "train").all()
    assert (prepared.rows("/test/")["supplied_split"] == "test").all()
    for kind in ("scratch", "bad"):
        rows = prepared.rows(f"/{kind}/")
        assert set(rows["defect_type"]) == {kind}, "also a name that is common elsewhere"
        masks = [f"data/raw/ground_truth/{kind}/00{index}_mask.png" for index in range(3)]
        assert rows["mask"].tolist() == [*masks, ""]
    assert set(prepared.rows("/good/")["mask"]) == set(prepared.rows("/good/")["defect_type"]) == {""}
    # Training without a defect leaves nothing to remember: the supplied split has no score.
    assert prepared.metrics["memory"]["supplied"] is None


def test_table_with_every_column(project, capsys):
    project.draw(["photos/mask of 4.png"], OK)
    lines = ["path;label;split;group;weight;defect_type;stratum;mask;remark"]
    for index in range(20):
        label = ("non_defective", "0,25", "Kratzer", "defective")[index % 4]
        split = "test" if index >= 12 else "train"
        is_masked = index in (3, 7)
        fields = {"group": f"part {index // 2}" if index < 8 else "", "weight": "2,5" if index == 1 else ""}
        mask = "photos\\mask of 4.png" if is_masked else ""
        kind = "Riss" if index == 3 else ""
        row = [f"photos\\{index:02}.png", label, split, *fields.values(), kind, "ABC"[index % 3], mask, "looked at"]
        lines.append(";".join(row))
        project.draw([f"photos/{index:02}.png"], index % 4 > 1)
    project.write("labels.csv", "\ufeff" + "\r\n".join(lines))
    prepared = project.prepare(classes={"kratzer": "defective"}, uncertain_weight=0.5)
    manifest = prepared.manifest
    assert manifest["path"].tolist() == [f"data/raw/photos/{index:02}.png" for index in range(20)]
    assert manifest["label"].tolist() == [OK, OK, NG, NG] * 5
    assert manifest["defect_probability"].tolist() == [0, 0.25, 1, 1] * 5
    assert manifest["split"].tolist() == ["train"] * 12 + ["test"] * 8
    # The stated weight and that of an uncertain label multiply.
    assert manifest["weight"].tolist() == [1, 1.25, 1, 1] + [1, 0.5, 1, 1] * 4
    assert manifest["defect_type"].tolist() == ["", "", "Kratzer", "Riss"] + ["", "", "Kratzer", ""] * 4
    assert manifest["stratum"].tolist() == ["ABC"[index % 3] for index in range(20)]
    masked = "data/raw/photos/mask of 4.png"
    assert manifest["mask"].tolist() == [masked if index in (3, 7) else "" for index in range(20)]
    assert manifest["stated_group"].tolist() == [f"part {index // 2}" for index in range(8)] + [""] * 12
    assert manifest["group"][:8:2].tolist() == manifest["group"][1:8:2].tolist()
    assert manifest["group"].nunique() == prepared.metrics["n_groups"] == 16
    assert_no_group_straddles(manifest)
    assert (prepared.metrics["split"], prepared.metrics["n_leaking_test_images"]) == ("supplied", 0)
    assert "NOTICE" not in capsys.readouterr().out


def test_table_whose_groups_straddle_its_split_is_divided_anew(project, capsys):
    lines = ["path,label,split,group"]
    for index in range(24):
        lines.append(f"{index}.png,{'ng' if index % 2 else 'ok'},{'test' if index % 3 == 0 else 'train'},{index // 3}")
        project.draw([f"{index}.png"], index % 2)
    project.write("labels.csv", "\n".join(lines))
    prepared = project.prepare()
    assert prepared.metrics["split"] == "redrawn"
    assert prepared.metrics["n_leaks"] == 0, "no photograph is on both sides, only its group"
    assert prepared.metrics["n_groups"] == 8
    assert_no_group_straddles(prepared.manifest)
    assert prepared.manifest.groupby("stated_group")["split"].nunique().max() == 1
    notice = the_notice(capsys.readouterr().out)
    assert "8 of its test images are copies of training images or belong to one group with them" in notice


def test_a_layout_can_be_forced(project):
    for part, number in (("train", 4), ("test", 3)):
        project.draw(numbered(f"{part}/good/{{}}.png", number), OK)
        project.draw(numbered(f"{part}/scratch/{{}}.png", number), NG)
    project.draw(numbered("ground_truth/scratch/{}_mask.png", 3), OK)
    project.write("labels.csv", "path,label\ntrain/good/0.png,ok\n")
    prepared = project.prepare(layout="mvtec", classes={"scratch": "defective"})
    assert len(prepared.manifest) == 14
    assert (prepared.rows("/test/scratch/")["mask"] != "").all()
    assert prepared.audit["layout"] == "mvtec"
    prepared = project.prepare(layout="split_folders", classes={"scratch": "defective"})
    assert len(prepared.manifest) == 14
    assert set(prepared.manifest["mask"]) == {""}
    with pytest.raises(DataError, match="data.layout class_folders needs images in class folders"):
        project.prepare(layout="class_folders")


def test_links_are_followed_but_not_in_circles(project, tmp_path):
    project.draw(numbered("ok/{}.png", 8), OK)
    archive = tmp_path / "archive of 2024"
    archive.mkdir()
    for index in range(8):
        draw_part(500 + index, is_defective=True).save(archive / f"{index}.png")
    (project.raw / "ng").symlink_to(archive, target_is_directory=True)
    (project.raw / "ok" / "linked.png").symlink_to(tmp_path / "one more.png")
    draw_part(600, is_defective=False).save(tmp_path / "one more.png")
    (project.raw / "ok" / "round").symlink_to(project.raw, target_is_directory=True)
    (project.raw / "ok" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    prepared = project.prepare()
    assert dict(prepared.manifest["label"].value_counts()) == {OK: 9, NG: 8}
    assert prepared.row("ok/linked.png")["label"] == OK
    assert prepared.rows("/ng/")["path"].tolist() == [f"data/raw/ng/{index}.png" for index in range(8)]


@pytest.mark.parametrize("spelling", ["data/raw/", "./data//raw", "{folder}/data/raw"])
def test_other_spellings_of_the_source(project, spelling):
    project.draw(numbered("ok/{}.png", 8), OK)
    project.draw(numbered("ng/{}.png", 8), NG)
    prepared = project.prepare(source=spelling.format(folder=project.folder))
    before = f"{project.folder.as_posix()}/data/raw" if "{" in spelling else "data/raw"
    assert prepared.manifest["path"][0] == f"{before}/ng/0.png"
    assert prepared.audit["images"] == 16


# What is left out


def test_an_unreadable_image_is_listed_with_its_reason(project):
    project.draw(numbered("ok/{}.png", 9), OK)
    project.draw(numbered("ng/{}.png", 9), NG)
    project.write("ok/broken part.png", b"no image")
    # Cut short, so that its header is fine and its pixels are not.
    project.write("ng/cut.PNG", (project.raw / "ng" / "0.png").read_bytes()[:1000])
    reasons = {
        "data/raw/ng/cut.PNG": "data/raw/ng/cut.PNG: damaged or incomplete image file",
        "data/raw/ok/broken part.png": "data/raw/ok/broken part.png: not a PNG",
    }
    prepared = project.prepare(max_unreadable_share=0.1)
    assert len(prepared.manifest) == prepared.metrics["n_images"] == 18
    assert prepared.metrics["n_unreadable"] == prepared.metrics["n_left_out"] == 2
    assert [file["path"] for file in prepared.metrics["left_out"]] == list(reasons)
    assert [file["path"] for file in prepared.audit["unreadable"]] == ["ng/cut.PNG", "ok/broken part.png"]
    for file in prepared.metrics["left_out"]:
        assert file["reason"].startswith(reasons[file["path"]])
    with pytest.raises(DataError, match=r"2 of 20 images cannot be read, more than data\.max_unreadable_share = 0\.09"):
        project.prepare(max_unreadable_share=0.09)


def test_a_photograph_under_both_labels_is_left_out(project):
    project.draw(numbered("ok/{}.png", 9), OK)
    project.draw(numbered("ng/{}.png", 9), NG)
    project.write("ok/the same.png", (project.raw / "ng" / "4.png").read_bytes())
    prepared = project.prepare()
    reason = "copies of this photograph carry both labels"
    assert prepared.metrics["left_out"] == [
        {"path": f"data/raw/{name}", "reason": reason} for name in ("ng/4.png", "ok/the same.png")
    ]
    assert prepared.metrics["n_conflicts"] == 1
    assert prepared.audit["conflicts"] == [["ok/the same.png", "ng/4.png"]]
    assert len(prepared.manifest) == 17


# Groups


def test_copies_stay_together_in_a_drawn_split(project):
    for name, label in (("ok", OK), ("ng", NG)):
        project.draw(numbered(f"{name}/{{}}.png", 5), label, size=320)
        for index in range(5):
            original = Image.open(project.raw / name / f"{index}.png")
            project.write(f"{name}/copy of {index}.jpg", disguised(original, angle=30 if label == NG else 90))
    prepared = project.prepare(test_share=0.4)
    assert prepared.metrics["n_photographs"] == prepared.metrics["n_photographs_with_copies"] == 10
    assert prepared.metrics["n_groups"] == 10
    assert [len(members) for members in prepared.audit["groups"]] == [2] * 10
    assert_no_group_straddles(prepared.manifest)
    assert prepared.metrics["n_leaking_test_images"] == 0
    assert prepared.metrics["n_test"] == 8


def draw_shots(seed: int, number: int) -> list[Image.Image]:
    """Several photographs of one rough surface, each with noise of its own."""
    random = np.random.default_rng(seed)
    rough = Image.fromarray(random.integers(0, 256, (64, 64), dtype=np.uint8)).filter(ImageFilter.GaussianBlur(2))
    surface = np.asarray(rough, float) - np.mean(rough)
    surface *= 40 / surface.std()
    shots = [128 + surface + random.normal(0, 3, surface.shape) for _ in range(number)]
    return [Image.fromarray(np.clip(shot, 0, 255).astype(np.uint8)) for shot in shots]


@pytest.mark.parametrize(("series", "n_groups"), [("together", 12), ("apart", 36)])
def test_series_of_one_part_stay_together_unless_told_otherwise(project, series, n_groups):
    for seed in range(12):
        folder = project.raw / ("ng" if seed % 2 else "ok")
        folder.mkdir(parents=True, exist_ok=True)
        for index, shot in enumerate(draw_shots(seed, 3)):
            shot.save(folder / f"part {seed} shot {index}.png")
    prepared = project.prepare(series=series)
    assert prepared.metrics["n_series"] == 12
    assert prepared.metrics["n_photographs"] == 36, "a series is no copy"
    assert prepared.manifest["group"].nunique() == prepared.metrics["n_groups"] == n_groups
    by_part = prepared.manifest["path"].str.extract(r"part (\d+)")[0]
    straddling = prepared.manifest.groupby(by_part)["split"].nunique() > 1
    assert straddling.any() == (series == "apart")


def test_group_pattern_with_blocks(project):
    project.draw(numbered("ok/line A/part_{:04}_ok.png", 24), OK)
    project.draw([f"ng/line B/part_{index:04}_ng.png" for index in range(24)], NG)
    prepared = project.prepare(group_pattern=r"part_(\d+)", group_block=4)
    numbers = prepared.manifest["path"].str.extract(r"part_(\d+)")[0].astype(int)
    assert prepared.manifest["stated_group"].tolist() == [f"block {number // 4}" for number in numbers]
    # Parts 0 to 3 of both classes are one group, and so on.
    assert prepared.manifest["group"].nunique() == 6
    assert prepared.manifest.groupby("stated_group")["group"].nunique().max() == 1
    assert_no_group_straddles(prepared.manifest)
    assert prepared.metrics["n_groups"] == 6
    with pytest.raises(DataError, match="data.group_block = 4 needs numbers"):
        project.prepare(group_pattern="line ([AB])", group_block=4)
    with pytest.raises(DataError, match="matches no image"):
        project.prepare(group_pattern="lot ([0-9]+)")


# Leaks


@pytest.fixture
def leaking(split_project) -> Project:
    """A test image disguised as a training image, and a file that stands in both parts."""
    image = Image.open(split_project.raw / "test" / "ng" / "1.png")
    split_project.write("train/ng/export 1.jpg", disguised(image))
    split_project.write("train/ok/twin.png", (split_project.raw / "test" / "ok" / "2.png").read_bytes())
    return split_project


LEAKS = [["test/ng/1.png", "train/ng/export 1.jpg"], ["test/ok/2.png", "train/ok/twin.png"]]
TWINS = ["data/raw/train/ng/export 1.jpg", "data/raw/train/ok/twin.png"]


def assert_tells_of_leaks(prepared: Prepared, printed: str, leaks: str, split: str) -> None:
    """The audit finds the leaks of the source whatever is done about them."""
    notice = the_notice(printed)
    assert "2 of its test images are copies of training images" in notice
    for words in ("for example data/raw/test/ng/1.png", f"data.leaks = {leaks}", f"the split is {split}"):
        assert words in notice
    assert prepared.audit["leaks"] == LEAKS
    assert prepared.audit["n_leaks"] == prepared.metrics["n_leaks"] == 2
    assert prepared.metrics["split"] == split
    assert prepared.metrics["n_photographs_with_copies"] == 2
    assert set(prepared.metrics["memory"]) == {"supplied", "honest"}


def test_leaks_regroup(leaking, capsys):
    prepared = leaking.prepare(leaks="regroup")
    assert_tells_of_leaks(prepared, capsys.readouterr().out, "regroup", "redrawn")
    assert prepared.metrics["n_leaking_test_images"] == 0
    assert prepared.metrics["left_out"] == []
    assert len(prepared.manifest) == 22
    assert_no_group_straddles(prepared.manifest)
    assert (prepared.manifest["split"] != prepared.manifest["supplied_split"]).any()
    for one, other in LEAKS:
        assert prepared.row(one)["group"] == prepared.row(other)["group"]


def test_leaks_drop(leaking, capsys):
    prepared = leaking.prepare(leaks="drop")
    assert_tells_of_leaks(prepared, capsys.readouterr().out, "drop", "supplied")
    assert prepared.metrics["n_leaking_test_images"] == 0
    reason = "a test image is a copy of this photograph or in its group"
    assert prepared.metrics["left_out"] == [{"path": path, "reason": reason} for path in TWINS]
    assert (prepared.metrics["n_images"], prepared.metrics["n_left_out"]) == (20, 2)
    assert prepared.manifest["split"].tolist() == prepared.manifest["supplied_split"].tolist()
    assert not prepared.manifest["path"].isin(TWINS).any()


def test_leaks_keep(leaking, capsys):
    prepared = leaking.prepare(leaks="keep")
    assert_tells_of_leaks(prepared, capsys.readouterr().out, "keep", "supplied")
    assert prepared.metrics["n_leaking_test_images"] == 2
    assert prepared.metrics["left_out"] == []
    assert len(prepared.manifest) == 22
    assert prepared.manifest["split"].tolist() == prepared.manifest["supplied_split"].tolist()


@pytest.fixture
def with_backbone(leaking, tiny_project) -> Project:
    """`leaking`, with the exported backbone that makes training take seconds."""
    share_backbones(tiny_project, leaking.folder)
    return leaking


def test_evaluation_says_when_no_score_is_honest(with_backbone, capsys):
    params = params_with(leaks="keep") | {"classifiers": ["svm", "random_forest"]}
    params["features"]["tiles"] = "none"
    run_stages_in(with_backbone.folder, params)
    scores = json.loads((with_backbone.folder / "metrics" / "ensemble.json").read_text(encoding="utf-8"))
    assert scores["n_leaking_test_images"] == 2
    notices = [line for line in capsys.readouterr().out.splitlines() if line.startswith("NOTICE: ")]
    assert len(notices) == 2, "from prepare and from evaluate"
    assert "2 of 8 test images have copies in training: no score is honest" in notices[1]
    predictions = pd.read_csv(with_backbone.folder / "metrics" / "curves" / "predictions.csv")
    assert len(predictions) == 8
    assert len(Inspector(with_backbone.folder / "models").voters) == 3


def test_a_folder_of_good_parts_alone_gets_models_and_a_report(project, patch_backbone_project, capsys):
    share_backbones(patch_backbone_project, project.folder)
    project.draw(numbered("ok/{:03}.png", 24), OK)
    params = params_with() | {"detectors": ["patch_memory"], "classifiers": ["svm"]}
    run_stages_in(project.folder, params)
    notices = [line for line in capsys.readouterr().out.splitlines() if line.startswith("NOTICE: ")]
    assert len(notices) == 3
    assert "only detectors learn" in notices[0]
    assert "of escapes and AUC nothing can be said" in notices[1]
    assert notices[2].endswith("_svm abstain: no training image is defective.")
    metrics = project.folder / "metrics"
    scores = json.loads((metrics / "ensemble.json").read_text(encoding="utf-8"))
    assert (scores["roc_auc"], scores["escape_rate"]) == (None, None)
    assert 0 <= scores["overkill_rate"] < 0.5
    assert "too few defects among them for an AUC" in (metrics / "report.html").read_text(encoding="utf-8")
    assert "nan" in results_table(metrics).lower()


# The parts that all other tests train on


def test_the_tiny_project_is_free_of_copies(tiny_project):
    metrics = json.loads((tiny_project / "metrics" / "data.json").read_text(encoding="utf-8"))
    n_images = metrics["n_images"]
    assert n_images == metrics["n_photographs"] == metrics["n_groups"] == 64
    for name in ("n_series", "n_leaks", "n_conflicts", "n_left_out", "n_leaking_test_images", "n_unlike_the_others"):
        assert metrics[name] == 0, name
    scores = json.loads((tiny_project / "metrics" / "ensemble.json").read_text(encoding="utf-8"))
    assert scores["n_leaking_test_images"] == 0


def test_the_manifest_and_the_pictures_of_the_data_are_there(tiny_project):
    manifest = read_manifest(tiny_project / "data" / "manifest.csv")
    assert list(manifest) == list(COLUMNS)
    for name in ("copies", "data", "sample_grid"):
        with Image.open(tiny_project / "metrics" / f"{name}.png") as picture:
            assert picture.format == "PNG"
            assert picture.width > 200
            # Nothing here is a copy or in a series: that gallery is its title, and has no row.
            assert picture.height == 60 if name == "copies" else picture.height > 200
