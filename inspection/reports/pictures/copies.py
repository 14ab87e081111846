"""Picture of what an audit found: leaks laid over each other, groups of copies, likely series."""

from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from inspection.audit.overlays import overlay
from inspection.audit.registration import warp
from inspection.audit.signatures import make_signatures
from inspection.audit.squares import central_square
from inspection.data.images import Decoding, decode_file
from inspection.labels import CLASS_NAMES, UNLABELLED
from inspection.reports.pictures.canvas import COLUMNS
from inspection.reports.pictures.galleries import Photograph, draw_gallery, in_rows, name_of

N_LEAKS = 6
"""Leaks shown, two a row."""
N_GROUPS = 8
"""Groups of copies shown, one a row, and as many series."""


def plot_copies(path: str | Path, findings: dict, photographs: pd.DataFrame, decoding: Decoding) -> None:
    """Draw leaks side by side, then the largest groups of copies and the largest series.

    Each leak shows a test image, the training image that is the same photograph, and the latter laid over the former.
    The groups follow, one a row, with their first images.

    Parameters
    ----------
    path : str or Path
        PNG to write.
    findings : dict
        Content of data/audit.json: ``folder``, ``groups``, ``series``, ``leaks`` and ``n_leaks``.
    photographs : DataFrame, shape (n_images, ...)
        Of the audit: ``path``, ``label`` and ``split`` of every readable image.
    decoding : Decoding
    """
    folder, images = PurePosixPath(findings["folder"]), photographs.set_index("path")
    copies, series, leaks = (
        [tuple((folder / name).as_posix() for name in members) for members in findings[kind]]
        for kind in ("groups", "series", "leaks")
    )
    leaking = [cell for leak in _choose_leaks(leaks, copies, images) for cell in _show_leak(leak, images, decoding)]
    groups = [_show_group(members, "copies", images) for members in copies[:N_GROUPS]]
    groups += [_show_group(members, "in a likely series", images) for members in series[:N_GROUPS]]
    title = (
        f"{findings['n_leaks']} pairs of test and training images are one photograph; {len(copies)} photographs have "
        f"copies; {len(series)} likely series"
    )
    draw_gallery(path, title, [*in_rows(leaking), *groups], decoding)


def _choose_leaks(
    leaks: list[tuple[str, ...]], copies: list[tuple[str, ...]], images: pd.DataFrame
) -> list[tuple[str, ...]]:
    """Return one leak of each photograph, contradictions first: other rows would show the same picture again."""
    photograph = {member: number for number, members in enumerate(copies) for member in members}
    labels = images["label"]
    chosen: dict[int, tuple[str, ...]] = {}
    for leak in sorted(leaks, key=lambda leak: bool(labels[leak[0]] == labels[leak[1]])):
        chosen.setdefault(photograph[leak[0]], leak)
    return list(chosen.values())[:N_LEAKS]


def _show_leak(leak: tuple[str, ...], images: pd.DataFrame, decoding: Decoding) -> list[Photograph]:
    """Return three places of a row."""
    pictures = [decode_file(path, decoding).pixels for path in leak]
    cells = []
    for path, pixels in zip(leak, pictures, strict=True):
        split, label = images["split"][path], int(images["label"][path])
        name = split if label == UNLABELLED else f"{split}: {CLASS_NAMES[label]}"
        cells.append(Photograph(path, f"{name}\n{name_of(path)}", label, pixels=pixels))
    signatures = make_signatures(central_square(picture) for picture in pictures)
    alignment = overlay(signatures, 0, 1, min_correlation=-1)
    if alignment is None:
        # Copies of a copy may be too different to be laid over each other directly.
        blank = np.full_like(pictures[0], 255)
        return [*cells, Photograph(leak[1], "cannot be laid\nover each other", pixels=blank)]
    grey = np.clip(warp(signatures.squares[1].astype(np.float32), alignment.transform), 0, 255).astype(np.uint8)
    laid_over = np.repeat(grey[..., None], 3, axis=2)
    return [*cells, Photograph(leak[1], "the second, laid\nover the first", pixels=laid_over)]


def _show_group(members: tuple[str, ...], what: str, images: pd.DataFrame) -> list[Photograph]:
    first = f"one of {len(members)} {what}"
    return [
        Photograph(path, f"{first if path == members[0] else ''}\n{name_of(path)}", int(images["label"][path]))
        for path in members[:COLUMNS]
    ]
