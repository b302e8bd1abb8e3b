"""Response surface behind effects and strategy: score = mean + options + pairs of options + noise.

In: rows of (design, score) and, where predictions were kept, the jackknife influence of each item on each score.
Out: a `SurfaceFit` that predicts designs and gives 95% confidence intervals for contrasts between them.

Options enter as orthonormal centred indicators (main effects) with flat priors, pairs as their products with a common
variance (random effects), so a fraction of the designs still gives unbiased main effects, and interactions with
shrinkage. `mixed_model.py` averages over the variances of pairs, of lack of fit and of seeds, and adds the bootstrap of
the items.
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
    """Helmert contrasts [options - 1, options]: orthonormal centred codes, one column an option."""
    return np.asarray(linalg.helmert(count))


@dataclass(frozen=True)
class DesignCoding:
    """Model matrix of designs: main effects and interactions. `axes` have at least two options, `fixed` are the others.

    Every row has the columns mean, options (`num_free` with the mean), pairs of options.
    """

    axes: tuple[tuple[str, tuple[str, ...]], ...]
    fixed: Mapping[str, str] = field(default_factory=dict)

    @property
    def num_free(self) -> int:
        """Number of fixed-effect columns: the mean and the options."""
        return 1 + sum(len(options) - 1 for _, options in self.axes)

    def covers(self, design: Design) -> bool:
        """Were all options of this design tried?"""
        tried = {**dict(self.axes), **{a: (o,) for a, o in self.fixed.items()}}
        return all(option in tried.get(axis, ()) for axis, option in design.options)

    def row(self, design: Design) -> Array:
        """The row of a design [columns]."""
        parts = [_codes(len(options))[:, options.index(design[axis])] for axis, options in self.axes]
        pairs = [np.outer(a, b).ravel() for a, b in combinations(parts, 2)]
        return np.concatenate([np.ones(1), *parts, *pairs])

    def option_row(self, axis: str, option: str) -> Array:
        """The marginal row of an option [columns], averaged over all designs of the other axes."""
        row = np.zeros(len(self._zero()))
        start = 1
        for name, options in self.axes:
            if name == axis:
                row[start : start + len(options) - 1] = _codes(len(options))[:, options.index(option)]
            start += len(options) - 1
        row[0] = 1.0
        return row

    def pair_row(self, first: tuple[str, str], second: tuple[str, str]) -> Array:
        """The interaction row of two options of different axes [columns], without their main effects."""
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
    """Coding of the axes and options that occur in `designs`, options in the given orders (else alphabetical)."""
    options_by_axis: dict[str, set[str]] = {}
    for design in designs:
        for axis, option in design.options:
            options_by_axis.setdefault(axis, set()).add(option)

    def ordered(axis: str) -> tuple[str, ...]:
        order = list(orders.get(axis, ()))
        return tuple(
            sorted(options_by_axis[axis], key=lambda option: (order.index(option) if option in order else 99, option))
        )

    swept = tuple((axis, ordered(axis)) for axis, options in options_by_axis.items() if len(options) > 1)
    fixed = {axis: next(iter(options)) for axis, options in options_by_axis.items() if len(options) == 1}
    return DesignCoding(swept, fixed)


@dataclass(frozen=True)
class SurfaceFit:
    """A fitted response surface: coefficients [columns] with posterior draws [draws, columns].

    `noise` says in words what the confidence intervals cover. `pairs`: interactions were fitted. `null_space`: the
    combinations of main effects that the designs leave confounded.
    """

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
        """The expected difference between two designs with its 95% confidence interval."""
        return self.contrast(self.coding.row(better) - self.coding.row(worse))

    def separable(self, row: Array) -> bool:
        """Is this contrast estimable, or are its options confounded (aliased) with others?"""
        return bool(np.all(np.abs(self.null_space @ row[: self.coding.num_free]) < 1e-6))

    def contrast(self, row: Array) -> Estimate:
        """A linear contrast with its pointwise 95% interval; without one where it is not estimable."""
        value = float(row @ self.coefficients)
        if self.draws is None or not self.separable(row):
            return Estimate(value)
        low, high = np.quantile(self.draws @ row, (0.025, 0.975))
        return Estimate(value, float(low), float(high))

    def simultaneous_intervals(self, rows: Sequence[Array]) -> list[Estimate]:
        """Simultaneous 95% confidence intervals (max-t): they hold for all contrasts, so the largest may be picked.

        Each is as many of its own standard errors wide as the largest of all errors is, 95 times in 100.

        Args:
            rows: the family of contrasts, each [columns].

        Returns:
            The estimates in the order of the rows; those that are not estimable have no interval.
        """
        estimable = [n for n, row in enumerate(rows) if self.draws is not None and self.separable(row)]
        estimates = [Estimate(float(row @ self.coefficients)) for row in rows]
        if self.draws is None or not estimable:
            return estimates
        values = self.draws @ np.stack([rows[n] for n in estimable]).T
        error = values - values.mean(axis=0)
        deviation = error.std(axis=0)
        uncertain = deviation > 1e-12
        largest = np.abs(error[:, uncertain] / deviation[uncertain]).max(axis=1) if uncertain.any() else np.zeros(1)
        critical = float(np.quantile(largest, 0.95))
        for column, n in enumerate(estimable):
            half_width, centre = critical * float(deviation[column]), float(values[:, column].mean())
            estimates[n] = Estimate(estimates[n].value, centre - half_width, centre + half_width)
        return estimates


def fit_response_surface(
    designs: Sequence[Design],
    scores: Sequence[float],
    orders: Mapping[str, Sequence[str]] | None = None,
    jackknife_influence: Array | None = None,
    seed: int = 0,
) -> SurfaceFit:
    """Fit the response surface of trials.

    Args:
        designs: the design of each trial.
        scores: the score of each trial, in units of the metric.
        orders: the options of each axis in their order; others follow alphabetically.
        jackknife_influence: change of a trial's score per unit of weight of an item [trials, items]; None where trials
            were not scored on the same items: then intervals hold the noise of training alone.
        seed: of the posterior draws.
    """
    coding = make_coding(designs, orders or {})
    unique = list(dict.fromkeys(designs))
    index = {design: n for n, design in enumerate(unique)}
    groups = np.array([index[design] for design in designs])
    rows = np.stack([coding.row(design) for design in unique])
    free = rows[:, : coding.num_free]
    rank = int(np.linalg.matrix_rank(free))
    pairs = rows.shape[1] > coding.num_free and len(unique) > rank
    means = design_means(groups, np.asarray(scores, dtype=float), jackknife_influence)
    model = fit_mixed_model(means, free, rows[:, coding.num_free :] if pairs else rows[:, :0], seed)
    no_pairs = np.zeros(rows.shape[1] - len(model.coefficients))
    draws = None if model.draws is None else np.hstack([model.draws, np.zeros((len(model.draws), len(no_pairs)))])
    null_space = linalg.null_space(free) if rank < coding.num_free else np.zeros((coding.num_free, 0))
    coefficients = np.concatenate([model.coefficients, no_pairs])
    return SurfaceFit(coding, coefficients, draws, model.noise, pairs, null_space.T)
