"""Modules of the user's own: found in their folder, imported once, and named when they are not there."""

import shutil
import sys

import pytest

from inspection.decision.inspector import Inspector
from inspection.errors import ConfigError
from inspection.plugins import load_plugins
from inspection.voters.classifiers import CLASSIFIERS, make_classifier
from stages import fit_ensemble, train_shallow
from tests.conftest import BACKBONE, run_stage_in, tiny_params, write_params
from tests.parts import draw_part, encode


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Write a plugin of a name no other test uses; what it adds is taken away again."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    before, loaded = dict(CLASSIFIERS), set(sys.modules)
    folder = tmp_path / "plugins"
    folder.mkdir()

    def write(name: str, code: str):
        (folder / f"{name}.py").write_text(code, encoding="utf-8")
        return folder

    yield write
    for name in set(sys.modules) - loaded:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    for name in CLASSIFIERS.keys() - before.keys():
        del CLASSIFIERS[name]


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


def test_a_voter_of_a_plugin_goes_through_the_stages(plugin, tiny_project, tmp_path):
    for name in ("data", "features", "metrics", "models"):
        shutil.copytree(tiny_project / name, tmp_path / name)
    plugin("adds_logistic", ADD.format(name="logistic"))
    params = tiny_params()
    params |= {"plugins": ["adds_logistic"], "classifiers": ["svm", "logistic"]}
    params["search"]["logistic"] = {"C": [0.01, 0.1]}
    write_params(tmp_path, params)
    run_stage_in(tmp_path, train_shallow.train, "--backbone", BACKBONE, "--classifier", "logistic")
    run_stage_in(tmp_path, fit_ensemble.fit_ensemble)
    # The viewer needs no plugin for it: what was trained is a class of scikit-learn.
    inspector = Inspector(tmp_path / "models")
    assert inspector.voters == ("baseline_cnn", f"{BACKBONE}_svm", f"{BACKBONE}_logistic")
    votes = [inspector.inspect(encode(draw_part(200 + label, bool(label)))).votes[2] for label in (0, 1)]
    assert votes[0].defect_proba < votes[1].defect_proba
