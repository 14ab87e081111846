"""The command line: ``python -m inspection predict``, ``audit`` and ``results``."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from textwrap import indent

from PIL import Image
from tqdm import tqdm

from inspection.data.images import EXTENSIONS, Decoding, decode_file, read_file
from inspection.decision.defect_map import DefectMap
from inspection.decision.inspector import Inspector
from inspection.decision.map_pictures import draw_map
from inspection.decision.verdict import NotInspected, Verdict
from inspection.errors import DataError, InspectionError, ModelsError
from inspection.files import read_json, replacing
from inspection.labels import CLASS_NAMES

RESULT_COLUMNS = (
    "accuracy", "accuracy_low", "accuracy_high", "f1", "roc_auc", "roc_auc_low", "roc_auc_high", "escape_rate",
    "overkill_rate", "ece",
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : list of str, optional
        Without the name of the program; by default those of this process.

    Returns
    -------
    int
        0 when all went well, 1 when a file could not be inspected, 2 when nothing could be done.
    """
    parser = argparse.ArgumentParser(prog="python -m inspection", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    predict_parser = commands.add_parser("predict", help="judge photographs with the trained ensemble")
    predict_parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="image file, or folder of images")
    predict_parser.add_argument("--json", metavar="FILE", help="write verdicts and votes as JSON; - is the screen")
    predict_parser.add_argument("--maps", type=Path, metavar="FOLDER", help="write each photograph with its map as PNG")
    predict_parser.add_argument("--models", type=Path, default=Path("models"), help="folder of ensemble.json")
    audit_parser = commands.add_parser("audit", help="look for copies, leaks and bad photographs in a folder")
    audit_parser.add_argument("folder", type=Path, metavar="FOLDER")
    audit_parser.add_argument("--csv", type=Path, metavar="FILE", help="labels: path,label[,split,...] below FOLDER")
    audit_parser.add_argument("--json", metavar="FILE", help="write all findings as JSON; - is the screen")
    results_parser = commands.add_parser("results", help="print the metrics of the last evaluation")
    results_parser.add_argument("--metrics", type=Path, default=Path("metrics"), help="folder of ensemble.json")
    options = parser.parse_args(arguments)
    try:
        if options.command == "predict":
            return predict(options.paths, options.models, options.json, options.maps)
        if options.command == "audit":
            return audit(options.folder, options.csv, options.json)
        print(results_table(options.metrics))
        return 0
    except InspectionError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2


def predict(paths: list[Path], models: Path, json_target: str | None, maps: Path | None = None) -> int:
    """Judge any number of files, and print a line or a JSON record for each as soon as it is judged.

    A file that is not an inspectable image is reported as not inspected, never as good.

    Parameters
    ----------
    paths : list of Path
        Image files, and folders that are searched for them at every depth.
    models : Path
        Folder of ensemble.json.
    json_target : str or None
        JSON file to write, ``-`` for the screen. Without it a line is printed for each file.
    maps : Path or None
        Folder for photographs with their maps: ``<name>.png`` for each file, below the folders it lies in when a
        folder was given.

    Raises
    ------
    DataError
        If a path does not exist, or two files would write one map.
    ModelsError
        If the models cannot be used, or maps are asked for and no voter gives any.
    """
    inspector = Inspector(models)
    if inspector.version_notice:
        print(f"warning: {inspector.version_notice}", file=sys.stderr)
    files = _image_files(paths)
    pictures = {} if maps is None else _map_files(files, maps, inspector)
    verdicts = inspector.inspect_many((str(path), partial(read_file, path)) for path in files)
    n_inspected = 0

    def counted() -> Iterator[Verdict | NotInspected]:
        nonlocal n_inspected
        shown = tqdm(verdicts, total=len(files), unit="image", disable=not sys.stderr.isatty())
        for path, verdict in zip(files, shown, strict=True):
            if isinstance(verdict, Verdict):
                n_inspected += 1
                if path in pictures and verdict.defect_map is not None:
                    _write_map(pictures[path], path, verdict.defect_map, inspector.decoding)
            yield verdict

    if json_target is None:
        for verdict in counted():
            print(_line(verdict), flush=True)
    else:
        _write_json(json_target, _as_list(verdict.as_dict() for verdict in counted()))
    return 0 if n_inspected == len(files) else 1


