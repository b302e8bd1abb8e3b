"""Calibration after an adaptive search: trials were chosen by their scores, so luck is not spread evenly over them."""

from __future__ import annotations

import numpy as np

from sde_ray.analysis.effects import fit_results
from sde_ray.analysis.strategy import assemble
from sde_ray.bench.calibration.cells import Cell, Sums, Tally
from sde_ray.bench.calibration.intervals import count_effects
from sde_ray.bench.worlds import BASE, METRIC, SPACE, Observed, World, draw_world, observe
from sde_ray.config.schema import Search
from sde_ray.design.designs import parse_design
from sde_ray.metrics import metric_bounds
from sde_ray.search import METHODS
from sde_ray.types import Design

SEEDS = tuple(range(6))  # as many repetitions of a design as 22 trials will want


def adaptive(cell: Cell, random: np.random.Generator) -> Sums:
    """Count the intervals and the prediction of one adaptive search; `cell.size` is its number of trials."""
    world = draw_world(cell.world, random)
    seen, recommended = _search(world, int(cell.size), random)
    fitted = fit_results(seen.results, METRIC, items=seen.items)
    strategy = assemble(seen.results, METRIC, items=seen.items, recommended=recommended)
    tally = Tally()
    count_effects(tally, fitted, world, [])
    truth = world.truth(strategy.design)
    if strategy.design != BASE and fitted.covers(BASE):
        gain = fitted.difference(strategy.design, BASE)
        tally.hold("assembled - baseline", gain.low, gain.high, truth - world.truth(BASE), "width of that")
    tally.add("predicted too high by", strategy.predicted - truth)
    tally.add("regret", float(world.everything.max()) - truth)
    tally.add("trials", len(seen.results))
    return tally.sums


def _search(world: World, budget: int, random: np.random.Generator) -> tuple[Observed, list[tuple[Design, float]]]:
    """The trials of a search as a sweep runs it, and the designs that it recommends: the best and its near-ties."""
    trials = [(design, seed) for design in SPACE for seed in SEEDS]
    everything = observe(world, trials, random)
    number = {trial: n for n, trial in enumerate(trials)}
    defaults = Search()
    first = [parse_design(name) for name in defaults.points_to_evaluate]
    search = METHODS["adaptive"].build(
        [SPACE],
        seeds=SEEDS,
        rungs=(1.0,),
        budget=budget,
        seed=int(random.integers(2**31)),
        confidence=defaults.confidence,
        margin=defaults.margin,
        points_to_evaluate=[first[0], *first],  # the baseline twice, as a sweep has it
        bounds=metric_bounds(METRIC),
    )
    chosen = []
    while (request := search.suggest()) is not None:
        chosen.append(number[request.design, request.seed])
        search.report(request, 0, everything.scores[chosen[-1]])
        search.on_trial_end(request, 0)
    results = [everything.results[n] for n in chosen]
    items = {result.key: everything.items[result.key] for result in results}
    return Observed(results, items), search.near_ties()
