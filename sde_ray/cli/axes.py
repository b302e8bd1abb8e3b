"""`sde-ray axes`: the axes of sample design, data and training, and their options."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from sde_ray.cli.console import emit, out, table
from sde_ray.cli.options import Json

if TYPE_CHECKING:
    from sde_ray.design.base import Axis


def axes(as_json: Json = False) -> None:
    """List the axes of sample design, data and training, and their options."""
    from sde_ray.design.axes import ALL_AXES, CURATION

    rows = [
        {
            "axis": axis.name,
            "option": name,
            "paper": option.label,
            "default": name == axis.default,
            "swept": option.swept and axis.name not in CURATION,
            "stage": axis.stage,
        }
        for axis in ALL_AXES.values()
        for name, option in axis.options.items()
    ]
    rows = [row | ({"numbers": expected} if (expected := _numbers(ALL_AXES[str(row["axis"])])) else {}) for row in rows]
    if as_json:
        return emit(rows)
    axes_table = table("", "axis", "option", "paper's name", "")
    curation_table = table("\nData and training: only where a sweep names the axis", "axis", "option", "", "")
    for row in rows:
        if row["axis"] in CURATION:
            notes = ["neutral"] * bool(row["default"]) + [f"or {row.get('numbers')}"] * ("numbers" in row)
            curation_table.add_row(str(row["axis"]), str(row["option"]), str(row["paper"]), ", ".join(notes))
            continue
        notes = ["default"] * bool(row["default"]) + ["not swept unless listed"] * (not row["swept"])
        axes_table.add_row(str(row["axis"]), str(row["option"]), str(row["paper"]), ", ".join(notes))
    out().print(axes_table)
    out().print(curation_table)
    out().print('\nOptions and axes of your own: "my_pkg.my_axes:NAME" wherever a name of this table may stand.')


def _numbers(axis: Axis) -> str:
    """Which numbers are options of an open axis, too; empty for any other."""
    return axis.numbers.expected if axis.numbers else ""


def register(app: typer.Typer) -> None:
    app.command()(axes)
