"""The file ensemble.json: what is written is what is read, and every damage is one clear message."""

import copy
import json
import sys

import pytest

from inspection.data.images import AS_STORED, Decoding
from inspection.decision import ensemble as ensemble_file
from inspection.decision.combination import Combination
from inspection.decision.ensemble import (
    describe_ensemble,
    parse_ensemble,
    read_ensemble,
    write_ensemble,
)
from inspection.decision.operating_point import NEVER, OperatingPoint
from inspection.decision.rules import Rules
from inspection.decision.voting import VOTING_RULES
from inspection.errors import ConfigError, ModelsError

POINT = OperatingPoint(0.25, 0.75, 0.05, 0.95, 100, 1, 0.1, 200, 3)
VERSIONS = {"numpy": "2.0.0", "onnxruntime": "1.20.0"}
DATA = {"source": "data/raw", "n_images": 3, "n_defects": 2, "manifest_sha256": "2" * 64}
GUARD = {
    "file": {"path": "guard.npz", "sha256": "1" * 64},
    "network": {"path": "backbones/b.onnx", "sha256": "0" * 64},
}


@pytest.fixture(autouse=True)
def fixed_versions(monkeypatch):
    monkeypatch.setattr(ensemble_file, "installed_versions", lambda packages: dict(VERSIONS))


def card(name: str, backbone: str = "") -> dict:
    """The card of a network, or of a classifier on a backbone."""
    names = {"network": f"{name}.onnx", "map_scale": f"{name}_map_scale.npz"}
    if backbone:
        names = {"network": f"backbones/{backbone}.onnx", "classifier": f"{name}.pkl", "scaler": f"{name}_scaler.pkl"}
    files = {role: {"path": path, "sha256": "0" * 64} for role, path in names.items()}
    kind = "svm" if backbone else "cnn"
    return {"name": name, "kind": kind, "files": files, "out_of_fold": {"path": "x"}, "hyperparameters": {"C": 1}}


CARDS = [card("a"), card("b_svm", "b")]


def rules_of(weights, voting="hard", coefficients=None, point=None):
    coefficients = tuple(weights) if coefficients is None else coefficients
    return Rules(voting, 0.4, tuple(weights), Combination(coefficients, -0.123456789), point)


def describe(rules, decoding=AS_STORED, **changes):
    return describe_ensemble(CARDS, rules, DATA, decoding, GUARD, **changes)


def content_of(rules, decoding=AS_STORED, **changes) -> dict:
    """What is in the file."""
    return json.loads(json.dumps(describe(rules, decoding, **changes).model_dump(mode="json")))


def parse(content) -> ensemble_file.Ensemble:
    return parse_ensemble(json.dumps(content).encode(), "models/ensemble.json")


def test_content():
    rules = rules_of([1.23456789, 0], "weighted", (0.5, 0.7654321), POINT)
    assert content_of(rules, plugins=["json"]) == {
        "format": 7,
        "classes": ["non_defective", "defective"],
        "voting": "weighted",
        "threshold": 0.4,
        "intercept": -0.123457,
        "operating_point": {
            "pass_below": 0.25,
            "fail_from": 0.75,
            "max_escape_rate": 0.05,
            "confidence": 0.95,
            "n_defects": 100,
            "n_escapes": 1,
            "max_overkill_rate": 0.1,
            "n_good": 200,
            "n_overkill": 3,
        },
        "guard": GUARD,
        "trained_on": DATA,
        "decoding": {"bit_depth": 16, "float_range": None},
        "tile_side": None,
        "versions": VERSIONS,
        "plugins": ["json"],
        "voters": [
            {"name": "a", "kind": "cnn", "files": CARDS[0]["files"], "weight": 1.234568, "coefficient": 0.5},
            {"name": "b_svm", "kind": "svm", "files": CARDS[1]["files"], "weight": 0.0, "coefficient": 0.765432},
        ],
    }


