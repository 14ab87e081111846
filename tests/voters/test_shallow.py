"""Shallow classifiers on tiny data: honest out-of-fold scores, calibration, and errors before hours of search."""

import os
import subprocess
import sys

import joblib
import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from inspection.calibration import fit_logistic
from inspection.errors import ConfigError, DataError
from inspection.files import sha256_file
from inspection.voters.fold_ensemble import raw_scores
from inspection.voters.shallow import train_shallow
from tests.conftest import ROOT

GRIDS = {"svm": {"C": [1.0]}, "random_forest": {"n_estimators": [15]}, "xgboost": {"n_estimators": [8]}}
N_FOLDS = 4


@pytest.fixture(autouse=True)
def one_process():
    """Tiny fits are not worth starting worker processes for."""
    with joblib.parallel_config(backend="sequential"):
        yield


@pytest.fixture
def data():
    """Eighty rows, two of five features tell the classes apart; labels and folds are balanced."""
    random = np.random.default_rng(0)
    labels = np.arange(80) % 2
    features = random.normal(size=(80, 5)).astype(np.float32)
    features[:, 0] += 1.5 * labels
    features[:, 1] = 100 + 50 * (features[:, 1] - labels)
    return features, labels, np.ones(80), np.arange(80) // 2 % N_FOLDS


@pytest.mark.parametrize("name", GRIDS)
def test_trained_voter(name, data):
    features, labels, weights, folds = data
    trained = train_shallow(name, GRIDS[name], features, labels, weights, folds, seed=0)
    assert trained.hyperparameters == {key: values[0] for key, values in GRIDS[name].items()}
    assert trained.out_of_fold.shape == (80,)
    assert ((trained.out_of_fold >= 0) & (trained.out_of_fold <= 1)).all()
    assert roc_auc_score(labels, trained.out_of_fold) > 0.75
    # The scaler saw every row, and so did the models together.
    np.testing.assert_allclose(trained.scaler.mean_, features.mean(axis=0), rtol=1e-5)
    proba = trained.classifier.predict_proba(trained.scaler.transform(features))[:, 1]
    assert roc_auc_score(labels, proba) > 0.85
    # Calibrated on balanced classes: the mean probability is the share of defects.
    assert proba.mean() == pytest.approx(0.5, abs=0.08)
    assert trained.out_of_fold.mean() == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize("name", GRIDS)
def test_out_of_fold_scores_of_noise_are_no_better_than_chance(name):
    random = np.random.default_rng(1)
    labels = np.arange(200) % 2
    features = random.normal(size=(200, 30))
    folds = np.arange(200) // 2 % N_FOLDS
    trained = train_shallow(name, GRIDS[name], features, labels, np.ones(200), folds, seed=0)
    # Seen rows would give nearly 1; the standard error of an area of 0.5 with 100 + 100 rows is 0.04.
    assert roc_auc_score(labels, trained.out_of_fold) < 0.62


@pytest.mark.parametrize("weights", [np.ones(80), np.where(np.arange(80) % 7 < 3, 0.05, 1.0)], ids=["equal", "unequal"])
def test_the_model_of_a_fold_is_fitted_on_the_others(data, weights):
    features, labels, _, folds = data
    trained = train_shallow("svm", {"C": [2.0]}, features, labels, weights, folds, seed=0)
    scaled = StandardScaler().fit(features).transform(features)
    assert len(trained.classifier.models) == N_FOLDS
    for fold, model in enumerate(trained.classifier.models):
        rest = folds != fold
        expected = SVC(C=2.0).fit(scaled[rest], labels[rest], sample_weight=weights[rest])
        assert np.array_equal(model.decision_function(scaled), expected.decision_function(scaled))


@pytest.mark.parametrize("name", GRIDS)
def test_what_is_scored_is_what_is_served(name, data):
    features, labels, weights, folds = data
    trained = train_shallow(name, GRIDS[name], features, labels, weights, folds, seed=0)
    served, scaled = trained.classifier, trained.scaler.transform(features)
    raw = np.array([raw_scores(model, scaled) for model in served.models])
    # Every row's score is that of the one served model that did not see it, after the sigmoid of all.
    assert np.array_equal(trained.out_of_fold, served.calibrate(raw[folds, np.arange(80)]))
    # And what is served is the mean over these models, but for rounding: XGBoost counts in single precision.
    expected = np.mean([served.calibrate(scores) for scores in raw], axis=0)
    rounding = 1e-6 if name == "xgboost" else 1e-12
    np.testing.assert_allclose(served.predict_proba(scaled)[:, 1], expected, rtol=rounding)


