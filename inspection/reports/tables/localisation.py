"""How well defect maps point at the defects that masks mark, exactly, without keeping any map.

- A pixel is called defect at a threshold when its value is ``>=`` it. The thresholds are all values that occur, and one
  above them at which nothing is called defect; between two thresholds the curves are straight lines. Thus equal values
  count half in the area under the ROC curve.
- Background are all pixels of good photographs and those of defective ones outside of their mask. All photographs are
  pooled: a large one has more pixels, and every defect region counts the same in AUPRO, whatever its size.
- Per type of defect: the defective photographs of that type and all good photographs, as in the evaluation of MVTec
  LOCO AD (Bergmann et al. 2022).
- A defective photograph without a mark is left out, since some of its background is no background.
"""

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from inspection.files import DIGITS
from inspection.labels import NON_DEFECTIVE
from inspection.reports.tables.insight import NOT_STATED
from inspection.reports.tables.intervals import bootstrap_interval, grouped_share_interval
from inspection.reports.tables.map_counts import LocalisationCounts

FALSE_POSITIVE_LIMIT = 0.3
"""Up to which share of the background called defect AUPRO integrates."""
N_RESAMPLES = 1000
"""Of the bootstrap over groups."""

_GOOD = ""
"""The kind of a photograph without a defect."""
_AREAS = ("pixel_auroc", "aupro")
_BLOCK = 10
"""Resamples taken at once: each takes some megabytes."""
_DECIMALS = 10
"""To which an area is known: shares of regions are no whole numbers, and their sums may miss 1 by a little."""


def summarise_localisation(counts: Sequence[LocalisationCounts], rows: pd.DataFrame, seed: int = 0) -> dict:
    """Return how well defect maps point at marked defects.

    - ``pixel_auroc``: area under the ROC curve of all pixels.
    - ``aupro``: area under the mean share of a defect region that is called defect, over the share of the background
      that is, up to `FALSE_POSITIVE_LIMIT` and divided by it (Bergmann et al. 2020, "Uninformed Students"; 2021, "The
      MVTec Anomaly Detection Dataset", IJCV). A map of one value has 0.15.
    - ``pointing_game``: share of marked photographs whose largest value lies on a defect (Zhang et al. 2016, "Top-down
      Neural Attention by Excitation Backprop"), without their tolerance of some pixels. Where several pixels have it,
      the photograph counts by the share of them that lie on a defect.

    The bounds of the areas are those of `bootstrap_interval`, from `N_RESAMPLES` draws of groups; those of the pointing
    game are those of `grouped_share_interval`.

    Parameters
    ----------
    counts : sequence of LocalisationCounts, shape (n_images,)
    rows : DataFrame, shape (n_images, ...)
        The same images of the manifest: ``label``, ``group`` and ``defect_type``.
    seed : int
        Of the draws.

    Returns
    -------
    dict
        ``n_good`` and ``n_masks`` photographs, ``n_regions``, and ``n_unmarked`` defective photographs left out; the
        metrics with ``_low`` and ``_high``, rounded; and where types are stated, ``by_type`` the same by type. Metrics
        that compare are missing without a mark or without background.

    Raises
    ------
    ValueError
        If the rows are not those of the counts, or a good part has a marked defect.
    """
    is_good, is_marked = _sort(counts, rows)
    summary: dict = {"n_good": int(is_good.sum()), "n_unmarked": int((~is_good & ~is_marked).sum())}
    if not is_marked.any():
        return {"n_masks": 0} | summary
    is_used = is_good | is_marked
    used = _Photographs(
        np.array(counts, object)[is_used],
        rows["group"].to_numpy()[is_used],
        np.where(is_good, _GOOD, rows["defect_type"].replace("", NOT_STATED))[is_used],
    )
    of_all, of_types = _resample(used, seed)
    summary = _describe(used, of_all) | summary
    if set(of_types) != {NOT_STATED}:
        summary["by_type"] = {kind: _describe(used.of(kind), areas) for kind, areas in of_types.items()}
    return summary


