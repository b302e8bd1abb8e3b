"""Trials that the mixed model is fitted to: designs and seeds, the columns of all effects, and what items explain.

trials = Trials(groups, free, pairs, seeds, jackknife_influence)
columns, component = effect_columns(trials)         [trials, columns]; pairs, seeds, seeds x options, options
item_variance(trials)                               ItemVariance(trial=0.0004, design=0.0001)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
COMPONENTS = ("noise", "design", "pairs", "seed", "seed x option")


@dataclass(frozen=True)
class Trials:
    """What the model is fitted to, trial by trial.

    `groups`: index of each trial's design [trials]. `free`: fixed-effect columns of each design, the mean first
    [designs, num_free]. `pairs`: random-effect columns of each design [designs, pairs]. `seeds`: index of each trial's
    seed [trials], None where each trial has its own. `jackknife_influence`: how each score moves with each item
    [trials, items]; None where items are not shared.
    """

    groups: npt.NDArray[np.intp]
    free: Array
    pairs: Array
    seeds: npt.NDArray[np.intp] | None = None
    jackknife_influence: Array | None = None

    @cached_property
    def counts(self) -> Array:
        """Trials of each design."""
        return np.bincount(self.groups, minlength=len(self.free)).astype(float)

    @cached_property
    def basis(self) -> Array:
        """Orthonormal basis of the row space: combinations of the free columns that the designs tell apart."""
        _, singular_values, rows = np.linalg.svd(self.free, full_matrices=False)
        return np.asarray(rows[singular_values > 1e-9 * singular_values.max()].T)

    @property
    def spare(self) -> int:
        """Designs beyond those that the options need."""
        return len(self.free) - self.basis.shape[1]

    @property
    def freedom(self) -> int:
        """Trials beyond the first of each design."""
        return len(self.groups) - len(self.free)

    @property
    def estimable(self) -> bool:
        """Can the noise of training be estimated?"""
        return self.freedom > 0 or self.spare > 0

    def by_design(self, values: Array) -> Array:
        """Sums of rows by trial [trials, ...] within designs [designs, ...]."""
        sums = np.zeros((len(self.free), *values.shape[1:]))
        np.add.at(sums, self.groups, values)
        return sums


@dataclass(frozen=True)
class ItemVariance:
    """The part of the variance of trials within designs, and of designs beside their options, that items explain."""

    trial: float = 0.0
    design: float = 0.0


def item_variance(trials: Trials) -> ItemVariance:
    """Item variance from the influence: medians over designs, as a few at a bound would dominate a mean."""
    influence = trials.jackknife_influence
    if influence is None:
        return ItemVariance()
    means = trials.by_design(influence) / trials.counts[:, None]
    within = trials.by_design(((influence - means[trials.groups]) ** 2).sum(axis=1))
    several = trials.counts > 1
    trial = float(np.median(within[several] / (trials.counts[several] - 1))) if several.any() else 0.0
    if not trials.spare:
        return ItemVariance(trial, 0.0)
    columns = trials.free @ trials.basis
    rest = means - columns @ np.linalg.lstsq(columns, means, rcond=None)[0]
    between = float(np.median((rest**2).sum(axis=1))) * len(means) / trials.spare
    return ItemVariance(trial, max(between - trial * float((1 / trials.counts).mean()), 0.0))


def effect_columns(trials: Trials) -> tuple[Array, npt.NDArray[np.intp]]:
    """Columns of all effects but the designs' deviations [trials, columns], and the component of each; fixed: -1."""
    blocks, components = [trials.pairs[trials.groups]], [np.full(trials.pairs.shape[1], COMPONENTS.index("pairs"))]
    if trials.seeds is not None:
        indicators = np.eye(int(trials.seeds.max()) + 1)[trials.seeds]
        blocks.append(indicators)
        components.append(np.full(indicators.shape[1], COMPONENTS.index("seed")))
        if trials.spare:  # else what a seed does to an option is what it does to a design: noise
            options = trials.free[trials.groups, 1:]
            crossed = np.einsum("ts,to->tso", indicators, options).reshape(len(options), -1)
            blocks.append(crossed)
            components.append(np.full(crossed.shape[1], COMPONENTS.index("seed x option")))
    basis = (trials.free @ trials.basis)[trials.groups]
    return np.column_stack([*blocks, basis]), np.concatenate([*components, np.full(basis.shape[1], -1)])
