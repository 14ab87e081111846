"""The only inference path: a photograph in, a verdict out. Evaluation, viewer and command line all use it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from inspection.ensemble import ENSEMBLE_FILE, FORMAT, decide
from inspection.errors import ModelsError
from inspection.files import read_json, sha256_bytes
from inspection.images import Decoding, decode, resize
from inspection.labels import CLASS_NAMES, DEFECTIVE, NON_DEFECTIVE, REVIEW
from inspection.onnx_models import BATCH_SIZE, OnnxModel, batches
from inspection.voters import ShallowVoter, read_vouched


@dataclass(frozen=True)
class Vote:
    """What one voter says.

    Attributes
    ----------
    voter : str
    defect_proba : float in [0, 1]
    label : str
        ``defective`` when ``defect_proba >= threshold``.
    confidence : float in [0, 1]
        Probability the voter gives to its own label.
    """

    voter: str
    defect_proba: float
    label: str
    confidence: float


@dataclass(frozen=True)
class Verdict:
    """What the ensemble says about one photograph.

    Attributes
    ----------
    name : str
        Of the file.
    sha256 : str
        Of its bytes.
    verdict : str
        ``non_defective``, ``defective`` or ``review``.
    confidence, defect_proba : float in [0, 1]
        See `inspection.ensemble.Decisions`.
    reason : str
        One plain sentence.
    votes : tuple of Vote
    simulated : bool
        True only in the viewer's Demo Mode.
    """

    name: str
    sha256: str
    verdict: str
    confidence: float
    defect_proba: float
    reason: str
    votes: tuple[Vote, ...]
    simulated: bool = False

    def as_dict(self) -> dict:
        """Return the verdict as plain types, ready for JSON."""
        return asdict(self)


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
    voting : str
    threshold : float
    trained_on : dict
        ``source``, ``n_images`` and ``manifest_sha256`` of the training data.
    decoding : Decoding
        How images are read: as those of the training were.

    Raises
    ------
    ModelsError
        If the folder is missing, half-built, of another format, or holds a file that is not the one vouched for.
    """

    def __init__(self, models: str | Path = "models"):
        description = read_ensemble(models)
        self.voting = description["voting"]
        self.threshold = description["threshold"]
        self.trained_on = description["trained_on"]
        self.decoding = _read_decoding(description["decoding"])
        self._weights = [voter["weight"] for voter in description["voters"]]
        self._voters = {voter["name"]: voter for voter in description["voters"]}
        self._networks: dict[str, OnnxModel] = {}
        self._shallow: dict[str, ShallowVoter] = {}
        for name, voter in self._voters.items():
            network = voter["files"]["network"]
            if network["path"] not in self._networks:
                self._networks[network["path"]] = OnnxModel(read_vouched(models, network), network["path"])
            if voter["kind"] != "cnn":
                self._shallow[name] = ShallowVoter(models, voter["files"])

    @property
    def voters(self) -> tuple[str, ...]:
        """Names of the voters."""
        return tuple(self._voters)

    def defect_proba(self, images: Iterable[np.ndarray]) -> np.ndarray:
        """Return every voter's P(defective), decoding no more than one batch ahead.

        Parameters
        ----------
        images : iterable of ndarray of uint8, shape (height, width, 3)
            Of any sizes.

        Returns
        -------
        ndarray of float, shape (n_images, n_voters), in [0, 1]
        """
        parts = [self._batch_proba(batch) for batch in batches(images, BATCH_SIZE)]
        return np.concatenate(parts) if parts else np.empty((0, len(self._voters)))

    def inspect(self, data: bytes, name: str = "image") -> Verdict:
        """Judge one photograph.

        Parameters
        ----------
        data : bytes
            Content of an image file.
        name : str

        Raises
        ------
        ImageError
            If the file cannot be inspected; see `inspection.images.decode`.
        """
        proba = self.defect_proba([decode(data, name, self.decoding).pixels])
        return self.judge(proba, [name], [sha256_bytes(data)])[0]

    def judge(self, proba: np.ndarray, names: list[str], fingerprints: list[str]) -> list[Verdict]:
        """Turn the voters' probabilities into verdicts.

        Parameters
        ----------
        proba : ndarray of float, shape (n_images, n_voters)
            From `defect_proba`.
        names, fingerprints : list of str, shape (n_images,)
            File names, and SHA-256 of the files.
        """
        return make_verdicts(self.voters, proba, names, fingerprints, self.voting, self.threshold, self._weights)

    def _batch_proba(self, images: list[np.ndarray]) -> np.ndarray:
        pixels = {
            size: np.stack([resize(image, size) for image in images])
            for size in {network.image_size for network in self._networks.values()}
        }
        columns, features = [], {}
        for name, voter in self._voters.items():
            path = voter["files"]["network"]["path"]
            network = self._networks[path]
            if voter["kind"] == "cnn":
                columns.append(network.run(pixels[network.image_size], "defect_proba"))
                continue
            if path not in features:
                features[path] = network.run(pixels[network.image_size], "features")
            columns.append(self._shallow[name].defect_proba(features[path]))
        return np.clip(np.column_stack(columns).astype(float), 0, 1)


