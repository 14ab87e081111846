"""Does the audit keep the photographs of one part together, and does it tell exposures from copies?

For a folder whose parts were photographed several times, and a table of which photographs show which part. The table
measures; the audit never sees it, and no name or number of a file is evidence to it::

    python -m bench.exposures --folder path/to/tiles --parts path/to/tiles_parts.csv

The table has the columns ``path`` (below the folder) and ``part``. Two photographs are joined when they have one
``photograph`` or one ``series``. Precision is the share of the joined pairs that show one part, recall the share of the
pairs of one part that are joined. A part may have been photographed from several sides, which no picture shows to be
one part: so recall is stated for the parts with at most ``--burst`` photographs as well, each of them one burst. Joined
pairs of different parts are listed, to be looked at: such a table can be wrong too. The thresholds were
chosen with all parts of the tiles in view, so these numbers are no held-out estimate; the parts with even numbers alone
lead to the same thresholds.
"""

import argparse
from collections import Counter
from itertools import combinations
from pathlib import Path

import pandas as pd

from bench.copies_audit import print_table
from inspection.audit.copies import is_copy
from inspection.audit.findings import Audit, audit_images
from inspection.audit.indexing import index_images
from inspection.data.manifest import label_of
from inspection.data.sources import list_any
from inspection.labels import UNLABELLED

BURST = 6
N_LISTED = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--parts", type=Path, required=True, help="CSV with the columns path and part")
    parser.add_argument("--burst", type=int, default=BURST, help="photographs of a part that was taken in one burst")
    arguments = parser.parse_args()
    audit = audit_folder(arguments.folder)
    images = with_parts(audit.images, arguments.folder, arguments.parts)
    is_odd = images["part"].str.extract(r"(\d+)$")[0].fillna("0").astype(int) % 2 == 1
    in_burst = images.groupby("part")["part"].transform("size") <= arguments.burst
    everything = pd.Series(True, images.index)
    selections = {"all parts": everything, "parts with odd numbers": is_odd, "parts with even numbers": ~is_odd}
    rows = [score(name, images, chosen, in_burst) for name, chosen in selections.items()]
    print_table(f"{arguments.folder}: {len(images)} photographs of {images['part'].nunique()} parts", rows)
    print_table("joined by", [count_kinds(audit)])
    print_wrong(images)


def audit_folder(folder: Path) -> Audit:
    """Return what ``python -m inspection audit`` finds."""
    indexed = index_images(list_any(folder).records)
    return audit_images(indexed, label_of(indexed.readable["defect_probability"]))


def with_parts(images: pd.DataFrame, folder: Path, table: Path) -> pd.DataFrame:
    """Return the images with the column ``part``; those the table does not name are left out."""
    parts = pd.read_csv(table, dtype=str).set_index("path")["part"]
    below = images["path"].map(lambda path: Path(path).relative_to(folder).as_posix())
    return images.assign(part=below.map(parts)).dropna(subset="part").reset_index(drop=True)


def score(name: str, images: pd.DataFrame, chosen: pd.Series, in_burst: pd.Series) -> dict:
    """Return a row of the table: of the pairs with at least one of the chosen photographs."""
    joined = pairs_of(images, ("photograph", "series"), chosen)
    parts = images["part"].tolist()
    right = [(one, other) for one, other in joined if parts[one] == parts[other]]
    n_all = count_pairs(images[chosen])
    n_burst = count_pairs(images[chosen & in_burst])
    return {
        "": name,
        "pairs of one part": n_all,
        "joined": len(joined),
        "precision": share(len(right), len(joined)),
        "recall": share(len(right), n_all),
        "recall, parts of one burst": share(sum(in_burst[one] for one, _ in right), n_burst),
        "joined as copies": len(pairs_of(images, ("photograph",), chosen)),
    }


def pairs_of(images: pd.DataFrame, columns: tuple[str, ...], chosen: pd.Series) -> set[tuple[int, int]]:
    """Return the pairs of images that are equal in one of the columns and of which one is chosen."""
    groups = (rows.index for column in columns for _, rows in images.groupby(column) if len(rows) > 1)
    pairs = (pair for group in groups for pair in combinations(sorted(group), 2))
    return {(one, other) for one, other in pairs if chosen[one] or chosen[other]}


def count_pairs(images: pd.DataFrame) -> int:
    sizes = images.groupby("part").size()
    return int((sizes * (sizes - 1) // 2).sum())


def share(number: int, total: int) -> str:
    return f"{number / total:.1%}" if total else "-"


def count_kinds(audit: Audit) -> dict:
    """Count what each direct comparison was found to be, and what became of contradicting labels."""
    n_copies = sum(is_copy(pair.overlay) for pair in audit.pairs)
    labelled = audit.images[audit.images["label"] != UNLABELLED]
    is_contradictory = labelled.groupby("photograph")["label"].transform("nunique") > 1
    return {
        "pairs called copies": n_copies,
        # The audit keeps the pairs that are one or the other.
        "pairs called series": len(audit.pairs) - n_copies,
        "series with both labels": int((labelled.groupby("series")["label"].nunique() > 1).sum()),
        "photographs whose copies contradict them": int(is_contradictory.sum()),
    }


def print_wrong(images: pd.DataFrame) -> None:
    """List the parts that were joined, and their first pair."""
    names, paths = images["part"].tolist(), images["path"].tolist()
    parts: Counter[tuple[str, str]] = Counter()
    first: dict[tuple[str, str], str] = {}
    for one, other in sorted(pairs_of(images, ("photograph", "series"), pd.Series(True, images.index))):
        if names[one] != names[other]:
            joined = min(names[one], names[other]), max(names[one], names[other])
            parts[joined] += 1
            first.setdefault(joined, f"{paths[one]} and {paths[other]}")
    print(f"{len(parts)} pairs of parts joined, the most frequent first:")
    for joined, number in parts.most_common(N_LISTED):
        print(f"  {' and '.join(joined)}: {number} pairs, {first[joined]}")


if __name__ == "__main__":
    main()
