"""The table of design axes, `AXES`; the sweep space, the CLI, MLflow's parameters, effects and law tests follow it.

The axis `format` says how all lines of an answer become one text. The lines (food, positive), (price, absent) of an
English task read
    natural   food: positive, price: unmentioned.
    lines     food: positive
              price: unmentioned
    json      {"aspect": "food", "sentiment": "positive"}
              {"aspect": "price", "sentiment": "unmentioned"}
    pairs     ["food", "positive"]
              ["price", "unmentioned"]
    json_object   {"food": "positive", "price": "unmentioned"}
and with lists of spans
    natural   DNA: IL-2 gene, kappa B site; RNA: none.
    lines     DNA: IL-2 gene, kappa B site
              RNA: none
    json      {"type": "DNA", "entity": ["IL-2 gene", "kappa B site"]}
              {"type": "RNA", "entity": []}
    pairs     ["DNA", "IL-2 gene"]
              ["DNA", "kappa B site"]
              ["RNA", null]
    json_object   {"DNA": ["IL-2 gene", "kappa B site"], "RNA": []}
A rationale stands before the value (`food: tasty soup => positive`) or after it (`food: positive <= tasty soup`);
`pairs` and `json_object` are tried only where a sweep lists them.

Options and axes of the user's own are named by import path, wherever a name of the table may stand. A format of one's
own, rows such as ["food", "the soup was cold", "negative"], in `my_pkg/my_axes.py`:

    import json
    from sde_ray.design import FormatOption, collect, rows
    from sde_ray.safe_json import read_json
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

is used as `axes: {format: [lines, "my_pkg.my_axes:ROWS"]}` in a sweep, and a whole axis, an `Axis` object, as
`axes: {"my_pkg.my_axes:TONE": [plain, polite]}`. Nothing is registered: a worker finds both by their names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from sde_ray.design.answer import ORDER, REASONING, UNMENTIONED
from sde_ray.design.base import Axis, Option
from sde_ray.design.data import DATA
from sde_ray.design.decoding import DECODING
from sde_ray.design.demonstrations import DEMONSTRATIONS
from sde_ray.design.format_code import CODE
from sde_ray.design.format_inline import INLINE, INLINE_XML
from sde_ray.design.format_json import JSON, PAIRS
from sde_ray.design.format_json_object import JSON_OBJECT
from sde_ray.design.format_terse import TERSE
from sde_ray.design.format_text import LINES, NATURAL
from sde_ray.design.format_tool_call import TOOL_CALL
from sde_ray.design.format_xml import XML
from sde_ray.design.format_yaml import YAML
from sde_ray.design.groups import NEGATIVES, SLOTS_PER_SAMPLE
from sde_ray.design.labels import LABELS
from sde_ray.design.prompt import DEFINITIONS, FORM_IN_PROMPT, INPUT_MODELING, INSTRUCTION, WORDINGS_IN_TRAINING
from sde_ray.design.training import TRAINING
from sde_ray.errors import UserError, unknown
from sde_ray.plugins import is_path, load_object

FORMAT = Axis(
    "format",
    default="natural",
    options={
        "natural": NATURAL,
        "lines": LINES,
        "json": JSON,
        "pairs": PAIRS,
        "json_object": JSON_OBJECT,
        "inline": INLINE,
        "inline_xml": INLINE_XML,
        "terse": TERSE,
        "tool_call": TOOL_CALL,
        "xml": XML,
        "yaml": YAML,
        "code": CODE,
    },
)

AXES: Mapping[str, Axis] = {
    axis.name: axis for axis in (INSTRUCTION, INPUT_MODELING, FORMAT, UNMENTIONED, LABELS, REASONING)
}

OPTIONAL: Mapping[str, Axis] = {
    axis.name: axis
    for axis in (
        FORM_IN_PROMPT,
        DEFINITIONS,
        WORDINGS_IN_TRAINING,
        ORDER,
        DEMONSTRATIONS,
        SLOTS_PER_SAMPLE,
        NEGATIVES,
        DECODING,
    )
}
"""Axes of a sample's form beyond the paper's: a design has one only where a sweep names it."""

CURATION: Mapping[str, Axis] = {axis.name: axis for axis in (*DATA, *TRAINING)}
"""The axes of the stages data and training: a design has one only where a sweep names it."""

ALL_AXES: Mapping[str, Axis] = {**AXES, **OPTIONAL, **CURATION}


def load_axis(path: str) -> Axis:
    """An axis of the user's own by import path, `pkg.module:NAME`; `UserError` where there is none."""
    return load_object(path, Axis, "an axis")


def find_axis(name: str) -> Axis:
    """Look up an axis: a name of the tables or an import path.

    Raises UserError: with the nearest name, when there is no such axis.
    """
    if name in ALL_AXES:
        return ALL_AXES[name]
    if is_path(name):
        return load_axis(name)
    raise UserError(unknown("axis", name, ALL_AXES))


def find_option(axis_name: str, name: str) -> Option:
    """Look up an option of an axis: a name of the table, a number, or an import path of one of the axis' stage.

    Raises UserError: with the nearest name, when there is no such axis or option.
    """
    axis = find_axis(axis_name)
    if name in axis.options:
        return axis.options[name]
    if is_path(name):
        kind: type[Any] = type(axis.options[axis.default])
        return cast(Option, load_object(name, kind, f"an option of {axis_name}"))
    option = axis.number_option(name)
    if option is not None:
        return option
    if axis.numbers:
        listed = "".join(f", or {other}" for other in axis.options if axis.numbers.read(other) is None)
        raise UserError(f'"{name}" is no option of {axis_name}. Expected {axis.numbers.expected}{listed}.')
    raise UserError(unknown(f"option of {axis_name}", name, axis.options))


def option_name(option: object) -> str:
    """Name of an option as in the table. YAML reads a bare `on` and `off` as booleans."""
    return {True: "on", False: "off"}[option] if isinstance(option, bool) else str(option)


def spell(axis_name: str, option: object) -> str:
    """The one spelling of an option in designs and keys. Raises UserError when there is no such axis."""
    return find_axis(axis_name).spell(option_name(option))


def is_neutral(axis_name: str, option: str) -> bool:
    """Whether the option leaves a trial as it is without the axis: the default of one that a design may lack."""
    axis = find_axis(axis_name)
    return axis.neutral_default and option == axis.default


def in_order(axes: Iterable[str]) -> list[str]:
    """Axes in the order of the tables, those of the user's own after them as they come."""
    places = {name: place for place, name in enumerate(ALL_AXES)}
    return sorted(dict.fromkeys(axes), key=lambda name: places.get(name, len(places)))


def without_neutral_options(options: Mapping[str, str]) -> dict[str, str]:
    """A design's options less the neutral ones: what decides a trial's outcome."""
    return {axis: option for axis, option in options.items() if not is_neutral(axis, option)}