def audit(folder: Path, table: Path | None, json_target: str | None) -> int:
    """Print what is wrong with a folder of photographs, and write it as JSON when asked to.

    The labels come from the folder's layout or from a table; without either, copies are found all the same.

    Parameters
    ----------
    folder : Path
    table : Path or None
        CSV of labels, whose paths are relative to ``folder``.
    json_target : str or None
        JSON file to write, ``-`` for the screen, where it takes the place of the summary.
    """
    # OpenCV and scikit-learn are slow to import and predict does not need them.
    from inspection.audit.findings import as_report, audit_images, summary
    from inspection.audit.indexing import index_images
    from inspection.data.manifest import label_of
    from inspection.data.sources import list_any

    def progress(items, total, what):
        return tqdm(items, total=total, desc=what, disable=not sys.stderr.isatty())

    listing = list_any(folder, table)
    indexed = index_images(listing.records, progress=progress)
    findings = audit_images(indexed, label_of(indexed.readable["defect_probability"]), progress)
    report = as_report(findings, folder.as_posix(), listing.layout)
    if json_target is not None:
        _write_json(json_target, [_as_text(report), "\n"])
    if json_target != "-":
        print(summary(report))
    return 0


def results_table(metrics: Path) -> str:
    """Return the test metrics of the ensemble and of every voter as text.

    Parameters
    ----------
    metrics : Path
        Folder of ensemble.json, data.json and ``voters``.
    """
    # Pandas is slow to import and predict does not need it.
    import pandas as pd

    ensemble = metrics / "ensemble.json"
    if not ensemble.is_file():
        raise ModelsError(f"{ensemble} does not exist; run `dvc repro` first.")
    rows = {"ensemble": read_json(ensemble)}
    rows |= {path.stem: read_json(path) for path in sorted((metrics / "voters").glob("*.json"))}
    data = read_json(metrics / "data.json")
    # What needs defects is null where there are too few.
    table = pd.DataFrame.from_dict(rows, orient="index")[list(RESULT_COLUMNS)].astype(float)
    head = (
        f"{data['n_test']} test images ({data['n_test_defective']} {CLASS_NAMES[1]}), never used in training; "
        f"{data['n_train']} training images ({data['n_train_defective']} {CLASS_NAMES[1]})"
    )
    return head + "\n\n" + table.to_string(float_format="%.4f")


def _as_text(content: dict) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False)


def _as_list(records: Iterable[dict]) -> Iterator[str]:
    """Yield a JSON list piece by piece, so that it may be longer than memory."""
    before = "[\n"
    for record in records:
        yield before + indent(_as_text(record), "  ")
        before = ",\n"
    yield "[]\n" if before.startswith("[") else "\n]\n"


def _write_json(target: str, pieces: Iterable[str]) -> None:
    if target == "-":
        sys.stdout.writelines(pieces)
        return
    if Path(target).is_dir():
        # Told before an hour's work, and not when it is to be put in its place.
        raise DataError(f"{target} cannot be written (Is a directory).")
    try:
        with replacing(target) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as stream:
            stream.writelines(pieces)
    except OSError as problem:
        raise DataError(f"{target} cannot be written ({problem.strerror}).") from problem


def _image_files(paths: list[Path]) -> dict[Path, Path]:
    """Return every image file, with its path below the folder in which it was found."""
    files: dict[Path, Path] = {}
    for path in paths:
        if path.is_dir():
            images = sorted(file for file in path.rglob("*") if file.suffix.lower() in EXTENSIONS)
            if not images:
                raise DataError(f"{path} holds no image ({', '.join(EXTENSIONS)}).")
            files |= {image: image.relative_to(path) for image in images}
        elif path.exists():
            files[path] = Path(path.name)
        else:
            raise DataError(f"{path} does not exist.")
    return files


def _map_files(files: dict[Path, Path], folder: Path, inspector: Inspector) -> dict[Path, Path]:
    """Return where the map of each file is written."""
    if not inspector.map_voters:
        raise ModelsError(
            "no voter of these models gives a map; name baseline_cnn in networks or patch_memory in detectors and run "
            "`dvc repro`."
        )
    targets: dict[Path, Path] = {}
    for path, name in files.items():
        target = folder / f"{name}.png"
        if target in targets:
            raise DataError(f"{targets[target]} and {path} would both write {target}; inspect them one by one.")
        targets[target] = path
    return {path: target for target, path in targets.items()}


def _write_map(target: Path, path: Path, defect_map: DefectMap, decoding: Decoding) -> None:
    # Read once more: a folder of any length was not to be kept in memory.
    pixels = draw_map(decode_file(path, decoding).pixels, defect_map)
    try:
        with replacing(target, flush=False) as temporary:
            Image.fromarray(pixels).save(temporary, "PNG")
    except OSError as problem:
        raise DataError(f"{target} cannot be written ({problem.strerror}).") from problem


def _line(verdict: Verdict | NotInspected) -> str:
    if isinstance(verdict, NotInspected):
        return f"{verdict.verdict:<13}  {'':7}  {verdict.reason}"
    words = " ".join(filter(None, (verdict.reason, verdict.whereabouts)))
    return f"{verdict.verdict:<13}  {verdict.confidence:7.1%}  {verdict.name}: {words}"


if __name__ == "__main__":
    sys.exit(main())