@pytest.mark.parametrize(
    ("trained", "served", "words"),
    [
        (None, 224, "b_svm was trained on whole photographs, and is to vote on tiles of 224 pixels"),
        (224, None, "b_svm was trained on tiles of 224 pixels, and is to vote on whole photographs"),
        (224, 448, "b_svm was trained on tiles of 224 pixels, and is to vote on tiles of 448 pixels"),
    ],
)
def test_voters_see_what_they_were_trained_on(trained, served, words):
    cards = [CARDS[0], CARDS[1] if trained is None else CARDS[1] | {"tile_side": trained}]
    with pytest.raises(ModelsError, match=f"^{words}; run `dvc repro`"):
        describe_ensemble(cards, rules_of([1.0, 1.0]), DATA, AS_STORED, GUARD, tile_side=served)
    # A network of its own sees whole photographs, whatever the others see.
    ensemble = describe_ensemble(cards, rules_of([1.0, 1.0]), DATA, AS_STORED, GUARD, tile_side=trained)
    assert ensemble.tile_side == trained


@pytest.mark.parametrize(
    "point",
    [
        None,
        POINT,
        OperatingPoint(0.25, NEVER, 0.05, 0.95, 100, 1),
        OperatingPoint(NEVER, NEVER, None, None, 0, 0),
        OperatingPoint(1 / 3, 2 / 3, 0.01, 0.9, 3, 0),
    ],
)
@pytest.mark.parametrize("decoding", [AS_STORED, Decoding(bit_depth=12, float_range=(-0.5, 1000.0))])
def test_what_is_written_is_read(tmp_path, point, decoding):
    rules = Rules("weighted", 0.4, (1.25, 0.5), Combination((0.5, 0.75), -0.125), point)
    written = describe(rules, decoding)
    write_ensemble(tmp_path, written)
    read = read_ensemble(tmp_path)
    assert read == written
    assert (read.rules(), read.image_decoding()) == (rules, decoding)