def summarise_lit_share(
    counts: Sequence[LocalisationCounts], rows: pd.DataFrame, level: float, seed: int = 0
) -> dict[str, float | int]:
    """Return how much of the area of good parts a map shows at or above a level: ideally almost nothing.

    Parameters
    ----------
    counts : sequence of LocalisationCounts, shape (n_images,)
    rows : DataFrame, shape (n_images, ...)
        The same images of the manifest: ``label`` and ``group``.
    level : float
        On the scale of the maps.
    seed : int
        Of the draws.

    Returns
    -------
    dict
        ``n_good`` photographs, and unless there are none ``lit_share`` of their pixels, in [0, 1], with ``_low`` and
        ``_high`` as the areas of `summarise_localisation`, rounded.

    Raises
    ------
    ValueError
        As `summarise_localisation`.
    """
    is_good, _ = _sort(counts, rows)
    good = [count for count, is_one in zip(counts, is_good, strict=True) if is_one]
    if not good:
        return {"n_good": 0}
    # Compared as float64: a float16 beside a plain number would round the level.
    lit = np.array([count.background_counts[count.background_values.astype(float) >= level].sum() for count in good])
    sizes = np.array([count.background_counts.sum() for count in good])
    names, members = np.unique(rows["group"].to_numpy()[is_good], return_inverse=True)
    weights = _draw(len(names), seed)[members]
    share, *drawn = (lit @ weights) / (sizes @ weights)
    return {"n_good": len(good)} | _bounded("lit_share", share, np.array(drawn), len(names))


class _Photographs(NamedTuple):
    """Photographs that are counted: arrays of one length, their kind being the type of defect or `_GOOD`."""

    counts: np.ndarray
    groups: np.ndarray
    kinds: np.ndarray

    def of(self, kind: str) -> "_Photographs":
        """Those of a type of defect, and the good ones."""
        is_in = np.isin(self.kinds, [kind, _GOOD])
        return _Photographs(*(column[is_in] for column in self))


class _Sums(NamedTuple):
    """Of each draw (row): pixels and overlaps of each value (column, falling), and the number of regions."""

    background: np.ndarray
    defects: np.ndarray
    overlaps: np.ndarray
    n_regions: np.ndarray

    def plus(self, other: "_Sums") -> "_Sums":
        return _Sums(*(mine + its for mine, its in zip(self, other, strict=True)))


class _Stratum(NamedTuple):
    """The same of each group, values in rows and groups in columns."""

    background: csr_array
    defects: csr_array
    overlaps: csr_array
    n_regions: np.ndarray

    def drawn(self, weights: np.ndarray) -> _Sums:
        # Sums along values are taken next, and are several times as fast along the last axis in memory.
        return _Sums(*(np.ascontiguousarray((of_groups @ weights).T) for of_groups in self))


