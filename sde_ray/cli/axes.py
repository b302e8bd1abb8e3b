"""`sde-ray axes`: the axes of sample design and their options."""

from __future__ import annotations

import typer

from sde_ray.cli.console import emit, out, table
from sde_ray.cli.options import Json


def axes(as_json: Json = False) -> None:
    """List the axes of sample design and their options."""
    from sde_ray.design.axes import AXES

    rows = [
        {
            "axis": axis.name,
            "option": name,
            "paper": option.label,
            "default": name == axis.default,
            "swept": option.swept,
            "stage": axis.stage,
        }
        for axis in AXES.values()
        for name, option in axis.options.items()
    ]
    if as_json:
        return emit(rows)
    axes_table = table("", "axis", "option", "paper's name", "")
    for row in rows:
        notes = ["default"] * bool(row["default"]) + ["not swept unless listed"] * (not row["swept"])
        axes_table.add_row(str(row["axis"]), str(row["option"]), str(row["paper"]), ", ".join(notes))
    out().print(axes_table)
    out().print('\nOptions and axes of your own: "my_pkg.my_axes:NAME" wherever a name of this table may stand.')


def register(app: typer.Typer) -> None:
    app.command()(axes)
