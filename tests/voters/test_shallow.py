"""Shallow classifiers on tiny data: honest out-of-fold scores, calibration, and errors before hours of search."""

import joblib
import numpy as np
import pytest
from scipy.stats import rankdata
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from inspection.calibration import calibrate_across_folds
from inspection.errors import ConfigError
from inspection.voters.shallow import make_classifier, train_shallow

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
    # The final scaler and classifier saw every row.
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
def test_out_of_fold_order_is_that_of_a_model_without_the_fold(data, weights):
    features, labels, _, folds = data
    trained = train_shallow("svm", {"C": [2.0]}, features, labels, weights, folds, seed=0)
    for fold in range(N_FOLDS):
        rest, held_out = folds != fold, folds == fold
        scaler = StandardScaler().fit(features[rest])
        model = SVC(C=2.0).fit(scaler.transform(features[rest]), labels[rest], sample_weight=weights[rest])
        scores = model.decision_function(scaler.transform(features[held_out]))
        assert rankdata(trained.out_of_fold[held_out]).tolist() == rankdata(scores).tolist()


def test_final_classifier_is_fitted_on_all_rows_with_their_weights(data):
    features, labels, _, folds = data
    weights = np.where(np.arange(80) % 7 < 3, 0.05, 1.0)
    trained = train_shallow("svm", {"C": [2.0]}, features, labels, weights, folds, seed=0)
    scaled = trained.scaler.transform(features)
    model = SVC(C=2.0).fit(StandardScaler().fit_transform(features), labels, sample_weight=weights)
    proba = trained.classifier.predict_proba(scaled)[:, 1]
    assert np.argsort(proba).tolist() == np.argsort(model.decision_function(scaled)).tolist()


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
    assert trained.classifier.estimator.kernel == "rbf"
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


def test_out_of_fold_scores_are_calibrated_by_the_other_folds(data):
    features, labels, weights, folds = data
    first = train_shallow("svm", {"C": [2.0]}, features, labels, weights, folds, seed=0)
    scores = np.empty(80)
    for fold in range(N_FOLDS):
        rest = folds != fold
        scaler = StandardScaler().fit(features[rest])
        model = SVC(C=2.0).fit(scaler.transform(features[rest]), labels[rest])
        scores[~rest] = model.decision_function(scaler.transform(features[~rest]))
    expected = calibrate_across_folds(scores, labels, weights, folds)
    np.testing.assert_allclose(first.out_of_fold, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "kind"), [("svm", "SVC"), ("random_forest", "RandomForestClassifier"), ("xgboost", "XGBClassifier")]
)
def test_make_classifier(name, kind):
    classifier = make_classifier(name, 7)
    assert type(classifier).__name__ == kind
    assert classifier.get_params()["random_state"] == 7
    assert classifier.get_params().get("n_jobs", 1) == 1


@pytest.mark.parametrize(
    ("name", "grid", "message"),
    [
        ("knn", {}, "unknown classifier 'knn'; known: svm, random_forest, xgboost"),
        ("svm", {"c": [1]}, r"^search\.svm: SVC has no parameter 'c'"),
        ("random_forest", {"C": [1]}, r"^search\.random_forest: RandomForestClassifier has no parameter 'C'"),
        ("xgboost", {"depth": [3]}, r"^search\.xgboost: XGBClassifier has no parameter 'depth'"),
        ("svm", {"C": [-1]}, r"refuses \{'C': -1\}: .*C"),
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


def test_forest_out_of_fold_scores_differ_from_fitted_ones(data):
    # A forest knows its training rows nearly by heart; the scores kept must not be those.
    features, labels, weights, folds = data
    labels = np.random.default_rng(3).permutation(labels)
    trained = train_shallow("random_forest", GRIDS["random_forest"], features, labels, weights, folds, seed=0)
    by_heart = RandomForestClassifier(15, random_state=0).fit(features, labels).predict_proba(features)[:, 1]
    assert roc_auc_score(labels, by_heart) > 0.95
    assert roc_auc_score(labels, trained.out_of_fold) < 0.7
