"""Labels to look at again: training images whose out-of-fold scores contradict them."""

import numpy as np
import pandas as pd

from inspection.labels import DEFECTIVE


def label_suspects(scores: list[pd.DataFrame], max_suspects: int) -> pd.DataFrame:
    """Rank training images by how surely models that did not see them contradict their label.

    The rule is confident learning's simplest: the self-confidence of Northcutt, Jiang and Chuang, "Confident learning:
    estimating uncertainty in dataset labels" (Journal of Artificial Intelligence Research 70, 2021), averaged over the
    voters.

    Parameters
    ----------
    scores : list of DataFrame
        Out-of-fold scores of each voter: columns ``path``, ``label`` and ``defect_proba``. A voter may have scored a
        part of the images only.
    max_suspects : int

    Returns
    -------
    DataFrame
        ``path``, ``label``, ``defect_proba`` (mean of the voters) and ``self_confidence`` (probability of the given
        label, below 1/2), the most suspicious first.
    """
    together = pd.concat(scores, ignore_index=True)
    mean = together.groupby(["path", "label"], as_index=False)["defect_proba"].mean()
    confidence = np.where(mean["label"] == DEFECTIVE, mean["defect_proba"], 1 - mean["defect_proba"])
    ranked = mean.assign(self_confidence=confidence).sort_values(["self_confidence", "path"], ignore_index=True)
    return ranked[ranked["self_confidence"] < 0.5].head(max_suspects).round(4)
