"""Several RBF SVMs asked at once: what they share is computed once."""

from collections.abc import Sequence

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.svm import SVC


class JointSVMs:
    """SVMs of two classes that were trained on parts of the same rows, and so share most of their support vectors.

    LIBSVM goes through the support vectors of each SVM, one number after the other. Here the distances to all of them,
    each once, are one product of matrices.

    Parameters
    ----------
    models : sequence of SVC
        For which `are_joinable` holds.
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

    def decision_functions(self, features: np.ndarray) -> np.ndarray:
        """Return the decision function of every SVM, as scikit-learn defines it but for rounding.

        Parameters
        ----------
        features : ndarray of float, shape (n_images, n_features)

        Returns
        -------
        ndarray of float, shape (n_models, n_images)
        """
        features = np.asarray(features, float)
        squares = np.einsum("ij,ij->i", features, features)
        distances = squares[:, np.newaxis] + self._squares - 2 * features @ self._vectors.T
        return np.stack(
            [
                np.exp(-gamma * distances[:, places]) @ coefficients + intercept
                for places, (gamma, coefficients, intercept) in zip(self._places, self._models, strict=True)
            ]
        )


def are_joinable(models: Sequence[ClassifierMixin]) -> bool:
    """Whether all are scikit-learn's SVMs with an RBF kernel; what derives from them may say something else.

    Parameters
    ----------
    models : sequence of ClassifierMixin
        Fitted on two classes.
    """
    return all(type(model) is SVC and model.kernel == "rbf" for model in models)
