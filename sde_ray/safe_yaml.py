"""Safe YAML: files are read strictly, and single values overridden.

Plain values only; a repeated key and an alias are errors. `assign(values, "train.learning_rate=1e-3")` is `--set`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from sde_ray.errors import UserError, suggest

MAX_BYTES = 2**20  # PyYAML takes seconds for it
MAX_VALUES = 20_000
MAX_DEPTH = 50  # lists and mappings in one another
TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map")}


class _Loader(yaml.SafeLoader):
    """YAML loader of plain JSON values, in which a repeated key is an error, not a silent loss.

    Size and depth are checked while it reads: PyYAML takes minutes for a megabyte of brackets. Aliases are refused: one
    costs a word and may stand for millions of values, which nothing after this could walk through.
    """

    values = depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            alias = self.current_event
            problem = f'"*{alias.anchor:.80}" is an alias, which is not read here: write out what it stands for'
            raise yaml.composer.ComposerError(None, None, problem, alias.start_mark)
        self.values, self.depth = self.values + 1, self.depth + 1
        if self.values > MAX_VALUES:
            raise yaml.composer.ComposerError(None, None, f"more than {MAX_VALUES} values", self.get_mark())
        if self.depth > MAX_DEPTH:
            raise yaml.composer.ComposerError(None, None, "nested too deeply", self.get_mark())
        node = super().compose_node(parent, index)
        if isinstance(node, yaml.ScalarNode) and any("\ud800" <= character <= "\udfff" for character in node.value):
            raise _wrong("half a surrogate pair, which no file can hold", node)
        self.depth -= 1
        return node

    def fetch_flow_collection_start(self, token: type[yaml.Token]) -> None:
        if self.flow_level > MAX_DEPTH:
            raise yaml.scanner.ScannerError(None, None, "nested too deeply", self.get_mark())
        super().fetch_flow_collection_start(token)


def _wrong(problem: str, node: yaml.Node) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _wrong("a key must be one word", key)
        if key.value in seen:
            raise _wrong(f'the key "{key.value:.80}" stands twice', key)
        seen.add(key.value)
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
    first: [(tag, pattern) for tag, pattern in rows if tag in TAGS]
    for first, rows in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(path: Path) -> dict[str, Any]:
    """Read the mapping in a YAML file.

    Raises UserError: when there is no such file, or it is no YAML mapping; with the line and what to do.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
        text = data.decode("utf-8")
    except FileNotFoundError:
        files = sorted(p.name for p in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
        near = suggest(path.name, files) or (f" There are: {', '.join(files[:5])}." if files else "")
        raise UserError(f'There is no file "{path}".{near} Give the path of a sweep\'s YAML file.') from None
    except UnicodeDecodeError as error:
        raise UserError(f'"{path}" is not UTF-8 text (byte {error.start}). Save it as UTF-8.') from None
    except OSError as error:
        raise UserError(f'Cannot read "{path}": {error.strerror}. Give the path of a sweep\'s YAML file.') from None
    except ValueError:  # a NUL in it
        raise UserError(f"{str(path)!r} can be no path. Give the path of a sweep's YAML file.") from None
    if len(data) > MAX_BYTES:
        raise UserError(f'"{path}" is larger than {MAX_BYTES} bytes. Data belong into files that the sweep names.')
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
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError) as error:
        # The last four are what PyYAML raises for a value that does not fit its tag, such as `!!int ""`.
        mark = getattr(error, "problem_mark", None)
        position = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"{where} is no valid YAML: {position}{problem}. Correct it there.") from None


def assign(values: dict[str, Any], text: str) -> None:
    """Override one value in place, `a.b=c`; the value is read as YAML, so `seeds=[0,1]` is a list.

    Raises UserError: when `text` is no assignment, or `a` is no section.
    """
    path, equals, value = text.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not equals or not all(keys):
        raise UserError(f'"{text}" sets nothing. Write --set key=value, such as --set train.learning_rate=1e-3.')
    section = values
    for key in keys[:-1]:
        inner = section.get(key)
        inner = {} if inner is None else inner
        if not isinstance(inner, dict):
            raise UserError(f'--set {text}: "{key}" is {json.dumps(inner)}, not a section. Set "{key}" itself.')
        section[key] = section = dict(inner)
    section[keys[-1]] = _parse(value, f"--set {text}")
