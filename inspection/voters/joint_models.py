"""Models of one kind asked at once, one per fold: what each call costs beside the computation is paid once.

For a single photograph that is most of it.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import expit, logit
from sklearn.base import ClassifierMixin
from sklearn.ensemble import RandomForestClassifier
from sklearn.svm import SVC
from sklearn.utils import gen_batches

from inspection.labels import DEFECTIVE

_BATCH = 256
"""Images that go through the trees at once, for bounded memory."""


class JointModels(ABC):
    """Several models that say together what each says alone."""

    @abstractmethod
    def raw_scores(self, features: np.ndarray) -> np.ndarray:
        """Return what every model says before calibration.

        Parameters
        ----------
        features : ndarray of float, shape (n_images, n_features)

        Returns
        -------
        ndarray of float, shape (n_models, n_images)
        """


class JointSVMs(JointModels):
    """SVMs of two classes that were trained on parts of the same rows, and so share most of their support vectors.

    LIBSVM goes through the support vectors of each SVM, one number after the other. Here the distances to all of them,
    each once, are one product of matrices; decision functions are scikit-learn's but for rounding.

    Parameters
    ----------
    models : sequence of SVC
        With an RBF kernel.
    """

    def __init__(self, models: Sequence[SVC]):
        places: dict[bytes, int] = {}
        self._places = [
            np.array([places.setdefault(row.tobytes(), len(places)) for row in model.support_vectors_])
            for model in models
        ]
        self._vectors = np.frombuffer(b"".join(places), float).reshape(len(places), -1)
        self._squares = np.einsum("ij,ij->i", self._vectors, self._vectors)
        self._models = [(model._gamma, model.dual_coef_[0], model.intercept_[0]) for model in models]

    def raw_scores(self, features: np.ndarray) -> np.ndarray:
        features = np.asarray(features, float)
        squares = np.einsum("ij,ij->i", features, features)
        distances = squares[:, np.newaxis] + self._squares - 2 * features @ self._vectors.T
        return np.stack(
            [
                np.exp(-gamma * distances[:, places]) @ coefficients + intercept
                for places, (gamma, coefficients, intercept) in zip(self._places, self._models, strict=True)
            ]
        )


class _Trees:
    """Decision trees, all of which are gone through level by level.

    Parameters
    ----------
    trees : sequence of (children, features, thresholds)
        Of each tree, by node: where a point goes next, at most and above the threshold, int of shape (n_nodes, 2); the
        feature that is compared, negative in a leaf; and the threshold.
    """

    def __init__(self, trees: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]]):
        children, features, thresholds = zip(*trees, strict=True)
        starts = np.cumsum([0, *map(len, features)])
        self._roots = starts[:-1].astype(np.int32)
        moved = [of_tree + start for of_tree, start in zip(children, starts[:-1], strict=True)]
        self._children = np.concatenate(moved).astype(np.int32)
        self._features = np.concatenate(features).astype(np.int32)
        self._thresholds = np.concatenate(thresholds)
        self._is_split = self._features >= 0

    def leaves(self, features: np.ndarray) -> np.ndarray:
        """Return the node where each point ends in each tree, counted through all trees.

        Parameters
        ----------
        features : ndarray of float, shape (n_images, n_features)
            Compared in single precision.

        Returns
        -------
        ndarray of int, shape (n_trees, n_images)
        """
        points = np.ascontiguousarray(features, np.float32)
        leaves = np.empty((len(points), len(self._roots)), np.int32)
        for batch in gen_batches(len(points), _BATCH) if len(points) else ():
            leaves[batch] = self._find_leaves(points[batch])
        return leaves.T

    def _find_leaves(self, points: np.ndarray) -> np.ndarray:
        values, rows = points.ravel(), np.arange(len(points), dtype=np.int32) * points.shape[1]
        leaves = np.tile(self._roots, len(points))
        moving = np.flatnonzero(self._is_split[leaves])
        nodes, firsts = leaves[moving], np.repeat(rows, len(self._roots))[moving]
        while moving.size:
            is_right = values[firsts + self._features[nodes]] > self._thresholds[nodes]
            nodes = self._children[nodes, is_right.view(np.int8)]
            goes_on = self._is_split[nodes]
            leaves[moving[~goes_on]] = nodes[~goes_on]
            moving, nodes, firsts = moving[goes_on], nodes[goes_on], firsts[goes_on]
        return leaves.reshape(len(points), -1)


class JointForests(JointModels):
    """Forests of two classes.

    scikit-learn checks every tree again, which takes many times as long as asking it about one photograph. The
    probabilities are the same, to the last bit.

    Parameters
    ----------
    models : sequence of RandomForestClassifier
        With equally many trees each.
    """

    def __init__(self, models: Sequence[RandomForestClassifier]):
        trees = [tree.tree_ for model in models for tree in model.estimators_]
        self._trees = _Trees(
            [
                (np.stack([tree.children_left, tree.children_right], axis=1), tree.feature, tree.threshold)
                for tree in trees
            ]
        )
        self._proba = np.concatenate([tree.value[:, 0, DEFECTIVE] for tree in trees])
        self._n_models = len(models)

    def raw_scores(self, features: np.ndarray) -> np.ndarray:
        by_tree = _by_model(self._proba[self._trees.leaves(features)], self._n_models)
        # One tree after the other, as scikit-learn does: the last digit depends on the order.
        return np.add.accumulate(by_tree, axis=1)[:, -1] / by_tree.shape[1]


class JointBoosters(JointModels):
    """Boosted trees of two classes.

    XGBoost makes a matrix of its own of every photograph and asks tree after tree. The probabilities are the same but
    for rounding.

    Parameters
    ----------
    learners : sequence of dict
        Of each model what `read_boosted` returns, with equally many trees.
    """

    def __init__(self, learners: Sequence[dict[str, Any]]):
        trees = [tree for learner in learners for tree in learner["gradient_booster"]["model"]["trees"]]
        self._trees = _Trees([_read_tree(tree) for tree in trees])
        # In a leaf the place of the threshold holds its value.
        self._values = np.concatenate([np.array(tree["split_conditions"], np.float32) for tree in trees])
        # XGBoost 3.1 and later write a list, of one number for two classes.
        base_scores = [float(learner["learner_model_param"]["base_score"].strip("[]")) for learner in learners]
        self._margins = logit(np.array(base_scores))[:, np.newaxis]

    def raw_scores(self, features: np.ndarray) -> np.ndarray:
        by_tree = _by_model(self._values[self._trees.leaves(features)], len(self._margins))
        return expit(self._margins + by_tree.sum(axis=1, dtype=float))


def _by_model(by_tree: np.ndarray, n_models: int) -> np.ndarray:
    return by_tree.reshape(n_models, len(by_tree) // n_models, by_tree.shape[-1])


def _read_tree(tree: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    children = np.array([tree["left_children"], tree["right_children"]]).T
    features = np.where(children[:, 0] < 0, -1, tree["split_indices"])
    # Right from the threshold on, not only above it.
    return children, features, np.nextafter(np.array(tree["split_conditions"], np.float32), np.float32(-np.inf))


def read_boosted(model: ClassifierMixin) -> dict[str, Any] | None:
    """Return what XGBoost writes of a model of two classes, or None where it is no such or more than trees.

    See https://xgboost.readthedocs.io/en/stable/tutorials/saving_model.html.

    Parameters
    ----------
    model : ClassifierMixin
        Fitted. None is said of trees that are not all asked, or split by anything but numbers.
    """
    # Found by its name: who has no such model need not load XGBoost.
    if f"{type(model).__module__}.{type(model).__name__}" != "xgboost.sklearn.XGBClassifier":
        return None
    learner: dict[str, Any] = json.loads(bytes(model.get_booster().save_raw("json")))["learner"]
    is_plain = (
        learner["objective"]["name"] == "binary:logistic"
        and learner["gradient_booster"]["name"] == "gbtree"
        # The best iteration of a training that was stopped early.
        and not learner["attributes"]
        and not any(any(tree["split_type"]) for tree in learner["gradient_booster"]["model"]["trees"])
    )
    return learner if is_plain else None


def join(models: Sequence[ClassifierMixin]) -> JointModels | None:
    """Return the models as one, or None where they can only be asked one by one.

    Parameters
    ----------
    models : sequence of ClassifierMixin
        Fitted on two classes, all with the same hyper-parameters. What derives from scikit-learn's classes may say
        something else, and is not joined.
    """
    if all(type(model) is SVC and model.kernel == "rbf" for model in models):
        return JointSVMs(models)
    if all(type(model) is RandomForestClassifier for model in models):
        return JointForests(models)
    learners = [learner for model in models if (learner := read_boosted(model))]
    return JointBoosters(learners) if len(learners) == len(models) else None
