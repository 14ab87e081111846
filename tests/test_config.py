"""params.yaml: every problem is found before work starts, and the message says where and what to do."""

import copy
import re
import shutil
from operator import attrgetter
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from pydantic import ValidationError
from ruamel.yaml import YAML

from inspection.config import load_params
from inspection.data.images import AS_STORED, Decoding
from inspection.errors import ConfigError
from tests.project import write_params

PARAMS = Path(__file__).parent.parent / "params.yaml"
OWN = YAML(typ="safe").load(PARAMS)
ABSENT = object()
TILES = r"features\.tiles = .* is not usable: give auto, none, or the side of a tile in pixels, 32 or more\.$"


def write_changed(folder: Path, key: str, value) -> Path:
    """Write the project's params with one dotted key set, or taken out when the value is ``ABSENT``."""
    params = copy.deepcopy(OWN)
    # The project's own may change; these leave room.
    params["cnn"] |= {"image_size": 64, "channels": [8, 16], "parts": 2}
    *sections, name = key.split(".")
    section = params
    for part in sections:
        section = section[part]
    if value is ABSENT:
        del section[name]
    else:
        section[name] = value
    write_params(folder, params)
    return folder / "params.yaml"


def write_text(folder: Path, text: str) -> Path:
    path = folder / "params.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_projects_own_params_load():
    params = load_params(PARAMS)
    assert params.model_dump() == OWN
    assert (len(params.networks) + len(params.backbones) * len(params.classifiers)) % 2 == 1, "an even number can tie"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("ensembel", {}, r"unknown key 'ensembel'; did you mean 'ensemble'\?"),
        ("data.fold", 5, r"unknown key 'data\.fold'; did you mean 'folds'\?"),
        ("cnn.augment.flip", True, r"unknown key 'cnn\.augment\.flip'; did you mean 'flips'\?"),
        ("data.leak", "keep", r"unknown key 'data\.leak'; did you mean 'leaks'\?"),
        ("data.decoding.depth", 12, r"unknown key 'data\.decoding\.depth'; did you mean 'bit_depth'\?"),
        ("data.decoding.zzz", 12, r"unknown key 'data\.decoding\.zzz'; known: bit_depth, float_range\."),
        ("ensemble.zzz", 1, r"unknown key 'ensemble\.zzz'; known: voting, threshold\."),
        ("cnn.patience", 5, r"unknown key 'cnn\.patience'"),
        ("network", [], r"unknown key 'network'; did you mean 'networks'\?"),
        ("fine_tuning.frozn", {}, r"unknown key 'fine_tuning\.frozn'; did you mean 'frozen'\?"),
        ("fine_tuning.parts", 2, r"unknown key 'fine_tuning\.parts'"),
        ("fine_tuning.augment", {}, r"unknown key 'fine_tuning\.augment'"),
        ("features.flip", True, r"unknown key 'features\.flip'; did you mean 'flips'\?"),
        ("decision.max_escape", 0.1, r"unknown key 'decision\.max_escape'; did you mean 'max_escape_rate'\?"),
        ("decision.costs", None, r"unknown key 'decision\.costs'; did you mean 'cost'\?"),
        (
            "decision.cost",
            {"escape": 100, "overkil": 5, "overkill": 5, "review": 1},
            r"unknown key 'decision\.cost\.overkil'; did you mean 'overkill'\?",
        ),
    ],
)
def test_unknown_key_suggests_a_known_one(tmp_path, key, value, message):
    with pytest.raises(ConfigError, match=message):
        load_params(write_changed(tmp_path, key, value))


