"""Running an exported network: ONNX Runtime on batches of photographs, no torch needed."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as _runtime_errors

from inspection.errors import ModelsError

BATCH_SIZE = 16
"""Views of photographs per call: enough to keep the cores busy, few enough for the feature maps of VGG16 to fit in
memory."""

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

    Attributes
    ----------
    image_size : int
        Side of the square input in pixels.
    metadata : dict of str to str
        What the export wrote: name, provenance of the weights, pooled layers.

    Raises
    ------
    ModelsError
        If the content is not such a network.
    """

    def __init__(self, data: bytes, name: str):
        self._name = name
        try:
            self._session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        except _UNUSABLE_ERRORS as problem:
            raise ModelsError(f"{name} is not a usable ONNX file; delete it and run `dvc repro`.") from problem
        self.metadata = dict(self._session.get_modelmeta().custom_metadata_map)
        if "image_size" not in self.metadata:
            raise ModelsError(f"{name} was not exported by this project; delete it and run `dvc repro`.")
        self.image_size = int(self.metadata["image_size"])
        # A network that looks at several views of a photograph makes one batch of them.
        self._per_call = max(1, BATCH_SIZE // int(self.metadata.get("views", 1)))

    def run(self, pixels: np.ndarray, output: str) -> np.ndarray:
        """Run on photographs that are in memory, in calls of ``BATCH_SIZE`` views.

        Parameters
        ----------
        pixels : ndarray of uint8, shape (n_images, image_size, image_size, 3)
            RGB; the normalisation is part of the network.
        output : str
            Name of the output wanted.

        Returns
        -------
        ndarray of float32, shape (n_images, ...)
            A row does not depend on the other images of the batch, nor on the number of threads.

        Raises
        ------
        ModelsError
            If a value is NaN or infinite: it would become a vote.
        """
        calls = [pixels[start : start + self._per_call] for start in range(0, len(pixels), self._per_call)]
        values = np.concatenate(
            [self._session.run([output], {"images": np.ascontiguousarray(call)})[0] for call in calls]
        )
        is_finite = np.isfinite(values.reshape(len(values), -1)).all(1)
        if not is_finite.all():
            raise ModelsError(
                f"{self._name}: {output} is NaN or infinite for {np.sum(~is_finite)} of {len(values)} photographs, "
                "so it cannot vote; delete it and run `dvc repro`."
            )
        return values

    def run_all(self, images: Iterable[np.ndarray], output: str) -> np.ndarray:
        """Run any number of images in batches of ``BATCH_SIZE``, holding one batch in memory at a time.

        Parameters
        ----------
        images : iterable of ndarray of uint8, shape (image_size, image_size, 3)
        output : str

        Returns
        -------
        ndarray of float32, shape (n_images, ...)
        """
        return np.concatenate([self.run(np.stack(batch), output) for batch in batches(images, BATCH_SIZE)])


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
