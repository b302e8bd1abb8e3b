"""Plugins, objects of the user's own that are named by import path: `my_pkg.my_axes:POLITE`.

Such a name is its own registration: any process that can import the module can use it, so nothing has to be set up in
the workers. The current directory counts as importable, as it does for `python -m`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from typing import TypeVar

from sde_ray.errors import UserError, suggest

T = TypeVar("T")
# Files by which the folder of an adapter, of a trial or of a sweep is recognised.
RESULTS = (("sde.json",), ("adapter/sde.json",), ("ledger.jsonl", "resolved.json"))


def is_path(name: str) -> bool:
    """Whether a name has the form of an import path, `module:NAME`."""
    module, colon, attribute = name.partition(":")
    return bool(colon) and attribute.isidentifier() and all(part.isidentifier() for part in module.split("."))


def _refuse_results(module: str, path: str) -> None:
    """Refuse a module in the folder of a sweep or an adapter, with `UserError`.

    An adapter's card names its task and its design, by import path where they are the user's own. In a folder that was
    downloaded it could name code that lies beside it.
    """
    for folder in _folders(module):
        for above in (folder, *folder.parents):
            if any(all((above / name).is_file() for name in names) for names in RESULTS):
                raise UserError(
                    f'"{path}" names code in {above}, the folder of a sweep or an adapter, where results are and no '
                    "code is run from. If you trust it, copy the module to where you work, and name it there."
                )


def _folders(module: str) -> list[Path]:
    """Folders of a module and its packages; nothing of it is imported."""
    top, *inner = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []
    locations = list(spec.submodule_search_locations or [])
    folders = [os.path.dirname(spec.origin)] if spec.origin and os.path.isfile(spec.origin) else []
    folders += locations
    for part in inner:
        paths = [os.path.join(location, part) for location in locations]
        locations = [path for path in paths if os.path.isdir(path)]
        folders += locations
    return [Path(folder).resolve() for folder in folders]


def load_object(path: str, expected: type[T] | tuple[type[T], ...], what: str) -> T:
    """Load an object by import path.

    Args:
        path: "my_pkg.my_module:NAME".
        expected: the type or types that it may have.
        what: what it is, in messages: "a task".

    Raises UserError: when it cannot be imported, is not there, is of another type, or lies in a folder of results.
    """
    if not is_path(path):
        raise UserError(f'"{path}" is no import path of {what}. Write it as "my_pkg.my_module:NAME".')
    module_name, _, attribute = path.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    _refuse_results(module_name, path)
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
