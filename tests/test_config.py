"""params.yaml: every problem is found before work starts, and the message says where and what to do."""

import re
from pathlib import Path

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML

from inspection.config import load_params
from inspection.errors import ConfigError

PARAMS = Path(__file__).parent.parent / "params.yaml"
ABSENT = object()


def write_changed(folder: Path, key: str, value) -> Path:
    """Write the project's params with one dotted key set, or taken out when the value is ``ABSENT``."""
    params = YAML(typ="safe").load(PARAMS)
    params["cnn"] |= {"image_size": 64, "channels": [8, 16]}  # the project's own may change; these leave room
    *sections, name = key.split(".")
    section = params
    for part in sections:
        section = section[part]
    if value is ABSENT:
        del section[name]
    else:
        section[name] = value
    path = folder / "params.yaml"
    with path.open("w", encoding="utf-8") as stream:
        YAML().dump(params, stream)
    return path


def write_text(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_projects_own_params_load():
    params = load_params(PARAMS)
    raw = YAML(typ="safe").load(PARAMS)
    assert params.model_dump() == raw
    assert (1 + len(params.backbones) * len(params.classifiers)) % 2 == 1, "an even number of default voters can tie"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("ensembel", {}, r"unknown key 'ensembel'; did you mean 'ensemble'\?"),
        ("data.fold", 5, r"unknown key 'data\.fold'; did you mean 'folds'\?"),
        ("cnn.augment.flip", True, r"unknown key 'cnn\.augment\.flip'; did you mean 'flips'\?"),
        ("search.svn", {}, r"unknown key 'search\.svn'; did you mean 'svm'\?"),
        ("ensemble.zzz", 1, r"unknown key 'ensemble\.zzz'; known: voting, threshold\."),
    ],
)
def test_unknown_key_suggests_a_known_one(tmp_path, key, value, message):
    with pytest.raises(ConfigError, match=message):
        load_params(write_changed(tmp_path, key, value))


@pytest.mark.parametrize("key", ["seed", "data", "data.folds", "cnn.augment.flips", "search.xgboost"])
def test_missing_key(tmp_path, key):
    with pytest.raises(ConfigError, match=rf"key '{key}' is missing; add it"):
        load_params(write_changed(tmp_path, key, ABSENT))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("seed", "0", r"seed = '0' is not usable: .*integer"),
        ("seed", True, r"seed = True is not usable: .*integer"),
        ("seed", 1.0, r"seed = 1\.0 is not usable: .*integer"),
        ("data.source", 7, r"data\.source = 7 is not usable: .*string"),
        ("data.defect_threshold", "half", r"data\.defect_threshold = 'half' is not usable: .*number"),
        ("cnn.augment.flips", "yes", r"cnn\.augment\.flips = 'yes' is not usable: .*boolean"),
        ("cnn.channels", 16, r"cnn\.channels = 16 is not usable: .*list"),
        ("backbones", "resnet50", r"backbones = 'resnet50' is not usable: .*list"),
        ("classifiers", ["svm", "knn"], r"classifiers\.1 = 'knn' is not usable: .*'random_forest'"),
        ("features.pooling", ["median"], r"features\.pooling\.0 = 'median' is not usable: .*'avg'"),
        ("features.weights", None, r"features\.weights = None is not usable: .*dictionary"),
        ("features.layers", {"vgg16": "features"}, r"features\.layers\.vgg16 = 'features' is not usable: .*list"),
        ("ensemble.voting", "majority", r"ensemble\.voting = 'majority' is not usable: .*'hard', 'soft' or 'weighted'"),
        ("ensemble", [], r"ensemble = \[\] is not usable"),
    ],
)
def test_wrong_type(tmp_path, key, value, message):
    with pytest.raises(ConfigError, match=message):
        load_params(write_changed(tmp_path, key, value))


