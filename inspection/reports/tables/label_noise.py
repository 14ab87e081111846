"""Labels to look at again: training images whose out-of-fold scores contradict them."""

import numpy as np
import pandas as pd

from inspection.files import DIGITS
from inspection.labels import DEFECTIVE


def label_suspects(rows: pd.DataFrame, defect_proba: np.ndarray, max_suspects: int) -> pd.DataFrame:
    """Rank training images by how surely models that did not see them contradict their label.

    The rule is confident learning's simplest: the self-confidence of Northcutt, Jiang and Chuang, "Confident learning:
    estimating uncertainty in dataset labels" (Journal of Artificial Intelligence Research 70, 2021).

    Parameters
    ----------
    rows : DataFrame
        Training rows of the manifest: ``path`` and ``label``.
    defect_proba : ndarray of float, shape (n_rows,), in [0, 1]
        Out-of-fold P(defective) of the ensemble.
    max_suspects : int
        Most rows of the result.

    Returns
    -------
    DataFrame
        ``path``, ``label``, ``defect_proba`` and ``self_confidence`` (probability of the given label, below 1/2), the
        most suspicious first.
    """
    confidence = np.where(rows["label"] == DEFECTIVE, defect_proba, 1 - defect_proba)
    suspects = rows[["path", "label"]].assign(defect_proba=defect_proba, self_confidence=confidence)
    ranked = suspects.sort_values(["self_confidence", "path"], ignore_index=True)
    return ranked[ranked["self_confidence"] < 0.5].head(max_suspects).round(DIGITS)
