"""Objects of the user's own, named by import path: `my_pkg.my_axes:POLITE`.

Such a name is its own registration: any process that can import the module can use it, so nothing has to be set up in
the workers. The current directory counts as importable, as it does for `python -m`.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import TypeVar

from sde_ray.errors import UserError, suggest

T = TypeVar("T")


def is_path(name: str) -> bool:
    """True for `module:NAME`, the shape of an import path."""
    module, colon, attribute = name.partition(":")
    return bool(colon) and attribute.isidentifier() and all(part.isidentifier() for part in module.split("."))


def load_object(path: str, expected: type[T] | tuple[type[T], ...], what: str) -> T:
    """Return the object at `path`; `UserError` where it is not there or not one of the `expected` types."""
    if not is_path(path):
        raise UserError(f'"{path}" is no import path of {what}. Write it as "my_pkg.my_module:NAME".')
    module_name, _, attribute = path.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UserError(
            f'Cannot import "{module_name}" for {what} "{path}": {error}. '
            "Run from the folder that holds it, or install it."
        ) from error
    if not hasattr(module, attribute):
        raise UserError(f'Module "{module_name}" has no "{attribute}".{suggest(attribute, vars(module))}')
    value = getattr(module, attribute)
    if not isinstance(value, expected):
        names = " or ".join(t.__name__ for t in (expected if isinstance(expected, tuple) else (expected,)))
        raise UserError(f'"{path}" is of type {type(value).__name__}, and {what} must be of type {names}.')
    return value
