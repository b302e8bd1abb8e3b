"""The response surface behind effects and strategy: score = mean + options + pairs of options + noise.

In: rows of (design, score) and, where predictions were kept, how each score moves with each evaluated item.
Out: a `Fit` that predicts designs and gives 95% intervals for differences between them.

Options enter as orthonormal centred indicators with flat priors, pairs as their products with a common variance
(random effects), so a fraction of the designs still gives unbiased main effects and shrunken interactions. The ratio of
interaction to noise is not known: it is averaged over a grid, weighted by the restricted likelihood (REML, Patterson
and Thompson 1971) and a half-Cauchy prior. Noise comes from resampling, stratified: deviations of seeds within a
design, lack of fit between designs, and items (the same draw of items for every trial, since all trials share them).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy import linalg, stats

from sde_ray.types import Design

Array = npt.NDArray[np.float64]
DRAWS = 2000
RATIOS = np.logspace(-1.5, 1.2, 14)  # interaction sd / noise sd


@dataclass(frozen=True)
class Estimate:
    """A value with its 95% interval; None: the trials at hand cannot estimate their noise."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def clear(self) -> bool:
        """The interval is known and does not hold 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Coding:
    """Designs as rows of numbers; `axes` are those with at least two options, `fixed` the others."""

    axes: tuple[tuple[str, tuple[str, ...]], ...]
    fixed: Mapping[str, str] = field(default_factory=dict)

    @property
    def mains(self) -> int:
        """Columns that are estimated freely: the mean and the options."""
        return 1 + sum(len(options) - 1 for _, options in self.axes)

    def covers(self, design: Design) -> bool:
        """Were all options of this design tried?"""
        tried = {**dict(self.axes), **{a: (o,) for a, o in self.fixed.items()}}
        return all(option in tried.get(axis, ()) for axis, option in design.options)

    def row(self, design: Design) -> Array:
        parts = [linalg.helmert(len(options))[:, options.index(design[axis])] for axis, options in self.axes]
        pairs = [np.outer(a, b).ravel() for a, b in combinations(parts, 2)]
        return np.concatenate([np.ones(1), *parts, *pairs])

    def option_row(self, axis: str, option: str) -> Array:
        """The row of an option, averaged over all designs of the other axes."""
        row = np.zeros(len(self._zero()))
        start = 1
        for name, options in self.axes:
            if name == axis:
                row[start : start + len(options) - 1] = linalg.helmert(len(options))[:, options.index(option)]
            start += len(options) - 1
        row[0] = 1.0
        return row

    def pair_row(self, first: tuple[str, str], second: tuple[str, str]) -> Array:
        """The interaction part alone of two options of different axes."""
        parts = [
            linalg.helmert(len(options))[:, options.index(dict((first, second))[axis])]
            if axis in (first[0], second[0])
            else np.zeros(len(options) - 1)
            for axis, options in self.axes
        ]
        pairs = [np.outer(a, b).ravel() for a, b in combinations(parts, 2)]
        return np.concatenate([np.zeros(self.mains), *pairs])

    def _zero(self) -> Array:
        return self.row(Design(tuple((axis, options[0]) for axis, options in self.axes)))


def coding_of(designs: Sequence[Design], orders: Mapping[str, Sequence[str]]) -> Coding:
    """The axes and options that occur in `designs`, options in the given orders (else alphabetical)."""
    seen: dict[str, set[str]] = {}
    for design in designs:
        for axis, option in design.options:
            seen.setdefault(axis, set()).add(option)

    def ordered(axis: str) -> tuple[str, ...]:
        order = list(orders.get(axis, ()))
        return tuple(sorted(seen[axis], key=lambda option: (order.index(option) if option in order else 99, option)))

    swept = tuple((axis, ordered(axis)) for axis in seen if len(seen[axis]) > 1)
    return Coding(swept, {axis: next(iter(options)) for axis, options in seen.items() if len(options) == 1})


@dataclass(frozen=True)
class Fit:
    """Coefficients with draws of what they may truly be; `noise` says in words what the intervals cover."""

    coding: Coding
    coefficients: Array
    draws: Array | None
    noise: str
    pairs: bool
    blind: Array

    def covers(self, design: Design) -> bool:
        return self.coding.covers(design)

    def predict(self, design: Design) -> float:
        """The expected score of a design whose options were all tried."""
        assert self.covers(design), f"{design.slug} has an option that no trial used"
        return float(self.coding.row(design) @ self.coefficients)

    def difference(self, better: Design, worse: Design) -> Estimate:
        return self.contrast(self.coding.row(better) - self.coding.row(worse))

    def separable(self, row: Array) -> bool:
        """Do the trials tell this contrast apart from others, or are options confounded?"""
        return bool(np.all(np.abs(self.blind @ row[: self.coding.mains]) < 1e-6))

    def contrast(self, row: Array) -> Estimate:
        value = float(row @ self.coefficients)
        if self.draws is None or not self.separable(row):
            return Estimate(value)
        low, high = np.quantile(self.draws @ row, (0.025, 0.975))
        return Estimate(value, float(low), float(high))


def fit(
    designs: Sequence[Design],
    scores: Sequence[float],
    orders: Mapping[str, Sequence[str]] | None = None,
    influence: Array | None = None,
    seed: int = 0,
) -> Fit:
    """Fit the surface. `influence[trial, item]`: change of a trial's score per unit of weight of an item."""
    coding = coding_of(designs, orders or {})
    rows = np.stack([coding.row(design) for design in designs])
    y = np.asarray(scores, dtype=float)
    groups = np.unique([design.slug for design in designs], return_inverse=True)[1]
    free = rows[:, : coding.mains]
    rank = int(np.linalg.matrix_rank(free))
    pairs = rows.shape[1] > coding.mains and int(groups.max()) + 1 > rank
    ratios = RATIOS if pairs else np.zeros(1)
    solutions = [_solve(rows, y, coding.mains, ratio, rank) for ratio in ratios]
    logs = np.array([s.evidence for s in solutions]) + np.log([r / (1 + r * r) if r else 1.0 for r in ratios])
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    coefficients = np.sum([w * s.coefficients for w, s in zip(weights, solutions, strict=True)], axis=0)
    random = np.random.default_rng(seed)
    counts = random.multinomial(DRAWS, weights)
    drawn, seeds_known = [], False
    for solution, count in zip(solutions, counts, strict=True):
        noise = _noise(rows, y, groups, solution, rank, int(count), random)
        seeds_known = seeds_known or noise is not None
        error = np.zeros((count, len(y))) if noise is None else noise * _own(rows, solution, noise, influence, rank)
        drawn.append(_truths(rows, coding.mains, solution, error, influence, random))
    known = [name for name, there in (("seeds", seeds_known), ("items", influence is not None)) if there]
    blind = linalg.null_space(free) if rank < coding.mains else np.zeros((coding.mains, 0))
    draws = np.concatenate(drawn) if known else None
    return Fit(coding, coefficients, draws, " and ".join(known) or "nothing", pairs, blind.T)


