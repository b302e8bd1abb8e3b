"""`docs/configuration.md`, made from the docstrings of the fields: every key with its type, default and meaning.

    python -m sde_ray.config.reference > docs/configuration.md

A test holds the page to what this prints.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from sde_ray.config.renamed import FOREIGN, FORMER, NEEDLESS, NOTES, section_of
from sde_ray.config.schema import DesignName, OptionName, SweepConfig
from sde_ray.config.section import Section

HEAD = """# Configuration

Every key of a sweep's YAML. This page is made from the docstrings in `sde_ray/config/`
(`python -m sde_ray.config.reference > docs/configuration.md`), and a test keeps it current.

- Precedence, low to high: the defaults below, the YAML file, `--set train.learning_rate=1e-3`.
- Names are those of peft, transformers, DeepSpeed, Ray, Optuna and MLflow, wherever these have one.
- An unknown key is an error with the nearest known one; all faults of a file are shown together.
- What ran is in the run's folder: `sweep.yaml` with the settings that are not defaults, `resolved.json` with all.
- "several" stands for a list; one value may stand where a list may.
"""

OLDER = """
## Keys of other tools

An unknown key that means the same as one of these settings is answered with it.

### Of version 0.1

"""

FAR = 10**9  # a bound that nobody will meet is not worth its words
NAMES: Mapping[Any, str] = {
    OptionName: "option",
    DesignName: "design",
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    type(None): "empty",
    Any: "any",
    dict: "mapping",
}


def page() -> str:
    """The whole page, in Markdown."""
    parts = [HEAD, *_sections(SweepConfig, ""), OLDER, _rows(("key", "today", ""), FORMER)]
    parts += ["\n### Of TrainingArguments, LLaMA-Factory and Axolotl\n\n", _rows(("key", "here", ""), FOREIGN)]
    parts += ["\nNothing stands for these:\n\n", *(f"- `{name}`: {why}.\n" for name, why in NEEDLESS.items())]
    return "".join(parts)


def _sections(model: type[Section], path: str) -> list[str]:
    """A table for the section's own keys, then the sections in it."""
    title = f"\n## {path}\n\n" if path else "\n## Top level\n\n"
    inner = {name: section_of(field) for name, field in model.model_fields.items()}
    table = ["| key | type | default | meaning |\n|---|---|---|---|\n"]
    table += [_row(path, name, field, inner[name]) for name, field in model.model_fields.items()]
    below = [_sections(section, f"{path}.{name}".lstrip(".")) for name, section in inner.items() if section]
    return [title, *table, *(text for part in below for text in part)]


def _row(path: str, name: str, field: FieldInfo, section: type[Section] | None) -> str:
    key = f"{path}.{name}".lstrip(".")
    meaning = " ".join((field.description or "").split())
    kind, default = _limited(field.annotation, field.metadata), _default(field)
    if section is not None:
        kind = f"[section](#{key.replace('.', '').lower()})" + " or empty" * (field.default is None)
        default = "empty" if field.default is None else "its own"
    return f"| `{name}` | {_escaped(kind)} | {default} | {_escaped(meaning)} |\n"


def _limited(annotation: Any, metadata: list[Any]) -> str:
    """A type in words, with the bounds of its values."""
    bounds = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    limits = [
        f"{word} {getattr(bound, name):g}"
        for bound in metadata
        for name, word in bounds.items()
        if isinstance(getattr(bound, name, None), int | float) and getattr(bound, name) < FAR
    ]
    return " ".join([_type(annotation), ", ".join(limits)]).strip()


def _type(annotation: Any) -> str:
    if annotation in NAMES:
        return NAMES[annotation]
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (Union, types.UnionType):
        return " or ".join(map(_type, inner))
    if origin is tuple and inner[-1] is not Ellipsis:
        return f"[{', '.join(map(_type, inner))}]"
    if origin in (tuple, list):
        return f"several: {_type(inner[0])}"
    if origin is dict:
        return "mapping" if inner[1] is Any else f"mapping to {_type(inner[1])}"
    if hasattr(annotation, "__metadata__"):
        metadata = [bound for part in annotation.__metadata__ for bound in getattr(part, "metadata", [part])]
        return _limited(inner[0], metadata)
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return "section"
    return NAMES[annotation]  # a type without a name here is a mistake, and the test of the page says so


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if field.is_required():
        return "required"
    if isinstance(value, BaseModel):
        value = value.model_dump()
    return "empty" if value is None or value == "" else f"`{json.dumps(value, ensure_ascii=False)}`".replace('"', "")


def _rows(head: tuple[str, str, str], table: Mapping[str, str]) -> str:
    rows = [f"| {' | '.join(head)} |\n|---|---|---|\n"]
    rows += [f"| `{key}` | `{value}` | {NOTES.get(key, '')} |\n" for key, value in table.items()]
    return "".join(rows)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(page(), end="")
