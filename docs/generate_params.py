"""Write docs/params.md from the models of `inspection.config` and the values of params.yaml.

Run in the root of the project: `python docs/generate_params.py`. A test fails while the file says something else.
"""

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from inspection.config import Params  # noqa: E402
from inspection.files import write_bytes  # noqa: E402

TARGET = ROOT / "docs" / "params.md"
PLAIN_TYPES = {bool: "true or false", int: "integer", float: "number", str: "text"}
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
"""Pydantic's names of bounds, as they stand in `Field`."""
NO_VALUE = "–"
"""In the column of defaults, for keys of a section that params.yaml leaves out."""
HEAD = """\
# Params

<!-- Written by `python docs/generate_params.py` from inspection/config.py and params.yaml; do not edit. -->

`params.yaml` holds every knob of the pipeline, and nothing in the code has a default: a key that is unknown, missing,
of another type or out of range stops a run before any work, and the message names all of them. "Default" is the value
in the committed `params.yaml`. Change it there, or for one experiment with `dvc exp run -S ensemble.voting=soft`.
"""


def main() -> None:
    """Write the page."""
    write_bytes(TARGET, render(Params, YAML(typ="safe").load(ROOT / "params.yaml")).encode())
    print(f"{TARGET.relative_to(ROOT)} is written")


def render(model: type[BaseModel], values: dict) -> str:
    """Return the page: the keys outside sections first, then a table per section.

    Parameters
    ----------
    model : subclass of pydantic.BaseModel
        Every field needs a description.
    values : dict
        The content of params.yaml.

    Returns
    -------
    str
        Markdown.

    Raises
    ------
    ValueError
        If a field has no description.
    """
    has_table = {name: section_of(field) is not None or is_grid(field) for name, field in model.model_fields.items()}
    plain = {name: field for name, field in model.model_fields.items() if not has_table[name]}
    parts = [HEAD, table(rows_of(plain, values, ""))]
    for name, field in model.model_fields.items():
        section = section_of(field)
        if section is not None:
            rows = rows_of(section.model_fields, values[name], f"{name}.")
            parts += [f"## {name}\n", f"{words(section.__doc__ or '')}\n", table(rows)]
        elif is_grid(field):
            parts += [f"## {name}\n", f"{description(name, field)}\n", table(rows_of_grid(name, field, values[name]))]
    return "\n".join(parts)


def rows_of(fields: dict[str, FieldInfo], values: dict | None, prefix: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield key, type and range, default, and meaning of every field, those of sections inside included."""
    for name, field in fields.items():
        key = f"{prefix}{name}"
        meaning = description(key, field)
        section, value = section_of(field), NO_VALUE if values is None else values[name]
        if section is None or is_optional(field):
            yield key, kind(field), value if value is NO_VALUE else as_yaml(value), meaning
        if section is not None:
            yield from rows_of(section.model_fields, value if isinstance(value, dict) else None, f"{key}.")


def rows_of_grid(name: str, field: FieldInfo, values: dict) -> Iterator[tuple[str, str, str, str]]:
    """Yield a row per entry of a mapping of mappings, whose names are free."""
    inner = type_words(get_args(field.annotation)[1])
    for entry, value in values.items():
        yield f"{name}.{entry}", inner, as_yaml(value), f"Of `{entry}`."


def description(key: str, field: FieldInfo) -> str:
    """Return the description of a field as one line of Markdown.

    Raises
    ------
    ValueError
        If it has none.
    """
    if not field.description:
        raise ValueError(f"{key} has no description; write one below it in inspection/config.py")
    return words(field.description)


def is_grid(field: FieldInfo) -> bool:
    """Whether a field is a mapping of mappings."""
    inner = get_args(field.annotation)
    return get_origin(field.annotation) is dict and get_origin(inner[1]) is dict


def section_of(field: FieldInfo) -> type[BaseModel] | None:
    """Return the model of a field that is a section, also of one that may be null."""
    is_union = get_origin(field.annotation) in (Union, UnionType)
    candidates = [field.annotation, *(get_args(field.annotation) if is_union else ())]
    return next((item for item in candidates if isinstance(item, type) and issubclass(item, BaseModel)), None)


def is_optional(field: FieldInfo) -> bool:
    """Whether a field may be null."""
    return NoneType in get_args(field.annotation)


def kind(field: FieldInfo) -> str:
    """Return the type and range of a field in words."""
    limits = [limit for item in field.metadata if (limit := limit_words(item))]
    return ", ".join([type_words(field.annotation), *limits])


def type_words(annotation: Any) -> str:
    """Return a type as a reader of YAML would call it."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "one of " + ", ".join(f"`{value}`" for value in inner)
    if origin in (Union, UnionType):
        return " or ".join(type_words(item) for item in inner)
    if origin is list:
        return f"list of {type_words(inner[0])}"
    if origin is dict:
        return f"mapping of {type_words(inner[0])} to {type_words(inner[1])}"
    if annotation is NoneType:
        return "`null`"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    return PLAIN_TYPES.get(annotation, getattr(annotation, "__name__", str(annotation)))


def limit_words(limit: Any) -> str:
    """Return one bound of a field in words; empty for what is no bound."""
    for name, sign in BOUNDS.items():
        if hasattr(limit, name):
            return f"{sign} {getattr(limit, name)}"
    if hasattr(limit, "min_length"):
        return "not empty" if limit.min_length == 1 else f"at least {limit.min_length}"
    return ""


def as_yaml(value: Any) -> str:
    """Return a value as one line of YAML, in code marks."""
    yaml, stream = YAML(typ="safe"), io.StringIO()
    # ruamel.yaml annotates its settings as None.
    for name, setting in (("default_flow_style", True), ("width", 10_000), ("sort_base_mapping_type_on_output", False)):
        setattr(yaml, name, setting)
    yaml.dump(value, stream)
    text = stream.getvalue().removesuffix("...\n").strip()
    return f"`{text}`"


def words(docstring: str) -> str:
    """Return a docstring as one line of Markdown."""
    return re.sub(r"`+", "`", " ".join(docstring.split()))


def table(rows: Iterator[tuple[str, str, str, str]]) -> str:
    """Return a Markdown table."""
    lines = ["| key | type and range | default | meaning |", "|---|---|---|---|"]
    for key, *cells in rows:
        lines.append("| " + " | ".join([f"`{key}`", *(cell.replace("|", "\\|") for cell in cells)]) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