def _sort(counts: Sequence[LocalisationCounts], rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return which photographs are good, and which have a marked defect."""
    if len(counts) != len(rows):
        raise ValueError(f"need a row for each photograph, got {len(rows)} for {len(counts)}")
    is_good = rows["label"].to_numpy() == NON_DEFECTIVE
    is_marked = np.array([count.n_regions > 0 for count in counts], bool)
    if np.any(is_good & is_marked):
        raise ValueError(f"{np.sum(is_good & is_marked)} good parts have a marked defect")
    return is_good, is_marked


def _draw(n_groups: int, seed: int) -> np.ndarray:
    """Return how often each group (row) is taken; once in the first column, by lot in `N_RESAMPLES` others."""
    drawn = np.random.default_rng(seed).multinomial(n_groups, np.full(n_groups, 1 / n_groups), N_RESAMPLES)
    return np.vstack([np.ones(n_groups), drawn]).T


def _resample(used: _Photographs, seed: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return the areas of `_AREAS` (rows) in each draw (columns), of all photographs and by type of defect."""
    names, members = np.unique(used.groups, return_inverse=True)
    occurring = [values for count in used.counts for values in (count.background_values, count.defect_values)]
    values = np.unique(np.concatenate(occurring))
    strata = {
        kind: _sum_by_group(used.counts[used.kinds == kind], members[used.kinds == kind], len(names), values)
        for kind in sorted({_GOOD, *used.kinds})
    }
    blocks = []
    for weights in np.array_split(_draw(len(names), seed), N_RESAMPLES // _BLOCK, axis=1):
        sums = {kind: stratum.drawn(weights) for kind, stratum in strata.items()}
        good = sums.pop(_GOOD)
        subsets = [reduce(_Sums.plus, sums.values(), good), *(good.plus(of_type) for of_type in sums.values())]
        blocks.append([_areas(subset) for subset in subsets])
    of_all, *of_types = np.concatenate(blocks, axis=-1)
    return of_all, dict(zip(sums, of_types, strict=True))


def _sum_by_group(counts: np.ndarray, members: np.ndarray, n_groups: int, values: np.ndarray) -> _Stratum:
    def sparse(of_values: str, numbers: str) -> csr_array:
        places = [len(values) - 1 - np.searchsorted(values, getattr(count, of_values)) for count in counts]
        columns = np.repeat(members, [len(place) for place in places])
        data = np.concatenate([np.zeros(0), *(getattr(count, numbers) for count in counts)])
        rows = np.concatenate([np.zeros(0, int), *places])
        return csr_array((data, (rows, columns)), shape=(len(values), n_groups))

    return _Stratum(
        background=sparse("background_values", "background_counts"),
        defects=sparse("defect_values", "defect_counts"),
        overlaps=sparse("defect_values", "overlaps"),
        n_regions=np.bincount(members, [count.n_regions for count in counts], n_groups),
    )


def _areas(sums: _Sums) -> np.ndarray:
    """Return the areas of `_AREAS` (rows) of each draw (column); NaN in one without background or without a region."""
    with np.errstate(invalid="ignore"):
        auroc = _area(sums.background, sums.defects, 1.0) / sums.defects.sum(axis=1)
        aupro = _area(sums.background, sums.overlaps, FALSE_POSITIVE_LIMIT) / sums.n_regions
    return np.minimum(np.round([auroc, aupro], _DECIMALS), 1)


def _area(background: np.ndarray, rises: np.ndarray, limit: float) -> np.ndarray:
    """Return the area under a curve of straight lines that starts at 0, over the share of the background.

    Parameters
    ----------
    background : ndarray of float, shape (n_draws, n_values)
        Pixels that each line of the curve passes.
    rises : ndarray of float, shape (n_draws, n_values)
        By how much the curve rises along it.
    limit : float in (0, 1]
        The share up to which the area is taken. It is divided by it.

    Returns
    -------
    ndarray of float, shape (n_draws,)
    """
    after = np.cumsum(background, axis=1)
    last = limit * after[:, -1:]
    # No line beyond the limit of every draw needs a look.
    n_lines = int(np.max(np.sum(after < last, axis=1))) + 1
    background, rises, after = background[:, :n_lines], rises[:, :n_lines], after[:, :n_lines]
    inside = np.clip(last - (after - background), 0, background)
    # Where a line is cut, the curve rises by the same share of its whole rise.
    shares = np.divide(inside, background, out=np.zeros_like(inside), where=background > 0)
    middles = np.cumsum(rises, axis=1) - rises * (1 - shares / 2)
    return np.sum(inside * middles, axis=1) / last[:, 0]


def _describe(photographs: _Photographs, areas: np.ndarray) -> dict[str, float | int]:
    counts, groups, kinds = photographs
    is_marked = kinds != _GOOD
    has_background = np.array([len(count.background_values) > 0 for count in counts])
    n_groups = min(len(set(groups[is_marked])), len(set(groups[has_background])))
    described: dict[str, float | int] = {
        "n_masks": int(is_marked.sum()),
        "n_regions": sum(count.n_regions for count in counts),
    }
    for name, (area, *drawn) in zip(_AREAS, areas, strict=True):
        if not np.isnan(area):
            described |= _bounded(name, area, np.array(drawn), n_groups)
    hits = np.array([count.hit for count in counts[is_marked]])
    low, high = grouped_share_interval(hits, groups[is_marked])
    return described | _rounded("pointing_game", float(hits.mean()), low, high)


def _bounded(name: str, value: float, drawn: np.ndarray, n_groups: int) -> dict[str, float]:
    return _rounded(name, value, *bootstrap_interval(value, drawn[~np.isnan(drawn)], n_groups))


def _rounded(name: str, value: float, low: float, high: float) -> dict[str, float]:
    bounded = {name: value, f"{name}_low": low, f"{name}_high": high}
    return {key: round(float(number), DIGITS) for key, number in bounded.items()}
