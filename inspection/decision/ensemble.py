"""The file ensemble.json: which voters there are, and how they decide together."""

from dataclasses import asdict
from pathlib import Path

from inspection.data.images import Decoding
from inspection.decision.combination import Combination
from inspection.decision.operating_point import OperatingPoint
from inspection.decision.rules import Rules
from inspection.errors import ModelsError
from inspection.files import read_json
from inspection.labels import CLASS_NAMES

ENSEMBLE_FILE = "ensemble.json"
FORMAT = 3
"""Version of the layout of ensemble.json; a reader refuses any other."""
_KEYS = {"voting", "threshold", "intercept", "operating_point", "guard", "trained_on", "decoding", "voters"}
"""Of ensemble.json."""


def describe_ensemble(cards: list[dict], rules: Rules, data: dict, decoding: Decoding, guard: dict) -> dict:
    """Return the content of ensemble.json.

    Parameters
    ----------
    cards : list of dict
        One per voter, as the training stages write them: ``name``, ``kind`` and ``files``.
    rules : Rules
    data : dict
        What the voters were trained on.
    decoding : Decoding
        How their images were read, and how every image to be judged will be.
    guard : dict
        Entries ``file`` and ``network``; see `inspection.voters.stored.read_vouched`.

    Raises
    ------
    ModelsError
        If the votes are to be weighted and no voter beats chance.
    """
    if rules.voting == "weighted" and not sum(rules.vote_weights) > 0:
        raise ModelsError(
            "ensemble.voting = weighted: no voter beats chance on its out-of-fold scores, so all weights are 0; "
            "use hard or soft voting, or better data."
        )
    voters = [
        {key: card[key] for key in ("name", "kind", "files")}
        | {"weight": round(weight, 6), "coefficient": round(coefficient, 6)}
        for card, weight, coefficient in zip(cards, rules.vote_weights, rules.combination.coefficients, strict=True)
    ]
    return {
        "format": FORMAT,
        "classes": list(CLASS_NAMES),
        "voting": rules.voting,
        "threshold": rules.threshold,
        "intercept": round(rules.combination.intercept, 6),
        "operating_point": rules.operating_point and asdict(rules.operating_point),
        "guard": guard,
        "trained_on": data,
        "decoding": asdict(decoding),
        "voters": voters,
    }


def read_rules(description: dict) -> Rules:
    """Return the rules of an ensemble.json.

    Raises
    ------
    KeyError, TypeError
        If it was not written by `describe_ensemble`.
    """
    voters, point = description["voters"], description["operating_point"]
    return Rules(
        description["voting"],
        description["threshold"],
        tuple(voter["weight"] for voter in voters),
        Combination(tuple(voter["coefficient"] for voter in voters), description["intercept"]),
        point and OperatingPoint(**point),
    )


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


def open_rules(description: dict, models: str | Path) -> Rules:
    try:
        return read_rules(description)
    except (KeyError, TypeError) as problem:
        raise ModelsError(
            f"{Path(models) / ENSEMBLE_FILE} is damaged ({problem}); delete it and run `dvc repro`."
        ) from problem


def read_decoding(description: dict) -> Decoding:
    limits = description["float_range"]
    return Decoding(description["bit_depth"], None if limits is None else tuple(limits))
