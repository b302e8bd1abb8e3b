"""Linear mixed model (REML) under the response surface: coefficients and their posterior draws.

In: designs as rows of numbers, their trials' scores, and the jackknife influence of each item on each score. Out: a
`MixedModelFit`, the mean coefficients and draws of the true ones.

    score of a trial = options (fixed effects) + pairs of options (random effects, one variance)
                       + lack of fit of the design + training (seed) + items

Three variance components are unknown: pairs, lack of fit, training. None is plugged in: each is averaged over a grid,
weighted by the restricted likelihood of the designs' means (REML, Patterson and Thompson 1971), the likelihood of the
spread of seeds within a design, and priors: half-Cauchy on pairs against noise, even on the log scale for the noise. So
an interval is as wide as a handful of seeds makes it, without a rule of thumb for how much. There is no mass at "no
pairs at all": a few designs cannot tell weak pairs from none, and a mass there made the intervals of designs that were
not tried too narrow wherever options did interact.

Items are known better: each trial shows how its score moves with each of them. Their part is a bootstrap over items,
one draw for all trials, because all are measured on the same items; it is not counted again in the variance of
training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
DRAWS = 2000
INTERACTION_SD_GRID = np.logspace(-1.5, 1.2, 14)  # sd of a pair's coefficient / sd of the noise
# Share of the noise of a design's mean that no seed would average out; small is likelier.
LACK_OF_FIT_GRID = (0.0, 0.1, 0.2, 0.4, 0.8)
NOISE_GRID_SIZE = 48
EPS = 1e-14


@dataclass(frozen=True)
class MixedModelFit:
    """Mean coefficients [coefficients], draws of the true ones [draws, coefficients], and what noise they hold.

    `draws` is None where the trials cannot estimate the noise of training.
    """

    coefficients: Array
    draws: Array | None
    noise: str


@dataclass(frozen=True)
class DesignMeans:
    """Sufficient statistics by design: mean scores [designs], trials [designs], item influence [designs, items].

    `within`: sum of squares of trials about their design's mean, with its degrees of `freedom`; `trial_item_variance`:
    the part of a trial's variance that items explain; `item_variance` [designs]: the variance of each mean that comes
    from items, without what all designs share, as that moves only the level.
    """

    scores: Array
    counts: Array
    jackknife_influence: Array | None
    within: float
    freedom: int
    trial_item_variance: float
    item_variance: Array


def design_means(groups: npt.NDArray[np.intp], scores: Array, jackknife_influence: Array | None) -> DesignMeans:
    """Means by design.

    Args:
        groups: the index of each trial's design [trials].
        scores: the trials' scores [trials].
        jackknife_influence: how each score moves with each item [trials, items]; None where items are not shared.
    """
    counts = np.bincount(groups).astype(float)
    mean = np.bincount(groups, scores) / counts
    within, freedom = float(((scores - mean[groups]) ** 2).sum()), len(scores) - len(counts)
    if jackknife_influence is None:
        return DesignMeans(mean, counts, None, within, freedom, 0.0, np.zeros(len(counts)))
    influence = np.zeros((len(counts), jackknife_influence.shape[1]))
    np.add.at(influence, groups, jackknife_influence)
    influence /= counts[:, None]
    by_trial = float(((jackknife_influence - influence[groups]) ** 2).sum()) / freedom if freedom else 0.0
    by_design = ((influence - influence.mean(axis=0)) ** 2).sum(axis=1) * len(counts) / max(len(counts) - 1, 1)
    return DesignMeans(mean, counts, influence, within, freedom, by_trial, by_design)


def fit_mixed_model(means: DesignMeans, free: Array, pairs: Array, seed: int = 0) -> MixedModelFit:
    """Fit the mixed model by REML, averaged over a grid of its variance components.

    Args:
        means: the designs' means.
        free: fixed-effect columns [designs, num_free]: the mean and the options.
        pairs: random-effect columns [designs, pairs]; none where interactions are left out.
        seed: of the draws.

    Returns:
        Coefficients in the order of the columns. Free columns that the designs do not tell apart get the smallest
        coefficients that fit.
    """
    basis = _basis(free)
    rank = basis.shape[1]
    points = _grid_points(means, free @ basis, pairs)
    weights = _weights(points)
    reduced = np.sum([w * point.solution for w, point in zip(weights, points, strict=True)], axis=0)
    estimable = means.freedom > 0 or len(free) > rank  # else items are known, but not what training adds to them
    sources = {"seeds": points[0].noisy, "items": estimable and means.jackknife_influence is not None}
    noise = " and ".join(name for name, is_estimated in sources.items() if is_estimated)
    draws = _draws(points, weights, means, pairs, np.random.default_rng(seed)) if noise else None

    def expand(values: Array) -> Array:
        return np.concatenate([values[..., :rank] @ basis.T, values[..., rank:]], axis=-1)

    return MixedModelFit(expand(reduced), None if draws is None else expand(draws), noise or "nothing")


def _basis(free: Array) -> Array:
    """Orthonormal basis of the row space: combinations of the free columns that the designs tell apart."""
    _, singular_values, rows = np.linalg.svd(free, full_matrices=False)
    return np.asarray(rows[singular_values > 1e-9 * singular_values.max()].T)


# ---- the grid of variance components -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _GridPoint:
    """Best linear unbiased predictor at one ratio of pairs to noise, and one share of lack of fit in the noise.

    `gain` [coefficients, designs]: coefficients per unit of the designs' means. `levels`: variances of a mean, with
    their log weights `logs`; `training`: what of each is not items (`noisy` is False where it cannot be estimated). A
    design's variance is a level times its `scale`, which is above 1 for one with fewer seeds than typical.
    """

    ratio: float
    solution: Array
    gain: Array
    scale: Array
    levels: Array
    training: Array
    logs: Array
    noisy: bool


def _grid_points(means: DesignMeans, free: Array, pairs: Array) -> list[_GridPoint]:
    spare = len(free) - free.shape[1]
    shares: Sequence[float] = (1.0,) if not means.freedom else LACK_OF_FIT_GRID if spare else (0.0,)
    ratios = INTERACTION_SD_GRID.tolist() if pairs.shape[1] else [0.0]
    alike = bool(np.all(means.counts == means.counts[0]))  # then the share changes no solution, only its likelihood
    grouped = [shares] if alike else [(share,) for share in shares]
    return [_grid_point(means, free, pairs, ratio, some) for some in grouped for ratio in ratios]


def _grid_point(means: DesignMeans, free: Array, pairs: Array, ratio: float, shares: Sequence[float]) -> _GridPoint:
    """Henderson's mixed model equations at a ratio (0: no pairs), and the restricted likelihood of each noise level."""
    typical_seeds = len(means.counts) / float((1 / means.counts).sum())  # harmonic mean of the seeds
    scale = shares[0] + (1 - shares[0]) * typical_seeds / means.counts
    rows = np.concatenate([free, pairs], axis=1) / np.sqrt(scale)[:, None]
    rank, columns = free.shape[1], rows.shape[1]
    used, spare = (columns if ratio else rank), len(free) - rank
    part = rows[:, :used]
    system = part.T @ part + np.diag([0.0] * rank + [ratio**-2 if ratio else 0.0] * (used - rank))
    gain = np.zeros((columns, len(rows)))
    gain[:used] = np.linalg.solve(system, part.T) / np.sqrt(scale)
    solution = gain @ means.scores
    y = means.scores / np.sqrt(scale)
    rest = max(float(y @ (y - rows @ solution)), EPS)
    levels, training = _noise_grid(
        means, rest / spare if spare else 0.0, typical_seeds, float((means.item_variance / scale).mean())
    )
    logdet = float(np.linalg.slogdet(system)[1]) + 2 * (used - rank) * (np.log(ratio) if ratio else 0.0)
    logs = -0.5 * (logdet + np.log(scale).sum() + spare * np.log(levels) + (rest / levels if spare else 0.0))
    logs = (
        logs + _seed_log_likelihood(means, training * typical_seeds, shares) + _prior(ratio) + np.log(_stride(levels))
    )
    return _GridPoint(ratio, solution, gain, scale, levels, training, logs, len(levels) > 1)


