"""What `bench.detectors` asks of a tool, and how it answers: files, since tools live in environments of their own.

Nothing but NumPy and the standard library is imported here. A tool is a module of this folder that is run as
``python -m bench.TOOL STEP task.json``, once for each of its steps, each in a new process.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Task:
    """Photographs to learn from and to judge, and the network to see them with.

    Attributes
    ----------
    folder : str
        Where the tool leaves its answers and its models.
    method : str
        Where a tool knows several.
    backbone : str
    weights : str
        File with the state dict of timm's network of that name.
    mean, std : tuple of float
        That the network expects of photographs in [0, 1].
    layers : tuple of str
        Blocks of the network; without any the tool's own.
    image_size : int
        Side of the square to which photographs are squeezed, in pixels.
    train : str
        Folder with photographs of good parts and nothing else.
    test : str
        Folder with photographs of both kinds. Names follow the order of all scores.
    folds : tuple of int
        Of the training photographs, for a tool that wants some: no part is in two.
    settings : dict
        Of the method.
    seed : int
    """

    folder: str
    method: str
    backbone: str
    weights: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    layers: tuple[str, ...]
    image_size: int
    train: str
    test: str
    folds: tuple[int, ...]
    settings: Mapping[str, float]
    seed: int

    def write(self) -> Path:
        """Write the task into its folder, which is made."""
        Path(self.folder).mkdir(parents=True)
        path = Path(self.folder, "task.json")
        path.write_text(json.dumps(asdict(self)), encoding="utf-8")
        return path


Step = Callable[[Task], dict]
"""Does something with a task, and returns what goes into the JSON file of its name."""


def run_step(steps: Mapping[str, Step]) -> None:
    """Do what the command line says, and leave the answer with the largest memory of this process in MB.

    Parameters
    ----------
    steps : mapping of str to callable
    """
    _, step, path = sys.argv
    task = Task(**json.loads(Path(path).read_text(encoding="utf-8")))
    answer = steps[step](task)
    answer.setdefault("memory_mb", peak_memory())
    Path(task.folder, f"{step}.json").write_text(json.dumps(answer), encoding="utf-8")


def photographs(folder: str) -> list[str]:
    """Return the files of a folder in the order of all scores.

    Parameters
    ----------
    folder : str
    """
    return [str(path) for path in sorted(Path(folder).iterdir())]


def write_scores(task: Task, name: str, scores: list[float] | np.ndarray, maps: list[np.ndarray] | np.ndarray) -> None:
    """Leave what a tool says of the test photographs.

    Parameters
    ----------
    task : Task
    name : str
        What said it: ``trained``, or the kind of model that was stored.
    scores : array-like of float, shape (n_images,)
        More is worse.
    maps : array-like of float, shape (n_images, rows, columns)
        Of any size.
    """
    np.savez(Path(task.folder, f"{name}.npz"), scores=np.array(scores, float), maps=np.array(maps, np.float32))


@contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Fill in the seconds that a block takes: ``wall``, and ``cpu`` of all threads of this process."""
    times: dict[str, float] = {}
    wall, cpu = time.perf_counter(), time.process_time()
    yield times
    times.update(wall=time.perf_counter() - wall, cpu=time.process_time() - cpu)


def one_by_one(paths: list[str], judge: Callable[[str], tuple[float, np.ndarray]]) -> tuple[list, list, list[float]]:
    """Judge photographs one after the other, from the file on.

    Parameters
    ----------
    paths : list of str
    judge : callable
        Returns the score and the map of a photograph.

    Returns
    -------
    scores : list of float
    maps : list of ndarray
    seconds : list of float
        Of each photograph. The first is judged twice, and its first time not counted.
    """
    judge(paths[0])
    scores, maps, seconds = [], [], []
    for path in paths:
        start = time.perf_counter()
        score, map_ = judge(path)
        seconds.append(time.perf_counter() - start)
        scores.append(score)
        maps.append(map_)
    return scores, maps, seconds


def peak_memory() -> float:
    """Return the largest resident memory of this process so far in MB, NaN where the system does not tell.

    Of the program that runs, from Linux's own account: ``getrusage`` counts what the parent held at the fork.
    """
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8")) if status.exists() else None
    return int(found[1]) * 1024 / 1e6 if found else float("nan")


def size_mb(*paths: str | Path) -> float:
    """Return the size of files together in MB.

    Parameters
    ----------
    *paths : str or Path
    """
    return sum(Path(path).stat().st_size for path in paths) / 1e6
