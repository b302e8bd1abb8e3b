"""The response surface behind effects and strategy: score = mean + options + pairs of options + noise.

In: rows of (design, score) and, where predictions were kept, how each score moves with each evaluated item.
Out: a `SurfaceFit` that predicts designs and gives 95% intervals for differences between them.

Options enter as orthonormal centred indicators with flat priors, pairs as their products with a common variance
(random effects), so a fraction of the designs still gives unbiased main effects and shrunken interactions. `mixed.py`
weighs what the variances of pairs, of lack of fit and of seeds may be, and adds the bootstrap of the items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations

import numpy as np
import numpy.typing as npt
from scipy import linalg

from sde_ray.analysis.estimate import Estimate
from sde_ray.analysis.mixed_model import design_means, fit_mixed_model
from sde_ray.types import Design

Array = npt.NDArray[np.float64]


@lru_cache(maxsize=64)
def _codes(count: int) -> Array:
    """Orthonormal centred codes of an axis' options, one column an option."""
    return np.asarray(linalg.helmert(count))


@dataclass(frozen=True)
class DesignCoding:
    """Designs as rows of numbers; `axes` are those with at least two options, `fixed` the others."""

    axes: tuple[tuple[str, tuple[str, ...]], ...]
    fixed: Mapping[str, str] = field(default_factory=dict)

    @property
    def num_free(self) -> int:
        """Columns that are estimated freely: the mean and the options."""
        return 1 + sum(len(options) - 1 for _, options in self.axes)

    def covers(self, design: Design) -> bool:
        """Were all options of this design tried?"""
        tried = {**dict(self.axes), **{a: (o,) for a, o in self.fixed.items()}}
        return all(option in tried.get(axis, ()) for axis, option in design.options)

    def row(self, design: Design) -> Array:
        parts = [_codes(len(options))[:, options.index(design[axis])] for axis, options in self.axes]
        pairs = [np.outer(a, b).ravel() for a, b in combinations(parts, 2)]
        return np.concatenate([np.ones(1), *parts, *pairs])

    def option_row(self, axis: str, option: str) -> Array:
        """The row of an option, averaged over all designs of the other axes."""
        row = np.zeros(len(self._zero()))
        start = 1
        for name, options in self.axes:
            if name == axis:
                row[start : start + len(options) - 1] = _codes(len(options))[:, options.index(option)]
            start += len(options) - 1
        row[0] = 1.0
        return row

    def pair_row(self, first: tuple[str, str], second: tuple[str, str]) -> Array:
        """The interaction part alone of two options of different axes."""
        parts = [
            _codes(len(options))[:, options.index(dict((first, second))[axis])]
            if axis in (first[0], second[0])
            else np.zeros(len(options) - 1)
            for axis, options in self.axes
        ]
        pairs = [np.outer(a, b).ravel() for a, b in combinations(parts, 2)]
        return np.concatenate([np.zeros(self.num_free), *pairs])

    def _zero(self) -> Array:
        return self.row(Design(tuple((axis, options[0]) for axis, options in self.axes)))


def make_coding(designs: Sequence[Design], orders: Mapping[str, Sequence[str]]) -> DesignCoding:
    """The axes and options that occur in `designs`, options in the given orders (else alphabetical)."""
    seen: dict[str, set[str]] = {}
    for design in designs:
        for axis, option in design.options:
            seen.setdefault(axis, set()).add(option)

    def ordered(axis: str) -> tuple[str, ...]:
        order = list(orders.get(axis, ()))
        return tuple(sorted(seen[axis], key=lambda option: (order.index(option) if option in order else 99, option)))

    swept = tuple((axis, ordered(axis)) for axis in seen if len(seen[axis]) > 1)
    return DesignCoding(swept, {axis: next(iter(options)) for axis, options in seen.items() if len(options) == 1})


@dataclass(frozen=True)
class SurfaceFit:
    """Coefficients with draws of what they may truly be; `noise` says in words what the intervals cover."""

    coding: DesignCoding
    coefficients: Array
    draws: Array | None
    noise: str
    pairs: bool
    null_space: Array

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
        return bool(np.all(np.abs(self.null_space @ row[: self.coding.num_free]) < 1e-6))

    def contrast(self, row: Array) -> Estimate:
        value = float(row @ self.coefficients)
        if self.draws is None or not self.separable(row):
            return Estimate(value)
        low, high = np.quantile(self.draws @ row, (0.025, 0.975))
        return Estimate(value, float(low), float(high))

    def simultaneous_intervals(self, rows: Sequence[Array]) -> list[Estimate]:
        """These contrasts with intervals that hold for all of them at once, so that the largest may be picked.

        Each is as many of its own standard errors wide as the largest of all errors is, 95 times in 100.
        """
        known = [n for n, row in enumerate(rows) if self.draws is not None and self.separable(row)]
        found = [Estimate(float(row @ self.coefficients)) for row in rows]
        if self.draws is None or not known:
            return found
        drawn = self.draws @ np.stack([rows[n] for n in known]).T
        error = drawn - drawn.mean(axis=0)
        deviation = error.std(axis=0)
        real = deviation > 1e-12
        times = float(np.quantile(np.abs(error[:, real] / deviation[real]).max(axis=1), 0.95)) if real.any() else 0.0
        for place, n in enumerate(known):
            width, middle = times * float(deviation[place]), float(drawn[:, place].mean())
            found[n] = Estimate(found[n].value, middle - width, middle + width)
        return found


def fit_surface(
    designs: Sequence[Design],
    scores: Sequence[float],
    orders: Mapping[str, Sequence[str]] | None = None,
    jackknife_influence: Array | None = None,
    seed: int = 0,
) -> SurfaceFit:
    """Fit the surface. `jackknife_influence[trial, item]`: change of a trial's score per unit of weight of an item."""
    coding = make_coding(designs, orders or {})
    unique = list(dict.fromkeys(designs))
    place = {design: n for n, design in enumerate(unique)}
    groups = np.array([place[design] for design in designs])
    rows = np.stack([coding.row(design) for design in unique])
    free = rows[:, : coding.num_free]
    rank = int(np.linalg.matrix_rank(free))
    pairs = rows.shape[1] > coding.num_free and len(unique) > rank
    means = design_means(groups, np.asarray(scores, dtype=float), jackknife_influence)
    found = fit_mixed_model(means, free, rows[:, coding.num_free :] if pairs else rows[:, :0], seed)
    left = np.zeros(rows.shape[1] - len(found.coefficients))
    draws = None if found.draws is None else np.hstack([found.draws, np.zeros((len(found.draws), len(left)))])
    null_space = linalg.null_space(free) if rank < coding.num_free else np.zeros((coding.num_free, 0))
    return SurfaceFit(coding, np.concatenate([found.coefficients, left]), draws, found.noise, pairs, null_space.T)
