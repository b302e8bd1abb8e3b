"""The design space of a task: which designs a sweep may try, and which axes are pinned.

design_space(get_task("masa:d1"), rationales=True).designs      the 216 designs of a label task with rationales
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sde_ray.design.axes import AXES, find_axis, find_option, in_order, option_name, spell
from sde_ray.errors import FaultList, UserError
from sde_ray.types import Design, Task


@dataclass(frozen=True)
class DesignSpace:
    """Search space of a task: the valid designs, the options of each axis, and the axes that are not searched.

    `pinned` gives, by axis, the reason why only one option of it is tried; `dropped`, by "axis=option", why one that
    was asked for, or designs so named, are not.
    """

    designs: tuple[Design, ...]
    pinned: Mapping[str, str]
    axes: Mapping[str, tuple[str, ...]]
    dropped: Mapping[str, str] = field(default_factory=dict)


def design_space(
    task: Task,
    rationales: bool,
    axes: Mapping[str, Sequence[object]] | None = None,
) -> DesignSpace:
    """Search space of a task: every combination of the options of every axis that can change its samples.

    Args:
        task: the task; an axis that cannot change its samples is pinned at its default.
        rationales: whether the examples have rationales.
        axes: the options to try on some axes, axes of the user's own included; an axis with one option is pinned to
            it. On all others every option of the table is tried that is swept by default.

    Raises UserError: with all unknown axes and options at once.
    """
    requested = {axis: tuple(map(option_name, options)) for axis, options in (axes or {}).items()}
    _check(requested)
    requested = {axis: tuple(dict.fromkeys(spell(axis, o) for o in options)) for axis, options in requested.items()}
    pinned: dict[str, str] = {}
    chosen: dict[str, tuple[str, ...]] = {}
    dropped: dict[str, str] = {}
    for name in in_order([*AXES, *requested]):
        axis = find_axis(name)
        options = requested.get(name) or tuple(key for key, option in axis.options.items() if option.swept)
        reason = axis.pinned(task, rationales)
        impossible = {option: why for option in options if (why := why_not(name, option, task))} if not reason else {}
        dropped |= {f"{name}={option}": why for option, why in impossible.items()}
        options = tuple(option for option in options if option not in impossible)
        if not options:
            reason = "; ".join(dict.fromkeys(impossible.values()))
        if reason:
            pinned[name], options = reason, (axis.default,)
        elif len(options) == 1 and len(requested.get(name, ())) >= 1:
            pinned[name] = "fixed by the sweep"
        chosen[name] = options
    products = [Design(tuple(zip(chosen, options, strict=True))) for options in itertools.product(*chosen.values())]
    designs = tuple(dict.fromkeys(map(without_doublets, products)))
    if len(designs) < len(products):
        kind = " with instruction=none" if "negatives" not in chosen else ""
        what = f"{len(products) - len(designs)} designs{kind}"
        why = "what they differ in stands in the instruction" if kind else "what they differ in has no effect in them"
        dropped[what] = f"they make the same samples as others: {why}"
    return DesignSpace(designs, pinned, chosen, dropped)


def design_for(task: Task, design: Design) -> Design:
    """The design as another task can have it: an axis or an option that it cannot have stands at the axis' default."""
    rationales = task.has_rationales
    rows = [(axis, option, find_axis(axis)) for axis, option in design.options]
    return Design(
        tuple(
            (axis, row.default if row.pinned(task, rationales) or why_not(axis, option, task) else option)
            for axis, option, row in rows
        )
    )


def without_doublets(design: Design) -> Design:
    """The design that stands for all with its samples: without an instruction, what varies that is at its default."""
    if dict(design.options).get("slots_per_sample", "all") == "all" and "negatives" in dict(design.options):
        design = design.replace(negatives="1")  # a share of the groups, of which there is one
    if design["instruction"] != "none":
        return design
    rows = ((axis, option, find_axis(axis)) for axis, option in design.options)
    return Design(tuple((axis, row.default if row.of_instruction else option) for axis, option, row in rows))


def why_not(axis: str, option: str, task: Task) -> str:
    """The reason why a task cannot have an option, or "" where it can."""
    applies = getattr(find_option(axis, option), "applies", None)
    return applies(task) if applies else ""


def _check(requested: Mapping[str, tuple[str, ...]]) -> None:
    faults = FaultList("Designs")
    for axis, options in requested.items():
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
