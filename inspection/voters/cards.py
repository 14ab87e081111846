"""A card per trained voter: what it is, the fingerprints of its files, and how it did on images it had not seen.

Cards are small and kept in git. The stage that joins all voters depends on their folder, so that DVC sees every change
of a voter, and a voter that params.yaml no longer names cannot stay behind.
"""

import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score

from inspection.errors import ModelsError
from inspection.files import DIGITS, read_json, replacing, write_json
from inspection.labels import CLASS_NAMES
from inspection.voters.stored import fingerprint, read_vouched


@dataclass(frozen=True)
class TrainedFiles:
    """What a training stage wrote.

    Attributes
    ----------
    kind : str
        ``cnn``, or the name of a classifier.
    files : dict of str to str
        Role to file name below the models folder: ``network``, and ``classifier`` and ``scaler`` of a shallow voter,
        ``memory`` of a detector, ``map_scale`` of a network that votes itself.
    hyperparameters : dict of str to object
        Values a search chose; JSON can hold them.
    metrics : dict of str to float
        What is said of the training beside the out-of-fold scores.
    tile_side : int or None
        Of the tiles in which the voter sees photographs; None sees them whole.
    """

    kind: str
    files: dict[str, str]
    hyperparameters: dict[str, object]
    metrics: dict[str, float] = field(default_factory=dict)
    tile_side: int | None = None


def write_card(
    cards: str | Path, models: str | Path, voter: str, trained: TrainedFiles, rows: pd.DataFrame, proba: np.ndarray
) -> None:
    """Write the card of a voter to ``cards``, and its out-of-fold scores to ``models/out_of_fold``.

    Parameters
    ----------
    cards, models : str or Path
        Folders.
    voter : str
        Name of the voter, and of both files.
    trained : TrainedFiles
    rows : DataFrame
        The manifest's rows that have an out-of-fold score, with ``path`` and ``label``.
    proba : ndarray of float, shape (n_rows,), in [0, 1]
        P(defective) of ``rows`` by a model that did not see them.

    Raises
    ------
    FileNotFoundError
        If one of the voter's files was not written.
    """
    scores_name = f"out_of_fold/{voter}.csv"
    scores = pd.DataFrame({"path": rows["path"].to_numpy(), "label": rows["label"].to_numpy(), "defect_proba": proba})
    with replacing(Path(models) / scores_name) as temporary:
        scores.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")
    description: dict[str, Any] = {
        "name": voter,
        "kind": trained.kind,
        "files": {role: fingerprint(models, name) for role, name in trained.files.items()},
        "out_of_fold": fingerprint(models, scores_name),
        "hyperparameters": trained.hyperparameters,
    }
    if trained.tile_side is not None:
        description["tile_side"] = trained.tile_side
    content = {
        **_out_of_fold_metrics(rows["label"].to_numpy(), proba),
        **trained.metrics,
        "n_images": len(rows),
        # In a list, because DVC would make columns of a mapping.
        "voter": [description],
    }
    write_json(Path(cards) / f"{voter}.json", content)


def _out_of_fold_metrics(labels: np.ndarray, proba: np.ndarray) -> dict[str, float]:
    if len(set(labels)) < len(CLASS_NAMES):
        return {}
    return {
        "roc_auc": round(float(roc_auc_score(labels, proba)), DIGITS),
        "average_precision": round(float(average_precision_score(labels, proba)), DIGITS),
    }


def read_cards(cards: str | Path, voters: list[str]) -> list[dict[str, Any]]:
    """Read the cards of exactly these voters, and delete those of voters that are no longer declared.

    Parameters
    ----------
    cards : str or Path
        Folder.
    voters : list of str
        Names, in the order wanted.

    Returns
    -------
    list of dict
        Per voter ``name``, ``kind``, ``files``, ``out_of_fold`` and ``hyperparameters``, as `write_card` wrote them,
        and ``tile_side`` where it sees tiles; of one that abstains ``name``, ``kind`` and ``abstains``, the reason.

    Raises
    ------
    ModelsError
        If a card is missing or damaged.
    """
    for path in sorted(Path(cards).glob("*.json")):
        if path.stem not in voters:
            print(f"{path.stem} is no longer declared in params.yaml; its card is deleted")
            path.unlink()
    missing = [voter for voter in voters if not (Path(cards) / f"{voter}.json").is_file()]
    if missing:
        raise ModelsError(f"{missing[0]} has no card in {cards}/; run `dvc repro` to train it.")
    return [_read_description(Path(cards) / f"{voter}.json") for voter in voters]


def _read_description(path: Path) -> dict[str, Any]:
    match read_json(path, ModelsError):
        case {"voter": [{"name": path.stem, "kind": str(), "files": dict(), "out_of_fold": dict()} as description]}:
            return description
        case {"voter": [{"name": path.stem, "kind": str(), "abstains": str()} as description]}:
            return description
    raise ModelsError(f"{path} is not the card of a voter; delete it and run `dvc repro`.")


def read_out_of_fold(models: str | Path, card: dict[str, Any], rows: pd.DataFrame) -> np.ndarray:
    """Return the out-of-fold scores of a voter.

    Parameters
    ----------
    models : str or Path
    card : dict
        From `read_cards`.
    rows : DataFrame
        The training rows of the manifest.

    Returns
    -------
    ndarray of float, shape (n_rows,), in [0, 1]
        P(defective).

    Raises
    ------
    ModelsError
        If the scores are missing, are not those the card was written with, or belong to other images.
    """
    scores = pd.read_csv(io.BytesIO(read_vouched(models, card["out_of_fold"])), dtype={"path": str})
    if scores["path"].tolist() != rows["path"].tolist():
        raise ModelsError(f"{card['out_of_fold']['path']} holds the scores of other images; run `dvc repro`.")
    return scores["defect_proba"].to_numpy()