def _seed_log_likelihood(means: DesignMeans, training: Array, shares: Sequence[float]) -> Array:
    """Log likelihood of the spread of trials within designs, the mean over the shares of lack of fit."""
    if not means.freedom:
        return np.zeros(len(training))
    trial = np.maximum(np.outer(1 - np.array(shares), training) + means.trial_item_variance, EPS)
    each = -0.5 * (means.freedom * np.log(trial) + means.within / trial)
    return np.asarray(np.logaddexp.reduce(each, axis=0) - np.log(len(shares)))


def _noise_grid(means: DesignMeans, residual: float, typical_seeds: float, items: float) -> tuple[Array, Array]:
    """Grid of the variance of a design's mean, even on the log scale, and the part of each that is not items."""
    guess = max(residual, means.within / means.freedom / typical_seeds if means.freedom else 0.0)
    if not guess > 0:  # neither a spare design nor a second seed: only the items are known
        return np.array([max(items, EPS)]), np.zeros(1)
    guess = max(guess, 1e-12)  # trials without any noise, as planted ones may be
    levels = np.geomspace(max(items, guess * 1e-2), max(items, guess) * 1e2, NOISE_GRID_SIZE)
    return levels, np.maximum(levels - items, 0.0)


def _stride(levels: Array) -> float:
    """The step of a grid on the log scale; the grids of points differ in it."""
    return float(np.log(levels[1] / levels[0])) if len(levels) > 1 else 1.0


