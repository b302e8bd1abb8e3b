"""Search methods compared on simulated response surfaces, drawn at random over the 216 designs.

    measure(surfaces=200, jobs=2)["paper"]["adaptive"][22]      -> {"mean_regret": ..., "within_0.01": ...}

Every family that is reported has surfaces that no setting of a search was chosen on; `TUNING` has others to choose on
(other tails, noise, bounds and rungs).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from sde_ray.bench.search.contest import COSTS, RegretTable, run_contest
from sde_ray.bench.search.contestants import CONTESTANTS
from sde_ray.bench.search.truth import FAMILIES, REPORTED, TUNED, TUNING, Truth
from sde_ray.design.axes import AXES
from sde_ray.design.space import design_space
from sde_ray.tasks import get_task
from sde_ray.types import Design

NOTE = (
    "Regret of the design chosen, in the metric's unit, against cost in full trials; surfaces over {designs} designs. "
    "No setting of a search was chosen on these surfaces."
)


def measure(
    families: Sequence[str] = tuple(FAMILIES),
    methods: Sequence[str] = tuple(CONTESTANTS),
    surfaces: int = 200,
    costs: Sequence[int] = COSTS,
    jobs: int = 1,
    on_progress: Callable[[], None] = lambda: None,
) -> dict[str, RegretTable]:
    """family -> method -> cost -> mean_regret, within_0.01, standard_error."""
    return {
        name: run_contest(
            partial(_draw, name),
            range(TUNED if name in TUNING else REPORTED, (TUNED if name in TUNING else REPORTED) + surfaces),
            methods,
            costs,
            jobs,
            on_progress,
        )
        for name in families
    }


def designs() -> tuple[Design, ...]:
    """The 216 designs: all options of the paper."""
    assert len(AXES) == 6
    return design_space(get_task("masa:d1"), rationales=True).designs


def _draw(family: str, seed: int) -> Truth:
    return {**FAMILIES, **TUNING}[family].draw(seed, designs())