def nodes(content, path=()):
    """Paths of all values inside a JSON document."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in inner:
        yield (*path, key)
        yield from nodes(value, (*path, key))


def changed(content, path, change):
    """A copy of a document in which one value is changed by a function of its container and key."""
    content = copy.deepcopy(content)
    container = content
    for key in path[:-1]:
        container = container[key]
    change(container, path[-1])
    return content


WHOLE = {
    "point": Rules("weighted", 0.4, (1.25, 0.5), Combination((0.5, 0.75), -0.125), POINT),
    "vote": rules_of([1.0, 0.5]),
}
OTHER_VALUES = [
    None, True, False, 0, 1, -1, 3, 10**400, 0.5, -0.5, 1.5, 1e300, float("nan"), float("inf"), "", "text", "../x",
    "/x", "a\\b", "C:x", "1", [], {}, [0.5], {"x": 1}, [[]], "0" * 63, "G" * 64,
]  # fmt: skip


@pytest.mark.parametrize("rules", WHOLE.values(), ids=WHOLE)
def test_any_damage_is_one_error_or_none(rules):
    content = content_of(rules, Decoding(12, (-0.5, 1000.0)), plugins=["json"])
    n_refused = n_read = 0
    damages = [lambda container, key: container.pop(key)]
    damages += [lambda container, key, value=value: container.__setitem__(key, value) for value in OTHER_VALUES]
    for path in nodes(content):
        for damage in damages:
            damaged = changed(content, path, damage)
            try:
                read = parse(damaged)
            except ModelsError as problem:
                n_refused += 1
                assert str(problem).startswith("models/ensemble.json ")
                assert str(problem).endswith("run `dvc repro`.")
            else:
                # Nothing was guessed or converted: what is read is what the file says.
                n_read += 1
                assert read.model_dump(mode="json") == damaged, path
    assert n_refused > 10 * n_read > 0


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("operating_point",), {"pass_below": 0.1}, r"operating_point.fail_from: field required; .* and 5 more"),
        (("operating_point", "n_escapes"), 101, "operating_point: n_escapes is more than n_defects"),
        (("operating_point", "fail_from"), 0.2, "operating_point: fail_from lies below pass_below"),
        (("operating_point", "n_overkill"), 201, "operating_point: n_overkill is more than n_good"),
        (("operating_point", "confidence"), None, "make a promise with confidence, and none without"),
        (("voters", 1, "name"), "a", "voters: a is listed twice"),
        (("voters", 0, "weight"), -1, "voters.0.weight: input should be greater than or equal to 0"),
        (("voters", 0, "coefficient"), float("nan"), "voters.0.coefficient: input should be a finite number"),
        (("voters", 0, "files"), {}, "voters.0: files lacks the role network"),
        (("voters", 1, "files", "memory"), {"path": "b.npz", "sha256": "4" * 64}, "voters.1: files must hold one of"),
        (("voters", 0, "files", "network", "path"), "../a.onnx", "voters.0.files.network.path: must be a path inside"),
        (("voters", 0, "files", "network", "sha256"), "A" * 64, "voters.0.files.network.sha256: string should match"),
        (("voters", 0, "files", "network", "path"), "b_svm.pkl", None),
        (("voters", 0, "files", "network"), {"path": "b_svm.pkl", "sha256": "3" * 64}, "two different fingerprints"),
        (("voters",), [], "voters: tuple should have at least 1 item"),
        (("guard", "network", "sha256"), "4" * 64, "backbones/b.onnx is named with two different fingerprints"),
        (("trained_on", "n_defects"), 4, "trained_on: n_defects is more than n_images"),
        (("threshold",), 1, "threshold: input should be less than 1"),
        (("threshold",), "0.5", "threshold: input should be a valid number"),
        (("classes",), ["defective", "non_defective"], "classes.0: input should be 'non_defective'"),
        (("decoding", "float_range"), [1.0, 0.5], "decoding: float_range must be"),
        (("trained_on", "n_images"), True, "trained_on.n_images: input should be a valid integer"),
        (("plugins",), ["os; x"], "plugins.0: string should match"),
        (("extra",), 1, "extra: extra inputs are not permitted"),
    ],
)  # fmt: skip
def test_the_message_names_the_key(path, value, message):
    damaged = changed(content_of(WHOLE["point"]), path, lambda container, key: container.__setitem__(key, value))
    if message is None:
        assert parse(damaged).model_dump(mode="json") == damaged
        return
    with pytest.raises(ModelsError, match=message):
        parse(damaged)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is damaged: invalid JSON"),
        (b"{", "is damaged: invalid JSON"),
        (b"\xff\xfe{}", "is damaged: invalid JSON"),
        (b"[]", "is damaged: input should be an object"),
        (b"{}", "is damaged: format: field required"),
        (
            b'{"format": 3}',
            "is of format 3, written by an earlier version; this version reads format 7: run `dvc repro`",
        ),
        (b'{"format": 99}', "is of another format; this version reads format 7: run `dvc repro`"),
        (b'{"format": "7"}', "is of another format"),
        (b'{"format": true}', "is of another format"),
        (b'{"format": 7.0}', "is of another format"),
        (b'{"format": ' + b"9" * 5000 + b"}", "models/ensemble.json is "),
        (b"[" * 100_000, "is damaged: invalid JSON"),
    ],
)
def test_files_that_are_no_ensemble(data, message):
    with pytest.raises(ModelsError, match=message) as caught:
        parse_ensemble(data, "models/ensemble.json")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_a_folder_in_place_of_the_file(tmp_path):
    (tmp_path / "ensemble.json").mkdir()
    with pytest.raises(ModelsError, match="do not exist; run `dvc repro`"):
        read_ensemble(tmp_path)


def write(folder, content):
    (folder / "ensemble.json").write_text(json.dumps(content), encoding="utf-8")


def test_a_voting_rule_that_is_not_there(tmp_path):
    write(tmp_path, content_of(WHOLE["vote"]) | {"voting": "veto"})
    with pytest.raises(ModelsError, match="ensemble.json cannot be used here: .* unknown voting rule 'veto'.*plugin"):
        read_ensemble(tmp_path)


def test_the_plugins_are_loaded_before_the_rule_is_looked_up(tmp_path, monkeypatch, own_tables):
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "louder_vote.py").write_text(
        "from inspection.decision.voting import VOTING_RULES, HardVoting\nVOTING_RULES['louder'] = HardVoting()\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    content = content_of(WHOLE["vote"], plugins=["louder_vote"]) | {"voting": "louder"}
    write(tmp_path, content)
    assert read_ensemble(tmp_path).rules().voting_rule is VOTING_RULES["louder"]
    monkeypatch.delitem(sys.modules, "louder_vote")
    write(tmp_path, content | {"plugins": ["no_such_plugin"]})
    with pytest.raises(ModelsError, match="no module 'no_such_plugin'.*dvc repro"):
        read_ensemble(tmp_path)


def test_weighted_voting_without_weights(tmp_path):
    content = content_of(rules_of([1.0, 1.0], "weighted"))
    for voter in content["voters"]:
        voter["weight"] = 0.0
    write(tmp_path, content)
    with pytest.raises(ModelsError, match="voters: none has a weight, and weighted voting needs one; delete it"):
        read_ensemble(tmp_path)


def test_weighted_ensemble_of_voters_no_better_than_chance():
    with pytest.raises(ModelsError, match="no voter beats chance .* use hard or soft voting"):
        describe(rules_of([0.0, 0.0], "weighted"))
    for voting in ("hard", "soft"):
        assert describe(rules_of([0.0, 0.0], voting)).voting == voting


def test_what_does_not_fit_is_not_written():
    with pytest.raises(ConfigError, match="unknown voting rule 'veto'"):
        describe(rules_of([1.0, 1.0], "veto"))
    with pytest.raises(ModelsError, match=r"do not make an ensemble: guard\.network: input should be a valid dict"):
        describe_ensemble(CARDS, rules_of([1.0, 1.0]), DATA, AS_STORED, GUARD | {"network": "a.onnx"})


@pytest.mark.parametrize(("n_defects", "knows_defects"), [(0, False), (1, True)])
def test_rules_know_whether_a_defect_was_seen(n_defects, knows_defects):
    ensemble = describe_ensemble(CARDS, rules_of([1.0, 1.0]), DATA | {"n_defects": n_defects}, AS_STORED, GUARD)
    assert ensemble.rules().knows_defects == knows_defects


@pytest.mark.parametrize("roles", [(), ("classifier", "scaler", "memory"), ("memory", "map_scale")])
def test_a_voter_is_of_one_kind(roles):
    content = content_of(WHOLE["vote"])
    files = content["voters"][0]["files"]
    del files["map_scale"]
    files |= {role: {"path": f"a.{role}", "sha256": "0" * 64} for role in roles}
    with pytest.raises(ModelsError, match="voters.0: files must hold one of classifier, memory, map_scale"):
        parse(content)


def test_one_promise_alone_has_a_confidence():
    for rates in ({"max_escape_rate": None}, {"max_overkill_rate": None}):
        content = content_of(WHOLE["point"])
        content["operating_point"] |= rates
        assert parse(content).operating_point.confidence == 0.95


@pytest.mark.parametrize("weights", [[1.0], [1.0, 1.0, 1.0]])
def test_every_voter_has_one_weight(weights):
    with pytest.raises(ValueError, match="zip"):
        describe(rules_of(weights))


def test_each_network_runs_once_for_all_that_look_at_it():
    def card_of(name: str, network: str, *roles: str) -> dict:
        paths = {"network": network} | {role: f"{name}.{role}" for role in roles}
        return {
            "name": name,
            "kind": "x",
            "files": {role: {"path": path, "sha256": "0" * 64} for role, path in paths.items()},
        }

    cards = [
        card_of("cnn", "cnn.onnx", "state_dict", "map_scale"),
        card_of("svm", "c.onnx", "classifier", "scaler"),
        card_of("forest", "c.onnx", "classifier", "scaler"),
        card_of("patches", "c.onnx", "memory"),
        card_of("large patches", "c_large.onnx", "memory"),
    ]
    ensemble = describe_ensemble(cards, rules_of([1.0] * 5), DATA, AS_STORED, GUARD)
    assert ensemble.outputs_wanted() == {
        "cnn.onnx": ("defect_proba", "defect_map"),
        "c.onnx": ("features", "patch_map"),
        "c_large.onnx": ("patch_map",),
        # No voter looks through it, but the guard does.
        "backbones/b.onnx": ("features",),
    }
    assert list(ensemble.networks()) == list(ensemble.outputs_wanted())
