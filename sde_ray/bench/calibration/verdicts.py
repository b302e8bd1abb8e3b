"""Error rates of final comparisons: of equal designs, after a sweep and its assembly, and looked at repeatedly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from sde_ray.analysis.effects import fit_results
from sde_ray.analysis.leaderboard import rank_designs
from sde_ray.analysis.looks import Look
from sde_ray.analysis.paired import SEEDS
from sde_ray.analysis.strategy import Strategy, assemble
from sde_ray.analysis.validation import judge_items
from sde_ray.analysis.verdict import ASSEMBLED, BEST_SEEN, BETTER, WORSE, Comparison, Verdict
from sde_ray.bench.calibration.cells import Cell, Sums, Tally, sweep_trials
from sde_ray.bench.worlds import (
    METRIC,
    RAW,
    SPACE,
    Noise,
    Observed,
    World,
    WorldKind,
    draw_world,
    observe,
    trial_of,
    with_noise,
)
from sde_ray.design.designs import NAMED
from sde_ray.types import Design, TrialResult

TEST_ITEMS = 150
FRESH = 1000  # seeds of the final comparison begin here
LEVEL = 0.65  # weighted kappa of designs that are all equal
ALL_EQUAL = 1.0  # the bounds of kappa cut off very unlucky seeds, which moves some true means by a thousandth
NOISY_CONTROL = "es-sde"
SWEEP = "24x2"  # whose replicates tell of the noise before a final comparison
UNEVEN = 0.017, 4.0  # seeds' sd of a contender, and how many times that of one of them is
DEVIATIONS = {"sd .026": 0.026, "sd .034": 0.034, "sd .051": 0.051}
BY_DESIGN, ASSEMBLED_NOISY, CONTROL_NOISY = "by design x2.2", "assembled 4x", "a control 4x"
FAILED, REPLICATES = "a failed trial", "sd .034, after a sweep"
KINDS = (*DEVIATIONS, REPLICATES, BY_DESIGN, ASSEMBLED_NOISY, CONTROL_NOISY, FAILED)


def forced(cell: Cell, random: np.random.Generator) -> Sums:
    """Count the claims of one final comparison of a design with controls that are exactly as good.

    `cell.world` says how noisy their seeds are, `cell.size` is their number.
    """
    contenders = _distinct(random)
    world = _equal_world(cell.world, contenders, random)
    fresh = _test(world, contenders, int(cell.size), random)
    if cell.world == FAILED:
        missing = trial_of(contenders[NOISY_CONTROL], FRESH + int(cell.size) - 1, TEST_ITEMS, "test").key
        fresh = replace(fresh, results=[result for result in fresh.results if result.key != missing])
    strategy = Strategy("masa:d1", "planted", contenders[ASSEMBLED], "", METRIC, 0.0)
    tally = Tally()
    swept = observe(world, sweep_trials(SWEEP, random), random).results if cell.world == REPLICATES else ()
    rows = _judged(strategy, contenders, fresh, range(int(cell.size)), swept).overall()
    _count(tally, rows, world, strategy.design, ALL_EQUAL)
    noisy = [row for row in rows if row.control == NOISY_CONTROL]
    if cell.world in (CONTROL_NOISY, FAILED):
        _count_intervals(tally, noisy, world, strategy.design, "that control's")
    return tally.sums


def looks(cell: Cell, random: np.random.Generator) -> Sums:
    """Count the claims of equal designs at any of several looks, each after more seeds; `cell.size` "2-3-5"."""
    contenders = _distinct(random)
    world = _equal_world(cell.world, contenders, random)
    numbers = [int(number) for number in cell.size.split("-")]
    fresh = _test(world, contenders, numbers[-1], random)
    strategy = Strategy("masa:d1", "planted", contenders[ASSEMBLED], "", METRIC, 0.0)
    claims: list[str] = []
    earlier: tuple[Look, ...] = ()
    for number in numbers:
        judged = _judged(strategy, contenders, fresh, range(number), earlier=earlier)
        claims += [row.claim for row in judged.overall()]
        earlier = judged.looks
    tally = Tally()
    tally.add("false better", BETTER in claims)
    tally.add("false worse", WORSE in claims)
    tally.add("either", BETTER in claims or WORSE in claims)
    return tally.sums


def verdict(cell: Cell, random: np.random.Generator) -> Sums:
    """Count the errors of one sweep with its assembly and its final comparison on as many fresh seeds."""
    world = draw_world(cell.world, random)
    trials = sweep_trials(cell.size, random)
    seen = observe(world, trials, random)
    fitted = fit_results(seen.results, METRIC, items=seen.items)
    strategy = assemble(seen.results, METRIC, items=seen.items)
    contenders = {
        ASSEMBLED: strategy.design,
        BEST_SEEN: rank_designs(seen.results, METRIC, fitted=fitted)[0].design,
        **{name: design for name, design in NAMED.items() if design in SPACE},
        "heuristic": SPACE[int(random.integers(len(SPACE)))],  # its format is not swept: any design takes its place
    }
    seeds = max(seed for _, seed in trials) + 1
    fresh = _test(world, contenders, seeds, random)
    tally = Tally()
    _count(tally, _judged(strategy, contenders, fresh, range(seeds), seen.results).overall(), world, strategy.design)
    tally.add("predicted too high by", strategy.predicted - world.truth(strategy.design))
    tally.add("regret", float(world.everything.max()) - world.truth(strategy.design))
    return tally.sums


def _distinct(random: np.random.Generator) -> dict[str, Design]:
    """Contenders that are six different designs."""
    named = {name: design for name, design in NAMED.items() if design in SPACE}
    others = [SPACE[n] for n in random.permutation(len(SPACE)) if SPACE[n] not in named.values()]
    return {ASSEMBLED: others[0], BEST_SEEN: others[1], **named, "heuristic": others[2]}


def _equal_world(kind: str, contenders: Mapping[str, Design], random: np.random.Generator) -> World:
    """All designs equal; on the raw scale, where noise moves no mean."""
    unequal = 2.2 if kind == BY_DESIGN else 1.0
    seed = UNEVEN[0] if kind in (ASSEMBLED_NOISY, CONTROL_NOISY) else DEVIATIONS.get(kind, DEVIATIONS["sd .034"])
    noise = Noise(seed=seed, unequal=unequal)
    world = draw_world(WorldKind("equal", mean=LEVEL, option=0.0, pair=0.0, scale=RAW, noise=noise), random)
    noisy = {ASSEMBLED_NOISY: ASSEMBLED, CONTROL_NOISY: NOISY_CONTROL}.get(kind)
    return with_noise(world, {contenders[noisy]: UNEVEN[1]}) if noisy else world


def _test(world: World, contenders: Mapping[str, Design], seeds: int, random: np.random.Generator) -> Observed:
    trials = [(design, FRESH + n) for design in dict.fromkeys(contenders.values()) for n in range(seeds)]
    return observe(world, trials, random, TEST_ITEMS, "test")


def _judged(
    strategy: Strategy,
    contenders: Mapping[str, Design],
    fresh: Observed,
    seeds: Sequence[int],
    swept: Sequence[TrialResult] = (),
    earlier: Sequence[Look] = (),
) -> Verdict:
    """The final comparison on these of the fresh seeds, after a sweep and the looks before."""
    trials = {
        name: [trial_of(design, FRESH + n, TEST_ITEMS, "test") for n in seeds] for name, design in contenders.items()
    }
    results = {result.key: result for result in fresh.results}
    return judge_items(strategy, trials, results, {"test": fresh.items}, swept, earlier)


def _count(tally: Tally, rows: Sequence[Comparison], world: World, assembled: Design, equal: float = 1e-3) -> None:
    """Count intervals that hold the true gain over a control, and claims that are false in the whole family.

    Designs whose true scores differ by less than `equal` count as equal.
    """
    gains = {row.control: world.truth(assembled) - world.truth(row.design) for row in rows}
    _count_intervals(tally, rows, world, assembled, "intervals")
    tally.add("false better", any(row.claim == BETTER and gains[row.control] < equal for row in rows))
    tally.add("false worse", any(row.claim == WORSE and gains[row.control] > -equal for row in rows))
    tally.add("true better", any(row.claim == BETTER and gains[row.control] >= equal for row in rows))


def _count_intervals(tally: Tally, rows: Sequence[Comparison], world: World, assembled: Design, name: str) -> None:
    """Count intervals that hold the true gain; those that hold the noise of items alone (one seed) apart."""
    for row in rows:
        if row.paired is not None and row.design != assembled:
            gain = world.truth(assembled) - world.truth(row.design)
            alone = "" if SEEDS in row.paired.noise else " of items alone"
            width = "width" if name == "intervals" and not alone else ""
            tally.hold(name + alone, row.paired.low, row.paired.high, gain, width)
