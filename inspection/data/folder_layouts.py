"""What the names of folders say about the images in them."""

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path, PurePosixPath

import pandas as pd

from inspection.data.images import EXTENSIONS
from inspection.data.label_tables import TABLE_NAME, Record
from inspection.errors import DataError
from inspection.labels import (
    CLASS_NAMES,
    DEFECTIVE,
    NON_DEFECTIVE,
    TEST,
    TRAIN,
    is_common_name,
    plain_name,
    split_part,
)

NO_LAYOUT = "unlabelled"
"""The layout of a folder of which nothing but the images is known."""
PASSED_OVER = ("ground truth", "masks", "macosx", "@eadir")
"""Folders of masks and previews, as `plain_name` writes them: their images show no parts."""
MASK_ENDINGS = ("_mask.png", ".png")
"""What follows an image's stem in the name of its mask: MVTec AD's way, then that of data sets made after it."""
_MAX_NAMED = 8


@dataclass(frozen=True)
class ImageTree:
    """The images below a folder.

    Attributes
    ----------
    folder : Path
    paths : list of str
        Relative to the folder, POSIX, sorted.
    labels : mapping of str to int
        From `inspection.labels.class_labels`.
    """

    folder: Path
    paths: list[str]
    labels: Mapping[str, int]

    @cached_property
    def tops(self) -> list[str]:
        """Folders directly below that hold an image at any depth."""
        return sorted({path.split("/", 1)[0] for path in self.paths if "/" in path})

    @cached_property
    def ground_truth(self) -> Path | None:
        """MVTec's folder of masks."""
        folders = (Path(entry) for entry in _entries(self.folder) if plain_name(entry.name) == "ground truth")
        return next(folders, None)

    def label(self, class_folder: str) -> int | None:
        """Return the label of a class folder's name, None when it is not known.

        Parameters
        ----------
        class_folder : str
        """
        return self.labels.get(plain_name(class_folder)) if class_folder else None


def read_tree(folder: Path, labels: Mapping[str, int]) -> ImageTree:
    """Find the images below a folder.

    Links are followed, but not back up. Hidden files and folders, files without an image extension and the folders
    in `PASSED_OVER` (unless ``labels`` names them) are passed over.

    Parameters
    ----------
    folder : Path
    labels : mapping of str to int
        From `inspection.labels.class_labels`.

    Returns
    -------
    ImageTree

    Raises
    ------
    DataError
        If there is no image, a folder cannot be read, or no table can hold a name.
    """
    here = folder.resolve()
    paths, pending = [], [("", {here, *here.parents})]
    while pending:
        prefix, above = pending.pop()
        for entry in _entries(folder / prefix):
            target = _followed(entry)
            if target.is_dir():
                plain, real = plain_name(entry.name), Path(entry).resolve()
                # A link back up would be followed for ever.
                if real not in above and (plain not in PASSED_OVER or plain in labels):
                    pending.append((f"{prefix}{entry.name}/", above | {real}))
            elif entry.name.lower().endswith(EXTENSIONS) and target.is_file():
                paths.append(_checked(prefix + entry.name, folder))
    if not paths:
        raise DataError(f"{folder} holds no image ({', '.join(EXTENSIONS)}); add photographs or correct the path.")
    return ImageTree(folder, sorted(paths), labels)


def recognise(tree: ImageTree) -> str | None:
    """Return the first of ``mvtec``, ``split_folders`` and ``class_folders`` that fits, None when none does.

    Parameters
    ----------
    tree : ImageTree
    """
    if fits(tree, "mvtec"):
        return "mvtec" if _looks_like_mvtec(tree) else "split_folders"
    return "class_folders" if fits(tree, "class_folders") else None


def fits(tree: ImageTree, layout: str) -> bool:
    """Whether the folders directly below have the names that the layout needs.

    Parameters
    ----------
    tree : ImageTree
    layout : {"mvtec", "split_folders", "class_folders"}
    """
    if layout == "class_folders":
        return any(tree.label(top) is not None for top in tree.tops)
    return {TRAIN, TEST} <= {split_part(top) for top in tree.tops}


def sources_below(tree: ImageTree) -> list[str]:
    """Return the names of folders directly below that have a layout of their own and are no part of a split.

    Parameters
    ----------
    tree : ImageTree
    """
    sources = []
    for top, group in groupby((path for path in tree.paths if "/" in path), lambda path: path.split("/", 1)[0]):
        below = ImageTree(tree.folder / top, [path.split("/", 1)[1] for path in group], tree.labels)
        has_layout = (below.folder / TABLE_NAME).is_file() or recognise(below)
        if has_layout and not split_part(top):
            sources.append(top)
    return sources


def label_tree(tree: ImageTree, layout: str) -> pd.DataFrame:
    """Say of every image what its folders say under a layout.

    Parameters
    ----------
    tree : ImageTree
    layout : {"mvtec", "split_folders", "class_folders", "unlabelled"}
        The last is `NO_LAYOUT`.

    Returns
    -------
    DataFrame
        The fields of `Record` in the order of ``tree.paths``; the defect probability of an image whose class is not
        known is NaN.
    """
    return pd.DataFrame([_to_record(tree, layout, path) for path in tree.paths], columns=Record._fields)


