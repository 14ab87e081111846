"""Unpack the ELPV sample (solar cells) from its installed package into data/elpv, with a labels table."""

from importlib.resources import files
from pathlib import Path

import pandas as pd

from inspection.data.label_tables import TABLE_NAME
from inspection.errors import DataError
from inspection.files import replacing
from stages.running import progress, run_stage

FOLDER = Path("data/elpv")


def fetch_sample() -> None:
    try:
        package = files("elpv_dataset") / "data"
    except ModuleNotFoundError as problem:
        raise DataError("The sample's package is missing; run `pip install elpv-dataset`.") from problem
    with (package / "labels.csv").open(encoding="utf-8") as stream:
        table = pd.read_csv(stream, sep=r"\s+", names=["path", "defect_probability", "stratum"])
    for path in progress(table["path"], "fetching"):
        with replacing(FOLDER / path, flush=False) as temporary:
            temporary.write_bytes((package / path).read_bytes())
    # The file states thirds with few digits; exact thirds keep the label values apart from rounding.
    table["defect_probability"] = (table["defect_probability"] * 3).round() / 3
    with replacing(FOLDER / TABLE_NAME) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6f", lineterminator="\n")


if __name__ == "__main__":
    run_stage(fetch_sample)
