"""The file ensemble.json: which voters there are, how they decide together, and what it was made with."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from inspection.data.images import Decoding
from inspection.decision.combination import Combination
from inspection.decision.operating_point import NEVER, OperatingPoint
from inspection.decision.rules import Rules
from inspection.decision.versions import COMPUTING
from inspection.decision.voting import voting_rule
from inspection.errors import ConfigError, ModelsError
from inspection.files import write_json
from inspection.plugins import load_plugins
from inspection.versions import installed_versions

ENSEMBLE_FILE = "ensemble.json"
FORMAT = 7
"""Version of the layout of ensemble.json; a reader refuses any other."""
DIGITS = 6
"""Decimals kept of weights and coefficients."""
_MOST = 1e6
"""Of a weight or coefficient: far beyond any that is fitted, and no sum of such numbers overflows."""
_MOST_PROBLEMS = 3
"""How many problems of a damaged file are named."""


def _check_path(path: str) -> str:
    # A colon would name a drive or a stream under Windows, a backslash a folder.
    is_plain = path.isprintable() and not set(path) & set(":\\")
    if not is_plain or any(part in ("", ".", "..") for part in path.split("/")):
        raise ValueError("must be a path inside the models folder, with / between its parts")
    return path


Proba = Annotated[float, Field(gt=0, lt=1)]
"""A setting strictly between 0 and 1."""
Factor = Annotated[float, Field(ge=0, le=_MOST)]
Count = Annotated[int, Field(ge=0, le=10**12)]
TileSide = Annotated[int, Field(ge=1, le=10**6)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Text = Annotated[str, Field(min_length=1)]
ModuleName = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")]
ModelPath = Annotated[str, AfterValidator(_check_path)]


class _Entry(BaseModel):
    # Nothing is converted: what is read is what was written, or an error.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class FileEntry(_Entry):
    """A file of the models folder, and the SHA-256 by which it is known."""

    path: ModelPath
    sha256: Sha256


_OUTPUTS = {
    "classifier": ("features",),
    "memory": ("patch_map",),
    # The voter is the network itself, whose maps have this scale.
    "map_scale": ("defect_proba", "defect_map"),
}
"""By the role of the file that makes a voter what it is, the outputs of its network that it looks at."""


class VoterEntry(_Entry):
    """One voter: its files by their roles, and how much it counts.

    ``weight`` counts under weighted voting, ``coefficient`` in the ensemble's probability.
    """

    name: Text
    kind: Text
    files: dict[Text, FileEntry]
    weight: Factor
    coefficient: Factor

    @model_validator(mode="after")
    def _has_a_network(self) -> Self:
        if "network" not in self.files:
            raise ValueError("files lacks the role network")
        if ("classifier" in self.files) != ("scaler" in self.files):
            raise ValueError("files must hold classifier and scaler, or neither")
        if len(self.files.keys() & _OUTPUTS) != 1:
            raise ValueError(f"files must hold one of {', '.join(_OUTPUTS)}")
        return self

    @property
    def outputs(self) -> tuple[str, ...]:
        """Outputs of its network that it looks at."""
        [role] = self.files.keys() & _OUTPUTS
        return _OUTPUTS[role]


class GuardEntry(_Entry):
    """The guard, and the network through which it looks."""

    file: FileEntry
    network: FileEntry


class DecodingEntry(_Entry):
    """As `inspection.data.images.Decoding`."""

    bit_depth: int = Field(ge=8, le=16)
    float_range: tuple[float, float] | None

    @model_validator(mode="after")
    def _black_below_white(self) -> Self:
        if self.float_range is not None and not self.float_range[0] < self.float_range[1]:
            raise ValueError("float_range must be [black, white] with black < white")
        return self


class DataEntry(_Entry):
    """What the voters were trained on."""

    source: Text
    n_images: int = Field(ge=1)
    n_defects: Count
    manifest_sha256: Sha256

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.n_defects > self.n_images:
            raise ValueError("n_defects is more than n_images")
        return self


class OperatingPointEntry(_Entry):
    """As `inspection.decision.operating_point.OperatingPoint`."""

    pass_below: float = Field(ge=0, le=NEVER)
    fail_from: float = Field(ge=0, le=NEVER)
    max_escape_rate: Proba | None
    confidence: Proba | None
    n_defects: Count
    n_escapes: Count
    max_overkill_rate: Proba | None
    n_good: Count
    n_overkill: Count

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.fail_from < self.pass_below:
            raise ValueError("fail_from lies below pass_below, so that a part could both pass and fail")
        if self.n_escapes > self.n_defects:
            raise ValueError("n_escapes is more than n_defects")
        if self.n_overkill > self.n_good:
            raise ValueError("n_overkill is more than n_good")
        is_promised = self.max_escape_rate is not None or self.max_overkill_rate is not None
        if is_promised != (self.confidence is not None):
            raise ValueError("max_escape_rate or max_overkill_rate make a promise with confidence, and none without")
        return self


class Ensemble(_Entry):
    """The content of ensemble.json.

    Attributes
    ----------
    format : int
    classes : (str, str)
    voting, threshold, intercept, operating_point
        See `rules`.
    guard : GuardEntry
    trained_on : DataEntry
    decoding : DecodingEntry
        How the training images were read, and how every image to be judged is.
    tile_side : int or None
        Of the tiles in which backbones see photographs; see `inspection.data.tiles.TileGrid.of`.
    versions : dict of str to str
        Of the libraries that compute a verdict, when the rules were fitted.
    plugins : tuple of str
        Modules of the user's own that the voters or the voting rule need; see `inspection.plugins`.
    voters : tuple of VoterEntry
        In the order of every probability matrix.
    """

    format: Literal[7]
    classes: tuple[Literal["non_defective"], Literal["defective"]]
    voting: Text
    threshold: Proba
    intercept: float = Field(ge=-_MOST, le=_MOST)
    operating_point: OperatingPointEntry | None
    guard: GuardEntry
    trained_on: DataEntry
    decoding: DecodingEntry
    tile_side: TileSide | None
    versions: dict[Text, Text] = Field(min_length=1)
    plugins: tuple[ModuleName, ...]
    voters: tuple[VoterEntry, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _voters_fit_together(self) -> Self:
        names = [voter.name for voter in self.voters]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"voters: {repeated[0]} is listed twice")
        fingerprints: dict[str, str] = {}
        of_voters = [file for voter in self.voters for file in voter.files.values()]
        for file in [self.guard.file, self.guard.network, *of_voters]:
            if fingerprints.setdefault(file.path, file.sha256) != file.sha256:
                raise ValueError(f"{file.path} is named with two different fingerprints")
        return self

    def rules(self) -> Rules:
        """Return how these voters decide."""
        point = self.operating_point
        return Rules(
            self.voting,
            self.threshold,
            tuple(voter.weight for voter in self.voters),
            Combination(tuple(voter.coefficient for voter in self.voters), self.intercept),
            None if point is None else OperatingPoint(**point.model_dump()),
            knows_defects=self.trained_on.n_defects > 0,
        )

    def image_decoding(self) -> Decoding:
        """Return how images are read."""
        return Decoding(self.decoding.bit_depth, self.decoding.float_range)

    def networks(self) -> dict[str, FileEntry]:
        """Return the networks that voters and guard look through, by their paths."""
        files = [*(voter.files["network"] for voter in self.voters), self.guard.network]
        return {file.path: file for file in files}

    def outputs_wanted(self) -> dict[str, tuple[str, ...]]:
        """Return what voters and guard look at: the outputs wanted of each network, by its path."""
        wanted: dict[str, dict[str, None]] = {}
        for voter in self.voters:
            wanted.setdefault(voter.files["network"].path, {}).update(dict.fromkeys(voter.outputs))
        wanted.setdefault(self.guard.network.path, {})["features"] = None
        return {path: tuple(outputs) for path, outputs in wanted.items()}


def describe_ensemble(
    cards: Sequence[Mapping[str, Any]],
    rules: Rules,
    data: Mapping[str, Any],
    decoding: Decoding,
    guard: Mapping[str, Any],
    plugins: Sequence[str] = (),
    tile_side: int | None = None,
) -> Ensemble:
    """Join voters and rules, and record the installed versions.

    Parameters
    ----------
    cards : sequence of mapping, shape (n_voters,)
        One per voter, as the training stages write them: ``name``, ``kind`` and ``files``.
    rules : Rules
    data : mapping
        What the voters were trained on; see `DataEntry`.
    decoding : Decoding
        How their images were read, and how every image to be judged will be.
    guard : mapping
        Entries ``file`` and ``network``; see `GuardEntry`.
    plugins : sequence of str
        As params.yaml names them; they are loaded.
    tile_side : int, optional
        See `Ensemble`.

    Returns
    -------
    Ensemble

    Raises
    ------
    ConfigError
        If the voting rule is unknown.
    ModelsError
        If the votes are to be weighted and no voter beats chance, a voter was trained on other tiles, or a part does
        not fit the others.
    """
    _check_tiles(cards, tile_side)
    if voting_rule(rules.voting).is_weighted and not sum(rules.vote_weights) > 0:
        raise ModelsError(
            f"ensemble.voting = {rules.voting}: no voter beats chance on its out-of-fold scores, so all weights are 0; "
            "use hard or soft voting, or better data."
        )
    voters = tuple(
        {key: card[key] for key in ("name", "kind", "files")}
        | {"weight": round(weight, DIGITS), "coefficient": round(coefficient, DIGITS)}
        for card, weight, coefficient in zip(cards, rules.vote_weights, rules.combination.coefficients, strict=True)
    )
    content = {
        "format": FORMAT,
        "classes": ("non_defective", "defective"),
        "voting": rules.voting,
        "threshold": rules.threshold,
        "intercept": round(rules.combination.intercept, DIGITS),
        "operating_point": None if rules.operating_point is None else asdict(rules.operating_point),
        "guard": guard,
        "trained_on": data,
        "decoding": asdict(decoding),
        "tile_side": tile_side,
        "versions": installed_versions(COMPUTING),
        "plugins": tuple(plugins),
        "voters": voters,
    }
    try:
        return Ensemble.model_validate(content)
    except ValidationError as problem:
        raise ModelsError(f"The voters do not make an ensemble: {_describe(problem)}; run `dvc repro`.") from problem


def _check_tiles(cards: Sequence[Mapping[str, Any]], tile_side: int | None) -> None:
    """Refuse voters on a backbone that saw photographs in other tiles than the ensemble would show them."""
    for card in cards:
        seen = card.get("tile_side")
        if seen != tile_side and not {"classifier", "memory"}.isdisjoint(card["files"]):
            trained, served = (f"tiles of {side} pixels" if side else "whole photographs" for side in (seen, tile_side))
            raise ModelsError(f"{card['name']} was trained on {trained}, and is to vote on {served}; run `dvc repro`.")


def write_ensemble(models: str | Path, ensemble: Ensemble) -> None:
    """Write ensemble.json into the models folder, in one step.

    Parameters
    ----------
    models : str or Path
    ensemble : Ensemble
    """
    write_json(Path(models) / ENSEMBLE_FILE, ensemble.model_dump(mode="json"))


def read_ensemble(models: str | Path) -> Ensemble:
    """Read and check ensemble.json, and load the plugins that it names.

    Parameters
    ----------
    models : str or Path

    Returns
    -------
    Ensemble

    Raises
    ------
    ModelsError
        If it is missing, damaged or of another format; the message names file and key, and says what to run.
    """
    path = Path(models) / ENSEMBLE_FILE
    if not path.is_file():
        built = any(Path(models).glob("*.pkl")) or any(Path(models).glob("*.onnx"))
        state = f"are half-built (no {ENSEMBLE_FILE})" if built else "do not exist"
        raise ModelsError(f"The models in {models}/ {state}; run `dvc repro` (or `make repro`) to train them.")
    try:
        data = path.read_bytes()
    except OSError as problem:
        # A running pipeline deletes its outputs first, and may do so just now.
        raise ModelsError(
            f"{path} cannot be read ({problem.strerror}); check again when `dvc repro` ends."
        ) from problem
    ensemble = parse_ensemble(data, str(path))
    try:
        load_plugins(ensemble.plugins)
        rule = voting_rule(ensemble.voting)
    except ConfigError as problem:
        raise ModelsError(
            f"{path} cannot be used here: {problem} If a plugin is missing, put it back; else delete the file and run "
            "`dvc repro`."
        ) from problem
    if rule.is_weighted and not any(voter.weight for voter in ensemble.voters):
        raise ModelsError(
            f"{path} is damaged: voters: none has a weight, and {ensemble.voting} voting needs one; delete it and run "
            "`dvc repro`."
        )
    return ensemble


def parse_ensemble(data: bytes, name: str) -> Ensemble:
    """Check the content of ensemble.json, all but what depends on plugins.

    Parameters
    ----------
    data : bytes
        Of the file.
    name : str
        Of the file, for messages.

    Returns
    -------
    Ensemble

    Raises
    ------
    ModelsError
        See `read_ensemble`.
    """
    try:
        number = _FormatOnly.model_validate_json(data).format
        if type(number) is not int or number != FORMAT:
            is_older = type(number) is int and 0 < number < FORMAT
            written = f"format {number}, written by an earlier version" if is_older else "another format"
            raise ModelsError(f"{name} is of {written}; this version reads format {FORMAT}: run `dvc repro`.")
        return Ensemble.model_validate_json(data)
    except ValidationError as problem:
        raise ModelsError(f"{name} is damaged: {_describe(problem)}; delete it and run `dvc repro`.") from problem


class _FormatOnly(BaseModel):
    model_config = ConfigDict(strict=True)

    format: Any


def _describe(problem: ValidationError) -> str:
    problems = [_describe_one(error["loc"], error["msg"]) for error in problem.errors(include_url=False)]
    further = len(problems) - _MOST_PROBLEMS
    return "; ".join(problems[:_MOST_PROBLEMS]) + (f"; and {further} more" if further > 0 else "")


def _describe_one(location: tuple[int | str, ...], message: str) -> str:
    words = message.removeprefix("Value error, ")
    key = ".".join(str(part) for part in location)
    return f"{key}: {words[0].lower()}{words[1:]}" if key else f"{words[0].lower()}{words[1:]}"
