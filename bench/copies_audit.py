"""Does the audit find the copies, all of them and nothing else, and how long does it take?

Run after ``dvc repro fetch-sample``; the accuracy takes about half an hour on two cores, the times ten minutes::

    python -m bench.copies_audit --part accuracy --folder path/to/castings
    python -m bench.copies_audit --part time

Copies of each kind of `bench.made_copies.KINDS` are planted among all originals, at most one per original and folder,
so that no copy is found by way of another. A pair is recalled when the original and its copy end up in one group, and
a pair of a group is right when both come from one original. Thresholds were chosen on copies with other seeds, the
number of candidates after a look at the castings with this one.

``elpv`` are the solar cells, which hold no copies. ``folder`` is any folder of photographs; where it holds copies, the
audit itself first leaves one image per group, so copies that it misses there count as false pairs here. ``tiles`` are
squares cut from the pictures that scikit-image and scikit-learn install, where they are installed.
"""

import argparse
import contextlib
import importlib.util
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
from PIL import Image
from tqdm import tqdm

from bench.made_copies import COMBINED, KINDS, RESIZED, File, encode, make_copy
from inspection.audit.findings import audit_images
from inspection.audit.indexing import index_images
from inspection.config import load_params
from inspection.data.sources import list_any
from inspection.labels import UNLABELLED
from stages.running import open_cache

ELPV = Path("data/elpv/images")
PICTURES = {
    "skimage": ("data", ("astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "clock_motion.png",
                         "coffee.png", "coins.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png",
                         "moon.png", "motorcycle_left.png", "motorcycle_right.png", "page.png", "retina.jpg",
                         "rocket.jpg", "text.png")),
    "sklearn": ("datasets/images", ("china.jpg", "flower.jpg")),
}  # fmt: skip
"""Photographs and scans in each package: its folder and their names."""
TILE = 250
MIN_TILE_CONTRAST = 10
"""Standard deviation of the grey levels: sky and paper show nothing to compare."""
SOURCES = ("elpv", "folder", "tiles")
N_OFTEN, N_TIMES = 5, 150
MANY = f"{N_TIMES} such copies each of {N_OFTEN}"
SIZES = (1_000, 3_000, 10_000)
COPIES_SHARE = 0.05
"""Of the images in the folders that are timed."""
CROP, NOISE = (0.7, 0.95), 4.0
"""Side of the part that another photograph shows, and its noise in grey levels."""
SAMPLING_SECONDS = 0.2


@dataclass(frozen=True)
class Planted:
    """An image in an audited folder.

    Attributes
    ----------
    original : int
    kind : str
        Key of `bench.made_copies.KINDS`, ``MANY``, or empty for the original itself.
    photograph : int
        What the audit found: equal within a group.
    """

    original: int
    kind: str
    photograph: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("accuracy", "time", "all"), default="all")
    parser.add_argument("--sources", nargs="+", choices=SOURCES, default=SOURCES)
    parser.add_argument("--folder", type=Path, help="photographs to try beside the solar cells")
    parser.add_argument("--seed", type=int, default=101)
    parser.add_argument("--copies", type=int, default=150, help="planted per kind and source")
    parser.add_argument("--combined", type=int, default=1000, help="planted with everything combined, per source")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="images in the folders that are timed")
    arguments = parser.parse_args()
    if arguments.part != "time":
        for source in arguments.sources:
            measure_accuracy(source, arguments)
    if arguments.part != "accuracy":
        measure_time(arguments.sizes, arguments.seed)


def measure_accuracy(source: str, arguments: argparse.Namespace) -> None:
    """Print the table of one source."""
    originals = read_originals(source, arguments.folder)
    if not originals:
        return
    random = np.random.default_rng(arguments.seed)
    kinds = [kind for kind in KINDS if kind not in (COMBINED, RESIZED) for _ in range(arguments.copies)]
    plans = [
        *plan_copies([COMBINED] * arguments.combined, len(originals), random),
        *plan_copies([RESIZED] * arguments.combined, len(originals), random),
        *plan_copies(kinds, len(originals), random),
        plan_many(len(originals), random),
    ]
    audited = [audit_folder(originals, plan, random) for plan in tqdm(plans, desc=source)]
    rows = [score(kind, audited) for kind in dict.fromkeys((COMBINED, MANY, RESIZED, *KINDS))]
    print_table(f"{source}: {len(originals)} originals", rows)


