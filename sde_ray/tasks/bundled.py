"""The data that a task of the package comes with: a bundled set, or none."""

from __future__ import annotations

from collections.abc import Callable

from sde_ray.errors import UserError
from sde_ray.types import Example, Split

Load = Callable[[Split], list[Example]]


def no_examples(split: Split) -> list[Example]:
    """The splits of a definition without data."""
    return []


def bundled(name: str, domain: str) -> Load:
    """The splits of a set that is made by this package."""

    def load(split: Split) -> list[Example]:
        from sde_ray.data import synthetic

        return synthetic.load(name, domain, split)

    return load


def user_data_only(name: str, format_name: str) -> Load:
    """The splits of a task without bundled data: none, and how to name one's own."""

    def load(split: Split) -> list[Example]:
        raise UserError(
            f'The task "{name}" has no bundled data. Name yours: the task "{name}@PATH" reads a file or folder in the '
            f"{format_name} format."
        )

    return load
