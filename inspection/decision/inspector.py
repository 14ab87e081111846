"""The only inference path: a photograph in, a verdict out. Evaluation, viewer and command line all use it."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from inspection.data.images import Decoding, decode, resize
from inspection.decision.ensemble import ENSEMBLE_FILE, FORMAT, Cause, Rules, decide, read_rules
from inspection.decision.wording import percent_beside, setting, threshold_words
from inspection.errors import ModelsError
from inspection.files import read_json, sha256_bytes
from inspection.labels import CLASS_NAMES, DEFECTIVE, NON_DEFECTIVE
from inspection.networks.onnx_models import BATCH_SIZE, OnnxModel, batches
from inspection.voters.guard import read_guard
from inspection.voters.stored import ShallowVoter, read_vouched

_KEYS = {"voting", "threshold", "intercept", "operating_point", "guard", "trained_on", "decoding", "voters"}
"""Of ensemble.json."""


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
        See `inspection.decision.ensemble.Decisions`.
    cause : str
        Value of `inspection.decision.ensemble.Cause`.
    reason : str
        Plain sentences; see `explain`.
    votes : tuple of Vote
    unlikeness : float
        Distance from the training images in multiples of what is allowed; above 1 the verdict is ``review``.
    simulated : bool
        True only in the viewer's Demo Mode.
    """

    name: str
    sha256: str
    verdict: str
    confidence: float
    defect_proba: float
    cause: str
    reason: str
    votes: tuple[Vote, ...]
    unlikeness: float = 0.0
    simulated: bool = False

    def as_dict(self) -> dict:
        """Return the verdict as plain types, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Measurements:
    """What the networks say about photographs, before any rule.

    Attributes
    ----------
    proba : ndarray of float, shape (n_images, n_voters), in [0, 1]
        Every voter's P(defective).
    features : ndarray of float32, shape (n_images, n_features)
        Of the backbone that the guard looks through.
    """

    proba: np.ndarray
    features: np.ndarray


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
        self.rules = _read_rules(description, models)
        self.trained_on = description["trained_on"]
        self.decoding = _read_decoding(description["decoding"])
        guard = description["guard"]
        self.guard = read_guard(read_vouched(models, guard["file"]), guard["file"]["path"])
        self._guard_network = guard["network"]
        self._voters = {voter["name"]: voter for voter in description["voters"]}
        self._networks: dict[str, OnnxModel] = {}
        self._shallow: dict[str, ShallowVoter] = {}
        for name, voter in self._voters.items():
            network = voter["files"]["network"]
            if network["path"] not in self._networks:
                self._networks[network["path"]] = OnnxModel(read_vouched(models, network), network["path"])
            if "classifier" in voter["files"]:
                self._shallow[name] = ShallowVoter(models, voter["files"])

    @property
    def voters(self) -> tuple[str, ...]:
        """Names of the voters."""
        return tuple(self._voters)

    def measure(self, images: Iterable[np.ndarray]) -> Measurements:
        """Run every network, decoding no more than one batch ahead.

        Parameters
        ----------
        images : iterable of ndarray of uint8, shape (height, width, 3)
            Of any sizes.
        """
        parts = [self._measure_batch(batch) for batch in batches(images, BATCH_SIZE)]
        if not parts:
            return Measurements(np.empty((0, len(self._voters))), np.empty((0, self.guard.mean.size), np.float32))
        proba, features = zip(*parts, strict=True)
        return Measurements(np.concatenate(proba), np.concatenate(features))

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
            If the file cannot be inspected; see `inspection.data.images.decode`.
        """
        measured = self.measure([decode(data, name, self.decoding).pixels])
        return self.judge(measured, [name], [sha256_bytes(data)])[0]

    def judge(self, measured: Measurements, names: list[str], fingerprints: list[str]) -> list[Verdict]:
        """Turn measurements into verdicts.

        Parameters
        ----------
        measured : Measurements
        names, fingerprints : list of str, shape (n_images,)
            File names, and SHA-256 of the files.
        """
        unlikeness = self.guard.unlikeness(measured.features)
        return make_verdicts(self.voters, measured.proba, names, fingerprints, self.rules, unlikeness)

    def _measure_batch(self, images: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        pixels = {
            size: np.stack([resize(image, size) for image in images])
            for size in {network.image_size for network in self._networks.values()}
        }
        columns, features = [], {}
        for name, voter in self._voters.items():
            path = voter["files"]["network"]["path"]
            network = self._networks[path]
            if name not in self._shallow:
                columns.append(network.run(pixels[network.image_size], "defect_proba"))
                continue
            if path not in features:
                features[path] = network.run(pixels[network.image_size], "features")
            columns.append(self._shallow[name].defect_proba(features[path]))
        return np.clip(np.column_stack(columns).astype(float), 0, 1), features[self._guard_network]


def make_verdicts(
    voters: tuple[str, ...],
    proba: np.ndarray,
    names: list[str],
    fingerprints: list[str],
    rules: Rules,
    unlikeness: np.ndarray,
    simulated: bool = False,
) -> list[Verdict]:
    """Return one verdict per row of ``proba``; see `inspection.decision.ensemble.decide` for the rules."""
    decisions = decide(proba, rules, unlikeness > 1)
    verdicts = []
    for row, (name, sha256) in enumerate(zip(names, fingerprints, strict=True)):
        verdict = Verdict(
            name,
            sha256,
            str(decisions.verdicts[row]),
            float(decisions.confidence[row]),
            float(decisions.defect_proba[row]),
            str(decisions.causes[row]),
            "",
            tuple(_make_vote(voter, float(p), rules.threshold) for voter, p in zip(voters, proba[row], strict=True)),
            float(unlikeness[row]),
            simulated,
        )
        verdicts.append(replace(verdict, reason=explain(verdict, rules)))
    return verdicts


def explain(verdict: Verdict, rules: Rules) -> str:
    """Give the reason of a verdict in plain sentences.

    Where the verdict is not what most models say, they name what outweighs them.
    """
    if verdict.cause == Cause.UNLIKE:
        return "This photograph is unlike those the models were trained on: a person must look at this part."
    votes = _count_votes(verdict, rules)
    if verdict.cause == Cause.TIE:
        return f"The votes are tied: {votes}. A person must look at this part."
    explain_rest = _explain_vote if rules.operating_point is None else _explain_thresholds
    return explain_rest(verdict, rules, votes)


def _explain_vote(verdict: Verdict, rules: Rules, votes: str) -> str:
    if verdict.cause == Cause.VOTE and rules.voting != "soft":
        return f"{votes}."
    fails = verdict.defect_proba >= rules.threshold
    proba, compared = percent_beside(verdict.defect_proba, rules.threshold), "reaches" if fails else "is below"
    subject = f"The probability of a defect, {proba}, {compared} {setting(rules.threshold)}"
    if verdict.cause == Cause.DISAGREEMENT:
        return f"{subject}, but the vote contradicts it: {votes}. A person must look at this part."
    is_backed = _backs(verdict, rules, fails)
    return f"{subject}. {votes}{'' if is_backed else '; the probability decides, not the majority (soft voting)'}."


def _explain_thresholds(verdict: Verdict, rules: Rules, votes: str) -> str:
    pass_below, fail_from, proba = threshold_words(rules.operating_point, verdict.defect_proba)
    subject = f"The probability of a defect, {proba},"
    if verdict.cause == Cause.DISAGREEMENT:
        return (
            f"{subject} is low enough to pass (below {pass_below}), but the vote contradicts it: {votes}. A person "
            "must look at this part."
        )
    if verdict.cause == Cause.BAND:
        too_low = f"too low to fail (below {fail_from})" if fail_from else "no part fails unseen"
        look = "a person must look at this part"
        return f"{subject} is too high to pass (from {pass_below}) and {too_low}: {look}. {votes}."
    if verdict.verdict != CLASS_NAMES[DEFECTIVE]:
        return f"{subject} is below {pass_below}: the part passes. {votes}."
    sentence = f"{subject} reaches {fail_from}, from where parts fail. {votes}"
    is_backed = _backs(verdict, rules, True)
    return sentence + ("." if is_backed else "; the part fails all the same: the threshold decides, not the vote.")


def _count_votes(verdict: Verdict, rules: Rules) -> str:
    n_votes, n_defective = len(verdict.votes), sum(_says_defective(verdict))
    words = f"{n_defective} of {n_votes} models say defective, {n_votes - n_defective} non-defective"
    # Unsaid, a smaller group that wins would look like a mistake.
    return words + (" (weighted by how often each model was right)" if rules.voting == "weighted" else "")


def _backs(verdict: Verdict, rules: Rules, fails: bool) -> bool:
    """Whether the vote says what the probability says."""
    share = rules.share_of_vote(_says_defective(verdict))
    return share > 0.5 if fails else share < 0.5


def _says_defective(verdict: Verdict) -> list[bool]:
    return [vote.label == CLASS_NAMES[DEFECTIVE] for vote in verdict.votes]


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
    missing = _KEYS - set(description)
    if missing or not description["voters"]:
        raise ModelsError(f"{path} lacks {', '.join(sorted(missing)) or 'voters'}; delete it and run `dvc repro`.")
    return description


def _read_rules(description: dict, models: str | Path) -> Rules:
    try:
        return read_rules(description)
    except (KeyError, TypeError) as problem:
        raise ModelsError(
            f"{Path(models) / ENSEMBLE_FILE} is damaged ({problem}); delete it and run `dvc repro`."
        ) from problem


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
