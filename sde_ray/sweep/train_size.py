"""The axis `train_size` in a plan: how many samples `all` is, which sizes a task must have, what cannot go with it.

    sized_axes(config, task)          {"train_size": ["60", "240", "1500"], ...}     [60, 240, all] of 1,500 examples
    sized(design, task)               the same for a design that is listed

`train_sizes`, the list of a sweep, makes a study of each size: none is chosen, and the final comparison may be at other
sizes. As an axis the size is one of the choices: it has an effect, interacts, and is part of
the combination. A sweep has one or the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sde_ray.config.schema import SweepConfig
from sde_ray.design.axes import spell
from sde_ray.design.base import spell_number
from sde_ray.design.designs import SIZE
from sde_ray.design.space import DesignSpace
from sde_ray.errors import UserError
from sde_ray.types import Design, Task

ALL = "all"


def sized(design: Design, task: Task) -> Design:
    """The design with the number of the task's train examples for `all`."""
    return design.replace(**{SIZE: _number(task)}) if dict(design.options).get(SIZE) == ALL else design


def sized_axes(config: SweepConfig, task: Task) -> Mapping[str, Sequence[object]]:
    """The axes that the configuration lists, with that number for `all`."""
    if SIZE not in config.axes:
        return config.axes
    options = [_number(task) if spell(SIZE, option) == ALL else option for option in config.axes[SIZE]]
    return {**config.axes, SIZE: options}


def _number(task: Task) -> str:
    return spell_number(len(task.load("train")))


def sizes_of(config: SweepConfig, designs: Iterable[Design]) -> dict[int, str]:
    """The training sizes of a sweep's trials, each with the key that lists it."""
    named = {dict(design.options).get(SIZE) for design in designs} - {None, "configured"}
    if named:
        return {int(size): f"axes.{SIZE}" for size in sorted(filter(None, named), key=int)}
    return dict.fromkeys(config.train_sizes, "train_sizes")


def check_sizes(config: SweepConfig, spaces: Sequence[DesignSpace]) -> None:
    """Raises UserError: where a sweep has both the axis and a list of sizes."""
    if any(SIZE in space.axes for space in spaces) and len(config.train_sizes) > 1:
        raise UserError(
            f"train_sizes lists {', '.join(map(str, config.train_sizes))}, each a study of its own, and {SIZE} is an "
            f"axis, which compares sizes in one study. Keep one: axes: {{{SIZE}: [...]}} to have a size chosen, "
            "train_sizes to see what holds at each."
        )
