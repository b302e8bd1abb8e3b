"""Designs: one option per axis. Made, named, parsed, labelled, and enumerated as the space of a task.

make_design(instruction="first", format="lines")        the baseline with two other options
parse_design("es-sde"), parse_design("format=lines"), parse_design({"format": "lines"})
space(task, rationales=True).designs                   the 216 designs of a label task with rationales
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sde_ray.design.axes import AXES, find_axis, find_option
from sde_ray.errors import FaultList, UserError, suggest
from sde_ray.types import Design, Task


def make_design(**options: object) -> Design:
    """The baseline with these options; all unknown axes and options are told at once.

    An axis of the user's own is a further key: `make_design(**{"my_pkg.my_axes:TONE": "polite"})`.
    """
    faults = FaultList("Design")
    chosen = {axis.name: axis.default for axis in AXES.values()}
    for axis, option in options.items():
        chosen[axis] = option_name(option)
        try:
            find_option(axis, chosen[axis])
        except UserError as error:
            faults.add(str(error))
    faults.raise_if_any()
    return Design(tuple(chosen.items()))


def option_name(option: object) -> str:
    """An option as the table names it. YAML reads a bare `on` and `off` as truth values."""
    return {True: "on", False: "off"}[option] if isinstance(option, bool) else str(option)


# Paper section 1.7: the empirically strong and weak combinations, and the heuristic of earlier work.
NAMED: Mapping[str, Design] = {
    "baseline": make_design(),
    "es-sde": make_design(instruction="first", format="lines"),
    "ew-sde": make_design(unmentioned="omit"),
    "heuristic": make_design(instruction="first", format="pairs", unmentioned="omit"),
}


def parse_design(given: str | Mapping[str, object] | Design) -> Design:
    """A design from its name, its slug (`axis=option,...`, the rest as in the baseline) or a mapping."""
    if isinstance(given, Design):
        return given
    if isinstance(given, Mapping):
        return make_design(**{str(axis): option for axis, option in given.items()})
    if given in NAMED:
        return NAMED[given]
    pairs = [part.partition("=") for part in given.split(",")]
    if not all(equals for _, equals, _ in pairs):
        raise UserError(
            f'Unknown design "{given}".{suggest(given, NAMED)} Give one of {", ".join(NAMED)}, '
            'or options as in "format=lines,instruction=first".'
        )
    return make_design(**{axis.strip(): option.strip() for axis, _, option in pairs})


def paper_label(design: Design) -> str:
    """The paper's names: "Inst-first, No-MI, Lines, PU, TxtLabel, No-CoT"."""
    return ", ".join(find_option(axis, option).label for axis, option in design.options)


@dataclass(frozen=True)
class Space:
    """The designs that a sweep of a task may try. `pinned` says why an axis stands still."""

    designs: tuple[Design, ...]
    pinned: Mapping[str, str]
    axes: Mapping[str, tuple[str, ...]]


def space(
    task: Task,
    rationales: bool,
    axes: Mapping[str, Sequence[object]] | None = None,
) -> Space:
    """Every combination of the options of every axis that can change the task's samples.

    `axes` lists the options to try on some axes (of the user's own, too); an axis with one option is pinned to it. On
    the other axes all options of the table are tried, those apart that are not swept by default.
    """
    wanted = {axis: tuple(dict.fromkeys(map(option_name, options))) for axis, options in (axes or {}).items()}
    _check(wanted)
    pinned: dict[str, str] = {}
    chosen: dict[str, tuple[str, ...]] = {}
    for name in [*AXES, *(axis for axis in wanted if axis not in AXES)]:
        axis = find_axis(name)
        options = wanted.get(name) or tuple(key for key, option in axis.options.items() if option.swept)
        reason = axis.pinned(task, rationales)
        if reason:
            pinned[name], options = reason, (axis.default,)
        elif len(wanted.get(name, ())) == 1:
            pinned[name] = "fixed by the sweep"
        chosen[name] = options
    designs = tuple(Design(tuple(zip(chosen, options, strict=True))) for options in itertools.product(*chosen.values()))
    return Space(designs, pinned, chosen)


def _check(wanted: Mapping[str, tuple[str, ...]]) -> None:
    faults = FaultList("Designs")
    for axis, options in wanted.items():
        try:
            find_axis(axis)
        except UserError as error:
            faults.add(str(error))
            continue
        if not options:
            faults.add(f'Axis "{axis}" lists no option. Name at least one, or leave the axis out to try all.')
        for option in options:
            try:
                find_option(axis, option)
            except UserError as error:
                faults.add(str(error))
    faults.raise_if_any()
