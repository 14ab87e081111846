"""The documents tell the truth: what they name exists, what is generated is up to date."""

import importlib.util
import re

import numpy as np
import pytest
import timm
import torch
from pydantic import BaseModel
from ruamel.yaml import YAML

from inspection.config import Params
from inspection.decision import voting
from inspection.networks.sources import available_backbones
from inspection.networks.weights import load_pretrained
from inspection.voters import classifiers
from tests.conftest import ROOT
from tests.documents import Project, find_problems

DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), ROOT / "data" / "README.md", ROOT / "weights/README.md"]
)
MAX_README_LINES = 150


@pytest.fixture(scope="module")
def project():
    return Project.read(ROOT)


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("generate_params", ROOT / "docs" / "generate_params.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_everything_that_a_document_names_is_there(document, project, tmp_path, monkeypatch):
    # A module that is asked for its options may make a cache where it runs.
    monkeypatch.chdir(tmp_path)
    assert find_problems(document.read_text(encoding="utf-8"), project, document.parent) == []


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MAX_README_LINES


def test_the_readme_leads_to_every_document():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [path.name for path in ROOT.glob("docs/*.md") if f"](docs/{path.name})" not in readme] == []


def test_the_readme_describes_every_stage(project):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    # Those of data/dvc.yaml come before the pipeline.
    stages = project.stages | {"fetch-sample", "record-versions"}
    assert set(re.findall(r"^\| `([a-z-]+)` \|", readme, re.MULTILINE)) == stages


def test_the_list_of_params_is_up_to_date(generator):
    expected = generator.render(Params, YAML(typ="safe").load(ROOT / "params.yaml"))
    message = "run `python docs/generate_params.py` and commit docs/params.md"
    assert (ROOT / "docs" / "params.md").read_text(encoding="utf-8") == expected, message


@pytest.fixture
def examples(own_tables):
    """The Python blocks of docs/extending.md."""
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def test_the_classifier_of_the_documents_becomes_one(examples):
    exec(examples[0], {})
    assert type(classifiers.make_classifier("logistic", seed=0)).__name__ == "LogisticRegression"


def test_the_voting_rule_of_the_documents_votes(examples):
    exec(examples[1], {})
    proba = np.array([[0.9, 0.1, 0.1], [0.1, 0.1, 0.1], [0.5, 0.0, 0.0]])
    assert voting.voting_rule("veto").share(proba, 0.5, np.ones(3)).tolist() == [1, 0, 1]


def test_the_source_of_backbones_of_the_documents_has_some(examples, tmp_path):
    exec(examples[2], {})
    published = timm.create_model("resnet10t", pretrained=False)
    torch.save(published.state_dict(), tmp_path / "own.pth")
    loaded = load_pretrained("timm_resnet10t", str(tmp_path / "own.pth"))
    assert torch.equal(loaded.network.conv1[0].weight, published.conv1[0].weight)
    assert "timm_mobilenetv3_small_050" in available_backbones()


def test_the_network_of_the_documents_has_the_shape_of_the_trained_one(examples, project):
    cnn = project.params["cnn"]
    made = f"AveragedCNN([BaselineCNN({cnn['channels']}, {cnn['dropout']}) for _ in range({cnn['parts']})])"
    assert made in examples[3]


def test_a_param_without_a_meaning_is_refused(generator):
    class Silent(BaseModel):
        loudness: int

    with pytest.raises(ValueError, match="loudness has no description"):
        generator.render(Silent, {"loudness": 1})


BAD = [
    ("```sh\nmake coffee\n```", "make coffee: no such target"),
    ("```sh\nbrew install\n```", "brew: an unknown command"),
    ("```sh\npython -m inspection.nowhere\n```", "python -m inspection.nowhere: no such module"),
    ("```sh\npython -m nowhere\n```", "python -m nowhere: no such module"),
    ("```sh\npython docs/nowhere.py\n```", "python docs/nowhere.py: no such file"),
    (
        "```sh\npython -m inspection audit FOLDER --loud\n```",
        "python -m inspection: python -m inspection: error: unrecognized arguments: --loud",
    ),
    ("```sh\npython -m stages.prepare --fast\n```", "python -m stages.prepare: takes no options, and gets --fast"),
    ("```sh\npip install -r nowhere.txt\n```", "pip: no file nowhere.txt"),
    ("```sh\ndvc reproduce\n```", "dvc reproduce: DVC does not understand it"),
    ("```sh\ndvc repro --loud\n```", "dvc repro --loud: DVC does not understand it"),
    ("```sh\ndvc repro nowhere\n```", "dvc repro: no stage nowhere"),
    ("```sh\ndvc exp run -S data.nowhere=1\n```", "-S data.nowhere: no such key in params.yaml"),
    ("```console\n$ make coffee\nmake tea\n```", "make coffee: no such target"),
    ("```python\nfrom inspection.labels import NOWHERE\n```", "defines no NOWHERE"),
    ("```python\n1 +\n```", "no Python"),
    ("Run `make coffee` first.", "make coffee: no such target"),
    ("Run `make\ncoffee` first.", "make coffee: no such target"),
    ("Run `dvc repro nowhere` first.", "dvc repro: no stage nowhere"),
    ("The key `data.nowhere` rules.", "data.nowhere: no such key in params.yaml"),
    ("With `data.nowhere: 3` it ends.", "data.nowhere: 3: no such key in params.yaml"),
    ("The module `inspection.nowhere` rules.", "inspection.nowhere: no such module"),
    (
        "The function `inspection.labels.nowhere` rules.",
        "inspection.labels.nowhere: inspection.labels defines no nowhere",
    ),
    ("It writes `models/nowhere.txt`.", "models/nowhere.txt: no such path"),
    ("It writes `models/<network>.nowhere`.", "models/<network>.nowhere: no such path"),
    ("See `nowhere.py`.", "nowhere.py: no file of this name"),
    ("See [this](nowhere.md).", "link to nowhere.md: no such path"),
    ("See [this](README.md#nowhere).", "link to README.md#nowhere: no such heading"),
    ("# Here\n\nSee [this](#nowhere).", "link to #nowhere: no such heading"),
]


@pytest.mark.parametrize(("text", "problem"), BAD, ids=[problem for _, problem in BAD])
def test_the_checker_finds_what_is_not_there(text, problem, project):
    [found] = find_problems(text, project, ROOT)
    assert problem in found


@pytest.mark.parametrize(
    "setting", ["data.leaks=loudly", "data.folds=many", "decision.cost={escape: 1}", "backbones=[]"]
)
def test_the_checker_finds_values_that_no_run_accepts(setting, project):
    [found] = find_problems(f"```sh\ndvc exp run -S '{setting}'\n```", project, ROOT)
    assert found.startswith(f"-S {setting}: ")


GOOD = """
# Here we are

```sh
make repro   # and a comment: make coffee
python -m inspection audit FOLDER --json findings.json && python -m stages.prepare
python -m stages.train_shallow --backbone resnet18 --classifier svm
dvc exp run --queue -S 'decision.max_escape_rate=0.05,0.1' -S 'backbones=[resnet50,vgg16]'
```

```console
$ dvc repro train-shallow@efficientnet_lite1-svm
Running stage 'nowhere':
```

```python
from inspection.labels import TRAIN
```

`data.leaks: keep`, `decision.cost.escape`, `features.layers.resnet50`, `inspection.labels.TRAIN`, `ensemble.json`,
`models/<network>.pth`, `models/resnet50_svm.pkl`, `data/elpv/images/cell0001.png`, `train/good/`, [here](#here-we-are),
[there](docs/params.md#decision).
"""


def test_the_checker_lets_the_truth_pass(project):
    assert find_problems(GOOD, project, ROOT) == []
