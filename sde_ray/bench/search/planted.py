"""Search methods compared on simulated response surfaces, drawn at random over the 216 designs.

    measure(surfaces=200, jobs=2)["paper"]["adaptive"][22]      -> {"mean_regret": ..., "within_0.01": ...}

Which kind of search `adaptive` is was chosen on other surfaces of the family "paper" (other seeds); its scales are
estimated from the scores of each search, so no constant of a family is in it. `truth.py` has further families, with
other tails, noise and rungs, that no choice was made on.
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
    "The kind of search was chosen on other surfaces of the family paper (other seeds); tails and noisy chose nothing."
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