def test_the_sigmoid_is_fitted_on_the_scores_of_all_folds(data):
    features, labels, _, folds = data
    weights = np.where(np.arange(80) % 7 < 3, 0.05, 1.0)
    trained = train_shallow("svm", {"C": [2.0]}, features, labels, weights, folds, seed=0)
    scaled = trained.scaler.transform(features)
    raw = np.array([model.decision_function(scaled) for model in trained.classifier.models])[folds, np.arange(80)]
    slope, intercept = fit_logistic(raw.reshape(-1, 1), labels, weights)
    assert (trained.classifier.slope, trained.classifier.intercept) == (slope[0], intercept)


def test_nothing_is_fitted_twice(data, monkeypatch):
    fits, fit = [], SVC.fit

    def counted(self, X, y, sample_weight=None):
        fits.append(self.C)
        return fit(self, X, y, sample_weight)

    monkeypatch.setattr(SVC, "fit", counted)
    train_shallow("svm", {"C": [1.0, 2.0, 4.0]}, *data, seed=0)
    assert sorted(fits) == [1.0] * N_FOLDS + [2.0] * N_FOLDS + [4.0] * N_FOLDS


def test_labels_of_a_fold_do_not_change_the_order_of_its_scores(data):
    features, labels, weights, folds = data
    first = train_shallow("svm", {"C": [2.0]}, features, labels, weights, folds, seed=0)
    held_out = folds == 0
    changed = labels.copy()
    changed[np.flatnonzero(held_out)[:4]] ^= 1
    second = train_shallow("svm", {"C": [2.0]}, features, changed, weights, folds, seed=0)
    assert rankdata(first.out_of_fold[held_out]).tolist() == rankdata(second.out_of_fold[held_out]).tolist()
    assert (rankdata(first.out_of_fold[~held_out]) != rankdata(second.out_of_fold[~held_out])).any()


@pytest.mark.parametrize("name", ["random_forest", "xgboost"])
def test_seed(name, data):
    grid = GRIDS[name] | ({"subsample": [0.5]} if name == "xgboost" else {})
    first, again, other = (train_shallow(name, grid, *data, seed=seed).out_of_fold for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("kernels", [["linear", "rbf"], ["rbf", "linear"]])
def test_search_keeps_what_separates_best(kernels):
    # A ring around a disc: no line separates them.
    random = np.random.default_rng(0)
    labels = np.arange(80) % 2
    angle, radius = random.uniform(0, 2 * np.pi, 80), random.uniform(0, 1, 80) + 2 * labels
    features = np.column_stack([radius * np.cos(angle), radius * np.sin(angle)])
    tried = []
    trained = train_shallow(
        "svm", {"kernel": kernels, "C": [1.0]}, features, labels, np.ones(80), np.arange(80) // 2 % N_FOLDS, seed=0,
        progress=lambda combinations: tried.extend(combinations) or combinations,
    )  # fmt: skip
    assert trained.hyperparameters == {"kernel": "rbf", "C": 1.0}
    assert len(tried) == 2
    assert {model.kernel for model in trained.classifier.models} == {"rbf"}
    assert roc_auc_score(labels, trained.out_of_fold) > 0.99


def test_first_of_equals_is_kept(data):
    # The size of a cache changes nothing but time.
    trained = train_shallow("svm", {"cache_size": [150, 100, 200]}, *data, seed=0)
    assert trained.hyperparameters == {"cache_size": 150}


def test_weights_reach_the_fits(data):
    features, labels, weights, folds = data
    # Wrong labels on a quarter of the rows of every fold, with a weight of nearly nothing.
    wrong = np.arange(80) // 8 % 4 == 0
    labels = np.where(wrong, 1 - labels, labels)
    grid = {"C": [10.0], "kernel": ["linear"]}
    equal = train_shallow("svm", grid, features, labels, weights, folds, seed=0)
    weighted = train_shallow("svm", grid, features, labels, np.where(wrong, 1e-6, 1.0), folds, seed=0)
    areas = [roc_auc_score(labels[~wrong], trained.out_of_fold[~wrong]) for trained in (equal, weighted)]
    assert areas[1] > areas[0]
    assert (
        weighted.out_of_fold[labels.astype(bool) & ~wrong].mean()
        > equal.out_of_fold[labels.astype(bool) & ~wrong].mean()
    )


@pytest.mark.parametrize(
    ("name", "grid", "message"),
    [
        ("knn", {}, "unknown classifier 'knn'; known: svm, random_forest, xgboost"),
        ("svm", {"c": [1]}, r"^search\.svm: SVC has no parameter 'c'"),
        ("svm", {"C": [-1]}, r"^search\.svm: SVC refuses \{'C': -1\}: .*C"),
        ("svm", {"C": ["one"]}, r"refuses \{'C': 'one'\}"),
        ("random_forest", {"n_estimators": [0]}, r"refuses \{'n_estimators': 0\}"),
        (
            "xgboost",
            {"max_depth": ["deep"], "n_estimators": [2]},
            r"refuses \{'max_depth': 'deep', 'n_estimators': 2\}",
        ),
        ("xgboost", {"subsample": [2.0], "n_estimators": [2]}, r"refuses \{.*'subsample': 2\.0"),
    ],
)
def test_search_that_cannot_be(name, grid, message, data):
    with pytest.raises(ConfigError, match=message):
        train_shallow(name, grid, *data, seed=0)


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        (np.zeros(80, int), "labelled non_defective lie in 1 fold; nothing can be trained without it"),
        (np.where(np.arange(80) % 2, 0, np.arange(80) % 3), "labelled defective lie in 1 fold"),
        (np.arange(80) % 4, "no fold holds images of both classes; lower data.folds"),
    ],
)
def test_folds_that_cannot_be(folds, message, data):
    with pytest.raises(DataError, match=message):
        train_shallow("svm", {"C": [1.0]}, *data[:3], folds, seed=0)


