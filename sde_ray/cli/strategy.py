"""The assembled strategy as a table: an option an axis, with the reason for it."""

from __future__ import annotations

from rich.console import Group
from rich.markup import escape

from sde_ray.cli.console import number, table
from sde_ray.types import Strategy


def strategy(found: Strategy) -> Group:
    """The design, why each option stands in it, and what it is expected to score."""
    from sde_ray.design import label
    from sde_ray.strategy import axes_of

    shown = table("", "axis", "option", "paper's name", "why")
    for row in axes_of(found):
        why = row["reason"].removeprefix(row["option"]).lstrip(":, ")
        shown.add_row(row["axis"], row["option"], row["label"], escape(why))
    title = f"[bold]Assembled strategy:[/] {label(found.design)}"
    return Group(title, f"expected {found.objective} {number(found.predicted)}", "", shown)