@pytest.mark.parametrize(
    ("key", "wrong", "right"),
    [
        ("seed", -1, 0),
        ("seed", 2**32, 2**32 - 1),
        ("data.source", "", "d"),
        ("data.defect_threshold", 0, 0.001),
        ("data.defect_threshold", 1.001, 1),
        ("data.uncertain_weight", 0, 0.001),
        ("data.uncertain_weight", 1.001, 1),
        ("data.test_share", 0, 0.001),
        ("data.test_share", 1, 0.999),
        ("data.folds", 1, 2),
        ("data.max_unreadable_share", -0.001, 0),
        ("data.max_unreadable_share", 1, 0.999),
        ("backbones", [], ["resnet50"]),
        ("classifiers", [], ["svm"]),
        ("features.image_size", 31, 32),
        ("features.image_size", 2049, 2048),
        ("features.pooling", [], ["max"]),
        ("cnn.image_size", 15, 16),
        ("cnn.channels", [], [1]),
        ("cnn.dropout", 1, 0.999),
        ("cnn.learning_rate", 0, 1e-9),
        ("cnn.learning_rate", float("nan"), 1.0),
        ("cnn.weight_decay", -1e-9, 0),
        ("cnn.batch_size", 1, 2),
        ("cnn.epochs", 0, 1),
        ("cnn.patience", 0, 1),
        ("cnn.augment.brightness", 1, 0),
        ("cnn.augment.contrast", -0.1, 0.999),
        ("ensemble.threshold", 0, 0.001),
        ("ensemble.threshold", 1, 0.999),
    ],
)
def test_range_ends_where_it_says(tmp_path, key, wrong, right):
    load_params(write_changed(tmp_path, key, right))
    with pytest.raises(ConfigError, match=rf"params\.yaml: {key} = .* is not usable"):
        load_params(write_changed(tmp_path, key, wrong))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("backbones", ["vgg16", "resnet50", "vgg16"], "vgg16 is listed twice"),
        ("classifiers", ["svm", "svm"], "svm is listed twice"),
        ("search.svm", {"C": [1], "gamma": []}, "gamma has no value to try"),
        # Six blocks halve the image six times: 2**6 = 64 > 63.
        ("cnn", {"image_size": 63, "channels": [1] * 6}, "image_size at least 64"),
        ("cnn", {"channels": [16, 0]}, "channels must be positive"),
    ],
)
def test_values_that_contradict_each_other(tmp_path, key, value, message):
    if key == "cnn":
        value = YAML(typ="safe").load(PARAMS)["cnn"] | value
    with pytest.raises(ConfigError, match=message):
        load_params(write_changed(tmp_path, key, value))


@pytest.mark.parametrize(
    "file", ["resnet50.pth", "models/w.pth", "/weights/w.pth", "../weights/w.pth", "weights/../w", "weights"]
)
def test_weights_outside_their_folder(tmp_path, file):
    with pytest.raises(ConfigError, match=rf"'{file}' must lie in weights/"):
        load_params(write_changed(tmp_path, "features.weights", {"resnet50": file}))


@pytest.mark.parametrize("file", ["weights/w.pth", "./weights/deep/w.pth"])
def test_weights_inside_their_folder(tmp_path, file):
    params = load_params(write_changed(tmp_path, "features.weights", {"resnet50": file}))
    assert params.features.weights == {"resnet50": file}


def test_smallest_image_that_survives_its_blocks(tmp_path):
    cnn = YAML(typ="safe").load(PARAMS)["cnn"] | {"image_size": 64, "channels": [1] * 6}
    assert load_params(write_changed(tmp_path, "cnn", cnn)).cnn.image_size == 64


def test_one_message_lists_every_problem(tmp_path):
    path = write_text(tmp_path, "seed: -1\nseeed: 1\n")
    with pytest.raises(ConfigError) as caught:
        load_params(path)
    message = str(caught.value)
    assert "seed = -1 is not usable" in message
    assert "unknown key 'seeed'; did you mean 'seed'?" in message
    for section in ("data", "backbones", "classifiers", "features", "cnn", "search", "ensemble"):
        assert f"key '{section}' is missing" in message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 0\nseed: 1\n", r'not valid YAML: [\s\S]*duplicate key "seed"'),
        ("data: {folds: 5, folds: 6}\n", r'not valid YAML: [\s\S]*duplicate key "folds"'),
        ("seed: [0\n", "not valid YAML"),
        ("seed: *nowhere\n", "not valid YAML"),
        ("seed: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
        ("seed: 0\n---\nseed: 1\n", "not valid YAML"),
        ("", "must be a mapping of sections to keys, found NoneType"),
        ("- seed\n", "must be a mapping of sections to keys, found list"),
        ("just words\n", "must be a mapping of sections to keys, found str"),
        ("0: seed\n", "0 = 0 is not usable: Keys should be strings"),
    ],
)
def test_not_a_params_file(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message):
        load_params(write_text(tmp_path, text))


def test_not_utf8(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_bytes("# größe\n".encode("latin-1") + PARAMS.read_bytes())
    with pytest.raises(ConfigError, match="not valid YAML"):
        load_params(path)


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match=r"params\.yaml cannot be read .*; run from the folder that holds it"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize(
    ("section", "key", "text", "value"),
    [
        ("cnn", "learning_rate", "1e-3", 0.001),  # a string in YAML 1.1
        ("data", "source", "no", "no"),  # False in YAML 1.1
        ("data", "source", "部品/写真", "部品/写真"),
        ("cnn", "epochs", "030", 30),  # octal 24 in YAML 1.1
        ("ensemble", "threshold", ".25", 0.25),
    ],
)
def test_yaml_1_2(tmp_path, section, key, text, value):
    content, n_replaced = re.subn(rf"(?m)^(  {key}:) .*$", rf"\g<1> {text}", PARAMS.read_text(encoding="utf-8"))
    assert n_replaced == 1
    read = getattr(getattr(load_params(write_text(tmp_path, content)), section), key)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(("section", "key"), [(None, "seed"), ("data", "folds"), ("ensemble", "threshold")])
def test_params_are_frozen(section, key):
    params = load_params(PARAMS)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(getattr(params, section) if section else params, key, 3)
