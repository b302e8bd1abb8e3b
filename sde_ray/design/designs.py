"""Designs, one option per axis: made, named, parsed and labelled.

make_design(instruction="first", format="lines")        the baseline with two other options
parse_design("es-sde"), parse_design("format=lines"), parse_design({"format": "lines"})
paper_label(NAMED["baseline"])                           "Inst-last, No-MI, Natural, PU, TxtLabel, No-CoT"
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sde_ray.design.axes import (
    AXES,
    find_axis,
    find_option,
    in_order,
    is_neutral,
    option_name,
    spell,
    without_neutral_options,
)
from sde_ray.errors import FaultList, UserError, suggest
from sde_ray.types import Design, TrialResult

SIZE = "train_size"


def make_design(**options: object) -> Design:
    """A design: the baseline with these options.

    Args:
        options: option by axis. An axis of the user's own is a further key:
            `make_design(**{"my_pkg.my_axes:TONE": "polite"})`.

    Raises UserError: with all unknown axes and options at once.
    """
    faults = FaultList("Design")
    chosen = {axis.name: axis.default for axis in AXES.values()}
    for axis, option in options.items():
        try:
            chosen[axis] = spell(axis, option)
            find_option(axis, chosen[axis])
        except UserError as error:
            faults.add(str(error))
    faults.raise_if_any()
    return Design(tuple((axis, chosen[axis]) for axis in in_order(chosen)))


def design_of(result: TrialResult) -> Design:
    """The design of a trial's result, its axes in the order of the table `AXES` (JSON may have sorted them)."""
    return make_design(**result.config["design"])


def essential(design: Design) -> Design:
    """What tells a design from others: without neutral options, and without nuisance axes."""
    return without_nuisance(Design(tuple(without_neutral_options(dict(design.options)).items())))


def without_nuisance(design: Design) -> Design:
    """The design less its nuisance axes: it trains as it is configured."""
    return Design(tuple((axis, option) for axis, option in design.options if not find_axis(axis).nuisance))


def without_amounts(design: Design) -> Design:
    """The design less the axes that are amounts, such as the training size: the baseline is one at any of them."""
    return Design(tuple((axis, option) for axis, option in design.options if not find_axis(axis).resource))


def at_amounts_of(design: Design, other: Design) -> Design:
    """The design at the amounts that another one has."""
    amounts = tuple((axis, option) for axis, option in other.options if find_axis(axis).resource)
    return Design((*without_amounts(design).options, *amounts))


def compared_size(design: Mapping[str, str], train_size: int) -> int:
    """The training size that a trial is compared within; 0 where it is an axis of the trial's design."""
    return train_size if is_neutral(SIZE, design.get(SIZE, find_axis(SIZE).default)) else 0


def completed(results: Sequence[TrialResult]) -> list[TrialResult]:
    """Results whose designs all have the same axes: one without an optional axis that others have is neutral there.

    A nuisance axis is its trial's own setting, where that is an option of another trial.
    """
    options: dict[str, set[str]] = {}
    for result in results:
        for axis, option in result.config["design"].items():
            if axis not in AXES and find_axis(axis).neutral_default:
                options.setdefault(axis, set()).add(option)
    if not options:
        return list(results)
    return [_with_axes(result, options) for result in results]


def _with_axes(result: TrialResult, options: Mapping[str, set[str]]) -> TrialResult:
    design = result.config["design"]
    missing = {axis: _implied(axis, tried, result.config) for axis, tried in options.items() if axis not in design}
    return replace(result, config={**result.config, "design": {**design, **missing}}) if missing else result


def _implied(axis_name: str, tried: set[str], config: Mapping[str, Any]) -> str:
    """The option of an axis that a trial's design does not have."""
    axis = find_axis(axis_name)
    section, _, name = axis.setting.rpartition(".")
    holder = config.get(section, {}) if section else config
    value = axis.spell(option_name(holder.get(name))) if axis.setting else ""
    return value if value in tried else axis.default


# Paper section 1.7: the empirically strong and weak combinations, and the heuristic of earlier work.
NAMED: Mapping[str, Design] = {
    "baseline": make_design(),
    "es-sde": make_design(instruction="first", format="lines"),
    "ew-sde": make_design(unmentioned="omit"),
    "heuristic": make_design(instruction="first", format="pairs", unmentioned="omit"),
}


def parse_design(design: str | Mapping[str, object] | Design) -> Design:
    """A design from its name, its slug (`axis=option,...`, the rest as in the baseline) or a mapping.

    Raises UserError: when there is no such name, axis or option.
    """
    if isinstance(design, Design):
        return design
    if isinstance(design, Mapping):
        return make_design(**{str(axis): option for axis, option in design.items()})
    if design in NAMED:
        return NAMED[design]
    pairs = [part.partition("=") for part in design.split(",")]
    if not all(equals for _, equals, _ in pairs):
        raise UserError(
            f'Unknown design "{design}".{suggest(design, NAMED)} Give one of {", ".join(NAMED)}, '
            'or options as in "format=lines,instruction=first".'
        )
    return make_design(**{axis.strip(): option.strip() for axis, _, option in pairs})


def paper_label(design: Design) -> str:
    """Label of a design in the paper's words: "Inst-first, No-MI, Lines, PU, TxtLabel, No-CoT".

    Of the axes of data and training it has those that are not neutral: "..., No-CoT, 4 epochs of 1/4".
    """
    return ", ".join(find_option(axis, option).label for axis, option in design.options if not is_neutral(axis, option))
