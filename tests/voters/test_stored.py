"""Nothing is opened that ensemble.json does not vouch for, above all no pickle."""

import os
import pickle

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from inspection.errors import ModelsError
from inspection.files import sha256_bytes
from inspection.voters.stored import ShallowVoter, fingerprint, read_vouched, save_pickle


class Hostile:
    """Makes a folder wherever it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


@pytest.fixture
def data():
    """Twenty features of two classes three standard deviations apart, and their labels."""
    labels = np.arange(40) % 2
    features = np.random.default_rng(0).normal(size=(40, 20)) * 5 + 3 * labels[:, None] + 100
    return features.astype(np.float32), labels


@pytest.fixture
def models(tmp_path, data):
    """A models folder with a fitted scaler and classifier."""
    features, labels = data
    scaler = StandardScaler().fit(features)
    save_pickle(tmp_path / "models" / "scaler.pkl", scaler)
    classifier = LogisticRegression().fit(scaler.transform(features), labels)
    save_pickle(tmp_path / "models" / "classifier.pkl", classifier)
    return tmp_path / "models"


@pytest.fixture
def entries(models):
    """What ensemble.json says of that folder."""
    return {role: fingerprint(models, f"{role}.pkl") for role in ("scaler", "classifier")}


def test_fingerprint(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, B.1
    assert fingerprint(tmp_path, "deep/file") == {"path": "deep/file", "sha256": digest}


def test_saved_voter_answers_as_the_fitted_one(models, entries, data):
    features, labels = data
    scaler = StandardScaler().fit(features)
    classifier = LogisticRegression().fit(scaler.transform(features), labels)
    proba = ShallowVoter(models, entries).defect_proba(features)
    assert proba.shape == (40,)
    np.testing.assert_allclose(proba, classifier.predict_proba(scaler.transform(features))[:, 1])
    assert ((proba >= 0.5) == (labels == 1)).mean() > 0.9, "P(defective), not P(non_defective)"


def test_saved_voter_does_not_depend_on_the_batch(models, entries, data):
    voter = ShallowVoter(models, entries)
    together = voter.defect_proba(data[0])
    one_by_one = [voter.defect_proba(row[None])[0] for row in data[0]]
    np.testing.assert_allclose(one_by_one, together, rtol=1e-6)


def test_saving_replaces_in_one_step(models):
    assert sorted(path.name for path in models.iterdir()) == ["classifier.pkl", "scaler.pkl"]
    before = (models / "scaler.pkl").read_bytes()
    with pytest.raises((pickle.PicklingError, AttributeError, TypeError)):
        save_pickle(models / "scaler.pkl", lambda: None)
    assert (models / "scaler.pkl").read_bytes() == before
    assert sorted(path.name for path in models.iterdir()) == ["classifier.pkl", "scaler.pkl"]


@pytest.mark.parametrize("role", ["scaler", "classifier"])
def test_hostile_pickle_is_not_opened(models, entries, tmp_path, role):
    trap = tmp_path / "trap"
    save_pickle(models / f"{role}.pkl", Hostile(trap))
    with pytest.raises(ModelsError, match=rf"{role}\.pkl is not the file ensemble\.json vouches for .*not opened"):
        ShallowVoter(models, entries)
    assert not trap.exists()
    # The pickle is a live one: opened, it would have sprung.
    joblib.load(models / f"{role}.pkl")
    assert trap.is_dir()


@pytest.mark.parametrize(
    "change",
    [lambda data: data[:-1], lambda data: data + b"\0", lambda data: b"", lambda data: b"x" + data[1:]],
    ids=["shorter", "longer", "empty", "one byte"],
)
def test_changed_file_is_refused(models, entries, change):
    path = models / "scaler.pkl"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ModelsError, match=r"scaler\.pkl is not the file .* delete it and run `dvc repro`"):
        read_vouched(models, entries["scaler"])


def test_vouched_bytes_are_returned(models, entries):
    assert read_vouched(models, entries["scaler"]) == (models / "scaler.pkl").read_bytes()
    assert read_vouched(str(models), entries["scaler"]) == (models / "scaler.pkl").read_bytes()


@pytest.mark.parametrize(
    "path", ["../outside.pkl", "deep/../../outside.pkl", "{folder}/outside.pkl", "link.pkl", "away/outside.pkl"]
)
def test_path_outside_the_folder_is_refused(models, tmp_path, path):
    trap = tmp_path / "trap"
    save_pickle(tmp_path / "outside.pkl", Hostile(trap))
    (models / "deep").mkdir()
    (models / "link.pkl").symlink_to(tmp_path / "outside.pkl")
    (models / "away").symlink_to(tmp_path)
    path = path.format(folder=tmp_path)
    entry = {"path": path, "sha256": sha256_bytes((tmp_path / "outside.pkl").read_bytes())}
    with pytest.raises(ModelsError, match=r"names '.*', which is outside .*models; run `dvc repro`"):
        ShallowVoter(models, {"scaler": entry, "classifier": entry})
    assert not trap.exists()


def test_links_within_the_folder_and_to_the_folder_are_fine(models, entries, tmp_path):
    (tmp_path / "current").symlink_to(models)
    (models / "same.pkl").symlink_to(models / "scaler.pkl")
    assert read_vouched(tmp_path / "current", entries["scaler"] | {"path": "same.pkl"})


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("gone.pkl", r"gone\.pkl, which ensemble\.json names, cannot be read \(No such file.*\); run `dvc repro`, or"),
        ("deep/gone.pkl", r"gone\.pkl, .* cannot be read \(No such file"),
        (".", r"cannot be read \(Is a directory"),
    ],
)
def test_file_that_cannot_be_read(models, path, message):
    with pytest.raises(ModelsError, match=message):
        read_vouched(models, {"path": path, "sha256": "0" * 64})


@pytest.mark.parametrize(
    "content",
    [b"cno_such_module\nThing\n.", b"csklearn.svm\nNoSuchClass\n.", b"", b"not a pickle"],
    ids=["module gone", "class gone", "empty", "text"],
)
def test_vouched_pickle_of_other_versions(models, entries, content):
    (models / "scaler.pkl").write_bytes(content)
    files = entries | {"scaler": fingerprint(models, "scaler.pkl")}
    expected = r"scaler\.pkl was written by other library versions .* install requirements\.txt"
    with pytest.raises(ModelsError, match=expected):
        ShallowVoter(models, files)
