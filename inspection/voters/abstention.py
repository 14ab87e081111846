"""Voters that have nothing to learn: they abstain, say why, and leave the vote to the others."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inspection.errors import ModelsError
from inspection.files import replacing, write_json
from inspection.labels import CLASS_NAMES, DEFECTIVE


def why_abstain(labels: np.ndarray, parts: np.ndarray) -> str:
    """Say why nothing can be learned of defects without each part in turn.

    Parameters
    ----------
    labels : ndarray of int, shape (n_images,)
    parts : ndarray of int, shape (n_images,)
        Each is left out once: folds, or parts made of them.

    Returns
    -------
    str
        Empty when defects lie in two parts or more, so that some are left whichever part is not seen.
    """
    is_defect, name = labels == DEFECTIVE, CLASS_NAMES[DEFECTIVE]
    n_parts = len(set(parts[is_defect]))
    if n_parts >= 2:
        return ""
    if not n_parts:
        return f"no training image is {name}"
    return f"one of the parts left out in turn holds all {int(is_defect.sum())} training images labelled {name}"


def voting_cards(declared: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], str]:
    """Return the cards of the voters that vote, and what is to be said of those that abstain.

    Parameters
    ----------
    declared : sequence of dict
        From `inspection.voters.cards.read_cards`.

    Returns
    -------
    cards : list of dict
    notice : str
        One sentence per reason; empty when all vote.

    Raises
    ------
    ModelsError
        If none votes.
    """
    voting, abstaining = [], dict[str, list[str]]()
    for card in declared:
        if "abstains" in card:
            abstaining.setdefault(card["abstains"], []).append(card["name"])
        else:
            voting.append(card)
    if not voting:
        raise ModelsError(
            f"no voter learned anything: {'; '.join(abstaining) or 'params.yaml names none'}. Name patch_memory in "
            "detectors, which learns from good parts alone, or add photographs of defects (data.supplied_split = "
            "redraw takes some of the test part)."
        )
    return voting, " ".join(f"{', '.join(names)} abstain: {reason}." for reason, names in abstaining.items())


def write_abstention(
    cards: str | Path, models: str | Path, voter: str, kind: str, names: Sequence[str], reason: str
) -> None:
    """Write the card of a voter that abstains, and empty files in place of its models and scores.

    No file that ensemble.json does not name is ever opened, and it names none of these.

    Parameters
    ----------
    cards, models : str or Path
        Folders.
    voter, kind : str
        See `inspection.voters.cards.write_card`.
    names : sequence of str
        Of the files that the voter would have written, below ``models``.
    reason : str
        From `why_abstain`.
    """
    print(f"{voter} abstains: {reason}")
    for name in [*names, f"out_of_fold/{voter}.csv"]:
        with replacing(Path(models) / name) as temporary:
            temporary.touch()
    write_json(Path(cards) / f"{voter}.json", {"voter": [{"name": voter, "kind": kind, "abstains": reason}]})
