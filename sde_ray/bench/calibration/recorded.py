"""Coverage on recorded trials: is the observed difference of a held-out seed inside the interval of the other seeds?

The surface is fitted on the first two seeds of all designs, and the third of two designs says what their difference is.
An interval of a true difference need not hold an observed one, which has the noise of one more seed. So two shares are
given: `inside` the interval itself, and inside one that is widened by the noise of the held-out seed at this level of
score (`with its noise`). Pairs are formed within random groups of designs, which makes groups independent.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations

import numpy as np

from sde_ray.analysis.effects import fit_results
from sde_ray.analysis.response_surface import SurfaceFit
from sde_ray.bench.calibration.cells import Cell, Sums, Tally
from sde_ray.bench.tables.table import load
from sde_ray.bench.worlds import METRIC, trial_of
from sde_ray.types import Design, TrialResult

TABLE = "masa_d1"
FITTED = (0, 1)  # seeds that are fitted
HELD_OUT = 2
GROUPS = 12
NEIGHBOURS = 30  # designs of similar score whose seeds tell the noise at a level
POOLS = {"random": (0.0, 1.0), "ceiling": (0.75, 1.0), "middle": (0.25, 0.75)}


def held_out_seed(cell: Cell, number: int, seed: int) -> Sums:
    """Count the pairs of designs of one group; `cell.size` says how high their scores are: random, ceiling, middle."""
    fitted, scores = _fitted()
    means = {design: (by_seed[0] + by_seed[1]) / 2 for design, by_seed in scores.items()}
    low, high = np.quantile(list(means.values()), POOLS[cell.size])
    pool = [design for design, by_seed in scores.items() if HELD_OUT in by_seed and low <= means[design] <= high]
    order = np.random.default_rng(seed).permutation(len(pool))
    group = [pool[n] for n in order[number % GROUPS :: GROUPS]]
    tally = Tally()
    for first, second in combinations(group, 2):
        observed = scores[first][HELD_OUT] - scores[second][HELD_OUT]
        estimate = fitted.difference(first, second)
        if estimate.low is None or estimate.high is None:
            continue
        tally.hold("inside", estimate.low, estimate.high, observed, "width")
        noise = 1.96**2 * (_noise(means[first]) + _noise(means[second]))
        low_side = estimate.value - np.hypot(estimate.value - estimate.low, noise**0.5)
        high_side = estimate.value + np.hypot(estimate.high - estimate.value, noise**0.5)
        tally.hold("with its noise", float(low_side), float(high_side), observed)
    return tally.sums


@lru_cache(maxsize=1)
def _fitted() -> tuple[SurfaceFit, dict[Design, dict[int, float]]]:
    """The surface of the fitted seeds, and all scores by design and seed."""
    scores = load(TABLE).scores()
    results = []
    for design in sorted(scores):
        for seed in FITTED:
            trial = trial_of(design, seed)
            score = {"dev": {METRIC: scores[design][seed]}}
            results.append(TrialResult(trial.key, trial.resolved(), "finished", score))
    return fit_results(results, METRIC), scores


@lru_cache(maxsize=1000)
def _noise(level: float) -> float:
    """The variance of a trial between seeds, among designs of similar score."""
    _, scores = _fitted()
    pairs = np.array([[by_seed[seed] for seed in FITTED] for by_seed in scores.values()])
    nearest = np.argsort(np.abs(pairs.mean(axis=1) - level))[:NEIGHBOURS]
    return float(pairs[nearest].var(axis=1, ddof=1).mean())
