"""The command line: ``python -m inspection predict``, ``audit`` and ``results``."""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from textwrap import indent

from tqdm import tqdm

from inspection.data.images import EXTENSIONS, read_file
from inspection.decision.inspector import Inspector
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
            return predict(options.paths, options.models, options.json)
        if options.command == "audit":
            return audit(options.folder, options.csv, options.json)
        print(results_table(options.metrics))
        return 0
    except InspectionError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2


def predict(paths: list[Path], models: Path, json_target: str | None) -> int:
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
    """
    inspector = Inspector(models)
    if inspector.version_notice:
        print(f"warning: {inspector.version_notice}", file=sys.stderr)
    files = _image_files(paths)
    verdicts = inspector.inspect_many((str(path), partial(read_file, path)) for path in files)
    n_inspected = 0

    def counted() -> Iterator[Verdict | NotInspected]:
        nonlocal n_inspected
        for verdict in tqdm(verdicts, total=len(files), unit="image", disable=not sys.stderr.isatty()):
            n_inspected += isinstance(verdict, Verdict)
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
    table = pd.DataFrame.from_dict(rows, orient="index")[list(RESULT_COLUMNS)]
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


def _image_files(paths: list[Path]) -> list[Path]:
    files = []
    for path in paths:
        if path.is_dir():
            images = sorted(file for file in path.rglob("*") if file.suffix.lower() in EXTENSIONS)
            if not images:
                raise DataError(f"{path} holds no image ({', '.join(EXTENSIONS)}).")
            files += images
        elif path.exists():
            files.append(path)
        else:
            raise DataError(f"{path} does not exist.")
    return files


def _line(verdict: Verdict | NotInspected) -> str:
    if isinstance(verdict, NotInspected):
        return f"{verdict.verdict:<13}  {'':7}  {verdict.reason}"
    return f"{verdict.verdict:<13}  {verdict.confidence:7.1%}  {verdict.name}: {verdict.reason}"


if __name__ == "__main__":
    sys.exit(main())
