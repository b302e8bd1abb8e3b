"""Calibration of confidence intervals and claims: coverage and error rates on simulated sweeps with a known truth.

    sde-ray bench search calibration --sweeps 150 --jobs 2

`coverage`: how often the nominal 95% intervals of effects, of interactions and of differences between two designs hold
the truth. `nothing`: worlds of equal designs, in which every claim is false: how often a design is said to lead, an
option to be better or worse, and how far assembly departs from the defaults. `verdict`: sweep, assembly and final
comparison in one, and how often a "better" is wrong; its row `forced` is the hardest case: equal designs, but an
assembled one that is none of the controls.

Every sweep is simulated down to single answers (`worlds.py`), so the bootstrap over items works on what it works on in
real sweeps: items that all trials have in common. Truth of an effect: the mean over all 216 designs; of trials that
vary one axis at a time: within the design that they vary. Each share comes with half its own 95% interval, over sweeps.

Pairs of options are shrunk towards 0. Where nothing interacts that is the truth, so their intervals hold it nearly
always: `null pairs`, which no bar is for. `interactions` counts all pairs of worlds in which a fifth of them interact;
`real pairs` is that fifth alone, the price of shrinking: the interval is right over all pairs, not over the largest.
One trial a design, one axis at a time, has no row of intervals: its noise of training cannot be estimated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt

from sde_ray.analysis.claims import BETTER, WORSE, effect_claim
from sde_ray.analysis.effects import effect_contrasts, surface_effects, surface_interactions
from sde_ray.analysis.estimate import Estimate
from sde_ray.analysis.leaderboard import compare_best, rank_designs
from sde_ray.analysis.response_surface import SurfaceFit, fit_response_surface
from sde_ray.analysis.strategy import Strategy, assemble
from sde_ray.analysis.validation import judge_items
from sde_ray.analysis.verdict import ASSEMBLED, BEST_SEEN
from sde_ray.bench.worlds import BASE, METRIC, SPACE, World, draw_world, observe, one_at_a_time, outcomes
from sde_ray.design.axes import AXES
from sde_ray.design.designs import NAMED
from sde_ray.types import Design

ORDERS = {axis: tuple(row.options) for axis, row in AXES.items()}
DIFFERENCES = 10  # pairs of designs whose interval is checked in each sweep
TEST_ITEMS = 300
FRESH = 1000  # seeds of the final comparison begin here
HALF_WIDTH_SUFFIX = " +/-"
MIN_INTERACTION = (
    1e-3  # less than this is no interaction; worlds are cut off at their bounds, which moves truths a little
)
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """A kind of sweep: how many designs (10: one axis at a time, 216: all), seeds each, and do options interact?"""

    designs: int
    seeds: int
    interactions: bool

    def draw(self, random: np.random.Generator) -> list[Design]:
        """The designs of one such sweep."""
        if self.designs == len(one_at_a_time()):
            return one_at_a_time()
        return [SPACE[n] for n in random.permutation(len(SPACE))[: self.designs]]

    @property
    def within(self) -> bool:
        """Does an effect mean: within the baseline?"""
        return self.designs == len(one_at_a_time())


SIZES = ((10, 2), (10, 3), (10, 5), (24, 1), (24, 2), (24, 3), (40, 2), (216, 2))
SETTINGS = tuple(Setting(designs, seeds, interactions) for interactions in (False, True) for designs, seeds in SIZES)


def measure(
    sweeps: int = 150, jobs: int = 2, seed: int = 0, settings: Sequence[Setting] = SETTINGS
) -> dict[str, list[dict[str, Any]]]:
    """Simulate and count: the tables `coverage`, `nothing`, `verdict` and `forced`, a row a setting.

    Args:
        sweeps: how many are simulated for each row.
        jobs: processes.
        seed: the same seed gives the same numbers.
        settings: the kinds of sweeps.
    """
    equal = [setting for setting in settings if not setting.interactions]
    with ProcessPoolExecutor(jobs) as pool:

        def rows(count: Callable[[Setting, int], dict[str, float]], kinds: Sequence[Setting]) -> list[dict[str, Any]]:
            table = []
            for setting in kinds:
                numbers = [seed * 1_000_003 + n for n in range(sweeps)]
                counted = list(pool.map(partial(count, setting), numbers, chunksize=max(1, sweeps // (8 * jobs))))
                table.append({**asdict(setting), "sweeps": sweeps, **_means(counted)})
            return table

        return {
            "coverage": rows(coverage, settings),
            "nothing": rows(false_claims, equal),
            "verdict": rows(verdict_errors, settings),
            "forced": rows(equal_controls, [s for s in equal if s.designs == equal[0].designs]),
        }


def _means(counted: Sequence[dict[str, float]]) -> dict[str, float]:
    """The mean of each number over the sweeps that have it, each followed by half its own 95% interval."""
    means: dict[str, float] = {}
    for name in dict.fromkeys(name for numbers in counted for name in numbers):
        values = np.array([numbers[name] for numbers in counted if name in numbers])
        means |= {name: round(float(values.mean()), 4), name + HALF_WIDTH_SUFFIX: round(_error(values), 4)}
    return means


def _error(values: Array) -> float:
    """Half the 95% interval of a mean; of shares by Agresti and Coull, so that none in 100 is not "never"."""
    count = len(values)
    if np.isin(values, (0.0, 1.0)).all():
        share = (float(values.sum()) + 2) / (count + 4)
        return 1.96 * math.sqrt(share * (1 - share) / (count + 4))
    return 1.96 * float(values.std(ddof=1)) / math.sqrt(count) if count > 1 else 1.0


def _random(setting: Setting, number: int) -> np.random.Generator:
    return np.random.default_rng([number, setting.designs, setting.seeds, setting.interactions])


def _fitted(setting: Setting, world: World, designs: Sequence[Design], random: np.random.Generator) -> SurfaceFit:
    right = outcomes(world, designs, setting.seeds, random)
    jackknife_influence = (right - right.mean(axis=1, keepdims=True)) / right.shape[1]
    trials = [design for design in designs for _ in range(setting.seeds)]
    return fit_response_surface(trials, right.mean(axis=1).tolist(), ORDERS, jackknife_influence)


# ---- intervals -----------------------------------------------------------------------------------------------------


def coverage(setting: Setting, number: int) -> dict[str, float]:
    """Coverage: the share of the intervals of one sweep that hold the truth, and their mean width."""
    random = _random(setting, number)
    world, designs = draw_world(random, setting.interactions), setting.draw(random)
    fitted = _fitted(setting, world, designs, random)
    inside: dict[str, list[bool]] = {}
    effects = surface_effects(fitted, designs)
    for effect in effects:
        truth = effect_truth(world, effect.axis, effect.option, effect.reference, setting.within)
        _hold(inside, "effects", effect.estimate, truth)
    for pair in surface_interactions(fitted):
        truth = pair_truth(world, pair.axes, pair.options, pair.references)
        kinds = ["interactions"] if setting.interactions else ["null pairs"]
        for kind in kinds + (["real pairs"] if abs(truth) > MIN_INTERACTION and setting.interactions else []):
            _hold(inside, kind, pair.estimate, truth)
    compared = designs if setting.within else SPACE
    for _ in range(DIFFERENCES):
        first, second = (compared[n] for n in random.choice(len(compared), 2, replace=False))
        _hold(inside, "differences", fitted.difference(first, second), world.truth(first) - world.truth(second))
    widths = [effect.high - effect.low for effect in effects if effect.low is not None and effect.high is not None]
    return {name: fmean(held) for name, held in inside.items()} | ({"width": fmean(widths)} if widths else {})


def _hold(inside: dict[str, list[bool]], name: str, estimate: Estimate, truth: float) -> None:
    if estimate.low is not None and estimate.high is not None:
        inside.setdefault(name, []).append(estimate.low <= truth <= estimate.high)


def effect_truth(world: World, axis: str, option: str, reference: str, within: bool) -> float:
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


# ---- claims where nothing is true ----------------------------------------------------------------------------------


def equal_world() -> World:
    """Every design as good as any other."""
    return draw_world(np.random.default_rng(0), interactions=False, spread=0.0)


def false_claims(setting: Setting, number: int) -> dict[str, float]:
    """False claims: what one sweep of equal designs claims."""
    random = _random(setting, number)
    designs = setting.draw(random)
    designs = designs if BASE in designs else [BASE, *designs[1:]]
    seen = observe(equal_world(), designs, range(setting.seeds), random)
    scores = [result.scores["dev"][METRIC] for result in seen.results]
    jackknife_influence = np.stack(
        [(items.parts[0].rows[:, 0] - s) / 200 for items, s in zip(seen.items.values(), scores, strict=True)]
    )
    fitted = fit_response_surface([trial.design for trial in seen.trials], scores, ORDERS, jackknife_influence)
    effects = surface_effects(fitted, designs)
    contrasts = effect_contrasts(fitted, [(effect.axis, effect.option, effect.reference) for effect in effects])
    simultaneous = fitted.simultaneous_intervals(contrasts)
    claims = [effect_claim(effect.estimate, wide) for effect, wide in zip(effects, simultaneous, strict=True)]
    best = compare_best(rank_designs(seen.results, METRIC), fitted)
    return {
        "a design leads": float(best is not None and (best.estimate.low or 0.0) > 0),
        "an option matters": float(any(claim in (BETTER, WORSE) for claim in claims)),
        "an interval is clear": fmean(effect.estimate.excludes_zero for effect in effects),
    }


# ---- the verdict ---------------------------------------------------------------------------------------------------


def verdict_errors(setting: Setting, number: int) -> dict[str, float]:
    """Sweep, assembly and final comparison: is a claim about the assembled design wrong?"""
    random = _random(setting, number)
    world = draw_world(random, setting.interactions)
    seen = observe(world, setting.draw(random), range(setting.seeds), random)
    strategy = assemble(seen.results, METRIC, items=seen.items)
    controls = {BEST_SEEN: rank_designs(seen.results, METRIC)[0].design, **_named(random)}
    return _judged(setting, world, strategy, controls, random) | {
        "regret": max(world.scores.values()) - world.truth(strategy.design)
    }


def equal_controls(setting: Setting, number: int) -> dict[str, float]:
    """The final comparison of a design with controls that are exactly as good, and all others than it."""
    random = _random(setting, number)
    strategy = Strategy("masa:d1", "planted", SPACE[-1], "", METRIC, 0.0)
    return _judged(setting, equal_world(), strategy, {BEST_SEEN: SPACE[1], **_named(random)}, random)


def _named(random: np.random.Generator) -> dict[str, Design]:
    """The controls of a final comparison; the heuristic's format is not swept, so any design takes its place."""
    named = {name: design for name, design in NAMED.items() if design in SPACE}
    return named | {"heuristic": SPACE[int(random.integers(len(SPACE)))]}


