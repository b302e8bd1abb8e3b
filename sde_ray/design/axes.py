"""The table of design axes; the sweep space, the CLI, MLflow's parameters, the effects and the law tests follow it.

Options and axes of the user's own are named by import path, wherever a name of the table may stand. A new format, rows
such as ["food", "the soup was cold", "negative"], in `my_pkg/my_axes.py`:

    import json
    from sde_ray.design.lexer import read_json
    from sde_ray.design.base import FormatOption, collect, rows
    from sde_ray.types import Line

    def read_row(row):
        items = read_json(row)
        if not isinstance(items, list) or not all(isinstance(item, str) for item in items) or len(items) < 2:
            raise ValueError("not a list of strings")       # becomes a fault; the other rows are kept
        slot, rationale, *values = items
        return Line(slot, tuple(values), rationale)

    ROWS = FormatOption(
        label="Rows",
        entry=lambda line, form: json.dumps([line.slot, line.rationale or "", *line.values]),
        separator=lambda form: "\\n",
        marker=lambda form: "-",
        read=lambda text, form: ((), ()) if text.strip() == "-" else collect(rows(text), read_row),
    )

is used as `axes: {format: [lines, "my_pkg.my_axes:ROWS"]}` in a sweep, and a whole new axis, an `Axis` object, as
`axes: {"my_pkg.my_axes:TONE": [plain, polite]}`. Nothing is registered: a worker finds both by their names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from sde_ray.design.answer import LABELS, REASONING, UNMENTIONED
from sde_ray.design.base import AnswerOption, Axis, FormatOption, Option, PromptOption
from sde_ray.design.format import FORMAT
from sde_ray.design.prompt import INPUT_MODELING, INSTRUCTION
from sde_ray.errors import UserError, unknown
from sde_ray.plugins import is_path, load_object

AXES: Mapping[str, Axis] = {
    axis.name: axis for axis in (INSTRUCTION, INPUT_MODELING, FORMAT, UNMENTIONED, LABELS, REASONING)
}


def load_axis(path: str) -> Axis:
    """The user's axis at `pkg.module:NAME`."""
    return load_object(path, Axis, "an axis")


def find_axis(name: str) -> Axis:
    """The axis of the table, or of the user, with this name; `UserError` with the nearest name where there is none."""
    if name in AXES:
        return AXES[name]
    if is_path(name):
        return load_axis(name)
    raise UserError(unknown("axis", name, AXES))


def find_option(axis_name: str, name: str) -> Option:
    """The option of an axis; by import path, an option of the user's own for the axis' stage."""
    axis = find_axis(axis_name)
    if name in axis.options:
        return axis.options[name]
    if is_path(name):
        kind: type[Any] = type(axis.options[axis.default])
        return cast(Option, load_object(name, kind, f"an option of {axis_name}"))
    raise UserError(unknown(f"option of {axis_name}", name, axis.options))


__all__ = [
    "AXES",
    "AnswerOption",
    "Axis",
    "FormatOption",
    "Option",
    "PromptOption",
    "find_axis",
    "find_option",
    "load_axis",
]
