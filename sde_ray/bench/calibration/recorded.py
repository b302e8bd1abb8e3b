"""Coverage on recorded trials: is the observed difference of a held-out seed inside the interval of the other seeds?

The surface is fitted on all seeds of a table but one, and that one says what the difference of two designs is; every
seed is held out in turn. An interval of a true difference need not hold an observed one, which has the noise of one
more seed. So three shares are given: `inside` the interval itself, inside one that is widened by the noise of the
held-out seed at this level of score (`with its noise`), and inside the surface's own `prediction interval`. Pairs are
formed within random groups of designs, which makes groups independent.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations

import numpy as np

from sde_ray.analysis.effects import fit_results
from sde_ray.analysis.response_surface import SurfaceFit
from sde_ray.bench import tables
from sde_ray.bench.calibration.cells import Cell, Sums, Tally, Z
from sde_ray.bench.tables.table import whole_tables
from sde_ray.bench.worlds import trial_of
from sde_ray.types import Design, TrialResult

GROUPS = 12
MIN_SEEDS = 3  # two that are fitted, one that is held out
NEIGHBOURS = 30  # designs of similar score whose seeds tell the noise at a level
POOLS = {"random": (0.0, 1.0), "ceiling": (0.75, 1.0), "middle": (0.25, 0.75)}  # by quantiles of the fitted scores


def tables_with_seeds() -> tuple[str, ...]:
    """The recorded tables that have so many seeds of each design."""
    return tuple(name for name in whole_tables() if len(_shared_seeds(name)) >= MIN_SEEDS)


def held_out_seed(cell: Cell, number: int, seed: int) -> Sums:
    """Count the pairs of designs of one group; `cell.size` says how high their scores are: random, ceiling, middle."""
    tally = Tally()
    for held_out in _shared_seeds(cell.world):
        fit = _fit(cell.world, held_out)
        for first, second in combinations(_group(fit, cell.size, number, seed), 2):
            _count(tally, fit, first, second)
    return tally.sums


class _Fit:
    """A surface fitted without one seed: means of the fitted seeds, scores of the held-out one, noise by level."""

    def __init__(self, name: str, held_out: int) -> None:
        table, seeds = tables.load(name), [seed for seed in _shared_seeds(name) if seed != held_out]
        scores = table.scores()
        self.fitted = _fitted(table.objective, scores, seeds)
        self.held_out = {design: by_seed[held_out] for design, by_seed in scores.items()}
        by_design = {design: np.array([by_seed[seed] for seed in seeds]) for design, by_seed in sorted(scores.items())}
        self.means = {design: float(values.mean()) for design, values in by_design.items()}
        means, variances = np.array(list(self.means.values())), [v.var(ddof=1) for v in by_design.values()]
        self.noise = {
            design: float(np.mean(np.array(variances)[np.argsort(np.abs(means - mean))[:NEIGHBOURS]]))
            for design, mean in self.means.items()
        }


def _fitted(metric: str, scores: dict[Design, dict[int, float]], seeds: list[int]) -> SurfaceFit:
    results = []
    for design in sorted(scores):
        for seed in seeds:
            trial = trial_of(design, seed)
            score = {"dev": {metric: scores[design][seed]}}
            results.append(TrialResult(trial.key, trial.resolved(), "finished", score))
    return fit_results(results, metric)


def _group(fit: _Fit, pool: str, number: int, seed: int) -> list[Design]:
    """One of the groups into which the designs of a pool are divided at random."""
    low, high = np.quantile(list(fit.means.values()), POOLS[pool])
    chosen = [design for design, mean in fit.means.items() if low <= mean <= high]
    order = np.random.default_rng(seed).permutation(len(chosen))
    return [chosen[n] for n in order[number % GROUPS :: GROUPS]]


def _count(tally: Tally, fit: _Fit, first: Design, second: Design) -> None:
    observed = fit.held_out[first] - fit.held_out[second]
    estimate = fit.fitted.difference(first, second)
    if estimate.low is None or estimate.high is None:
        return
    tally.hold("inside", estimate.low, estimate.high, observed, "width")
    noise = Z * (fit.noise[first] + fit.noise[second]) ** 0.5
    low = estimate.value - float(np.hypot(estimate.value - estimate.low, noise))
    high = estimate.value + float(np.hypot(estimate.high - estimate.value, noise))
    tally.hold("with its noise", low, high, observed)
    predicted = fit.fitted.observed_difference(first, second)
    tally.hold("prediction interval", predicted.low, predicted.high, observed, "its width")


@lru_cache
def _fit(name: str, held_out: int) -> _Fit:
    return _Fit(name, held_out)


@lru_cache
def _shared_seeds(name: str) -> tuple[int, ...]:
    """The seeds that all designs of a table have."""
    return tuple(sorted(set.intersection(*(set(seeds) for seeds in tables.load(name).scores().values()))))