def test_a_fold_of_one_class_counts_for_nothing_in_the_search(data):
    features, labels, weights, folds = data
    folds = np.where(labels == 0, folds, folds % 3)  # the last fold holds good parts only
    trained = train_shallow("svm", {"C": [1.0, 2.0]}, features, labels, weights, folds, seed=0)
    assert roc_auc_score(labels, trained.out_of_fold) > 0.75


TRAIN_TINY = """
import sys
from pathlib import Path
import numpy as np
from inspection.voters.shallow import train_shallow
from inspection.voters.guard import fit_guard, write_guard
from inspection.voters.stored import save_pickle
import joblib

folder, n_jobs = Path(sys.argv[1]), int(sys.argv[2])
random = np.random.default_rng(0)
labels = np.arange(240) % 2
features = (random.normal(size=(240, 400)) @ random.normal(size=(400, 400)) + labels[:, None]).astype(np.float32)
folds = np.arange(240) // 2 % 4
grids = {"svm": {"C": [1.0, 2.0]}, "random_forest": {"n_estimators": [10]}, "xgboost": {"n_estimators": [5]}}
with joblib.parallel_config(n_jobs=n_jobs):
    for name, grid in grids.items():
        trained = train_shallow(name, grid, features, labels, np.ones(240), folds, 0)
        save_pickle(folder / f"{name}.pkl", trained.classifier)
        save_pickle(folder / f"{name}_scaler.pkl", trained.scaler)
        np.save(folder / f"{name}.npy", trained.out_of_fold)
write_guard(folder / "guard.npz", fit_guard(features, labels.astype(str), folds, 0.05))
"""


def test_bytes_do_not_depend_on_threads_jobs_or_hashes(tmp_path):
    written = []
    for n_jobs, n_threads, seed in ((1, "1", "0"), (3, "2", "1")):
        folder = tmp_path / str(n_jobs)
        folder.mkdir()
        environment = os.environ | {
            "OMP_NUM_THREADS": n_threads, "OPENBLAS_NUM_THREADS": n_threads, "PYTHONHASHSEED": seed,
        }  # fmt: skip
        command = [sys.executable, "-c", TRAIN_TINY, str(folder), str(n_jobs)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        written.append({path.name: sha256_file(path) for path in sorted(folder.iterdir())})
    assert len(written[0]) == 10
    assert written[0] == written[1]


def test_forest_out_of_fold_scores_differ_from_fitted_ones(data):
    # A forest knows its training rows nearly by heart; the scores kept must not be those.
    features, labels, weights, folds = data
    labels = np.random.default_rng(3).permutation(labels)
    trained = train_shallow("random_forest", GRIDS["random_forest"], features, labels, weights, folds, seed=0)
    by_heart = RandomForestClassifier(15, random_state=0).fit(features, labels).predict_proba(features)[:, 1]
    assert roc_auc_score(labels, by_heart) > 0.95
    assert roc_auc_score(labels, trained.out_of_fold) < 0.7
