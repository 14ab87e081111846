"""The table of predictions on test images: what its columns are, and what follows from them alone."""

import numpy as np
import pandas as pd

from inspection.decision.outcomes import Outcomes
from inspection.labels import CLASS_NAMES, DEFECTIVE

ENSEMBLE = "ensemble"
"""Name of the ensemble among the voters."""
VERDICT_COLUMNS = ("path", "actual", "verdict", "defect_proba", "confidence", "cause", "unlikeness")
"""Of the table of predictions; the others are the voters."""


def is_defective(predictions: pd.DataFrame) -> np.ndarray:
    """Return which parts are defective by their label.

    Parameters
    ----------
    predictions : DataFrame, shape (n_images, ...)
        With ``actual``.

    Returns
    -------
    ndarray of bool, shape (n_images,)
    """
    return predictions["actual"].to_numpy() == CLASS_NAMES[DEFECTIVE]


def voters_of(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the voters' P(defective), one column each.

    Parameters
    ----------
    predictions : DataFrame, shape (n_images, ...)
        With `VERDICT_COLUMNS`.
    """
    return predictions.drop(columns=list(VERDICT_COLUMNS))


def mistakes_of(predictions: pd.DataFrame) -> pd.DataFrame:
    """Return the rows whose verdict is the other class than the label; a review is no mistake, since a person looks.

    Parameters
    ----------
    predictions : DataFrame, shape (n_images, ...)
        With ``actual`` and ``verdict``.

    Returns
    -------
    DataFrame, shape (n_mistakes, ...)
        With the index of ``predictions``, and ``label`` as number.
    """
    is_defect, outcomes = is_defective(predictions), Outcomes.of(predictions["verdict"].to_numpy())
    is_wrong = np.where(is_defect, outcomes.passes, outcomes.fails)
    return predictions.assign(label=is_defect.astype(int))[is_wrong]
