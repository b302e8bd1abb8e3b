"""Coverage of `savings`: the training size at which a design reaches what a control reaches at its largest size."""

from __future__ import annotations

import numpy as np

from sde_ray.analysis.paired import tabulate
from sde_ray.analysis.verdict import ASSEMBLED
from sde_ray.bench.calibration.cells import Cell, Sums, Tally
from sde_ray.bench.worlds import METRIC, RAW, SPACE, Noise, World, observe
from sde_ray.pipeline.robustness.learning_curve import reaches, savings

SIZES = (40, 80, 160)
CONTROL = "baseline"
RISE = 0.15  # mean gain in score of a doubled training size
LEAD = 0.13  # mean lead of the assembled design
SEED_SD = 0.04
ITEMS = 600  # so many that the noise of seeds is what counts
DRAWS = 1000


def sample_efficiency(cell: Cell, random: np.random.Generator) -> Sums:
    """Count the interval of one pair of learning curves; `cell.size` is the number of seeds."""
    seeds = range(int(cell.size))
    curves = {name: _curve(0.35 + lead, random) for name, lead in ((ASSEMBLED, LEAD), (CONTROL, 0.0))}
    designs = {ASSEMBLED: SPACE[0], CONTROL: SPACE[1]}
    values, counts = {}, {}
    items = int(random.integers(2**31))  # the same items for all sizes
    for n, size in enumerate(SIZES):
        levels = np.full(len(SPACE), 0.5)
        levels[:2] = curves[ASSEMBLED][n], curves[CONTROL][n]
        world = World(levels, np.full(len(SPACE), SEED_SD), Noise(), RAW)
        trials = [(design, seed) for design in designs.values() for seed in seeds]
        seen = observe(world, trials, np.random.default_rng([items, n]), ITEMS, "test")
        for (design, seed), result in zip(trials, seen.results, strict=True):
            name = next(name for name in designs if designs[name] == design)
            values[name, seed, size] = result.scores["test"][METRIC]
            counts[name, seed, size] = seen.items[result.key]
    table = tabulate(values, counts, designs, ASSEMBLED, DRAWS, SIZES)
    tally = Tally()
    truth = reaches(curves[ASSEMBLED], float(curves[CONTROL][-1]), SIZES)
    for row in savings(table, SIZES):
        tally.add("has an interval", row.low is not None)
        tally.hold("savings", row.low, row.high, truth)
    return tally.sums


def _curve(start: float, random: np.random.Generator) -> np.ndarray:
    """True scores at the sizes: they rise, by random steps."""
    steps = RISE * random.uniform(0.5, 1.5, len(SIZES) - 1)
    return np.concatenate([[start], start + np.cumsum(steps)])
