"""Photographs that do not look like the rest of their folder: other size, dark, burnt out, blurred or empty."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

MIN_CONTRAST = 2.0
"""Standard deviation of the grey levels below which a photograph is called near-constant."""
USUAL_SHARE = 0.9
"""A size or mode that this share of the images has is the usual one."""
MAX_DEVIATION = 6.0
"""In robust standard deviations; a normal distribution exceeds it once in a billion images."""


def find_unhealthy(images: pd.DataFrame) -> list[tuple[str, str]]:
    """List the photographs that look unlike the others, with the reason.

    Parameters
    ----------
    images : DataFrame
        Columns ``path`` and those of `inspection.audit.indexing.Facts`.

    Returns
    -------
    list of tuple of str
        Path and reason, by path; an image may be listed for several reasons.
    """
    size = images["width"].astype(str) + "x" + images["height"].astype(str)
    findings = [
        *_unusual(images["path"], size, "pixels"),
        *_unusual(images["path"], images["mode"], "mode"),
        *_near_constant(images),
        *_badly_exposed(images),
        *_blurred(images),
    ]
    return sorted(findings)


def _unusual(paths: pd.Series, values: pd.Series, what: str) -> Iterator[tuple[str, str]]:
    counts = values.value_counts()
    if not len(counts) or counts.iloc[0] < USUAL_SHARE * len(values):
        return
    for path, value in zip(paths, values, strict=True):
        if value != counts.index[0]:
            yield path, f"{what} {value}; {counts.iloc[0]} of {len(values)} images have {counts.index[0]}"


def _near_constant(images: pd.DataFrame) -> Iterator[tuple[str, str]]:
    constant = images[images["contrast"] < MIN_CONTRAST]
    for path, contrast in zip(constant["path"], constant["contrast"], strict=True):
        yield path, f"near-constant: grey levels vary by {contrast:.1f} only"


def _badly_exposed(images: pd.DataFrame) -> Iterator[tuple[str, str]]:
    usual = images["brightness"].median()
    deviations = _deviation(images["brightness"], 4)
    for path, brightness, deviation in zip(images["path"], images["brightness"], deviations, strict=True):
        if abs(deviation) > MAX_DEVIATION:
            exposed = "under-exposed" if deviation < 0 else "over-exposed"
            yield path, f"{exposed}: mean grey level {brightness:.0f}, usual is {usual:.0f}"
    for column, name in (("dark_share", "black"), ("bright_share", "burnt out")):
        usual = images[column].median()
        unusual = images[images[column] > usual + 0.5]
        for path, share in zip(unusual["path"], unusual[column], strict=True):
            yield path, f"{share:.0%} of the picture is {name}, usual is {usual:.0%}"


def _blurred(images: pd.DataFrame) -> Iterator[tuple[str, str]]:
    shown = images[images["contrast"] >= MIN_CONTRAST]
    usual = shown["sharpness"].median()
    deviations = _deviation(np.log2(shown["sharpness"] + 1), 0.3)
    for path, sharpness, deviation in zip(shown["path"], shown["sharpness"], deviations, strict=True):
        if deviation < -MAX_DEVIATION:
            yield path, f"blurred: sharpness {sharpness:.1f}, usual is {usual:.1f}"


def _deviation(values: pd.Series, smallest: float) -> np.ndarray:
    """Distance from the median in robust standard deviations of at least ``smallest``."""
    distance = values - values.median()
    return (distance / max(1.4826 * distance.abs().median(), smallest)).to_numpy()
