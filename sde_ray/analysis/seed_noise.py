"""Standard deviation of scores over training seeds: a hierarchical model of contenders that have a few seeds each.

    draws = draw_seed_sd(scores, scale)           scores [contenders, seeds] -> posterior draws [draws, contenders]
    draw_seed_sd(scores, scale, replicates)       with what the sweep's own replicates tell of the noise

Two or three seeds cannot show how noisy one contender is, but six contenders together can, as far as they are alike:

    score = mean of the contender + luck of the seed (the same for all) + noise,     noise ~ N(0, sd²)
    log sd = level - log slope of the scale at the contender's mean + deviation

A deviation is one of two kinds: of a contender like the others, N(0, heterogeneity²), or of one that may be several
times as noisy, or as quiet, N(0, `OUTLIER_SD`²). Even odds for both let a contender with some seeds be judged by its
own, at the price of intervals that are a little wide where all are alike; one with a single seed, which cannot be
judged, is an outlier of a milder kind more rarely. Level and heterogeneity are averaged over a
grid, flat and half-Cauchy, as the scores weigh them. The slope is that of the scale which fits the metric, as scores
near a bound cannot vary as much as in the middle. The luck of a seed has a flat prior, is drawn in turn with the rest
(Gibbs sampling), and cancels in a paired difference.

Replicates of the sweep are further contenders, on other items and in other trainings; so together they count no more
than `MAX_FREEDOM` degrees of freedom (a power likelihood), whatever their number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from sde_ray.search.scale import Scale
from sde_ray.types import Design

Array = npt.NDArray[np.float64]
CHAINS, BURN_IN, KEPT = 100, 6, 10  # Gibbs sampling: parallel chains, and their iterations
MAX_FREEDOM = 6.0  # degrees of freedom that a sweep's replicates count, at most
STEP = 0.25  # of the grids of log standard deviations
LEVELS = np.arange(-3.0, 3.01, STEP)
DEVIATIONS = np.arange(-7.0, 7.01, STEP)
HETEROGENEITY = np.array([0.15, 0.25, 0.4, 0.7, 1.1])
HETEROGENEITY_SCALE = 0.15  # of its half-Cauchy prior
OUTLIER_SD, OUTLIER_SHARE = 2.5, 0.5
SINGLE_OUTLIER_SD, SINGLE_OUTLIER_SHARE = 1.0, 0.2  # of contenders with a single seed
LOWEST_LOG = -60.0  # of a weight: smaller ones change nothing, and numbers next to 0 are slow
_TINY = 1e-12


@dataclass(frozen=True)
class Replicates:
    """Variances of one trial's score over seeds [designs], on the scale, with their degrees of freedom [designs]."""

    variances: tuple[float, ...]
    freedom: tuple[float, ...]

    @property
    def total_freedom(self) -> float:
        """Degrees of freedom of all together."""
        return sum(self.freedom)

    def of_means(self, count: int) -> Replicates:
        """The same for the mean of several trials of one seed."""
        return replace(self, variances=tuple(variance / count for variance in self.variances))


def replicates_of(scores: Mapping[Design, Sequence[float]], scale: Scale) -> Replicates:
    """The replicates of a sweep: the variance of every design that has several scores, times the slope squared.

    Args:
        scores: by design, one a training seed, in units of the metric.
        scale: the scale on which noise is alike at all levels.
    """
    several = [np.asarray(values, dtype=float) for values in scores.values() if len(values) > 1]
    slopes = [float(scale.slope(values.mean())) for values in several]
    variances = tuple(float(v.var(ddof=1)) * slope**2 for v, slope in zip(several, slopes, strict=True))
    return Replicates(variances, tuple(float(len(values) - 1) for values in several))


def draw_seed_sd(
    scores: Array,
    scale: Scale,
    replicates: Replicates | None = None,
    shared_luck: bool = True,
    seed: int = 0,
) -> Array | None:
    """Posterior draws of the standard deviation of one seed's score [draws, contenders], in units of the metric.

    Args:
        scores: of each contender and seed [contenders, seeds]; NaN where a trial is missing.
        scale: on which the noise of contenders is alike.
        replicates: what is known of the noise beforehand, on the scale.
        shared_luck: whether contenders with the same seed share its luck, which is then no noise of theirs.
        seed: of the draws.

    Returns:
        None where neither seeds nor replicates show any noise.
    """
    random = np.random.default_rng(seed)
    present = np.isfinite(scores)
    slopes = np.asarray(scale.slope(np.nanmean(scores, axis=1)))
    freedom = np.maximum(present.sum(axis=1) - 1, 0)
    centre = _log_centre(scores, present, slopes, freedom, replicates)
    if centre is None:
        return None
    grid = _Grid.around(centre, replicates)
    luck = np.zeros((CHAINS, scores.shape[1]))
    several = shared_luck and len(scores) > 1 and scores.shape[1] > 1
    draws = []
    for iteration in range(BURN_IN + KEPT if several else KEPT):
        squares = _squares(scores, present, luck) * slopes**2
        sd = grid.draw(squares, freedom, random) / slopes
        if iteration >= BURN_IN or not several:
            draws.append(sd)
        if several:
            luck = _draw_luck(scores, present, luck, sd, random)
    return np.concatenate(draws)


