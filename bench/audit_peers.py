"""The audit beside perceptual hashes: the same folders of solar cells with planted copies, what is found and how long.

Run after ``dvc repro fetch-sample`` (``make bench`` installs imagededup)::

    python -m bench.audit_peers

Copies are those of `bench.copies_audit`. A copy is recalled when it is reported with its original, directly or by way
of others; precision is the share of reported pairs that come from one original. Hashes are compared at imagededup's own
threshold of 10 bits and at 0, and their times include no import.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from imagededup.methods import DHash, PHash
from scipy.cluster.hierarchy import DisjointSet

from bench.copies_audit import ELPV, print_table, write_folder
from bench.made_copies import COMBINED, File
from bench.side_by_side import machine_facts, write_results
from inspection.audit.findings import audit_images
from inspection.audit.indexing import index_images
from inspection.data.sources import list_any
from inspection.labels import UNLABELLED

KINDS = ("JPEG quality 60-95", "resized to 50-150 %", "flipped", "rotated, bilinear", COMBINED)
Pairs = Iterable[tuple[str, str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--originals", type=int, default=500)
    parser.add_argument("--copies", type=int, default=100, help="of each kind")
    parser.add_argument("--seed", type=int, default=101)
    arguments = parser.parse_args()
    facts = machine_facts(("imagededup", "opencv-python-headless", "scipy"))
    originals = [File(path.read_bytes(), path.suffix) for path in sorted(ELPV.iterdir())[: arguments.originals]]
    rows = []
    for kind in KINDS:
        random = np.random.default_rng(arguments.seed)
        plan = [(kind, int(number)) for number in random.permutation(len(originals))[: arguments.copies]]
        with tempfile.TemporaryDirectory() as name:
            origin = write_folder(Path(name), originals, plan, random)
            for way, find in WAYS.items():
                start = time.perf_counter()
                pairs = list(find(Path(name)))
                seconds = time.perf_counter() - start
                rows.append({"copies": kind, "by": way, **score(pairs, origin), "seconds": round(seconds, 1)})
    print_table(f"{len(originals)} solar cells and {arguments.copies} copies of a kind", rows)
    write_results("audit_peers", facts, {"rows": rows})


def by_audit(folder: Path) -> Pairs:
    """Yield the pairs of images that the audit takes for copies."""
    indexed = index_images(list_any(folder).records)
    found = audit_images(indexed, np.full(len(indexed.readable), UNLABELLED)).images
    for _, members in found.groupby("photograph"):
        names = [Path(path).name for path in members["path"]]
        yield from ((one, other) for place, one in enumerate(names) for other in names[place + 1 :])


def by_hash(method: type, threshold: int) -> Callable[[Path], Pairs]:
    """Return a search for pairs whose hashes differ by no more than so many bits."""

    def find(folder: Path) -> Pairs:
        hashes = method(verbose=False)
        found = hashes.find_duplicates(
            encoding_map=hashes.encode_images(image_dir=folder), max_distance_threshold=threshold
        )
        return {tuple(sorted((name, other))) for name, others in found.items() for other in others}

    return find


WAYS: dict[str, Callable[[Path], Pairs]] = {
    "audit": by_audit,
    **{
        f"imagededup {method.__name__}, {threshold} bits": by_hash(method, threshold)
        for method in (PHash, DHash)
        for threshold in (10, 0)
    },
}


def score(pairs: list[tuple[str, str]], origin: dict[str, tuple[int, str]]) -> dict[str, str]:
    """Return recall and precision of the pairs found among files of known origin."""
    groups: DisjointSet = DisjointSet(origin)
    for one, other in pairs:
        groups.merge(one, other)
    original = {number: name for name, (number, kind) in origin.items() if not kind}
    copies = [(name, original[number]) for name, (number, kind) in origin.items() if kind]
    recall = np.mean([groups.connected(copy, of) for copy, of in copies])
    n_right = sum(origin[one][0] == origin[other][0] for one, other in pairs)
    precision = f"{n_right / len(pairs):.1%}" if pairs else "-"
    return {"recall": f"{recall:.1%}", "pairs": f"{len(pairs):,}", "precision": precision}


if __name__ == "__main__":
    main()
