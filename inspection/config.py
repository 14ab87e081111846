"""The only reader of params.yaml: every key is known, typed and in range before any work starts."""

import difflib
import re
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from inspection.errors import ConfigError

BASELINE_CNN = "baseline_cnn"
"""The network trained from scratch; any other name of ``networks`` is a pretrained one to be fine-tuned."""
CLASSIFIERS = ("svm", "random_forest", "xgboost")
"""Classifiers trained on the features of each backbone; a voter is named ``<backbone>_<classifier>``."""
POOLINGS = ("avg", "max", "std")
WEIGHTS_FOLDER = "weights"
"""The only folder own weights are read from: DVC watches it."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class DecodingParams(_Section):
    """What files with more than 8 bits a channel do not say themselves; see `inspection.data.images.Decoding`."""

    bit_depth: int = Field(ge=8, le=16)
    float_range: list[float]

    @field_validator("float_range")
    @classmethod
    def _black_below_white(cls, limits):
        if limits and (len(limits) != 2 or not limits[0] < limits[1] or not np.isfinite(limits).all()):
            raise ValueError("give [black, white] with black < white, or [] when no file holds floating point numbers")
        return limits


class DataParams(_Section):
    """Where the photographs are, what their names say, and how they are divided (see README, Params)."""

    source: str = Field(min_length=1)
    layout: Literal["auto", "csv", "split_folders", "class_folders", "mvtec"]
    classes: dict[str, Literal["non_defective", "defective"]]
    group_pattern: str
    group_block: int = Field(ge=0)
    series: Literal["together", "apart"]
    leaks: Literal["regroup", "drop", "keep"]
    decoding: DecodingParams
    defect_threshold: float = Field(gt=0, le=1)
    uncertain_weight: float = Field(gt=0, le=1)
    test_share: float = Field(gt=0, lt=1)
    folds: int = Field(ge=2)
    max_unreadable_share: float = Field(ge=0, lt=1)

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
    flips: bool
    layers: dict[str, list[str]]
    pooling: list[Literal["avg", "max", "std"]] = Field(min_length=1)
    weights: dict[str, str]

    @field_validator("weights")
    @classmethod
    def _inside_weights_folder(cls, weights):
        for file in weights.values():
            parts = Path(file).parts
            if len(parts) < 2 or parts[0] != WEIGHTS_FOLDER or ".." in parts:
                raise ValueError(f"{file!r} must lie in {WEIGHTS_FOLDER}/, where DVC watches it")
        return weights


class AugmentParams(_Section):
    """Random changes to training images that leave a good part good."""

    flips: bool
    rotations: bool
    brightness: float = Field(ge=0, lt=1)
    contrast: float = Field(ge=0, lt=1)


class ScheduleParams(_Section):
    """How a network is trained."""

    dropout: float = Field(ge=0, lt=1)
    learning_rate: float = Field(gt=0, le=10)
    weight_decay: float = Field(ge=0, le=10)
    batch_size: int = Field(ge=2)
    epochs: int = Field(ge=1)


class FineTuningParams(ScheduleParams):
    """What a pretrained network sees, and which of its weights stay as they are."""

    image_size: int = Field(ge=32, le=2048)
    frozen: dict[str, str]
    max_scratch_gb: float = Field(gt=0)


class CnnParams(ScheduleParams):
    """BaselineCNN and its training; ``parts`` and ``augment`` are those of fine-tuned networks too."""

    image_size: int = Field(ge=16, le=1024)
    channels: list[int] = Field(min_length=1)
    parts: int = Field(ge=2)
    augment: AugmentParams

    @model_validator(mode="after")
    def _image_survives_pooling(self):
        smallest = 2 ** len(self.channels)
        if min(self.channels) < 1 or self.image_size < smallest:
            raise ValueError(
                f"{len(self.channels)} blocks halve the image {len(self.channels)} times: channels must be positive "
                f"and image_size at least {smallest}"
            )
        return self


class SearchParams(_Section):
    """Values tried per hyper-parameter of each classifier: scikit-learn's and XGBoost's own parameter names."""

    svm: dict[str, list]
    random_forest: dict[str, list]
    xgboost: dict[str, list]

    @field_validator("*")
    @classmethod
    def _values_to_try(cls, grid):
        for name, values in grid.items():
            if not values:
                raise ValueError(f"{name} has no value to try")
        return grid


class EnsembleParams(_Section):
    """How the votes become a verdict."""

    voting: Literal["hard", "soft", "weighted"]
    threshold: float = Field(gt=0, lt=1)


class CostParams(_Section):
    """What each outcome costs, in any one unit."""

    escape: float = Field(ge=0, allow_inf_nan=False)
    overkill: float = Field(ge=0, allow_inf_nan=False)
    review: float = Field(ge=0, allow_inf_nan=False)


class DecisionParams(_Section):
    """What is promised of the verdicts, and which photographs a person must see (see README, Decisions)."""

    max_escape_rate: float = Field(ge=0, lt=1)
    max_overkill_rate: float = Field(ge=0, lt=1)
    confidence: float = Field(gt=0, lt=1)
    cost: CostParams | None
    false_alarm_rate: float = Field(gt=0, lt=1)


class Params(_Section):
    """The whole of params.yaml."""

    seed: int = Field(ge=0, lt=2**32)
    data: DataParams
    backbones: list[str] = Field(min_length=1)
    classifiers: list[Literal["svm", "random_forest", "xgboost"]] = Field(min_length=1)
    features: FeatureParams
    networks: list[str] = Field(min_length=1)
    cnn: CnnParams
    fine_tuning: FineTuningParams
    search: SearchParams
    ensemble: EnsembleParams
    decision: DecisionParams

    @model_validator(mode="after")
    def _parts_of_folds(self):
        if self.cnn.parts > self.data.folds:
            raise ValueError(
                f"cnn.parts = {self.cnn.parts} is more than data.folds = {self.data.folds}: a part is made of whole "
                "folds; lower the one or raise the other"
            )
        return self

    @field_validator("backbones", "classifiers", "networks")
    @classmethod
    def _each_once(cls, names):
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"{', '.join(repeated)} is listed twice")
        return names


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


def _explain(error: dict, path: str | Path) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        close = difflib.get_close_matches(str(error["loc"][-1]), _known_keys(error["loc"][:-1]), n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(_known_keys(error['loc'][:-1]))}."
        return f"{path}: unknown key {key!r}; {hint}"
    if error["type"] == "missing":
        return f"{path}: key {key!r} is missing; add it (README, Params, lists the defaults)."
    if error["loc"][-1:] == ("[key]",):
        section = ".".join(str(part) for part in error["loc"][:-2])
        return f"{path}: {section}: the name {error['input']!r} is no text; write it in quotes."
    message = error["msg"].removeprefix("Value error, ")
    # Without a key, several contradict each other; the message names them.
    return f"{path}: {key} = {error['input']!r} is not usable: {message}." if key else f"{path}: {message}."


def _known_keys(section_path: tuple) -> list[str]:
    section = Params
    for name in section_path:
        annotation = section.model_fields[name].annotation
        # Of a section that may be null, the section.
        section = next(iter(get_args(annotation)), annotation)
    return list(section.model_fields)