@dataclass(frozen=True)
class _Solution:
    """The least-squares solution at one ratio of interaction to noise."""

    coefficients: Array
    inverse: Array
    evidence: float
    tau: float


def _solve(rows: Array, y: Array, mains: int, ratio: float, rank: int) -> _Solution:
    """Henderson's mixed model equations; ratio 0 leaves the pairs out."""
    columns = rows.shape[1]
    used = columns if ratio else mains
    part = rows[:, :used]
    penalty = np.zeros(used)
    penalty[mains:] = 1 / ratio**2 if ratio else 0.0
    values, vectors = np.linalg.eigh(part.T @ part + np.diag(penalty))
    real = values > 1e-9 * values.max()
    small = (vectors[:, real] / values[real]) @ vectors[:, real].T
    coefficients = np.zeros(columns)
    coefficients[:used] = small @ (part.T @ y)
    inverse = np.zeros((columns, columns))
    inverse[:used, :used] = small
    rest = max(float(y @ (y - rows @ coefficients)), 1e-12)
    freedom = len(y) - rank
    logdet = float(np.log(values[real]).sum()) + 2 * (used - mains) * (np.log(ratio) if ratio else 0.0)
    evidence = -0.5 * (logdet + freedom * np.log(rest))
    tau = ratio * np.sqrt(rest / freedom) * _widened(freedom) if ratio and freedom > 0 else 0.0
    return _Solution(coefficients, inverse, evidence, float(tau))


