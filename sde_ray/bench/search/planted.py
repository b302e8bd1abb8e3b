"""Search methods compared on simulated response surfaces, drawn at random over the 216 designs.

    run_contest(world("paper", surfaces=200), ["adaptive", "optuna"])

No setting of a search was chosen on the surfaces that are reported: which kind of search `adaptive` is was chosen on
other surfaces of the family `paper`, and its settings on `TUNING` (other tails, noise, bounds and rungs).
"""

from __future__ import annotations

import zlib
from functools import cache, lru_cache, partial

from sde_ray.bench.search.contest import World
from sde_ray.bench.search.truth import FAMILIES, REPORTED, TUNED, TUNING, Truth
from sde_ray.design.axes import AXES
from sde_ray.design.space import design_space
from sde_ray.tasks import get_task
from sde_ray.types import Design

NOTE = (
    "Regret of the design chosen, in the metric's unit, against cost in full trials; surfaces over {designs} designs. "
    "No setting of a search was chosen on these surfaces; which kind of search adaptive is was chosen on others of the "
    "family paper."
)


def world(family: str, surfaces: int) -> World:
    """So many surfaces of a family; families of `TUNING` have seeds of their own."""
    first = TUNED if family in TUNING else REPORTED
    digest = zlib.crc32(repr({**FAMILIES, **TUNING}[family]).encode())
    return World(f"planted/{family}@{digest:08x}", partial(_draw, family), range(first, first + surfaces))


@cache
def designs() -> tuple[Design, ...]:
    """The 216 designs: all options of the paper."""
    assert len(AXES) == 6
    return design_space(get_task("masa:d1"), rationales=True).designs


@lru_cache(maxsize=1)
def _draw(family: str, seed: int) -> Truth:
    return {**FAMILIES, **TUNING}[family].draw(seed, designs())
