"""`sde-ray axes`: the axes of sample design, data and training, and their options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from sde_ray.cli.console import emit, out, table
from sde_ray.cli.options import Json

if TYPE_CHECKING:
    from sde_ray.design.base import Axis


def axes(as_json: Json = False) -> None:
    """List the axes of sample design, data and training, and their options."""
    from sde_ray.design.axes import ALL_AXES, AXES

    rows = [
        {
            "axis": axis.name,
            "option": name,
            "paper": option.label,
            "default": name == axis.default,
            "swept": option.swept and axis.name in AXES,
            "stage": axis.stage,
        }
        for axis in ALL_AXES.values()
        for name, option in axis.options.items()
    ]
    rows = [row | ({"numbers": expected} if (expected := _numbers(ALL_AXES[str(row["axis"])])) else {}) for row in rows]
    if as_json:
        return emit(rows)
    for shown in _tables(rows):
        out().print(shown)
    out().print('\nOptions and axes of your own: "my_pkg.my_axes:NAME" wherever a name of this table may stand.')


def _tables(rows: list[dict[str, Any]]) -> list[Any]:
    """The axes of every design; those beyond the paper's; those of data and training."""
    from sde_ray.design.axes import AXES, OPTIONAL

    by_default = table("", "axis", "option", "paper's name", "")
    optional = table("\nBeyond the paper: only where a sweep names the axis", "axis", "option", "", "")
    curation = table("\nData and training: only where a sweep names the axis", "axis", "option", "", "")
    for row in rows:
        notes = [f"or {row['numbers']}"] if "numbers" in row else []
        if row["axis"] in AXES:
            notes = ["default"] * row["default"] + ["not swept unless listed"] * (not row["swept"]) + notes
        else:
            notes = ["neutral"] * row["default"] + notes
        chosen = by_default if row["axis"] in AXES else optional if row["axis"] in OPTIONAL else curation
        chosen.add_row(row["axis"], row["option"], row["paper"], ", ".join(notes))
    return [by_default, optional, curation]


def _numbers(axis: Axis) -> str:
    """Which numbers are options of an open axis, too; empty for any other."""
    return axis.numbers.expected if axis.numbers else ""


def register(app: typer.Typer) -> None:
    app.command()(axes)
