"""Reading YAML strictly, and overriding single values of it.

Safe YAML only, in which a key that stands twice is an error. `assign(values, "train.learning_rate=1e-3")` is `--set`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from sde_ray.errors import UserError, suggest

LARGEST = 2**20  # bytes; PyYAML takes seconds for it
MOST = 20_000  # values, with every alias counted as what it stands for
DEEPEST = 50  # lists and mappings in one another
TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map")}


class _Loader(yaml.SafeLoader):
    """Safe YAML with plain JSON values only, in which a key that stands twice is an error, not a silent loss.

    Size and depth are watched while it reads: PyYAML takes minutes for a megabyte of brackets.
    """

    values = depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.values, self.depth = self.values + 1, self.depth + 1
        if self.values > MOST:
            raise yaml.composer.ComposerError(None, None, f"more than {MOST} values", self.get_mark())
        if self.depth > DEEPEST:
            raise yaml.composer.ComposerError(None, None, "nested too deeply", self.get_mark())
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def fetch_flow_collection_start(self, token: type[yaml.Token]) -> None:
        if self.flow_level > DEEPEST:
            raise yaml.scanner.ScannerError(None, None, "nested too deeply", self.get_mark())
        super().fetch_flow_collection_start(token)


def _wrong(problem: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _wrong("a key must be one word", key)
        if key.value in seen and key.value != "<<":
            raise _wrong(f'the key "{key.value:.80}" stands twice', key)
        seen.add(key.value)
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    number = int(loader.construct_yaml_int(node))
    if abs(number) >= 2**63:
        raise _wrong("the number is too large", node)
    return number


_KINDS = yaml.SafeLoader.yaml_constructors
_Loader.yaml_constructors = {tag: make for tag, make in _KINDS.items() if tag is None or tag in TAGS}
_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
# A bare 2024-01-31 is a word like any other.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in rows if tag in TAGS or tag.endswith(":merge")]
    for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file; `UserError` where there is none."""
    try:
        with open(path, "rb") as file:
            data = file.read(LARGEST + 1)
        text = data.decode("utf-8")
    except FileNotFoundError:
        near = suggest(path.name, [p.name for p in path.parent.glob("*.y*ml")] if path.parent.is_dir() else [])
        raise UserError(f'There is no file "{path}".{near} Give the path of a sweep\'s YAML file.') from None
    except UnicodeDecodeError as error:
        raise UserError(f'"{path}" is not UTF-8 text (byte {error.start}). Save it as UTF-8.') from None
    except OSError as error:
        raise UserError(f'Cannot read "{path}": {error.strerror}. Give the path of a sweep\'s YAML file.') from None
    except ValueError:  # a NUL in it
        raise UserError(f"{str(path)!r} can be no path. Give the path of a sweep's YAML file.") from None
    if len(data) > LARGEST:
        raise UserError(f'"{path}" is larger than {LARGEST} bytes. Data belong into files that the sweep names.')
    values = _parse(text, str(path))
    if not isinstance(values, dict) or not values:
        raise UserError(f'"{path}" holds no mapping of keys to values. It needs a line such as "task: masa:d1".')
    return {str(key): value for key, value in values.items()}


def _parse(text: str, where: str) -> Any:
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_size(node, {}, 1)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError) as error:
        # The last four are what PyYAML raises for a value that does not fit its tag, such as `!!int ""`.
        mark = getattr(error, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"{where} is no valid YAML: {place}{problem}. Correct it there.") from None


def _check_size(node: yaml.Node, known: dict[int, int], depth: int) -> int:
    """How many values a node stands for; raises where they are too many or too deep, or an alias holds itself.

    An alias costs a word and may stand for millions of values, which nothing after this could walk through.
    """
    if id(node) in known:
        return known[id(node)]
    if depth > DEEPEST:
        raise _wrong("nested too deeply, or an alias that holds itself", node)
    if isinstance(node, yaml.ScalarNode):
        if any("\ud800" <= character <= "\udfff" for character in node.value):
            raise _wrong("half a surrogate pair, which no file can hold", node)
        return 1
    inner = [one for pair in node.value for one in pair] if isinstance(node, yaml.MappingNode) else node.value
    total = 1
    for one in inner:
        total += _check_size(one, known, depth + 1)
        if total > MOST:
            raise _wrong(f"more than {MOST} values", one)
    known[id(node)] = total
    return total


def assign(values: dict[str, Any], text: str) -> None:
    """Apply one `a.b=c` in place; the value is read as YAML, so `seeds=[0,1]` is a list."""
    path, equals, value = text.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(keys):
        raise UserError(f'"{text}" sets nothing. Write --set key=value, such as --set train.learning_rate=1e-3.')
    place = values
    for key in keys[:-1]:
        inner = place.get(key)
        inner = {} if inner is None else inner
        if not isinstance(inner, dict):
            raise UserError(f'--set {text}: "{key}" is {json.dumps(inner)}, not a section. Set "{key}" itself.')
        place[key] = place = dict(inner)
    place[keys[-1]] = _parse(value, f"--set {text}")
