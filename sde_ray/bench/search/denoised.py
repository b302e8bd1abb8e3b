"""Denoised truth of a recorded table: shrunken levels of the designs, and real residuals to draw fresh noise from.

    truth = denoise(load("masa_d1"))
    truth.values, truth.draw(random)            expected scores, [design]; scores of fresh trials, [seed, design]

A mean over a few seeds is no truth: the best of many means is a lucky one, and a search that saw the same seeds is
rewarded for luck. So the scores are modelled on the scale that fits their metric by a linear mixed model,

    score of a trial = level + options + pairs of options + what the design has of its own + noise of its level,

all terms but the level random, their variances by restricted maximum likelihood (REML, Patterson and Thompson 1971). A
design's level is its best linear unbiased prediction (BLUP, Robinson 1991), which shrinks means towards what options
and pairs explain. A trial's noise is a residual of one of the designs nearest in level, so that it depends on level
as it does in the table. A design's value is the mean score over all those residuals: what a trial is expected to score.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy import linalg, optimize

from sde_ray.bench.search.truth import SEEDS, Array
from sde_ray.bench.tables.table import RecordedTable
from sde_ray.errors import UserError
from sde_ray.metrics import metric_bounds
from sde_ray.search.kernel import DesignKernel
from sde_ray.search.scale import Scale, candidate_scales, choose
from sde_ray.types import Design

NEIGHBOURS = 40  # designs whose residuals stand for the noise of a level
ROUNDS = 4  # levels and noise by level depend on each other
TOP = 20  # designs among which the standard error of the truth is reported


@dataclass(frozen=True)
class DenoisedTruth:
    """Levels on the scale and values in units of the metric, [design]; residuals on the scale, [design, residual].

    `difference_error`: standard error of the difference between the values of two of the best `TOP` designs, in
    units of the metric: their root mean square posterior standard deviation.
    """

    designs: tuple[Design, ...]
    scale: Scale
    levels: Array
    values: Array
    residuals: Array
    variances: Mapping[str, float]
    difference_error: float

    def draw(self, random: np.random.Generator) -> Array:
        """Scores of fresh trials, [seed, design]."""
        columns = random.integers(self.residuals.shape[1], size=(len(SEEDS), len(self.designs)))
        noise = self.residuals[np.arange(len(self.designs)), columns]
        return self.scale.inverse(self.levels + noise)


@dataclass(frozen=True)
class _Trials:
    """Sufficient statistics of trials by design on a scale: means, counts, residuals scaled to the noise's variance."""

    kernels: Array  # covariance of options, of pairs and of designs for variances of 1, [term, design, design]
    means: Array
    counts: Array
    residuals: list[Array]  # of each design, [seed]

    @property
    def squares(self) -> Array:
        """Sum of squares within a design over its degrees of freedom, [design]; 0 for a single seed."""
        return np.array([(rows**2).mean() if len(rows) else 0.0 for rows in self.residuals])


def denoise(table: RecordedTable) -> DenoisedTruth:
    """Fit the truth of a table. Raises UserError where fewer than half of its designs have two seeds."""
    return _denoise(table.objective, tuple((d, tuple(s.values())) for d, s in sorted(table.scores().items())))


@lru_cache
def _denoise(objective: str, scores: tuple[tuple[Design, tuple[float, ...]], ...]) -> DenoisedTruth:
    designs = tuple(design for design, _ in scores)
    if 2 * sum(len(own) > 1 for _, own in scores) < len(designs):
        raise UserError("Fewer than half of the designs have two seeds, so noise is unknown. Record a second seed.")
    kernel = DesignKernel(designs)
    everything = np.arange(len(designs))
    kernels = np.array([*kernel.main_and_interaction(everything, everything), np.eye(len(designs))])

    flat, ends = np.concatenate([own for _, own in scores]), np.cumsum([len(own) for _, own in scores])[:-1]

    def log_evidence(values: Array) -> float:
        trials = _trials(kernels, np.split(values, ends))
        return _log_likelihood(trials, _variances(trials, None), np.full(len(designs), _pooled(trials)))

    scale = choose(flat, candidate_scales(metric_bounds(objective)), log_evidence)
    return _fit(designs, scale, _trials(kernels, np.split(scale.forward(flat), ends)))


