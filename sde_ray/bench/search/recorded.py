"""Search methods compared on recorded tables: real designs of real tasks, trained on the embedded base.

    run_contest(world("masa_d1", "fresh", replications=100), ["adaptive", "optuna"], costs("masa_d1"))

Two protocols, neither of which rewards a search for luck that the truth shares:

fresh      the truth is the denoised table (`denoised.py`), and every trial's noise is drawn anew
held_out   of each design one seed, drawn at random, is what the chosen design is judged by, and no search sees it; the
           other seeds are its trials. No model is involved, but the noise of a single score is. Regret is counted from
           the best value of the denoised table, a constant, so that it can fall below 0

A table has no scores at rungs, so every trial is a full one and nothing can be stopped early.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache, partial

import numpy as np

from sde_ray.bench.search.contest import COSTS, World
from sde_ray.bench.search.denoised import denoise
from sde_ray.bench.search.truth import Truth
from sde_ray.bench.tables.table import TABLES, load, whole_tables
from sde_ray.errors import UserError
from sde_ray.metrics import metric_bounds

FRESH, HELD_OUT = PROTOCOLS = ("fresh", "held_out")
FULL_SPACE = 216  # designs that `COSTS` are meant for


def world(table: str, protocol: str, replications: int) -> World:
    """So many searches of a table under a protocol. Raises UserError where the table has too few designs or seeds."""
    if table in TABLES and not TABLES[table].whole:
        raise UserError(
            f"The table {table} holds chosen designs only, so there is nothing to search. Take one of all designs: "
            f"{', '.join(whole_tables())}."
        )
    draw = {FRESH: _draw_fresh, HELD_OUT: _draw_held_out}[protocol]
    draw(table, 0)  # what a table lacks is said before processes start
    digest = zlib.crc32(repr(load(table)).encode())
    return World(f"recorded/{table}/{protocol}@{digest:08x}", partial(draw, table), range(replications))


def costs(table: str) -> tuple[int, ...]:
    """Costs in full trials, in proportion to the number of designs: a twentieth, a tenth, a fifth and more."""
    return scaled(COSTS, len(load(table).scores()))


def scaled(costs: Sequence[int], designs: int) -> tuple[int, ...]:
    """Costs meant for all 216 designs, for a space of so many."""
    return tuple(dict.fromkeys(max(1, round(cost * designs / FULL_SPACE)) for cost in costs))


def note(table: str) -> str:
    """What the truth of a table is, in words."""
    truth, scores = denoise(load(table)), load(table).scores()
    seeds = [len(by_seed) for by_seed in scores.values()]
    near = int((truth.values >= truth.values.max() - 0.01).sum())
    return (
        f"{table}: {len(seeds)} designs, {min(seeds)} to {max(seeds)} seeds each; modelled on the {truth.scale.name} "
        f"scale. Denoised best {truth.values.max():.3f}, median {np.median(truth.values):.3f}; {near} designs within "
        f"0.01 of the best. Standard error of a difference between two of the best 20: {truth.difference_error:.4f}."
    )


@lru_cache(maxsize=1)
def _draw_fresh(table: str, seed: int) -> Truth:
    truth = denoise(load(table))
    noise = truth.draw(np.random.default_rng(seed)) - truth.values
    bounds = metric_bounds(load(table).objective)
    return Truth(truth.designs, truth.values, np.zeros((1, len(noise[0]))), noise, rungs=(1.0,), bounds=bounds)


@lru_cache(maxsize=1)
def _draw_held_out(table: str, seed: int) -> Truth:
    truth, scores = denoise(load(table)), load(table).scores()
    fewest = min(map(len, scores.values()))
    if fewest < 2:
        raise UserError(
            f"Designs of {table} have a single seed, so none can be held out. Record a second one, or use {FRESH}."
        )
    random = np.random.default_rng(seed)
    rows = np.array([random.permutation(list(scores[design].values()))[:fewest] for design in truth.designs]).T
    return Truth(
        truth.designs,
        rows[0],
        np.zeros((1, len(truth.designs))),
        rows[1:] - rows[0],
        rungs=(1.0,),
        bounds=metric_bounds(load(table).objective),
        reference=float(truth.values.max()),
    )
