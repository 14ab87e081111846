"""What a verdict costs beside the forward passes of its networks, which nobody can do without.

Run after ``dvc repro``::

    python -m bench.serving

One photograph after the other, and many at once, through the `Inspector` that viewer and command line use; in turns
with the bare forward passes of the same networks on pictures that lie in memory: side by side on one thread each, as
the Inspector calls them, and one after the other on all threads.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import joblib
import numpy as np
import psutil

from bench.side_by_side import machine_facts, median_ratio, time_in_turns, write_results
from inspection.config import load_params
from inspection.data.images import decode, resize
from inspection.decision.ensemble import read_ensemble
from inspection.decision.inspector import Inspector
from inspection.decision.verdict import NotInspected, Verdict
from inspection.networks.onnx_models import BATCH_SIZE, OnnxModel, Run, run_together

IMPORTS = "import streamlit, onnxruntime, sklearn, xgboost"
FIRST_VERDICT = """
import sys
import streamlit
import inspection.station.page
from inspection.decision.inspector import Inspector

with open(sys.argv[2], "rb") as stream:
    Inspector(sys.argv[1]).inspect(stream.read())
"""
N_STARTS = 3

Files = list[tuple[str, bytes]]
Forward = Callable[[slice], object]
"""Runs every network on some of the photographs."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="models")
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    facts = machine_facts(("onnxruntime", "scikit-learn", "streamlit", "xgboost"))
    start = time.process_time()
    inspector = Inspector(arguments.models)
    loading = time.process_time() - start
    paths = sorted(Path(load_params().data.source).rglob("*.png"))[: arguments.images]
    files = [(path.name, path.read_bytes()) for path in paths]
    list(inspect_all(inspector, files))
    memory = psutil.Process().memory_info().rss
    many = time_in_turns(
        {
            "verdicts": lambda: list(inspect_all(inspector, files)),
            "forward": in_batches(forward_passes(arguments.models, files, 1), len(files)),
        },
        arguments.rounds,
    )
    single = {
        "verdict": one_by_one(lambda one: inspector.inspect(files[one.start][1]), len(files)),
        "forward, side by side": one_by_one(forward_passes(arguments.models, files, 1), len(files)),
        "forward, all threads": one_by_one(forward_passes(arguments.models, files, joblib.cpu_count()), len(files)),
    }
    starts = time_in_turns(
        {
            "imports": lambda: run_python(IMPORTS),
            "first verdict": lambda: run_python(FIRST_VERDICT, arguments.models, str(paths[0])),
        },
        N_STARTS,
    )
    slow = {way: float(np.percentile(latencies, 95)) for way, latencies in single.items()}
    rows = {
        "models load, CPU s beyond the imports": loading,
        "memory of the process after many photographs, MB": memory / 1e6,
        "one photograph, ms, median": 1e3 * float(np.median(single["verdict"])),
        "one photograph, ms, 95th percentile": 1e3 * slow["verdict"],
        "that over the forward passes side by side": slow["verdict"] / slow["forward, side by side"],
        "that over the forward passes on all threads": slow["verdict"] / slow["forward, all threads"],
        "many, photographs a second": len(files) / float(np.median([one["wall"] for one in many["verdicts"]])),
        "many, speed over that of the forward passes": 1 / median_ratio(many, "verdicts", "forward"),
        "first verdict of a new process over its bare imports": median_ratio(starts, "first verdict", "imports"),
    }
    print("| | |\n|---|---|", *(f"| {what} | {value:.2f} |" for what, value in rows.items()), sep="\n")
    write_results("serving", facts, {"rows": rows, "many": many, "single_s": single, "starts": starts})


def inspect_all(inspector: Inspector, files: Files) -> Iterator[Verdict | NotInspected]:
    return inspector.inspect_many((name, lambda data=data: data) for name, data in files)


def forward_passes(models: str, files: Files, n_threads: int) -> Forward:
    """Return the bare forward passes of the networks that vote.

    With one thread each the networks run side by side, with more one after the other.
    """
    wanted = read_ensemble(models).outputs_wanted()
    networks = [(OnnxModel(Path(models, path).read_bytes(), path, n_threads), wanted[path]) for path in wanted]
    decoded = [decode(data, name).pixels for name, data in files]
    pictures = {
        size: np.stack([resize(pixels, size) for pixels in decoded])
        for size in {network.image_size for network, _ in networks}
    }

    def forward(some: slice) -> None:
        runs = [Run(network, pictures[network.image_size][some], outputs) for network, outputs in networks]
        if n_threads == 1:
            run_together(runs)
        else:
            for run in runs:
                run_together([run])

    return forward


def in_batches(forward: Forward, n_images: int) -> Callable[[], object]:
    """Return forward passes of all photographs, as many at once as the Inspector takes."""
    return lambda: [forward(slice(start, start + BATCH_SIZE)) for start in range(0, n_images, BATCH_SIZE)]


def one_by_one(call: Forward, n_images: int) -> list[float]:
    """Return the seconds of each photograph, after one that is not counted."""
    call(slice(0, 1))
    latencies = []
    for place in range(n_images):
        start = time.perf_counter()
        call(slice(place, place + 1))
        latencies.append(time.perf_counter() - start)
    return latencies


def run_python(code: str, *arguments: str) -> None:
    """Run code in a process of its own."""
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)


if __name__ == "__main__":
    main()