def _prior(ratio: float) -> float:
    """Half-Cauchy prior; the grid is even on the log scale, so the density is that of the logarithm."""
    return float(np.log(ratio / (1 + ratio**2))) if ratio else 0.0


def _weights(points: Sequence[_GridPoint]) -> Array:
    """Posterior weights of the grid points."""
    top = max(float(point.logs.max()) for point in points)
    weights = np.array([np.exp(point.logs - top).sum() for point in points])
    return np.asarray(weights / weights.sum())


# ---- draws ---------------------------------------------------------------------------------------------------------


def _draws(
    points: Sequence[_GridPoint], weights: Array, means: DesignMeans, pairs: Array, random: np.random.Generator
) -> Array:
    """Posterior draws of the coefficients: a grid point by its weight, then its solution minus a simulated error."""
    counts = random.multinomial(DRAWS, weights)
    return np.concatenate(
        [_draw_coefficients(point, int(n), means, pairs, random) for point, n in zip(points, counts, strict=True) if n]
    )


def _draw_coefficients(
    point: _GridPoint, count: int, means: DesignMeans, pairs: Array, random: np.random.Generator
) -> Array:
    chances = np.exp(point.logs - point.logs.max())
    level = random.choice(len(point.levels), count, p=chances / chances.sum())
    deviation = np.sqrt(point.training[level])[:, None] * np.sqrt(point.scale)
    error = deviation * random.normal(size=(count, len(point.scale)))
    if means.jackknife_influence is not None:
        items = means.jackknife_influence.shape[1]
        error += (random.multinomial(items, np.full(items, 1 / items), count) - 1.0) @ means.jackknife_influence.T
    truth = np.zeros((count, len(point.solution)))
    if point.ratio:
        rank = len(point.solution) - pairs.shape[1]
        pair_deviation = point.ratio * np.sqrt(point.levels[level])[:, None]
        truth[:, rank:] = pair_deviation * random.normal(size=(count, pairs.shape[1]))
        error += truth[:, rank:] @ pairs.T
    return np.asarray(point.solution - (error @ point.gain.T - truth))
