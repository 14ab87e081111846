"""Tables that explain an evaluation: rates of every kind of part, agreement of voters, what each threshold costs.

A part is rejected when its probability is ``>=`` the threshold.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import is_bool_dtype

from inspection.decision.outcomes import Outcomes
from inspection.files import DIGITS
from inspection.labels import CLASS_NAMES, DEFECTIVE
from inspection.reports.tables.intervals import grouped_share_interval

MAX_VALUES = 30
"""A column with more values than this identifies parts more than it sorts them."""
MAX_THRESHOLDS = 400
"""Rows of the trade-off: more than a picture can show."""
CERTAINTY = "label certainty"
"""Derived column: a label with a defect probability strictly between 0 and 1 (or unknown) is uncertain."""
NOT_STATED = "(not stated)"


def rates_by_value(predictions: pd.DataFrame, rows: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the rates of the ensemble for each value of some columns of the manifest.

    Columns with a single value or with more than `MAX_VALUES` are left out. `CERTAINTY` comes last when the images
    hold certain and uncertain labels.

    Parameters
    ----------
    predictions : DataFrame, shape (n_images, ...)
        ``path``, ``actual`` (``defective`` or ``non_defective``) and ``verdict`` (one of these or ``review``).
    rows : DataFrame, shape (n_images, ...)
        The manifest of the same images in the same order: ``path``, ``group``, ``defect_probability`` and ``columns``.
    columns : sequence of str

    Returns
    -------
    DataFrame
        ``column``, ``value`` (as text; `NOT_STATED` when empty), ``n_images``, ``n_defects``, ``n_escapes`` (defects
        that pass) and ``n_overkill`` (good parts that fail), and in [0, 1] ``escape_rate`` and ``overkill_rate`` with
        the bounds ``_low`` and ``_high`` of `inspection.reports.tables.intervals.grouped_share_interval`,
        ``review_rate`` and ``accuracy`` as `inspection.reports.tables.metrics.summarise` defines it, rounded. NaN
        where no part is defective, or none good. Values keep their sorted order.

    Raises
    ------
    ValueError
        If the rows are not those of the predictions, or lack a column.
    """
    if predictions["path"].tolist() != rows["path"].tolist():
        raise ValueError("predictions and rows must hold the same paths in the same order")
    missing = [column for column in columns if column not in rows]
    if missing:
        raise ValueError(f"the manifest has no column {', '.join(missing)}; it has {', '.join(rows.columns)}")
    of_all = Outcomes.of(predictions["verdict"].to_numpy())
    is_defect = predictions["actual"].to_numpy() == CLASS_NAMES[DEFECTIVE]
    outcomes = pd.DataFrame(
        {
            "is_defect": is_defect,
            "passes": of_all.passes,
            "fails": of_all.fails,
            "reviewed": of_all.reviewed,
            "group": rows["group"].array,
        }
    )
    values = {column: rows[column].to_numpy() for column in columns}
    values[CERTAINTY] = np.where(rows["defect_probability"].isin([0, 1]), "certain", "uncertain")
    lines = [line for column, of_column in values.items() for line in _lines(column, of_column, outcomes)]
    return pd.DataFrame(lines, columns=["column", "value", *_rates(outcomes)]).round(DIGITS)


def _lines(column: str, values: np.ndarray, outcomes: pd.DataFrame) -> list[dict]:
    parts = outcomes.groupby(values, sort=True, dropna=False)
    if not 1 < len(parts) <= MAX_VALUES:
        return []
    return [{"column": column, "value": _as_text(value)} | _rates(part) for value, part in parts]


def _as_text(value: Any) -> str:
    return NOT_STATED if pd.isna(value) or value == "" else str(value)


def _rates(outcomes: pd.DataFrame) -> dict[str, float | int]:
    is_defect, passes, fails = (outcomes[name].to_numpy(dtype=bool) for name in ("is_defect", "passes", "fails"))
    is_right = ~passes == is_defect
    groups = outcomes["group"].to_numpy()
    counts = {
        "n_images": len(outcomes),
        "n_defects": int(is_defect.sum()),
        "n_escapes": int((is_defect & passes).sum()),
        "n_overkill": int((~is_defect & fails).sum()),
    }
    return counts | {
        **_rate("escape_rate", passes[is_defect], groups[is_defect]),
        **_rate("overkill_rate", fails[~is_defect], groups[~is_defect]),
        "review_rate": float(outcomes["reviewed"].mean()),
        "accuracy": float(is_right.mean()) if len(outcomes) else np.nan,
    }


