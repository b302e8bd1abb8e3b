"""Posterior of the variance components: the mode of their restricted likelihood, and points drawn around it.

    points = sample_components(log_posterior, bounds, mode, count)     [points, components], all of one weight

A component is the logarithm of a standard deviation. None is plugged in at its best value: a few designs or seeds leave
them uncertain, and an interval has to be as wide as that makes it. The log posterior is maximised (L-BFGS), a
t-distribution with the curvature at the mode proposes points (importance sampling), a second round proposes by the
moments of the first, systematic resampling keeps points of equal weight, and a few Metropolis steps spread those that
were kept several times. All random numbers have fixed seeds, so the same scores give the same points.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import linalg, optimize, stats

Array = npt.NDArray[np.float64]
LogDensity = Callable[[Array], Array]
PROPOSALS = (256, 256)  # points of the two rounds of importance sampling
INFLATION = 1.5  # of the second round's variances: a proposal that is too wide costs less than one too narrow
MOVES = 12  # Metropolis steps of each point
FREEDOM = 5.0  # of the t-distribution: heavier tails than any posterior of log standard deviations
STEP = 1e-3  # of finite differences, on the log scale
MANY_COLUMNS = 150  # above it a triangular system is worth a solver of its own
WIDEST = 1.5  # largest standard deviation of a proposal, on the log scale; where the likelihood is flat


def posterior_mode(log_density: LogDensity, bounds: Array, start: Array) -> Array:
    """The mode by L-BFGS, with central differences that are one call of the density.

    Args:
        log_density: of points [points, components], up to a constant; [points].
        bounds: lowest and highest value of each component [components, 2].
        start: where to begin [components].
    """
    steps = STEP * np.concatenate([np.zeros((1, len(start))), np.eye(len(start)), -np.eye(len(start))])

    def minus(point: Array) -> tuple[float, Array]:
        values = log_density(point + steps)
        ahead, behind = values[1 : len(point) + 1], values[len(point) + 1 :]
        return -float(values[0]), -(ahead - behind) / (2 * STEP)

    best = optimize.minimize(minus, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 60})
    return np.asarray(best.x, dtype=float)


def sample_components(log_density: LogDensity, bounds: Array, mode: Array, count: int) -> Array:
    """Draws of the posterior [count, components], all of one weight: importance sampling, then a few Metropolis steps.

    Args:
        log_density: of points [points, components], up to a constant; [points].
        bounds: lowest and highest value of each component [components, 2].
        mode: of the density [components].
        count: number of draws, even.
    """
    mean, covariance = mode, _curvature(log_density, mode)
    points, logs, weights = mode[None], np.zeros(1), np.ones(1)
    for number, size in enumerate(PROPOSALS):
        points, log_proposal = _propose(mean, covariance, size, number)
        logs = _within(log_density, bounds, points)
        if not np.isfinite(logs).any():
            return np.repeat(mode[None], count, axis=0)
        weights = _tempered(logs - log_proposal, 1 if number + 1 == len(PROPOSALS) else 4 * len(mode))
        mean = weights @ points
        covariance = _limited(INFLATION * ((weights[:, None] * (points - mean)).T @ (points - mean)))
    picks = np.searchsorted(np.cumsum(weights), (np.arange(count) + 0.5) / count)
    picks = np.random.default_rng(0).permutation(np.minimum(picks, len(points) - 1))
    return _move(log_density, bounds, points[picks], logs[picks])


def _within(log_density: LogDensity, bounds: Array, points: Array) -> Array:
    """The log density within the bounds, minus infinity beyond them."""
    inside = np.all((points >= bounds[:, 0]) & (points <= bounds[:, 1]), axis=1)
    return np.where(inside, log_density(np.clip(points, bounds[:, 0], bounds[:, 1])), -np.inf)


def _tempered(logs: Array, least: float) -> Array:
    """Importance weights, flattened until they are worth `least` points: moments of one point are no moments."""
    power = 1.0
    while True:
        weights = np.exp(power * (logs - logs.max()))
        weights /= weights.sum()
        if 1 / (weights**2).sum() >= least or power < 0.05:
            return np.asarray(weights)
        power *= 0.7


def _move(log_density: LogDensity, bounds: Array, points: Array, logs: Array) -> Array:
    """Metropolis steps along differences of other points (differential evolution, ter Braak 2006), half by half.

    Where importance sampling has kept few distinct points, these spread them over the posterior.
    """
    random = np.random.default_rng(1)
    half, dimensions = len(points) // 2, points.shape[1]
    points, logs = points.copy(), logs.copy()
    for step in range(2 * MOVES):
        moved, others = (slice(0, half), slice(half, None)) if step % 2 else (slice(half, None), slice(0, half))
        reference = points[others]
        size = len(points[moved])
        first = random.integers(len(reference), size=size)
        second = (first + random.integers(1, len(reference), size=size)) % len(reference)
        length = 2.38 / np.sqrt(2 * dimensions) * random.uniform(0.4, 1.2, size=(size, 1))
        proposed = points[moved] + length * (reference[first] - reference[second])
        proposed += random.normal(scale=0.05, size=proposed.shape)
        proposed_logs = _within(log_density, bounds, proposed)
        accepted = np.log(random.random(size)) < proposed_logs - logs[moved]
        points[moved] = np.where(accepted[:, None], proposed, points[moved])
        logs[moved] = np.where(accepted, proposed_logs, logs[moved])
    return points


def _propose(mean: Array, covariance: Array, size: int, number: int) -> tuple[Array, Array]:
    """Points of a multivariate t [size, components] and the log density of each, up to a constant."""
    dimensions = len(mean)
    sobol = stats.qmc.Sobol(dimensions + 1, scramble=True, seed=number).random(size)
    uniform = np.clip(sobol, 1e-9, 1 - 1e-9)
    stretch = np.sqrt(FREEDOM / stats.chi2.ppf(uniform[:, -1], FREEDOM))
    normal = stats.norm.ppf(uniform[:, :-1]) * stretch[:, None]
    points = mean + normal @ np.linalg.cholesky(covariance).T
    return points, -0.5 * (FREEDOM + dimensions) * np.log1p((normal**2).sum(axis=1) / FREEDOM)


def _curvature(log_density: LogDensity, mode: Array) -> Array:
    """Covariance of the proposals: the inverse of minus the second derivatives at the mode."""
    size, step = len(mode), 0.1
    pairs = [(i, j) for i in range(size) for j in range(i, size)]
    signs = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    unit = step * np.eye(size)
    values = log_density(np.array([mode + a * unit[i] + b * unit[j] for i, j in pairs for a, b in signs]))
    second = np.zeros((size, size))
    for (i, j), (pp, pm, mp, mm) in zip(pairs, values.reshape(-1, 4), strict=True):
        second[i, j] = second[j, i] = -(pp - pm - mp + mm) / (4 * step**2)
    curvatures, vectors = np.linalg.eigh(second)
    variances = 1 / np.maximum(curvatures, WIDEST**-2)
    return np.asarray(_limited((vectors * variances) @ vectors.T))


def _limited(covariance: Array) -> Array:
    """The covariance with standard deviations that are neither 0 nor above `WIDEST`, as its axes have them."""
    variances, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.clip(variances, 1e-6, WIDEST**2)) @ vectors.T)


def forward_solve(factors: npt.NDArray[Any], right: Array) -> Array:
    """Solutions of lower triangular systems [points, columns]; one after another where they are large."""
    if factors.shape[1] <= MANY_COLUMNS:
        return np.asarray(np.linalg.solve(factors, right[..., None])[..., 0])
    pairs = zip(factors, right, strict=True)
    return np.stack([linalg.solve_triangular(one, side, lower=True, check_finite=False) for one, side in pairs])
