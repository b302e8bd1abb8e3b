"""The mixed model under the response surface: which coefficients, and which noise, the trials speak for.

In: designs as rows of numbers, their trials' scores, how each score moves with each item. Out: a
`MixedModelFit`, the mean coefficients and draws of what they may truly be.

    score of a trial = options (free) + pairs of options (random, one variance) + lack of fit of the design
                       + training (seed) + items

Three variances are unknown: pairs, lack of fit, training. None is plugged in: each is averaged over a grid, weighted by
the restricted likelihood of the designs' means (REML, Patterson and Thompson 1971), the likelihood of the spread of
seeds within a design, and priors: half-Cauchy on pairs against noise, even on the log scale for the noise. So an
interval is as wide as a handful of seeds makes it, without a rule of thumb for how much. There is no mass at "no pairs
at all": a few designs cannot tell weak pairs from none, and a mass there made the intervals of designs that were not
tried too narrow wherever options did interact.

Items are known better: each trial shows how its score moves with each of them. Their part is a bootstrap, one draw for
all trials, because all are measured on the same items; it is not counted again in the variance of training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
DRAWS = 2000
INTERACTION_SD_GRID = np.logspace(-1.5, 1.2, 14)  # sd of a pair's coefficient / sd of the noise
LACK_OF_FIT_GRID = (
    0.0,
    0.1,
    0.2,
    0.4,
    0.8,
)  # share of the noise of a design's mean that no seed would average out; small is likelier
NOISE_GRID_SIZE = 48
EPS = 1e-14


@dataclass(frozen=True)
class MixedModelFit:
    """Mean coefficients, draws of the true ones (None: nothing tells the noise of training), and what they hold."""

    coefficients: Array
    draws: Array | None
    noise: str


@dataclass(frozen=True)
class DesignMeans:
    """Each design once: its mean score, its number of trials, and how the mean moves with each item.

    `within`: sum of squares of trials about their design's mean, with its degrees of `freedom`; `own`: the part of a
    trial's variance that items explain; `items`: the variance of each mean that comes from items, without what all
    designs share, as that moves only the level.
    """

    scores: Array
    counts: Array
    jackknife_influence: Array | None
    within: float
    freedom: int
    own: float
    items: Array


def design_means(groups: npt.NDArray[np.intp], scores: Array, jackknife_influence: Array | None) -> DesignMeans:
    """The designs' means. `groups`: the number of each trial's design."""
    counts = np.bincount(groups).astype(float)
    mean = np.bincount(groups, scores) / counts
    within, freedom = float(((scores - mean[groups]) ** 2).sum()), len(scores) - len(counts)
    if jackknife_influence is None:
        return DesignMeans(mean, counts, None, within, freedom, 0.0, np.zeros(len(counts)))
    moved = np.zeros((len(counts), jackknife_influence.shape[1]))
    np.add.at(moved, groups, jackknife_influence)
    moved /= counts[:, None]
    own = float(((jackknife_influence - moved[groups]) ** 2).sum()) / freedom if freedom else 0.0
    apart = ((moved - moved.mean(axis=0)) ** 2).sum(axis=1) * len(counts) / max(len(counts) - 1, 1)
    return DesignMeans(mean, counts, moved, within, freedom, own, apart)


def fit_mixed_model(means: DesignMeans, free: Array, pairs: Array, seed: int = 0) -> MixedModelFit:
    """The evidence of the designs' means. `free` and `pairs`: a row a design; coefficients stand in this order.

    Free columns that the designs do not tell apart get the smallest coefficients that fit.
    """
    basis = _basis(free)
    rank = basis.shape[1]
    cells = _grid_points(means, free @ basis, pairs)
    weights = _weights(cells)
    reduced = np.sum([w * cell.solution for w, cell in zip(weights, cells, strict=True)], axis=0)
    told = means.freedom > 0 or len(free) > rank  # else items are known, but not what training adds to them
    parts = (("seeds", cells[0].noisy), ("items", told and means.jackknife_influence is not None))
    known = [name for name, there in parts if there]
    drawn = _draws(cells, weights, means, pairs, np.random.default_rng(seed)) if known else None

    def whole(values: Array) -> Array:
        return np.concatenate([values[..., :rank] @ basis.T, values[..., rank:]], axis=-1)

    return MixedModelFit(whole(reduced), None if drawn is None else whole(drawn), " and ".join(known) or "nothing")


def _basis(free: Array) -> Array:
    """Orthonormal combinations of the free columns that the designs tell apart."""
    _, sizes, turned = np.linalg.svd(free, full_matrices=False)
    return np.asarray(turned[sizes > 1e-9 * sizes.max()].T)


# ---- what the noise and the interactions may be --------------------------------------------------------------------


@dataclass(frozen=True)
class _GridPoint:
    """The solution at one ratio of pairs to noise, and one share of lack of fit in the noise.

    `gain`: coefficients per unit of the designs' means. `levels`: the variances of a mean that are weighed by `logs`;
    `training`: what of each is not items (and not `noisy` where nothing tells it). A design's own variance is a level
    times its `scale`, which is above 1 for one with fewer seeds than usual.
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
    """Henderson's mixed model equations at a ratio (0 leaves the pairs out), and how well each noise level fits."""
    typical_seeds = len(means.counts) / float((1 / means.counts).sum())  # the seeds of a typical design
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
        means, rest / spare if spare else 0.0, typical_seeds, float((means.items / scale).mean())
    )
    logdet = float(np.linalg.slogdet(system)[1]) + 2 * (used - rank) * (np.log(ratio) if ratio else 0.0)
    logs = -0.5 * (logdet + np.log(scale).sum() + spare * np.log(levels) + (rest / levels if spare else 0.0))
    logs = logs + _seeds(means, training * typical_seeds, shares) + _prior(ratio) + np.log(_stride(levels))
    return _GridPoint(ratio, solution, gain, scale, levels, training, logs, len(levels) > 1)