def _log_centre(
    scores: Array, present: npt.NDArray[np.bool_], slopes: Array, freedom: Array, replicates: Replicates | None
) -> float | None:
    """Log of the pooled standard deviation on the scale, the middle of the grids; None where there is no noise."""
    total = float((_squares(scores, present, np.zeros((1, scores.shape[1])))[0] * slopes**2).sum())
    count = float(freedom.sum())
    if replicates is not None and replicates.total_freedom:
        share = min(1.0, MAX_FREEDOM / replicates.total_freedom)
        total += share * float(np.dot(replicates.variances, replicates.freedom))
        count += share * replicates.total_freedom
    return 0.5 * float(np.log(total / count)) if count and total / count > _TINY else None


def _squares(scores: Array, present: npt.NDArray[np.bool_], luck: Array) -> Array:
    """Sums of squares about each contender's mean [chains, contenders], without the luck of the seeds."""
    rest = np.where(present, scores - luck[:, None, :], 0.0)
    counts = present.sum(axis=1)
    return np.asarray(((rest - rest.sum(axis=2, keepdims=True) / counts[:, None]) ** 2 * present).sum(axis=2))


def _draw_luck(
    scores: Array, present: npt.NDArray[np.bool_], luck: Array, sd: Array, random: np.random.Generator
) -> Array:
    """The luck of each seed [chains, seeds], given the noise: first the contenders' means, then what is left."""
    rest = np.where(present, scores - luck[:, None, :], 0.0)
    counts = present.sum(axis=1)
    means = rest.sum(axis=2) / counts + sd / np.sqrt(counts) * random.normal(size=sd.shape)
    weights = present / sd[:, :, None] ** 2
    total = weights.sum(axis=1)
    centred = np.where(present, scores - means[:, :, None], 0.0)
    return np.asarray((weights * centred).sum(axis=1) / total + random.normal(size=total.shape) / np.sqrt(total))


@dataclass(frozen=True)
class _Grid:
    """Grids of level and heterogeneity [points], and of a contender's log standard deviation on the scale [values].

    `prior` [points, values]: the distribution of a contender's, `single` that of one with a single seed; `logs`
    [points]: what is known of the points before.
    """

    log_sd: Array
    prior: Array
    single: Array
    logs: Array

    @classmethod
    def around(cls, centre: float, replicates: Replicates | None) -> _Grid:
        level, spread = (part.ravel() for part in np.meshgrid(LEVELS, HETEROGENEITY, indexing="ij"))
        prior = _mixture(level, spread, OUTLIER_SD, OUTLIER_SHARE)
        single = _mixture(level, spread, SINGLE_OUTLIER_SD, SINGLE_OUTLIER_SHARE)
        # half-Cauchy, as a density of the logarithm, because the grid's steps are even on that scale
        logs = np.log(spread / (1 + (spread / HETEROGENEITY_SCALE) ** 2))
        grid = cls(centre + DEVIATIONS, prior, single, logs)
        if replicates is None or not replicates.total_freedom:
            return grid
        freedom = np.array(replicates.freedom)
        likelihood = grid.likelihood(np.array(replicates.variances) * freedom, freedom)
        power = min(1.0, MAX_FREEDOM / replicates.total_freedom)
        return replace(grid, logs=logs + power * np.log(likelihood @ prior.T).sum(axis=0))

    def likelihood(self, squares: Array, freedom: Array) -> Array:
        """Likelihood of sums of squares [..., contenders] at every value [..., contenders, values], up to a factor."""
        logs = -freedom[:, None] * self.log_sd - squares[..., None] / 2 * np.exp(-2 * self.log_sd)
        return np.asarray(np.exp(np.maximum(logs - logs.max(axis=-1, keepdims=True), LOWEST_LOG)))

    def draw(self, squares: Array, freedom: Array, random: np.random.Generator) -> Array:
        """Draws of each contender's standard deviation on the scale [chains, contenders]; a chain has its squares."""
        squares = np.broadcast_to(squares, (CHAINS, len(freedom)))
        likelihood = self.likelihood(squares, freedom)
        marginal = likelihood.reshape(-1, len(self.log_sd)) @ self.prior.T  # one flat product: far faster than many
        logs = self.logs + np.log(marginal).reshape(CHAINS, len(freedom), -1).sum(axis=1)
        points = _choose(np.exp(logs - logs.max(axis=1, keepdims=True)), random)
        priors = np.where((freedom > 0)[:, None], self.prior[points][:, None, :], self.single[points][:, None, :])
        values = _choose(likelihood * priors, random)
        return np.asarray(np.exp(self.log_sd[values] + STEP * (random.random(values.shape) - 0.5)))


def _mixture(level: Array, spread: Array, outlier_sd: float, share: float) -> Array:
    """Weights of the deviations [points, values] of contenders, a share of which are outliers."""
    return (1 - share) * _normal(level, spread) + share * _normal(level, np.maximum(spread, outlier_sd))


def _normal(level: Array, spread: Array) -> Array:
    """Normal weights of the deviations [points, values], which add up to 1 at each point."""
    weights = np.exp(np.maximum(-(((DEVIATIONS - level[:, None]) / spread[:, None]) ** 2) / 2, LOWEST_LOG))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _choose(weights: Array, random: np.random.Generator) -> npt.NDArray[np.intp]:
    """An index of the last axis, with the probability of its weight."""
    cumulative = weights.cumsum(axis=-1)
    thresholds = random.random(weights.shape[:-1])[..., None] * cumulative[..., -1:]
    return np.asarray((cumulative < thresholds).sum(axis=-1))
