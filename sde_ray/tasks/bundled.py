"""Bundled dataset of a task of the package: a synthetic one, or none."""

from __future__ import annotations

from collections.abc import Callable

from sde_ray.errors import UserError
from sde_ray.types import Example, Split

Load = Callable[[Split], list[Example]]


def no_examples(split: Split) -> list[Example]:
    """Splits of a task without data: empty."""
    return []


def bundled(name: str, domain: str) -> Load:
    """Splits of a synthetic dataset of this package."""

    def load(split: Split) -> list[Example]:
        from sde_ray.data import synthetic

        return synthetic.load(name, domain, split)

    return load


def user_data_only(name: str, format_name: str) -> Load:
    """Splits of a task without a bundled dataset: `UserError` that says how to name one's own."""

    def load(split: Split) -> list[Example]:
        raise UserError(
            f'The task "{name}" has no bundled data. Name yours: the task "{name}@PATH" reads a file or folder in the '
            f"{format_name} format."
        )

    return load
