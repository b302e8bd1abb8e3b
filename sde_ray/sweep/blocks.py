"""Blocks: a design's trials at every combination of the nuisance values, which a search takes as one.

    blocks(space.designs)     {format=lines: (format=lines,learning_rate=0.001, format=lines,learning_rate=0.006), ...}

A nuisance axis (learning rate, rank, epochs) is a test of robustness. A search that were free to choose its values
would look for the best one, and compare designs at different ones. So every method searches designs without these axes,
and sees of a design the mean over its block: a randomised complete block design (Fisher 1935), in which the values'
own effect cancels out of every comparison. What stops single trials leaves blocks incomplete and is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from sde_ray.config.schema import SweepConfig
from sde_ray.design.axes import find_axis
from sde_ray.design.designs import paper_label, without_nuisance
from sde_ray.design.space import DesignSpace
from sde_ray.errors import FaultList
from sde_ray.types import Design


def blocks(designs: Iterable[Design]) -> dict[Design, tuple[Design, ...]]:
    """The designs by what they are without their nuisance axes, in their order; each alone where there is no such."""
    grouped: dict[Design, list[Design]] = {}
    for design in designs:
        grouped.setdefault(without_nuisance(design), []).append(design)
    return {design: tuple(block) for design, block in grouped.items()}


def num_values(space: DesignSpace) -> int:
    """How many combinations of nuisance values each design of a space is trained at."""
    return max((len(block) for block in blocks(space.designs).values()), default=1)


def without_nuisance_axes(space: DesignSpace) -> DesignSpace:
    """The space that is searched."""
    axes = {axis: options for axis, options in space.axes.items() if not find_axis(axis).nuisance}
    return replace(space, designs=tuple(blocks(space.designs)), axes=axes)


def check_blocks(config: SweepConfig, spaces: Sequence[DesignSpace]) -> None:
    """Raises UserError: where designs would not all be seen at the same values of a nuisance axis."""
    axes = dict.fromkeys(axis for space in spaces for axis in space.axes if find_axis(axis).nuisance)
    if not axes:
        return
    named, faults = " and ".join(axes), FaultList("Nuisance axes")
    for key, set_here in {"search.asha": config.search.asha is not None, "search.racing": config.search.racing}.items():
        if set_here:
            faults.add(
                f"{key} stops trials one by one, so that a design would be seen at some values of {named} only, and "
                f"its mean over them would be of those it is good at. Leave out {key}, or {named} from the axes."
            )
    for pair in config.search.interactions:
        if both := [axis for axis in pair if axis in axes]:
            faults.add(
                f"search.interactions names {' and '.join(both)}: each design is trained at all its values, so that "
                "its interactions are estimated whatever is listed. Leave this pair out."
            )
    for space in spaces:
        values = {
            design: {tuple((axis, one[axis]) for axis, _ in one.options if find_axis(axis).nuisance) for one in block}
            for design, block in blocks(space.designs).items()
        }
        every = set().union(*values.values())
        for design, tried in values.items():
            if missing := sorted(every - tried):
                lacking = ", ".join(f"{axis}={option}" for axis, option in missing[0])
                faults.add(
                    f"designs lists {paper_label(design)} at other values of {named} than others: it lacks {lacking}. "
                    f"Designs are compared at the same values: list each one at all of them, or list none of {named} "
                    "here and the other axes' options in `axes`."
                )
                break
    faults.raise_if_any()