def _rate(name: str, happens: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    # Without parts a rate is unknown, not zero.
    bounds = grouped_share_interval(happens, groups) if len(happens) else (np.nan, np.nan)
    values = (float(np.mean(happens)) if len(happens) else np.nan, *bounds)
    return dict(zip((name, f"{name}_low", f"{name}_high"), values, strict=True))


def agreement(votes: pd.DataFrame) -> pd.DataFrame:
    """Return the share of images on which two voters say the same.

    Parameters
    ----------
    votes : DataFrame of bool, shape (n_images, n_voters)
        Whether the voter calls the image defective; one column per voter, at least one image.

    Returns
    -------
    DataFrame of float in [0, 1], shape (n_voters, n_voters)
        Symmetric, 1 on the diagonal, rounded.

    Raises
    ------
    ValueError
        If there is no image, or a vote is not bool: of probabilities, the shares would be nonsense.
    """
    if not len(votes):
        raise ValueError("agreement needs at least one image")
    if not all(is_bool_dtype(dtype) for dtype in votes.dtypes):
        raise ValueError(f"votes must be bool, got {', '.join(sorted({str(dtype) for dtype in votes.dtypes}))}")
    says_defect = votes.to_numpy(dtype=int)
    says_good = 1 - says_defect
    same = (says_defect.T @ says_defect + says_good.T @ says_good) / len(votes)
    return pd.DataFrame(same.round(DIGITS), index=votes.columns, columns=votes.columns)


def tradeoff(is_defect: np.ndarray, proba: np.ndarray) -> pd.DataFrame:
    """Return the escape and the overkill rate of every threshold that makes a difference.

    Parameters
    ----------
    is_defect : ndarray of bool, shape (n_images,)
    proba : ndarray of float, shape (n_images,)
        P(defective).

    Returns
    -------
    DataFrame
        ``threshold`` (each distinct probability, and the next number above the largest: nothing is rejected),
        ascending, ``escape_rate`` and ``overkill_rate`` in [0, 1], NaN without defects or without good parts. At most
        `MAX_THRESHOLDS` rows, the first and the last included; of more, those that tell small rates apart are kept.

    Raises
    ------
    ValueError
        If shapes differ, there is no image, or a probability is NaN.
    """
    if is_defect.shape != proba.shape or is_defect.ndim != 1 or not len(proba):
        raise ValueError(f"need two non-empty arrays of one shape (n_images,), got {is_defect.shape} and {proba.shape}")
    if np.isnan(proba).any():
        raise ValueError(f"{int(np.isnan(proba).sum())} of {len(proba)} probabilities are NaN")
    values = np.unique(proba)
    thresholds = np.append(values, np.nextafter(values[-1], np.inf))
    table = pd.DataFrame(
        {
            "threshold": thresholds,
            "escape_rate": _share_below(proba[is_defect], thresholds),
            "overkill_rate": 1 - _share_below(proba[~is_defect], thresholds),
        }
    )
    return _thinned(table) if len(table) > MAX_THRESHOLDS else table


def _thinned(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows at even distances along the curve, measured between square roots: a line is wanted at small rates.

    Evenly chosen thresholds would leave holes there, as nearly all parts of a good line are far from any threshold.
    """
    roots = np.sqrt(table[["escape_rate", "overkill_rate"]].fillna(0).to_numpy())
    steps = np.abs(np.diff(roots, axis=0)).sum(axis=1)
    travelled = np.concatenate([[0], np.cumsum(steps)])
    places = np.searchsorted(travelled, np.linspace(0, travelled[-1], MAX_THRESHOLDS))
    return table.iloc[np.unique(places)].reset_index(drop=True)


def _share_below(proba: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Return the share of probabilities that are ``<`` each threshold."""
    if not len(proba):
        return np.full(len(thresholds), np.nan)
    return np.searchsorted(np.sort(proba), thresholds, side="left") / len(proba)
