"""Running exported networks: ONNX Runtime on photographs, side by side on all cores, no torch needed.

Every photograph is a call of its own, by default on one thread. Threads that share the work of one call wait for each
other after every layer, which costs a third of the time; and what a photograph gives cannot depend on its neighbours.
"""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from typing import Any, NamedTuple

import joblib
import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as _runtime_errors

from inspection.errors import ModelsError

BATCH_SIZE = 16
"""Photographs that are read and resized before the networks see them: enough to keep the cores busy."""

_UNUSABLE_ERRORS = (
    RuntimeError, ValueError, _runtime_errors.Fail, _runtime_errors.InvalidArgument, _runtime_errors.InvalidProtobuf
)  # fmt: skip
"""What ONNX Runtime raises for a file that is empty, cut short or of another kind."""


class OnnxModel:
    """A network exported by `inspection.networks.onnx_export.export_onnx`.

    Parameters
    ----------
    data : bytes
        Content of the ONNX file.
    name : str
        Of the file, for error messages.
    n_threads : int, >= 1
        That share the work on one photograph.

    Attributes
    ----------
    n_threads : int
    image_size : int
        Side of the square input in pixels.
    metadata : dict of str to str
        What the export wrote: name, provenance of the weights, pooled layers.

    Raises
    ------
    ModelsError
        If the content is not such a network.
    """

    def __init__(self, data: bytes, name: str, n_threads: int = 1):
        self._name = name
        self.n_threads = n_threads
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = n_threads
        # A thread that waits leaves its core to other photographs.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        except _UNUSABLE_ERRORS as problem:
            raise ModelsError(f"{name} is not a usable ONNX file; delete it and run `dvc repro`.") from problem
        self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)
        if "image_size" not in self.metadata:
            raise ModelsError(f"{name} was not exported by this project; delete it and run `dvc repro`.")
        self.image_size = int(self.metadata["image_size"])

    def run(self, pixels: np.ndarray, output: str) -> np.ndarray:
        """Run on photographs that are in memory.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (n_images, image_size, image_size, 3)
            RGB; the normalisation is part of the network.
        output : str
            Name of the output wanted.

        Returns
        -------
        ndarray of float32, shape (n_images, ...)
            A row depends neither on the other images nor on the number of threads.

        Raises
        ------
        ModelsError
            If a value is NaN or infinite: it would become a vote.
        """
        return run_together([Run(self, pixels, (output,))])[0][0]

    def run_one(self, image: np.ndarray, outputs: Sequence[str]) -> list[np.ndarray]:
        """Run on one photograph in the calling thread, without looking at the values.

        Parameters
        ----------
        image : ndarray of uint8, shape (image_size, image_size, 3)
        outputs : sequence of str

        Returns
        -------
        list of ndarray of float32, shape (1, ...)
            One of each output.
        """
        return self._session.run(list(outputs), {"images": np.ascontiguousarray(image[np.newaxis])})

    def check(self, values: np.ndarray, output: str) -> None:
        """Refuse values that are no numbers.

        Parameters
        ----------
        values : ndarray of float32, shape (n_images, ...)
        output : str

        Raises
        ------
        ModelsError
            If one is NaN or infinite.
        """
        is_finite = np.isfinite(values.reshape(len(values), -1)).all(1)
        if not is_finite.all():
            raise ModelsError(
                f"{self._name}: {output} is NaN or infinite for {np.sum(~is_finite)} of {len(values)} photographs, "
                "so it cannot vote; delete it and run `dvc repro`."
            )

    def run_all(self, images: Iterable[np.ndarray], output: str) -> np.ndarray:
        """Run any number of images in batches of ``BATCH_SIZE``, making no more than one batch ahead.

        Parameters
        ----------
        images : iterable of ndarray of uint8, shape (image_size, image_size, 3)
        output : str

        Returns
        -------
        ndarray of float32, shape (n_images, ...)
        """
        return np.concatenate([self.run(np.stack(batch), output) for batch in one_ahead(batches(images, BATCH_SIZE))])


class Run(NamedTuple):
    """A network, photographs and the outputs wanted; see `OnnxModel.run`."""

    model: OnnxModel
    pixels: np.ndarray
    outputs: tuple[str, ...]


def run_together(runs: Sequence[Run]) -> list[tuple[np.ndarray, ...]]:
    """Run several networks on photographs, side by side.

    Parameters
    ----------
    runs : sequence of Run
        Each with at least one photograph.

    Returns
    -------
    list of tuple of ndarray of float32, shape (n_images, ...)
        One of each run, with one array of each of its outputs.

    Raises
    ------
    ModelsError
        If a value is NaN or infinite.
    """
    with workers_for([run.model for run in runs]) as workers:
        values = dict(run_with(workers, runs))
    return [values[place] for place in range(len(runs))]


def workers_for(models: Iterable[OnnxModel]) -> ThreadPoolExecutor:
    """Return as many threads as keep the cores busy, each of them running one photograph through a network.

    Parameters
    ----------
    models : iterable of OnnxModel
    """
    return ThreadPoolExecutor(max(1, joblib.cpu_count() // max(model.n_threads for model in models)))


def run_with(workers: Executor, runs: Sequence[Run]) -> Iterator[tuple[int, tuple[np.ndarray, ...]]]:
    """Run several networks on photographs, and yield what each says as soon as it has seen all of them.

    Parameters
    ----------
    workers : Executor
        With threads; what is done with one result can be submitted to it while other networks still run.
    runs : sequence of Run
        Each with at least one photograph.

    Yields
    ------
    place : int
        Of the run.
    values : tuple of ndarray of float32, shape (n_images, ...)
        One of each output.

    Raises
    ------
    ModelsError
        If a value is NaN or infinite.
    """
    calls = [[workers.submit(run.model.run_one, image, run.outputs) for image in run.pixels] for run in runs]
    places = {call: place for place, of_run in enumerate(calls) for call in of_run}
    n_missing = [len(of_run) for of_run in calls]
    for call in as_completed(places):
        place = places[call]
        n_missing[place] -= 1
        if not n_missing[place]:
            by_output = zip(*(done.result() for done in calls[place]), strict=True)
            values = tuple(np.concatenate(of_images) for of_images in by_output)
            for output, array in zip(runs[place].outputs, values, strict=True):
                runs[place].model.check(array, output)
            yield place, values


def batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield the items in lists of ``size``, the last one shorter.

    Parameters
    ----------
    items : iterable
    size : int
    """
    batch: list[Any] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def one_ahead(items: Iterable[Any]) -> Iterator[Any]:
    """Yield the items; while one is used the next is made in a thread of its own.

    Parameters
    ----------
    items : iterable
        Reading and decoding photographs, for example, which the networks need not wait for.
    """
    end, iterator = object(), iter(items)
    with ThreadPoolExecutor(1) as maker:
        upcoming = maker.submit(next, iterator, end)
        while (item := upcoming.result()) is not end:
            upcoming = maker.submit(next, iterator, end)
            yield item