@pytest.mark.parametrize(
    "key",
    [
        "seed", "data", "data.folds", "data.layout", "data.classes", "data.group_pattern", "data.group_block",
        "data.series", "data.leaks", "data.decoding", "data.decoding.bit_depth", "data.decoding.float_range",
        "networks", "cnn.augment.flips", "cnn.parts", "fine_tuning", "fine_tuning.image_size", "fine_tuning.frozen",
        "fine_tuning.dropout", "fine_tuning.learning_rate", "fine_tuning.weight_decay", "fine_tuning.batch_size",
        "fine_tuning.epochs", "fine_tuning.max_scratch_gb", "plugins", "search", "features.flips", "decision",
        "decision.max_escape_rate",
        "decision.max_overkill_rate", "decision.confidence", "decision.cost", "decision.false_alarm_rate",
    ],
)  # fmt: skip
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
        ("data.layout", None, r"data\.layout = None is not usable: .*'auto', 'csv', 'split_folders', 'class_folders'"),
        ("data.layout", "unlabelled", r"data\.layout = 'unlabelled' is not usable: .* or 'mvtec'"),
        ("data.classes", None, r"data\.classes = None is not usable: .*dictionary"),
        ("data.classes", ["ok"], r"data\.classes = \['ok'\] is not usable: .*dictionary"),
        ("data.classes", {"ok": "good"}, r"data\.classes\.ok = 'good' is not usable: .*'non_defective' or 'defective'"),
        ("data.classes", {"scratch": 1}, r"data\.classes\.scratch = 1 is not usable: .*or 'defective'"),
        ("data.classes", {0: "defective"}, r"data\.classes: the name 0 is no text; write it in quotes\.$"),
        ("features.weights", {1: "weights/w.pth"}, r"features\.weights: the name 1 is no text; write it in quotes\.$"),
        ("data.group_pattern", None, r"data\.group_pattern = None is not usable: .*string"),
        ("data.group_block", 1.0, r"data\.group_block = 1\.0 is not usable: .*integer"),
        ("data.group_block", True, r"data\.group_block = True is not usable: .*integer"),
        ("data.group_block", -1, r"data\.group_block = -1 is not usable: .*greater than or equal to 0"),
        ("data.series", True, r"data\.series = True is not usable: .*'together' or 'apart'"),
        ("data.leaks", "remove", r"data\.leaks = 'remove' is not usable: .*'regroup', 'drop' or 'keep'"),
        ("data.decoding", None, r"data\.decoding = None is not usable"),
        ("data.decoding.bit_depth", "12", r"data\.decoding\.bit_depth = '12' is not usable: .*integer"),
        ("data.decoding.bit_depth", 12.0, r"data\.decoding\.bit_depth = 12\.0 is not usable: .*integer"),
        ("data.decoding.float_range", None, r"data\.decoding\.float_range = None is not usable: .*list"),
        ("data.decoding.float_range", 1, r"data\.decoding\.float_range = 1 is not usable: .*list"),
        ("data.decoding.float_range", ["0", 1], r"data\.decoding\.float_range\.0 = '0' is not usable: .*number"),
        ("data.defect_threshold", "half", r"data\.defect_threshold = 'half' is not usable: .*number"),
        ("cnn.augment.flips", "yes", r"cnn\.augment\.flips = 'yes' is not usable: .*boolean"),
        ("cnn.channels", 16, r"cnn\.channels = 16 is not usable: .*list"),
        ("backbones", "resnet50", r"backbones = 'resnet50' is not usable: .*list"),
        ("networks", "baseline_cnn", r"networks = 'baseline_cnn' is not usable: .*list"),
        ("networks", ["baseline_cnn", 5], r"networks\.1 = 5 is not usable: .*string"),
        ("fine_tuning", None, r"fine_tuning = None is not usable"),
        ("fine_tuning.image_size", 224.0, r"fine_tuning\.image_size = 224\.0 is not usable: .*integer"),
        ("fine_tuning.frozen", "blocks.3", r"fine_tuning\.frozen = 'blocks\.3' is not usable: .*dictionary"),
        ("fine_tuning.frozen", {"vgg16": 3}, r"fine_tuning\.frozen\.vgg16 = 3 is not usable: .*string"),
        ("fine_tuning.frozen", {"vgg16": ["features.3"]}, r"fine_tuning\.frozen\.vgg16 = .* is not usable: .*string"),
        ("fine_tuning.frozen", {1: "layer3"}, r"fine_tuning\.frozen: the name 1 is no text; write it in quotes\.$"),
        ("fine_tuning.epochs", "10", r"fine_tuning\.epochs = '10' is not usable: .*integer"),
        ("classifiers", "svm", r"classifiers = 'svm' is not usable: .*list"),
        ("classifiers", ["svm", 5], r"classifiers\.1 = 5 is not usable: .*string"),
        ("plugins", None, r"plugins = None is not usable: .*list"),
        ("plugins", [1], r"plugins\.0 = 1 is not usable: .*string"),
        ("search", None, r"search = None is not usable: .*dictionary"),
        ("search.svm", [1], r"search\.svm = \[1\] is not usable: .*dictionary"),
        ("search.svm", {"C": 1}, r"search\.svm\.C = 1 is not usable: .*list"),
        ("search.svm", {1: [1]}, r"search\.svm: the name 1 is no text; write it in quotes\.$"),
        ("features.pooling", ["median"], r"features\.pooling\.0 = 'median' is not usable: .*'avg'"),
        ("features.weights", None, r"features\.weights = None is not usable: .*dictionary"),
        ("features.layers", {"vgg16": "features"}, r"features\.layers\.vgg16 = 'features' is not usable: .*list"),
        ("ensemble.voting", ["hard"], r"ensemble\.voting = \['hard'\] is not usable: .*valid string"),
        ("ensemble", [], r"ensemble = \[\] is not usable"),
        (
            "features.flips",
            True,
            r"features\.flips = True .*name the mirror images: \[horizontal, vertical, both\] does",
        ),
        ("features.flips", False, r"features\.flips = False .*name the mirror images: \[\] does what false did"),
        *(("features.tiles", value, TILES) for value in (0, -224, 31, True, False, None, 224.0, "off", "224", [224])),
        ("features.flips", 1, r"features\.flips = 1 is not usable: .*list"),
        ("features.flips", "no", r"features\.flips = 'no' is not usable: .*list"),
        ("features.flips", ["vertical", "up"], r"features\.flips\.1 = 'up' is not usable: .*'horizontal'"),
        ("features.flips", ["both", "both"], r"features\.flips = \['both', 'both'\] .*both is listed twice"),
        ("cnn.parts", 2.0, r"cnn\.parts = 2\.0 is not usable: .*integer"),
        ("decision", None, r"decision = None is not usable"),
        ("decision.max_escape_rate", None, r"decision\.max_escape_rate = None is not usable: .*number"),
        ("decision.max_escape_rate", "1%", r"decision\.max_escape_rate = '1%' is not usable: .*number"),
        ("decision.max_overkill_rate", False, r"decision\.max_overkill_rate = False is not usable: .*number"),
        ("decision.confidence", "95", r"decision\.confidence = '95' is not usable: .*number"),
        ("decision.false_alarm_rate", [], r"decision\.false_alarm_rate = \[\] is not usable: .*number"),
        ("decision.cost", 5, r"decision\.cost = 5 is not usable"),
        ("decision.cost", [100, 5, 1], r"decision\.cost = \[100, 5, 1\] is not usable"),
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
        ("data.layout", "", "auto"),
        ("data.layout", "folders", "class_folders"),
        ("data.series", "", "apart"),
        ("data.leaks", "", "drop"),
        ("data.decoding.bit_depth", 7, 8),
        ("data.decoding.bit_depth", 17, 16),
        ("data.decoding.float_range", [0], []),
        ("data.decoding.float_range", [0, 0], [0, 1e-300]),
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
        ("cnn.parts", 1, 2),
        ("cnn.augment.brightness", 1, 0),
        ("cnn.augment.contrast", -0.1, 0.999),
        ("fine_tuning.image_size", 31, 32),
        ("fine_tuning.image_size", 2049, 2048),
        ("fine_tuning.max_scratch_gb", 0, 0.001),
        ("fine_tuning.dropout", -0.001, 0),
        ("fine_tuning.dropout", 1, 0.999),
        ("fine_tuning.learning_rate", 0, 1e-9),
        ("fine_tuning.learning_rate", 10.001, 10),
        ("fine_tuning.weight_decay", -1e-9, 0),
        ("fine_tuning.weight_decay", 10.001, 10),
        ("fine_tuning.batch_size", 1, 2),
        ("fine_tuning.epochs", 0, 1),
        ("ensemble.threshold", 0, 0.001),
        ("ensemble.threshold", 1, 0.999),
        ("decision.max_escape_rate", -0.001, 0),
        ("decision.max_escape_rate", 1, 0.999),
        ("decision.max_escape_rate", float("nan"), 0.01),
        ("decision.max_overkill_rate", -0.001, 0),
        ("decision.confidence", 0, 0.001),
        ("decision.confidence", 1, 0.999),
        ("decision.confidence", 95, 0.95),
        ("decision.false_alarm_rate", 0, 0.001),
        ("decision.false_alarm_rate", 1, 0.999),
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
        ("networks", ["baseline_cnn", "resnet50", "baseline_cnn"], "networks = .*: baseline_cnn is listed twice"),
        ("plugins", ["mine", "mine"], "mine is listed twice"),
        ("search.svm", {"C": [1], "gamma": []}, r"svm\.gamma has no value to try"),
        ("classifiers", ["svn"], r"classifiers: search holds no values to try for 'svn'; did you mean 'svm'\?"),
        ("classifiers", ["svm", "knn"], r"for 'knn' \(it has svm, random_forest, xgboost\)"),
        ("search", {"svm": {"C": [1]}}, r"classifiers: search holds no values to try for 'random_forest'"),
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


