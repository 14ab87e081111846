"""Several models asked at once say what scikit-learn has each of them say."""

import pickle

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.svm import SVC
from xgboost import XGBClassifier

from inspection.voters.fold_ensemble import FoldEnsemble
from inspection.voters.joint_models import JointBoosters, JointForests, JointSVMs, join

N_FOLDS = 3


class DerivedSVM(SVC):
    """Might say something else."""


class DerivedForest(RandomForestClassifier):
    """Might say something else."""


class DerivedBooster(XGBClassifier):
    """Might say something else."""


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(90, 20))
    return features, (features[:, 0] + rng.normal(size=90) > 0).astype(int)


@pytest.fixture(scope="module")
def folds(data):
    """Features and labels without a third of the rows, and on a scale of their own, by which gammas differ."""
    features, labels = data
    kept = [np.arange(90) % N_FOLDS != fold for fold in range(N_FOLDS)]
    return [(features[rows] * (1, 1.5, 2)[fold], labels[rows]) for fold, rows in enumerate(kept)]


@pytest.fixture(scope="module")
def svms(folds):
    return [SVC(C=4).fit(*fold) for fold in folds]


@pytest.fixture(scope="module")
def forests(folds):
    weights = np.random.default_rng(2).uniform(0.5, 1, 60)
    return [RandomForestClassifier(57, min_samples_leaf=2, random_state=0).fit(*fold, weights) for fold in folds]


@pytest.fixture(scope="module")
def boosters(folds):
    return [XGBClassifier(n_estimators=31, max_depth=4, n_jobs=1).fit(*fold) for fold in folds]


@pytest.mark.parametrize("n_images", [1, 50])
def test_decision_functions_are_those_of_each(svms, n_images):
    features = np.random.default_rng(1).normal(size=(n_images, 20)).astype(np.float32)
    expected = [svm.decision_function(features) for svm in svms]
    np.testing.assert_allclose(JointSVMs(svms).raw_scores(features), expected, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_images", [1, 50, 300])
def test_forests_say_the_same_to_the_last_bit(forests, n_images, dtype):
    features = np.random.default_rng(1).normal(size=(n_images, 20)).astype(dtype)
    expected = [forest.predict_proba(features)[:, 1] for forest in forests]
    assert np.array_equal(JointForests(forests).raw_scores(features), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_images", [1, 50, 300])
def test_boosters_say_the_same_but_for_rounding(boosters, n_images, dtype):
    features = np.random.default_rng(1).normal(size=(n_images, 20)).astype(dtype)
    expected = [booster.predict_proba(features)[:, 1] for booster in boosters]
    np.testing.assert_allclose(join(boosters).raw_scores(features), expected, atol=1e-6)


def test_a_booster_of_few_defects_begins_below_one_half(data):
    """Its first margin, to which the trees add, comes from the share of defects."""
    features, labels = data[0], np.arange(90) < 6
    booster = XGBClassifier(n_estimators=2, max_depth=2, n_jobs=1).fit(features, labels)
    expected = booster.predict_proba(features)[:, 1]
    assert expected.mean() < 0.2
    np.testing.assert_allclose(join([booster]).raw_scores(features)[0], expected, atol=1e-6)


def test_a_value_at_the_threshold_goes_the_same_way_as_in_a_booster(data):
    booster = XGBClassifier(n_estimators=20, max_depth=4, n_jobs=1, tree_method="exact").fit(*data)
    thresholds = booster.get_booster().trees_to_dataframe()["Split"].dropna().unique()
    at_thresholds = np.repeat(thresholds[:, np.newaxis], 20, axis=1).astype(np.float32)
    expected = booster.predict_proba(at_thresholds)[:, 1]
    np.testing.assert_allclose(join([booster]).raw_scores(at_thresholds)[0], expected, atol=1e-6)


def test_a_tree_that_is_one_leaf(data):
    """No split leaves so many rows on both sides."""
    forests = [RandomForestClassifier(3, min_samples_leaf=60, random_state=seed).fit(*data) for seed in (0, 1)]
    expected = [forest.predict_proba(data[0])[:, 1] for forest in forests]
    assert np.array_equal(JointForests(forests).raw_scores(data[0]), expected)
    booster = XGBClassifier(n_estimators=3, min_child_weight=1e6, n_jobs=1).fit(*data)
    expected = booster.predict_proba(data[0])[:, 1]
    np.testing.assert_allclose(join([booster]).raw_scores(data[0])[0], expected, atol=1e-6)


def test_a_value_at_the_threshold_goes_the_same_way(data):
    rounded = np.rint(data[0])
    forest = RandomForestClassifier(20, random_state=0).fit(rounded, data[1])
    thresholds = np.unique(np.concatenate([tree.tree_.threshold for tree in forest.estimators_]))
    at_thresholds = np.repeat(thresholds[:, np.newaxis], 20, axis=1)
    expected = forest.predict_proba(at_thresholds)[:, 1]
    assert np.array_equal(JointForests([forest]).raw_scores(at_thresholds)[0], expected)


@pytest.mark.parametrize("kind", ["svms", "forests", "boosters"])
def test_none_are_asked_about_nothing(kind, request):
    joint = join(request.getfixturevalue(kind))
    assert joint.raw_scores(np.empty((0, 20), np.float32)).shape == (N_FOLDS, 0)


def test_what_is_served_is_the_mean_of_the_calibrated_models(data, svms):
    features = data[0]
    ensemble = FoldEnsemble(svms, 1.5, -0.25)
    expected = np.mean([1 / (1 + np.exp(0.25 - 1.5 * svm.decision_function(features))) for svm in svms], axis=0)
    np.testing.assert_allclose(ensemble.predict_proba(features)[:, 1], expected, atol=1e-10)


@pytest.mark.parametrize("kind", ["svms", "forests", "boosters"])
def test_what_a_judgement_leaves_behind_is_not_saved(data, kind, request):
    ensemble = FoldEnsemble(request.getfixturevalue(kind), 1.0, 0.0)
    before = pickle.dumps(ensemble)
    judged = ensemble.predict_proba(data[0])
    assert pickle.dumps(ensemble) == before
    np.testing.assert_array_equal(pickle.loads(before).predict_proba(data[0]), judged)


@pytest.mark.parametrize(
    ("model", "joint"),
    [
        (SVC(), JointSVMs),
        (RandomForestClassifier(3), JointForests),
        (XGBClassifier(n_estimators=3), JointBoosters),
        (SVC(kernel="linear"), type(None)),
        (DerivedSVM(), type(None)),
        (DerivedForest(3), type(None)),
        (DerivedBooster(n_estimators=3), type(None)),
        (XGBClassifier(n_estimators=3, booster="dart"), type(None)),
        (XGBClassifier(n_estimators=3, objective="binary:hinge"), type(None)),
        (ExtraTreesClassifier(3), type(None)),
    ],
)
def test_others_are_asked_one_by_one(data, model, joint):
    models = [model.fit(*data)] * 2
    assert type(join(models)) is joint
    assert FoldEnsemble(models, 1.0, 0.0).predict_proba(data[0]).shape == (90, 2)


def test_kinds_are_not_mixed(svms, forests):
    assert join([*svms, *forests]) is None
