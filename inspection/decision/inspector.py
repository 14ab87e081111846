"""The only inference path: a photograph in, a verdict out. Evaluation, viewer and command line all use it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
import numpy.typing as npt

from inspection.data.images import decode, resize
from inspection.data.tiles import MAX_TILES, TileGrid
from inspection.decision.defect_map import DefectMap
from inspection.decision.ensemble import read_ensemble
from inspection.decision.tiled import look_at_tiles
from inspection.decision.verdict import NotInspected, Verdict, make_verdicts
from inspection.decision.versions import version_notice
from inspection.errors import ImageError
from inspection.files import sha256_bytes
from inspection.networks.onnx_models import (
    BATCH_SIZE,
    OnnxModel,
    Run,
    batches,
    one_ahead,
    run_together,
    run_with,
    workers_for,
)
from inspection.threads import single_threaded_libraries
from inspection.voters.guard import Guard, read_guard
from inspection.voters.map_scale import MapScale, read_map_scale
from inspection.voters.patch_detector import PatchDetector, read_patch_detector
from inspection.voters.stored import ShallowVoter, read_vouched


@dataclass(frozen=True)
class Measurements:
    """What the networks say about photographs, before any rule.

    Attributes
    ----------
    proba : ndarray of float, shape (n_images, n_voters), in [0, 1]
        Every voter's P(defective).
    features : ndarray of float32, shape (n_images, n_features)
        Of the backbone that the guard looks through.
    unlikeness : ndarray of float, shape (n_images,), >= 0
        See `inspection.voters.guard.Guard.unlikeness`.
    defect_maps : tuple of DefectMap, shape (n_images,) or (0,)
        Empty when no voter gives a map.
    """

    proba: npt.NDArray[np.float64]
    features: npt.NDArray[np.float32]
    unlikeness: npt.NDArray[np.float64]
    defect_maps: tuple[DefectMap, ...]


class _Picture(NamedTuple):
    """A photograph as the networks see it: by the side in pixels that it was resized to, its own size, and uncut."""

    resized: dict[int, npt.NDArray[np.uint8]]
    height: int
    width: int
    uncut: npt.NDArray[np.uint8] | None


class _Photograph(NamedTuple):
    """A file that was read and resized."""

    name: str
    sha256: str
    picture: _Picture


class _Vote(NamedTuple):
    """What a voter says of some photographs: P(defective), and where, if it knows."""

    proba: npt.NDArray[np.floating]
    rarity: npt.NDArray[np.float32] | None = None


class Inspector:
    """The ensemble that ``ensemble.json`` names, loaded after every fingerprint was checked.

    Parameters
    ----------
    models : str or Path
        Folder written by the pipeline.

    Attributes
    ----------
    voters : tuple of str
        Names, in the order of every probability matrix.
    rules : Rules
    guard : Guard
    trained_on : DataEntry
        ``source``, ``n_images`` and ``manifest_sha256`` of the training data.
    decoding : Decoding
        How images are read: as those of the training were.
    version_notice : str
        What to tell the user when other library versions are installed than the ensemble was made with; else empty.

    Raises
    ------
    ModelsError
        If the folder is missing, half-built, of another format, or holds a file that is not the one vouched for.
    """

    def __init__(self, models: str | Path = "models"):
        ensemble = read_ensemble(models)
        self.rules = ensemble.rules()
        self.trained_on = ensemble.trained_on
        self.decoding = ensemble.image_decoding()
        self.version_notice = version_notice(ensemble.versions)
        guard = ensemble.guard
        self.guard: Guard = read_guard(read_vouched(models, guard.file.model_dump()), guard.file.path)
        self._guard_network = guard.network.path
        networks, self._outputs_wanted = ensemble.networks(), ensemble.outputs_wanted()
        self._tile_side = ensemble.tile_side
        n_threads = max(1, joblib.cpu_count() // len(networks))
        self._networks = {
            path: OnnxModel(read_vouched(models, file.model_dump()), path, n_threads) for path, file in networks.items()
        }
        self._voters = {voter.name: voter for voter in ensemble.voters}
        self._shallow: dict[str, ShallowVoter] = {}
        self._detectors: dict[str, PatchDetector] = {}
        self._scales: dict[str, MapScale] = {}
        for name, voter in self._voters.items():
            files = {role: file.model_dump() for role, file in voter.files.items()}
            if "classifier" in files:
                self._shallow[name] = ShallowVoter(models, files)
            if "memory" in files:
                memory = files["memory"]
                self._detectors[name] = read_patch_detector(read_vouched(models, memory), memory["path"])
                self._scales[name] = self._detectors[name].scale
            if "map_scale" in files:
                scale = files["map_scale"]
                self._scales[name] = read_map_scale(read_vouched(models, scale), scale["path"])

    @property
    def voters(self) -> tuple[str, ...]:
        """Names of the voters."""
        return tuple(self._voters)

    @property
    def detectors(self) -> tuple[str, ...]:
        """Names of the voters that learned from good parts alone."""
        return tuple(self._detectors)

    @property
    def map_voters(self) -> tuple[str, ...]:
        """Names of the voters that give maps."""
        return tuple(self._scales)

    @property
    def map_voters_averaged(self) -> tuple[str, ...]:
        """Names of the voters whose maps are averaged: detectors where there are any, else networks.

        A network learned to tell defects apart, not to find them: its map is coarse, and as wrong as it is. Measured by
        `bench.map_combination`.
        """
        return self.detectors or self.map_voters

    def measure(self, images: Iterable[npt.NDArray[np.uint8]]) -> Measurements:
        """Run every network, decoding no more than one batch ahead.

        Parameters
        ----------
        images : iterable of ndarray of uint8, shape (height, width, 3)
            Of any sizes.

        Returns
        -------
        Measurements

        Raises
        ------
        ImageError
            If a photograph would be cut into more than `inspection.data.tiles.MAX_TILES`.
        """
        pictures = (self._resized(image, f"image {number}") for number, image in enumerate(images))
        parts = [self._measure_batch(batch) for batch in one_ahead(batches(pictures, self._batch_size))]
        if not parts:
            nothing = np.empty((0, self.guard.mean.size), np.float32)
            return Measurements(np.empty((0, len(self._voters))), nothing, np.empty(0), ())
        return Measurements(
            np.concatenate([part.proba for part in parts]),
            np.concatenate([part.features for part in parts]),
            np.concatenate([part.unlikeness for part in parts]),
            tuple(chain.from_iterable(part.defect_maps for part in parts)),
        )

    def inspect(self, data: bytes, name: str = "image") -> Verdict:
        """Judge one photograph.

        Parameters
        ----------
        data : bytes
            Content of an image file.
        name : str

        Returns
        -------
        Verdict

        Raises
        ------
        ImageError
            If the file cannot be inspected; see `inspection.data.images.decode`, and `measure`.
        """
        return self._judge_batch([self._prepare(data, name)])[0]

    def inspect_many(self, files: Iterable[tuple[str, Callable[[], bytes]]]) -> Iterator[Verdict | NotInspected]:
        """Judge any number of photographs in bounded memory, as fast as all cores can.

        Parameters
        ----------
        files : iterable of (str, callable)
            Name, and what reads the content of the file. It is called when its turn comes, in a thread of its own, and
            may raise ImageError.

        Yields
        ------
        Verdict or NotInspected
            One for each file, in their order; the same verdict as by `inspect`. A file that cannot be inspected stops
            nothing.
        """
        prepared = (self._prepare_or_say_why(read, name) for name, read in files)
        for batch in one_ahead(batches(prepared, self._batch_size)):
            readable = [photograph for photograph in batch if isinstance(photograph, _Photograph)]
            verdicts = iter(self._judge_batch(readable) if readable else ())
            for photograph in batch:
                yield photograph if isinstance(photograph, NotInspected) else next(verdicts)

    def judge(self, measured: Measurements, names: Sequence[str], fingerprints: Sequence[str]) -> list[Verdict]:
        """Turn measurements into verdicts.

        Parameters
        ----------
        measured : Measurements
        names, fingerprints : sequence of str, shape (n_images,)
            File names, and SHA-256 of the files.

        Returns
        -------
        list of Verdict, shape (n_images,)
        """
        verdicts = make_verdicts(self.voters, measured.proba, names, fingerprints, self.rules, measured.unlikeness)
        if not measured.defect_maps:
            return verdicts
        return [replace(verdict, defect_map=one) for verdict, one in zip(verdicts, measured.defect_maps, strict=True)]

    @property
    def _batch_size(self) -> int:
        """Photographs; with tiles, of which one has enough to keep the cores busy, one."""
        return BATCH_SIZE if self._tile_side is None else 1

    def _is_tiled(self, path: str) -> bool:
        """Whether a network sees tiles: backbones do, trained networks learned from whole photographs."""
        return self._tile_side is not None and "defect_proba" not in self._outputs_wanted[path]

    def _resized(self, image: npt.NDArray[np.uint8], name: str) -> _Picture:
        height, width = image.shape[:2]
        n_tiles = TileGrid.of(height, width, self._tile_side).n_tiles
        if n_tiles > MAX_TILES:
            raise ImageError(
                f"{name}: {width} x {height} pixels make {n_tiles:,} tiles of {self._tile_side}, more than "
                f"{MAX_TILES:,}; scale the photograph down to the size of those the models were trained on."
            )
        sizes = {network.image_size for path, network in self._networks.items() if not self._is_tiled(path)}
        uncut = None if self._tile_side is None else image
        return _Picture({size: resize(image, size) for size in sizes}, height, width, uncut)

    def _prepare(self, data: bytes, name: str) -> _Photograph:
        return _Photograph(name, sha256_bytes(data), self._resized(decode(data, name, self.decoding).pixels, name))

    def _prepare_or_say_why(self, read: Callable[[], bytes], name: str) -> _Photograph | NotInspected:
        try:
            return self._prepare(read(), name)
        except ImageError as problem:
            return NotInspected(name, str(problem))

    def _judge_batch(self, photographs: list[_Photograph]) -> list[Verdict]:
        measured = self._measure_batch([photograph.picture for photograph in photographs])
        names = [photograph.name for photograph in photographs]
        return self.judge(measured, names, [photograph.sha256 for photograph in photographs])

    def _measure_batch(self, pictures: list[_Picture]) -> Measurements:
        if self._tile_side is None:
            return self._measure_whole(pictures)
        [picture] = pictures
        return self._measure_tiled(picture)

    def _measure_tiled(self, picture: _Picture) -> Measurements:
        """Measure one photograph, a few of its tiles at a time."""
        assert picture.uncut is not None, "kept where there are tiles"
        votes: dict[str, _Vote] = {}
        with single_threaded_libraries(), workers_for(self._networks.values()) as workers:
            for path, network in self._networks.items():
                own = {name: voter for name, voter in self._voters.items() if voter.files["network"].path == path}
                outputs = self._outputs_wanted[path]
                if not self._is_tiled(path):
                    arrays = run_together([Run(network, picture.resized[network.image_size][np.newaxis], outputs)])[0]
                    seen = dict(zip(outputs, arrays, strict=True))
                    votes |= {
                        name: self._vote(name, [seen[output] for output in voter.outputs])
                        for name, voter in own.items()
                    }
                    continue
                detectors = {name: self._detectors[name] for name in own if name in self._detectors}
                look = look_at_tiles(network, picture.uncut, self._tile_side, outputs, detectors, workers)
                votes |= {name: _Vote(*sighting) for name, sighting in look.sightings.items()}
                votes |= {name: self._vote(name, [look.features]) for name in own if name not in detectors}
                if path == self._guard_network:
                    features = look.features
        proba = np.array([[votes[name].proba[0] for name in self._voters]], float)
        in_order = {name: votes[name] for name in self._voters}
        unlikeness = self.guard.unlikeness(features)
        return Measurements(np.clip(proba, 0, 1), features, unlikeness, self._defect_maps(in_order, [picture]))

    def _measure_whole(self, pictures: list[_Picture]) -> Measurements:
        wanted = self._outputs_wanted
        # Last those for whose output nothing waits.
        paths = sorted(self._networks, key=lambda path: "defect_proba" in wanted[path])
        networks = [self._networks[path] for path in paths]
        runs = [
            Run(network, np.stack([picture.resized[network.image_size] for picture in pictures]), wanted[path])
            for path, network in zip(paths, networks, strict=True)
        ]
        calls: dict[str, Future[_Vote]] = {}
        with single_threaded_libraries(), workers_for(networks) as workers:
            # What looks at the features of one network need not wait for the others.
            for place, arrays in run_with(workers, runs):
                path = paths[place]
                outputs = dict(zip(wanted[path], arrays, strict=True))
                if path == self._guard_network:
                    features = outputs["features"]
                    unlikeness = workers.submit(self.guard.unlikeness, features)
                for name, voter in self._voters.items():
                    if voter.files["network"].path == path:
                        calls[name] = workers.submit(self._vote, name, [outputs[one] for one in voter.outputs])
        votes = {name: calls[name].result() for name in self._voters}
        proba = np.column_stack([vote.proba for vote in votes.values()]).astype(float)
        return Measurements(np.clip(proba, 0, 1), features, unlikeness.result(), self._defect_maps(votes, pictures))

    def _vote(self, name: str, outputs: list[npt.NDArray[np.float32]]) -> _Vote:
        if name in self._detectors:
            return _Vote(*self._detectors[name].look(*outputs))
        if name in self._shallow:
            return _Vote(self._shallow[name].defect_proba(*outputs))
        proba, defect_map = outputs
        return _Vote(proba, self._scales[name].rarity(defect_map))

    def _defect_maps(self, votes: Mapping[str, _Vote], pictures: list[_Picture]) -> tuple[DefectMap, ...]:
        maps = {name: vote.rarity for name, vote in votes.items() if vote.rarity is not None}
        if not maps:
            return ()
        averaged = self.map_voters_averaged
        # The largest value of a mean of maps is at most the mean of their largest ones.
        peak = float(np.mean([self._scales[name].peak for name in averaged]))
        return tuple(
            DefectMap(
                {name: of_voter[place] for name, of_voter in maps.items()},
                averaged,
                peak,
                picture.height,
                picture.width,
            )
            for place, picture in enumerate(pictures)
        )
