"""Several ways to do one thing, timed in turns in one run: machines differ eightfold, ratios do not."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import psutil

from inspection.files import write_json
from inspection.versions import installed_versions

RESULTS = Path("bench/results")
_MATRIX = 2000


def time_in_turns(ways: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[dict[str, float]]]:
    """Time each way once per round, after a first call that is not counted.

    Parameters
    ----------
    ways : mapping of str to callable
    rounds : int, >= 1

    Returns
    -------
    dict of str to list of dict
        For every way and round ``wall`` and ``cpu``, of this process and those it waited for, in seconds.
    """
    for way in ways.values():
        way()
    times: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            times[name].append(time_once(way))
    return times


def time_once(way: Callable[[], object]) -> dict[str, float]:
    """Return the seconds of one call.

    Parameters
    ----------
    way : callable

    Returns
    -------
    dict of str to float
        ``wall`` and ``cpu``, of this process and those it waited for.
    """
    wall, cpu = time.perf_counter(), _cpu_seconds()
    way()
    return {"wall": time.perf_counter() - wall, "cpu": _cpu_seconds() - cpu}


def median_ratio(times: Mapping[str, list[dict[str, float]]], one: str, other: str, clock: str = "wall") -> float:
    """Return how many times as long one way takes as another: the median over the rounds, which pair them.

    Parameters
    ----------
    times : mapping
        From `time_in_turns`.
    one, other : str
    clock : {"wall", "cpu"}
    """
    pairs = zip(times[one], times[other], strict=True)
    return statistics.median(first[clock] / second[clock] for first, second in pairs)


def machine_facts(packages: tuple[str, ...]) -> dict:
    """Return what tells this machine from others, and the versions of what is timed.

    Parameters
    ----------
    packages : tuple of str
    """
    factor = np.random.default_rng(0).random((_MATRIX, _MATRIX), np.float32)
    speeds = []
    for _ in range(5):
        start = time.perf_counter()
        factor @ factor
        speeds.append(2 * _MATRIX**3 / (time.perf_counter() - start) / 1e9)
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
        "load_before": round(os.getloadavg()[0], 2),
        "float32_matrix_product_gflops": round(max(speeds)),
        "versions": installed_versions(("python", "numpy", *packages)),
    }


def write_results(name: str, facts: dict, content: dict) -> None:
    """Keep the raw numbers of a benchmark in `RESULTS`.

    Parameters
    ----------
    name : str
    facts : dict
        From `machine_facts`.
    content : dict
    """
    write_json(RESULTS / f"{name}.json", json.loads(json.dumps({"machine": facts, **content}), parse_float=_rounded))


def _rounded(number: str) -> float:
    return float(f"{float(number):.4g}")


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
