"""The findings of an audit as JSON content and as lines to read."""

from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import PurePosixPath

import pandas as pd

from inspection.audit.findings import Audit
from inspection.audit.health import find_unhealthy
from inspection.labels import CLASS_NAMES, UNLABELLED

MAX_LISTED = 100_000
"""Pairs of leaks or conflicts listed; their number is always exact."""
N_SHOWN = 5
"""Findings of each kind that are printed."""


def as_report(audit: Audit, folder: str, layout: str) -> dict:
    """Return the findings as JSON content, with paths relative to the folder.

    Returns
    -------
    dict
        ``folder``, ``layout``, ``images`` (number), ``unreadable`` (path, reason), ``groups`` (paths of each photograph
        with copies), ``identical`` (those with equal pixels), ``series``, ``leaks`` (test image, training image),
        ``n_leaks``, ``conflicts`` (one photograph, two labels), ``n_conflicts``, ``health`` (path, reason), ``classes``
        (number of images per split and class), ``sizes`` and ``modes`` (number of images).
    """
    paths = [_below(folder, path) for path in audit.images["path"]]

    def relative(sets):
        return [[_below(folder, path) for path in members] for members in sets]

    def listed(pairs):
        return [[paths[one], paths[other]] for one, other in islice(pairs, MAX_LISTED)]

    return {
        "folder": folder,
        "layout": layout,
        "images": len(paths),
        "unreadable": [{"path": _below(folder, file.path), "reason": file.reason} for file in audit.unreadable],
        "groups": relative(audit.copies()),
        "identical": relative(audit.identical()),
        "series": relative(audit.series()),
        "leaks": listed(audit.leaks()),
        "n_leaks": audit.n_leaks(),
        "conflicts": listed(audit.conflicts()),
        "n_conflicts": audit.n_conflicts(),
        "health": [{"path": _below(folder, path), "reason": reason} for path, reason in find_unhealthy(audit.images)],
        "classes": count_classes(audit.images),
        "sizes": _count(audit.images["width"].astype(str) + "x" + audit.images["height"].astype(str)),
        "modes": _count(audit.images["mode"]),
    }


def count_classes(images: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Return the number of images per split (``all`` without one) and class."""
    names = images["label"].map(lambda label: "unlabelled" if label == UNLABELLED else CLASS_NAMES[label])
    splits = images["split"].where(images["split"] != "", "all")
    return {split: _count(names[splits == split]) for split in sorted(splits.unique())}


def _count(values: Iterable[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _below(folder: str, path: str) -> str:
    return PurePosixPath(path).relative_to(PurePosixPath(folder)).as_posix()


def summary(report: dict) -> str:
    """Return the report as lines to read: every count, and the first findings of each kind."""
    classes = "; ".join(
        f"{split}: {', '.join(f'{number} {name}' for name, number in counts.items())}"
        for split, counts in report["classes"].items()
    )
    groups, n_copies = report["groups"], sum(len(members) - 1 for members in report["groups"])
    lines = [f"{report['images']} images in {report['folder']} ({report['layout']}) - {classes or 'none readable'}"]
    lines += _shown("unreadable", [file["reason"] for file in report["unreadable"]])
    lines += _shown(
        f"photographs with copies ({n_copies} images are copies)",
        [f"{len(members)} images: {_abridged(members)}" for members in groups],
    )
    lines += _shown(
        "likely series (one part photographed again, or parts that look the same)",
        [f"{len(members)} images: {_abridged(members)}" for members in report["series"]],
    )
    leaking = len({test for test, _ in report["leaks"]})
    lines += _shown(
        f"leaks: pairs of a test and a training image that are one photograph ({leaking} test images)",
        [" = ".join(pair) for pair in report["leaks"]],
        report["n_leaks"],
    )
    lines += _shown(
        "conflicts: one photograph under two labels",
        [" = ".join(pair) for pair in report["conflicts"]],
        report["n_conflicts"],
    )
    return "\n".join(lines + _shown("unlike the others", [f"{e['path']}: {e['reason']}" for e in report["health"]]))


def _shown(name: str, findings: list[str], number: int | None = None) -> list[str]:
    number = len(findings) if number is None else number
    more = [f"  ... and {number - N_SHOWN} more"] if number > N_SHOWN else []
    return [f"{number} {name}", *(f"  {finding}" for finding in findings[:N_SHOWN]), *more]


def _abridged(paths: list[str]) -> str:
    return ", ".join(paths[:3]) + (", ..." if len(paths) > 3 else "")
