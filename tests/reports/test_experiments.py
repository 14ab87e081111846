"""The table of experiments: what is chosen by comes first, and test numbers are called what they are."""

import io
import subprocess
import sys

import pandas as pd

from bench.experiments import arrange
from tests.conftest import ROOT

SHOWN = """Experiment,rev,typ,Created,parent,metrics/ensemble.json:accuracy,metrics/ensemble.json:ece,\
metrics/out_of_fold.json:accuracy,metrics/out_of_fold.json:roc_auc,metrics/voters/a.json:accuracy,n_train,\
ensemble.voting,data/manifest.csv,inspection/reports,metrics/report.html,models/ensemble.json,plugins
,main,baseline,now,,0.9,0.02,0.88,0.93,0.8,40,hard,1,1,2,3,29d7f8474520f9d8fe536ee142ba5762.dir
nimble-cat,a1b2c3,branch_commit,now,,0.91,0.02,0.87,0.94,0.8,41,soft,2,1,2,3,493a1da45f43f899c94d879b40f11f24
"""


def test_out_of_fold_first_then_test_for_the_record_then_params():
    table = arrange(pd.read_csv(io.StringIO(SHOWN)))
    assert list(table) == [
        "experiment", "out of fold: accuracy", "out of fold: roc_auc", "test, for the record: accuracy",
        "ensemble.voting",
    ]  # fmt: skip
    assert table.iloc[1].tolist() == ["nimble-cat", 0.87, 0.94, 0.91, "soft"]
    assert table["experiment"].tolist() == ["main", "nimble-cat"]


def test_plugins_are_a_param_and_a_folder():
    text = (
        SHOWN.replace(",plugins\n", ",plugins,plugins\n")
        .replace(".dir\n", ".dir,[]\n")
        .replace("11f24\n", "11f24,['plugins/a.py']\n")
    )
    table = arrange(pd.read_csv(io.StringIO(text)))
    assert table.iloc[:, -1].tolist() == ["[]", "['plugins/a.py']"]
    assert "493a1da45f43f899c94d879b40f11f24" not in table.to_string()


def test_without_experiments_it_says_how_to_run_one():
    done = subprocess.run(
        [sys.executable, "-m", "bench.experiments"], input="\n", cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("No experiment on this commit yet")
