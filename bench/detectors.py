"""The project's detector beside anomalib's PatchCore and PaDiM: what they find, where, and at what cost.

Run on a folder in MVTec layout (``make bench SOURCE=path/to/folder`` installs anomalib)::

    python -m bench.detectors --source path/to/folder
    python -m bench.detectors --source path/to/folder --limit 20 --peer-python path/to/anomalib/bin/python

All learn from the same photographs of ``train/good``, judge the same ones of ``test``, squeezed to the same size, with
the same weights of the same network. anomalib can take feature maps at the end of blocks only: ``--layers``, for all
tools, are those at an eighth and a sixteenth of the size; the detector is also shown with its own. Every tool runs in
processes of its own, one after the other, on all cores: one learns, further ones judge one photograph after the other
by what was stored. anomalib may live in another environment, named by ``--peer-python``.

Maps are scaled to the size of the photograph, bilinearly. Pixels and regions are those of the masks; a defective
photograph without a mask is left out there. Scores and maps are those that the detector serves, and those of anomalib
before it cuts them off at 0 and 1. "By its own threshold" is what a station would see that was set up with good parts
only: the detector says P(defective), to which `ensemble.threshold` is applied; anomalib makes its threshold of a fifth
of the good parts, for which it is trained once more, uncounted.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image

from bench.detector_task import Task
from bench.side_by_side import machine_facts, write_results
from inspection.audit.findings import audit_images
from inspection.audit.indexing import index_images
from inspection.config import Params, load_params
from inspection.data.groups import join_groups
from inspection.data.manifest import as_manifest, label_of, weigh_images
from inspection.data.masks import read_mask
from inspection.data.sources import list_images
from inspection.data.splits import divide
from inspection.labels import DEFECTIVE, TEST, TRAIN
from inspection.networks.weights import LITE_BACKBONES, load_pretrained
from inspection.reports.tables.intervals import roc_auc_interval
from inspection.reports.tables.localisation import summarise_localisation
from inspection.reports.tables.map_counts import LocalisationCounts
from inspection.reports.tables.metrics import escape_rate, overkill_rate


class Tool(NamedTuple):
    """A detector to be measured: its module, what it is told, and the kinds of model that it stores."""

    name: str
    module: str
    method: str
    has_own_layers: bool
    kinds: tuple[str, ...]


OWN = (
    Tool("patch_memory, its own layers", "detector_patch_memory", "patch_memory", True, ("served",)),
    Tool("patch_memory", "detector_patch_memory", "patch_memory", False, ("served",)),
)
PEERS = (
    Tool("PatchCore", "detector_anomalib", "patchcore", False, ("torch", "onnx")),
    Tool("PaDiM", "detector_anomalib", "padim", False, ("torch", "onnx")),
)
TRAINED = "trained"
AREAS = ("image_auroc", "pixel_auroc", "aupro")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", required=True, help="folder in MVTec layout")
    parser.add_argument("--peer-python", default=sys.executable, help="interpreter of an environment with anomalib")
    parser.add_argument("--backbone", choices=LITE_BACKBONES, default="efficientnet_lite1")
    parser.add_argument("--layers", nargs="+", default=["blocks.2", "blocks.4"])
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--coreset-share", type=float, default=0.01, help="of PatchCore; anomalib's default is 0.1")
    parser.add_argument("--features", type=int, default=100, help="of PaDiM, drawn from all channels")
    parser.add_argument("--limit", type=int, help="photographs at most of each part and class, for a trial")
    arguments = parser.parse_args()
    facts = machine_facts(("onnxruntime", "scikit-learn", "timm", "torch"))
    records = thin(list_images(arguments.source, "mvtec"), arguments.limit)
    tools = OWN + (PEERS if has_anomalib(arguments.peer_python) else ())
    params = load_params()
    rows = divided(records, params)
    test = rows[rows["split"] == TEST].reset_index(drop=True)
    with tempfile.TemporaryDirectory() as folder:
        task = prepare(rows, arguments, params.seed, Path(folder))
        results = {tool.name: measure(tool, task, test, arguments.peer_python) for tool in tools}
    print_tables(results)
    if len(tools) > len(OWN) and not arguments.limit:
        counts = {"train": len(rows) - len(test), "test": len(test), "defective": int(test["label"].sum())}
        options = {name: value for name, value in vars(arguments).items() if name not in ("source", "peer_python")}
        write_results("detectors", facts, {"photographs": counts, "options": options, "tools": results})


def has_anomalib(python: str) -> bool:
    """Tell whether an interpreter has anomalib; say so where it has not."""
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('anomalib') is None)"
    if shutil.which(python) and subprocess.run([python, "-c", look], check=False).returncode == 0:
        return True
    print(
        f"{python} is no interpreter with anomalib: PatchCore and PaDiM are skipped, and no results are kept. Install "
        "it there (`pip install anomalib onnx onnxruntime onnxscript`), or name another one with --peer-python."
    )
    return False


def thin(records: pd.DataFrame, limit: int | None) -> pd.DataFrame:
    """Keep at most so many photographs of each part and class, evenly over their names.

    Parameters
    ----------
    records : DataFrame
        From `inspection.data.sources.list_images`.
    limit : int, optional
        Without it all are kept.
    """
    if limit is None:
        return records
    kinds = records.groupby(["split", label_of(records["defect_probability"])])
    kept = [rows.iloc[np.unique(np.linspace(0, len(rows) - 1, limit).astype(int))] for _, rows in kinds]
    return pd.concat(kept).sort_values("path", ignore_index=True)


def divided(records: pd.DataFrame, params: Params) -> pd.DataFrame:
    """Return the manifest of the photographs, divided as their folder says, with groups and folds as in ``prepare``."""
    labels = label_of(records["defect_probability"])
    images = audit_images(index_images(records), labels).images
    images = images.assign(
        stated_group=images["group"],
        group=join_groups(images, params.data.series),
        weight=weigh_images(images, params.data),
    )
    data = params.data.model_copy(update={"leaks": "keep", "supplied_split": "use"})
    return as_manifest(divide(images, data, params.seed).images)


def prepare(rows: pd.DataFrame, arguments: argparse.Namespace, seed: int, folder: Path) -> Task:
    """Lay out photographs and weights, and return what every tool is asked."""
    for name in (TRAIN, TEST):
        link_photographs(rows.loc[rows["split"] == name, "path"].tolist(), folder / name)
    pretrained = load_pretrained(arguments.backbone)
    torch.save(pretrained.network.state_dict(), folder / "weights.pth")
    return Task(
        folder=str(folder),
        method="",
        backbone=arguments.backbone,
        weights=str(folder / "weights.pth"),
        mean=pretrained.mean,
        std=pretrained.std,
        layers=tuple(arguments.layers),
        image_size=arguments.image_size,
        train=str(folder / TRAIN),
        test=str(folder / TEST),
        folds=tuple(rows.loc[rows["split"] == TRAIN, "fold"].tolist()),
        settings={"coreset_share": arguments.coreset_share, "n_features": arguments.features},
        seed=seed,
    )


def link_photographs(paths: Sequence[str], folder: Path) -> None:
    """Make a folder of links to photographs, whose names sort as the paths are given."""
    folder.mkdir()
    for place, path in enumerate(paths):
        Path(folder, f"{place:06}{Path(path).suffix}").symlink_to(Path(path).resolve())


def measure(tool: Tool, task: Task, test: pd.DataFrame, peer_python: str) -> dict:
    """Let a tool learn and judge, and return its answers with what they are worth."""
    print(f"{tool.name} ...", flush=True)
    layers = () if tool.has_own_layers else task.layers
    task = replace(task, folder=str(Path(task.folder, tool.name)), method=tool.method, layers=layers)
    path, python = task.write(), peer_python if tool in PEERS else sys.executable
    answers = {step: ask(python, tool.module, step, path) for step in ("fit", *tool.kinds)}
    said = {kind: np.load(path.with_name(f"{kind}.npz")) for kind in (TRAINED, *tool.kinds)}
    for kind, arrays in said.items():
        difference = np.abs(arrays["scores"] - said[TRAINED]["scores"]).max() / said[TRAINED]["scores"].std()
        of_kind = answers.setdefault(kind, {})
        of_kind |= quality(test, arrays["scores"], arrays["maps"]) | {"largest_difference": float(difference)}
    is_flagged, is_defect = np.array(answers["fit"].pop("is_flagged")), test["label"].to_numpy() == DEFECTIVE
    answers["fit"] |= {"escape_rate": escape_rate(is_defect, is_flagged)}
    answers["fit"] |= {"overkill_rate": overkill_rate(is_defect, is_flagged)}
    return answers


def ask(python: str, module: str, step: str, task: Path) -> dict:
    """Run one step of a tool in a process of its own, and return its answer."""
    done = subprocess.run([python, "-m", f"bench.{module}", step, task], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"bench.{module} {step} failed:\n{done.stderr[-4000:]}")
    return json.loads(task.with_name(f"{step}.json").read_text(encoding="utf-8"))


def quality(test: pd.DataFrame, scores: np.ndarray, maps: np.ndarray) -> dict[str, float]:
    """Return the areas under the curves of photographs, pixels and regions, with their bounds."""
    is_defect = test["label"].to_numpy() == DEFECTIVE
    area, low, high = roc_auc_interval(is_defect, scores, test["group"].to_numpy())
    counts = [
        LocalisationCounts.of(scale(map_, row.height, row.width), read_mask_of(row))
        for map_, row in zip(maps, test.itertuples(), strict=True)
    ]
    of_pixels = summarise_localisation(counts, test.assign(defect_type=""))
    return {"image_auroc": area, "image_auroc_low": low, "image_auroc_high": high, **of_pixels}


def read_mask_of(row) -> np.ndarray | None:
    """Return which pixels of a photograph are defective; None without a mask."""
    return read_mask(row.mask, row.height, row.width) if row.mask else None


def scale(map_: np.ndarray, height: int, width: int) -> np.ndarray:
    """Scale a map to the size of its photograph, bilinearly.

    Parameters
    ----------
    map_ : ndarray of float32, shape (rows, columns)
    height, width : int

    Returns
    -------
    ndarray of float16, shape (height, width)
    """
    return np.array(Image.fromarray(map_).resize((width, height), Image.Resampling.BILINEAR)).astype(np.float16)


def print_tables(results: dict[str, dict]) -> None:
    """Print Markdown: what is found, what it costs, and what the tools' own thresholds make of it."""
    print("\n| | image AUROC | pixel AUROC | AUPRO | largest difference of a score |\n|---|---|---|---|---|")
    for name, answers in results.items():
        for kind in (TRAINED, *answers["fit"]["stored_mb"]):
            areas = " | ".join(bounded(answers[kind], key) for key in AREAS)
            print(f"| {name}, {kind} | {areas} | {answers[kind]['largest_difference']:.1e} |")
    print("\n| | training, s | training, CPU s | export, s | a photograph, ms | memory, MB | stored, MB |")
    print("|---|---|---|---|---|---|---|")
    for name, answers in results.items():
        fit = answers["fit"]
        costs = f"{fit['train']['wall']:.1f} | {fit['train']['cpu']:.1f} | {fit['export']['wall']:.1f}"
        print(f"| {name}, training | {costs} | | {fit['memory_mb']:.0f} | |")
        for kind, size in fit["stored_mb"].items():
            each = 1000 * np.median(answers[kind]["seconds"])
            print(f"| {name}, {kind} | | | | {each:.1f} | {answers[kind]['memory_mb']:.0f} | {size:.1f} |")
    print("\n| by its own threshold | escape rate | overkill rate |\n|---|---|---|")
    for name, answers in results.items():
        print(f"| {name} | {answers['fit']['escape_rate']:.1%} | {answers['fit']['overkill_rate']:.1%} |")


def bounded(answer: dict[str, float], key: str) -> str:
    """Return an area with its bounds as text; a dash where there is none."""
    if key not in answer:
        return "-"
    return f"{answer[key]:.3f} ({answer[f'{key}_low']:.3f}-{answer[f'{key}_high']:.3f})"


if __name__ == "__main__":
    main()
