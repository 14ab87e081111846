"""Modules of the user's own: found in their folder, imported once, and named when they are not there."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

from inspection.decision.ensemble import read_ensemble
from inspection.decision.inspector import Inspector
from inspection.decision.rules import decide
from inspection.errors import ConfigError
from inspection.networks.onnx_models import OnnxModel
from inspection.plugins import load_plugins
from inspection.voters.classifiers import make_classifier
from stages import check_networks, check_params
from tests.conftest import ROOT
from tests.parts import draw_part, encode
from tests.project import run_stage_in, run_stages_in, tiny_params, write_params


@pytest.fixture
def plugin(tmp_path, monkeypatch, own_tables):
    """Write a plugin of a name no other test uses; what it adds is taken away again."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    loaded = set(sys.modules)
    folder = tmp_path / "plugins"
    folder.mkdir()

    def write(name: str, code: str):
        (folder / f"{name}.py").write_text(code, encoding="utf-8")
        return folder

    yield write
    for name in set(sys.modules) - loaded:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


ADD = """
from sklearn.linear_model import LogisticRegression
from inspection.voters.classifiers import CLASSIFIERS
CLASSIFIERS["{name}"] = lambda seed: LogisticRegression(random_state=seed)
"""


def test_a_plugin_adds_a_classifier(plugin):
    folder = plugin("adds_one", ADD.format(name="one"))
    load_plugins(["adds_one"], folder)
    assert type(make_classifier("one", 0)).__name__ == "LogisticRegression"


def test_plugins_are_imported_in_order_and_once(plugin, capsys):
    plugin("says_a", "print('a')")
    folder = plugin("says_b", "print('b')")
    load_plugins(["says_b", "says_a"], folder)
    load_plugins(["says_a", "says_b"], folder)
    assert capsys.readouterr().out == "b\na\n"
    assert sys.path.count(str(folder)) == 1


def test_no_plugins_change_nothing(tmp_path):
    before = sys.path.copy()
    load_plugins([], tmp_path)
    assert sys.path == before


def test_a_plugin_hides_no_installed_module(plugin):
    folder = plugin("colorsys", "raise RuntimeError('hides the standard library')")
    load_plugins(["colorsys"], folder)
    assert hasattr(sys.modules["colorsys"], "rgb_to_hsv")


def test_a_plugin_that_is_not_there(plugin):
    folder = plugin("there", "")
    with pytest.raises(ConfigError, match=r"^plugins: no module 'not_there'; put not_there\.py into .*plugins/, or"):
        load_plugins(["there", "not_there"], folder)


def test_a_plugin_that_needs_what_is_not_installed(plugin):
    folder = plugin("needy", "import no_such_package")
    with pytest.raises(ConfigError, match=r"^plugins: needy needs no_such_package, which is not installed"):
        load_plugins(["needy"], folder)


def test_a_mistake_in_a_plugin_comes_with_its_traceback(plugin):
    folder = plugin("mistaken", "1 / 0")
    with pytest.raises(ZeroDivisionError):
        load_plugins(["mistaken"], folder)


ONE_OF_EACH = """
import numpy as np
from sklearn.linear_model import LogisticRegression

from inspection.decision.voting import VOTING_RULES, VotingRule
from inspection.networks.sources import BACKBONE_SOURCES, BackboneSource
from inspection.voters.classifiers import CLASSIFIERS


class Sketches(BackboneSource):
    mean = std = (0.5, 0.5, 0.5)

    def names(self):
        return ["sketch"]

    def architecture(self, name):
        from torch import nn

        return nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10),
        )

    def published(self, name):
        import torch

        torch.manual_seed(0)
        return self.architecture(name), "drawn with seed 0"


class Veto(VotingRule):
    summary = "veto of any model"

    def share(self, proba, threshold, weights):
        return np.where((proba >= threshold).any(axis=1), 1.0, 0.0)


BACKBONE_SOURCES["sketches"] = Sketches()
CLASSIFIERS["logistic"] = lambda seed: LogisticRegression(random_state=seed)
VOTING_RULES["veto"] = Veto()
"""


def test_one_of_each_kind_goes_through_the_pipeline(plugin, tiny_project, tmp_path):
    """From one file of its own, next to what is there already."""
    shutil.copytree(tiny_project / "data" / "raw", tmp_path / "data" / "raw")
    plugin("adds_one_of_each", ONE_OF_EACH)
    params = tiny_params()
    params |= {"plugins": ["adds_one_of_each"], "backbones": ["sketch"], "classifiers": ["svm", "logistic"]}
    params["search"]["logistic"] = {"C": [0.01, 0.1]}
    params["ensemble"]["voting"] = "veto"
    write_params(tmp_path, params)
    run_stage_in(tmp_path, check_params.check_params)
    run_stage_in(tmp_path, check_networks.check_networks)
    run_stages_in(tmp_path, params)
    inspector = Inspector(tmp_path / "models")
    assert inspector.voters == ("baseline_cnn", "sketch_svm", "sketch_logistic")
    good, defective = (inspector.inspect(encode(draw_part(200 + label, bool(label)))) for label in (0, 1))
    assert good.votes[2].defect_proba < defective.votes[2].defect_proba
    assert (good.verdict, defective.verdict) == ("non_defective", "defective")
    rules = read_ensemble(tmp_path / "models").rules()
    assert decide(np.array([[0.9, 0.1, 0.1]]), rules).verdicts[0] != "non_defective"
    assert (tmp_path / "metrics" / "ensemble.json").exists()
    assert (
        "drawn with seed 0"
        in OnnxModel((tmp_path / "models/backbones/sketch.onnx").read_bytes(), "").metadata["weights"]
    )


def test_a_plugin_loads_where_there_is_no_torch(plugin, tmp_path):
    """As at the station."""
    folder = plugin("at_the_station", ONE_OF_EACH)
    code = (
        f"from inspection.plugins import load_plugins; load_plugins(['at_the_station'], {str(folder)!r})\n"
        "from inspection.decision.voting import voting_rule; print(voting_rule('veto').summary)\n"
        "import sys; assert 'torch' not in sys.modules"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout == "veto of any model\n"