def _seeds(means: DesignMeans, training: Array, shares: Sequence[float]) -> Array:
    """Log likelihood of the spread of trials within designs, the mean over the shares of lack of fit."""
    if not means.freedom:
        return np.zeros(len(training))
    trial = np.maximum(np.outer(1 - np.array(shares), training) + means.own, EPS)
    each = -0.5 * (means.freedom * np.log(trial) + means.within / trial)
    return np.asarray(np.logaddexp.reduce(each, axis=0) - np.log(len(shares)))


def _noise_grid(means: DesignMeans, left: float, typical_seeds: float, items: float) -> tuple[Array, Array]:
    """Variances of a design's mean to weigh, even on the log scale, and the part of each that is not items."""
    guess = max(left, means.within / means.freedom / typical_seeds if means.freedom else 0.0)
    if not guess > 0:  # neither a spare design nor a second seed: only the items are known
        return np.array([max(items, EPS)]), np.zeros(1)
    guess = max(guess, 1e-12)  # trials without any noise, as planted ones may be
    levels = np.geomspace(max(items, guess * 1e-2), max(items, guess) * 1e2, NOISE_GRID_SIZE)
    return levels, np.maximum(levels - items, 0.0)


def _stride(levels: Array) -> float:
    """How much of the log scale each level stands for; grids of different cells differ in it."""
    return float(np.log(levels[1] / levels[0])) if len(levels) > 1 else 1.0


def _prior(ratio: float) -> float:
    """Half-Cauchy; the grid is even on the log scale, so the density is that of the logarithm."""
    return float(np.log(ratio / (1 + ratio**2))) if ratio else 0.0


def _weights(cells: Sequence[_GridPoint]) -> Array:
    top = max(float(cell.logs.max()) for cell in cells)
    each = np.array([np.exp(cell.logs - top).sum() for cell in cells])
    return np.asarray(each / each.sum())


# ---- draws ---------------------------------------------------------------------------------------------------------


def _draws(
    cells: Sequence[_GridPoint], weights: Array, means: DesignMeans, pairs: Array, random: np.random.Generator
) -> Array:
    """Draws of the true coefficients: a cell by its weight, then its solution minus a simulated error."""
    counts = random.multinomial(DRAWS, weights)
    return np.concatenate(
        [_draw_coefficients(cell, int(n), means, pairs, random) for cell, n in zip(cells, counts, strict=True) if n]
    )


def _draw_coefficients(
    cell: _GridPoint, count: int, means: DesignMeans, pairs: Array, random: np.random.Generator
) -> Array:
    chances = np.exp(cell.logs - cell.logs.max())
    level = random.choice(len(cell.levels), count, p=chances / chances.sum())
    spread = np.sqrt(cell.training[level])[:, None] * np.sqrt(cell.scale)
    observed = spread * random.normal(size=(count, len(cell.scale)))
    if means.jackknife_influence is not None:
        items = means.jackknife_influence.shape[1]
        observed += (random.multinomial(items, np.full(items, 1 / items), count) - 1.0) @ means.jackknife_influence.T
    truth = np.zeros((count, len(cell.solution)))
    if cell.ratio:
        rank = len(cell.solution) - pairs.shape[1]
        deviation = cell.ratio * np.sqrt(cell.levels[level])[:, None]
        truth[:, rank:] = deviation * random.normal(size=(count, pairs.shape[1]))
        observed += truth[:, rank:] @ pairs.T
    return np.asarray(cell.solution - (observed @ cell.gain.T - truth))
