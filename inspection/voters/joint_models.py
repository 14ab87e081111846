"""Models of one kind asked at once, one per fold: what each call costs beside the computation is paid once.

For a single photograph that is most of it.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
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


class JointForests(JointModels):
    """Forests of two classes, all trees of which are gone through level by level.

    scikit-learn checks every tree again, which takes many times as long as asking it about one photograph. The
    probabilities are the same, to the last bit.

    Parameters
    ----------
    models : sequence of RandomForestClassifier
        With equally many trees each.
    """

    def __init__(self, models: Sequence[RandomForestClassifier]):
        trees = [tree.tree_ for model in models for tree in model.estimators_]
        starts = np.cumsum([0, *(tree.node_count for tree in trees)])
        self._roots = starts[:-1].astype(np.int32)
        children = [
            np.stack([tree.children_left, tree.children_right], axis=1) + start
            for tree, start in zip(trees, starts[:-1], strict=True)
        ]
        self._children = np.concatenate(children).astype(np.int32)
        self._features = np.concatenate([tree.feature for tree in trees]).astype(np.int32)
        self._thresholds = np.concatenate([tree.threshold for tree in trees])
        self._proba = np.concatenate([tree.value[:, 0, DEFECTIVE] for tree in trees])
        self._is_split = self._features >= 0
        self._n_models = len(models)

    def raw_scores(self, features: np.ndarray) -> np.ndarray:
        # What scikit-learn's trees are made for.
        points = np.ascontiguousarray(features, np.float32)
        leaves = np.empty((len(points), len(self._roots)), np.int32)
        for batch in gen_batches(len(points), _BATCH) if len(points) else ():
            leaves[batch] = self._find_leaves(points[batch])
        n_trees = len(self._roots) // self._n_models
        by_tree = self._proba[leaves.T].reshape(self._n_models, n_trees, len(points))
        # One tree after the other, as scikit-learn does: the last digit depends on the order.
        return np.add.accumulate(by_tree, axis=1)[:, -1] / n_trees

    def _find_leaves(self, points: np.ndarray) -> np.ndarray:
        """Return the node where each point ends in each tree; int, shape (n_images, n_trees)."""
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
    return None