def _trials(kernels: Array, scores: list[Array]) -> _Trials:
    residuals = [
        (own - own.mean()) * np.sqrt(len(own) / (len(own) - 1)) if len(own) > 1 else np.zeros(0) for own in scores
    ]
    return _Trials(kernels, np.array([s.mean() for s in scores]), np.array([float(len(s)) for s in scores]), residuals)


def _pooled(trials: _Trials) -> float:
    """Variance of the noise, pooled over all designs."""
    freedom = trials.counts - 1
    return float((trials.squares * freedom).sum() / freedom.sum())


def _log_likelihood(trials: _Trials, variances: Array, noise: Array) -> float:
    """Restricted log likelihood of the trials, up to a constant that no scale and no variance changes."""
    between = _restricted(trials, variances, noise)[0]
    freedom = trials.counts - 1
    within = -0.5 * (freedom * np.log(noise) + trials.squares * freedom / noise).sum()
    return float(between + within)


def _restricted(trials: _Trials, variances: Array, noise: Array) -> tuple[float, Array, Array]:
    """Restricted log likelihood of the means, their inverse covariance, and the mean level's row of weights."""
    matrix = np.tensordot(variances, trials.kernels, 1) + np.diag(noise / trials.counts)
    lower = linalg.cholesky(matrix, lower=True)
    inverse = linalg.cho_solve((lower, True), np.eye(len(matrix)))
    weights = inverse.sum(0) / inverse.sum()
    centred = trials.means - weights @ trials.means
    value = -np.log(np.diag(lower)).sum() - 0.5 * np.log(inverse.sum()) - 0.5 * centred @ inverse @ centred
    return float(value), inverse, weights


def _variances(trials: _Trials, noise: Array | None) -> Array:
    """REML estimates of the variances of options, pairs and designs."""
    known = np.full(len(trials.means), _pooled(trials)) if noise is None else noise
    spread = max(float(trials.means.var()), 1e-9)

    def loss(logs: Array) -> float:
        return -_restricted(trials, spread * np.exp(logs), known)[0]

    start = np.log([0.2, 0.05, 0.05])
    optimum = optimize.minimize(loss, start, method="L-BFGS-B", bounds=[(-14.0, 3.0)] * 3)
    return np.asarray(spread * np.exp(optimum.x))


def _fit(designs: tuple[Design, ...], scale: Scale, trials: _Trials) -> DenoisedTruth:
    noise = np.full(len(designs), _pooled(trials))
    for _ in range(ROUNDS):
        variances = _variances(trials, noise)
        levels, cov = _predict(trials, variances, noise)
        pools = _pools(levels, trials)
        noise = (pools**2).mean(1)
    values = scale.inverse(levels[:, None] + pools).mean(1)
    top = np.argsort(-values)[:TOP]
    slopes = 1 / scale.slope(values[top])
    errors = cov[np.ix_(top, top)] * np.outer(slopes, slopes)
    spread = np.add.outer(np.diag(errors), np.diag(errors)) - 2 * errors
    names = dict(zip(("options", "pairs", "design"), map(float, variances), strict=True))
    error = float(np.sqrt(spread[np.triu_indices(len(top), 1)].mean()))
    return DenoisedTruth(designs, scale, levels, values, pools, {**names, "noise": float(noise.mean())}, error)


def _predict(trials: _Trials, variances: Array, noise: Array) -> tuple[Array, Array]:
    """BLUP of the levels, [design], and their posterior covariance, the mean level's own included."""
    _, inverse, weights = _restricted(trials, variances, noise)
    prior = np.tensordot(variances, trials.kernels, 1)
    mean = weights @ trials.means
    levels = mean + prior @ inverse @ (trials.means - mean)
    free = 1 - prior @ inverse.sum(0)
    return levels, prior - prior @ inverse @ prior + np.outer(free, free) / inverse.sum()


def _pools(levels: Array, trials: _Trials) -> Array:
    """Residuals that stand for each design's noise, [design, residual]: of the designs nearest in level."""
    repeated = np.flatnonzero(trials.counts > 1)
    size = min(NEIGHBOURS, len(repeated))
    pools = []
    for level in levels:
        nearest = repeated[np.argsort(np.abs(levels[repeated] - level), kind="stable")[:size]]
        pools.append(np.concatenate([trials.residuals[n] for n in nearest]))
    most = max(map(len, pools))
    return np.array([np.resize(pool, most) for pool in pools])
