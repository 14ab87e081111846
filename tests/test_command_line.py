"""``python -m inspection``: verdicts, audits and results from the shell."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from inspection.__main__ import main
from tests.conftest import ROOT
from tests.parts import disguised, draw_part, encode, write_class_folders


@pytest.fixture
def parts(tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    for seed in (1, 2):
        (folder / f"part_{seed}.png").write_bytes(encode(draw_part(seed, is_defective=seed == 1)))
    return folder


def test_a_folder_gets_a_line_per_image(parts, models_folder, capsys):
    assert main(["predict", str(parts), "--models", str(models_folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("defective ")
    assert "part_1.png: " in lines[0]
    assert lines[1].startswith("non_defective ")


def test_an_unreadable_file_is_not_inspected_and_changes_the_exit_code(parts, models_folder, tmp_path):
    (parts / "part_3.png").write_bytes(b"no image")
    target = tmp_path / "verdicts.json"
    assert main(["predict", str(parts), "--models", str(models_folder), "--json", str(target)]) == 1
    records = json.loads(target.read_text(encoding="utf-8"))
    assert [record["verdict"] for record in records] == ["defective", "non_defective", "not inspected"]
    assert "part_3.png: not a PNG" in records[2]["reason"]
    assert len(records[0]["votes"]) == 4
    assert [record["cause"] for record in records[:2]] == ["vote", "vote"]
    assert all(0 < record["unlikeness"] <= 1 and not record["simulated"] for record in records[:2])


def test_a_photograph_of_something_else_is_sent_to_review(parts, models_folder, capsys):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    (parts / "part_0.png").write_bytes(encode(Image.fromarray(noise)))
    assert main(["predict", str(parts), "--models", str(models_folder)]) == 0, "inspected, and not passed"
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("review ")
    assert "part_0.png: This photograph is unlike those the models were trained on" in line


@pytest.mark.parametrize(
    ("paths", "message"), [(["nowhere.png"], "nowhere.png does not exist"), (["{empty}"], "holds no image")]
)
def test_nothing_to_do_is_an_error(paths, message, models_folder, tmp_path, capsys):
    paths = [path.format(empty=tmp_path) for path in paths]
    assert main(["predict", *paths, "--models", str(models_folder)]) == 2
    assert message in capsys.readouterr().err


def test_missing_models_say_what_to_run(parts, tmp_path, capsys):
    assert main(["predict", str(parts), "--models", str(tmp_path / "none")]) == 2
    assert "run `dvc repro`" in capsys.readouterr().err


def test_other_library_versions_are_told_beside_the_verdicts(parts, own_models, capsys):
    description = json.loads((own_models / "ensemble.json").read_text(encoding="utf-8"))
    description["versions"]["onnxruntime"] = "1.0.0"
    (own_models / "ensemble.json").write_text(json.dumps(description), encoding="utf-8")
    main(["predict", str(parts), "--models", str(own_models), "--json", "-"])
    printed = capsys.readouterr()
    assert printed.err.startswith("warning: Other library versions")
    assert "(1.0.0 when the models were made)" in printed.err
    assert json.loads(printed.out), "the verdicts are JSON all the same"


def test_maps_are_written_beside_the_verdicts(detecting_project, tmp_path, capsys):
    models, source = detecting_project / "models", detecting_project / "data" / "raw"
    parts = tmp_path / "parts"
    shutil.copytree(source / "defective", parts / "a")
    for path in sorted((parts / "a").glob("*.png"))[3:]:
        path.unlink()
    (parts / "broken.png").write_bytes(b"no image")
    assert main(["predict", str(parts), "--models", str(models), "--maps", str(tmp_path / "maps")]) == 1
    lines = capsys.readouterr().out.splitlines()
    written = sorted(path.relative_to(tmp_path / "maps").as_posix() for path in (tmp_path / "maps").rglob("*.png"))
    assert written == [f"a/{path.name}.png" for path in sorted((parts / "a").iterdir())]
    for path, line in zip(sorted((parts / "a").iterdir()), lines, strict=False):
        photograph, with_map = Image.open(path).convert("RGB"), Image.open(tmp_path / "maps" / "a" / f"{path.name}.png")
        assert photograph.size == with_map.size
        is_marked = "Unlike good parts: " in line
        assert is_marked or "On the map no place stands out from good parts." in line
        if is_marked:
            assert np.any(np.asarray(photograph) != np.asarray(with_map))


def test_json_names_the_regions(detecting_project, capsys):
    models, parts = detecting_project / "models", detecting_project / "data" / "raw" / "defective"
    assert main(["predict", str(parts), "--models", str(models), "--json", "-"]) == 0
    verdicts = json.loads(capsys.readouterr().out)
    regions = [region for verdict in verdicts for region in verdict["regions"]]
    assert regions
    for region in regions:
        assert 0 <= region["left"] < region["left"] + region["width"] <= 64
        assert 0 <= region["top"] < region["top"] + region["height"] <= 64
        assert 0 < region["area"] <= (region["width"] + 1) * (region["height"] + 1)


def test_maps_of_the_networks_of_an_ensemble_without_detectors(parts, models_folder, tmp_path):
    assert main(["predict", str(parts), "--models", str(models_folder), "--maps", str(tmp_path / "maps")]) == 0
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == ["part_1.png.png", "part_2.png.png"]


def test_maps_of_models_that_give_none(parts, own_models, tmp_path, capsys):
    description = json.loads((own_models / "ensemble.json").read_text(encoding="utf-8"))
    description["voters"] = [voter for voter in description["voters"] if voter["name"] != "baseline_cnn"]
    (own_models / "ensemble.json").write_text(json.dumps(description), encoding="utf-8")
    assert main(["predict", str(parts), "--models", str(own_models), "--maps", str(tmp_path / "maps")]) == 2
    assert "no voter of these models gives a map; name baseline_cnn in networks or patch_memory in detectors" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "maps").exists()


def test_two_files_of_one_map_are_refused(detecting_project, tmp_path, capsys):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        draw_part(1, is_defective=True).save(tmp_path / folder / "part.png")
    paths = [str(tmp_path / "a"), str(tmp_path / "b")]
    models = str(detecting_project / "models")
    assert main(["predict", *paths, "--models", models, "--maps", str(tmp_path / "maps")]) == 2
    assert "would both write" in capsys.readouterr().err


def test_results_table_lists_ensemble_and_voters(tiny_project, capsys):
    assert main(["results", "--metrics", str(tiny_project / "metrics")]) == 0
    output = capsys.readouterr().out
    assert "16 test images (8 defective)" in output
    ensemble = json.loads((tiny_project / "metrics" / "ensemble.json").read_text(encoding="utf-8"))
    row = next(line for line in output.splitlines() if line.startswith("ensemble"))
    assert f"{ensemble['accuracy']:.4f}" in row
    assert "efficientnet_lite0_xgboost" in output


def test_results_before_any_run(tmp_path, capsys):
    assert main(["results", "--metrics", str(tmp_path)]) == 2
    assert "run `dvc repro` first" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["predict", "audit"])
def test_json_that_cannot_be_written(command, parts, models_folder, tmp_path, capsys):
    models = ["--models", str(models_folder)] if command == "predict" else []
    assert main([command, str(parts), *models, "--json", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"error: {tmp_path} cannot be written (Is a directory).\n"


BROKEN = "train/non_defective/broken.png"
LEAK = ["test/defective/turned.jpg", "train/defective/part_000.png"]
CONFLICT = ["test/non_defective/same part.png", "train/defective/part_001.png"]
DUPLICATE = ["train/non_defective/again.PNG", "train/non_defective/part_000.png"]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A supplied split with everything an audit can find. Not to be changed."""
    folder = tmp_path_factory.mktemp("audit") / "photographs"
    for first_seed, part in ((0, "train"), (100, "test")):
        write_class_folders(folder / part, 3, first_seed, size=320)
    (folder / LEAK[0]).write_bytes(disguised(draw_part(1, is_defective=True, size=320)))
    for copy, original in (CONFLICT, DUPLICATE):
        shutil.copy(folder / original, folder / copy)
    (folder / BROKEN).write_bytes(b"no image")
    (folder / "read me.txt").write_text("not an image either", encoding="utf-8")
    return folder