def make_verdicts(
    voters: tuple[str, ...],
    proba: np.ndarray,
    names: list[str],
    fingerprints: list[str],
    voting: str,
    threshold: float,
    weights: list[float],
    simulated: bool = False,
) -> list[Verdict]:
    """Return one verdict per row of ``proba``; see `inspection.ensemble.decide` for the rules."""
    decisions = decide(proba, voting, threshold, weights)
    verdicts = []
    for row, name, sha256 in zip(range(len(names)), names, fingerprints, strict=True):
        votes = tuple(_make_vote(voter, float(p), threshold) for voter, p in zip(voters, proba[row], strict=True))
        verdict, confidence = str(decisions.verdicts[row]), float(decisions.confidence[row])
        reason = explain(verdict, confidence, votes, voting)
        verdicts.append(
            Verdict(name, sha256, verdict, confidence, float(decisions.defect_proba[row]), reason, votes, simulated)
        )
    return verdicts


def explain(verdict: str, confidence: float, votes: tuple[Vote, ...], voting: str) -> str:
    """Give the reason of a verdict in one or two plain sentences."""
    n_defective = sum(vote.label == CLASS_NAMES[DEFECTIVE] for vote in votes)
    n_good = len(votes) - n_defective
    if verdict == REVIEW:
        return f"The votes are tied, {n_defective} to {n_good}: a person must look at this part."
    n_for = n_defective if verdict == CLASS_NAMES[DEFECTIVE] else n_good
    words = verdict.replace("_", "-")
    sentence = f"{n_for} of {len(votes)} models say {words}."
    if voting != "hard" and 2 * n_for <= len(votes):
        sentence += f" The {voting} vote decides for {words} because those models are surer or weigh more."
    if confidence < 0.5:
        sentence += " The models that disagree are surer than those that agree: look at this part yourself."
    return sentence


def read_ensemble(models: str | Path) -> dict:
    """Read and check ensemble.json.

    Raises
    ------
    ModelsError
        If it is missing, damaged or of another format; the message says what to run.
    """
    path = Path(models) / ENSEMBLE_FILE
    if not path.is_file():
        built = any(Path(models).glob("*.pkl")) or any(Path(models).glob("*.onnx"))
        state = "are half-built (no ensemble.json)" if built else "do not exist"
        raise ModelsError(f"The models in {models}/ {state}; run `dvc repro` (or `make repro`) to train them.")
    description = read_json(path, ModelsError)
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise ModelsError(f"{path} is not of format {FORMAT}, which this version reads; run `dvc repro`.")
    missing = {"voting", "threshold", "trained_on", "decoding", "voters"} - set(description)
    if missing or not description["voters"]:
        raise ModelsError(f"{path} lacks {', '.join(sorted(missing)) or 'voters'}; delete it and run `dvc repro`.")
    return description


def _read_decoding(description: dict) -> Decoding:
    limits = description["float_range"]
    return Decoding(description["bit_depth"], None if limits is None else tuple(limits))


def _make_vote(voter: str, proba: float, threshold: float) -> Vote:
    is_defective = proba >= threshold
    return Vote(
        voter,
        proba,
        CLASS_NAMES[DEFECTIVE if is_defective else NON_DEFECTIVE],
        proba if is_defective else 1 - proba,
    )
