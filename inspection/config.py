"""The only reader of params.yaml: every key is known, typed and in range before any work starts."""

import difflib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Self, TypeVar, cast, get_args

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from inspection.errors import ConfigError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

BASELINE_CNN = "baseline_cnn"
"""The network trained from scratch; any other name of ``networks`` is a pretrained one to be fine-tuned."""
POOLINGS = ("avg", "max", "std")
MIN_TILE_SIDE = 32
"""In pixels: the smallest input of a network, and what is smaller shows nothing more when it is enlarged."""
WEIGHTS_FOLDER = "weights"
"""The only folder own weights are read from: DVC watches it."""


T = TypeVar("T")


def _each_once(names: list[T]) -> list[T]:
    repeated = sorted({str(name) for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{', '.join(repeated)} is listed twice")
    return names


Once = Annotated[list[T], AfterValidator(_each_once)]
"""A list that names nothing twice."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class DecodingParams(_Section):
    """What files with more than 8 bits a channel do not say themselves; see `inspection.data.images.Decoding`."""

    bit_depth: int = Field(ge=8, le=16)
    """Bits of the camera, for grey stored in 16 bits: 12 when the values run from 0 to 4095."""
    float_range: list[float]
    """``[black, white]`` of floating point TIFF, in its own unit; ``[]`` refuses such files."""

    @field_validator("float_range")
    @classmethod
    def _black_below_white(cls, limits):
        if limits and (len(limits) != 2 or not limits[0] < limits[1] or not np.isfinite(limits).all()):
            raise ValueError("give [black, white] with black < white, or [] when no file holds floating point numbers")
        return limits


class DataParams(_Section):
    """Where the photographs are, what their names say, and how they are divided; docs/data.md has the layouts."""

    source: str = Field(min_length=1)
    """Folder of photographs, in any of the layouts of docs/data.md."""
    layout: Literal["auto", "csv", "split_folders", "class_folders", "mvtec"]
    """Layout of that folder; ``auto`` recognises it."""
    classes: dict[str, Literal["non_defective", "defective"]]
    """What names of class folders and labels mean, beside the usual ones: ``{scratched: defective, fine:
    non_defective}``."""
    group_pattern: str
    """Regular expression on the path below the source: images with equal matches form a group, and no split or fold
    divides a group. Empty is off."""
    group_block: int = Field(ge=0)
    """When the match is a number, so many consecutive numbers form one group; 0 is off."""
    series: Literal["together", "apart"]
    """Whether likely series, which is one part photographed again or parts that cannot be told apart, form a group
    (``together``) or need not (``apart``)."""
    supplied_split: Literal["use", "redraw"]
    """Whether a split that the source brings is used. A training part without defects trains detectors alone; with
    ``redraw`` defects of the test part come into training as well."""
    leaks: Literal["regroup", "drop", "keep"]
    """What becomes of a supplied split with copies on both sides: ``regroup`` draws a new one (``drop`` where the
    training part holds no defect, which is to stay so), ``drop`` leaves the training copies out, ``keep`` uses it and
    marks the metrics."""
    decoding: DecodingParams
    """How photographs with more than 8 bits a channel are read."""
    defect_threshold: float = Field(gt=0, le=1)
    """A part is defective when the defect probability its label states is ``>=`` this."""
    uncertain_weight: float = Field(gt=0, le=1)
    """Sample weight in training of images whose stated defect probability lies strictly between 0 and 1; others weigh
    1."""
    test_share: float = Field(gt=0, lt=1)
    """Share of the images in the test part, when the source brings no split."""
    folds: int = Field(ge=2)
    """Folds inside the training part; each voter is made of one model per fold, trained without it."""
    max_unreadable_share: float = Field(ge=0, lt=1)
    """A larger share of files that cannot be read stops the run."""

    @field_validator("group_pattern")
    @classmethod
    def _valid_pattern(cls, pattern):
        try:
            re.compile(pattern)
        except re.error as problem:
            raise ValueError(f"not a regular expression ({problem})") from problem
        return pattern

    @field_validator("group_block")
    @classmethod
    def _blocks_of_something(cls, block, other):
        if block and other.data.get("group_pattern") == "":
            raise ValueError("blocks are counted in the numbers that data.group_pattern finds; set it as well")
        return block


class FeatureParams(_Section):
    """What a backbone looks at, and which of its feature maps become the feature vector."""

    image_size: int = Field(ge=32, le=2048)
    """Side of the square input of every backbone, in pixels."""
    tiles: Literal["auto", "none"] | int
    """How backbones see a photograph: squeezed to that square (``none``), or in overlapping tiles, each a square of so
    many pixels of the photograph, at least 32. ``auto`` takes tiles where the training images are, at their shorter
    side, twice ``image_size`` or more: without scaling, or larger where the usual one would have more than 64. The work
    grows with their number."""
    flips: Once[Literal["horizontal", "vertical", "both"]]
    """Mirror images that features are averaged over, beside the photograph as it lies; each adds the work of one."""
    layers: dict[str, list[str]]
    """Feature maps that are pooled, by name of the backbone; one that is not named uses its last feature map."""
    pooling: list[Literal["avg", "max", "std"]] = Field(min_length=1)
    """What is taken of each channel of a feature map; several are concatenated."""
    weights: dict[str, str]
    """Own weights instead of the published ones: a state dict in ``weights/`` by name of the backbone, for example
    ``{resnet50: weights/resnet50.pth}``. They serve backbones and fine-tuned networks."""

    @field_validator("tiles", mode="before")
    @classmethod
    def _tiles_or_not(cls, tiles):
        is_side = isinstance(tiles, int) and not isinstance(tiles, bool) and tiles >= MIN_TILE_SIDE
        if not is_side and tiles not in ("auto", "none"):
            raise ValueError(f"give auto, none, or the side of a tile in pixels, {MIN_TILE_SIDE} or more")
        return tiles

    @field_validator("flips", mode="before")
    @classmethod
    def _named_flips(cls, flips):
        if isinstance(flips, bool):
            former = "[horizontal, vertical, both]" if flips else "[]"
            raise ValueError(f"name the mirror images: {former} does what {str(flips).lower()} did")
        return flips

    @field_validator("weights")
    @classmethod
    def _inside_weights_folder(cls, weights):
        for file in weights.values():
            parts = Path(file).parts
            if len(parts) < 2 or parts[0] != WEIGHTS_FOLDER or ".." in parts:
                raise ValueError(f"{file!r} must lie in {WEIGHTS_FOLDER}/, where DVC watches it")
        return weights


class PatchParams(_Section):
    """What a patch memory looks at, and how much it remembers."""

    image_size: int = Field(ge=32, le=2048)
    """Side of the square input, in pixels. With ``features.image_size`` patches and features come from one pass."""
    layers: dict[str, list[str]]
    """Feature maps that patches are compared by, by name of the backbone; one that is not named uses the last map of a
    quarter of the image's side, the last of an eighth and the last of a sixteenth."""
    components: int = Field(ge=1)
    """Principal components that are kept of a patch."""
    patches: int = Field(ge=1)
    """Patches of good parts that are remembered of each fold."""


class AugmentParams(_Section):
    """Random changes to training images that leave a good part good."""

    flips: bool
    """Mirror at random; probabilities are then averaged over the four flips, in scoring and in serving."""
    rotations: bool
    """Turn by random multiples of 90 degrees."""
    brightness: float = Field(ge=0, lt=1)
    """Largest relative change of brightness, of BaselineCNN only; 0.2 multiplies it by 0.8 to 1.2."""
    contrast: float = Field(ge=0, lt=1)
    """Largest relative change of contrast, of BaselineCNN only; 0.2 multiplies it by 0.8 to 1.2."""


class ScheduleParams(_Section):
    """How a network is trained."""

    dropout: float = Field(ge=0, lt=1)
    """Share of the pooled features that is dropped at random in training."""
    learning_rate: float = Field(gt=0, le=10)
    """Highest learning rate of the schedule."""
    weight_decay: float = Field(ge=0, le=10)
    """Decoupled weight decay of AdamW."""
    batch_size: int = Field(ge=2)
    """Images per step."""
    epochs: int = Field(ge=1)
    """Passes over the training images."""


class FineTuningParams(ScheduleParams):
    """What a pretrained network sees, and which of its weights stay as they are."""

    image_size: int = Field(ge=32, le=2048)
    """Side of the square input, in pixels."""
    frozen: dict[str, str]
    """Layer up to which the weights stay, by name of the network; one that is not named learns from the map on that is
    16 times smaller than the image."""
    max_scratch_gb: float = Field(gt=0)
    """Largest size, in GB, of what the frozen layers make of every photograph, kept in the temporary folder."""


class CnnParams(ScheduleParams):
    """BaselineCNN and its training; ``parts`` and ``augment`` are those of fine-tuned networks too."""

    image_size: int = Field(ge=16, le=1024)
    """Side of the square input, in pixels; at least ``2**len(channels)``."""
    channels: list[int] = Field(min_length=1)
    """Channels of the convolutional blocks, one number each; a block halves the image."""
    parts: int = Field(ge=2)
    """Networks trained per entry of ``networks``, each without one of so many parts of the training images, and served
    averaged; at most ``data.folds``, since a part is made of whole folds."""
    augment: AugmentParams
    """Random changes to training images, of BaselineCNN and of fine-tuned networks."""

    @model_validator(mode="after")
    def _image_survives_pooling(self):
        smallest = 2 ** len(self.channels)
        if min(self.channels) < 1 or self.image_size < smallest:
            raise ValueError(
                f"{len(self.channels)} blocks halve the image {len(self.channels)} times: channels must be positive "
                f"and image_size at least {smallest}"
            )
        return self


class EnsembleParams(_Section):
    """How the votes become a verdict."""

    voting: str = Field(min_length=1)
    """``hard``: the majority of the voters; ``weighted``: their majority, each with the log odds of its out-of-fold
    accuracy; ``soft``: the ensemble's calibrated probability; or a rule of a plugin."""
    threshold: float = Field(gt=0, lt=1)
    """A voter, or under soft voting the ensemble, says defective when its probability is ``>=`` this."""


class CostParams(_Section):
    """What each outcome costs, in any one unit."""

    escape: float = Field(ge=0, allow_inf_nan=False)
    """Of a defective part that passes."""
    overkill: float = Field(ge=0, allow_inf_nan=False)
    """Of a good part that fails."""
    review: float = Field(ge=0, allow_inf_nan=False)
    """Of a part that a person looks at."""


class DecisionParams(_Section):
    """What is promised of the verdicts, and which photographs a person must see; docs/decisions.md explains both."""

    max_escape_rate: float = Field(ge=0, lt=1)
    """The promise: at most this share of all defective parts passes; 0 promises nothing, and the vote decides."""
    max_overkill_rate: float = Field(ge=0, lt=1)
    """At most this share of the good parts fails unseen. Beside ``max_escape_rate`` a person looks at what neither
    passes nor fails; alone, which needs no defect, every other part passes unless the vote contradicts. 0 promises
    nothing of them. Not with ``cost``."""
    confidence: float = Field(gt=0, lt=1)
    """Probability with which each promise holds, over the drawing of the training images."""
    cost: CostParams | None
    """What each outcome costs, for example ``{escape: 100, overkill: 5, review: 1}``. The review band is then the
    cheapest on the training images: with a promise the cheapest that keeps it, without one nothing is promised.
    ``null`` is off."""
    false_alarm_rate: float = Field(gt=0, lt=1)
    """Share of photographs of the trained kind that may be called unlike it, and reviewed."""

    @model_validator(mode="after")
    def _each_setting_means_something(self) -> Self:
        if self.max_overkill_rate and self.cost is not None:
            raise ValueError(
                f"max_overkill_rate = {self.max_overkill_rate:g} and cost both say where parts fail: "
                "set max_overkill_rate to 0, or cost to null"
            )
        return self


class CacheParams(_Section):
    """What is kept in ``.cache/`` so that a run computes only what is new; no result depends on it."""

    max_megabytes: int = Field(ge=0)
    """Largest size of it, in MB; what was used least recently goes first, and 0 keeps nothing."""


class Params(_Section):
    """The whole of params.yaml."""

    seed: int = Field(ge=0, lt=2**32)
    """Of the split, the folds and every training."""
    plugins: Once[str]
    """Python modules of your own in ``plugins/``, which add classifiers, backbones or voting rules."""
    data: DataParams
    """Photographs, labels and how they are divided."""
    backbones: Once[str] = Field(min_length=1)
    """Pretrained networks that see the photographs: ``efficientnet_lite0``, ``efficientnet_lite1``,
    ``efficientnet_lite2`` and any torchvision classifier (``resnet50``, ``vgg16``, ``densenet121``, ...). The first one
    feeds the guard."""
    classifiers: Once[str]
    """Trained on the features of each backbone, one voter per backbone and classifier: ``svm``, ``random_forest``,
    ``xgboost``, or one of a plugin. ``[]`` is none."""
    features: FeatureParams
    """What the backbones look at."""
    detectors: Once[Literal["patch_memory"]]
    """Voters that learn what good parts look like, one per backbone and detector: ``patch_memory``. ``[]`` is none."""
    patch_memory: PatchParams
    """The detector ``patch_memory``."""
    networks: Once[str]
    """Networks trained on the photographs, a voter each: ``baseline_cnn``, trained from scratch, or the name of any
    backbone, to be fine-tuned. ``[]`` is none."""
    cnn: CnnParams
    """BaselineCNN."""
    fine_tuning: FineTuningParams
    """Fine-tuned networks."""
    search: dict[str, dict[str, list]]
    """Values tried per hyper-parameter of each classifier, every combination: the parameter names of scikit-learn's
    ``SVC`` (``svm``, RBF kernel) and ``RandomForestClassifier`` (``random_forest``), and of XGBoost's ``XGBClassifier``
    (``xgboost``)."""
    ensemble: EnsembleParams
    """The vote."""
    decision: DecisionParams
    """The promise, the review band and the guard."""
    cache: CacheParams
    """What is kept for the next run."""

    @model_validator(mode="after")
    def _parts_of_folds(self):
        if self.cnn.parts > self.data.folds:
            raise ValueError(
                f"cnn.parts = {self.cnn.parts} is more than data.folds = {self.data.folds}: a part is made of whole "
                "folds; lower the one or raise the other"
            )
        return self

    @field_validator("search")
    @classmethod
    def _values_to_try(cls, search: dict[str, dict[str, list]]) -> dict[str, dict[str, list]]:
        empty = [f"{name}.{key}" for name, grid in search.items() for key, values in grid.items() if not values]
        if empty:
            raise ValueError(f"{empty[0]} has no value to try")
        return search

    @model_validator(mode="after")
    def _grid_of_each_classifier(self) -> "Params":
        # Whether a classifier of such a name exists is known where classifiers are, and checked by check-params.
        for name in self.classifiers:
            if name not in self.search:
                close = difflib.get_close_matches(name, self.search, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else f" (it has {', '.join(self.search)})"
                raise ValueError(f"classifiers: search holds no values to try for {name!r}{hint}")
        return self


def load_params(path: str | Path = "params.yaml") -> Params:
    """Read and check the params of the pipeline.

    Parameters
    ----------
    path : str or Path
        A YAML 1.2 file, the dialect DVC writes (``1e-3`` is a number, ``no`` is a string).

    Returns
    -------
    Params
        Immutable.

    Raises
    ------
    ConfigError
        If the file is missing, not YAML, or has an unknown, missing, mistyped or out-of-range key. One message lists
        every problem.
    """
    try:
        content = YAML(typ="safe").load(Path(path))
    except OSError as problem:
        raise ConfigError(
            f"{path} cannot be read ({problem.strerror}); run from the folder that holds it."
        ) from problem
    except YAMLError as problem:
        raise ConfigError(f"{path} is not valid YAML: {problem}") from problem
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must be a mapping of sections to keys, found {type(content).__name__}.")
    try:
        return Params.model_validate(content)
    except ValidationError as problem:
        raise ConfigError("\n".join(_explain(error, path) for error in problem.errors())) from problem


def _explain(error: "ErrorDetails", path: str | Path) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(error["loc"][-1]), _known_keys(error["loc"][:-1]), n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(_known_keys(error['loc'][:-1]))}."
        return f"{path}: unknown key {key!r}; {hint}"
    if error["type"] == "missing":
        return f"{path}: key {key!r} is missing; add it (docs/params.md lists the defaults)."
    if error["loc"][-1:] == ("[key]",):
        section = ".".join(str(part) for part in error["loc"][:-2])
        return f"{path}: {section}: the name {error['input']!r} is no text; write it in quotes."
    message = error["msg"].removeprefix("Value error, ")
    if key and isinstance(error["input"], dict) and error["type"] == "value_error":
        # Keys of one section that contradict each other; the message names them.
        return f"{path}: {key}: {message}."
    # Without a key, several contradict each other; the message names them.
    return f"{path}: {key} = {error['input']!r} is not usable: {message}." if key else f"{path}: {message}."


def _known_keys(section_path: tuple) -> list[str]:
    section: type[BaseModel] = Params
    for name in section_path:
        annotation = section.model_fields[name].annotation
        # Of a section that may be null, the section.
        section = cast(type[BaseModel], next(iter(get_args(annotation)), annotation))
    return list(section.model_fields)
