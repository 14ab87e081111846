"""One model per fold, one sigmoid: probabilities computed by hand, and the interface scikit-learn expects."""

import pickle

import numpy as np
import pytest
from sklearn.base import is_classifier

from inspection.voters.fold_ensemble import FoldEnsemble, raw_scores


class Shift:
    """Scores an image by its only feature and a constant."""

    def __init__(self, by):
        self.by = by

    def decision_function(self, features):
        return features[:, 0] + self.by


class Forest:
    """Has no decision function."""

    def predict_proba(self, features):
        return np.column_stack([1 - features[:, 0], features[:, 0]])


def test_mean_of_the_calibrated_probabilities():
    # Log-odds of 2 * (0 + 1) - 2 = 0 and 2 * (0 + 3) - 2 = 4: probabilities of 1/2 and 1 / (1 + exp(-4)).
    proba = FoldEnsemble([Shift(1), Shift(3)], 2.0, -2.0).predict_proba(np.zeros((1, 1)))
    assert proba == pytest.approx(np.array([[1, 0]]) + np.array([[-1, 1]]) * (0.5 + 1 / (1 + np.exp(-4))) / 2)


def test_equal_probabilities_are_defective():
    ensemble = FoldEnsemble([Shift(-1), Shift(1)], 1.0, 0.0)
    assert ensemble.predict(np.array([[-0.1], [0.0], [0.1]])).tolist() == [0, 1, 1]
    assert ensemble.classes_.tolist() == [0, 1]


def test_raw_scores_are_of_the_defective_class():
    features = np.array([[0.2], [0.7]], np.float32)
    assert raw_scores(Forest(), features) == pytest.approx([0.2, 0.7])
    assert raw_scores(Shift(1), features) == pytest.approx([1.2, 1.7])
    assert raw_scores(Forest(), features).dtype == float


def test_scikit_learn_takes_it_for_a_classifier():
    ensemble = FoldEnsemble([Shift(0)], 1.0, 0.0)
    assert is_classifier(ensemble)
    assert set(ensemble.get_params()) == {"models", "slope", "intercept"}
    again = pickle.loads(pickle.dumps(ensemble))
    assert np.array_equal(again.predict_proba(np.eye(2)), ensemble.predict_proba(np.eye(2)))