def costs(**changes) -> dict:
    return {"escape": 100, "overkill": 5, "review": 1} | changes


@pytest.mark.parametrize("cost", [None, costs(), costs(escape=0.5), costs(escape=0, overkill=0, review=0)])
def test_costs_are_three_or_none(tmp_path, cost):
    read = load_params(write_changed(tmp_path, "decision.cost", cost)).decision.cost
    assert cost == (None if read is None else read.model_dump())


@pytest.mark.parametrize("missing", ["escape", "overkill", "review"])
def test_incomplete_costs(tmp_path, missing):
    cost = {name: value for name, value in costs().items() if name != missing}
    with pytest.raises(ConfigError) as caught:
        load_params(write_changed(tmp_path, "decision.cost", cost))
    message = f"params.yaml: key 'decision.cost.{missing}' is missing; add it (docs/params.md lists the defaults)."
    assert str(caught.value).endswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "1"])
@pytest.mark.parametrize("name", ["escape", "overkill", "review"])
def test_costs_are_numbers_from_0(tmp_path, name, value):
    with pytest.raises(ConfigError, match=rf"decision\.cost\.{name} = .* is not usable"):
        load_params(write_changed(tmp_path, "decision.cost", costs(**{name: value})))


def test_parts_are_made_of_whole_folds(tmp_path):
    cnn = YAML(typ="safe").load(PARAMS)["cnn"]
    folds = load_params(PARAMS).data.folds
    assert load_params(write_changed(tmp_path, "cnn", cnn | {"parts": folds})).cnn.parts == folds
    path = write_changed(tmp_path, "cnn", cnn | {"parts": folds + 1})
    with pytest.raises(ConfigError) as caught:
        load_params(path)
    assert str(caught.value) == (
        f"{path}: cnn.parts = {folds + 1} is more than data.folds = {folds}: a part is made of whole folds; lower the "
        "one or raise the other."
    )


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [("(", "unterminated subpattern"), ("[0-9", "unterminated character set"), ("*", "nothing to repeat")],
)
def test_group_pattern_that_is_no_regular_expression(tmp_path, pattern, problem):
    message = rf"data\.group_pattern = {re.escape(repr(pattern))} is not usable: not a regular expression \(.*{problem}"
    with pytest.raises(ConfigError, match=message):
        load_params(write_changed(tmp_path, "data.group_pattern", pattern))


