"""Coverage of a sweep's intervals: effects, differences of designs, interactions; claims where nothing is true.

Truth of an effect: the mean over all 216 designs; of trials that vary one axis at a time: within the design that they
vary. Truth of an interaction: the difference of differences of means over all designs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sde_ray.analysis.claims import BETTER, WORSE, effect_claim
from sde_ray.analysis.effects import effect_contrasts, fit_results, surface_effects, surface_interactions
from sde_ray.analysis.leaderboard import compare_best, rank_designs
from sde_ray.analysis.response_surface import SurfaceFit, simultaneous_intervals
from sde_ray.bench.calibration.cells import Cell, Sums, Tally, sweep_trials
from sde_ray.bench.worlds import BASE, METRIC, SPACE, World, draw_world, observe, one_at_a_time
from sde_ray.types import Design

DIFFERENCES = 10  # pairs of designs whose interval is checked in each sweep
WITH_INTERACTIONS = 1 / 3  # share of sweeps whose interactions are counted: they cost more than all else
LARGE, SMALL = 0.1, 0.03  # interactions: a size that must be found, and one that is as good as none


def intervals(cell: Cell, random: np.random.Generator) -> Sums:
    """Count the intervals of one sweep that hold the truth."""
    world, trials = draw_world(cell.world, random), sweep_trials(cell.size, random)
    seen = observe(world, trials, random)
    fitted = fit_results(seen.results, METRIC, items=seen.items)
    designs = list(dict.fromkeys(design for design, _ in trials))
    tally = Tally()
    within = len(designs) == len(one_at_a_time())
    count_effects(tally, fitted, world, designs, within)
    _count_differences(tally, fitted, world, designs, random, within)
    if not within and random.random() < WITH_INTERACTIONS:
        _count_interactions(tally, fitted, world)
    return tally.sums


def count_effects(
    tally: Tally, fitted: SurfaceFit, world: World, designs: Sequence[Design], within: bool = False
) -> None:
    """Count the effects' intervals, and how far estimates are drawn towards 0."""
    for effect in surface_effects(fitted, designs):
        truth = effect_truth(world, effect.axis, effect.option, effect.reference, within)
        tally.hold("effects", effect.low, effect.high, truth, "width of effects")
        tally.add("size of effects / truth", effect.difference * np.sign(truth), abs(truth))


def _count_differences(
    tally: Tally,
    fitted: SurfaceFit,
    world: World,
    designs: Sequence[Design],
    random: np.random.Generator,
    within: bool,
) -> None:
    """Count differences between designs: any two of all, two of those tried, the best predicted and the baseline."""
    for name, pool in (("any two designs", SPACE), ("two tried designs", designs)):
        for _ in range(DIFFERENCES if not within or pool is designs else 0):
            first, second = (pool[n] for n in random.choice(len(pool), 2, replace=False))
            if not (fitted.covers(first) and fitted.covers(second)):
                continue  # an option that few designs have may not be among them
            estimate = fitted.difference(first, second)
            truth = world.truth(first) - world.truth(second)
            tally.hold(name, estimate.low, estimate.high, truth, f"width of {name}")
    if within or not fitted.covers(BASE):
        return
    best = max((design for design in SPACE if fitted.covers(design)), key=fitted.predict)
    estimate, truth = fitted.difference(best, BASE), world.truth(best) - world.truth(BASE)
    tally.hold("best predicted - baseline", estimate.low, estimate.high, truth)
    tally.add("best predicted too high by", fitted.predict(best) - world.truth(best))


def _count_interactions(tally: Tally, fitted: SurfaceFit, world: World) -> None:
    for pair in surface_interactions(fitted):
        truth, estimate = pair_truth(world, pair.axes, pair.options, pair.references), pair.estimate
        clear = estimate.excludes_zero
        tally.hold("interactions", estimate.low, estimate.high, truth, "width of interactions")
        if abs(truth) > LARGE:
            tally.hold(f"interactions > {LARGE}", estimate.low, estimate.high, truth)
            tally.add(f"size / truth > {LARGE}", estimate.value * np.sign(truth), abs(truth))
            tally.add(f"clear > {LARGE}", clear)
            tally.add(f"clear in the family > {LARGE}", pair.clear)
        if abs(truth) < SMALL:
            tally.add(f"clear though < {SMALL}", clear)
            tally.add(f"clear in the family though < {SMALL}", pair.clear)


def effect_truth(world: World, axis: str, option: str, reference: str, within: bool = False) -> float:
    """The true main effect of an option against another: on average, or within the baseline."""
    if within:
        return world.truth(BASE.replace(**{axis: option})) - world.truth(BASE.replace(**{axis: reference}))
    return world.mean((axis, option)) - world.mean((axis, reference))


def pair_truth(world: World, axes: tuple[str, str], options: tuple[str, str], references: tuple[str, str]) -> float:
    """The true interaction of two options."""

    def mean(first: str, second: str) -> float:
        return world.mean((axes[0], first), (axes[1], second))

    (a, b), (c, d) = options, references
    return mean(a, b) - mean(a, d) - mean(c, b) + mean(c, d)


def equal_designs(cell: Cell, random: np.random.Generator) -> Sums:
    """Count the claims of one sweep of equal designs: all are false."""
    trials = sweep_trials(cell.size, random)
    if all(design != BASE for design, _ in trials):
        trials = [(BASE if design == trials[0][0] else design, seed) for design, seed in trials]
    seen = observe(draw_world(cell.world, random), trials, random)
    fitted = fit_results(seen.results, METRIC, items=seen.items)
    effects = surface_effects(fitted, [design for design, _ in trials])
    contrasts = effect_contrasts(fitted, [(effect.axis, effect.option, effect.reference) for effect in effects])
    families = simultaneous_intervals(contrasts)
    claims = [effect_claim(effect.estimate, family) for effect, family in zip(effects, families, strict=True)]
    best = compare_best(rank_designs(seen.results, METRIC, fitted=fitted), fitted)
    tally = Tally()
    tally.add("a design leads", best is not None and (best.estimate.low or 0.0) > 0)
    tally.add("an option is better or worse", any(claim in (BETTER, WORSE) for claim in claims))
    for effect in effects:
        tally.add("an effect's own interval is clear", effect.estimate.excludes_zero)
    return tally.sums
