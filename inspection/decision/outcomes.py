"""What becomes of parts: the one place that tells passing, failing and reviewed parts apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from inspection.labels import CLASS_NAMES, DEFECTIVE, NON_DEFECTIVE, REVIEW


@dataclass(frozen=True)
class Outcomes:
    """Which parts pass, fail, and go to review: exactly one of these for each part.

    Attributes
    ----------
    passes, fails, reviewed : ndarray of bool, shape (n_images,)
    """

    passes: npt.NDArray[np.bool_]
    fails: npt.NDArray[np.bool_]
    reviewed: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, verdicts: Sequence[str] | npt.NDArray[np.str_]) -> Self:
        """Return the outcomes of verdicts.

        Parameters
        ----------
        verdicts : sequence of str, shape (n_images,)
            ``non_defective``, ``defective`` or ``review``.

        Raises
        ------
        ValueError
            If a word is no verdict: it would otherwise be a part that nobody looks at.
        """
        words = np.asarray(verdicts, dtype=object)
        outcomes = cls(words == CLASS_NAMES[NON_DEFECTIVE], words == CLASS_NAMES[DEFECTIVE], words == REVIEW)
        unknown = words[~(outcomes.passes | outcomes.fails | outcomes.reviewed)]
        if len(unknown):
            raise ValueError(f"{unknown[0]!r} is no verdict")
        return outcomes

    @classmethod
    def at_threshold(cls, proba: npt.NDArray[np.float64], threshold: float) -> Self:
        """Return the outcomes where one probability decides alone and nobody reviews.

        Parameters
        ----------
        proba : ndarray of float, shape (n_images,), in [0, 1]
            P(defective).
        threshold : float
            A part fails when its probability is ``>=`` this.
        """
        fails = np.asarray(proba) >= threshold
        return cls(~fails, fails, np.zeros(fails.shape, dtype=bool))
