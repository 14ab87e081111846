"""What a split is worth to a model that only remembers: the accuracy of the nearest neighbour."""

import numpy as np
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from inspection.labels import TEST, TRAIN


def nearest_neighbour_accuracy(vectors: np.ndarray, labels: np.ndarray, split: np.ndarray) -> float | None:
    """Give every test image the label of the training image most like it.

    The nearest neighbour learns nothing but the training images by heart, so a score that falls on a split without
    copies was memory.

    Parameters
    ----------
    vectors : ndarray of float, shape (n_images, n_features)
        From `inspection.audit.spectra.descriptors`.
    labels : ndarray of int, shape (n_images,)
    split : ndarray of str, shape (n_images,)

    Returns
    -------
    float in [0, 1] or None
        Mean of the two classes' shares of right labels; None when a part lacks a class.
    """
    train, test = split == TRAIN, split == TEST
    if min(len(np.unique(labels[part])) for part in (train, test)) < 2:
        return None
    model = make_pipeline(StandardScaler(), KNeighborsClassifier(n_neighbors=1, metric="cosine"))
    predicted = model.fit(vectors[train], labels[train]).predict(vectors[test])
    return float(balanced_accuracy_score(labels[test], predicted))