def check_classes(tree: ImageTree, layout: str, records: pd.DataFrame) -> None:
    """Stop unless every image has a class and some are good; of defects there may be none.

    Parameters
    ----------
    tree : ImageTree
    layout : str
    records : DataFrame
        From `label_tree`.

    Raises
    ------
    DataError
    """
    probability = records["defect_probability"]
    unknown = [path for path, is_unknown in zip(tree.paths, probability.isna(), strict=True) if is_unknown]
    if unknown:
        raise DataError(
            f"{tree.folder}: data.layout {layout} does not tell the class of {_class_folders(unknown, layout)}. "
            "Explain names of class folders in data.classes ({name: defective} or {name: non_defective}), or move what "
            "is no photograph of a part elsewhere."
        )
    if not (probability == NON_DEFECTIVE).any():
        name = CLASS_NAMES[NON_DEFECTIVE]
        raise DataError(
            f"{tree.folder}: no image ({', '.join(EXTENSIONS)}) of the class {name!r}; found "
            f"{_class_folders(tree.paths, layout)}. Put photographs into a folder {name!r}, or explain the names "
            "of the folders in data.classes."
        )
    empty = [] if (probability == DEFECTIVE).any() else _empty_folders_of_defects(tree, layout)
    if empty:
        raise DataError(
            f"{tree.folder}: no image ({', '.join(EXTENSIONS)}) of the class {CLASS_NAMES[DEFECTIVE]!r}, but there is "
            f"a folder {empty[0]!r} for them. Put photographs into it, or take it away: good parts alone are enough "
            "for detectors."
        )


def _empty_folders_of_defects(tree: ImageTree, layout: str) -> list[str]:
    """Return folders of defects, of which no image came: somebody means to fill them."""
    tops = [entry.name for entry in _entries(tree.folder) if _followed(entry).is_dir()]
    if layout == "class_folders":
        return [top for top in tops if tree.label(top) == DEFECTIVE]
    return [
        f"{top}/{entry.name}"
        for top in tops
        if split_part(top)
        for entry in _entries(tree.folder / top)
        if _followed(entry).is_dir() and tree.label(entry.name) == DEFECTIVE
    ]


def first_few(names: list[str]) -> str:
    """Return some of the names, and how many more there are.

    Parameters
    ----------
    names : list of str
    """
    rest = [f"and {len(names) - _MAX_NAMED} more"] if len(names) > _MAX_NAMED else []
    return ", ".join(names[:_MAX_NAMED] + rest) or "nothing"


def describe_content(folder: Path) -> str:
    """Return the names of the first few things in a folder.

    Parameters
    ----------
    folder : Path
    """
    return first_few([repr(entry.name) for entry in _entries(folder)])


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as problem:
        raise DataError(f"{folder} cannot be read ({problem.strerror}); mend it or move it elsewhere.") from problem


def _followed(entry: os.DirEntry[str]) -> os.DirEntry[str] | Path:
    # A DirEntry asks the disk less often than a Path but raises an error at a link to itself.
    return Path(entry) if entry.is_symlink() else entry


def _checked(name: str, folder: Path) -> str:
    """Return the name unless it would not come back from a CSV table as it went in."""
    try:
        name.encode()
    except UnicodeEncodeError as problem:
        raise DataError(f"{folder}: the name {name!r} is not UTF-8 and no table can hold it; rename it.") from problem
    # A line feed is quoted by every writer; a carriage return alone is not, and ends the line for every reader.
    if "\r" in name:
        raise DataError(f"{folder}: the name {name!r} holds a carriage return and no table can hold it; rename it.")
    return name


def _looks_like_mvtec(tree: ImageTree) -> bool:
    if tree.ground_truth:
        return True
    labels: dict[str, set[int | None]] = {TRAIN: set(), TEST: set(), "": set()}
    for top, class_folder in {tuple(path.split("/")[:2]) for path in tree.paths if path.count("/") > 1}:
        labels[split_part(top)].add(tree.label(class_folder))
    # Without a known folder of good parts in test, an unknown one may well be that of the good parts.
    return labels[TRAIN] == {NON_DEFECTIVE} and {NON_DEFECTIVE, None} <= labels[TEST]


def _to_record(tree: ImageTree, layout: str, path: str) -> Record:
    split, class_folder = _read_folders(path, layout)
    label = tree.label(class_folder)
    if label is None and layout == "mvtec" and split == TEST and class_folder:
        label = DEFECTIVE
    defect_type = mask = ""
    if label == DEFECTIVE:
        # MVTec's folders are types of defects, "bad" and "defective" included.
        defect_type = class_folder if layout == "mvtec" or not is_common_name(class_folder) else ""
        mask = _find_mask(tree, path) if layout == "mvtec" else ""
    return Record(
        path=(tree.folder / path).as_posix(),
        defect_probability=math.nan if label is None else float(label),
        split=split,
        defect_type=defect_type,
        mask=mask,
    )


def _read_folders(path: str, layout: str) -> tuple[str, str]:
    """Return the part of the split and the name of the class folder; what the path does not say is empty."""
    folders = path.split("/")[:-1]
    if layout == "class_folders":
        return "", folders[0] if folders else ""
    split = split_part(folders[0]) if folders else ""
    return split, folders[1] if split and layout != NO_LAYOUT and len(folders) > 1 else ""


def _find_mask(tree: ImageTree, path: str) -> str:
    if tree.ground_truth is None:
        return ""
    below_split = PurePosixPath(path.split("/", 1)[1])
    masks = (tree.ground_truth / below_split.with_name(below_split.stem + ending) for ending in MASK_ENDINGS)
    return next((mask.as_posix() for mask in masks if mask.is_file()), "")


def _class_folders(paths: Iterable[str], layout: str) -> str:
    """Return where images lie, down to the folder that should tell their class, with their number."""
    counts: Counter[str] = Counter()
    for path in paths:
        folders = path.split("/")[:-1]
        depth = 2 if layout != "class_folders" and folders and split_part(folders[0]) else 1
        counts["/".join(folders[:depth]) if len(folders) >= depth else path] += 1
    return first_few([f"{place!r} ({number})" for place, number in sorted(counts.items())])
