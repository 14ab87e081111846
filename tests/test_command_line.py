"""``python -m inspection``: verdicts and results from the shell."""

import json

import pytest

from inspection.__main__ import main
from tests.parts import draw_part, encode


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
