"""How votes are counted: one object per voting rule, in one table to which a plugin adds its own."""

import difflib
from abc import ABC, abstractmethod

import numpy as np
import numpy.typing as npt

from inspection.errors import ConfigError


class VotingRule(ABC):
    """How the votes on a photograph are counted, and what is said of the count.

    Attributes
    ----------
    summary : str
        What decides, in a few words for the viewer.
    is_weighted : bool
        Whether the voters' weights count; at least one of them must then be positive.
    follows_probability : bool
        Whether, without an operating point, the ensemble's probability decides alone. Under every other rule the
        majority must agree with it.
    """

    summary: str
    is_weighted: bool = False
    follows_probability: bool = False

    @abstractmethod
    def share(
        self, proba: npt.NDArray[np.float64], threshold: float, weights: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Return how much of the vote is for defective.

        Parameters
        ----------
        proba : ndarray of float, shape (n_images, n_voters), in [0, 1]
            P(defective) of every voter.
        threshold : float in (0, 1)
            A voter votes defective when its probability is ``>=`` this.
        weights : ndarray of float, shape (n_voters,), >= 0
            How much each voter is trusted; see `inspection.decision.combination.vote_weights`.

        Returns
        -------
        ndarray of float, shape (n_images,), in [0, 1]
            Above one half the vote is defective, below it non-defective; one half is a tie, and so is NaN.
        """

    def explain(self, proba: npt.NDArray[np.float64], threshold: float, weights: npt.NDArray[np.float64]) -> str:
        """Say how the votes on one photograph were counted, as a part of a sentence.

        Parameters
        ----------
        proba : ndarray of float, shape (n_voters,), in [0, 1]
        threshold, weights
            As of `share`.

        Returns
        -------
        str
        """
        n_defective = int(np.sum(proba >= threshold))
        return f"{n_defective} of {len(proba)} models say defective, {len(proba) - n_defective} non-defective"


class HardVoting(VotingRule):
    """The majority of the voters."""

    summary = "majority of the models"

    def share(
        self, proba: npt.NDArray[np.float64], threshold: float, weights: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Return the share of the voters that vote defective; see `VotingRule.share`."""
        return np.asarray((proba >= threshold).mean(axis=1), dtype=np.float64)


class SoftVoting(HardVoting):
    """The ensemble's probability; the majority is asked where an operating point says what passes."""

    summary = "the ensemble's probability"
    follows_probability = True


class WeightedVoting(VotingRule):
    """The majority of the voters' weights."""

    summary = "weighted majority"
    is_weighted = True

    def share(
        self, proba: npt.NDArray[np.float64], threshold: float, weights: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Return the share of the weights whose voters vote defective; see `VotingRule.share`."""
        return np.asarray((proba >= threshold) @ (weights / weights.sum()), dtype=np.float64)

    def explain(self, proba: npt.NDArray[np.float64], threshold: float, weights: npt.NDArray[np.float64]) -> str:
        """Say that the votes were weighed: unsaid, a smaller group that wins would look like a mistake."""
        return f"{super().explain(proba, threshold, weights)} (weighted by how often each model was right)"


VOTING_RULES: dict[str, VotingRule] = {"hard": HardVoting(), "soft": SoftVoting(), "weighted": WeightedVoting()}
"""Name, as ``ensemble.voting`` gives it, to rule. A plugin adds a line: ``VOTING_RULES["veto"] = Veto()``."""


def voting_rule(name: str) -> VotingRule:
    """Return a voting rule of the table.

    Parameters
    ----------
    name : str
        A key of `VOTING_RULES`.

    Returns
    -------
    VotingRule

    Raises
    ------
    ConfigError
        If no rule has that name.
    """
    if name not in VOTING_RULES:
        close = difflib.get_close_matches(name, VOTING_RULES, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(VOTING_RULES)}."
        raise ConfigError(f"ensemble.voting: unknown voting rule {name!r}; {hint}")
    return VOTING_RULES[name]
