"""Defect masks: files that mark where on a photograph its defect lies."""

import numpy as np
import numpy.typing as npt
import pandas as pd

from inspection.data.images import Decoding, decode, read_file
from inspection.errors import DataError, ImageError
from inspection.files import sha256_bytes
from inspection.labels import CLASS_NAMES, DEFECTIVE, NON_DEFECTIVE

HALF_WHITE = 128
"""Grey level from which a black and white mask marks a defect. Darker ones are soft edges and noise of compression, of
which every speck would count as a defect region of its own."""
COLUMNS = ("path", "mask", "mask_sha256", "n_marked")
"""Of the table of `check_masks`."""

_MAX_NAMED = 3
# A file in 16 bits may hold 0 and 1, 0 and 255, or 0 and 65535: the first depth that holds its values is the right one.
_DECODINGS = tuple(Decoding(bit_depth, (0.0, 1.0)) for bit_depth in (8, 16))
_WAY_OUT = "or take the mask out of the data: its photograph is then one without a mask."


def read_mask(path: str, height: int, width: int, sha256: str = "") -> npt.NDArray[np.bool_]:
    """Read the defect mask of a photograph.

    Any file that `inspection.data.images.decode` reads: grey, colour, palette or 1 bit; the brightest channel counts,
    and transparency is black. Where the brightest pixel of the file is darker than `HALF_WHITE`, as in masks of 0 and 1
    or of numbered regions, every value above 0 is defect. Otherwise values from `HALF_WHITE` are. A mask may mark
    nothing.

    A mask belongs to the photograph as it is shown. An orientation in the EXIF of either file has been applied, so one
    drawn on a photograph that was not turned upright has the sides of another size, which is an error; where it was
    turned by half, mirrored or is square, nobody can tell.

    Parameters
    ----------
    path : str
    height, width : int
        Of the photograph, upright, in pixels.
    sha256 : str, optional
        Of the file when it was checked; not compared when empty.

    Returns
    -------
    ndarray of bool, shape (height, width)

    Raises
    ------
    DataError
        If the file cannot be read, changed, or has another size than the photograph.
    """
    return _read(path, height, width, sha256)[0]


def check_masks(images: pd.DataFrame) -> pd.DataFrame:
    """Read every mask that images name, and stop if one cannot be used.

    A mask that marks nothing fits every photograph. For a good part it repeats what the label says. On a defective one
    it says nothing, as annotation programs write such files for photographs on which nobody drew; the photograph counts
    as one without a mask, and ``n_marked`` is 0 for whoever reports it.

    Parameters
    ----------
    images : DataFrame
        Columns ``path``, ``label``, ``mask`` (empty where there is none), ``width`` and ``height``.

    Returns
    -------
    DataFrame
        `COLUMNS` of the images with a mask, in their order: path of photograph and mask, the SHA-256 of the latter and
        its number of defect pixels.

    Raises
    ------
    DataError
        If a mask cannot be read, has another size than its photograph, or marks a defect on a good part. The first few
        are named.
    """
    with_mask = images[images["mask"] != ""]
    checked, problems = [], []
    for path, label, mask, width, height in with_mask[["path", "label", "mask", "width", "height"]].itertuples(False):
        try:
            is_defect, sha256 = _read(mask, height, width)
            n_marked = int(np.count_nonzero(is_defect))
            _check_label(mask, n_marked, path, label)
            checked.append((path, mask, sha256, n_marked))
        except DataError as problem:
            problems.append(str(problem))
    if problems:
        named = " ".join(problems[:_MAX_NAMED])
        rest = f" And {len(problems) - _MAX_NAMED} more." if len(problems) > _MAX_NAMED else ""
        raise DataError(f"{len(problems)} of {len(with_mask)} masks cannot be used. {named}{rest}")
    return pd.DataFrame(checked, columns=list(COLUMNS))


def describe_unmarked(masks: pd.DataFrame, images: pd.DataFrame) -> list[str]:
    """Say how many defective photographs have a mask that marks nothing.

    Parameters
    ----------
    masks : DataFrame
        From `check_masks`.
    images : DataFrame
        Columns ``path`` and ``label``.

    Returns
    -------
    list of str
        One sentence, or none.
    """
    defective = set(images.loc[images["label"] == DEFECTIVE, "path"])
    unmarked = [path for path in masks.loc[masks["n_marked"] == 0, "path"] if path in defective]
    if not unmarked:
        return []
    return [
        f"{len(unmarked)} defective photographs have a mask that marks nothing, for example {unmarked[0]}: where their "
        "defect is counts as unknown."
    ]


def _read(path: str, height: int, width: int, sha256: str = "") -> tuple[npt.NDArray[np.bool_], str]:
    """Return the mask and the SHA-256 of its file."""
    try:
        data = read_file(path)
        found = sha256_bytes(data)
        if sha256 not in ("", found):
            raise DataError(f"The mask {path} changed since it was checked; run `dvc repro`.")
        red, green, blue = np.moveaxis(_decode(data, path), 2, 0)
    except ImageError as problem:
        raise DataError(f"The mask {problem} Mend the file, {_WAY_OUT}") from problem
    # Many times as fast as a maximum along so short an axis.
    brightest = np.maximum(np.maximum(red, green), blue)
    _check_size(path, brightest.shape, (height, width))
    is_defect: npt.NDArray[np.bool_] = brightest >= (HALF_WHITE if brightest.max() >= HALF_WHITE else 1)
    return is_defect, found


def _decode(data: bytes, name: str) -> npt.NDArray[np.uint8]:
    eight_bits, sixteen_bits = _DECODINGS
    try:
        return decode(data, name, eight_bits).pixels
    except ImageError:
        return decode(data, name, sixteen_bits).pixels


def _check_size(path: str, found: tuple[int, ...], expected: tuple[int, int]) -> None:
    if found == expected:
        return
    is_turned = found == expected[::-1]
    hint = "Draw it on the photograph as it is shown, upright" if is_turned else "Save it in the size of the photograph"
    raise DataError(
        f"The mask {path} has {found[1]}x{found[0]} pixels and its photograph {expected[1]}x{expected[0]}. {hint}, "
        f"{_WAY_OUT}"
    )


def _check_label(mask: str, n_marked: int, path: str, label: int) -> None:
    if n_marked and label == NON_DEFECTIVE:
        raise DataError(
            f"The mask {mask} marks {n_marked} pixels of {path}, which is labelled {CLASS_NAMES[label]}; correct the "
            f"label, {_WAY_OUT}"
        )
