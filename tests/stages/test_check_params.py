"""Params that cannot end well stop the run at its first stage, with a message that names them."""

import re

import pytest

from inspection.errors import InspectionError
from stages import check_params
from tests.project import run_stage_in, tiny_params, write_params


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"treshold": 0.5}, "unknown key 'treshold'"),
        ({"cnn": tiny_params()["cnn"] | {"parts": 4}}, "cnn.parts = 4 is more than data.folds = 3"),
        (
            {"decision": tiny_params()["decision"] | {"max_escape_rate": 1}},
            "decision.max_escape_rate = 1 is not usable",
        ),
        ({"seed": "zero"}, "seed = 'zero' is not usable"),
        ({"search": tiny_params()["search"] | {"svm": {"c": [1]}}}, "search.svm: SVC has no parameter 'c'"),
        ({"search": tiny_params()["search"] | {"svn": {"C": [1]}}}, "unknown classifier 'svn'; did you mean 'svm'?"),
        ({"classifiers": ["svm", "knn"]}, "classifiers: search holds no values to try for 'knn'"),
        ({"plugins": ["mine"]}, "plugins: no module 'mine'; put mine.py into plugins/"),
    ],
)
def test_wrong_params_are_named(tmp_path, changes, message):
    write_params(tmp_path, tiny_params() | changes)
    with pytest.raises(InspectionError, match=re.escape(message)):
        run_stage_in(tmp_path, check_params.check_params)
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"], "what later stages wait for is not written"


def test_usable_params_let_the_run_go_on(tmp_path):
    written = []
    for seed in (0, 1):
        write_params(tmp_path, tiny_params() | {"seed": seed})
        run_stage_in(tmp_path, check_params.check_params)
        written.append({path: path.read_bytes() for path in (tmp_path / "data").rglob("*.json")})
    assert written[0]
    assert written[0] == written[1], "or every change of a param would run every stage"
