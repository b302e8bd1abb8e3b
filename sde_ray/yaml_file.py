"""Reading YAML strictly, and overriding single values of it.

Safe YAML only, in which a key that stands twice is an error. `assign(values, "train.lr=1e-3")` is `--set`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from sde_ray.errors import UserError, suggest


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a key that stands twice is an error, not a silent loss."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        name = str(getattr(key, "value", key))
        if name in seen and name != "<<":
            raise yaml.constructor.ConstructorError(None, None, f'the key "{name}" stands twice', key.start_mark)
        seen.add(name)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; `UserError` where there is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = suggest(path.name, [p.name for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else [])
        raise UserError(f'There is no file "{path}".{near} Give the path of a sweep\'s YAML file.') from None
    except UnicodeDecodeError as error:
        raise UserError(f'"{path}" is not UTF-8 text (byte {error.start}). Save it as UTF-8.') from None
    except OSError as error:
        raise UserError(f'Cannot read "{path}": {error.strerror}. Give the path of a sweep\'s YAML file.') from None
    values = _parse(text, str(path))
    if not isinstance(values, dict) or not values:
        raise UserError(f'"{path}" holds no mapping of keys to values. It needs a line such as "task: masa:d1".')
    return {str(key): value for key, value in values.items()}


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"{where} is no valid YAML: {place}{problem}. Correct it there.") from None


def assign(values: dict[str, Any], text: str) -> None:
    """Apply one `a.b=c` in place; the value is read as YAML, so `seeds=[0,1]` is a list."""
    path, equals, value = text.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(keys):
        raise UserError(f'"{text}" sets nothing. Write --set key=value, such as --set train.lr=1e-3.')
    place = values
    for key in keys[:-1]:
        inner = place.get(key)
        inner = {} if inner is None else inner
        if not isinstance(inner, dict):
            raise UserError(f'--set {text}: "{key}" is {json.dumps(inner)}, not a section. Set "{key}" itself.')
        place[key] = place = dict(inner)
    place[keys[-1]] = _parse(value, f"--set {text}")
