"""Several SVMs asked at once say what scikit-learn has each of them say."""

import pickle

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.svm import SVC

from inspection.voters.fold_ensemble import FoldEnsemble
from inspection.voters.joint_svms import JointSVMs, are_joinable

N_FOLDS = 3


class Derived(SVC):
    """Might say something else."""


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(90, 20))
    return features, (features[:, 0] + rng.normal(size=90) > 0).astype(int)


@pytest.fixture(scope="module")
def svms(data):
    """Each without a third of the rows, and with a gamma of its own."""
    features, labels = data
    kept = [np.arange(90) % N_FOLDS != fold for fold in range(N_FOLDS)]
    return [SVC(C=4).fit(features[rows] * (1, 1.5, 2)[fold], labels[rows]) for fold, rows in enumerate(kept)]


@pytest.mark.parametrize("n_images", [0, 1, 50])
def test_decision_functions_are_those_of_each(svms, n_images):
    features = np.random.default_rng(1).normal(size=(n_images, 20)).astype(np.float32)
    # scikit-learn refuses to judge nothing.
    expected = [svm.decision_function(features) if n_images else np.empty(0) for svm in svms]
    np.testing.assert_allclose(JointSVMs(svms).decision_functions(features), expected, atol=1e-10)


def test_what_is_served_is_the_mean_of_the_calibrated_models(data, svms):
    features = data[0]
    ensemble = FoldEnsemble(svms, 1.5, -0.25)
    expected = np.mean([1 / (1 + np.exp(0.25 - 1.5 * svm.decision_function(features))) for svm in svms], axis=0)
    np.testing.assert_allclose(ensemble.predict_proba(features)[:, 1], expected, atol=1e-10)


def test_what_a_judgement_leaves_behind_is_not_saved(data, svms):
    ensemble = FoldEnsemble(svms, 1.0, 0.0)
    before = pickle.dumps(ensemble)
    judged = ensemble.predict_proba(data[0])
    assert pickle.dumps(ensemble) == before
    np.testing.assert_array_equal(pickle.loads(before).predict_proba(data[0]), judged)


@pytest.mark.parametrize(
    ("model", "joinable"),
    [(SVC(), True), (SVC(kernel="linear"), False), (Derived(), False), (RandomForestClassifier(3), False)],
)
def test_others_are_asked_one_by_one(data, svms, model, joinable):
    features, labels = data
    models = [*svms, model.fit(features, labels)]
    assert are_joinable(models) == joinable
    assert FoldEnsemble(models, 1.0, 0.0).predict_proba(features).shape == (90, 2)
