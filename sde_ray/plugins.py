"""Plugins, objects of the user's own that are named by import path: `my_pkg.my_axes:POLITE`, and which names count.

A plugin's name is its own registration: any process that can import the module can use it. The current directory counts
as importable, as it does for `python -m`.

Names also stand in what others may have written: cards of adapters, ledgers, strategies, the sweep.yaml in a folder of
results. So a name is followed only where the user has named the same module, file or address:

    trust(*code_of("my_pkg.my_axes:POLITE"))    the user's own YAML, an argument of a command: exactly that module
    trust_code("my_pkg")                        --trust-code: a package with all that is in it

Child processes inherit this by the variable `SDE_TRUSTED`, which Ray's workers get with their environment.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
import os
import re
import sys
import sysconfig
from collections.abc import Iterable
from functools import lru_cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TypeVar

from sde_ray.errors import UserError, suggest

T = TypeVar("T")
TRUSTED = "SDE_TRUSTED"
MAX_REFERENCE = (
    4096  # characters; no module, file or address is longer, and a process cannot start with a huge variable
)
_IMPORT_PATH = re.compile(r"(?<![\w./:@])([^\W\d]\w*(?:\.[^\W\d]\w*)*):[^\W\d]\w*(?![\w/:.])")


def is_path(name: str) -> bool:
    """Whether a name has the form of an import path, `module:NAME`."""
    module, colon, attribute = name.partition(":")
    return bool(colon) and attribute.isidentifier() and all(part.isidentifier() for part in module.split("."))


# ---- whose names are followed ----------------------------------------------------------------------------------------


def code_of(text: str) -> list[str]:
    """The modules of the import paths in a text, a name or the slug of a design; those of this package are left out."""
    modules = dict.fromkeys(_IMPORT_PATH.findall(text))
    return [module for module in modules if module.partition(".")[0] != "sde_ray"]


def trust(*references: str) -> None:
    """Follow these from here on: modules, and files and addresses of tasks and data. For what the user has named."""
    named = {reference for reference in references if len(reference) <= MAX_REFERENCE}
    if not _trusted().issuperset(named):
        os.environ[TRUSTED] = json.dumps(sorted(_trusted().union(named)))


def trust_code(*packages: str) -> None:
    """Let names in results, cards and ledgers import these packages and modules, with all that is in them.

    Args:
        packages: as in an import: "my_pkg", "my_pkg.my_axes".

    Raises:
        UserError: for what is no name of a module.
    """
    for package in packages:
        if not all(part.isidentifier() for part in package.split(".")):
            raise UserError(f'"{package}" is no name of a package or module. Write it as in an import: my_pkg.my_axes')
    trust(*packages, *(f"{package}.*" for package in packages))


def is_trusted(reference: str) -> bool:
    """Whether the user has named this module, file or address."""
    trusted, parts = _trusted(), reference.split(".")
    packages = [".".join(parts[:count]) + ".*" for count in range(1, len(parts) + 1)]
    return reference in trusted or not trusted.isdisjoint(packages)


def untrusted(references: Iterable[str]) -> list[str]:
    """Those that the user has not named."""
    return [reference for reference in references if not is_trusted(reference)]


def _trusted() -> frozenset[str]:
    return _parse(os.environ.get(TRUSTED, "[]"))


@lru_cache(maxsize=8)
def _parse(text: str) -> frozenset[str]:
    try:
        references = json.loads(text)
    except ValueError:
        return frozenset()
    return frozenset(reference for reference in references if isinstance(reference, str))


# ---- sources ---------------------------------------------------------------------------------------------------------


def own_sources(modules: Iterable[str]) -> dict[str, Path]:
    """Files and folders of these modules, and of all that they import, which are the user's own: nothing is imported.

    Args:
        modules: as in an import: "my_pkg.my_axes".

    Returns:
        By the name of the file or the folder ("my_axes.py", "my_pkg"), its path. A module that is installed, or that is
        not found, is not among them.
    """
    sources: dict[str, Path] = {}
    remaining, seen = [module.partition(".")[0] for module in modules], {"sde_ray"}
    while remaining:
        name = remaining.pop()
        if name in seen:
            continue
        seen.add(name)
        for path in _own_source(name):
            sources[path.name] = path
            files = sorted(path.rglob("*.py")) if path.is_dir() else [path]
            remaining += [imported for file in files for imported in _imports(file)]
    return dict(sorted(sources.items()))


def is_importable(module: str) -> bool:
    """Whether the module's file or top package is found from here; nothing is imported."""
    return _spec(module.partition(".")[0]) is not None


def _own_source(name: str) -> list[Path]:
    spec = _spec(name)
    if spec is None or name in sys.builtin_module_names:
        return []
    folders = [Path(folder) for folder in spec.submodule_search_locations or []]
    paths = folders or [Path(str(spec.origin))] * str(spec.origin).endswith(".py")
    installed = [Path(folder).resolve() for folder in sysconfig.get_paths().values()]
    installed += [Path(folder).resolve() for folder in (sys.prefix, sys.base_prefix)]
    return [path for path in paths if path.exists() and not any(above in installed for above in path.resolve().parents)]


def _spec(name: str) -> ModuleSpec | None:
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    importlib.invalidate_caches()
    try:
        return importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None


def _imports(file: Path) -> set[str]:
    """The top names of what a file imports, also inside functions."""
    try:
        tree = ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


# ---- objects ---------------------------------------------------------------------------------------------------------


def load_object(path: str, expected: type[T] | tuple[type[T], ...], what: str) -> T:
    """Load an object by import path.

    Args:
        path: "my_pkg.my_module:NAME".
        expected: the type or types that it may have.
        what: what it is, in messages: "a task".

    Raises UserError: when the user has not named its module, it cannot be imported, is not there or of another type.
    """
    if not is_path(path):
        raise UserError(f'"{path}" is no import path of {what}. Write it as "my_pkg.my_module:NAME".')
    module_name, _, attribute = path.partition(":")
    if module_name.partition(".")[0] != "sde_ray" and not is_trusted(module_name):
        raise UserError(
            f'"{path}" names code of the module "{module_name}", and results name no code that you have not named '
            f"yourself. If it is yours, give the sweep's own YAML file, or add --trust-code {module_name} "
            f'(in Python: sde_ray.trust_code("{module_name}")).'
        )
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UserError(
            f'Cannot import "{module_name}" for {what} "{path}": {error}. '
            "Run from the folder that holds it, or install it."
        ) from error
    except Exception as error:  # the module's own, at import
        raise UserError(
            f'"{module_name}" for {what} "{path}" fails at import: {type(error).__name__}: {error}. Correct it there.'
        ) from error
    if not hasattr(module, attribute):
        raise UserError(f'Module "{module_name}" has no "{attribute}".{suggest(attribute, vars(module))}')
    value = getattr(module, attribute)
    if not isinstance(value, expected):
        names = " or ".join(t.__name__ for t in (expected if isinstance(expected, tuple) else (expected,)))
        raise UserError(f'"{path}" is of type {type(value).__name__}, and {what} must be of type {names}.')
    return value