def check_findings(report):
    assert report["images"] == 15
    assert [file["path"] for file in report["unreadable"]] == [BROKEN]
    assert "broken.png: not a PNG" in report["unreadable"][0]["reason"]
    assert report["groups"] == [LEAK, CONFLICT, DUPLICATE]
    assert report["identical"] == [CONFLICT, DUPLICATE]
    assert (report["leaks"], report["n_leaks"]) == ([LEAK, CONFLICT], 2)
    assert (report["conflicts"], report["n_conflicts"]) == ([CONFLICT], 1)
    assert report["series"] == []


def test_audit_writes_every_finding_with_paths_below_the_folder(photographs, tmp_path, capsys):
    target = tmp_path / "new folder" / "report.json"
    assert main(["audit", str(photographs), "--json", str(target)]) == 0
    report = json.loads(target.read_text(encoding="utf-8"))
    assert list(report) == [
        "folder", "layout", "images", "unreadable", "groups", "identical", "series", "leaks", "n_leaks", "conflicts",
        "n_conflicts", "health", "classes", "sizes", "modes",
    ]  # fmt: skip
    check_findings(report)
    assert report["folder"] == photographs.as_posix()
    assert report["layout"] == "split_folders"
    assert report["classes"] == {
        "test": {"defective": 4, "non_defective": 4},
        "train": {"non_defective": 4, "defective": 3},
    }
    assert report["sizes"] == {"320x320": 15}
    assert report["modes"] == {"L": 15}
    assert report["health"] == []
    check_summary(capsys.readouterr().out)