def read_originals(source: str, folder: Path | None) -> list[File]:
    """Return the photographs of a source, each once; none where it is not there."""
    if source == "tiles":
        return list(read_tiles())
    if source == "elpv":
        folder = ELPV
    if folder is None or not folder.is_dir():
        return []
    images = audit(folder)
    alone = images.drop_duplicates("photograph")
    print(
        f"{source}: {len(images)} images, {images['photograph'].duplicated().sum()} of them copies by the audit itself"
    )
    return [File(path.read_bytes(), path.suffix) for path in map(Path, alone["path"])]


def picture_files() -> Iterator[Path]:
    """Yield the files of `PICTURES` that are installed."""
    for package, (folder, names) in PICTURES.items():
        spec = importlib.util.find_spec(package)
        yield from (Path(spec.origin).parent / folder / name for name in names if spec)


def read_tiles() -> Iterator[File]:
    """Yield squares that do not overlap."""
    for image in map(Image.open, picture_files()):
        for left, top in product(*(range(0, side - TILE + 1, TILE) for side in image.size)):
            tile = image.crop((left, top, left + TILE, top + TILE))
            if np.std(tile.convert("L")) >= MIN_TILE_CONTRAST:
                yield encode(tile, ".png")


def plan_copies(kinds: list[str], n_originals: int, random: np.random.Generator) -> Iterator[list[tuple[str, int]]]:
    """Deal the kinds out to folders, so that each copies any original at most once; yield (kind, original) of each."""
    for start in range(0, len(kinds), n_originals):
        yield list(zip(kinds[start : start + n_originals], random.permutation(n_originals).tolist(), strict=False))


def plan_many(n_originals: int, random: np.random.Generator) -> list[tuple[str, int]]:
    """Copy a few originals more often than a search of nearest neighbours looks."""
    chosen = random.choice(n_originals, N_OFTEN, replace=False)
    return [(MANY, int(original)) for original in chosen for _ in range(N_TIMES)]


def audit_folder(originals: list[File], plan: list[tuple[str, int]], random: np.random.Generator) -> list[Planted]:
    """Write originals and copies into one folder and let the audit look at it."""
    with tempfile.TemporaryDirectory() as name:
        origin = write_folder(Path(name), originals, plan, random)
        images = audit(Path(name))
    return [
        Planted(*origin[Path(path).name], photograph)
        for path, photograph in zip(images["path"], images["photograph"], strict=True)
    ]


def write_folder(
    folder: Path, originals: list[File], plan: list[tuple[str, int]], random: np.random.Generator
) -> dict[str, tuple[int, str]]:
    """Return number of the original and kind of each file."""
    entries = [(number, "", original) for number, original in enumerate(originals)]
    entries += [
        (number, kind, make_copy(COMBINED if kind == MANY else kind, originals[number], random))
        for kind, number in plan
    ]
    origin = {}
    # Shuffled names: the audit sorts by them, and nothing must depend on copies coming last.
    for place, (number, kind, file) in zip(random.permutation(len(entries)), entries, strict=True):
        name = f"{place:06d}{file.suffix}"
        (folder / name).write_bytes(file.data)
        origin[name] = number, kind
    return origin


def audit(folder: Path) -> pd.DataFrame:
    """Return the images with what ``python -m inspection audit`` finds."""
    # The originals are in every folder.
    cache = open_cache(load_params().cache.max_megabytes)
    indexed = index_images(list_any(folder).records, cache=cache)
    return audit_images(indexed, np.full(len(indexed.readable), UNLABELLED), cache=cache).images