def _judged(
    setting: Setting, world: World, strategy: Strategy, controls: dict[str, Design], random: np.random.Generator
) -> dict[str, float]:
    contenders = {ASSEMBLED: strategy.design, **controls}
    distinct = list(dict.fromkeys(contenders.values()))
    seeds = range(FRESH, FRESH + setting.seeds)
    fresh = observe(world, distinct, seeds, random, TEST_ITEMS, "test")
    trials = {name: [t for t in fresh.trials if t.design == design] for name, design in contenders.items()}
    results = {result.key: result for result in fresh.results}
    comparisons = judge_items(strategy, trials, results, {"test": fresh.items}).overall()
    assembled_truth = world.truth(strategy.design)
    gains = [(row, assembled_truth - world.truth(row.design)) for row in comparisons if row.paired is not None]
    held = [
        row.paired.low <= gain <= row.paired.high
        for row, gain in gains
        if row.paired is not None and row.paired.low is not None and row.paired.high is not None
    ]
    return {
        "wrong better": float(any(row.claim == "better" and gain <= 0 for row, gain in gains)),
        "wrong worse": float(any(row.claim == "worse" and gain >= 0 for row, gain in gains)),
        "right better": float(any(row.claim == "better" and gain > 0 for row, gain in gains)),
        **({"intervals": fmean(held)} if held else {}),
    }