def check_summary(text):
    lines = text.splitlines()
    assert lines[0].endswith(
        "photographs (split_folders) - test: 4 defective, 4 non_defective; train: 4 non_defective, 3 defective"
    )
    counts = [line for line in lines if not line.startswith(" ")][1:]
    assert [line.split(" ", 1)[0] for line in counts] == ["1", "3", "0", "2", "1", "0"]
    assert counts[1] == "3 photographs with copies (3 images are copies)"
    assert f"  {' = '.join(LEAK)}" in lines
    assert lines.count(f"  {' = '.join(CONFLICT)}") == 2, "as a leak and as a conflict"


def test_audit_to_the_screen_prints_nothing_but_json(photographs, capsys):
    assert main(["audit", str(photographs), "--json", "-"]) == 0
    printed = capsys.readouterr()
    check_findings(json.loads(printed.out))
    assert printed.err == ""


WITHOUT_PIPELINE = """
import sys
from importlib.abc import MetaPathFinder

class Absent(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in ("torch", "torchvision", "timm", "onnx", "dvc", "dvclive", "matplotlib", "ruamel"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""


def test_audit_in_a_process_without_the_pipelines_packages(photographs, tmp_path):
    # What requirements-app.in does not name is gone, as on a machine that only inspects.
    (tmp_path / "sitecustomize.py").write_text(WITHOUT_PIPELINE, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    command = [sys.executable, "-m", "inspection", "audit", ".", "--json", str(tmp_path / "report.json")]
    done = subprocess.run(command, cwd=photographs, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("15 images in . (split_folders)")
    check_findings(json.loads((tmp_path / "report.json").read_text(encoding="utf-8")))


def test_audit_of_a_table(photographs, tmp_path, capsys):
    lines = ["path;label;split", f"{LEAK[1]};gut;Training", f"{LEAK[0]};nok;test", "gone.png;ok;test"]
    table = tmp_path / "my labels.csv"
    table.write_text("\n".join(lines), encoding="utf-8")
    assert main(["audit", str(photographs), "--csv", str(table), "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["layout"], report["images"]) == ("csv", 2)
    assert report["classes"] == {"test": {"defective": 1}, "train": {"non_defective": 1}}
    assert report["leaks"] == [LEAK]
    assert report["conflicts"] == [LEAK[::-1]], "the good one first"
    assert [file["path"] for file in report["unreadable"]] == ["gone.png"]
    assert "gone.png: cannot be read (No such file" in report["unreadable"][0]["reason"]


def test_audit_finds_copies_without_any_label(photographs, tmp_path, capsys):
    folder = tmp_path / "写真 of parts"
    folder.mkdir()
    for number, path in enumerate([*LEAK, "train/defective/part_002.png"]):
        shutil.copy(photographs / path, folder / f"{number}{(photographs / path).suffix}")
    assert main(["audit", str(folder), "--json", "-"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["layout"] == "unlabelled"
    assert report["classes"] == {"all": {"unlabelled": 3}}
    assert report["groups"] == [["0.jpg", "1.png"]]
    assert report["leaks"] == report["conflicts"] == []
    assert main(["audit", str(folder)]) == 0
    assert "写真 of parts (unlabelled) - all: 3 unlabelled" in capsys.readouterr().out


def test_audit_of_nothing_but_damaged_files(tmp_path, capsys):
    for name in ("a.png", "b.jpg"):
        (tmp_path / name).write_bytes(b"no image")
    assert main(["audit", str(tmp_path), "--json", str(tmp_path / "report.json")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"0 images in {tmp_path.as_posix()} (unlabelled) - none readable"
    assert lines[1] == "2 unreadable"
    assert json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["images"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{folder}/nowhere"], "No folder '{folder}/nowhere'; correct the path."),
        (["{folder}/a file.png"], "No folder '{folder}/a file.png'; correct the path."),
        (["{folder}/empty"], "{folder}/empty holds no image (.png, .jpg"),
        (["{folder}", "--csv", "{folder}/none.csv"], "{folder}/none.csv cannot be read (No such file or directory)"),
        (["{folder}", "--csv", "{folder}/a file.png"], "{folder}/a file.png is not a UTF-8 CSV table"),
    ],
)
def test_audit_of_nothing_is_one_line_and_an_error(arguments, message, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a file.png").write_bytes(encode(draw_part(1, is_defective=True)))
    arguments = [argument.format(folder=tmp_path) for argument in arguments]
    assert main(["audit", *arguments, "--json", str(tmp_path / "report.json")]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith(f"error: {message.format(folder=tmp_path)}")
    assert printed.err.count("\n") == 1
    assert not (tmp_path / "report.json").exists()