def _noise(
    rows: Array, y: Array, groups: npt.NDArray[np.intp], solution: _Solution, rank: int, count: int,
    random: np.random.Generator,
) -> Array | None:  # fmt: skip
    """Resampled trial noise [count, trials]: seeds within designs, lack of fit between them; None: not estimable."""
    sizes = np.bincount(groups)
    residual = y - rows @ solution.coefficients
    mean = np.bincount(groups, residual) / sizes
    several = sizes[groups] > 1
    within = ((residual - mean[groups]) * np.sqrt(sizes / np.maximum(sizes - 1, 1))[groups])[several]
    between = _between(rows, solution, groups, mean, sizes) if len(sizes) > rank else np.zeros(0)
    if not len(within) and not len(between):
        return None
    freedom = len(y) - rank
    if len(within):
        of_seeds = float(np.sum((residual - mean[groups]) ** 2) / np.sum(sizes - 1))
        spread = float(np.mean(between**2)) if len(between) else 0.0
        excess = max(0.0, spread - of_seeds * float(np.mean(1 / sizes)))
        between = between * np.sqrt(excess / spread) if excess else np.zeros(0)
        freedom = len(sizes) - rank if excess else int(np.sum(sizes - 1))
    error = np.zeros((count, len(y)))
    if len(within):
        error += random.choice(within, (count, len(y)))
    if len(between):
        error += random.choice(between, (count, len(sizes)))[:, groups]
    return np.asarray(error * _widened(freedom))


def _widened(freedom: int) -> float:
    """How much wider a 95% interval must be because its noise is itself estimated (Student against normal)."""
    return float(stats.t.ppf(0.975, max(freedom, 1)) / stats.norm.ppf(0.975))


def _between(
    rows: Array, solution: _Solution, groups: npt.NDArray[np.intp], mean: Array, sizes: npt.NDArray[np.intp]
) -> Array:
    """Mean residuals of the designs, freed from what the fit took of them (leverage); where nothing is left, none."""
    _, first = np.unique(groups, return_index=True)
    leverage = sizes * np.einsum("ij,jk,ik->i", rows[first], solution.inverse, rows[first])
    left = 1 - leverage > 1e-3
    pool = mean[left] / np.sqrt(1 - leverage[left])
    return np.asarray(pool - pool.mean()) if left.any() else np.zeros(0)


def _own(rows: Array, solution: _Solution, noise: Array, influence: Array | None, rank: int) -> float:
    """The share of the trials' noise (as a factor) that the items' draws do not bring already.

    A trial's own luck on single items is in its residual and in the bootstrap of the items; it counts once.
    """
    freedom = len(rows) - rank
    if influence is None or freedom < 1 or not noise.size or not noise.any():
        return 1.0
    apart = influence - rows @ (solution.inverse @ (rows.T @ influence))
    counted = float((apart**2).sum()) / freedom
    return float(np.sqrt(max(1 - counted / float(noise.var()), 0.25)))


def _truths(
    rows: Array, mains: int, solution: _Solution, error: Array, influence: Array | None, random: np.random.Generator
) -> Array:
    """Draws of the true coefficients: the estimate minus its simulated error."""
    count, columns = len(error), rows.shape[1]
    truth = random.normal(0.0, solution.tau, (count, columns)) if solution.tau else np.zeros((count, columns))
    truth[:, :mains] = 0.0
    observed = error + truth @ rows.T
    if influence is not None:
        items = influence.shape[1]
        observed += (random.multinomial(items, np.full(items, 1 / items), count) - 1.0) @ influence.T
    return np.asarray(solution.coefficients - (observed @ rows @ solution.inverse - truth))
