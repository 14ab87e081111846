"""What a source of photographs says about itself: one record per image file, before any pixel is read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pandas as pd

from inspection.data.folder_layouts import (
    NO_LAYOUT,
    ImageTree,
    check_classes,
    describe_content,
    first_few,
    fits,
    label_tree,
    read_tree,
    recognise,
    sources_below,
)
from inspection.data.label_tables import TABLE_NAME, Record, read_table
from inspection.errors import DataError
from inspection.labels import TEST, TRAIN, class_labels

COLUMNS = Record._fields
LAYOUTS = {
    "csv": f"a table {TABLE_NAME}",
    "mvtec": "images in train/good/, test/good/ and test/<defect type>/",
    "split_folders": "images in {train,test}/<class folder>/",
    "class_folders": "images in class folders such as defective/ and non_defective/",
}
"""What a folder must hold for each layout."""


@dataclass(frozen=True)
class Listing:
    """What `list_labelled` or `list_any` found.

    Attributes
    ----------
    records : DataFrame
        See `list_labelled`; from `list_any` with NaN where the defect probability is not known.
    layout : str
        A key of `LAYOUTS`, or ``unlabelled``.
    """

    records: pd.DataFrame
    layout: str


def list_images(source: str | Path, layout: str = "auto", classes: Mapping[str, str] | None = None) -> pd.DataFrame:
    """Return the records of `list_labelled`.

    Parameters
    ----------
    source : str or Path
    layout : str
    classes : mapping of str to str, optional
        See `list_labelled`.

    Returns
    -------
    DataFrame
    """
    return list_labelled(source, layout, classes).records


def list_labelled(source: str | Path, layout: str = "auto", classes: Mapping[str, str] | None = None) -> Listing:
    """List the labelled images of a source folder.

    The layouts, in the order in which ``auto`` tries them:

    - ``csv``: a table ``labels.csv``, see `read_table`. Images it does not list are not used.
    - ``mvtec``: ``train/good/``, ``test/good/``, ``test/<defect type>/`` and perhaps
      ``ground_truth/<defect type>/<stem>_mask.png``. It is recognised by ``ground_truth/``, or by unknown folders
      beside a non-defective one in ``test`` while ``train`` has non-defective ones only.
    - ``split_folders``: ``{train,test}/<class folder>/``, by any name in `inspection.labels.SPLIT_NAMES`.
    - ``class_folders``: ``<class folder>/``.

    A class folder has one of the names in `inspection.labels.FOLDER_NAMES` or in ``classes``; several may stand for
    one class. Class folders are searched in depth, as `inspection.data.folder_layouts.read_tree` says.

    Parameters
    ----------
    source : str or Path
    layout : str
        ``auto`` or one of `LAYOUTS`.
    classes : mapping of str to str, optional
        ``defective`` or ``non_defective`` per name of a folder or label; goes before the common names.

    Returns
    -------
    Listing
        ``layout`` is the one found. ``records`` has one row per image, sorted by path (a table: in its order), with
        the columns

        - ``path``: the source folder plus the path below it, POSIX, spelled as the disk or the table spells it;
        - ``defect_probability``: float in [0, 1];
        - ``split``: ``train``, ``test`` or empty (not decided by the source);
        - ``stratum``: a product variant to balance over the split; str, empty when not stated, as are
          ``group`` (images that belong on one side of the split), ``defect_type`` (the name of a class folder or label
          unless it is a common one) and ``mask`` (like ``path``);
        - ``weight``: float above 0, NaN when not stated.

    Raises
    ------
    DataError
        If the folder is missing or does not have the layout, if a class or a part of the split has no image, or if
        the class of an image is not known.
    """
    source, labels = Path(source), class_labels(classes)
    if not source.is_dir():
        raise DataError(f"data.source: no folder {str(source)!r}; put the photographs there or correct params.yaml.")
    table = source / TABLE_NAME
    if table.is_file() and layout in ("auto", "csv"):
        records = read_table(table, source, labels)
        _check_both_parts(records, table)
        return Listing(records, "csv")
    if layout == "csv":
        raise _no_layout(source, layout)
    tree = read_tree(source, labels)
    layout = _choose_layout(tree, layout)
    records = label_tree(tree, layout)
    check_classes(tree, layout, records)
    return Listing(records, layout)


def list_any(folder: str | Path, table: str | Path | None = None, classes: Mapping[str, str] | None = None) -> Listing:
    """List the images of any folder, labelled as far as one of the layouts of `list_labelled` fits.

    Images whose class is not known are unlabelled. Where no layout fits, all are, and their split is the name of the
    first folder on their path when that is one of a split.

    Parameters
    ----------
    folder : str or Path
    table : str or Path, optional
        A table of labels to use in place of the folder's own; its paths are relative to ``folder``.
    classes : mapping of str to str, optional
        As for `list_labelled`.

    Returns
    -------
    Listing

    Raises
    ------
    DataError
        If the folder is missing or holds no image, or if the table cannot be used.
    """
    folder, labels = Path(folder), class_labels(classes)
    if not folder.is_dir():
        raise DataError(f"No folder {str(folder)!r}; correct the path.")
    if table is not None or (folder / TABLE_NAME).is_file():
        return Listing(read_table(table or folder / TABLE_NAME, folder, labels), "csv")
    tree = read_tree(folder, labels)
    layout = recognise(tree) or NO_LAYOUT
    return Listing(label_tree(tree, layout), layout)


def group_by_name(records: pd.DataFrame, source: str | Path, pattern: str, block: int = 0) -> pd.DataFrame:
    """Group images by what their names have in common, such as the number of the part they show.

    Parameters
    ----------
    records : DataFrame
        From `list_images` or `list_any`.
    source : str or Path
        The folder that was listed.
    pattern : str
        Regular expression, searched in the path below ``source``. The group of an image is what the named groups of
        the pattern match, else what all its groups match, joined by ``|``; the whole match when it has none. An image
        of which nothing is matched keeps the group it has. An empty pattern changes nothing.
    block : int
        When above 0 the match must be a number, and this many consecutive numbers, counted from 0, make one group,
        whatever folders the images lie in.

    Returns
    -------
    DataFrame
        The records with their ``group`` filled in.

    Raises
    ------
    DataError
        If the pattern matches no image or one whose group the source states, or if ``block`` meets something other
        than a number.
    """
    if not pattern:
        return records
    groups = []
    for path, stated in zip(records["path"], records["group"], strict=True):
        name = PurePosixPath(path).relative_to(Path(source).as_posix()).as_posix()
        match = _matched_part(pattern, name)
        if match and stated:
            raise DataError(
                f"data.group_pattern {pattern!r} matches {name!r}, whose group is stated as {stated!r}; empty the "
                "column 'group' of the table or set the pattern to ''."
            )
        groups.append(_block_of(match, block, name) if match and block else match or stated)
    if groups == records["group"].tolist():
        raise DataError(f"data.group_pattern {pattern!r} matches no image, for example not {name!r}; correct it.")
    return records.assign(group=groups)


def _matched_part(pattern: str, name: str) -> str:
    match = re.search(pattern, name)
    if match is None:
        return ""
    parts = tuple(match.groupdict().values()) or match.groups() or (match[0],)
    # Nothing but separators would put images together that have nothing in common.
    return "|".join(part or "" for part in parts) if any(parts) else ""


def _block_of(number: str, block: int, name: str) -> str:
    if not number.isdecimal():
        raise DataError(
            f"data.group_block = {block} needs numbers, and data.group_pattern finds {number!r} in {name!r}; let it "
            "match digits only, or set the block to 0."
        )
    return f"block {int(number) // block}"


def _choose_layout(tree: ImageTree, layout: str) -> str:
    chosen = recognise(tree) if layout == "auto" else layout
    if chosen and fits(tree, chosen):
        return chosen
    below = sources_below(tree)
    if below:
        names = first_few([repr(name) for name in below])
        raise DataError(
            f"{tree.folder}: data.layout {layout} does not fit, but every one of {names} can be a source; set "
            f"data.source to one of them, such as {(tree.folder / below[0]).as_posix()}."
        )
    raise _no_layout(tree.folder, layout)


def _no_layout(folder: Path, layout: str) -> DataError:
    needed = "; or ".join(LAYOUTS.values()) if layout == "auto" else LAYOUTS[layout]
    return DataError(
        f"{folder}: data.layout {layout} needs {needed}; found {describe_content(folder)}. Correct the folder or "
        "data.layout, or explain other names of class folders in data.classes."
    )


def _check_both_parts(records: pd.DataFrame, table: Path) -> None:
    for part in (TRAIN, TEST):
        if records["split"].any() and part not in set(records["split"]):
            raise DataError(f"{table}: column 'split' names no {part} image; name some, or leave the column empty.")