def test_group_block_needs_a_pattern(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_params(write_changed(tmp_path, "data.group_block", 5))
    assert str(caught.value).endswith(
        "data.group_block = 5 is not usable: blocks are counted in the numbers that data.group_pattern finds; set it "
        "as well."
    )
    data = YAML(typ="safe").load(PARAMS)["data"] | {"group_block": 5, "group_pattern": r"(\d+)\.png$"}
    assert load_params(write_changed(tmp_path, "data", data)).data.group_block == 5


def test_a_bad_pattern_is_not_blamed_on_the_block(tmp_path):
    data = YAML(typ="safe").load(PARAMS)["data"] | {"group_block": 5, "group_pattern": "("}
    with pytest.raises(ConfigError) as caught:
        load_params(write_changed(tmp_path, "data", data))
    assert "group_pattern" in str(caught.value)
    assert "group_block" not in str(caught.value)


@pytest.mark.parametrize(
    "limits",
    [[1], [1, 1], [1, 0], [0, 1, 2], [float("nan"), 1], [0, float("nan")], [0, float("inf")], [-float("inf"), 0]],
)
def test_float_range_is_black_and_white(tmp_path, limits):
    with pytest.raises(
        ConfigError, match=r"data\.decoding\.float_range = .* is not usable: give \[black, white\] with"
    ):
        load_params(write_changed(tmp_path, "data.decoding.float_range", limits))


@pytest.mark.parametrize(
    ("written", "decoding"),
    [
        ({"bit_depth": 16, "float_range": []}, AS_STORED),
        ({"bit_depth": 12, "float_range": []}, Decoding(12, None)),
        ({"bit_depth": 16, "float_range": [-1, 1]}, Decoding(16, (-1.0, 1.0))),
        ({"bit_depth": 8, "float_range": [0.25, 1e6]}, Decoding(8, (0.25, 1e6))),
    ],
)
def test_decoding_reaches_the_decoder_as_written(tmp_path, written, decoding):
    assert Decoding.of(load_params(write_changed(tmp_path, "data.decoding", written)).data.decoding) == decoding


def test_class_names_are_kept_as_written(tmp_path):
    classes = {"0": "non_defective", "Kratzer tief": "defective", "良品": "non_defective", "no": "defective"}
    assert load_params(write_changed(tmp_path, "data.classes", classes)).data.classes == classes


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
    sections = ("plugins", "data", "backbones", "classifiers", "features", "cnn", "search", "ensemble", "decision")
    for section in (*sections, "networks", "fine_tuning"):
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
        ("data", "layout", "csv", "csv"),
        ("data", "classes", "{no: defective, '1': defective}", {"no": "defective", "1": "defective"}),
        ("data", "group_pattern", r"'part_(\d+)'", r"part_(\d+)"),
        ("data", "group_pattern", "no", "no"),
        ("cnn", "epochs", "030", 30),  # octal 24 in YAML 1.1
        ("fine_tuning", "learning_rate", "1e-3", 0.001),
        ("ensemble", "threshold", ".25", 0.25),
        ("decision", "false_alarm_rate", "1e-2", 0.01),
        ("decision", "max_escape_rate", "5e-3", 0.005),
        ("decision", "cost", "~", None),
    ],
)
def test_yaml_1_2(tmp_path, section, key, text, value):
    content, n_replaced = re.subn(
        # Up to the key, lines of its own section only: sections share names of keys.
        rf"(?m)^({section}:\n(?: .*\n)*?  {key}:) .*$",
        lambda found: f"{found[1]} {text}",
        PARAMS.read_text(encoding="utf-8"),
    )
    assert n_replaced == 1
    read = getattr(getattr(load_params(write_text(tmp_path, content)), section), key)
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("section", "key"),
    [
        (None, "seed"),
        (None, "networks"),
        ("fine_tuning", "epochs"),
        ("data", "folds"),
        ("data", "leaks"),
        ("ensemble", "threshold"),
        ("decision", "cost"),
    ],
)
def test_params_are_frozen(section, key):
    params = load_params(PARAMS)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(getattr(params, section) if section else params, key, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"max_overkill_rate": 0.1, "max_escape_rate": 0.05, "cost": {"escape": 100, "overkill": 5, "review": 1}},
            "decision: max_overkill_rate = 0.1 and cost both say where parts fail: set max_overkill_rate to 0, or cost",
        ),
        ({"max_overkill_rate": 1, "max_escape_rate": 0.05}, "decision.max_overkill_rate = 1 is not usable"),
    ],
)
def test_decision_settings_that_contradict_each_other(tmp_path, changes, message):
    section = YAML(typ="safe").load(PARAMS)["decision"] | changes
    with pytest.raises(ConfigError) as caught:
        load_params(write_changed(tmp_path, "decision", section))
    assert f"params.yaml: {message}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_highest_overkill_rate(tmp_path):
    section = YAML(typ="safe").load(PARAMS)["decision"] | {"max_overkill_rate": 0.999, "max_escape_rate": 0.05}
    assert load_params(write_changed(tmp_path, "decision", section)).decision.max_overkill_rate == 0.999


@pytest.mark.parametrize("key", ["plugins", "classifiers", "networks", "detectors", "features.flips"])
def test_a_list_emptied_on_the_command_line_leaves_a_readable_file(tmp_path, key):
    """What ``dvc exp run -S`` does with the file: a list of lines below a comment it would write as invalid YAML."""
    path = shutil.copy(PARAMS, tmp_path)
    apply_overrides(path, [f"{key}=[]", "decision.max_overkill_rate=0.05"])
    params = load_params(path)
    assert attrgetter(key)(params) == []
    assert params.decision.max_overkill_rate == 0.05
