"""What did each experiment change, and what did it bring? Reads the table of experiments that DVC writes.

Run by ``make experiments``::

    dvc exp show --csv --only-changed --hide-workspace | python -m bench.experiments

Numbers to choose by come first: out of fold, on training images. Those of the test images are for the record; who
chooses by them tunes on the test images.
"""

import io
import sys

import pandas as pd

from inspection.config import Params

CHOSEN_BY = "out of fold: "
FOR_THE_RECORD = "test, for the record: "
FILES = {"metrics/out_of_fold.json:": CHOSEN_BY, "metrics/ensemble.json:": FOR_THE_RECORD}
_FINGERPRINT = r"[0-9a-f]{32}(\.dir)?"
HEADLINES = ("accuracy", "roc_auc", "escape_rate", "overkill_rate", "review_rate")


def arrange(table: pd.DataFrame) -> pd.DataFrame:
    """Return the columns worth reading: names, out-of-fold numbers, those of the test images, and changed params.

    Parameters
    ----------
    table : DataFrame
        As ``dvc exp show --csv`` writes it: ``Experiment`` and ``rev``, metrics as ``<file>:<key>``, params, and the
        fingerprints of dependencies.

    Returns
    -------
    DataFrame
        One row per experiment and commit.
    """
    names = {"experiment": table["Experiment"].fillna(table["rev"])}
    numbers = {
        f"{words}{key}": table[f"{file}{key}"]
        for file, words in FILES.items()
        for key in HEADLINES
        if f"{file}{key}" in table
    }
    # Other columns are metrics whose name one file alone has, and fingerprints of files; a folder may be called like a
    # param.
    params = {
        str(column): table[column]
        for column in table
        if str(column).removeprefix("params.yaml:").split(".")[0] in Params.model_fields
        and not table[column].dropna().astype(str).str.fullmatch(_FINGERPRINT).all()
    }
    return pd.DataFrame(names | numbers | params)


def main() -> None:
    text = sys.stdin.read()
    if not text.strip():
        print("No experiment on this commit yet: dvc exp run -S ...")
        return
    print(arrange(pd.read_csv(io.StringIO(text))).to_string(index=False, na_rep=""))


if __name__ == "__main__":
    main()