def score(kind: str, folders: list[list[Planted]]) -> dict:
    """Return a row of the table, over the folders that hold copies of the kind."""
    n_found, n_pairs, n_right, n_mixed, n_copies = 0, 0, 0, 0, 0
    for images in folders:
        home = {image.original: image.photograph for image in images if not image.kind}
        copies = [image for image in images if image.kind == kind]
        if not copies:
            continue
        n_copies += len(copies)
        n_found += sum(image.photograph == home[image.original] for image in copies)
        groups = defaultdict(Counter)
        for image in images:
            if image.kind in ("", kind):
                groups[image.photograph][image.original] += 1
        n_pairs += sum(comb(group.total(), 2) for group in groups.values())
        n_right += sum(comb(number, 2) for group in groups.values() for number in group.values())
        n_mixed += sum(len(group) > 1 for group in groups.values())
    return {
        "copies": kind,
        "planted": n_copies,
        "recall": f"{n_found / n_copies:.1%}",
        "precision": f"{n_right / n_pairs:.1%}" if n_pairs else "-",
        "pairs": n_pairs,
        "groups of several originals": n_mixed,
    }


def measure_time(sizes: tuple[int, ...], seed: int) -> None:
    """Print wall time and memory of the command, as a process of its own."""
    originals = [File(path.read_bytes(), path.suffix) for path in sorted(ELPV.iterdir())]
    print_table("time of python -m inspection audit", [time_folder(originals, size, seed) for size in sizes])


def time_folder(originals: list[File], size: int, seed: int) -> dict:
    """Time a folder of solar cells, other photographs made of them and some copies."""
    random = np.random.default_rng(seed)
    n_copies = int(COPIES_SHARE * size)
    originals = originals[: size - n_copies]
    n_others = size - n_copies - len(originals)
    others = [make_other(originals[number % len(originals)], random) for number in range(n_others)]
    plan = [(COMBINED, int(number)) for number in random.choice(len(originals), n_copies)]
    with tempfile.TemporaryDirectory() as name:
        write_folder(Path(name), [*originals, *others], plan, random)
        seconds, memory = run_audit(name)
    return {
        "images": size,
        "originals": len(originals),
        "other photographs": n_others,
        "copies": n_copies,
        "wall, s": f"{seconds:.0f}",
        "ms per image": f"{1000 * seconds / size:.0f}",
        "peak memory, MB": f"{memory / 1e6:.0f}",
    }


def make_other(original: File, random: np.random.Generator) -> File:
    """Return another photograph that looks alike: a part of it, larger, with noise of its own."""
    image = original.open()
    side = int(random.uniform(*CROP) * min(image.size))
    left, top = (int(random.integers(length - side + 1)) for length in image.size)
    pixels = np.asarray(image.resize(image.size, Image.Resampling.BICUBIC, (left, top, left + side, top + side)))
    noisy = np.rint(pixels + random.normal(0, NOISE, pixels.shape))
    return encode(Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)), ".png")


def run_audit(folder: str) -> tuple[float, int]:
    """Return wall time in seconds and the most memory that all processes had at once, in bytes."""
    start, peak = time.perf_counter(), 0
    with subprocess.Popen([sys.executable, "-m", "inspection", "audit", folder], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, memory_of(psutil.Process(process.pid)))
            time.sleep(SAMPLING_SECONDS)
    if process.returncode:
        raise SystemExit(f"The audit of {folder} ended with exit status {process.returncode}.")
    return time.perf_counter() - start, peak


def memory_of(process: psutil.Process) -> int:
    """Add up the proportional set sizes: what processes share counts once."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        for member in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += member.memory_full_info().pss
    return total


def print_table(title: str, rows: list[dict]) -> None:
    """Print Markdown."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([str(value) for value in row.values()] for row in rows)]
    print(f"\n{title}\n", *(f"| {' | '.join(line)} |" for line in lines), "", sep="\n", flush=True)


if __name__ == "__main__":
    main()
