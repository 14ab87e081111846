"""The table of classifiers: one line adds one, and what cannot become a voter is refused before hours of search."""

import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from inspection.errors import ConfigError
from inspection.voters.classifiers import CLASSIFIERS, check_classifiers, make_classifier
from inspection.voters.shallow import train_shallow


@pytest.mark.parametrize(
    ("name", "kind"), [("svm", "SVC"), ("random_forest", "RandomForestClassifier"), ("xgboost", "XGBClassifier")]
)
def test_make_classifier(name, kind):
    classifier = make_classifier(name, 7)
    assert type(classifier).__name__ == kind
    assert classifier.get_params()["random_state"] == 7
    assert classifier.get_params().get("n_jobs", 1) == 1


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"knn": {}}, r"^classifiers, search: unknown classifier 'knn'; known: svm, random_forest, xgboost\.$"),
        ({"svn": {}}, r"^classifiers, search: unknown classifier 'svn'; did you mean 'svm'\?$"),
        ({"svm": {"c": [1]}}, r"^search\.svm: SVC has no parameter 'c'"),
        ({"svm": {"gama": [1]}}, r"^search\.svm: SVC has no parameter 'gama'; did you mean 'gamma'\?$"),
        ({"svm": {}, "random_forest": {"C": [1]}}, r"^search\.random_forest: RandomForestClassifier has no .* 'C'"),
        ({"xgboost": {"depth": [3]}}, r"^search\.xgboost: XGBClassifier has no parameter 'depth'"),
    ],
)
def test_search_of_what_is_not_there(search, message):
    with pytest.raises(ConfigError, match=message):
        check_classifiers(search)


def test_one_line_adds_a_classifier(monkeypatch):
    monkeypatch.setitem(CLASSIFIERS, "logistic", lambda seed: LogisticRegression(random_state=seed))
    check_classifiers({"logistic": {"C": [0.1]}})
    labels = np.arange(60) % 2
    features = np.random.default_rng(0).normal(size=(60, 4)) + 6 * labels[:, None]
    folds = np.arange(60) // 2 % 3
    trained = train_shallow("logistic", {"C": [0.1, 1.0]}, features, labels, np.ones(60), folds, seed=0)
    assert [type(model) for model in trained.classifier.models] == [LogisticRegression] * 3
    assert np.array_equal(trained.out_of_fold >= 0.5, labels == 1)


@pytest.mark.parametrize(
    ("classifier", "message"),
    [
        (KNeighborsClassifier(), r"classifiers: mine \(KNeighborsClassifier\) takes no sample weights; use another"),
        (KMeans(), r"classifiers: mine \(KMeans\) gives no scores; use another"),
    ],
)
def test_what_cannot_become_a_voter(classifier, message, monkeypatch):
    monkeypatch.setitem(CLASSIFIERS, "mine", lambda seed: classifier)
    with pytest.raises(ConfigError, match=message):
        check_classifiers({"mine": {}})
