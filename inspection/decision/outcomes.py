"""Which parts pass, fail and go to review: the one derivation from verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from inspection.labels import CLASS_NAMES, DEFECTIVE, NON_DEFECTIVE, REVIEW


@dataclass(frozen=True)
class Outcomes:
    """What happens to parts.

    Attributes
    ----------
    passes, fails, reviewed : ndarray of bool, shape (n_images,)
        Exactly one of them holds for each part.
    """

    passes: np.ndarray
    fails: np.ndarray
    reviewed: np.ndarray

    @classmethod
    def of(cls, verdicts: Sequence[str] | np.ndarray) -> "Outcomes":
        """Return the outcomes of verdicts.

        Parameters
        ----------
        verdicts : sequence of str, shape (n_images,)
            ``non_defective``, ``defective`` or ``review``.
        """
        words = np.asarray(verdicts, dtype=object)
        return cls(words == CLASS_NAMES[NON_DEFECTIVE], words == CLASS_NAMES[DEFECTIVE], words == REVIEW)

    @classmethod
    def at_threshold(cls, proba: np.ndarray, threshold: float) -> "Outcomes":
        """Return the outcomes of a voter alone, which reviews nothing.

        Parameters
        ----------
        proba : ndarray of float, shape (n_images,), in [0, 1]
            P(defective).
        threshold : float
            A part fails when its probability is ``>=`` this.
        """
        fails = np.asarray(proba) >= threshold
        return cls(~fails, fails, np.zeros(len(fails), bool))
