"""Partial pooling (random-effects meta-analysis) of the effects of several models, tasks or training sizes.

    partial_pooling({"llama": ([0.12, -0.03], covariance), "qwen": ([0.09, 0.01], covariance)})
    -> PooledEffects(shared=(Estimate(0.11, 0.07, 0.15), ...), by_group={"llama": (Estimate(0.117, ...), ...), ...},
                     group_sd=0.02)

In: for each group the estimated effects in one order, and the covariance of their errors (from the draws of a fit).
Out: for each effect the shared value, and each group's, shrunk towards the shared one by as much as its errors are
larger than the groups' true differences.

    estimate of a group = shared + deviation of the group + error,     deviation ~ N(0, group_sd²)

The deviations of all options have one standard deviation. That is what makes two models enough: ten options, ten
deviations. It is not plugged in but averaged over a grid, weighted by the restricted likelihood and a half-Cauchy prior
on the scale of the standard errors. The shared value is that of models like these, not of these alone: with few models,
and models that differ, its interval is wide. Errors of different groups count as independent; models that are measured
on the same items share some of them, which this leaves out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from sde_ray.analysis.estimate import Estimate

Array = npt.NDArray[np.float64]
DRAWS = 4000
GROUP_SD_GRID = np.geomspace(0.05, 30.0, 24)  # standard deviation of the groups / a typical standard error


@dataclass(frozen=True)
class PooledEffects:
    """Shared effects, each group's shrunken effects, and the standard deviation of the groups' true effects."""

    shared: tuple[Estimate, ...]
    by_group: Mapping[str, tuple[Estimate, ...]]
    group_sd: float


def partial_pooling(groups: Mapping[str, tuple[Sequence[float], Array]], seed: int = 0) -> PooledEffects:
    """Random-effects meta-analysis by REML over a grid of the groups' standard deviation.

    Args:
        groups: at least two; for each the estimates [effects] and the covariance of their errors [effects, effects].
        seed: of the posterior draws.

    Returns:
        Estimates with 95% intervals, in the order of the effects.
    """
    assert len(groups) > 1, "nothing to pool"
    values = np.array([estimates for estimates, _ in groups.values()], dtype=float)
    errors = np.stack([_regularize(covariance) for _, covariance in groups.values()])
    standard_error = float(np.sqrt(np.median(np.diagonal(errors, axis1=1, axis2=2))))
    fits = [_fit(values, errors, standard_error * ratio) for ratio in GROUP_SD_GRID]
    logs = np.array([fit.log_likelihood for fit in fits]) + np.log(GROUP_SD_GRID / (1 + GROUP_SD_GRID**2))
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    random = np.random.default_rng(seed)
    counts = random.multinomial(DRAWS, weights)
    draws = [_draw(fit, values, errors, int(n), random) for fit, n in zip(fits, counts, strict=True) if n]
    shared = np.concatenate([draw for draw, _ in draws])
    by_group = np.concatenate([draw for _, draw in draws])
    group_sd = float(weights @ np.array([fit.group_sd for fit in fits]))
    estimates = {name: _estimates(by_group[:, n]) for n, name in enumerate(groups)}
    return PooledEffects(_estimates(shared), estimates, group_sd)


def mean_over_groups(values: Sequence[float]) -> Estimate | None:
    """The mean of groups' estimates with Student's t over the groups; None of fewer than two, or of equal ones.

    Needs no errors of the estimates, as these are in the spread of the groups; so it serves groups with one seed each.
    """
    if len(values) < 2 or np.ptp(values) < 1e-12:
        return None
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))
    half_width = error * float(stats.t.ppf(0.975, len(values) - 1))
    return Estimate(mean, mean - half_width, mean + half_width)


def _regularize(covariance: Array) -> Array:
    """The covariance with a ridge on its diagonal that keeps it invertible."""
    size = len(covariance)
    ridge = max(1e-6 * float(np.trace(covariance)) / size, 1e-12)
    return np.asarray(covariance + ridge * np.eye(size))


@dataclass(frozen=True)
class _Fit:
    """Shared effects with their covariance at one standard deviation of the groups, and its restricted likelihood."""

    group_sd: float
    shared: Array
    covariance: Array
    precisions: Array
    log_likelihood: float


def _fit(values: Array, errors: Array, group_sd: float) -> _Fit:
    """Generalised least squares of the groups' estimates [groups, effects]."""
    total = errors + group_sd**2 * np.eye(values.shape[1])
    precisions = np.asarray(np.linalg.inv(total), dtype=np.float64)
    covariance = np.asarray(np.linalg.inv(precisions.sum(axis=0)), dtype=np.float64)
    shared = covariance @ np.einsum("gij,gj->i", precisions, values)
    residuals = values - shared
    squares = float(np.einsum("gi,gij,gj->", residuals, precisions, residuals))
    log_likelihood = -0.5 * (np.linalg.slogdet(total)[1].sum() - np.linalg.slogdet(covariance)[1] + squares)
    return _Fit(group_sd, shared, covariance, precisions, float(log_likelihood))


def _draw(fit: _Fit, values: Array, errors: Array, count: int, random: np.random.Generator) -> tuple[Array, Array]:
    """Posterior draws of the shared effects [count, effects], and of each group's [count, groups, effects]."""
    shared = random.multivariate_normal(fit.shared, fit.covariance, count, method="cholesky")
    by_group = []
    for value, error, precision in zip(values, errors, fit.precisions, strict=True):
        weight = fit.group_sd**2 * precision  # 0: complete pooling; the identity: no pooling
        mean = shared + (value - shared) @ weight.T
        covariance = weight @ error
        noise = random.multivariate_normal(np.zeros(len(value)), (covariance + covariance.T) / 2, count, method="eigh")
        by_group.append(mean + noise)
    return shared, np.stack(by_group, axis=1)


def _estimates(draws: Array) -> tuple[Estimate, ...]:
    """Posterior means with 95% intervals, of draws [draws, effects]."""
    lows, highs = np.quantile(draws, (0.025, 0.975), axis=0)
    return tuple(
        Estimate(float(mean), float(low), float(high))
        for mean, low, high in zip(draws.mean(axis=0), lows, highs, strict=True)
    )
